"""Reads of a few rows by key, at once in the loop's own thread: SQLite answers them faster than a thread is woken.

A hop to the pool of readers and back costs some 120 µs of processor time, such a read 15 µs. What cannot be answered at
once (the file is locked) is for the pool. Only the thread that runs the loop may call it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Any, TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import OperationalError

from mss.store.engine import open_glancing
from mss.store.unit import Shared, Uow

T = TypeVar("T")


class Busy(Exception):
    """The read cannot be answered at once."""


class Glances:
    """One connection of its own, opened at the first glance."""

    def __init__(self, url: str, shared: Shared) -> None:
        self._engine = open_glancing(url)
        self._shared = shared
        self._connection: Connection | None = None

    def run(self, call: Callable[[Uow], T]) -> T:
        """Run a service on one snapshot; Busy when the store does not answer at once."""
        try:
            connection = self._connection or self._open()
            return self._run(connection, call)
        except (sqlite3.OperationalError, OperationalError) as error:
            raise Busy from error

    def _run(self, connection: Connection, call: Callable[[Uow], T]) -> T:
        raw = _driver(connection)
        raw.execute("BEGIN")
        try:
            return call(Uow(connection, self._shared, None, ()))
        finally:
            raw.execute("ROLLBACK")
            if connection.in_transaction():
                connection.rollback()

    def _open(self) -> Connection:
        self._connection = self._engine.connect()
        return self._connection

    def close(self) -> None:
        """Let go of the connection."""
        if self._connection is not None:
            self._connection.close()
        self._engine.dispose()


def _driver(connection: Connection) -> Any:
    return connection.connection.driver_connection
