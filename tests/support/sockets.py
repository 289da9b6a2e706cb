"""Network sockets are closed to every test that is not marked as a journey or as one for PostgreSQL.

It guards Python's own sockets, with every event loop but uvloop, which opens its sockets in C. Unix sockets
and socket pairs stay open: event loops and wake-ups need them.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_NETWORK = (socket.AF_INET, socket.AF_INET6)
_GUARDED = ("bind", "connect", "connect_ex", "sendto")
_open = False


class NetworkForbiddenError(Exception):
    """A test used the network without being marked `journey` or `postgres`."""


@contextmanager
def network_open(allowed: bool) -> Iterator[None]:
    """Open or close the network for one test."""
    global _open
    before, _open = _open, allowed
    try:
        yield
    finally:
        _open = before


def install_guard() -> None:
    """Put the guard before the methods of `socket.socket`; once for a process."""
    for name in _GUARDED:
        _guard(name)


def _guard(name: str) -> None:
    original = getattr(socket.socket, name)

    def guarded(self: socket.socket, *args: Any) -> Any:
        if self.family in _NETWORK and not _open:
            raise NetworkForbiddenError(f"socket.{name} in a test that is not marked journey or postgres")
        return original(self, *args)

    setattr(socket.socket, name, guarded)
