"""The relay's loop: claims, lanes, routes, pins, outcomes, and its end. Real peers, scripted services."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from mss import pki
from mss.config import Limits, RelayConfig
from mss.errors import Malformed, Unavailable
from mss.model.address import Domain
from mss.model.delivery import Delivery, DeliveryState, Outcome, OutcomeKind
from mss.model.peer import DN, TrustList
from mss.services import outbound
from mss.services.outbound import Plan, Share, Tried
from mss.smtp.relay import Relay, RelayHouse, split_route
from mss.smtp.reply import Reply
from mss.smtp.session import Session, Transaction
from mss.tls import TlsMaterial
from tests.certs.responder import Responder, leaf_of
from tests.smtp.smtp_letters import THEN, delivery, trust_list
from tests.smtp.smtp_store import Scripted
from tests.smtp.smtp_world import Counts, Pki, Recorder, make_pki, now, serving, subject
from tests.support.web import web

pytestmark = pytest.mark.journey

OCTETS = b"From: a@chu.example\r\n\r\nHello\r\n"


@dataclass
class Queue:
    """Deliveries that wait, and what became of them."""

    waiting: list[Delivery] = field(default_factory=list)
    recorded: dict[int, Outcome] = field(default_factory=dict)
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    record_failures: list[Exception] = field(default_factory=list)
    octets: Any = OCTETS
    unreadable: set[int] = field(default_factory=set)
    unwritable: set[int] = field(default_factory=set)
    shares: list[Share] = field(default_factory=list)
    due: datetime | None = None

    def claim(self, worker: str, limit: int, lease_s: int, at: datetime, share: Share) -> tuple[Delivery, ...]:
        self.shares.append(share)
        taken: list[Delivery] = []
        for one in list(self.waiting):
            count = sum(other.destination == one.destination for other in taken)
            if len(taken) < limit and count < share.of(one.destination):
                taken.append(one)
                self.waiting.remove(one)
        return tuple(taken)

    def read(self, delivery_ids: tuple[int, ...], at: datetime) -> dict[int, bytes]:
        if isinstance(self.octets, Exception):
            raise self.octets
        return {one: self.octets for one in delivery_ids if one not in self.unreadable}

    def record(self, worker: str, tried: tuple[Tried, ...], plan: Plan, at: datetime) -> tuple[DeliveryState, ...]:
        assert worker == "w1"
        assert {one.jitter for one in tried} == {0.5}
        if self.record_failures:
            raise self.record_failures.pop(0)
        for one in tried:
            if one.delivery.id in self.unwritable:
                raise KeyError("bug")
            self.recorded[one.delivery.id] = one.outcome
        self.changed.set()
        return tuple(DeliveryState.DELIVERED for _ in tried)

    async def until(self, count: int) -> dict[int, Outcome]:
        async with asyncio.timeout(30):
            while len(self.recorded) < count:
                self.changed.clear()
                await self.changed.wait()
        return self.recorded


@dataclass
class Running:
    relay: Relay
    queue: Queue
    scripted: Scripted
    counts: Counts
    task: asyncio.Task[None]


@asynccontextmanager
async def relaying(
    pki_world: Pki,
    queue: Queue,
    *,
    routes: dict[str, str] | None = None,
    trust: Callable[[], TrustList | None] | None = None,
    look_up: Any = None,
    clock: Callable[[], datetime] = now,
    sign: Any = None,
    **relay: Any,
) -> AsyncIterator[Running]:
    scripted = Scripted(
        {
            outbound.claim: queue.claim,
            outbound.octets_of: queue.read,
            outbound.record_all: queue.record,
            outbound.next_due: lambda at, closed: queue.due,
            outbound.release: None,
        }
    )
    listed = trust_list(now(), "chu", "gip", "patient", other="patient")

    async def no_records(domain: Domain) -> list[tuple[int, str]]:
        return []

    counts = Counts()
    house = RelayHouse(
        store=scripted.store,
        material=TlsMaterial(pki_world.config("chu")),
        trust=trust or (lambda: listed),
        trust_max_age_s=3600,
        look_up=look_up or no_records,
        plan=Plan(replace(RelayConfig(), routes=routes or {}, timeout_s=5, **relay), "mx.chu.example"),
        limits=Limits(),
        clock=clock,
        metrics=counts,
        worker="w1",
        jitter=lambda: 0.5,
        sign=sign,
    )
    made = Relay(house)
    task = asyncio.create_task(made.run())
    try:
        yield Running(made, queue, scripted, counts, task)
    finally:
        await made.stop(grace_s=2)
        async with asyncio.timeout(30):
            await task
        assert scripted.bell.closed


def to(number: int, domain: str = "patient.example", **changes: object) -> Delivery:
    return delivery(number, f"b{number}@{domain}", **changes)


async def test_letters_are_signed_once_for_a_transaction_and_kept_as_they_were(
    material: TlsMaterial, pki_world: Pki
) -> None:
    async def sign(octets: bytes) -> bytes:
        return b"DKIM-Signature: made-up\r\n" + octets

    door, queue = Recorder(), Queue([to(1), to(2), to(3, object_id=9)])
    async with (
        serving(door, material) as (_, port),
        relaying(pki_world, queue, routes={"patient.example": f"127.0.0.1:{port}"}, sign=sign),
    ):
        await queue.until(3)
    assert [octets for _, octets in door.letters] == [b"DKIM-Signature: made-up\r\n" + OCTETS] * 2


async def test_due_letters_go_to_their_operator(material: TlsMaterial, pki_world: Pki) -> None:
    door = Recorder()
    queue = Queue([to(1), to(2), to(3, object_id=9)])
    async with (
        serving(door, material) as (server, port),
        relaying(pki_world, queue, routes={"patient.example": f"127.0.0.1:{port}"}) as running,
    ):
        recorded = await queue.until(3)
        assert server.connections <= 1
    assert {o.kind for o in recorded.values()} == {OutcomeKind.RELAYED}
    assert {o.remote for o in recorded.values()} == {"127.0.0.1"}
    assert [len(envelope.recipients) for envelope, _ in door.letters] == [2, 1]
    assert [octets for _, octets in door.letters] == [OCTETS, OCTETS]
    assert running.counts.seen == [("attempt", "relayed")] * 3


async def test_a_wake_up_is_enough(material: TlsMaterial, pki_world: Pki) -> None:
    door, queue = Recorder(), Queue()
    async with (
        serving(door, material) as (_, port),
        relaying(pki_world, queue, routes={"patient.example": f"127.0.0.1:{port}"}) as running,
    ):
        while not running.scripted.called("next_due"):
            await asyncio.sleep(0)
        queue.waiting.append(to(1))
        running.scripted.bell.event.set()
        await queue.until(1)


async def test_without_a_wake_up_the_next_due_moment_is_enough(material: TlsMaterial, pki_world: Pki) -> None:
    door, queue = Recorder(), Queue(due=now() + timedelta(seconds=0.1))
    async with (
        serving(door, material) as (_, port),
        relaying(pki_world, queue, routes={"patient.example": f"127.0.0.1:{port}"}) as running,
    ):
        while not running.scripted.called("next_due"):
            await asyncio.sleep(0)
        queue.waiting.append(to(1))
        await queue.until(1)


async def test_a_dead_destination_costs_the_others_nothing(material: TlsMaterial, pki_world: Pki) -> None:
    door = Recorder()
    queue = Queue([to(n, "gip.example", object_id=n) for n in range(1, 40)] + [to(50)])
    async with serving(door, material) as (_, port):
        routes = {"patient.example": f"127.0.0.1:{port}", "gip.example": "127.0.0.1:1"}
        async with relaying(pki_world, queue, routes=routes):
            recorded = await queue.until(40)
    assert recorded[50].kind is OutcomeKind.RELAYED
    assert {(recorded[n].kind, recorded[n].enhanced) for n in range(1, 40)} == {(OutcomeKind.TEMPORARY, "4.4.1")}


async def test_a_long_lane_gets_half_of_the_sessions(material: TlsMaterial, pki_world: Pki) -> None:
    door = Recorder(hold=asyncio.Event())
    assert door.hold
    queue = Queue([to(n, object_id=n) for n in range(1, 100)])
    async with (
        serving(door, material) as (server, port),
        relaying(pki_world, queue, routes={"patient.example": f"127.0.0.1:{port}"}, concurrency=4),
    ):
        while server.connections < 2:
            await asyncio.sleep(0)
        door.hold.set()
        await queue.until(99)
    assert len(door.letters) == 99


async def test_more_than_the_house_holds_is_claimed_later(material: TlsMaterial, pki_world: Pki) -> None:
    door = Recorder()
    queue = Queue([to(n) for n in range(1, 81)])
    async with (
        serving(door, material) as (_, port),
        relaying(pki_world, queue, routes={"patient.example": f"127.0.0.1:{port}"}, concurrency=1) as running,
    ):
        await queue.until(80)
        assert running.scripted.called("claim")[0][1] == 16


@pytest.mark.parametrize(
    ("trust", "reason"),
    [
        (lambda: trust_list(now(), "chu"), "peer-not-listed"),
        (lambda: trust_list(now(), patient="gip"), "peer-not-listed"),
        (lambda: trust_list(now() - timedelta(hours=2), "patient"), "stale-trust-list"),
        (lambda: trust_list(now() + timedelta(hours=2), "patient"), "clock-back"),
        (lambda: None, "no-trust-list"),
    ],
)
async def test_only_the_listed_operator_gets_letters(
    material: TlsMaterial, pki_world: Pki, trust: Callable[[], TrustList | None], reason: str
) -> None:
    door = Recorder()
    queue = Queue([to(1)])
    async with (
        serving(door, material) as (_, port),
        relaying(pki_world, queue, routes={"patient.example": f"127.0.0.1:{port}"}, trust=trust),
    ):
        recorded = await queue.until(1)
    assert (recorded[1].kind, recorded[1].enhanced) == (OutcomeKind.TEMPORARY, "4.7.5")
    assert reason in recorded[1].text
    assert not door.letters


async def test_a_peer_that_loses_its_domain_gets_no_other_letter_on_the_open_connection(
    material: TlsMaterial, pki_world: Pki
) -> None:
    lists = [trust_list(now(), "patient")]

    class Losing(Recorder):
        async def data(self, session: Session, transaction: Transaction, octets: bytes) -> Reply:
            answer = await super().data(session, transaction, octets)
            lists[0] = trust_list(now(), "chu")
            return answer

    door, queue = Losing(), Queue([to(1), to(2, object_id=9)])
    async with (
        serving(door, material) as (_, port),
        relaying(
            pki_world,
            queue,
            routes={"patient.example": f"127.0.0.1:{port}"},
            trust=lambda: lists[0],
            concurrency=1,
        ),
    ):
        recorded = await queue.until(2)
    assert recorded[1].kind is OutcomeKind.RELAYED
    assert (recorded[2].kind, recorded[2].enhanced) == (OutcomeKind.TEMPORARY, "4.7.5")
    assert "peer-not-listed" in recorded[2].text
    assert len(door.letters) == 1


async def test_a_peer_whose_responder_says_no_gets_nothing(tmp_path: Path) -> None:
    own = make_pki(tmp_path)
    authority = pki.load_authority(tmp_path / "authority")
    with web() as served:
        path, _ = pki.issue(
            tmp_path / "patient", authority, subject("patient"), ["mx.patient.example"], now=now(),
            ocsp_url=served.url("/ocsp"),
        )  # fmt: skip
        leaf = leaf_of(path)
        served.pages["/ocsp"] = Responder(authority, [leaf], {leaf.serial_number}, clock=now)
        door, queue = Recorder(), Queue([to(1)])
        async with (
            serving(door, TlsMaterial(own.config("patient"))) as (_, port),
            relaying(own, queue, routes={"patient.example": f"127.0.0.1:{port}"}),
        ):
            recorded = await queue.until(1)
    assert (recorded[1].kind, recorded[1].enhanced) == (OutcomeKind.TEMPORARY, "4.7.5")
    assert "peer-revocation-revoked" in recorded[1].text
    assert not door.letters


@pytest.mark.parametrize(
    ("name", "host", "reason"),
    [
        # The name that MX records or a route give is the name that the certificate must show.
        pytest.param("patient", "127.1", "Hostname mismatch", id="another name"),
        pytest.param("expired", "127.0.0.1", "certificate has expired", id="expired"),
        pytest.param("rogue", "127.0.0.1", "unable to get local issuer", id="foreign authority"),
        pytest.param("revoked", "127.0.0.1", "peer-revocation-revoked", id="revoked"),
        pytest.param("gip", "127.0.0.1", "peer-not-listed", id="listed for another domain"),
    ],
)
async def test_a_letter_waits_rather_than_go_to_another(pki_world: Pki, name: str, host: str, reason: str) -> None:
    door, queue = Recorder(), Queue([to(1)])
    listed = trust_list(now(), "patient", "revoked", "gip", "chu")
    listed = replace(listed, domains={**listed.domains, Domain("patient.example"): _all_but_gip(listed)})
    async with (
        serving(door, TlsMaterial(pki_world.config(name))) as (_, port),
        relaying(pki_world, queue, routes={"patient.example": f"{host}:{port}"}, trust=lambda: listed),
    ):
        recorded = await queue.until(1)
    assert (recorded[1].kind, recorded[1].enhanced) == (OutcomeKind.TEMPORARY, "4.7.5")
    assert reason in recorded[1].text
    assert not door.letters


def _all_but_gip(listed: TrustList) -> frozenset[DN]:
    return frozenset(
        subject
        for domain in ("patient", "revoked", "chu")
        for subject in listed.subjects_of(Domain(f"{domain}.example"))
    )


async def test_a_domain_listed_for_another_subject_is_pinned_to_it(material: TlsMaterial, pki_world: Pki) -> None:
    door = Recorder()
    queue = Queue([to(1, "other.example"), to(2, "gip.example")])
    async with serving(door, material) as (_, port):
        routes = {"other.example": f"127.0.0.1:{port}", "gip.example": f"127.0.0.1:{port}"}
        async with relaying(pki_world, queue, routes=routes):
            recorded = await queue.until(2)
    assert recorded[1].kind is OutcomeKind.RELAYED
    assert recorded[2].enhanced == "4.7.5"


async def test_final_refusals_are_permanent(material: TlsMaterial, pki_world: Pki) -> None:
    door = Recorder(answers={"rcpt": Reply(550, "5.1.1", "Unknown")})
    queue = Queue([to(1)])
    async with (
        serving(door, material) as (_, port),
        relaying(pki_world, queue, routes={"patient.example": f"127.0.0.1:{port}"}),
    ):
        recorded = await queue.until(1)
    assert recorded[1] == Outcome(OutcomeKind.PERMANENT, 550, "5.1.1", "Unknown", "127.0.0.1")


@pytest.mark.parametrize(
    ("answer", "kind", "enhanced"),
    [
        ([], OutcomeKind.PERMANENT, "5.1.2"),
        ([(0, "")], OutcomeKind.PERMANENT, "5.1.10"),
        (Malformed("no name"), OutcomeKind.PERMANENT, "5.1.2"),
        (Unavailable("silent"), OutcomeKind.TEMPORARY, "4.4.3"),
    ],
)
async def test_mx_records_that_lead_nowhere(pki_world: Pki, answer: Any, kind: OutcomeKind, enhanced: str) -> None:
    async def look_up(domain: Domain) -> list[tuple[int, str]]:
        assert domain == "patient.example"
        if isinstance(answer, Exception):
            raise answer
        return list(answer)

    queue = Queue([to(1)])
    async with relaying(pki_world, queue, look_up=look_up):
        recorded = await queue.until(1)
    assert (recorded[1].kind, recorded[1].enhanced) == (kind, enhanced)


async def test_the_hosts_of_mx_records_are_tried_in_order(
    material: TlsMaterial, pki_world: Pki, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def look_up(domain: Domain) -> list[tuple[int, str]]:
        return [(10, "127.0.0.2"), (20, "127.0.0.1")]

    door, queue = Recorder(), Queue([to(1)])
    async with serving(door, material) as (_, port):
        monkeypatch.setattr("mss.smtp.outgoing._SMTP_PORT", port)
        async with relaying(pki_world, queue, look_up=look_up):
            recorded = await queue.until(1)
    assert (recorded[1].kind, recorded[1].remote) == (OutcomeKind.RELAYED, "127.0.0.1")


async def test_a_record_that_fails_is_tried_again(material: TlsMaterial, pki_world: Pki) -> None:
    """A lost record would send the letter again."""
    door, queue = Recorder(), Queue([to(1)], record_failures=[Unavailable("locked")])
    async with (
        serving(door, material) as (_, port),
        relaying(pki_world, queue, routes={"patient.example": f"127.0.0.1:{port}"}),
    ):
        await queue.until(1)
    assert len(door.letters) == 1


async def test_a_letter_that_cannot_be_read_harms_no_other(material: TlsMaterial, pki_world: Pki) -> None:
    door, queue = Recorder(), Queue([to(1, object_id=1), to(2, object_id=2)], unreadable={1})
    async with (
        serving(door, material) as (_, port),
        relaying(pki_world, queue, routes={"patient.example": f"127.0.0.1:{port}"}),
    ):
        recorded = await queue.until(2)
    assert (recorded[1].kind, recorded[1].enhanced) == (OutcomeKind.TEMPORARY, "4.3.0")
    assert recorded[2].kind is OutcomeKind.RELAYED


async def test_a_bug_of_ours_is_temporary_to_the_letter_that_met_it(material: TlsMaterial, pki_world: Pki) -> None:
    """It is written down as a try, so that even a letter that always meets it expires one day."""
    door, queue = Recorder(), Queue([to(1)], octets=KeyError("bug"))
    async with (
        serving(door, material) as (_, port),
        relaying(pki_world, queue, routes={"patient.example": f"127.0.0.1:{port}"}),
    ):
        recorded = await queue.until(1)
        assert (recorded[1].kind, recorded[1].enhanced) == (OutcomeKind.TEMPORARY, "4.3.0")
        assert not door.letters


async def test_a_record_that_cannot_be_written_costs_the_others_nothing(material: TlsMaterial, pki_world: Pki) -> None:
    door, queue = Recorder(), Queue([to(1), to(2), to(3)], unwritable={2})
    async with (
        serving(door, material) as (_, port),
        relaying(pki_world, queue, routes={"patient.example": f"127.0.0.1:{port}"}),
    ):
        recorded = await queue.until(2)
    assert set(recorded) == {1, 3}


async def test_a_store_that_fails_does_not_end_the_loop(material: TlsMaterial, pki_world: Pki) -> None:
    door, queue = Recorder(), Queue()
    async with (
        serving(door, material) as (_, port),
        relaying(pki_world, queue, routes={"patient.example": f"127.0.0.1:{port}"}) as running,
    ):
        running.scripted.services[outbound.claim] = Unavailable("locked")
        running.scripted.bell.event.set()
        while len(running.scripted.called("claim")) < 2:
            await asyncio.sleep(0)
        running.scripted.services[outbound.claim] = queue.claim
        queue.waiting.append(to(1))
        running.scripted.bell.event.set()
        await queue.until(1)
        assert not running.task.done()


async def test_a_lease_about_to_end_is_left_alone(material: TlsMaterial, pki_world: Pki) -> None:
    """Another worker may have the letter already."""
    door = Recorder(hold=asyncio.Event())
    assert door.hold
    queue, passed = Queue([to(1), to(2, object_id=2)]), [timedelta(0)]
    async with (
        serving(door, material) as (_, port),
        relaying(
            pki_world,
            queue,
            routes={"patient.example": f"127.0.0.1:{port}"},
            clock=lambda: now() + passed[0],
            concurrency=1,
        ) as running,
    ):
        await door.reached.wait()
        passed[0] = timedelta(seconds=RelayConfig().lease_s - 5)
        door.hold.set()
        await queue.until(1)
        while running.relay._in_flight:
            await asyncio.sleep(0)
    assert list(queue.recorded) == [1]
    assert len(door.letters) == 1


async def test_stopping_lets_a_letter_end_and_begins_no_other(material: TlsMaterial, pki_world: Pki) -> None:
    door = Recorder(hold=asyncio.Event())
    assert door.hold
    queue = Queue([to(1), to(2, object_id=2)])
    async with (
        serving(door, material) as (_, port),
        relaying(pki_world, queue, routes={"patient.example": f"127.0.0.1:{port}"}, concurrency=1) as running,
    ):
        await door.reached.wait()
        stopping = asyncio.ensure_future(running.relay.stop(grace_s=5))
        await asyncio.sleep(0)
        door.hold.set()
        await stopping
    assert list(queue.recorded) == [1]
    assert len(door.letters) == 1
    assert [args[:2] for args in running.scripted.called("release")] == [("w1", (2,))]


async def test_past_the_grace_a_letter_is_cut(material: TlsMaterial, pki_world: Pki) -> None:
    door = Recorder(hold=asyncio.Event())
    assert door.hold
    queue = Queue([to(1)])
    async with (
        serving(door, material) as (_, port),
        relaying(pki_world, queue, routes={"patient.example": f"127.0.0.1:{port}"}) as running,
    ):
        await door.reached.wait()
        await running.relay.stop(grace_s=0.01)
        assert running.task.done() or running.relay._ended.is_set()
        door.hold.set()
    assert not queue.recorded


async def test_reports_are_owed_by_those_who_took_the_wishes_over(material: TlsMaterial, pki_world: Pki) -> None:
    door, queue = Recorder(), Queue([to(1)])
    async with (
        serving(door, material) as (_, port),
        relaying(pki_world, queue, routes={"patient.example": f"127.0.0.1:{port}"}) as running,
    ):
        await queue.until(1)
    [(_, (tried,), _, _)] = running.scripted.called("record_all")
    assert tried.outcome.dsn_handed_on


@pytest.mark.parametrize(
    ("route", "expected"),
    [
        ("mx.example:2525", ("mx.example", 2525)),
        ("mx.example", ("mx.example", 25)),
        ("[::1]:2525", ("::1", 2525)),
        ("[::1]", ("::1", 25)),
    ],
)
def test_routes(route: str, expected: tuple[str, int]) -> None:
    assert split_route(route) == expected


# -- destinations ------------------------------------------------------------------------------------------------------


async def test_a_destination_has_so_many_connections_at_most(material: TlsMaterial, pki_world: Pki) -> None:
    door = Recorder(hold=asyncio.Event())
    assert door.hold
    queue = Queue([to(n, object_id=n) for n in range(1, 100)])
    async with (
        serving(door, material) as (server, port),
        relaying(
            pki_world,
            queue,
            routes={"patient.example": f"127.0.0.1:{port}"},
            concurrency=20,
            concurrency_per_destination_max=3,
        ) as running,
    ):
        while server.connections < 3:
            await asyncio.sleep(0)
        for _ in range(50):
            await asyncio.sleep(0)
        assert server.connections == 3
        assert len(running.relay._sessions()) == 3
        door.hold.set()
        await queue.until(99)


async def test_a_slow_destination_does_not_fill_the_house(material: TlsMaterial, pki_world: Pki) -> None:
    slow, quick = Recorder(hold=asyncio.Event()), Recorder()
    assert slow.hold
    queue = Queue([to(n, "gip.example", object_id=n) for n in range(1, 200)] + [to(900)])
    async with (
        serving(slow, TlsMaterial(pki_world.config("gip"))) as (_, slow_port),
        serving(quick, material) as (_, port),
        relaying(
            pki_world,
            queue,
            routes={"patient.example": f"127.0.0.1:{port}", "gip.example": f"127.0.0.1:{slow_port}"},
            concurrency=4,
            concurrency_per_destination_max=2,
        ) as running,
    ):
        recorded = await queue.until(1)
        assert list(recorded) == [900]
        count = len(queue.shares)
        running.scripted.bell.event.set()
        while len(queue.shares) == count:
            await asyncio.sleep(0)
        assert queue.shares[-1].closed == {"gip.example"}
        slow.hold.set()
        await queue.until(200)


async def test_a_destination_that_nobody_reaches_rests_longer_each_time(pki_world: Pki) -> None:
    queue, passed = Queue([to(1)]), [timedelta(0)]
    async with relaying(
        pki_world,
        queue,
        routes={"patient.example": "127.0.0.1:1"},
        clock=lambda: THEN + passed[0],
        trust=lambda: None,
        backoff_first_s=10,
        backoff_max_s=15,
    ) as running:
        await queue.until(1)
        for number, pause_s in ((2, 10.5), (3, 15.75), (4, 15.75)):
            queue.waiting.append(to(number))
            running.scripted.bell.event.set()
            count = len(queue.shares)
            while len(queue.shares) == count:
                await asyncio.sleep(0)
            assert queue.shares[-1].closed == {"patient.example"}, "it rests"
            assert number not in queue.recorded
            passed[0] += timedelta(seconds=pause_s - 0.1)
            running.scripted.bell.event.set()
            count = len(queue.shares)
            while len(queue.shares) == count:
                await asyncio.sleep(0)
            assert queue.shares[-1].closed == {"patient.example"}
            passed[0] += timedelta(seconds=0.2)
            running.scripted.bell.event.set()
            await queue.until(number)
    assert {one.enhanced for one in queue.recorded.values()} == {"4.4.1"}


async def test_an_operator_who_asks_for_a_try_ends_the_rest(material: TlsMaterial, pki_world: Pki) -> None:
    door, queue = Recorder(), Queue([to(1)])
    routes = {"patient.example": "127.0.0.1:1"}
    async with serving(door, material) as (_, port), relaying(pki_world, queue, routes=routes) as running:
        await queue.until(1)
        routes["patient.example"] = f"127.0.0.1:{port}"
        queue.waiting.append(to(2))
        running.scripted.others["queue-retry"].event.set()
        recorded = await queue.until(2)
        assert recorded[2].kind is OutcomeKind.RELAYED
        assert not running.relay._rests


async def test_letters_in_memory_stay_within_their_budget(material: TlsMaterial, pki_world: Pki) -> None:
    door = Recorder(hold=asyncio.Event())
    assert door.hold
    large = [to(n, object_id=n, size_octets=40_000_000) for n in range(1, 30)]
    queue = Queue(list(large))
    async with (
        serving(door, material) as (_, port),
        relaying(pki_world, queue, routes={"patient.example": f"127.0.0.1:{port}"}) as running,
    ):
        await door.reached.wait()
        for _ in range(50):
            await asyncio.sleep(0)
        assert len(running.scripted.called("octets_of")) == 1
        door.hold.set()
        await queue.until(29)


async def test_a_peer_that_takes_one_letter_a_connection_gets_them_one_by_one(pki_world: Pki) -> None:
    """Each new connection serves a letter: none is put off because the one before ended the connection."""
    taken: list[bytes] = []
    context = TlsMaterial(pki_world.config("patient")).mx_server

    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for answer in (b"220 mx", b"250-mx\r\n250 STARTTLS"):
            writer.write(answer + b"\r\n")
            await reader.readline()
        writer.write(b"220 go\r\n")
        await writer.start_tls(context)
        for answer in (b"250-mx\r\n250 PIPELINING", b"250 ok", b"250 ok", b"354 go"):
            await reader.readline()
            writer.write(answer + b"\r\n")
        taken.append(await reader.readuntil(b"\r\n.\r\n"))
        writer.write(b"250 2.0.0 taken\r\n421 4.7.0 enough\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(peer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    queue = Queue([to(n, object_id=n) for n in range(1, 6)])
    async with server, relaying(pki_world, queue, routes={"patient.example": f"127.0.0.1:{port}"}, concurrency=1):
        recorded = await queue.until(5)
    assert {one.kind for one in recorded.values()} == {OutcomeKind.RELAYED}
    assert len(taken) == 5
