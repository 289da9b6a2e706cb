"""What BODY[…] names in a letter (RFC 9051 §6.4.5.1): part numbers through embedded letters, HEADER, MIME, TEXT.

It finds octets; partial ranges and the form of the answer are the IMAP door's.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import assert_never

from mss.mail.mime import is_multipart
from mss.model.message import Message, Part, Span


class What(StrEnum):
    """Which octets of the part are meant."""

    ALL = ""
    HEADER = "HEADER"
    FIELDS = "HEADER.FIELDS"
    FIELDS_NOT = "HEADER.FIELDS.NOT"
    MIME = "MIME"
    TEXT = "TEXT"


@dataclass(frozen=True, slots=True)
class Section:
    """What stands between the brackets of BODY[…]; `names` of header fields in any letter case."""

    path: tuple[int, ...] = ()
    what: What = What.ALL
    names: tuple[str, ...] = ()


def section(message: Message, wanted: Section) -> Span | bytes | None:
    """Return where the section lies, its octets where it is not one run, None when the letter has no such part."""
    if not wanted.path:
        return _of_letter(message, message.structure.root, wanted)
    found = part(message, wanted.path)
    if found is None:
        return None
    match wanted.what:
        case What.ALL:
            return found.body
        case What.MIME:
            return found.header
        case What.HEADER | What.FIELDS | What.FIELDS_NOT | What.TEXT:
            return _of_letter(message, found.embedded, wanted) if found.embedded else None
        case _ as never:
            assert_never(never)


def part(message: Message, path: tuple[int, ...]) -> Part | None:
    """Return the part with that number; the only part of a letter without multipart is its part 1."""
    letter: Part | None = message.structure.root
    current = message.structure.root
    for position in path:
        # Inside a letter just entered: its parts, or itself as its part 1.
        container = letter or current
        children = container.children
        if letter is not None and not is_multipart(letter):
            children = (letter,)
        if not 1 <= position <= len(children):
            return None
        current = children[position - 1]
        letter = current.embedded
    return current


def octets(message: Message, wanted: Section) -> bytes | None:
    """Return the octets of a section; None when the letter has no such part."""
    found = section(message, wanted)
    return message.slice(found) if isinstance(found, Span) else found


def _of_letter(message: Message, letter: Part, wanted: Section) -> Span | bytes | None:
    match wanted.what:
        case What.ALL:
            return Span(letter.header.start, letter.body.end)
        case What.HEADER:
            return letter.header
        case What.TEXT:
            return letter.body
        case What.FIELDS:
            return _only(message, letter, wanted.names)
        case What.FIELDS_NOT:
            return _without(message, letter, wanted.names)
        case What.MIME:
            return None
        case _ as never:
            assert_never(never)


def _only(message: Message, letter: Part, names: tuple[str, ...]) -> bytes:
    """Return the named fields in the letter's order, and the empty line."""
    wanted = {name.lower() for name in names}
    fields = (message.slice(field.field) for field in letter.fields if field.name in wanted)
    return b"".join(map(_ended, fields)) + b"\r\n"


def _ended(field: bytes) -> bytes:
    return field if field.endswith(b"\n") else field + b"\r\n"


def _without(message: Message, letter: Part, names: tuple[str, ...]) -> bytes:
    """Return the header without the named fields."""
    unwanted = {name.lower() for name in names}
    pieces, at = [], letter.header.start
    for field in letter.fields:
        if field.name in unwanted:
            pieces.append(message.octets[at : field.field.start])
            at = field.field.end
    return b"".join(pieces) + message.octets[at : letter.header.end]
