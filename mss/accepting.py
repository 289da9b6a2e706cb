"""Connections of a bound socket, taken one at a time, so that the workers who share it come to equal shares.

A loop that takes all that waits leaves a burst of connections to the worker that woke first, and one core idle. Here
a worker that holds more than another lets the other go first; after a moment it takes what is still there.
"""

from __future__ import annotations

import asyncio
import mmap
import socket
from collections.abc import Callable
from typing import Any, Final

_COURTESY_S: Final = 0.002
_NO_SOCKETS_PAUSE_S: Final = 1.0
_COUNT_OCTETS: Final = 4


class Share:
    """How many connections of one door each worker holds, in memory that all of them see."""

    def __init__(self, workers: int = 1, index: int = 0) -> None:
        self._counts = memoryview(mmap.mmap(-1, _COUNT_OCTETS * workers)).cast("I")
        self._index = index

    def of(self, index: int) -> Share:
        """Return the share of one worker; the memory is the same."""
        share = Share.__new__(Share)
        share._counts, share._index = self._counts, index
        return share

    def note(self, held: int) -> None:
        """Let the others know how many this worker holds."""
        self._counts[self._index] = held

    @property
    def ahead(self) -> bool:
        """Whether another worker holds fewer."""
        return self._counts[self._index] > min(self._counts)


async def accept(
    bound: socket.socket,
    share: Share,
    held: Callable[[], int],
    take: Callable[[socket.socket, Any], None],
    failed: Callable[[OSError], None],
) -> None:
    """Give each connection to `take`, with the peer's address, until cancelled; the socket is closed then.

    `held` tells how many this worker holds. No descriptor being left is told to `failed`, and tried again.
    """
    with bound:
        while True:
            await _readable(bound)
            share.note(held())
            if share.ahead:
                await asyncio.sleep(_COURTESY_S)
            try:
                accepted, address = bound.accept()
            except (BlockingIOError, ConnectionAbortedError):
                continue  # Another worker was faster, or the client is gone.
            except OSError as error:
                failed(error)
                await asyncio.sleep(_NO_SOCKETS_PAUSE_S)
                continue
            accepted.setblocking(False)
            share.note(held() + 1)
            take(accepted, address)


async def _readable(bound: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_reader(bound, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(bound)
