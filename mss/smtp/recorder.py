"""What became of letters that went out, written down: many attempts in one unit, and never given up lightly.

A lost record sends its letter again. While one unit is on its way to the disk the next attempts gather.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from mss.errors import MssError, Unavailable, incident_number
from mss.log import get_logger
from mss.model.delivery import OutcomeKind
from mss.services import outbound
from mss.services.outbound import Tried
from mss.smtp.outgoing import RelayHouse

# A unit of work lasts 20 ms at most: a good outcome costs well below half a millisecond, one with a report more.
_TOGETHER_MAX: Final = 32
_COSTLY_TOGETHER_MAX: Final = 4
_PAUSES_S: Final = (0.1, 1.0, 5.0)

_log = get_logger("relay")


class Recorder:
    """Writes attempts down in the background, from the first `put` to `close`."""

    def __init__(self, house: RelayHouse, stopping: asyncio.Event, written: Callable[[], None]) -> None:
        """`stopping` cuts pauses short; `written` is called whenever some were written, or given up."""
        self._house = house
        self._stopping = stopping
        self._written = written
        self._waiting: list[Tried] = []
        self._task: asyncio.Task[None] | None = None

    @property
    def unwritten(self) -> int:
        """How many attempts are not on disk yet."""
        return len(self._waiting)

    def put(self, tried: Sequence[Tried]) -> None:
        """Take attempts to write down."""
        self._waiting += tried
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run())

    async def close(self) -> None:
        """Wait until all are written down, or given up."""
        if self._task is not None:
            await self._task

    async def _run(self) -> None:
        while self._waiting:
            some = self._next()
            await self._write(some)
            del self._waiting[: len(some)]
            self._written()
        self._task = None

    def _next(self) -> tuple[Tried, ...]:
        """Return the first of those that wait, as many as one unit may hold."""
        costly = 0
        for count, one in enumerate(self._waiting[:_TOGETHER_MAX]):
            costly += one.outcome.kind is not OutcomeKind.RELAYED or bool(one.delivery.notify)
            if costly > _COSTLY_TOGETHER_MAX:
                return tuple(self._waiting[:count])
        return tuple(self._waiting[:_TOGETHER_MAX])

    async def _write(self, some: tuple[Tried, ...]) -> None:
        house = self._house
        for pause_s in (*_PAUSES_S, None):
            try:
                await house.store.write(outbound.record_all, house.worker, some, house.plan, house.clock())
                return
            except Unavailable as error:
                if pause_s is None:
                    incident("relay.record_failed", error, deliveries=len(some))
                    return
                await _pause(self._stopping, pause_s)
            except Exception as error:  # noqa: BLE001  # The supervisor: one that cannot be written costs the others nothing.
                incident("relay.record_failed", error, delivery=some[0].delivery.id, deliveries=len(some))
                for one in some if len(some) > 1 else ():
                    await self._write((one,))
                return


async def _pause(stopping: asyncio.Event, pause_s: float) -> None:
    try:
        async with asyncio.timeout(pause_s):
            await stopping.wait()
    except TimeoutError:
        return


def incident(event: str, error: Exception, **fields: int) -> None:
    """Log what nobody foresaw, under a number; errors that we know need no trace."""
    known = isinstance(error, MssError)
    _log.error(
        event, incident=incident_number(), kind=type(error).__name__, exc_info=None if known else error, **fields
    )
