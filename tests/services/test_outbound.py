"""The queue: leased to one worker at a time, tried by the schedule, ended with the report that is owed."""

from __future__ import annotations

import asyncio
import email
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import update

from mss.config import RelayConfig
from mss.errors import Unavailable
from mss.model.account import Account, Box
from mss.model.address import Address
from mss.model.delivery import Delivery, DeliveryState, Outcome, OutcomeKind
from mss.model.envelope import Notify
from mss.model.mailbox import INBOX
from mss.services import mailbox, outbound, submit
from mss.services.mailbox import Columns
from mss.services.outbound import Plan, Share, Tried
from mss.store.store import Store
from mss.store.tables import holdings
from tests.services.services_world import DOCTOR, HOSTED, NURSE, OUTSIDE, envelope, letter
from tests.store.store_world import CLINIC, NOW, PATIENTS, REGION, account_for, clinic_box, later

RELAY = RelayConfig(retry_s=(60, 300), expire_s=3600, delay_notice_s=600)
PLAN = Plan(RELAY, "mx.ours.test", {CLINIC: "professional", PATIENTS: "patient"})
SENT = Outcome(OutcomeKind.RELAYED, 250, "2.0.0", "ok", "mx.chu")
LATER = Outcome(OutcomeKind.TEMPORARY, 451, "4.3.0", "try later", "mx.chu")
NEVER = Outcome(OutcomeKind.PERMANENT, 550, "5.1.1", "no such user", "mx.chu")
NOTHING = Outcome(OutcomeKind.TEMPORARY, 0, "", "no answer")
ELSEWHERE = Address("martin", REGION)


@dataclass
class Sender:
    """A professional of ours, and what a relay does with their letters."""

    store: Store
    box: Box
    account: Account

    async def send(self, *to: Address, expire_s: int = 3600, now: Any = NOW, **wishes: Any) -> None:
        outside = replace(OUTSIDE, expire_s=expire_s)
        to = to or (DOCTOR,)
        reading = letter("Question", sender=self.box.address, to=to)
        path = envelope(*to, sender=self.box.address, **wishes)
        receipt = await self.store.write(submit.accept, HOSTED, outside, self.account.id, path, reading, now)
        assert receipt.accepted

    async def claim(self, worker: str = "w", limit: int = 10, now: Any = NOW) -> tuple[Delivery, ...]:
        return await self.store.write(outbound.claim, worker, limit, 300, now)

    async def record(
        self, delivery: Delivery, outcome: Outcome, now: Any = NOW, plan: Plan = PLAN, worker: str = "w"
    ) -> DeliveryState:
        return await self.store.write(outbound.record, worker, delivery.id, outcome, plan, 0.0, now)

    async def state(self, delivery: Delivery) -> Delivery:
        found = await self.store.read(lambda uow: uow.queue.by_id(delivery.id))
        assert found is not None
        return found

    async def inbox(self) -> list[bytes]:
        where = await self.store.read(mailbox.find, self.box.id, INBOX, NOW)
        rows = await self.store.read(mailbox.rows, where.id, ((1, 99),), Columns.PLAIN, NOW)
        return [await self.store.read(mailbox.octets, where.id, row.object_id, 0, None, NOW) for row in rows]


@pytest.fixture
async def sender(store: Store) -> Sender:
    box = await clinic_box(store)
    return Sender(store, box, await account_for(store, box))


# -- leases ----------------------------------------------------------------------------------------------------------


async def test_a_delivery_holds_all_that_the_relay_needs(sender: Sender) -> None:
    ear = sender.store.subscribe("queue")
    await sender.send(DOCTOR, notify=frozenset({Notify.SUCCESS, Notify.DELAY}), orcpt="rfc822;martin@chu")
    assert await ear.wait(30)
    [found] = await sender.claim()
    assert (found.recipient, found.reverse_path, found.destination) == (DOCTOR, sender.box.address, DOCTOR.domain)
    assert (found.notify, found.orcpt) == (frozenset({Notify.SUCCESS, Notify.DELAY}), "rfc822;martin@chu")
    assert (found.state, found.attempts, found.source_box_id) == (DeliveryState.DUE, 0, sender.box.id)
    assert (found.created_at, found.expires_at) == (NOW, later(hours=1))
    octets = await sender.store.read(outbound.octets, found.id, NOW)
    assert len(octets) == found.size_octets
    assert found.message_id.encode() in octets
    with pytest.raises(Unavailable):
        await sender.store.read(outbound.octets, 99, NOW)


