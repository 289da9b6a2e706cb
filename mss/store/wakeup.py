"""Wake-ups: hints that something may have changed, never the truth; a slow poll is the net below them.

Inside a process a hint sets an event of the loop. Between the workers of one machine that share a file it is a datagram
on a Unix socket, one per commit, with channel names and ids only; on PostgreSQL, whose workers are anywhere, a notice.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from mss.store.notices import Notices, Wake

__all__ = ["Subscription", "Wake", "Wakeups"]

_DATAGRAM_WAKES_MAX = 200
# A folder that was changed so long ago is not changed again within one tick of its clock.
_SETTLED_S = 2.0


class Subscription:
    """Wakes when something on its channel may have changed."""

    def __init__(self, owner: Wakeups, wake: Wake) -> None:
        self._owner = owner
        self._wake = wake
        self._event = asyncio.Event()

    async def wait(self, timeout_s: float) -> bool:
        """Wait for a hint, so long at most; True when one came. Hints during the caller's work are kept."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._event.wait()
        except TimeoutError:
            return False
        self._event.clear()
        return True

    def ring(self) -> None:
        """Wake the waiter (in its own loop)."""
        self._event.set()

    def close(self) -> None:
        """Stop listening."""
        self._owner.forget(self._wake, self)


class Wakeups:
    """All subscriptions of one process, and its ear for those of the other workers."""

    def __init__(self, folder: Path, notices: Notices | None = None) -> None:
        self._notices = notices
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._folder = folder
        self._directory = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        self._listeners: dict[Wake, set[Subscription]] = {}
        self._calls: dict[str, Callable[[int], None]] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._socket: socket.socket | None = None
        self._voice = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        # A sender in another thread must not use the folder's number once it is closed.
        self._sending = threading.Lock()
        self._listed: tuple[str, ...] = ()
        self._listed_at = -1.0
        self._name = f"{os.getpid()}-{secrets.token_hex(4)}.wake"

    def start(self) -> None:
        """Begin to hear (called in the loop that will wait)."""
        self._loop = asyncio.get_running_loop()
        if self._notices is not None:
            self._notices.start(self._heard_afar)
            return
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._socket.bind(self._address(self._name))
        self._loop.add_reader(self._socket.fileno(), self._hear)

    def close(self) -> None:
        """Stop hearing and telling; nothing is published any more."""
        if self._socket is not None and self._loop is not None:
            self._loop.remove_reader(self._socket.fileno())
            self._socket.close()
            (self._folder / self._name).unlink(missing_ok=True)
            self._socket = None
        self._loop = None
        if self._notices is not None:
            self._notices.close()
        with self._sending:
            if self._directory >= 0:
                os.close(self._directory)
                self._voice.close()
            self._directory = -1

    def subscribe(self, channel: str, key: int) -> Subscription:
        """Listen for one channel and key."""
        subscription = Subscription(self, (channel, key))
        self._listeners.setdefault((channel, key), set()).add(subscription)
        return subscription

    def call(self, channel: str, heard: Callable[[int], None]) -> None:
        """Have every hint on a channel given to a function, which must not wait; in the loop that hears."""
        self._calls[channel] = heard

    def forget(self, wake: Wake, subscription: Subscription) -> None:
        """Drop a subscription."""
        listeners = self._listeners.get(wake, set())
        listeners.discard(subscription)
        if not listeners:
            self._listeners.pop(wake, None)

    def publish(self, wakes: Iterable[Wake]) -> None:
        """Wake everybody concerned, here and in the other workers; called from any thread after a commit."""
        some = list(wakes)
        if not some:
            return
        loop = self._loop
        if loop is not None:
            with contextlib.suppress(RuntimeError):  # The loop is closing: nobody waits any more.
                loop.call_soon_threadsafe(self._ring, some)
        if self._notices is not None:
            self._notices.tell(some)
        else:
            self._tell_others(some)

    def _heard_afar(self, wakes: list[Wake] | None) -> None:
        """Another node said something, or may have said anything while nobody could hear it."""
        loop = self._loop
        if loop is None:
            return
        with contextlib.suppress(RuntimeError):  # The loop is closing.
            if wakes is None:
                loop.call_soon_threadsafe(self._ring_all)
            else:
                loop.call_soon_threadsafe(self._ring, wakes)

    def _ring_all(self) -> None:
        for subscriptions in tuple(self._listeners.values()):
            for subscription in tuple(subscriptions):
                subscription.ring()

    def _ring(self, wakes: list[Wake]) -> None:
        for wake in wakes:
            if heard := self._calls.get(wake[0]):
                heard(wake[1])
            for subscription in tuple(self._listeners.get(wake, ())):
                subscription.ring()

    def _tell_others(self, wakes: list[Wake]) -> None:
        # Too many for a datagram: the poll finds the rest.
        datagram = json.dumps(wakes[:_DATAGRAM_WAKES_MAX]).encode()
        with contextlib.suppress(OSError), self._sending:
            for other in self._others() if self._directory >= 0 else ():
                self._send(other, datagram)

    def _others(self) -> tuple[str, ...]:
        """Return the sockets of the other workers; the folder is read again when it changed, or has just changed."""
        changed_at = os.fstat(self._directory).st_mtime
        if changed_at != self._listed_at:
            names = os.listdir(self._directory)
            self._listed = tuple(name for name in names if name.endswith(".wake") and name != self._name)
            self._listed_at = changed_at if abs(time.time() - changed_at) > _SETTLED_S else -1.0
        return self._listed

    def _address(self, name: str) -> str:
        """Return a socket's address through the open folder: a Unix socket's name has 107 octets at most."""
        return f"/proc/self/fd/{self._directory}/{name}"

    def _send(self, other: str, datagram: bytes) -> None:
        try:
            self._voice.sendto(datagram, self._address(other))
        except ConnectionRefusedError:
            (self._folder / other).unlink(missing_ok=True)  # Its worker is gone.
        except OSError:
            return

    def _hear(self) -> None:
        if self._socket is None:
            return
        with contextlib.suppress(BlockingIOError):
            while True:
                self._ring(_read(self._socket.recv(65536)))


def _read(datagram: bytes) -> list[Wake]:
    """Return the wake-ups of a datagram; what is none is passed over, as a lost one would be."""
    try:
        return [(str(channel), int(key)) for channel, key in json.loads(datagram)]
    except (ValueError, TypeError):
        return []
