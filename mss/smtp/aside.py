"""A process of its own for work that would hold the loop up; it knows nothing of the work.

It is started at first use. Work that kills or stalls it is Unavailable, and the next work gets a new process.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import threading
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor
from typing import TypeVar

from mss.errors import Unavailable
from mss.log import get_logger

T = TypeVar("T")

_log = get_logger("smtp")


class Aside:
    """One process at most, until `close`; at most `waiting_max` works wait for it."""

    def __init__(self, *, patience_s: float, waiting_max: int = 64) -> None:
        self._patience_s = patience_s
        self._waiting_max = waiting_max
        self._waiting = 0
        self._pool: ProcessPoolExecutor | None = None

    async def run(self, work: Callable[[], T]) -> T:
        """Return what the work returns; Unavailable when the process failed, stalled, or has too much to do."""
        if self._waiting >= self._waiting_max:
            raise Unavailable("too much work waits")
        self._waiting += 1
        pool = self._process()
        try:
            async with asyncio.timeout(self._patience_s):
                return await asyncio.get_running_loop().run_in_executor(pool, work)
        except (BrokenExecutor, TimeoutError) as error:
            _log.error("smtp.aside_failed", kind=type(error).__name__)
            if pool is self._pool:  # Other work may have replaced it already.
                self.close()
            raise Unavailable("the work was not done in time") from error
        finally:
            self._waiting -= 1

    def _process(self) -> ProcessPoolExecutor:
        if self._pool is None:
            # Not forked: a fork of a process with threads and a running loop may hang.
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(1, mp_context=context, initializer=follow_parent)
        return self._pool

    def close(self) -> None:
        """Let the process go, whatever it is doing."""
        pool, self._pool = self._pool, None
        if pool is None:
            return
        processes = list((pool._processes or {}).values())
        pool.shutdown(wait=False, cancel_futures=True)
        for process in processes:
            process.terminate()


def follow_parent() -> None:
    """End this process when the one that started it was killed; it would wait for work for ever."""
    threading.Thread(target=_end_after_parent, daemon=True).start()


def _end_after_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
