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
from mss.services.outbound import Plan
from mss.smtp.relay import Relay, RelayHouse, split_route
from mss.smtp.reply import Reply
from mss.smtp.session import Session, Transaction
from mss.tls import TlsMaterial
from tests.certs.responder import Responder, leaf_of
from tests.smtp.smtp_letters import delivery, trust_list
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
    record_failures: int = 0
    octets: Any = OCTETS
    due: datetime | None = None

    def claim(self, worker: str, limit: int, lease_s: int, at: datetime) -> tuple[Delivery, ...]:
        taken, self.waiting = self.waiting[:limit], self.waiting[limit:]
        return tuple(taken)

    def read(self, delivery_id: int, at: datetime) -> bytes:
        if isinstance(self.octets, Exception):
            raise self.octets
        return bytes(self.octets)

    def record(
        self, worker: str, delivery_id: int, outcome: Outcome, plan: Plan, jitter: float, at: datetime
    ) -> DeliveryState:
        assert (worker, jitter) == ("w1", 0.5)
        if self.record_failures:
            self.record_failures -= 1
            raise Unavailable("locked")
        self.recorded[delivery_id] = outcome
        self.changed.set()
        return DeliveryState.DELIVERED

    async def until(self, count: int) -> dict[int, Outcome]:
        async with asyncio.timeout(10):
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
    **relay: Any,
) -> AsyncIterator[Running]:
    scripted = Scripted(
        {
            outbound.claim: queue.claim,
            outbound.octets: queue.read,
            outbound.record: queue.record,
            outbound.next_due: lambda at: queue.due,
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
    )
    made = Relay(house)
    task = asyncio.create_task(made.run())
    try:
        yield Running(made, queue, scripted, counts, task)
    finally:
        await made.stop(grace_s=2)
        async with asyncio.timeout(5):
            await task
        assert scripted.bell.closed


def to(number: int, domain: str = "patient.example", **changes: object) -> Delivery:
    return delivery(number, f"b{number}@{domain}", **changes)


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
        assert running.scripted.called("claim")[0][1] == 32


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
        monkeypatch.setattr("mss.smtp.relay._SMTP_PORT", port)
        async with relaying(pki_world, queue, look_up=look_up):
            recorded = await queue.until(1)
    assert (recorded[1].kind, recorded[1].remote) == (OutcomeKind.RELAYED, "127.0.0.1")


async def test_a_record_that_fails_is_tried_again(material: TlsMaterial, pki_world: Pki) -> None:
    """A lost record would send the letter again."""
    door, queue = Recorder(), Queue([to(1)], record_failures=1)
    async with (
        serving(door, material) as (_, port),
        relaying(pki_world, queue, routes={"patient.example": f"127.0.0.1:{port}"}),
    ):
        await queue.until(1)
    assert len(door.letters) == 1


async def test_a_letter_that_cannot_be_read_harms_no_other(material: TlsMaterial, pki_world: Pki) -> None:
    door, queue = Recorder(), Queue([to(1)], octets=KeyError("bug"))
    async with (
        serving(door, material) as (_, port),
        relaying(pki_world, queue, routes={"patient.example": f"127.0.0.1:{port}"}) as running,
    ):
        while not running.scripted.called("octets"):
            await asyncio.sleep(0)
        queue.octets = OCTETS
        queue.waiting.append(to(2))
        running.scripted.bell.event.set()
        await queue.until(1)
    assert list(queue.recorded) == [2]
    assert len(door.letters) == 1


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
    [(_, _, outcome, plan, _, _)] = running.scripted.called("record")
    assert outcome.dsn_handed_on
    assert plan.peer_speaks_dsn


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
