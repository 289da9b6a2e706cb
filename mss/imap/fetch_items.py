"""The attributes of FETCH (RFC 3501 §6.4.5, RFC 7162 §3.1.4): what is wanted of each letter."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from mss.errors import Malformed
from mss.imap.commands import Binary, Item, Section, Text
from mss.imap.lexer import Cursor
from mss.imap.wire import Frame

_FAST: Final = Item.FLAGS | Item.INTERNALDATE | Item.SIZE
_MACROS: Final[Mapping[str, Item]] = {
    "FAST": _FAST,
    "ALL": _FAST | Item.ENVELOPE,
    "FULL": _FAST | Item.ENVELOPE | Item.BODY,
}
_ITEMS: Final[Mapping[str, Item]] = {
    "FLAGS": Item.FLAGS,
    "UID": Item.UID,
    "INTERNALDATE": Item.INTERNALDATE,
    "RFC822.SIZE": Item.SIZE,
    "ENVELOPE": Item.ENVELOPE,
    "BODY": Item.BODY,
    "BODYSTRUCTURE": Item.BODYSTRUCTURE,
    "MODSEQ": Item.MODSEQ,
    "PREVIEW": Item.PREVIEW,
    "SAVEDATE": Item.SAVEDATE,
    "EMAILID": Item.EMAILID,
    "THREADID": Item.THREADID,
}
_BINARIES: Final[Mapping[str, Binary]] = {
    "BINARY": Binary.CONTENT,
    "BINARY.PEEK": Binary.CONTENT,
    "BINARY.SIZE": Binary.SIZE,
}
_RFC822: Final[Mapping[str, Section]] = {
    "RFC822": Section(b"RFC822"),
    "RFC822.HEADER": Section(b"RFC822.HEADER", text=Text.HEADER, peek=True),
    "RFC822.TEXT": Section(b"RFC822.TEXT", text=Text.TEXT),
}
_TEXTS: Final[Mapping[str, Text]] = {
    "": Text.ALL,
    "HEADER": Text.HEADER,
    "HEADER.FIELDS": Text.HEADER_FIELDS,
    "HEADER.FIELDS.NOT": Text.HEADER_FIELDS_NOT,
    "TEXT": Text.TEXT,
    "MIME": Text.MIME,
}
_NAME: Final = re.compile(rb"[A-Za-z0-9.]+")
_PART: Final = re.compile(rb"([1-9]\d{0,8}(?:\.[1-9]\d{0,8})*)(?=\]|\.[A-Za-z])\.?")
_BINARY_PART: Final = re.compile(rb"[1-9]\d{0,8}(?:\.[1-9]\d{0,8})*")
_TEXT: Final = re.compile(rb"[A-Za-z.]*")
_PARTIAL: Final = re.compile(rb"<(\d{1,10})\.(\d{1,10})>")
_FIELD: Final = re.compile(rb"[\x21-\x39\x3b-\x7e]+")
_PARTS_MAX: Final = 100


def read_fetch_items(cursor: Cursor) -> tuple[Item, tuple[Section, ...]]:
    """Read a macro, one attribute or a list of attributes; sections in the order asked."""
    found = cursor.items(_read_item) if cursor.sees(b"(") else (_read_item(cursor, alone=True),)
    items, sections = Item.NONE, dict[bytes, Section]()
    for item in found:
        if isinstance(item, Section):
            _merge(sections, item)
        else:
            items |= item
    return items, tuple(sections.values())


def read_section(written: bytes) -> Section:
    """Read a section that stands by itself, as in a URL; there are no literals in it."""
    cursor = Cursor(Frame(b"BODY.PEEK[" + written + b"]"), arguments_max=_PARTS_MAX, nesting_max=1)
    found = _read_item(cursor)
    cursor.finish()
    if not isinstance(found, Section) or found.count is not None:
        raise Malformed("Not a section")
    return found


def _merge(sections: dict[bytes, Section], section: Section) -> None:
    """Keep one of two equal sections: the one that marks as read."""
    if not section.peek or section.label not in sections:
        sections[section.label] = section


def _read_item(cursor: Cursor, *, alone: bool = False) -> Item | Section:
    name = cursor.take(_NAME, "a FETCH attribute").group().decode("ascii").upper()
    if cursor.sees(b"["):
        return _read_section(cursor, name)
    if name in _RFC822:
        return _RFC822[name]
    if name == "PREVIEW":
        # The preview is made at delivery: a lazy client gets it as well (RFC 8970 §3.1).
        cursor.skip(b" (LAZY)")
    if name in _ITEMS:
        return _ITEMS[name]
    if alone and name in _MACROS:
        return _MACROS[name]
    raise Malformed("Unknown FETCH attribute")


def _read_section(cursor: Cursor, name: str) -> Section:
    if name in _BINARIES:
        return _read_binary(cursor, name)
    if name not in ("BODY", "BODY.PEEK"):
        raise Malformed("Unknown FETCH attribute")
    cursor.expect(b"[")
    part = _read_part(cursor)
    text = _read_text(cursor, part)
    fields = _read_fields(cursor) if text in (Text.HEADER_FIELDS, Text.HEADER_FIELDS_NOT) else ()
    cursor.expect(b"]")
    label = b"BODY[" + _label(part, text, fields) + b"]"
    peek = name == "BODY.PEEK"
    if not cursor.sees(b"<"):
        return Section(label, part, text, _keys(fields), peek=peek)
    start, count = _read_range(cursor)
    return Section(b"%b<%d>" % (label, start), part, text, _keys(fields), start, count, peek)


def _read_range(cursor: Cursor) -> tuple[int, int]:
    start, count = map(int, cursor.take(_PARTIAL, "an octet range").groups())
    if not count:
        raise Malformed("An octet range cannot be empty")
    return start, count


def _read_binary(cursor: Cursor, name: str) -> Section:
    """Read BINARY's section: a part, nothing of it but its content (RFC 3516 §4.2)."""
    binary = _BINARIES[name]
    cursor.expect(b"[")
    part = _read_binary_part(cursor)
    cursor.expect(b"]")
    word = b"BINARY.SIZE[" if binary is Binary.SIZE else b"BINARY["
    label = word + b".".join(b"%d" % number for number in part) + b"]"
    peek = name != "BINARY"
    if binary is Binary.SIZE or not cursor.sees(b"<"):
        return Section(label, part, peek=peek, binary=binary)
    start, count = _read_range(cursor)
    return Section(b"%b<%d>" % (label, start), part, start=start, count=count, peek=peek, binary=binary)


