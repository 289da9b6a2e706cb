"""SQLite's reads: a thread's own connection, and reads of a few rows by key at once in the loop's thread.

A hop to the pool of readers and back costs some 120 µs of processor time, such a read 15 µs. What cannot be answered at
once (the file is locked) is for the pool. Only the thread that runs the loop may call it.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError, OperationalError

from mss.store.engine import open_glancing, open_reading
from mss.store.unit import Shared, Uow

T = TypeVar("T")


class Busy(Exception):
    """The read cannot be answered at once."""


class Reads:
    """SQLite's reads of one thread: a connection of its own, opened at the first one and kept.

    Transactions begin and end on the driver: what SQLAlchemy does for each costs more than a read by key.
    """

    def __init__(self, engine: Engine, shared: Shared) -> None:
        self._engine = engine
        self._shared = shared
        self._connection: Connection | None = None

    def run(self, call: Callable[[Uow], T]) -> T:
        """Run a service on one snapshot."""
        connection = self._connection or self._open()
        raw = _driver(connection)
        try:
            raw.execute("BEGIN")
            found = call(Uow(connection, self._shared, None, ()))
            raw.execute("ROLLBACK")
            return found
        except BaseException as error:
            self._end(raw, broken=isinstance(error, sqlite3.Error | DBAPIError))
            raise

    def _end(self, raw: sqlite3.Connection, *, broken: bool) -> None:
        """End what failed; where the store itself did, the next read opens it anew."""
        if broken:
            with suppress(sqlite3.Error, DBAPIError):
                self.close()
            self._connection = None
        elif raw.in_transaction:
            raw.execute("ROLLBACK")

    def _open(self) -> Connection:
        self._connection = self._engine.connect()
        self._connection.begin()
        return self._connection

    def close(self) -> None:
        """Let go of the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class Glances:
    """The reads of the loop's thread."""

    def __init__(self, url: str, shared: Shared) -> None:
        self._engine = open_glancing(url)
        self._reads = Reads(self._engine, shared)

    def run(self, call: Callable[[Uow], T]) -> T:
        """Run a service on one snapshot; Busy when the store does not answer at once."""
        try:
            return self._reads.run(call)
        except (sqlite3.OperationalError, OperationalError) as error:
            raise Busy from error

    def close(self) -> None:
        """Let go of the connection."""
        self._reads.close()
        self._engine.dispose()


class ThreadReads:
    """The reads of each thread of a pool, which may wait for a lock."""

    def __init__(self, url: str, threads: int, shared: Shared) -> None:
        self._engine = open_reading(url, threads)
        self._shared = shared
        self._mine = threading.local()
        self._all: list[Reads] = []

    def run(self, call: Callable[[Uow], T]) -> T:
        """Run a service on one snapshot."""
        reads: Reads | None = getattr(self._mine, "reads", None)
        if reads is None:
            reads = self._mine.reads = Reads(self._engine, self._shared)
            self._all.append(reads)
        return reads.run(call)

    def close(self) -> None:
        """Let go of all connections, once no thread uses them any more."""
        for reads in self._all:
            reads.close()
        self._engine.dispose()


def _driver(connection: Connection) -> Any:
    return connection.connection.driver_connection
