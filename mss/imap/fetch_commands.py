"""FETCH as a value: what it asks of letters (RFC 3501 §6.4.5, 3516, 7162, 8474, 8514, 8970, 9394).

Like `commands`, which hands it on, it holds what was asked, judged by nobody yet.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, Flag, auto

from mss.imap.options import SequenceSet


class Item(Flag):
    """What FETCH answers from a row, without the letter's octets."""

    NONE = 0
    FLAGS = auto()
    UID = auto()
    INTERNALDATE = auto()
    SIZE = auto()
    ENVELOPE = auto()
    BODY = auto()
    BODYSTRUCTURE = auto()
    MODSEQ = auto()
    PREVIEW = auto()
    SAVEDATE = auto()
    EMAILID = auto()
    THREADID = auto()


class Binary(Enum):
    """What BINARY asks of a part: its content without transfer encoding, or how many octets that has (RFC 3516)."""

    CONTENT = auto()
    SIZE = auto()


class Text(Enum):
    """Which octets of a part a section means."""

    ALL = auto()
    HEADER = auto()
    HEADER_FIELDS = auto()
    HEADER_FIELDS_NOT = auto()
    TEXT = auto()
    MIME = auto()


@dataclass(frozen=True, slots=True)
class Section:
    """Octets of a letter. `label` is what the answer calls them; `part` is empty for the whole letter.

    `fields` are in lower case; `start` and `count` are the octet range, `count` None without one.
    """

    label: bytes
    part: tuple[int, ...] = ()
    text: Text = Text.ALL
    fields: frozenset[bytes] = frozenset()
    start: int = 0
    count: int | None = None
    peek: bool = False
    binary: Binary | None = None


@dataclass(frozen=True, slots=True)
class Fetch:
    """FETCH and UID FETCH. `vanished` asks for what was removed since (RFC 7162), `partial` for some of the letters
    by their places among those named, negative from the last (RFC 9394)."""

    messages: SequenceSet
    items: Item
    sections: tuple[Section, ...] = ()
    changed_since: int | None = None
    uid: bool = False
    vanished: bool = False
    partial: tuple[int, int] | None = None
