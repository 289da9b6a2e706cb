"""The upkeep of a running house: on a schedule, under a lease, so that one worker of many does it for all.

It only repeats: what goes, and when its time is over, is said by `services.upkeep` and `policy.retention`. A round that
is cut off or done twice does no harm.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol

from mss.errors import Conflict, MssError
from mss.log import get_logger
from mss.model.address import Address
from mss.policy import retention
from mss.services import anchoring, fullness, lives, nodes, operators, undelete, upkeep
from mss.services.house import House, hosted
from mss.store import anchors
from mss.store.collection import BEGINNING, Place

if TYPE_CHECKING:
    from mss.clock import Clock
    from mss.config import Config
    from mss.model.audit import AuditRecord
    from mss.store import Store, Uow

Batch = Callable[["Uow", int, datetime], int]

# A unit of so many rows stays far below the 20 ms that a write unit may last.
BATCH: Final = 200
_FIRST_S: Final = 60
_PAUSE_S: Final = 3600
# Half a pause early counts as in time: a loop is never exact.
_ROUND: Final = timedelta(0)
_DAY: Final = timedelta(days=1, seconds=-_PAUSE_S / 2)
_LEASE_S: Final = 3 * 3600
_log = get_logger("upkeep")


class UpkeepMetrics(Protocol):
    """Counts `mss_upkeep_removed_total` and says when a job was done last."""

    def kept_up(self, job: str, removed: int, now: datetime) -> None:
        """Note that a job was done."""


@dataclass(frozen=True, slots=True)
class _Job:
    name: str
    every: timedelta
    work: Callable[[], Awaitable[int]]


class Upkeep:
    """The loop of one process, from `run` to `stop`."""

    def __init__(self, store: Store, config: Config, clock: Clock, metrics: UpkeepMetrics) -> None:
        self._store, self._clock, self._metrics = store, clock, metrics
        self._stopping = asyncio.Event()
        self._done: dict[str, datetime] = {}
        self._journal, self._life, self._hook = config.journal, config.life, bool(config.notify.command)
        found = hosted(config)
        self._house = House(found.hostname, found.domains, found.limits)
        outside = config.journal.anchors_file
        self._anchors = None if outside is None else config.path(outside)
        self._anchors_to = Address.parse(config.journal.anchors_to) if config.journal.anchors_to else None
        idle_s, window_s = config.webmail.session_idle_s, config.limits.login_window_s
        self._jobs = (
            self._emptying("arrivals", upkeep.forget_arrivals),
            self._emptying("sessions", lambda uow, limit, now: upkeep.end_idle_sessions(uow, idle_s, limit, now)),
            self._emptying("login-failures", lambda uow, limit, now: upkeep.forget_failures(uow, window_s, limit, now)),
            self._emptying("login-networks", upkeep.forget_networks),
            self._emptying("expunged-letters", undelete.forget_expunged),
            self._emptying("directory", operators.sweep_directory),
            self._emptying("nodes", nodes.forget_silent),
            _Job("fullness", _ROUND, self._tell_of_fullness),
            _Job("lives", _DAY, self._sweep_lives),
            _Job("folders", _DAY, self._expire_folders),
            self._emptying("deliveries", lives.forget_deliveries),
            _Job("journal", _DAY, self._trim_journal),
            *(
                [_Job("anchors", timedelta(seconds=config.journal.anchors_every_s / 2), self._anchor)]
                if outside or config.journal.anchors_to
                else []
            ),
            # They look at every holding, every object and every file there is.
            _Job("unused", _DAY, self._collect),
            _Job("files", _DAY, store.sweep_files),
        )

    async def run(self) -> None:
        """Keep the house up until `stop`; the first time a little after the start, when the rush is over."""
        pause_s: float = _FIRST_S
        while not await self._stopped_within(pause_s):
            pause_s = _PAUSE_S
            await self.once()

    async def stop(self) -> None:
        """End the loop between two units, and give the lease back: a new process need not wait for its end."""
        self._stopping.set()
        with contextlib.suppress(MssError):
            await self._leased(0)

    async def once(self) -> None:
        """Do the jobs that are due, if this worker has the lease; one that fails leaves the others undisturbed."""
        for job in self._jobs:
            if self._stopping.is_set():
                return
            try:
                if self._is_due(job) and await self._leased():
                    await self._do(job)
            except Exception as error:  # noqa: BLE001  # The loop's supervisor: a schedule outlives its mishaps.
                _log.error("upkeep.failed", job=job.name, kind=type(error).__name__)

    def _is_due(self, job: _Job) -> bool:
        last = self._done.get(job.name)
        return last is None or self._clock() - last >= job.every

    async def _leased(self, length_s: int = _LEASE_S) -> bool:
        return await self._store.write(operators.take_lease, "upkeep", self._store.name, length_s, self._clock())

    async def _do(self, job: _Job) -> None:
        began, at = time.perf_counter(), self._clock()
        removed = await job.work()
        self._done[job.name] = at
        self._metrics.kept_up(job.name, removed, at)
        _log.info("upkeep.done", job=job.name, removed=removed, seconds=round(time.perf_counter() - began, 3))

    def _emptying(self, name: str, batch: Batch) -> _Job:
        """Return the job that repeats a bounded unit while there is more."""

        async def work() -> int:
            return await self._while_more(lambda now: self._store.write(batch, BATCH, now))

        return _Job(name, _ROUND, work)

    async def _collect(self) -> int:
        """Note what nobody needs, and collect what was noted and whose time of grace is over; returns how much went."""
        place: Place | None = BEGINNING
        number: int | None = 0
        # Looking is for readers: a unit that writes is begun for what was found only.
        while place is not None and not self._stopping.is_set():
            found, following = await self._store.read(upkeep.look_for_unused, place, BATCH)
            if found:
                await self._store.write(upkeep.note_unused, place, BATCH, self._clock())
            place = following
        while number is not None and not self._stopping.is_set():
            found, after = await self._store.read(upkeep.look_for_unheld, number, BATCH)
            if found:
                await self._store.write(upkeep.note_unheld, number, BATCH, self._clock())
            number = after
        gone = await self._while_more(lambda now: self._store.write(upkeep.let_unused_go, BATCH, now))
        return gone + await self._while_more(
            lambda now: self._store.collect(retention.oldest_kept(retention.UNHELD_OCTETS, now), BATCH)
        )

    async def _tell_of_fullness(self) -> int:
        """Tell the holders of boxes that have become nearly full; nothing is removed."""
        after: int | None = 0
        share, settle = self._life.full_notice_share, partial(fullness.settle, hook=self._hook)
        while after is not None and not self._stopping.is_set():
            found = await self._store.read(fullness.look, share, after, BATCH)
            for box_id in found.boxes:
                await self._store.write(settle, box_id, share, self._house, self._clock())
            after = found.after
        return 0

    async def _sweep_lives(self) -> int:
        """Tell holders, close unused boxes, erase closed ones whose archive is over; returns how many were erased."""
        after: int | None = 0
        erased = 0
        while after is not None and not self._stopping.is_set():
            due = await self._store.read(lives.due, self._life, after, BATCH, self._clock())
            for box_id in due.boxes:
                settle = partial(lives.settle, hook=self._hook)
                await self._store.write(settle, box_id, self._life, self._house, self._clock())
            for box_id in due.over:
                await erase(self._store, box_id, "archive-over", "system:upkeep", self._clock)
                erased += 1
            after = due.after
        return erased

    async def _expire_folders(self) -> int:
        """Remove letters from folders with a rule; returns how many went."""
        gone = 0
        for rule in self._life.folders:
            after: int | None = 0
            while after is not None and not self._stopping.is_set():
                before = self._clock() - timedelta(days=rule.keep_days)
                found, after = await self._store.read(lives.over, rule.mailbox, before, after, BATCH)
                if found is not None:
                    gone += await self._store.write(lives.expire, *found, before, self._clock())
        return gone

    async def _trim_journal(self) -> int:
        """Seal old ends and drop the journal's segments that are over, one at a time; returns how many records went."""
        await self._store.write(upkeep.seal_old_ends, self._clock())
        keep = timedelta(days=self._journal.traces_keep_days)
        keep_looks = timedelta(days=self._journal.dossier_traces_keep_days)
        gone = 0
        while not self._stopping.is_set():
            some = await self._store.write(upkeep.trim_journal, keep, keep_looks, self._clock())
            gone += some
            if not some:
                break
        return gone

    async def _anchor(self) -> int:
        """Write the heads of all chains into the file outside, and send them there; nothing is removed."""
        now = self._clock()
        heads = await self._store.read(upkeep.heads, now)
        if self._anchors is not None and heads:
            await asyncio.to_thread(anchors.append, self._anchors, heads, now)
        if self._anchors_to is not None:
            every = timedelta(seconds=self._journal.anchors_every_s / 2)
            await self._store.write(anchoring.send, self._house, self._anchors_to, every, now)
        return 0

    async def _while_more(self, work: Callable[[datetime], Awaitable[int]]) -> int:
        """Repeat a bounded unit while there is more."""
        done = 0
        while not self._stopping.is_set():
            some = await work(self._clock())
            done += some
            if some < BATCH:
                break
        return done

    async def _stopped_within(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                return await self._stopping.wait()
        except TimeoutError:
            return False


async def erase(store: Store, box_id: int, reason: str, actor: str, clock: Clock) -> AuditRecord:
    """Erase a box: write down what goes, drop its key, then its rows; returns that record. Cut off: call it again."""
    record = await store.read(lives.erasure_of, box_id)
    if record is None:
        tally = lives.Tally()
        while tally.after is not None:
            await store.read(tally.take, box_id, 10 * BATCH)
        found = await store.read(lives.erasure, box_id, tally)
        await store.write(lives.begin_erasure, found, reason, actor, clock())
        record = await store.read(lives.erasure_of, box_id)
    await store.drop_key(box_id)
    while await store.write(lives.erase_some, box_id, BATCH, clock()):
        pass
    await store.write(lives.end_erasure, box_id, actor, clock())
    if record is None:
        raise Conflict("the record of the erasure is gone")
    return record