async def test_what_is_leased_is_nobody_elses(sender: Sender) -> None:
    for _ in range(5):
        await sender.send()
    mine, theirs = await sender.claim("mine", 3), await sender.claim("theirs", 10)
    assert (len(mine), len(theirs)) == (3, 2)
    assert not {one.id for one in mine} & {one.id for one in theirs}
    assert await sender.claim("third") == ()


async def test_workers_who_claim_at_once_share_nothing(sender: Sender) -> None:
    for _ in range(24):
        await sender.send()
    claims = await asyncio.gather(*(sender.claim(f"w{n}", 3) for n in range(12)))
    ids = [one.id for claim in claims for one in claim]
    assert len(ids) == len(set(ids))
    assert all(len(claim) <= 3 for claim in claims)
    rest = await sender.claim("last", 100)
    assert len(ids) + len(rest) == 24


@pytest.mark.parametrize(("seconds", "claimable"), [(299, 0), (300, 1), (301, 1)])
async def test_a_lease_that_ran_out_is_claimable_again(sender: Sender, seconds: int, claimable: int) -> None:
    await sender.send()
    [first] = await sender.claim("dead")
    again = await sender.claim("alive", now=later(seconds=seconds))
    assert len(again) == claimable
    if claimable:
        # The one who came back late records nothing.
        assert await sender.record(first, SENT, later(seconds=400), worker="dead") is DeliveryState.DUE
        assert (await sender.state(first)).attempts == 0
        assert await sender.record(first, SENT, later(seconds=400), worker="alive") is DeliveryState.DELIVERED


async def test_a_released_lease_is_claimable_at_once(sender: Sender) -> None:
    await sender.send()
    await sender.send()
    claimed = await sender.claim("stopping")
    ids = tuple(one.id for one in claimed)
    await sender.store.write(outbound.release, "somebody else", ids, NOW)
    assert await sender.claim("next") == ()
    await sender.store.write(outbound.release, "stopping", ids[:1], NOW)
    assert [one.id for one in await sender.claim("next")] == [ids[0]]
    assert (await sender.state(claimed[0])).attempts == 0


async def test_the_oldest_come_first(sender: Sender) -> None:
    for minute in (3, 1, 2):
        await sender.send(now=later(minutes=minute))
    claimed = await sender.claim(now=later(minutes=5))
    assert [one.created_at for one in claimed] == [later(minutes=n) for n in (1, 2, 3)]


async def test_when_the_next_is_due(sender: Sender) -> None:
    assert await sender.store.read(outbound.next_due, NOW) is None
    await sender.send()
    assert await sender.store.read(outbound.next_due, NOW) == NOW
    [one] = await sender.claim()
    assert await sender.store.read(outbound.next_due, NOW) == later(seconds=300)
    await sender.record(one, LATER)
    assert await sender.store.read(outbound.next_due, NOW) == later(seconds=60)
    [one] = await sender.claim(now=later(seconds=60))
    await sender.record(one, SENT, later(seconds=61))
    assert await sender.store.read(outbound.next_due, NOW) is None


async def test_a_claim_brings_each_destination_its_share(sender: Sender) -> None:
    """A thousand letters for one operator must not hide the one that came after them for another."""
    for _ in range(12):
        await sender.send(DOCTOR)
    await sender.send(ELSEWHERE, now=later(seconds=1))

    async def claim(limit: int, share: Share) -> list[str]:
        at = later(seconds=2)
        claimed = await sender.store.write(outbound.claim, "w", limit, 300, at, share)
        await sender.store.write(outbound.release, "w", tuple(one.id for one in claimed), at)
        return [str(one.destination) for one in claimed]

    near, far = str(DOCTOR.domain), str(ELSEWHERE.domain)
    assert await claim(5, Share(5)) == [near] * 5
    assert await claim(5, Share(4)) == [near] * 4 + [far]
    assert await claim(5, Share(4, {near: 2})) == [near] * 2 + [far]
    assert await claim(5, Share(4, {near: 0})) == [far]
    assert await claim(5, Share(4, {near: -3, far: 0})) == []
    assert await claim(50, Share(50)) == [near] * 12 + [far]


async def test_what_a_closed_destination_waits_for_is_no_alarm(sender: Sender) -> None:
    await sender.send(DOCTOR)
    await sender.send(ELSEWHERE, now=later(minutes=5))

    async def due(*closed: Address) -> Any:
        names = frozenset(str(one.domain) for one in closed)
        return await sender.store.read(outbound.next_due, later(minutes=1), names)

    assert await due() == NOW
    assert await due(DOCTOR) == later(minutes=5)
    assert await due(DOCTOR, ELSEWHERE) is None


