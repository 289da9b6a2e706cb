"""SQLite's log of commits is carried into its file by a thread of its own, not by whoever commits last.

A commit that has to do it holds the one turn for tens of milliseconds, and all that wait for it. Here most is carried
while others write; the turn is taken only for the rest, so that the log begins anew (sqlite.org/wal.html, §2.3).
"""

from __future__ import annotations

import fcntl
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from mss.store.turns import Turns

# A letter takes some 20 pages of 8 KiB: the log grows to about 50 MiB. The more commits are carried at once, the fewer
# times a page that all of them change is written.
_EVERY_UNITS: Final = 256
# What comes to the log while the first part is carried is carried by the second.
_ROUNDS: Final = 2


class Checkpoints:
    """The thread of one process; of several processes one carries at a time."""

    def __init__(self, file: Path, lock: Path) -> None:
        self._file = file
        self._lock = lock
        self._units = 0
        self._closed = False
        self._wanted = threading.Event()
        self._thread: threading.Thread | None = None

    def committed(self, units: int) -> None:
        """Count units that were committed; the writer calls it once it has left its turn."""
        self._units += units
        if self._units >= _EVERY_UNITS:
            self._units = 0
            self._wanted.set()
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="store-checkpoints", daemon=True)
                self._thread.start()

    def close(self) -> None:
        """End the thread."""
        self._closed = True
        self._wanted.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        # Its own files: a lock belongs to an open file, and the writer's would not be one against us.
        turns = Turns(self._lock)
        try:
            while self._wanted.wait() and not self._closed:
                self._wanted.clear()
                # A disk that is full or slow now: the log keeps everything, and the next time is soon.
                with suppress(sqlite3.Error, OSError), self._alone() as ours:
                    if ours:
                        self._carry(turns)
        finally:
            turns.close()

    def _carry(self, turns: Turns) -> None:
        connection = sqlite3.connect(self._file, isolation_level=None)
        try:
            connection.execute("PRAGMA synchronous=FULL")
            for _ in range(_ROUNDS):
                _checkpoint(connection)
            with turns.taken():
                _checkpoint(connection)
        finally:
            connection.close()

    @contextmanager
    def _alone(self) -> Iterator[bool]:
        """Say whether no other process is at it."""
        with self._lock.with_suffix(".checkpoint").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
            else:
                yield True


def _checkpoint(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
