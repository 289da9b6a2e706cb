"""Every look at a patient's data is written down before it is given out (promise 9); the same look once a minute.

A page reads, says what it looked at, and gets it back once the entry is on disk. When nothing can be written, nothing
is shown. Not noted: the frame of a page (name, number of unread messages) and what the account has of its own.
"""

from __future__ import annotations

from collections import OrderedDict
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final, TypeVar

from starlette.exceptions import HTTPException

from mss.clock import Clock
from mss.services import accesses
from mss.services.accesses import Look

if TYPE_CHECKING:
    from mss.webmail.room import Guest, Room

T = TypeVar("T")
AGAIN_AFTER: Final = timedelta(seconds=60)
REMEMBERED_MAX: Final = 10_000
Key = tuple[str, int, Look]


class Noted:
    """The looks of the last minute that are on disk already. A hint of this process: forgotten ones are noted twice."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._looks: OrderedDict[Key, datetime] = OrderedDict()

    def holds(self, key: Key) -> bool:
        """Say whether this session looked at this less than a minute ago."""
        before = self._clock() - AGAIN_AFTER
        while self._looks and next(iter(self._looks.values())) <= before:
            self._looks.popitem(last=False)
        return key in self._looks

    def add(self, key: Key) -> None:
        """Remember a look that is written down."""
        self._looks.setdefault(key, self._clock())
        if len(self._looks) > REMEMBERED_MAX:
            self._looks.popitem(last=False)


def key_of(guest: Guest, look: Look) -> Key:
    """Return what makes two looks one: the session, the box and what was looked at."""
    return guest.visit.session.token_hash, guest.box.id, look


async def seen(room: Room, guest: Guest, look: Look, found: T | None) -> T:
    """Give back what was found, once the look is written down; HTTPException 404 when there is nothing to see."""
    key = key_of(guest, look)
    if found is None or not room.noted.holds(key):
        args = (guest.account_id, guest.box.id, look, found is not None, room.clock())
        decision = await room.store.write(accesses.note, *args)
        if found is None or not decision.accepted:
            raise HTTPException(404)
        room.noted.add(key)
    return found
