"""Worker processes of one machine take turns at one SQLite file.

Two locked files: who wants a turn first queues for the place of the next one, then waits for the turn itself. Whoever
just had a turn stands behind the one who waits, so that nobody starves; polling for SQLite's own lock starves some.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class Turns:
    """This process's part in taking turns."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._next = path.with_suffix(".next").open("w")
        self._turn = path.open("w")

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Wait for the turn and have it meanwhile."""
        fcntl.flock(self._next, fcntl.LOCK_EX)
        try:
            fcntl.flock(self._turn, fcntl.LOCK_EX)
        finally:
            fcntl.flock(self._next, fcntl.LOCK_UN)
        try:
            yield
        finally:
            fcntl.flock(self._turn, fcntl.LOCK_UN)

    def close(self) -> None:
        """Let go of the files."""
        self._next.close()
        self._turn.close()
