"""The relay: takes due deliveries by lease, gives them to other operators, writes down what became of each.

It decides no route, no retry and no report: `policy.routing` did at submission, `services.outbound.record_all` does
afterwards. At least once: a letter whose record is lost is sent again, and its receiver recognises it. The rules:

- Each destination has a lane of its own, with a share of the sessions and of the letters that are claimed: a slow
  operator costs the others nothing. One that nobody reaches rests, longer each time.
- A letter whose lease is about to run out is left alone: another worker may have it already.
- What fails for no reason that the peer gave is temporary.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final

from mss.errors import MssError
from mss.log import get_logger
from mss.model.address import Domain
from mss.model.delivery import Delivery, Outcome, OutcomeKind
from mss.policy import retry
from mss.services import outbound
from mss.services.outbound import Share, Tried
from mss.smtp import dialog, outgoing
from mss.smtp.client import Channel, not_pinned
from mss.smtp.dialog import Letter, Parcel
from mss.smtp.outgoing import RelayHouse as RelayHouse
from mss.smtp.outgoing import split_route as split_route
from mss.smtp.recorder import Recorder, incident
from mss.store.store import Subscription

_CLAIMED_PER_SESSION: Final = 16
_LETTERS_PER_SESSION: Final = 8
# What one session takes at once, so that the octets come in one hop and each letter can announce the next.
_BATCH_LETTERS: Final = 8
_BATCH_OCTETS: Final = 1024 * 1024
# Below it, the next due moment is not worth a precise alarm.
_REST_MIN_S: Final = 0.05
# A connection waits so long for another letter: where many letters go, they come every second.
_LINGER_S: Final = 2.0
# Converting a letter above it would hold the loop up.
_PACKED_ASIDE_OCTETS: Final = 256 * 1024

_log = get_logger("relay")


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A letter in its lane, and when its lease ends."""

    letter: Letter
    lease_until: datetime

    @property
    def size_octets(self) -> int:
        return self.letter.first.size_octets


