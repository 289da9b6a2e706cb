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
from typing import TYPE_CHECKING, Final, Protocol

from mss.errors import MssError
from mss.log import get_logger
from mss.services import nodes, operators, upkeep

if TYPE_CHECKING:
    from mss.clock import Clock
    from mss.config import Config
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
        idle_s, window_s = config.webmail.session_idle_s, config.limits.login_window_s
        self._jobs = (
            self._emptying("arrivals", upkeep.forget_arrivals),
            self._emptying("sessions", lambda uow, limit, now: upkeep.end_idle_sessions(uow, idle_s, limit, now)),
            self._emptying("login-failures", lambda uow, limit, now: upkeep.forget_failures(uow, window_s, limit, now)),
            self._emptying("login-networks", upkeep.forget_networks),
            self._emptying("directory", operators.sweep_directory),
            self._emptying("nodes", nodes.forget_silent),
            # It looks at every file there is.
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
            removed = 0
            while not self._stopping.is_set():
                gone = await self._store.write(batch, BATCH, self._clock())
                removed += gone
                if gone < BATCH:
                    break
            return removed

        return _Job(name, _ROUND, work)

    async def _stopped_within(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                return await self._stopping.wait()
        except TimeoutError:
            return False
