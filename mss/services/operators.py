"""The trust space as stored: the last good trust list; and the directory of parties, by generations."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from mss.model.party import Party
from mss.model.peer import TrustList
from mss.store import Uow


def trust_list(uow: Uow, now: datetime) -> TrustList | None:
    """Return the last good trust list; None before the first."""
    raise NotImplementedError


def replace_trust_list(uow: Uow, new: TrustList, now: datetime) -> TrustList:
    """Make a checked list the current one (its version counts up); an unchanged list only gets its reading time."""
    raise NotImplementedError


def begin_directory(uow: Uow, now: datetime) -> int:
    """Open a new, invisible generation of the directory and return its number."""
    raise NotImplementedError


def add_parties(uow: Uow, generation: int, parties: tuple[Party, ...], now: datetime) -> None:
    """Add a slice to an unpublished generation (a few hundred at a time; a unit lasts 20 ms at most)."""
    raise NotImplementedError


def publish_directory(uow: Uow, generation: int, now: datetime) -> int:
    """Make a generation the visible one; returns how many parties it holds."""
    raise NotImplementedError


def sweep_directory(uow: Uow, limit: int, now: datetime) -> int:
    """Drop rows of old or abandoned generations, so many at a time; returns how many went."""
    raise NotImplementedError


@dataclass(frozen=True, slots=True)
class DirectoryQuery:
    """All given words must match: `text` in name, structure, service or address; the others by prefix or code."""

    text: str = ""
    profession: str = ""
    town: str = ""
    address: str = ""


def search(uow: Uow, query: DirectoryQuery, limit: int, now: datetime) -> tuple[Party, ...]:
    """Return matching parties that are not on the red list, best first, without accents and case."""
    raise NotImplementedError
