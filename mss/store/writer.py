"""SQLite's one writer thread: while one commit is being flushed the next callers gather; each runs in a savepoint,
and one commit serves them all.

Rules. A failing service hurts nobody else. A transaction lost as a whole (disk full rolls back savepoints too) answers
Unavailable to the whole group. Nobody is answered before the commit is on disk. Nothing stops the thread but `close`.
"""

from __future__ import annotations

import queue
import sqlite3
import threading
import time
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine

from mss.errors import MssError, Unavailable
from mss.store.checkpoints import Checkpoints
from mss.store.engine import mapped, sqlite_path
from mss.store.journal import Chain, ChainState
from mss.store.turns import Turns
from mss.store.unit import Shared, Uow
from mss.store.units import Units
from mss.store.wakeup import Wakeups
from mss.store.work import Work, answer

_GROUP_MAX = 128
_GROUP_S = 0.02


class GroupWriter:
    """The writer thread of one process."""

    def __init__(
        self, engine: Engine, shared: Shared, wakeups: Wakeups, lock: Path, chain: Chain, waiting_max: int
    ) -> None:
        self._engine = engine
        self._shared = shared
        self._wakeups = wakeups
        self._turns = Turns(lock)
        self._checkpoints = Checkpoints(sqlite_path(str(engine.url)), lock)
        self._chain = chain
        self._connection: Connection | None = None
        self._queue: queue.Queue[Work | None] = queue.Queue(waiting_max)
        self._closing = threading.Lock()
        self._closed = False
        self.commits = 0
        self.units = Units()
        self._thread = threading.Thread(target=self._run, name="store-writer", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """How many wait, about."""
        return self._queue.qsize()

    def submit(self, work: Work) -> None:
        """Queue a service; Unavailable when too many wait already (the disk is slow: back-pressure)."""
        with self._closing:
            if self._closed:
                raise Unavailable("the store is closed")
            try:
                self._queue.put_nowait(work)
            except queue.Full:
                raise Unavailable("too many units wait for the disk") from None

    def close(self) -> None:
        """Finish what waits and stop."""
        with self._closing:
            already, self._closed = self._closed, True
        if not already:
            self._queue.put(None)
            self._thread.join()
            self._checkpoints.close()
            self._turns.close()

    def _run(self) -> None:
        stop = False
        while not stop and (work := self._queue.get()) is not None:
            group = [work]
            before = self._chain.copy()
            try:
                with self._turns.taken():
                    stop = self._commit_group(self._opened(), group)
            except Exception as error:  # noqa: BLE001 - the thread's supervisor: whatever it was, the group is lost.
                self._let_go()
                self._lose(group, before, mapped(error))
            self._answer(group)
            self._checkpoints.committed(len(group))
            del work, group  # The next unit may be hours away, and a letter is large.
        self._let_go()

    def _opened(self) -> Connection:
        """Return the connection. A file that is locked or gone at first must not end the thread: the next group finds
        it again."""
        if self._connection is None:
            self._connection = self._engine.connect()
            # SQLAlchemy's transaction is one for all: what it does for each costs as much as a statement.
            self._connection.begin()
        return self._connection

    def _let_go(self) -> None:
        if self._connection is not None:
            self._connection.invalidate()
            self._connection.close()
            self._connection = None

    def _commit_group(self, connection: Connection, group: list[Work]) -> bool:
        """Run the first work and all that gathered meanwhile, then commit once; True when told to stop."""
        raw: sqlite3.Connection = _driver(connection)
        before = self._chain.copy()
        stop = begun = ran = False
        try:
            raw.execute("BEGIN IMMEDIATE")
            begun = True
            stop = self._run_group(connection, group)
            ran = True
            raw.execute("COMMIT")
            self.commits += 1
        except _TransactionLostError as error:
            self._let_go()
            self._lose(group, before, Unavailable(str(error)))
        except sqlite3.Error as error:
            if begun:
                _end(raw)
            else:
                stop = self._gather(group)
            self._lose(group, before, _as_unavailable(error))
            if ran:
                self._chain.renew()
        return stop

    def _run_group(self, connection: Connection, group: list[Work]) -> bool:
        deadline = time.monotonic() + _GROUP_S
        self._run_one(connection, group[0])
        while len(group) < _GROUP_MAX and time.monotonic() < deadline:
            try:
                work = self._queue.get_nowait()
            except queue.Empty:
                return False
            if work is None:
                return True
            group.append(work)
            self._run_one(connection, work)
        return False

    def _gather(self, group: list[Work]) -> bool:
        """Take all who wait: the store cannot be written to, and waiting in turn would only make it later for each."""
        for _ in range(self._queue.qsize()):
            work = self._queue.get_nowait()
            if work is None:
                return True
            group.append(work)
        return False

    def _run_one(self, connection: Connection, work: Work) -> None:
        if not work.take():
            return
        raw: sqlite3.Connection = _driver(connection)
        before = self._chain.copy()
        uow = Uow(connection, self._shared, self._chain, work.staged)
        raw.execute("SAVEPOINT unit")
        try:
            work.run(uow)
            raw.execute("RELEASE unit")
        except Exception as error:  # noqa: BLE001 - it is the caller's to judge.
            work.failed(mapped(error))
            self._chain.restore(before)
            _roll_back(raw, error)

    def _lose(self, group: list[Work], before: ChainState, error: Exception) -> None:
        self._chain.restore(before)
        for work in group:
            work.failed(error)

    def _answer(self, group: list[Work]) -> None:
        answer(group)
        self.units.ran(group)
        self._wakeups.publish({wake for work in group for wake in work.wakes})


class _TransactionLostError(Exception):
    """The connection left the transaction: everything in it is gone."""


def _driver(connection: Connection) -> Any:
    return connection.connection.driver_connection


def _roll_back(raw: sqlite3.Connection, error: Exception) -> None:
    """Undo one service; when that cannot be, the whole transaction is gone."""
    if not raw.in_transaction:
        raise _TransactionLostError("the disk refused the transaction") from error
    try:
        raw.execute("ROLLBACK TO unit")
        raw.execute("RELEASE unit")
    except sqlite3.Error as worse:
        raise _TransactionLostError("the transaction could not be mended") from worse


def _end(raw: sqlite3.Connection) -> None:
    """Roll back what could not be committed; a disk that was full has done so by itself."""
    if raw.in_transaction:
        raw.execute("ROLLBACK")


def _as_unavailable(error: sqlite3.Error) -> MssError:
    known = mapped(error)
    return known if isinstance(known, Unavailable) else Unavailable("the transaction was lost")
