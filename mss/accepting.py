"""Connections of a bound socket, taken one at a time, so that the workers who share it come to equal shares.

A loop that takes all that waits leaves a burst of connections to the worker that woke first, and one core idle. Here
a worker that holds more than another lets the other go first; after a moment it takes what is still there.

A connection of a balancer is handed on once it has said who is behind it, with that address in the place of its own.
"""

from __future__ import annotations

import asyncio
import mmap
import socket
from collections.abc import Callable
from typing import Any, Final

from mss.balancer import NO_BALANCERS, Balancers, Header, Source
from mss.errors import Malformed
from mss.log import get_logger

_log = get_logger("balancer")

_COURTESY_S: Final = 0.002
_NO_SOCKETS_PAUSE_S: Final = 1.0
_COUNT_OCTETS: Final = 4
# Connections whose balancer has not yet said who is behind them; more wait in the kernel.
_ANNOUNCING_MAX: Final = 500
_PIECE_OCTETS: Final = 4096

Take = Callable[[socket.socket, Any], None]


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
    take: Take,
    failed: Callable[[OSError], None],
    balancers: Balancers = NO_BALANCERS,
) -> None:
    """Give each connection to `take`, with the client's address, until cancelled; the socket is closed then.

    `held` tells how many this worker holds. No descriptor being left is told to `failed`, and tried again.
    """
    hall = _Hall(balancers, take)
    with bound, hall:
        while True:
            await hall.has_room()
            await _readable(bound)
            share.note(held() + len(hall))
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
            share.note(held() + len(hall) + 1)
            if balancers.include(str(address[0])):
                hall.let_in(accepted, address)
            else:
                take(accepted, address)


class _Hall:
    """Where the connections of balancers are until they have said who is behind them."""

    def __init__(self, balancers: Balancers, take: Take) -> None:
        self._balancers, self._take = balancers, take
        self._waiting: set[asyncio.Task[None]] = set()

    def __enter__(self) -> _Hall:
        return self

    def __exit__(self, *_: object) -> None:
        for task in self._waiting:
            task.cancel()

    def __len__(self) -> int:
        return len(self._waiting)

    async def has_room(self) -> None:
        """Wait while too many are here."""
        while len(self._waiting) >= _ANNOUNCING_MAX:
            await asyncio.wait(self._waiting, return_when=asyncio.FIRST_COMPLETED)

    def let_in(self, accepted: socket.socket, address: Source) -> None:
        """Hear who is behind a connection, then hand it on."""
        task = asyncio.get_running_loop().create_task(self._hear(accepted, address))
        self._waiting.add(task)
        task.add_done_callback(self._waiting.discard)

    async def _hear(self, accepted: socket.socket, address: Source) -> None:
        header = Header(self._balancers.header_max_octets)
        try:
            async with asyncio.timeout(self._balancers.timeout_s):
                await _read(accepted, header)
        except EOFError:
            accepted.close()  # It only looked whether somebody listens.
        except (Malformed, OSError) as error:  # TimeoutError is one.
            _log.warning("balancer.no_header", ip=address[0], reason=str(error) or type(error).__name__)
            accepted.close()
        except asyncio.CancelledError:
            accepted.close()
            raise
        else:
            self._take(accepted, header.source or address)


async def _read(accepted: socket.socket, header: Header) -> None:
    """Take the header from a connection, and not one octet more; EOFError when it ends without a word."""
    said = False
    while not header.done:
        await _readable(accepted)
        # Looked at first: what follows the header is the client's, perhaps the first octets of its TLS.
        octets = accepted.recv(_PIECE_OCTETS, socket.MSG_PEEK)
        if not octets:
            raise ConnectionAbortedError("half a header") if said else EOFError
        accepted.recv(header.feed(octets))
        said = True


async def _readable(waited: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_reader(waited, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(waited)
