"""What a postmaster does about letters under way, and the story of a letter, on both engines."""

from __future__ import annotations

import email
from dataclasses import replace
from typing import Any

import pytest

from mss.model.account import Account, Box
from mss.model.address import Address
from mss.model.delivery import Delivery, DeliveryState, Outcome, OutcomeKind
from mss.model.envelope import Notify
from mss.model.mailbox import INBOX
from mss.services import mailbox, outbound, postmaster, receive, submit
from mss.services.house import House
from mss.services.mailbox import Columns
from mss.services.marks import message_mark
from mss.services.outbound import Wanted
from mss.services.postmaster import Action, Chapter, Happening, Result
from mss.services.receive import Origin
from mss.store.store import Store
from tests.services.services_world import DOCTOR, HOSTED, NURSE, OUTSIDE, archive, document, envelope, letter
from tests.services.test_outbound import ELSEWHERE, LATER, NEVER, PLAN, SENT
from tests.store.store_world import CLINIC, HOSPITAL, NOW, account_for, clinic_box, later, patient_box

HOUSE = House(PLAN.hostname, PLAN.domains)


class Desk:
    """A professional of ours who writes, and the postmaster behind them."""

    def __init__(self, store: Store, box: Box, account: Account) -> None:
        self.store, self.box, self.account = store, box, account

    async def send(self, *to: Address, now: Any = NOW, **wishes: Any) -> str:
        reading = letter("Question", sender=self.box.address, to=to)
        path = envelope(*to, sender=self.box.address, **wishes)
        receipt = await self.store.write(submit.accept, HOSTED, OUTSIDE, self.account.id, path, reading, now)
        assert receipt.accepted
        return reading.message_id

    async def act(self, action: Action, *ids: int, now: Any = NOW) -> dict[int, Result]:
        return await self.store.write(postmaster.act, action, ids, HOUSE, "cli:uid0", now)

    async def find(self, **wanted: Any) -> list[Delivery]:
        entries = await self.store.read(postmaster.find, Wanted(**wanted), 100, NOW)
        return [one.delivery for one in entries]

    async def one(self, number: int = 1) -> Delivery:
        [found] = await self.find(ids=(number,))
        return found

    async def claim(self, now: Any = NOW) -> tuple[Delivery, ...]:
        return await self.store.write(outbound.claim, "w", 10, 300, now)

    async def record(self, delivery: Delivery, outcome: Outcome, now: Any = NOW) -> DeliveryState:
        return await self.store.write(outbound.record, "w", delivery.id, outcome, PLAN, 0.0, now)

    async def inbox(self) -> list[bytes]:
        where = await self.store.read(mailbox.find, self.box.id, INBOX, NOW)
        rows = await self.store.read(mailbox.rows, where.id, ((1, 99),), Columns.PLAIN, NOW)
        return [await self.store.read(mailbox.octets, where.id, row.object_id, 0, None, NOW) for row in rows]

    async def story(self, message_id: str) -> list[Happening]:
        return list(await self.store.read(postmaster.story, message_id, NOW))


@pytest.fixture
async def desk(store: Store) -> Desk:
    box = await clinic_box(store)
    return Desk(store, box, await account_for(store, box))


# -- finding -----------------------------------------------------------------------------------------------------------


async def test_letters_are_found_by_all_that_is_asked(desk: Desk) -> None:
    first = await desk.send(DOCTOR)
    await desk.send(ELSEWHERE, now=later(hours=1))
    assert [one.id for one in await desk.find()] == [1, 2]
    assert [one.id for one in await desk.find(destination=str(DOCTOR.domain))] == [1]
    assert [one.id for one in await desk.find(sender_domain=str(CLINIC))] == [1, 2]
    assert await desk.find(sender_domain=str(CLINIC).replace("linic", "_inic")) == []
    assert [one.id for one in await desk.find(message_id=first)] == [1]
    assert [one.id for one in await desk.find(message_id=first.strip("<>"))] == [1]
    assert [one.id for one in await desk.find(created_before=NOW)] == [1]
    assert [one.id for one in await desk.find(created_after=later(hours=1))] == [2]
    assert [one.id for one in await desk.find(states=frozenset({DeliveryState.HELD}))] == []
    assert [one.id for one in await desk.find(ids=(2, 9), destination=str(DOCTOR.domain))] == []
    assert await desk.store.read(postmaster.numbers, Wanted(after_id=1), 5, NOW) == (2,)


# -- acting ------------------------------------------------------------------------------------------------------------


