"""Render FETCH responses from rows and from a letter's octets (RFC 3501 §7.4.2).

ENVELOPE and BODYSTRUCTURE go out as they were stored at delivery; sections are ranges of the letter. Nothing here
asks the store: `plan` says what a FETCH needs, `render_rows` and `found_sections` make the octets. There is no
object per letter besides its octets.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final, Protocol

from mss.errors import MssError
from mss.imap import responses
from mss.imap.commands import Binary, Item, Section, Text
from mss.imap.structure import without_extensions
from mss.mail import content, sections
from mss.mail.sections import What
from mss.model.message import Message, Span, Structure


class Row(Protocol):
    """What the store knows of a letter without its octets."""

    @property
    def uid(self) -> int: ...
    @property
    def modseq(self) -> int: ...
    @property
    def flags(self) -> int: ...
    @property
    def internal_date_us(self) -> int: ...
    @property
    def size_octets(self) -> int: ...
    @property
    def envelope(self) -> bytes: ...
    @property
    def bodystructure(self) -> bytes: ...
    @property
    def saved_at_us(self) -> int: ...
    @property
    def email(self) -> str: ...
    @property
    def thread_id(self) -> int | None: ...
    @property
    def preview(self) -> str: ...


class Need(Enum):
    """How much of a letter's octets a FETCH needs, least first."""

    NOTHING = auto()
    HEADER = auto()
    RANGE = auto()
    ALL = auto()


@dataclass(frozen=True, slots=True)
class Plan:
    """What a FETCH needs, decided once for all its letters."""

    items: Item
    sections: tuple[Section, ...]
    need: Need
    marks_seen: bool


def plan(items: Item, wanted: tuple[Section, ...], *, condstore: bool, read_only: bool) -> Plan:
    """Plan a FETCH; a client that knows about MODSEQ gets it with every FLAGS (RFC 7162 §3.2)."""
    marks_seen = not read_only and any(not section.peek for section in wanted)
    if condstore and Item.FLAGS in items:
        items |= Item.MODSEQ
    return Plan(items, wanted, _need(wanted), marks_seen)


def _need(wanted: tuple[Section, ...]) -> Need:
    if not wanted:
        return Need.NOTHING
    if any(section.binary for section in wanted):
        return Need.ALL
    if all(not section.part and section.text in _HEADERS for section in wanted):
        return Need.HEADER
    if len(wanted) == 1 and not wanted[0].part and wanted[0].text is Text.ALL:
        return Need.RANGE
    return Need.ALL


_HEADERS: Final = (Text.HEADER, Text.HEADER_FIELDS, Text.HEADER_FIELDS_NOT)

# --- rows ---

Writer = Callable[[Row], bytes]


def writers(items: Item, keywords: tuple[str, ...]) -> tuple[Writer, ...]:
    """Return one function per item, in the order in which they are told."""
    table: tuple[tuple[Item, Writer], ...] = (
        (Item.UID, lambda row: b"UID %d" % row.uid),
        (Item.FLAGS, lambda row: b"FLAGS " + responses.flags(row.flags, keywords)),
        (Item.MODSEQ, lambda row: b"MODSEQ (%d)" % row.modseq),
        (Item.INTERNALDATE, lambda row: b"INTERNALDATE " + responses.internal_date(row.internal_date_us)),
        (Item.SIZE, lambda row: b"RFC822.SIZE %d" % row.size_octets),
        (Item.ENVELOPE, lambda row: b"ENVELOPE " + row.envelope),
        (Item.BODYSTRUCTURE, lambda row: b"BODYSTRUCTURE " + row.bodystructure),
        (Item.SAVEDATE, lambda row: b"SAVEDATE " + responses.internal_date(row.saved_at_us)),
        (Item.EMAILID, lambda row: b"EMAILID (%b)" % responses.email_name(row.email).encode()),
        (Item.THREADID, lambda row: b"THREADID " + _thread(row.thread_id)),
        (Item.PREVIEW, lambda row: b"PREVIEW " + responses.string(row.preview.encode("utf-8", "replace"))),
        (Item.BODY, lambda row: b"BODY " + without_extensions(row.bodystructure)),
    )
    return tuple(write for item, write in table if item in items)


def render_rows(rows: Iterable[tuple[int, Row]], items: Item, keywords: tuple[str, ...]) -> bytes:
    """Return the FETCH responses of many letters as one block; `rows` are (number, row)."""
    quick = _QUICK.get(items)
    if quick is not None:
        return b"".join(quick(rows, keywords))
    chosen = writers(items, keywords)
    return b"".join(
        b"* %d FETCH (%b)\r\n" % (number, b" ".join([write(row) for write in chosen])) for number, row in rows
    )


def _thread(number: int | None) -> bytes:
    return b"NIL" if number is None else b"(%b)" % responses.thread_name(number).encode()


def _flags_and_uid(rows: Iterable[tuple[int, Row]], keywords: tuple[str, ...]) -> Iterator[bytes]:
    flags = responses.flags
    for number, row in rows:
        yield b"* %d FETCH (UID %d FLAGS %b)\r\n" % (number, row.uid, flags(row.flags, keywords))


