"""The relay: takes due deliveries by lease, gives them to other operators, writes down what became of each.

It decides no route, no retry and no report: `policy.routing` did at submission, `services.outbound.record` does
afterwards. At least once: a letter whose record is lost is sent again, and its receiver recognises it. The rules:

- Each destination has a lane of its own with a share of the sessions: a slow operator costs the others nothing.
- A letter whose lease is about to run out is left alone: another worker may have it already.
- What fails for no reason that the peer gave is temporary.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final

from mss.clock import Clock
from mss.config import Limits
from mss.errors import Malformed, MssError, Unavailable, incident_number
from mss.log import get_logger
from mss.model.address import Domain
from mss.model.delivery import Delivery, Outcome
from mss.model.peer import TrustList
from mss.policy import admission
from mss.services import outbound
from mss.services.outbound import Plan
from mss.smtp import client, dialog
from mss.smtp.client import Channel, Secrets
from mss.smtp.dialog import Letter
from mss.smtp.metrics import Metrics
from mss.store.store import Store, Subscription
from mss.tls import TlsMaterial, pin

_SMTP_PORT: Final = 25
_HOSTS_MAX: Final = 5
_CLAIMED_PER_SESSION: Final = 32
_LETTERS_PER_SESSION: Final = 8
_RECORD_PAUSES_S: Final = (0.1, 1.0, 5.0)
# Below it, the next due moment is not worth a precise alarm.
_REST_MIN_S: Final = 0.05

LookUp = Callable[[Domain], Awaitable[list[tuple[int, str]]]]

_log = get_logger("relay")


@dataclass(frozen=True, slots=True)
class RelayHouse:
    """What the relay needs. `look_up` is `dns.mx` on a resolver; `jitter` draws from [0, 1)."""

    store: Store
    material: TlsMaterial
    trust: Callable[[], TrustList | None]
    trust_max_age_s: int
    look_up: LookUp
    plan: Plan
    limits: Limits
    clock: Clock
    metrics: Metrics
    worker: str
    jitter: Callable[[], float] = random.random


@dataclass(slots=True)
class _Lane:
    """One destination: the letters that wait for it, with the end of their leases, and its sessions."""

    domain: Domain
    waiting: deque[tuple[Letter, datetime]] = field(default_factory=deque)
    sessions: set[asyncio.Task[None]] = field(default_factory=set)


class Relay:
    """The loop of one process, from `run` to `stop`."""

    def __init__(self, house: RelayHouse) -> None:
        self._house = house
        self._lanes: dict[Domain, _Lane] = {}
        self._in_flight = 0
        self._slots = asyncio.Semaphore(self._concurrency)
        self._stopping = asyncio.Event()
        self._changed = asyncio.Event()
        self._ended = asyncio.Event()
        self._ended.set()

    @property
    def _concurrency(self) -> int:
        return max(1, self._house.plan.relay.concurrency)

    async def run(self) -> None:
        """Relay until `stop`; no failure of the store or of a peer ends it."""
        self._ended.clear()
        subscription = self._house.store.subscribe("queue")
        try:
            while not self._stopping.is_set():
                self._changed.clear()
                try:
                    more = await self._claim()
                    rest_s = 0.0 if more else await self._until_due()
                except Exception as error:  # noqa: BLE001  # The loop's supervisor.
                    _incident("relay.claim_failed", error)
                    rest_s = float(self._house.plan.relay.poll_s)
                if rest_s:
                    await self._rest(subscription, rest_s)
        finally:
            subscription.close()
            await self._wind_up()
            self._ended.set()

    async def stop(self, grace_s: float = 30) -> None:
        """Let letters under way end, begin no other, give the rest back; past the grace, cut."""
        self._stopping.set()
        self._changed.set()
        try:
            async with asyncio.timeout(grace_s):
                await self._ended.wait()
        except TimeoutError:
            for task in self._sessions():
                task.cancel()
            await self._ended.wait()

    def _sessions(self) -> set[asyncio.Task[None]]:
        return {task for lane in self._lanes.values() for task in lane.sessions}

    async def _wind_up(self) -> None:
        """Wait for the sessions, then give back the leases of letters that nobody tried."""
        self._stopping.set()
        if sessions := self._sessions():
            await asyncio.wait(sessions)
        untried = tuple(
            one.id for lane in self._lanes.values() for letter, _ in lane.waiting for one in letter.deliveries
        )
        house = self._house
        if untried:
            try:
                await house.store.write(outbound.release, house.worker, untried, house.clock())
            except MssError as error:  # They are claimable again when their leases end.
                _incident("relay.release_failed", error)

    # Claiming ------------------------------------------------------------------------------------------------

    async def _claim(self) -> bool:
        """Take what is due, as far as there is room; True when there may be more to take at once."""
        house, room = self._house, self._concurrency * _CLAIMED_PER_SESSION - self._in_flight
        if room <= 0:
            return False
        now, lease_s = house.clock(), house.plan.relay.lease_s
        claimed = await house.store.write(outbound.claim, house.worker, room, lease_s, now)
        self._in_flight += len(claimed)
        for letter in dialog.group(claimed, house.limits.recipients_max):
            self._give(letter, now + timedelta(seconds=lease_s))
        return len(claimed) == room

    def _give(self, letter: Letter, lease_until: datetime) -> None:
        """Put a letter into its lane, with another session when the lane is long and sessions are left."""
        domain = letter.first.destination
        lane = self._lanes.setdefault(domain, _Lane(domain))
        lane.waiting.append((letter, lease_until))
        self._staff(lane)

    def _staff(self, lane: _Lane) -> None:
        """Give a lane the sessions that its length deserves, at most half of all."""
        wanted = min(max(1, self._concurrency // 2), 1 + len(lane.waiting) // _LETTERS_PER_SESSION)
        if lane.waiting and len(lane.sessions) < wanted and not self._stopping.is_set():
            task = asyncio.get_running_loop().create_task(self._session(lane))
            lane.sessions.add(task)
            task.add_done_callback(lambda done: self._session_ended(lane, done))

    def _session_ended(self, lane: _Lane, task: asyncio.Task[None]) -> None:
        lane.sessions.discard(task)
        self._changed.set()
        if lane.sessions:
            return
        if lane.waiting and not self._stopping.is_set():
            self._staff(lane)  # A letter came while the last session said goodbye.
        elif not lane.waiting:
            self._lanes.pop(lane.domain, None)

    async def _until_due(self) -> float:
        """Return how long to rest: until something is due, at most a poll; a full house waits for its sessions."""
        house = self._house
        poll_s = float(house.plan.relay.poll_s)
        if self._in_flight >= self._concurrency * _CLAIMED_PER_SESSION:
            return poll_s
        now = house.clock()
        due = await house.store.read(outbound.next_due, now)
        wait_s = (due - now).total_seconds() if due else poll_s
        return min(poll_s, max(_REST_MIN_S, wait_s))

    async def _rest(self, subscription: Subscription, rest_s: float) -> None:
        """Wait for a wake-up, for room, for the end, or so long."""
        loop = asyncio.get_running_loop()
        waits = {loop.create_task(subscription.wait(rest_s)), loop.create_task(self._changed.wait())}
        _, pending = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)

    # Sending -------------------------------------------------------------------------------------------------

    async def _session(self, lane: _Lane) -> None:
        """Give a lane's letters over one connection after another, until none waits."""
        async with self._slots:
            channel: Channel | None = None
            try:
                while lane.waiting and not self._stopping.is_set():
                    letter, lease_until = lane.waiting.popleft()
                    channel = await self._one(lane, letter, lease_until, channel)
            finally:
                if channel:
                    await channel.close()

    async def _one(self, lane: _Lane, letter: Letter, lease_until: datetime, channel: Channel | None) -> Channel | None:
        """Try one letter and write down what became of it; returns the connection for the next."""
        began = time.perf_counter()
        try:
            if self._too_late(lease_until):
                return channel
            channel, outcomes = await self._try(lane, letter, channel)
            await self._record(letter, outcomes, time.perf_counter() - began)
        except Exception as error:  # noqa: BLE001  # The supervisor: the lease runs out, and the letter is tried again.
            _incident("relay.letter_failed", error, delivery=letter.first.id)
        finally:
            self._in_flight -= len(letter.deliveries)
            self._changed.set()
        return channel

    def _too_late(self, lease_until: datetime) -> bool:
        relay = self._house.plan.relay
        needed_s = min(relay.lease_s / 2, 2 * relay.timeout_s)
        return self._house.clock() + timedelta(seconds=needed_s) > lease_until

    async def _try(
        self, lane: _Lane, letter: Letter, channel: Channel | None
    ) -> tuple[Channel | None, tuple[Outcome, ...]]:
        octets = await self._house.store.read(outbound.octets, letter.first.id, self._house.clock())
        if channel is None or not channel.alive:
            opened = await self._connect(lane.domain)
            if isinstance(opened, Outcome):
                await self._give_up(lane, opened)
                return None, tuple(opened for _ in letter.deliveries)
            channel = opened
        if reason := await self._objection_now(lane.domain, channel):
            await channel.close()
            return None, tuple(client.not_pinned(reason, channel.peer.host) for _ in letter.deliveries)
        return channel, await channel.send(letter, octets)

    async def _give_up(self, lane: _Lane, outcome: Outcome) -> None:
        """A destination that nobody reaches: the letters that wait for it share the outcome, without a try each."""
        waiting, lane.waiting = lane.waiting, deque()
        for letter, lease_until in waiting:
            try:
                if not self._too_late(lease_until):
                    await self._record(letter, tuple(outcome for _ in letter.deliveries), 0.0)
            finally:
                self._in_flight -= len(letter.deliveries)

    async def _connect(self, domain: Domain) -> Channel | Outcome:
        """Return a connection to the best host that answers, or why there is none."""
        hosts = await self._hosts(domain)
        if isinstance(hosts, Outcome):
            return hosts
        house, failed = self._house, dialog.temporary("4.4.4", "No host to give the letter to")
        context = house.material.mx_client
        secrets = Secrets(context, context.remember, lambda end: self._objection(domain, end))  # type: ignore[arg-type]
        for host, port in hosts[:_HOSTS_MAX]:
            opened = await client.connect(
                host, port, secrets, hostname=house.plan.hostname, timeout_s=house.plan.relay.timeout_s
            )
            if isinstance(opened, Channel):
                return opened
            failed = opened
        return failed

    async def _hosts(self, domain: Domain) -> list[tuple[str, int]] | Outcome:
        route = self._house.plan.relay.routes.get(domain)
        if route:
            return [split_route(route)]
        try:
            records = await self._house.look_up(domain)
        except Malformed:
            return dialog.permanent("5.1.2", "The domain has no valid name")
        except Unavailable:
            return dialog.temporary("4.4.3", "The name servers do not answer")
        hosts = [(host, _SMTP_PORT) for _, host in records if host]
        if hosts:
            return hosts
        if records:
            return dialog.permanent("5.1.10", "The domain takes no letters")
        return dialog.permanent("5.1.2", "The domain has no mail server")

    def _objection(self, domain: Domain, end: object) -> str | None:
        """Return why the peer at the other end must not have letters for a domain, as far as it is known here."""
        house, trust, now = self._house, self._house.trust(), self._house.clock()
        if trust is None:
            return "no-trust-list"
        if doubt := admission.list_doubt(trust, now=now, max_age_s=house.trust_max_age_s):
            return doubt.rule.name.removeprefix("peer.")
        try:
            peer = house.material.peer(end, ip="", now=now)  # type: ignore[arg-type]
        except MssError:
            return "peer-unverifiable"
        return pin(peer, domain, trust)

    async def _objection_now(self, domain: Domain, channel: Channel) -> str | None:
        """The same for each letter on an open connection, and what the peer's responder says (OCSP)."""
        house = self._house
        if reason := self._objection(domain, channel.end):
            return reason
        try:
            peer = await house.material.met(channel.end, ip="", now=house.clock())  # type: ignore[arg-type]
        except MssError:
            return "peer-unverifiable"
        return None if peer.revocation == "good" else f"peer-revocation-{peer.revocation}"

    # Writing down --------------------------------------------------------------------------------------------

    async def _record(self, letter: Letter, outcomes: tuple[Outcome, ...], seconds: float) -> None:
        pairs = list(zip(letter.deliveries, outcomes, strict=True))
        for delivery, outcome in pairs:
            _canonical(delivery, outcome, seconds)
            self._house.metrics.attempt(str(outcome.kind), seconds)
        await asyncio.gather(*(self._record_one(delivery, outcome) for delivery, outcome in pairs))

    async def _record_one(self, delivery: Delivery, outcome: Outcome) -> None:
        """Write one outcome down; try hard, for a lost record sends the letter again."""
        house = self._house
        plan = replace(house.plan, peer_speaks_dsn=outcome.dsn_handed_on)
        for pause_s in (*_RECORD_PAUSES_S, None):
            try:
                await house.store.write(
                    outbound.record, house.worker, delivery.id, outcome, plan, house.jitter(), house.clock()
                )
                return
            except Unavailable:
                if pause_s is None:
                    raise
                with suppress(TimeoutError):
                    async with asyncio.timeout(pause_s):
                        await self._stopping.wait()


def split_route(route: str) -> tuple[str, int]:
    """Return host and port of a configured `host:port`; IPv6 addresses stand in brackets."""
    host, colon, port = route.rpartition(":")
    if not colon or not port.isdigit():
        return route.strip("[]"), _SMTP_PORT
    return host.strip("[]"), int(port)


def _canonical(delivery: Delivery, outcome: Outcome, seconds: float) -> None:
    _log.info(
        "relay.attempt",
        delivery=delivery.id,
        destination=str(delivery.destination),
        attempt=delivery.attempts + 1,
        outcome=str(outcome.kind),
        code=outcome.code,
        enhanced=outcome.enhanced,
        remote=outcome.remote,
        seconds=round(seconds, 3),
    )


def _incident(event: str, error: Exception, **fields: int) -> None:
    known = isinstance(error, MssError)
    _log.error(
        event, incident=incident_number(), kind=type(error).__name__, exc_info=None if known else error, **fields
    )
