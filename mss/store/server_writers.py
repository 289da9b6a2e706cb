"""PostgreSQL's writers: one transaction per service on a pool of threads; the server groups the flushes."""

from __future__ import annotations

import queue
import threading
from concurrent.futures import ThreadPoolExecutor

from sqlalchemy import Engine

from mss.errors import Unavailable
from mss.store.engine import mapped
from mss.store.journal import Chain
from mss.store.unit import Shared, Uow
from mss.store.units import Units
from mss.store.wakeup import Wakeups
from mss.store.work import Work, answer


class ServerWriters:
    """The writing threads of one process; each transaction continues one of the chains of the journal."""

    def __init__(self, engine: Engine, shared: Shared, wakeups: Wakeups, chains: list[Chain], waiting_max: int) -> None:
        self._engine = engine
        self._shared = shared
        self._wakeups = wakeups
        self._chains: queue.SimpleQueue[Chain] = queue.SimpleQueue()
        for chain in chains:
            self._chains.put(chain)
        self._pool = ThreadPoolExecutor(len(chains), "store-writer")
        # As many wait as may, besides those that are being run.
        self._places = threading.BoundedSemaphore(waiting_max + len(chains))
        self._counting = threading.Lock()
        self.commits = 0
        self.units = Units()

    @property
    def waiting(self) -> int:
        """How many wait, about."""
        return self._pool._work_queue.qsize()

    def submit(self, work: Work) -> None:
        """Queue a service; Unavailable when too many wait already (back-pressure)."""
        if not self._places.acquire(blocking=False):
            raise Unavailable("too many units wait for the server")
        try:
            self._pool.submit(self._run, work)
        except RuntimeError:
            self._places.release()
            raise Unavailable("the store is closed") from None

    def close(self) -> None:
        """Finish what waits and stop."""
        self._pool.shutdown()

    def _run(self, work: Work) -> None:
        if not work.take():
            self._places.release()
            return
        chain = self._chains.get()
        before = chain.copy()
        try:
            with self._engine.connect() as connection, connection.begin():
                work.run(Uow(connection, self._shared, chain, work.staged))
            with self._counting:
                self.commits += 1
        except Exception as error:  # noqa: BLE001 - it is the caller's to judge.
            chain.restore(before)
            work.failed(mapped(error))
            if isinstance(work.error, Unavailable):
                chain.renew()
        finally:
            self._chains.put(chain)
            self._places.release()
        answer((work,))
        self.units.ran((work,))
        self._wakeups.publish(work.wakes)
