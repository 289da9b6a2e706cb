"""Free ports on loopback for servers that are told their ports before they start."""

from __future__ import annotations

import fcntl
import random
import socket
import tempfile
from pathlib import Path
from typing import IO, Final

# Below the range that Linux gives to outgoing connections, so that nobody takes them by chance.
_FIRST: Final = 20_000
_SLOTS: Final = 190
SLOT_PORTS: Final = 60

# A slot is held as long as its file is open: until this process ends.
_held: list[IO[str]] = []


def free_base() -> int:
    """Return the first of `SLOT_PORTS` ports that are free now and that no other process of tests will be given."""
    for slot in random.sample(range(_SLOTS), _SLOTS):
        base = _FIRST + slot * SLOT_PORTS
        if _hold(slot) and all(_is_free(port) for port in range(base, base + SLOT_PORTS)):
            return base
    raise RuntimeError("no free ports for another server")


def _hold(slot: int) -> bool:
    file = (Path(tempfile.gettempdir()) / f"mss-journeys-ports-{slot}.lock").open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        return False
    _held.append(file)
    return True


def _is_free(port: int) -> bool:
    with socket.socket() as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