async def test_a_held_letter_is_neither_tried_nor_an_alarm(desk: Desk) -> None:
    await desk.send(DOCTOR)
    assert await desk.act(Action.HOLD, 1) == {1: Result.DONE}
    assert await desk.claim(later(days=9)) == ()
    assert await desk.store.read(outbound.next_due, NOW) is None
    assert await desk.act(Action.HOLD, 1) == {1: Result.ALREADY}
    ear = desk.store.subscribe("queue")
    assert await desk.act(Action.RELEASE, 1, now=later(days=9)) == {1: Result.DONE}
    assert await ear.wait(30)
    assert await desk.act(Action.RELEASE, 1) == {1: Result.ALREADY}
    assert [one.id for one in await desk.claim(later(days=9))] == [1]


async def test_a_letter_held_while_it_is_tried_stays_held_unless_that_was_its_end(desk: Desk) -> None:
    await desk.send(DOCTOR)
    await desk.send(DOCTOR)
    late, sent = await desk.claim()
    assert await desk.act(Action.HOLD, late.id, sent.id) == {late.id: Result.DONE, sent.id: Result.DONE}
    for one, outcome in ((late, LATER), (sent, SENT)):
        tried = (outbound.Tried(one, outcome),)
        await desk.store.write(outbound.record_all, "w", tried, PLAN, NOW)
    assert ((await desk.one(late.id)).state, (await desk.one(late.id)).attempts) == (DeliveryState.HELD, 1)
    assert (await desk.one(sent.id)).state is DeliveryState.DELIVERED


async def test_a_letter_is_due_now_and_rests_end(desk: Desk) -> None:
    await desk.send(DOCTOR)
    [one] = await desk.claim()
    assert await desk.act(Action.RETRY, 1) == {1: Result.UNDER_WAY}
    await desk.record(one, LATER)
    ears = desk.store.subscribe("queue"), desk.store.subscribe("queue-retry")
    assert await desk.act(Action.RETRY, 1, now=later(seconds=1)) == {1: Result.DONE}
    assert all([await ear.wait(30) for ear in ears])
    assert (await desk.one()).next_attempt_at == later(seconds=1)
    await desk.act(Action.HOLD, 1)
    assert await desk.act(Action.RETRY, 1) == {1: Result.HELD}


async def test_a_letter_given_back_is_reported_and_never_sent(desk: Desk) -> None:
    await desk.send(DOCTOR)
    assert await desk.act(Action.BOUNCE, 1, now=later(minutes=1)) == {1: Result.DONE}
    assert (await desk.one()).state is DeliveryState.FAILED
    assert await desk.claim(later(days=9)) == ()
    [octets] = await desk.inbox()
    report = email.message_from_bytes(octets)
    assert report.get_content_type() == "multipart/report"
    text = octets.decode()
    assert "Action: failed" in text
    assert "Status: 5.3.0" in text
    assert "a arr" in text
    assert "stopped this message" in text
    assert "Last-Attempt-Date" not in text
    for action in Action:
        assert await desk.act(action, 1) == {1: Result.ENDED}
    assert await desk.act(Action.BOUNCE, 99) == {99: Result.UNKNOWN}


async def test_a_letter_that_is_being_sent_is_not_given_back(desk: Desk) -> None:
    await desk.send(DOCTOR)
    [one] = await desk.claim()
    assert await desk.act(Action.BOUNCE, 1) == {1: Result.UNDER_WAY}
    assert await desk.record(one, SENT) is DeliveryState.DELIVERED
    assert await desk.inbox() == []


@pytest.mark.parametrize("wish", [Notify.NEVER, Notify.SUCCESS])
async def test_who_wished_no_report_of_failure_gets_none(desk: Desk, wish: Notify) -> None:
    await desk.send(DOCTOR, notify=frozenset({wish}))
    assert await desk.act(Action.BOUNCE, 1) == {1: Result.DONE}
    assert await desk.inbox() == []


async def test_a_report_given_back_brings_no_report(desk: Desk) -> None:
    await desk.send(DOCTOR)
    [one] = await desk.claim()
    elsewhere = replace(PLAN, domains={})
    await desk.store.write(outbound.record, "w", one.id, NEVER, elsewhere, 0.0, NOW)
    [report] = await desk.find(states=frozenset({DeliveryState.DUE}))
    assert report.reverse_path is None
    assert await desk.act(Action.BOUNCE, report.id) == {report.id: Result.DONE}
    assert len(await desk.find()) == 2