def _listing(rows: Iterable[tuple[int, Row]], keywords: tuple[str, ...]) -> Iterator[bytes]:
    flags = responses.flags
    for number, row in rows:
        yield b"* %d FETCH (UID %d FLAGS %b ENVELOPE %b BODYSTRUCTURE %b)\r\n" % (
            number, row.uid, flags(row.flags, keywords), row.envelope, row.bodystructure,
        )  # fmt: skip


# What clients ask of whole mailboxes is written in one go.
_QUICK: Final = {
    Item.UID | Item.FLAGS: _flags_and_uid,
    Item.UID | Item.FLAGS | Item.ENVELOPE | Item.BODYSTRUCTURE: _listing,
}


# --- sections ---

_WHAT: Final = {
    Text.ALL: What.ALL,
    Text.HEADER: What.HEADER,
    Text.HEADER_FIELDS: What.FIELDS,
    Text.HEADER_FIELDS_NOT: What.FIELDS_NOT,
    Text.TEXT: What.TEXT,
    Text.MIME: What.MIME,
}


def octet_range(section: Section, size_octets: int) -> tuple[int, int]:
    """Return the octets [start, end) of a letter that a `Need.RANGE` section asks for."""
    start = min(section.start, size_octets)
    return start, size_octets if section.count is None else min(section.start + section.count, size_octets)


def found_sections(wanted: Sequence[Section], message: Message) -> list[bytes]:
    """Return the items of sections of an indexed letter; a part that does not exist is NIL."""
    return [_item(section, message) for section in wanted]


class UnknownEncoding(MssError):
    """A part's transfer encoding is not one that can be undone (UNKNOWN-CTE of RFC 3516)."""


def _item(section: Section, message: Message) -> bytes:
    if section.binary is not None:
        return _binary_item(section, message)
    octets = section_octets(section, message)
    if octets is None:
        return section.label + b" NIL"
    if section.count is not None:
        octets = octets[section.start : section.start + section.count]
    return section.label + b" " + responses.literal(octets)


def section_octets(section: Section, message: Message) -> bytes | None:
    """Return the octets of a section of an indexed letter, None for a part that does not exist."""
    names = tuple(name.decode("ascii") for name in section.fields)
    return sections.octets(message, sections.Section(section.part, _WHAT[section.text], names))


_ENCODINGS: Final = ("", "7bit", "8bit", "binary", "base64", "quoted-printable")


def _binary_item(section: Section, message: Message) -> bytes:
    """Return the item of BINARY: a part's content decoded, or its size (RFC 3516 §4.2)."""
    octets = _content(section.part, message)
    if section.binary is Binary.SIZE:
        return section.label + b" %d" % len(octets or b"")
    if octets is None:
        return section.label + b" NIL"
    if section.count is not None:
        octets = octets[section.start : section.start + section.count]
    # Only a literal8 may hold NUL.
    return section.label + b" " + (b"~" if b"\0" in octets else b"") + responses.literal(octets)


def _content(numbers: tuple[int, ...], message: Message) -> bytes | None:
    if not numbers:
        return message.octets
    part = sections.part(message, numbers)
    if part is None:
        return None
    if part.encoding not in _ENCODINGS:
        raise UnknownEncoding("the part's transfer encoding is unknown")
    return content.decoded(message, part)


Spans = list[tuple[int, int] | None]


def spans(wanted: Sequence[Section], structure: Structure) -> Spans | None:
    """Return the octets [start, end) that sections are in an indexed letter, None for a part that does not exist.

    None altogether when a section is no single run of octets (chosen header fields, decoded content).
    """
    if any(section.binary or section.text in (Text.HEADER_FIELDS, Text.HEADER_FIELDS_NOT) for section in wanted):
        return None
    return [_span(section, Message(b"", structure)) for section in wanted]


def _span(section: Section, message: Message) -> tuple[int, int] | None:
    found = sections.section(message, sections.Section(section.part, _WHAT[section.text]))
    if not isinstance(found, Span):
        return None
    start = min(found.start + section.start, found.end)
    return start, found.end if section.count is None else min(start + section.count, found.end)


def announced(section: Section, span: tuple[int, int] | None) -> bytes:
    """Return the beginning of a section's item: what stands before its octets."""
    if span is None:
        return section.label + b" NIL"
    return b"%b {%d}\r\n" % (section.label, span[1] - span[0])


def header_end(octets: bytes) -> int | None:
    """Return where the header with its empty line ends, None when these octets do not hold it all."""
    if octets.startswith(b"\r\n"):
        return 2
    at = octets.find(b"\r\n\r\n")
    return None if at < 0 else at + 4


def opening(number: int, row: Row, chosen: Sequence[Writer]) -> bytes:
    """Return the beginning of one FETCH response that sections follow; its end is `CLOSING`."""
    items = b" ".join([write(row) for write in chosen])
    return b"* %d FETCH (%b" % (number, items + b" " if items else b"")


CLOSING: Final = b")\r\n"
