"""The process above several workers. It holds no store and no rule: only which process is which worker."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable
from typing import Final

from mss.log import get_logger

STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)
_RESTART_PAUSE_S: Final = 1.0

_log = get_logger("app")


class Parent:
    """The parent of several workers: starts them, starts dead ones again, ends them all.

    `work` is what a worker does, given its index and a descriptor that ends when the parent is gone; it returns the
    exit code.
    """

    def __init__(self, work: Callable[[int, int], int], workers: int) -> None:
        self._work = work
        self._workers = workers
        self._children: dict[int, int] = {}
        self._stopping = False
        # Nothing is ever written: workers read the end when nobody holds the other side any more. Without it they
        # would outlive a parent that was killed, unwatched, and keep its ports from the next one.
        self._life_read, self._life_write = os.pipe()

    def run(self) -> int:
        """Run until told to stop and all workers are gone."""
        for number in STOP_SIGNALS:
            signal.signal(number, self._stop)
        signal.signal(signal.SIGHUP, self._look_now)
        for index in range(self._workers):
            self._start(index)
        code = 0
        while self._children:
            pid, status = os.waitpid(-1, 0)
            index = self._children.pop(pid, -1)
            exit_code = os.waitstatus_to_exitcode(status)
            if self._stopping or exit_code == 2:
                # A misconfigured worker would only fail again; one that was told to stop before it could listen ends by
                # the signal itself.
                code = max(code, 0 if exit_code == -signal.SIGTERM else abs(exit_code))
                continue
            _log.error("worker.died", index=index, code=exit_code)
            time.sleep(_RESTART_PAUSE_S)
            self._start(index)
        return code

    def _start(self, index: int) -> None:
        """Start a worker, unless told to stop; a signal that comes meanwhile waits until the worker is known."""
        before = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
        try:
            if self._stopping:
                return
            pid = os.fork()
            if pid == 0:
                for number in STOP_SIGNALS:
                    signal.signal(number, signal.SIG_DFL)
                signal.signal(signal.SIGHUP, signal.SIG_IGN)
                signal.pthread_sigmask(signal.SIG_SETMASK, before)
                os.close(self._life_write)
                os._exit(self._work(index, self._life_read))
            self._children[pid] = index
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def _stop(self, _number: int, _frame: object) -> None:
        self._stopping = True
        for pid in self._children:
            with contextlib.suppress(ProcessLookupError):  # It has just ended by itself.
                os.kill(pid, signal.SIGTERM)

    def _look_now(self, _number: int, _frame: object) -> None:
        for pid in list(self._children):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGHUP)
