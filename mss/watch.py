"""Keeps certificates and revocation lists fresh while an operator runs: files that changed, lists to fetch, alarms.

It judges nobody and builds nothing: `mss.tls` holds what is in use. What cannot be used changes nothing, is said in
the log, and stands in the figures until it is mended.
"""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import Final

from mss.clock import Clock
from mss.config import Config
from mss.crl import Bounds, Fetcher
from mss.log import get_logger
from mss.tls import TlsMaterial

_LATE_EVERY: Final = timedelta(hours=1)

_log = get_logger("certificates")


class Watch:
    """The loop of one process, from `run` to `stop`."""

    def __init__(self, material: TlsMaterial, config: Config, clock: Clock) -> None:
        self._material = material
        self._clock = clock
        self._pause_s = config.tls.reload_s
        self._grace = timedelta(seconds=config.tls.crl_grace_s)
        bounds = Bounds(
            timedelta(seconds=config.tls.crl_fetch_s), config.limits.fetch_timeout_s, config.limits.crl_max_octets
        )
        self._fetcher = Fetcher(config.path(config.tls.crl_dir), bounds)
        self._asked = asyncio.Event()
        self._stopping = False
        self._said_late: datetime | None = None

    def look_now(self) -> None:
        """Read all files again and fetch all lists, without waiting for the schedule (SIGHUP)."""
        self._asked.set()

    async def run(self) -> None:
        """Watch until `stop`."""
        forced = False
        while not self._stopping:
            try:
                await self.look(forced=forced)
            except Exception as error:  # noqa: BLE001  # The loop's supervisor: a schedule outlives its mishaps.
                _log.error("certificates.watch_failed", kind=type(error).__name__)
            forced = await self._rest()

    async def stop(self) -> None:
        """End the loop."""
        self._stopping = True
        self._asked.set()

    async def _rest(self) -> bool:
        """Wait for the next round; True when somebody asked for it."""
        try:
            async with asyncio.timeout(self._pause_s):
                await self._asked.wait()
        except TimeoutError:
            return False
        self._asked.clear()
        return True

    async def look(self, *, forced: bool = False) -> None:
        """Make one round: files, then lists, then files again when a list is new; then say what is late."""
        await self._reload(forced=forced)
        points = await asyncio.to_thread(lambda: self._material.points)
        if points:
            fetched = await self._fetcher.fetch_due(
                points, self._material.fetching, self._material.revocation.objection, self._clock(), at_once=forced
            )
            if fetched:
                await self._reload(forced=False)
        self._say_late()

    async def _reload(self, *, forced: bool) -> None:
        problems = await asyncio.to_thread(self._material.reload, forced=forced)
        if problems:
            _log.error("certificates.unusable", problems=problems)
        elif problems is not None:
            _log.info("certificates.reloaded")

    def _say_late(self) -> None:
        """Say once an hour that a list in use is past its date."""
        now, due = self._clock(), self._material.revocation.next_update
        if due is None or now <= due:
            self._said_late = None
        elif self._said_late is None or not timedelta(0) <= now - self._said_late < _LATE_EVERY:
            self._said_late = now
            grace_left_s = int((due + self._grace - now).total_seconds())
            _log.error("revocation.list_late", due=due.isoformat(), grace_left_s=max(0, grace_left_s))
