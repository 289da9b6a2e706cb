"""Which boxes a session reaches and how their mailboxes are called (RFC 2342).

The account's first box is the personal namespace; others that it may act for stand below "Shared/<address>/". Which
boxes those are is decided elsewhere (`mss.policy.access`); this is about names only.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from mss.imap.names import DELIMITER, canonical
from mss.model.account import Box

SHARED: Final = "Shared"
PREFIX: Final = SHARED + DELIMITER


@dataclass(frozen=True, slots=True)
class Place:
    """One box as a session sees it; `prefix` stands before its mailboxes' names, empty for the personal one.

    `writable` is False for a closed box: its holder may still read it. `responsible`: the account owns the box.
    `own_seen`: each of its readers has an own \\Seen.
    """

    box: Box
    prefix: str = ""
    writable: bool = True
    responsible: bool = True
    own_seen: bool = False

    def outside(self, name: str) -> str:
        """Return a mailbox's name as the client sees it."""
        return self.prefix + name


@dataclass(frozen=True, slots=True)
class Places:
    """All boxes of a session, the personal one first."""

    all: tuple[Place, ...]

    @property
    def has_shared(self) -> bool:
        """Whether there is a shared namespace."""
        return len(self.all) > 1

    def locate(self, name: str) -> tuple[Place, str] | None:
        """Return the box and the mailbox's name in it; None when the name can be in none."""
        if not self.all:
            return None
        if name != SHARED and not name.startswith(PREFIX):
            return self.all[0], name
        for place in self.all[1:]:
            if name.startswith(place.prefix) and len(name) > len(place.prefix):
                return place, canonical(name[len(place.prefix) :])
        return None

    def by_box(self, box_id: int) -> Place | None:
        """Return the place of a box, None when the session has lost it."""
        return next((place for place in self.all if place.box.id == box_id), None)


def arrange(found: Iterable[Place], personal_box_id: int | None = None) -> Places:
    """Name the places (their prefixes are given here); `personal_box_id` is the box that the client asked for."""
    ordered = sorted(found, key=lambda place: place.box.id != personal_box_id)
    labels: set[str] = set()
    places = []
    for index, place in enumerate(ordered):
        prefix = f"{PREFIX}{_label(place.box, labels)}{DELIMITER}" if index else ""
        places.append(replace(place, prefix=prefix))
    return Places(tuple(places))


def _label(box: Box, taken: set[str]) -> str:
    """Return the box's address as one level of a name; a number where two would look the same."""
    label = box.address.key.replace(DELIMITER, "_")
    if label in taken:
        label = f"{label} {box.id}"
    taken.add(label)
    return label
