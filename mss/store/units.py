"""How long units of work last: figures for the operator's port, and a warning for each that is longer than it may be.

A long unit makes everybody behind it wait; on PostgreSQL it holds its rows so long. Commits are not counted: how long
the disk takes is nobody's fault here.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Final

from mss.log import get_logger
from mss.store.work import Work

# ARCHITECTURE.md, rule 4.
UNIT_MAX_S: Final = 0.020
# A machine that is busy stops a thread for longer than that now and then: what is said in the log is no accident.
_SAID_FROM_S: Final = 5 * UNIT_MAX_S
BOUNDS_S: Final = (0.001, 0.002, 0.005, 0.01, UNIT_MAX_S, 0.05, 0.1, 0.5)

_log = get_logger("store")


class Units:
    """What one process counts of its write units: how many took so long, by the bounds; the last place is for more."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.counts = [0] * (len(BOUNDS_S) + 1)
        self.seconds = 0.0

    def ran(self, works: Iterable[Work]) -> None:
        """Count units that were run."""
        with self._lock:
            for work in works:
                self.seconds += work.seconds
                self.counts[_place(work.seconds)] += 1
        for work in works:
            if work.seconds > _SAID_FROM_S:
                _log.warning("unit.long", service=work.name, milliseconds=round(work.seconds * 1000))

    @property
    def long(self) -> int:
        """How many took longer than they may."""
        return sum(self.counts[BOUNDS_S.index(UNIT_MAX_S) + 1 :])


def _place(seconds: float) -> int:
    return next((place for place, bound in enumerate(BOUNDS_S) if seconds <= bound), len(BOUNDS_S))