def _read_binary_part(cursor: Cursor) -> tuple[int, ...]:
    if cursor.sees(b"]"):
        return ()
    numbers = cursor.take(_BINARY_PART, "a part number").group().split(b".")
    if len(numbers) > _PARTS_MAX:
        raise Malformed("Nested too deeply")
    return tuple(map(int, numbers))


def _read_part(cursor: Cursor) -> tuple[int, ...]:
    if not cursor.sees_digit():
        return ()
    numbers = cursor.take(_PART, "a part number").group(1).split(b".")
    if len(numbers) > _PARTS_MAX:
        raise Malformed("Nested too deeply")
    return tuple(map(int, numbers))


def _read_text(cursor: Cursor, part: tuple[int, ...]) -> Text:
    written = cursor.take(_TEXT, "a section").group().decode("ascii").upper()
    text = _TEXTS.get(written)
    if text is None or (text is Text.MIME and not part):
        raise Malformed("Unknown section")
    return text


def _read_fields(cursor: Cursor) -> tuple[bytes, ...]:
    cursor.space()
    return cursor.items(_read_field)


def _read_field(cursor: Cursor) -> bytes:
    name = cursor.astring()
    if not _FIELD.fullmatch(name):
        raise Malformed("Not a header field name")
    return name


def _keys(fields: tuple[bytes, ...]) -> frozenset[bytes]:
    return frozenset(name.lower() for name in fields)


_WRITTEN: Final = {text: written.encode() for written, text in _TEXTS.items()}


def _label(part: tuple[int, ...], text: Text, fields: tuple[bytes, ...]) -> bytes:
    """Return the section as the answer names it."""
    numbers = b".".join(b"%d" % number for number in part)
    written = _WRITTEN[text]
    label = b".".join(filter(None, (numbers, written)))
    return label + b" (" + b" ".join(map(_field_label, fields)) + b")" if fields else label


_BARE: Final = re.compile(rb"[\x21\x23\x24\x26\x27\x2b-\x5b\x5e-\x7a\x7c-\x7e]+")


def _field_label(name: bytes) -> bytes:
    if _BARE.fullmatch(name):
        return name
    return b'"' + name.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'