async def test_the_letters_of_a_batch_are_read_in_one_go(sender: Sender) -> None:
    await sender.send(DOCTOR, ELSEWHERE)
    await sender.send(DOCTOR)
    claimed = await sender.claim()
    ids = tuple(one.id for one in claimed)
    found = await sender.store.read(outbound.octets_of, (*ids, 99), NOW)
    assert found == {one: await sender.store.read(outbound.octets, one, NOW) for one in ids}


async def test_a_letter_that_does_not_open_is_left_out_of_its_batch(sender: Sender) -> None:
    await sender.send(DOCTOR)
    await sender.send(DOCTOR)
    first, second = await sender.claim()

    def damaged(uow: Any) -> None:
        connection = uow.accounts._connection
        connection.execute(
            update(holdings).where(holdings.c.object_id == first.object_id).values(content_key=b"x" * 60)
        )

    await sender.store.write(damaged)
    assert set(await sender.store.read(outbound.octets_of, (first.id, second.id), NOW)) == {second.id}


# -- outcomes ----------------------------------------------------------------------------------------------------------


async def test_a_delivery_is_tried_by_the_schedule_until_it_expires(sender: Sender) -> None:
    await sender.send(notify=frozenset({Notify.FAILURE}))
    now, pauses, state = NOW, [], DeliveryState.DUE
    for _ in range(40):
        assert await sender.claim(now=now - timedelta(seconds=1)) == ()
        [one] = await sender.claim(now=now)
        state = await sender.record(one, LATER, now)
        if state is not DeliveryState.DUE:
            break
        after = await sender.state(one)
        pauses.append(int((after.next_attempt_at - now).total_seconds()))
        now = after.next_attempt_at
    assert state is DeliveryState.EXPIRED
    assert pauses[:3] == [60, 300, 300]
    assert now == later(hours=1), "the last try falls on the expiry itself"
    [entry] = await sender.store.read(outbound.entries, frozenset({DeliveryState.EXPIRED}), 10, NOW)
    assert len(entry.attempts) == len(pauses) + 1 == entry.delivery.attempts
    assert {one.outcome for one in entry.attempts} == {LATER}
    [report] = await sender.inbox()
    assert b"Action: failed" in report
    assert await sender.claim(now=later(days=9)) == ()


async def test_many_attempts_are_written_down_in_one_unit(sender: Sender) -> None:
    for _ in range(4):
        await sender.send()
    sent, late, refused, stolen = await sender.claim()
    await sender.store.write(outbound.release, "w", (stolen.id,), NOW)
    tried = tuple(Tried(one, what) for one, what in ((sent, SENT), (late, LATER), (refused, NEVER), (stolen, SENT)))
    before = sender.store.commits
    states = await sender.store.write(outbound.record_all, "w", tried, PLAN, NOW)
    assert sender.store.commits == before + 1
    assert states == (DeliveryState.DELIVERED, DeliveryState.DUE, DeliveryState.FAILED, DeliveryState.DUE)
    assert [(await sender.state(one)).attempts for one in (sent, late, refused, stolen)] == [1, 1, 1, 0]
    assert (await sender.state(late)).next_attempt_at == later(seconds=60)
    # A record that comes twice counts once.
    assert await sender.store.write(outbound.record_all, "w", tried, PLAN, NOW) == (DeliveryState.DUE,) * 4
    assert [(await sender.state(one)).attempts for one in (sent, late, refused, stolen)] == [1, 1, 1, 0]
    assert len(await sender.inbox()) == 1


async def test_a_delivered_letter_is_at_its_end(sender: Sender) -> None:
    await sender.send()
    [one] = await sender.claim()
    assert await sender.record(one, SENT) is DeliveryState.DELIVERED
    assert await sender.record(one, NEVER) is DeliveryState.DUE
    after = await sender.state(one)
    assert (after.state, after.attempts, after.last_outcome) == (DeliveryState.DELIVERED, 1, SENT)
    assert await sender.inbox() == []
    summary = await sender.store.read(outbound.summary, NOW)
    assert summary.counts == {"delivered": 1}
    assert summary.oldest_s == 0


async def test_a_refusal_is_reported_into_the_senders_box(sender: Sender) -> None:
    await sender.send(orcpt="rfc822;martin@chu")
    [one] = await sender.claim()
    assert await sender.record(one, NEVER, later(seconds=1)) is DeliveryState.FAILED
    [octets] = await sender.inbox()
    report = email.message_from_bytes(octets)
    assert report.get_content_type() == "multipart/report"
    assert report["Auto-Submitted"] == "auto-replied"
    for line in (
        b"Action: failed",
        b"Status: 5.1.1",
        b"550 5.1.1 no such user",
        b"Original-Recipient: rfc822; martin@chu",
        DOCTOR.spec.encode(),
    ):
        assert line in octets, line
    [record] = await sender.store.read(lambda uow: uow.journal.newest(1, "delivery.attempt"))
    assert (record.event.decision, record.event.facts["state"]) == ("permanent", "failed")


