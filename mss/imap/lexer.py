"""Tokens of RFC 3501 §9 out of one frame: a cursor that raises Malformed with a constant text.

It knows no command. Counts and nesting are limited here, before anything is built.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Final, TypeVar

from mss.errors import Malformed
from mss.imap import names
from mss.imap.options import SequenceSet
from mss.imap.wire import Frame

T = TypeVar("T")

NUMBER_MAX: Final = (1 << 32) - 1
MODSEQ_MAX: Final = (1 << 63) - 1
TAG: Final = re.compile(rb"[\x21\x23\x24\x26\x27\x2c-\x5b\x5d-\x7a\x7c-\x7e]{1,128}")
_ATOM: Final = re.compile(rb"[\x21\x23\x24\x26\x27\x2b-\x5b\x5e-\x7a\x7c-\x7e]+")
_ASTRING: Final = re.compile(rb"[\x21\x23\x24\x26\x27\x2b-\x5b\x5d-\x7a\x7c-\x7e]+")
_LIST_MAILBOX: Final = re.compile(rb"[\x21\x23-\x27\x2a-\x5b\x5d-\x7a\x7c-\x7e\x80-\xff]+")
_QUOTED: Final = re.compile(rb'"((?:[^"\\\r\n\0]|\\["\\])*)"')
_ESCAPE: Final = re.compile(rb"\\(.)")
_LITERAL: Final = re.compile(rb"\{\d+\+?\}\r\n")
_LITERAL8: Final = re.compile(rb"~\{\d+\+?\}\r\n")
_NUMBER: Final = re.compile(rb"\d{1,19}")
_SEQUENCE: Final = re.compile(rb"[0-9*:,]+")
_FLAG: Final = re.compile(rb"\\?[\x21\x23\x24\x26\x27\x2b-\x5b\x5e-\x7a\x7c-\x7e]+")
_DATE: Final = re.compile(rb'("?)(\d{1,2})-([A-Za-z]{3})-(\d{4})\1')
_DATE_TIME: Final = re.compile(
    rb'"([ \d]\d)-([A-Za-z]{3})-(\d{4}) (\d\d):(\d\d):(\d\d) ([+-])(\d\d)([0-5]\d)"'
)  # fmt: skip
_MONTHS: Final = {
    name: number
    for number, name in enumerate(
        (b"jan", b"feb", b"mar", b"apr", b"may", b"jun", b"jul", b"aug", b"sep", b"oct", b"nov", b"dec"), 1
    )
}


class Cursor:
    """A place in one frame, moving forward."""

    __slots__ = ("_arguments_left", "_depth_left", "_literals", "_text", "at", "enabled", "utf8_names")

    def __init__(
        self, frame: Frame, *, arguments_max: int, nesting_max: int, enabled: frozenset[str] = frozenset()
    ) -> None:
        self.enabled = enabled
        # RFC 6855 §3, RFC 9051 §5.1: mailbox names are then in UTF-8.
        self.utf8_names = not enabled.isdisjoint(("UTF8=ACCEPT", "IMAP4REV2"))
        self._text = frame.text
        self._literals = iter(frame.literals)
        self._arguments_left = arguments_max
        self._depth_left = nesting_max
        self.at = 0

    # --- primitives ---

    def take(self, pattern: re.Pattern[bytes], expected: str) -> re.Match[bytes]:
        """Move past a pattern, or say what was expected."""
        match = pattern.match(self._text, self.at)
        if match is None:
            raise Malformed(f"Expected {expected}")
        self.at = match.end()
        return match

    def sees(self, octets: bytes) -> bool:
        """Say whether these octets come next."""
        return self._text.startswith(octets, self.at)

    def sees_digit(self) -> bool:
        """Say whether a digit comes next."""
        return self._text[self.at : self.at + 1].isdigit()

    def skip(self, octets: bytes) -> bool:
        """Move past these octets when they come next, whatever their case."""
        end = self.at + len(octets)
        if self._text[self.at : end].upper() != octets:
            return False
        self.at = end
        return True

    def expect(self, octets: bytes) -> None:
        """Move past these octets."""
        if not self.skip(octets):
            raise Malformed(f"Expected {octets.decode('ascii')!r}")

    def space(self) -> None:
        """Move past exactly one space."""
        if not self.skip(b" "):
            raise Malformed("Expected a space")

    def finish(self) -> None:
        """Make sure that nothing is left."""
        if self.at != len(self._text):
            raise Malformed("Too many arguments")

    def count(self) -> None:
        """Count one element against the limit of a command."""
        if self._arguments_left <= 0:
            raise Malformed("Too many arguments")
        self._arguments_left -= 1

    def nested(self, read: Callable[[Cursor], T]) -> T:
        """Read something one level deeper, within the limit."""
        if self._depth_left <= 0:
            raise Malformed("Nested too deeply")
        self._depth_left -= 1
        value = read(self)
        self._depth_left += 1
        return value

    # --- strings ---

    def word(self) -> str:
        """Read an atom that is a keyword of the protocol, in capitals."""
        return self.take(_ATOM, "a word").group().decode("ascii").upper()

    def word_as_is(self) -> str:
        """Read an atom whose case matters."""
        return self.take(_ATOM, "a word").group().decode("ascii")

    def astring(self) -> bytes:
        """Read an atom, quoted string or literal."""
        if self.sees(b'"') or self.sees(b"{"):
            return self.string()
        return self.take(_ASTRING, "an atom or a string").group()

    def string(self) -> bytes:
        """Read a quoted string or a literal; 8-bit octets in quotes are let through, as many clients write them."""
        if self.sees(b"{"):
            return self.literal()
        return _ESCAPE.sub(rb"\1", self.take(_QUOTED, "a string").group(1))

    def literal(self) -> bytes:
        """Read a literal."""
        self.take(_LITERAL, "a literal")
        return next(self._literals)

    def literal8(self) -> bytes:
        """Read a literal that may hold NUL (RFC 3516 §4.4)."""
        self.take(_LITERAL8, "a literal8")
        return next(self._literals)

    def nstring(self) -> bytes | None:
        """Read a string or NIL."""
        return None if self.skip(b"NIL") else self.string()

    def mailbox(self) -> str:
        """Read a mailbox name."""
        name = names.decode(self.astring(), utf8=self.utf8_names)
        if not name:
            raise Malformed("A mailbox needs a name")
        return name

    def mailbox_or_empty(self) -> str:
        """Read LIST's reference."""
        return names.decode(self.astring(), utf8=self.utf8_names)

    def list_mailbox(self) -> str:
        """Read a LIST pattern."""
        if self.sees(b'"') or self.sees(b"{"):
            return names.decode(self.string(), utf8=self.utf8_names)
        return names.decode(self.take(_LIST_MAILBOX, "a mailbox pattern").group(), utf8=self.utf8_names)

    def utf8(self) -> str:
        """Read an astring as UTF-8."""
        try:
            return self.astring().decode("utf-8")
        except UnicodeDecodeError as error:
            raise Malformed("Text is not UTF-8") from error

    # --- numbers and dates ---

    def number(self, most: int = NUMBER_MAX) -> int:
        """Read a number."""
        value = int(self.take(_NUMBER, "a number").group())
        if value > most:
            raise Malformed("Number too large")
        return value

    def sequence_set(self) -> SequenceSet:
        """Read a sequence set, or "$" for the saved one (RFC 5182)."""
        if self.skip(b"$"):
            return SequenceSet((), saved=True)
        text = self.take(_SEQUENCE, "a sequence set").group()
        return SequenceSet(tuple(_range(item) for item in text.split(b",")))

    def date(self) -> date:
        """Read a date, quoted or not."""
        _, day, month, year = self.take(_DATE, "a date").groups()
        try:
            return date(int(year), _MONTHS[month.lower()], int(day))
        except (ValueError, KeyError) as error:
            raise Malformed("Not a date") from error

    def date_time(self) -> datetime:
        """Read a date-time, as UTC."""
        day, month, year, hour, minute, second, sign, zone_hours, zone_minutes = self.take(
            _DATE_TIME, "a date-time"
        ).groups()
        zone = timedelta(hours=int(zone_hours), minutes=int(zone_minutes))
        try:
            local = datetime(
                int(year), _MONTHS[month.lower()], int(day), int(hour), int(minute), min(int(second), 59),
                tzinfo=timezone(-zone if sign == b"-" else zone),
            )  # fmt: skip
            return local.astimezone(UTC)
        except (ValueError, KeyError, OverflowError) as error:
            raise Malformed("Not a date-time") from error

    # --- lists ---

    def items(self, read: Callable[[Cursor], T]) -> tuple[T, ...]:
        """Read a parenthesised list with at least one element."""
        self.expect(b"(")
        found = [self._item(read)]
        while self.skip(b" "):
            found.append(self._item(read))
        self.expect(b")")
        return tuple(found)

    def _item(self, read: Callable[[Cursor], T]) -> T:
        self.count()
        return read(self)

    def flags(self) -> tuple[str, ...]:
        """Read a flag list, which may be empty."""
        if self.skip(b"()"):
            return ()
        return self.items(Cursor.flag)

    def flag(self) -> str:
        """Read one flag or keyword."""
        return self.take(_FLAG, "a flag").group().decode("ascii")


def _range(item: bytes) -> tuple[int, int]:
    first, colon, last = item.partition(b":")
    return _sequence_number(first), _sequence_number(last if colon else first)


def _sequence_number(text: bytes) -> int:
    """Return the number, 0 for "*"."""
    if text == b"*":
        return 0
    if not text.isdigit() or len(text) > 10 or not 0 < int(text) <= NUMBER_MAX:
        raise Malformed("Not a sequence number")
    return int(text)
