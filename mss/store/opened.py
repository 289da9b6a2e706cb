"""IMAP forms of letters that were opened lately: a mailbox that is listed again need not be opened again.

They stay as long as an opened key does (`keys.OPENED_MAX_S`), and go with it where it is forgotten. The octets of all
boxes together are bounded; the box that was listed longest ago goes first.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from mss.store.keys import OPENED_MAX_S

OCTETS_MAX: Final = 32 * 1024 * 1024
# What Python needs for an entry besides its octets, about.
_ENTRY_OCTETS: Final = 250

# A letter's ENVELOPE and BODYSTRUCTURE by its object's number.
Listed = dict[int, tuple[bytes, bytes]]


@dataclass(slots=True)
class _Box:
    since: float
    listed: Listed = field(default_factory=dict)
    octets: int = 0


class OpenedForms:
    """What one process has opened. Safe to share between threads."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._boxes: OrderedDict[int, _Box] = OrderedDict()
        self._octets = 0
        self._lock = threading.Lock()

    def of(self, box_id: int) -> Listed:
        """Return what is open of a box; it is only to be read."""
        with self._lock:
            box = self._boxes.get(box_id)
            if box is None:
                return {}
            if self._clock() - box.since >= OPENED_MAX_S:
                self._drop(box_id)
                return {}
            self._boxes.move_to_end(box_id)
            return box.listed

    def keep(self, box_id: int, listed: Listed) -> None:
        """Keep what was opened of a box."""
        with self._lock:
            box = self._boxes.setdefault(box_id, _Box(self._clock()))
            octets = sum(len(one) + len(other) + _ENTRY_OCTETS for one, other in listed.values())
            # Others read the one that is there at this moment.
            box.listed = {**box.listed, **listed}
            box.octets += octets
            self._octets += octets
            self._boxes.move_to_end(box_id)
            while self._octets > OCTETS_MAX:
                self._drop(next(iter(self._boxes)))

    def forget(self, box_id: int) -> None:
        """Forget what is open of a box."""
        with self._lock:
            self._drop(box_id)

    def _drop(self, box_id: int) -> None:
        box = self._boxes.pop(box_id, None)
        if box is not None:
            self._octets -= box.octets

    @property
    def octets(self) -> int:
        """About how many octets are open."""
        return self._octets