async def test_a_report_for_a_sender_elsewhere_is_queued_and_nothing_is_reported_about_it(sender: Sender) -> None:

    await sender.send()
    [one] = await sender.claim()

    plan = replace(PLAN, domains={PATIENTS: "patient"})
    await sender.record(one, NEVER, plan=plan)
    [report] = await sender.claim()
    assert (report.recipient, report.reverse_path) == (sender.box.address, None)
    assert report.notify == frozenset({Notify.NEVER})
    assert await sender.record(report, NEVER, plan=plan) is DeliveryState.FAILED
    assert await sender.claim(now=later(days=3)) == ()
    assert await sender.inbox() == []


@pytest.mark.parametrize(
    ("notify", "outcome", "reports"),
    [
        (frozenset(), SENT, 0),
        (frozenset(), NEVER, 1),
        (frozenset({Notify.SUCCESS}), SENT, 1),
        (frozenset({Notify.SUCCESS}), NEVER, 0),
        (frozenset({Notify.FAILURE}), SENT, 0),
        (frozenset({Notify.FAILURE}), NEVER, 1),
        (frozenset({Notify.NEVER}), NEVER, 0),
        (frozenset({Notify.NEVER}), SENT, 0),
    ],
)
async def test_reports_are_sent_as_wished(
    sender: Sender, notify: frozenset[Notify], outcome: Outcome, reports: int
) -> None:
    await sender.send(notify=notify)
    [one] = await sender.claim()
    await sender.record(one, outcome)
    assert len(await sender.inbox()) == reports


async def test_success_is_left_to_a_next_hop_that_reports_it(sender: Sender) -> None:
    await sender.send(notify=frozenset({Notify.SUCCESS}))
    [one] = await sender.claim()
    await sender.record(one, replace(SENT, dsn_handed_on=True))
    assert await sender.inbox() == []


async def test_a_delay_is_reported_once(sender: Sender) -> None:
    await sender.send()
    for minutes in (0, 5, 10, 20, 30):
        [one] = await sender.claim(now=later(minutes=minutes))
        await sender.record(one, NOTHING, later(minutes=minutes))
        assert len(await sender.inbox()) == (minutes >= 10)
    [octets] = await sender.inbox()
    assert b"Action: delayed" in octets
    assert b"Will-Retry-Until:" in octets


async def test_a_senders_box_that_is_gone_loses_the_report_but_not_the_outcome(sender: Sender) -> None:
    await sender.send()
    [one] = await sender.claim()

    def unknown(uow: Any) -> None:
        uow.accounts._connection.exec_driver_sql("UPDATE boxes SET address_key = 'other@clinic.mssante.test'")

    await sender.store.write(unknown)
    assert await sender.record(one, NEVER) is DeliveryState.FAILED
    [record] = await sender.store.read(lambda uow: uow.journal.newest(1, "report.undeliverable"))
    assert record.event.target.startswith("letter:")


async def test_what_a_remote_says_is_kept_as_both_engines_can(sender: Sender) -> None:
    await sender.send(DOCTOR, NURSE)
    wild = "no\x00 such \udcff user " + "x" * 5000
    for one in await sender.claim():
        outcome = Outcome(OutcomeKind.TEMPORARY, 451, "4.0.0", wild, "mx\x00." + "y" * 400)
        assert await sender.record(one, outcome) is DeliveryState.DUE
        last = (await sender.state(one)).last_outcome
        assert last is not None
        assert "\x00" not in last.text + last.remote
        assert (len(last.text) <= 1000, len(last.remote) <= 255) == (True, True)


async def test_the_queue_is_summed_up_and_listed(sender: Sender) -> None:
    await sender.send(DOCTOR, NURSE)
    await sender.send(now=later(seconds=30))
    [first, *_] = await sender.claim(limit=1)
    await sender.record(first, SENT)
    summary = await sender.store.read(outbound.summary, later(minutes=1))
    assert summary.counts == {"delivered": 1, "due": 2}
    assert summary.oldest_s == 60
    entries = await sender.store.read(outbound.entries, frozenset(DeliveryState), 2, NOW)
    assert [len(one.attempts) for one in entries] == [1, 0]
