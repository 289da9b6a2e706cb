"""SQLite's one writer thread: while one commit is being flushed the next callers gather; each runs in a savepoint,
and one commit serves them all.

Rules. A failing service hurts nobody else. A transaction lost as a whole (disk full rolls back savepoints too) answers
Unavailable to the whole group. Nobody is answered before the commit is on disk. Worker processes take turns by a file
lock, because polling for SQLite's own write lock starves some of them.
"""

from __future__ import annotations

import asyncio
import fcntl
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from mss.errors import MssError, Unavailable
from mss.store.engine import mapped
from mss.store.journal import Chain
from mss.store.objects import Staged
from mss.store.unit import Shared, Uow
from mss.store.wakeup import Wake, Wakeups

_GROUP_MAX = 128
_GROUP_S = 0.02


@dataclass(slots=True)
class Work:
    """A service waiting for its unit, and the future of its caller."""

    call: Callable[[Uow], Any]
    staged: dict[bytes, Staged]
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Any]
    result: Any = None
    error: BaseException | None = None
    wakes: set[Wake] = field(default_factory=set)


class GroupWriter:
    """The writer thread of one process."""

    def __init__(
        self, engine: Engine, shared: Shared, wakeups: Wakeups, lock: Path, chain: Chain, waiting_max: int
    ) -> None:
        self._engine = engine
        self._shared = shared
        self._wakeups = wakeups
        self._chain = chain
        self._queue: queue.Queue[Work | None] = queue.Queue(waiting_max)
        lock.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock_file = lock.open("w")
        self.commits = 0
        self._thread = threading.Thread(target=self._run, name="store-writer", daemon=True)
        self._thread.start()

    def submit(self, work: Work) -> None:
        """Queue a service; Unavailable when too many wait already (the disk is slow: back-pressure)."""
        try:
            self._queue.put_nowait(work)
        except queue.Full:
            raise Unavailable("too many units wait for the disk") from None

    def close(self) -> None:
        """Finish what waits and stop."""
        self._queue.put(None)
        self._thread.join()
        self._lock_file.close()

    def _run(self) -> None:
        with self._engine.connect() as connection:
            while (work := self._queue.get()) is not None:
                group = [work]
                fcntl.flock(self._lock_file, fcntl.LOCK_EX)
                try:
                    stop = self._commit_group(connection, group)
                finally:
                    fcntl.flock(self._lock_file, fcntl.LOCK_UN)
                self._answer(group)
                if stop:
                    return

    def _commit_group(self, connection: Connection, group: list[Work]) -> bool:
        """Run the first work and all that gathered meanwhile, then commit once; True when told to stop."""
        before = self._chain.copy()
        stop = False
        try:
            with connection.begin():
                stop = self._run_group(connection, group)
            self.commits += 1
        except DBAPIError as error:
            self._lose(group, before, _as_unavailable(error))
        except _TransactionLostError as error:
            self._lose(group, before, Unavailable(str(error)))
            connection.invalidate()
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

    def _run_one(self, connection: Connection, work: Work) -> None:
        raw: Any = connection.connection.driver_connection
        before = self._chain.copy()
        uow = Uow(connection, self._shared, self._chain, dict(work.staged))
        raw.execute("SAVEPOINT unit")
        try:
            work.result = work.call(uow)
            work.wakes = uow.hints
            raw.execute("RELEASE unit")
        except Exception as error:
            work.error = mapped(error) if isinstance(error, DBAPIError) else error
            self._chain.restore(before)
            if not raw.in_transaction:
                raise _TransactionLostError("the disk refused the transaction") from error
            raw.execute("ROLLBACK TO unit")
            raw.execute("RELEASE unit")

    def _lose(self, group: list[Work], before: tuple[int, bytes], error: MssError) -> None:
        self._chain.restore(before)
        for work in group:
            work.error = error
            work.wakes = set()

    def _answer(self, group: list[Work]) -> None:
        wakes = {wake for work in group if work.error is None for wake in work.wakes}
        loops: dict[asyncio.AbstractEventLoop, list[Work]] = {}
        for work in group:
            loops.setdefault(work.loop, []).append(work)
        for loop, works in loops.items():
            if not loop.is_closed():
                loop.call_soon_threadsafe(_settle, works)
        self._wakeups.publish(wakes)


class _TransactionLostError(Exception):
    """The connection left the transaction: everything in it is gone."""


def _as_unavailable(error: DBAPIError) -> MssError:
    known = mapped(error)
    return known if isinstance(known, Unavailable) else Unavailable("the transaction was lost")


def _settle(works: list[Work]) -> None:
    for work in works:
        if work.future.done():  # The caller went away; its unit is committed or rolled back all the same.
            continue
        if work.error is not None:
            work.future.set_exception(work.error)
        else:
            work.future.set_result(work.result)
