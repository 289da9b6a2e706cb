"""Render FETCH responses from rows and from a letter's octets (RFC 3501 §7.4.2).

ENVELOPE and BODYSTRUCTURE go out as they were stored at delivery; sections are ranges of the letter. Nothing here
asks the store: `plan` says what a FETCH needs, `render_rows` and `sections` make the octets. There is no object per
letter besides its octets.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final, Protocol

from mss.imap import responses
from mss.imap.commands import Item, Section, Text
from mss.imap.structure import without_extensions
from mss.model.message import HeaderField, Message, Part


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


def plan(items: Item, sections: tuple[Section, ...], *, condstore: bool, read_only: bool) -> Plan:
    """Plan a FETCH; a client that knows about MODSEQ gets it with every FLAGS (RFC 7162 §3.2)."""
    marks_seen = not read_only and any(not section.peek for section in sections)
    if condstore and Item.FLAGS in items:
        items |= Item.MODSEQ
    return Plan(items, sections, _need(sections), marks_seen)


def _need(sections: tuple[Section, ...]) -> Need:
    if not sections:
        return Need.NOTHING
    if all(not section.part and section.text in _HEADERS for section in sections):
        return Need.HEADER
    if len(sections) == 1 and not sections[0].part and sections[0].text is Text.ALL:
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


def octet_range(section: Section) -> tuple[int, int | None]:
    """Return the octets [start, end) of a letter that a `Need.RANGE` section asks for."""
    end = None if section.count is None else section.start + section.count
    return section.start, end


def ranged(section: Section, octets: bytes) -> bytes:
    """Return the item of a section whose octets were read as a range."""
    return section.label + b" " + responses.literal(octets)


def header_sections(sections: Sequence[Section], header: bytes) -> list[bytes]:
    """Return the items of sections that only need the letter's header (with its empty line)."""
    return [_item(section, _select_header(section, header)) for section in sections]


def sections(wanted: Sequence[Section], message: Message) -> list[bytes]:
    """Return the items of sections of an indexed letter; a part that does not exist is NIL."""
    return [_item(section, _find(section, message)) for section in wanted]


def _item(section: Section, octets: bytes | None) -> bytes:
    if octets is None:
        return section.label + b" NIL"
    if section.count is not None:
        octets = octets[section.start : section.start + section.count]
    return section.label + b" " + responses.literal(octets)


def _find(section: Section, message: Message) -> bytes | None:
    part = part_at(message.structure.root, section.part)
    if part is None:
        return None
    if section.text is Text.ALL:
        return _whole(section, part, message)
    if section.text is Text.MIME:
        return message.slice(part.header)
    letter = part if not section.part else part.embedded
    if letter is None:
        return None
    if section.text is Text.TEXT:
        return message.slice(letter.body)
    return _select_fields(section, letter, message)


def _whole(section: Section, part: Part, message: Message) -> bytes:
    return message.slice(part.body) if section.part else message.octets


def part_at(root: Part, path: tuple[int, ...]) -> Part | None:
    """Return the part that a specifier names (RFC 3501 §6.4.5); a letter that is no multipart is its own part 1."""
    part: Part | None = root
    at_letter = True
    for number in path:
        if part is None:
            return None
        part, at_letter = _child(part, number, at_letter)
    return part


def _child(part: Part, number: int, at_letter: bool) -> tuple[Part | None, bool]:
    """Return a child and whether it is a letter whose body may still be part 1 of itself."""
    holder = part
    if not at_letter and part.embedded is not None:
        holder, at_letter = part.embedded, True
    if holder.children:
        child = holder.children[number - 1] if number <= len(holder.children) else None
        return child, False
    return (holder if at_letter and number == 1 else None), False


def _select_fields(section: Section, letter: Part, message: Message) -> bytes:
    if section.text is Text.HEADER:
        return message.slice(letter.header)
    wants = section.text is Text.HEADER_FIELDS
    chosen = [field for field in letter.fields if (field.name.encode() in section.fields) is wants]
    return _joined(chosen, message)


def _joined(fields: Iterable[HeaderField], message: Message) -> bytes:
    return b"".join([message.slice(field.field) for field in fields]) + b"\r\n"


_FIELD_LINE: Final = re.compile(rb"^([^\s:]+)[ \t]*:[^\n]*(?:\n[ \t][^\n]*)*(?:\n|\Z)", re.MULTILINE)


def _select_header(section: Section, header: bytes) -> bytes:
    if section.text is Text.HEADER:
        return header
    wants = section.text is Text.HEADER_FIELDS
    found = _FIELD_LINE.finditer(header)
    return b"".join(m.group() for m in found if (m.group(1).lower() in section.fields) is wants) + b"\r\n"


def header_end(octets: bytes) -> int | None:
    """Return where the header with its empty line ends, None when these octets do not hold it all."""
    if octets.startswith(b"\r\n"):
        return 2
    at = octets.find(b"\r\n\r\n")
    return None if at < 0 else at + 4


def render_letter(number: int, row: Row, chosen: Sequence[Writer], found: Sequence[bytes]) -> list[bytes]:
    """Return the pieces of one FETCH response with sections; large octets are not copied again."""
    head = b"* %d FETCH (" % number
    return [head, b" ".join([*(write(row) for write in chosen), *found]), b")\r\n"]
