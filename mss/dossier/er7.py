"""HL7 version 2 messages in their usual form, ER7: read into segments and fields, and written.

It knows no message and no segment but MSH. HL7 v2.6, chapter 2: §2.5 (structure), §2.7 (escapes), table 0211 (MSH-18).

Rules:
1. Separators are those of MSH, all different and printable; segments end with CR, and LF or both are forgiven.
2. Everything is bounded: octets, segments, fields.
3. Escapes of separators and of octets (\\X..\\) are undone; formatting becomes white space; what is unknown is dropped.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from mss.config import Limits
from mss.errors import Malformed

_CHARSETS: Final = {
    "": "utf-8", "UNICODE UTF-8": "utf-8", "UTF-8": "utf-8", "ASCII": "ascii", "8859/1": "iso-8859-1",
    "8859/15": "iso-8859-15",
}  # fmt: skip
_ENDS = re.compile(rb"[\r\n]+")
_SEGMENT = re.compile(r"[A-Z][A-Z0-9]{2}\Z", re.ASCII)
_OCTETS = re.compile(r"(?:[0-9A-Fa-f]{2})+\Z", re.ASCII)
_BREAKS: Final = {".br": "\n", ".sp": "\n"}


@dataclass(frozen=True, slots=True)
class Separators:
    """The five separators of a message, as MSH-1 and MSH-2 have them."""

    field: str = "|"
    component: str = "^"
    repetition: str = "~"
    escape: str = "\\"
    subcomponent: str = "&"


@dataclass(frozen=True, slots=True, repr=False)
class Segment:
    """A segment; fields are counted as the standard counts them: MSH-1 is the field separator."""

    name: str
    _fields: tuple[str, ...]
    _by: Separators
    _charset: str

    def field(self, number: int) -> str:
        """Return a field as written, with its repetitions; empty without."""
        return self._fields[number] if number < len(self._fields) else ""

    def repetitions(self, number: int) -> list[str]:
        """Return the repetitions of a field, as written."""
        return self.field(number).split(self._by.repetition)

    def component(self, number: int, component: int = 1, subcomponent: int = 1) -> str:
        """Return a component of a field's first repetition as text, both counted from 1."""
        return self.part(self.repetitions(number)[0], component, subcomponent)

    def part(self, repetition: str, component: int, subcomponent: int = 1) -> str:
        """Return a component of one repetition as text."""
        written = _nth(repetition.split(self._by.component), component)
        return self._text(_nth(written.split(self._by.subcomponent), subcomponent)).strip()

    def raw(self, number: int, component: int) -> str:
        """Return a component as written: for encapsulated data, which has no escapes."""
        return _nth(self.field(number).split(self._by.component), component)

    def _text(self, written: str) -> str:
        if self._by.escape not in written:
            return written
        pieces = written.split(self._by.escape)
        # Escapes come in pairs: an odd one out is a character like others.
        whole = len(pieces) if len(pieces) % 2 else len(pieces) - 1
        out = [self._escape(piece) if number % 2 else piece for number, piece in enumerate(pieces[:whole])]
        return "".join(out) + "".join(self._by.escape + piece for piece in pieces[whole:])

    def _escape(self, name: str) -> str:
        by = self._by
        named = {"F": by.field, "S": by.component, "R": by.repetition, "E": by.escape, "T": by.subcomponent, **_BREAKS}
        if name in named:
            return named[name]
        if name[:1] == "X" and _OCTETS.match(name[1:]):
            return bytes.fromhex(name[1:]).decode(self._charset, "replace")
        return ""


def _nth(parts: list[str], number: int) -> str:
    return parts[number - 1] if number <= len(parts) else ""


@dataclass(frozen=True, slots=True, repr=False)
class Er7:
    """A message: its segments in order, MSH first."""

    segments: tuple[Segment, ...]

    @property
    def header(self) -> Segment:
        """The MSH segment."""
        return self.segments[0]

    def first(self, name: str) -> Segment | None:
        """Return the first segment of that name."""
        return next((one for one in self.segments if one.name == name), None)


def parse(octets: bytes, limits: Limits) -> Er7:
    """Return the message; Malformed, with a constant that says what is wrong."""
    if len(octets) > limits.hl7_message_max_octets:
        raise Malformed("an HL7 message larger than the limit")
    lines = [line for line in _ENDS.split(octets) if line]
    if not lines or not lines[0].startswith(b"MSH"):
        raise Malformed("an HL7 message that does not begin with MSH")
    if len(lines) > limits.hl7_segments_max:
        raise Malformed("an HL7 message with more segments than the limit")
    by = _separators(lines[0])
    charset = _charset(lines[0], by)
    return Er7(tuple(_segment(line, by, charset, limits) for line in lines))


def _separators(msh: bytes) -> Separators:
    given = msh[3:8].decode("latin-1")
    if len(given) < 5 or len(set(given)) < 5 or any(not 32 < ord(one) < 127 or one.isalnum() for one in given):
        raise Malformed("an HL7 message with bad separators")
    if msh[8:9].decode("latin-1") != given[0]:
        raise Malformed("an HL7 message with bad separators")
    return Separators(*given)


def _charset(msh: bytes, by: Separators) -> str:
    # Field names of MSH are ASCII whatever the encoding; MSH-18 stands 17 separators on.
    fields = msh.decode("latin-1").split(by.field)
    named = fields[17].split(by.repetition)[0].strip().upper() if len(fields) > 17 else ""
    if named not in _CHARSETS:
        raise Malformed("an HL7 message in an encoding that is not accepted")
    return _CHARSETS[named]


def _segment(line: bytes, by: Separators, charset: str, limits: Limits) -> Segment:
    if b"\0" in line:
        raise Malformed("an HL7 message with a NUL")
    try:
        written = line.decode(charset)
    except UnicodeDecodeError:
        raise Malformed("an HL7 message that is not in the encoding it names") from None
    fields = written.split(by.field)
    if not _SEGMENT.match(fields[0]):
        raise Malformed("an HL7 segment without a name")
    if len(fields) > limits.hl7_fields_max:
        raise Malformed("an HL7 segment with more fields than the limit")
    if fields[0] == "MSH":
        fields.insert(1, by.field)
    return Segment(fields[0], tuple(fields), by, charset)


def escaped(text: str) -> str:
    """Return a text fit for a component, with the usual separators."""
    text = "".join(one if one.isprintable() else " " for one in text)
    for character, name in (("\\", "E"), ("|", "F"), ("^", "S"), ("~", "R"), ("&", "T")):
        # The escape itself comes first, so that no other is escaped twice.
        text = text.replace(character, f"\\{name}\\")
    return text


def render(*segments: tuple[str, ...]) -> bytes:
    """Return a message in UTF-8; fields are given as they are written (see `escaped`)."""
    return "".join("|".join(fields).rstrip("|") + "\r" for fields in segments).encode()
