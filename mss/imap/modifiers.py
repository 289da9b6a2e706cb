"""Parameters of SELECT and modifiers of FETCH (RFC 4466; CONDSTORE and QRESYNC, RFC 7162; PARTIAL, RFC 9394)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from mss.errors import Malformed
from mss.imap.lexer import MODSEQ_MAX, NUMBER_MAX, Cursor
from mss.imap.options import Resync, SequenceSet

_PLACES: Final = re.compile(rb"(-?)([1-9]\d{0,9}):(-?)([1-9]\d{0,9})(?!\d)")


@dataclass(frozen=True, slots=True)
class Modifiers:
    """How FETCH is narrowed."""

    changed_since: int | None = None
    vanished: bool = False
    partial: tuple[int, int] | None = None


# --- SELECT ---


def read_select_parameters(cursor: Cursor) -> tuple[bool, Resync | None]:
    """Read `(CONDSTORE)`, `(QRESYNC (…))` or both; says whether CONDSTORE was there."""
    found: dict[str, Resync | None] = {}
    for name, value in cursor.items(_read_select_parameter):
        if name in found:
            raise Malformed("A parameter stands twice")
        found[name] = value
    return "CONDSTORE" in found, found.get("QRESYNC")


def _read_select_parameter(cursor: Cursor) -> tuple[str, Resync | None]:
    name = cursor.word()
    if name == "CONDSTORE":
        return name, None
    if name != "QRESYNC":
        raise Malformed("Unknown parameter")
    cursor.space()
    return name, _read_resync(cursor)


def _read_resync(cursor: Cursor) -> Resync:
    """Read (UIDVALIDITY modseq [known-uids] [(numbers uids)])."""
    cursor.expect(b"(")
    uidvalidity = _positive(cursor, NUMBER_MAX)
    cursor.space()
    modseq = _positive(cursor, MODSEQ_MAX)
    known, more = None, cursor.skip(b" ")
    if more and not cursor.sees(b"("):
        known, more = _plain_set(cursor), cursor.skip(b" ")
    if more:
        cursor.expect(b"(")
        _plain_set(cursor)
        cursor.space()
        _plain_set(cursor)
        cursor.expect(b")")
    cursor.expect(b")")
    return Resync(uidvalidity, modseq, known)


def _positive(cursor: Cursor, most: int) -> int:
    value = cursor.number(most)
    if not value:
        raise Malformed("Expected a number above 0")
    return value


def _plain_set(cursor: Cursor) -> SequenceSet:
    """Read a set of numbers without "*" and "$"."""
    found = cursor.sequence_set()
    if found.saved or any(not number for run in found.ranges for number in run):
        raise Malformed("Expected numbers")
    return found


# --- FETCH ---


def read_fetch_modifiers(cursor: Cursor, *, uid: bool) -> Modifiers:
    """Read `(CHANGEDSINCE n VANISHED PARTIAL first:last)`; the last two only stand with UID FETCH."""
    found: dict[str, int | tuple[int, int] | None] = {}
    for name, value in cursor.items(_read_fetch_modifier):
        if name in found:
            raise Malformed("A modifier stands twice")
        found[name] = value
    if not uid and found.keys() & {"VANISHED", "PARTIAL"}:
        raise Malformed("That modifier is for UID FETCH")
    if "VANISHED" in found and "CHANGEDSINCE" not in found:
        raise Malformed("VANISHED needs CHANGEDSINCE")
    since, partial = found.get("CHANGEDSINCE"), found.get("PARTIAL")
    return Modifiers(
        since if isinstance(since, int) else None, "VANISHED" in found, partial if isinstance(partial, tuple) else None
    )


def _read_fetch_modifier(cursor: Cursor) -> tuple[str, int | tuple[int, int] | None]:
    name = cursor.word()
    match name:
        case "VANISHED":
            return name, None
        case "CHANGEDSINCE":
            cursor.space()
            return name, cursor.number(MODSEQ_MAX)
        case "PARTIAL":
            cursor.space()
            return name, read_places(cursor)
    raise Malformed("Unknown modifier")


def read_places(cursor: Cursor) -> tuple[int, int]:
    """Read PARTIAL's places: `1:100`, or `-1:-100` counted from the last (RFC 9394 §3.1)."""
    sign, first, other_sign, last = cursor.take(_PLACES, "places").groups()
    if sign != other_sign or max(int(first), int(last)) > NUMBER_MAX:
        raise Malformed("Not places")
    low, high = sorted((int(first), int(last)))
    return (-low, -high) if sign else (low, high)