async def test_what_a_postmaster_does_is_in_the_journal(desk: Desk) -> None:
    await desk.send(DOCTOR)
    acts = (Action.HOLD, Action.RELEASE, Action.RETRY, Action.RETRY, Action.BOUNCE, Action.BOUNCE)
    for minute, action in enumerate(acts):
        await desk.act(action, 1, now=later(minutes=minute))
    records = await desk.store.read(lambda uow: uow.journal.newest(20, "delivery"))
    actions = [one.event.action for one in reversed(records)]
    assert actions == [f"delivery.{name}" for name in ("hold", "release", "retry", "retry", "bounce")]
    assert {one.event.actor for one in records} == {"cli:uid0"}


# -- the story ---------------------------------------------------------------------------------------------------------


async def test_the_story_of_a_letter_that_was_sent(desk: Desk) -> None:
    message_id = await desk.send(DOCTOR, ELSEWHERE, notify=frozenset({Notify.SUCCESS, Notify.FAILURE}))
    near, far = await desk.claim()
    await desk.record(near, LATER, later(seconds=1))
    await desk.record(far, NEVER, later(seconds=2))
    await desk.act(Action.RETRY, near.id, now=later(seconds=3))
    [near] = await desk.claim(later(seconds=4))
    await desk.record(near, SENT, later(seconds=5))
    story = await desk.story(message_id)
    assert [(one.chapter, (one.at - NOW).seconds) for one in story] == [
        (Chapter.RECEIVED, 0),
        (Chapter.RECEIVED, 0),
        (Chapter.QUEUED, 0),
        (Chapter.QUEUED, 0),
        (Chapter.TRIED, 1),
        (Chapter.TRIED, 2),
        (Chapter.ENDED, 2),
        (Chapter.REPORTED, 2),
        (Chapter.HANDLED, 3),
        (Chapter.TRIED, 5),
        (Chapter.ENDED, 5),
        (Chapter.REPORTED, 5),
    ]
    assert {one.address for one in story if one.chapter is Chapter.QUEUED} == {DOCTOR, ELSEWHERE}
    assert [one.said for one in story if one.chapter is Chapter.TRIED] == [
        "451 4.3.0 try later", "550 5.1.1 no such user", "250 2.0.0 ok",
    ]  # fmt: skip
    assert [dict(one.facts)["kind"] for one in story if one.chapter is Chapter.REPORTED] == ["failed", "relayed"]
    assert await desk.story(message_id.strip("<>")) == story
    assert "Question" not in repr(story)
    assert DOCTOR.spec not in repr(story)


async def test_the_story_of_a_letter_that_came_in(desk: Desk, store: Store) -> None:
    box = await patient_box(store)
    reading = letter("Bonjour", sender=DOCTOR, to=(box.address, NURSE), attachments=(archive(document("1.2.3")),))
    origin = Origin("peer:mx.chu", frozenset({HOSPITAL}))
    path = envelope(box.address, Address("nobody", CLINIC), sender=DOCTOR)
    for at in (NOW, later(minutes=1)):
        await store.write(receive.accept, HOSTED, origin, path, reading, at)
    story = await desk.story(reading.message_id)
    chapters = [one.chapter for one in story]
    assert chapters.count(Chapter.RECEIVED) == 2
    assert chapters.count(Chapter.REFUSED) == 2
    assert [(one.chapter, one.what.split()[0]) for one in story if one.chapter is Chapter.FILED] == [
        (Chapter.FILED, "file")
    ]
    assert {one.who for one in story if one.chapter in (Chapter.RECEIVED, Chapter.REFUSED)} == {"peer:mx.chu"}
    assert "recipient.unknown" in {one.rule for one in story}
    assert ("duplicate", True) in story[-1].facts or ("duplicate", True) in story[-2].facts


async def test_the_story_of_a_letter_that_was_never_here(desk: Desk) -> None:
    await desk.send(DOCTOR)
    assert await desk.story("<nobody@nowhere.test>") == []
    assert await desk.story("<>") == []


async def test_a_message_id_leaves_a_mark_only(desk: Desk) -> None:
    message_id = await desk.send(DOCTOR)
    mark = await desk.store.read(lambda uow: message_mark(uow, message_id))
    assert mark
    assert len(mark) == 24
    records = await desk.store.read(lambda uow: uow.journal.of_message(mark, 10))
    assert [one.event.action for one in records] == ["letter.accept"]
    assert message_id.strip("<>") not in repr(records)


def test_every_outcome_of_an_action_is_one_of_ours() -> None:
    assert {one.value for one in OutcomeKind} & {one.value for one in Result} == set()
