"""A worker says that it lives, again and again, so that whoever replaces nodes sees which programs run where.

Nothing depends on it for the letters: who died is found by the end of its leases.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Final

from mss.errors import MssError
from mss.log import get_logger
from mss.services import nodes
from mss.store.nodes import Running, program
from mss.store.schema import HEAD

if TYPE_CHECKING:
    from mss.clock import Clock
    from mss.store import Store

_PAUSE_S: Final = 15
_log = get_logger("node")


class Presence:
    """The loop of one process, from `run` to `stop`."""

    def __init__(self, store: Store, node: str, roles: frozenset[str], clock: Clock) -> None:
        self._store, self._clock = store, clock
        now = clock()
        self._running = Running(store.name, node[:64], program(), HEAD, ",".join(sorted(roles))[:200], now, now)
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Say so until `stop`."""
        while not self._stopping.is_set():
            try:
                await self.once()
            except Exception as error:  # noqa: BLE001  # The loop's supervisor: a schedule outlives its mishaps.
                _log.error("node.silent", kind=type(error).__name__)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_PAUSE_S):
                    await self._stopping.wait()

    async def once(self) -> None:
        """Say so now."""
        now: datetime = self._clock()
        await self._store.write(nodes.report, replace(self._running, seen_at=now), now)

    async def stop(self) -> None:
        """End the loop and take leave."""
        self._stopping.set()
        with contextlib.suppress(MssError):
            await self._store.write(nodes.leave, self._store.name, self._clock())
