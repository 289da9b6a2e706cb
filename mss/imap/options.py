"""The parts of commands about finding and synchronising: sequence sets, result options, sort criteria, QRESYNC.

They hold what was asked, judged by nobody yet (RFC 4731, 5182, 5256, 5267, 7162, 9394).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, StrEnum, auto


@dataclass(frozen=True, slots=True)
class SequenceSet:
    """Ranges (first, last) as written, in any order; 0 is "*". `saved` is "$": what the last SEARCH saved."""

    ranges: tuple[tuple[int, int], ...]
    saved: bool = False


@dataclass(frozen=True, slots=True)
class Resync:
    """What a client remembers of a mailbox when it selects it again (RFC 7162 §3.2.5); `known` are UIDs.

    Pairs of numbers and UIDs that a client may send as well are read and not kept: the change log forgets nothing.
    """

    uidvalidity: int
    modseq: int
    known: SequenceSet | None = None


@dataclass(frozen=True, slots=True)
class Returns:
    """Result options of SEARCH and SORT; `partial` are the places (first, last), both counted from one end."""

    min: bool = False
    max: bool = False
    all: bool = False
    count: bool = False
    save: bool = False
    partial: tuple[int, int] | None = None


class SortField(StrEnum):
    """What letters are sorted by (RFC 5256 §3, RFC 5957)."""

    ARRIVAL = "ARRIVAL"
    CC = "CC"
    DATE = "DATE"
    FROM = "FROM"
    SIZE = "SIZE"
    SUBJECT = "SUBJECT"
    TO = "TO"
    DISPLAYFROM = "DISPLAYFROM"
    DISPLAYTO = "DISPLAYTO"


@dataclass(frozen=True, slots=True)
class Criterion:
    """One sort criterion."""

    field: SortField
    reverse: bool = False


class Algorithm(Enum):
    """How THREAD makes threads."""

    ORDEREDSUBJECT = auto()
    REFERENCES = auto()