@dataclass(slots=True)
class _Lane:
    """One destination: the letters that wait for it, its sessions, and how many deliveries it has in all."""

    domain: Domain
    waiting: deque[_Waiting] = field(default_factory=deque)
    sessions: set[asyncio.Task[None]] = field(default_factory=set)
    deliveries: int = 0
    stirred: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when a letter came, or when sessions that wait for one should look up."""

    def take(self) -> list[_Waiting]:
        """Take the first letters, as many as one session reads at once; one at least while there are any."""
        taken: list[_Waiting] = []
        octets = 0
        while self.waiting and len(taken) < _BATCH_LETTERS:
            octets += self.waiting[0].size_octets
            if taken and octets > _BATCH_OCTETS:
                break
            taken.append(self.waiting.popleft())
        return taken


@dataclass(slots=True)
class _Rest:
    """A destination that nobody reached: how often in a row, and until when it is left in peace."""

    failures: int
    until: datetime


class _Budget:
    """So many octets in memory at once; who wants more than all waits for all."""

    def __init__(self, octets: int) -> None:
        self._all = self._left = octets
        self._changed = asyncio.Condition()

    async def take(self, octets: int) -> int:
        """Wait for so many octets; returns what to give back."""
        wanted = min(octets, self._all)
        async with self._changed:
            await self._changed.wait_for(lambda: self._left >= wanted)
            self._left -= wanted
        return wanted

    async def give(self, octets: int) -> None:
        """Give octets back."""
        async with self._changed:
            self._left += octets
            self._changed.notify_all()


class Relay:
    """The loop of one process, from `run` to `stop`."""

    def __init__(self, house: RelayHouse) -> None:
        self._house = house
        self._lanes: dict[Domain, _Lane] = {}
        self._rests: dict[Domain, _Rest] = {}
        self._in_flight = 0
        self._full = False
        self._slots = asyncio.Semaphore(self._concurrency)
        self._budget = _Budget(house.limits.relay_in_flight_max_octets)
        self._stopping = asyncio.Event()
        self._changed = asyncio.Event()
        self._recorder = Recorder(house, self._stopping, self._written)
        self._ended = asyncio.Event()
        self._ended.set()

    @property
    def _concurrency(self) -> int:
        return max(1, self._house.plan.relay.concurrency)

    @property
    def _lane_sessions(self) -> int:
        """How many sessions one lane may have: never all of them, unless there is one only."""
        wanted = self._house.plan.relay.concurrency_per_destination_max
        return max(1, min(wanted, self._concurrency // 2))

    @property
    def _room(self) -> int:
        """How many more deliveries may be claimed: those that are not written down yet count as well."""
        return self._concurrency * _CLAIMED_PER_SESSION - self._in_flight - self._recorder.unwritten

    async def run(self) -> None:
        """Relay until `stop`; no failure of the store or of a peer ends it."""
        self._ended.clear()
        subscription = self._house.store.subscribe("queue")
        impatient = self._house.store.subscribe("queue-retry")
        watching = asyncio.get_running_loop().create_task(self._end_rests(impatient))
        try:
            while not self._stopping.is_set():
                self._changed.clear()
                try:
                    more = await self._claim()
                    rest_s = 0.0 if more else await self._until_due()
                except Exception as error:  # noqa: BLE001  # The loop's supervisor.
                    incident("relay.claim_failed", error)
                    rest_s = float(self._house.plan.relay.poll_s)
                if rest_s:
                    await self._rest(subscription, rest_s)
        finally:
            watching.cancel()
            subscription.close()
            impatient.close()
            await self._wind_up()
            self._ended.set()

    async def stop(self, grace_s: float = 30) -> None:
        """Let letters under way end, begin no other, give the rest back; past the grace, cut."""
        self._stopping.set()
        self._changed.set()
        self._stir_all()
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
        """Wait for the sessions and the records, then give back the leases of letters that nobody tried."""
        self._stopping.set()
        self._stir_all()
        if sessions := self._sessions():
            await asyncio.wait(sessions)
        await self._recorder.close()
        untried = tuple(
            one.id for lane in self._lanes.values() for waiting in lane.waiting for one in waiting.letter.deliveries
        )
        house = self._house
        if untried:
            try:
                await house.store.write(outbound.release, house.worker, untried, house.clock())
            except MssError as error:  # They are claimable again when their leases end.
                incident("relay.release_failed", error)

    def _written(self) -> None:
        """Claim again when the house was full because records were slow."""
        if self._full and self._room > 0:
            self._full = False
            self._changed.set()

    # Claiming ------------------------------------------------------------------------------------------------

    async def _claim(self) -> bool:
        """Take what is due, as far as there is room; True when there may be more to take at once."""
        house, room = self._house, self._room
        if room <= 0:
            self._full = True
            return False
        now, lease_s = house.clock(), house.plan.relay.lease_s
        claimed = await house.store.write(outbound.claim, house.worker, room, lease_s, now, self._share(now))
        self._in_flight += len(claimed)
        for letter in dialog.group(claimed, house.limits.recipients_max):
            self._give(_Waiting(letter, now + timedelta(seconds=lease_s)))
        return len(claimed) == room

    @property
    def _lane_most(self) -> int:
        """How many deliveries one lane holds."""
        return self._lane_sessions * _CLAIMED_PER_SESSION

    def _share(self, now: datetime) -> Share:
        """Return how many deliveries each destination may still be given: none to those that rest or are half full, so
        that each claim brings many."""
        most = self._lane_most
        lanes = self._lanes.values()
        left = {str(one.domain): most - one.deliveries if one.deliveries <= most // 2 else 0 for one in lanes}
        left |= {str(domain): 0 for domain, rest in self._rests.items() if rest.until > now}
        return Share(most, left)

    def _give(self, waiting: _Waiting) -> None:
        """Put a letter into its lane, with another session when the lane is long and sessions are left."""
        domain = waiting.letter.first.destination
        lane = self._lanes.setdefault(domain, _Lane(domain))
        lane.deliveries += len(waiting.letter.deliveries)
        lane.waiting.append(waiting)
        lane.stirred.set()
        self._staff(lane)

    def _staff(self, lane: _Lane) -> None:
        """Give a lane the sessions that its length deserves."""
        # After a rest, one session finds out whether somebody is there again.
        most = 1 if lane.domain in self._rests else self._lane_sessions
        wanted = min(most, 1 + len(lane.waiting) // _LETTERS_PER_SESSION)
        while lane.waiting and len(lane.sessions) < wanted and not self._stopping.is_set():
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
        if self._room <= 0:
            return poll_s
        now = house.clock()
        due = await house.store.read(outbound.next_due, now, self._share(now).closed)
        ends = [rest.until for rest in self._rests.values() if rest.until > now]
        wait_s = min([poll_s, *((at - now).total_seconds() for at in (*ends, due) if at is not None)])
        return max(_REST_MIN_S, wait_s)

    async def _rest(self, subscription: Subscription, rest_s: float) -> None:
        """Wait for a wake-up, for room, for the end, or so long."""
        loop = asyncio.get_running_loop()
        waits = {loop.create_task(subscription.wait(rest_s)), loop.create_task(self._changed.wait())}
        _, pending = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)

    async def _end_rests(self, impatient: Subscription) -> None:
        """End every rest when an operator asks for letters to be tried now."""
        while True:
            if await impatient.wait(3600):
                self._rests.clear()
                self._changed.set()

    # Sending -------------------------------------------------------------------------------------------------

    async def _session(self, lane: _Lane) -> None:
        """Give a lane's letters over one connection after another, until none came for a while."""
        if self._slots.locked():
            self._stir_all()  # A session that only waits for letters makes room.
        async with self._slots:
            channel: Channel | None = None
            try:
                while not self._stopping.is_set():
                    if batch := lane.take():
                        channel = await self._batch(lane, batch, channel)
                    elif channel is None or not channel.alive or not await self._linger(lane):
                        break
            finally:
                if channel:
                    await channel.close()

    async def _linger(self, lane: _Lane) -> bool:
        """Wait for another letter, if nobody else needs the slot; False when none came."""
        if self._slots.locked() or self._stopping.is_set():
            return False
        lane.stirred.clear()
        try:
            async with asyncio.timeout(_LINGER_S):
                await lane.stirred.wait()
        except TimeoutError:
            return False
        return bool(lane.waiting)

    def _stir_all(self) -> None:
        for lane in self._lanes.values():
            lane.stirred.set()

    async def _batch(self, lane: _Lane, batch: list[_Waiting], channel: Channel | None) -> Channel | None:
        """Try some letters; returns the connection for the next ones. What was not tried goes back into the lane."""
        held = await self._budget.take(sum(one.size_octets for one in batch))
        left = deque(batch)
        try:
            octets = await self._read(lane, left)
            if left and (channel is None or not channel.alive):
                channel = await self._connect(lane, left)
            if channel is not None:
                await self._give_over(lane, left, octets, channel)
        except Exception as error:  # noqa: BLE001  # The supervisor: a bug of ours is temporary to the letter that met it.
            incident("relay.letter_failed", error, delivery=left[0].letter.first.id if left else 0)
            if left:
                self._failed(lane, left.popleft())
        finally:
            lane.waiting.extendleft(reversed(left))
            await self._budget.give(held)
        return channel

    async def _read(self, lane: _Lane, batch: deque[_Waiting]) -> dict[int, bytes]:
        """Return the octets of a batch in one hop; letters that are too late or unreadable leave it."""
        self._drop_late(lane, batch)
        house = self._house
        ids = tuple(one.letter.first.id for one in batch)
        found = await house.store.read(outbound.octets_of, ids, house.clock()) if ids else {}
        for one in [one for one in batch if one.letter.first.id not in found]:
            batch.remove(one)
            _log.error("relay.letter_unreadable", delivery=one.letter.first.id)
            self._failed(lane, one)
        return found

    def _drop_late(self, lane: _Lane, batch: deque[_Waiting]) -> None:
        for one in [one for one in batch if self._too_late(one)]:
            batch.remove(one)
            self._leave(lane, one)

    def _too_late(self, waiting: _Waiting) -> bool:
        relay = self._house.plan.relay
        needed_s = min(relay.lease_s / 2, 2 * relay.timeout_s)
        return self._house.clock() + timedelta(seconds=needed_s) > waiting.lease_until

    async def _connect(self, lane: _Lane, batch: deque[_Waiting]) -> Channel | None:
        """Return a connection. Without one, all letters that wait share the outcome, and the destination rests."""
        opened = await outgoing.connect(self._house, lane.domain)
        if isinstance(opened, Channel):
            if self._rests.pop(lane.domain, None):
                self._staff(lane)
            return opened
        if opened.kind is OutcomeKind.TEMPORARY:
            self._let_rest(lane.domain)
        for one in (*batch, *lane.waiting):
            if self._too_late(one):
                self._leave(lane, one)
            else:
                self._record(lane, one, tuple(opened for _ in one.letter.deliveries), 0.0)
        batch.clear()
        lane.waiting.clear()
        return None

    def _let_rest(self, domain: Domain) -> None:
        house, before = self._house, self._rests.get(domain)
        failures = before.failures + 1 if before else 1
        relay = house.plan.relay
        pause_s = retry.rest_s(failures, relay.backoff_first_s, relay.backoff_max_s, house.jitter())
        self._rests[domain] = _Rest(failures, house.clock() + timedelta(seconds=pause_s))
        _log.warning("relay.destination_rests", destination=str(domain), failures=failures, seconds=round(pause_s))

    async def _give_over(self, lane: _Lane, batch: deque[_Waiting], octets: dict[int, bytes], channel: Channel) -> None:
        """Send the letters of a batch one after another, each announcing the next, as far as the connection lasts."""
        packed: Parcel | Outcome | None = None
        while batch and channel.alive:
            one, began = batch[0], time.perf_counter()
            if self._too_late(one):
                # The peer may have been slow with the letter before: one that was announced ends with the connection.
                await channel.close()
                self._drop_late(lane, batch)
                return
            parcel = packed or await self._pack(one, octets, channel)
            packed = None
            if reason := await outgoing.objection_now(self._house, lane.domain, channel):
                # The peer was the right one when the connection was made, and is not any more.
                parcel = not_pinned(reason, channel.peer.host)
                await channel.close()
            if isinstance(parcel, Outcome):
                outcomes: tuple[Outcome, ...] | None = tuple(parcel for _ in one.letter.deliveries)
            else:
                if len(batch) > 1 and not self._stopping.is_set() and not self._too_late(batch[1]):
                    packed = await self._pack(batch[1], octets, channel)
                outcomes = await channel.send(parcel, packed if isinstance(packed, Parcel) else None)
            if outcomes is None:
                return
            batch.popleft()
            self._record(lane, one, outcomes, time.perf_counter() - began)
            if self._stopping.is_set():
                return

    async def _pack(self, waiting: _Waiting, octets: dict[int, bytes], channel: Channel) -> Parcel | Outcome:
        letter = octets[waiting.letter.first.id]
        if len(letter) > _PACKED_ASIDE_OCTETS and "8BITMIME" not in channel.peer:
            parcel = await asyncio.to_thread(dialog.pack, waiting.letter, letter, channel.peer, self._house.limits)
        else:
            parcel = dialog.pack(waiting.letter, letter, channel.peer, self._house.limits)
        if self._house.sign and isinstance(parcel, Parcel):
            return replace(parcel, octets=await self._house.sign(parcel.octets))
        return parcel

    # Writing down --------------------------------------------------------------------------------------------

    def _record(self, lane: _Lane, waiting: _Waiting, outcomes: tuple[Outcome, ...], seconds: float) -> None:
        house = self._house
        pairs = list(zip(waiting.letter.deliveries, outcomes, strict=True))
        for delivery, outcome in pairs:
            _canonical(delivery, outcome, seconds)
            house.metrics.attempt(str(outcome.kind), seconds)
        self._recorder.put([Tried(delivery, outcome, house.jitter()) for delivery, outcome in pairs])
        self._leave(lane, waiting)

    def _failed(self, lane: _Lane, waiting: _Waiting) -> None:
        """Write down an attempt that failed here: the letter is tried again, and one day it expires."""
        outcome = dialog.temporary("4.3.0", "Something failed on our side")
        self._record(lane, waiting, tuple(outcome for _ in waiting.letter.deliveries), 0.0)

    def _leave(self, lane: _Lane, waiting: _Waiting) -> None:
        """Count a letter out of its lane; a lane that was more than half full and is not any more may claim again."""
        count, half = len(waiting.letter.deliveries), self._lane_most // 2
        if lane.deliveries > half >= lane.deliveries - count:
            self._changed.set()
        lane.deliveries -= count
        self._in_flight -= count


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
