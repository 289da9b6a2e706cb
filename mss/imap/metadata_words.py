"""The words of METADATA (RFC 5464 §5, with its errata: options may stand before or after the mailbox)."""

from __future__ import annotations

import re
from typing import Final

from mss.errors import Malformed
from mss.imap import commands as c
from mss.imap.lexer import NUMBER_MAX, Cursor
from mss.services.metadata import PRIVATE, SHARED, Wished

_NAME: Final = re.compile(r"(?:/[^/*%\x00-\x1f\x7f-\U0010ffff]+){1,}")
_NAME_MAX_CHARACTERS: Final = 255
_DEPTHS: Final = {"0": 0, "1": 1, "INFINITY": None}

Options = tuple[int | None, int | None]


def read_get_metadata(cursor: Cursor) -> c.GetMetadata:
    """Read GETMETADATA."""
    cursor.space()
    options: Options | None = None
    if cursor.sees(b"("):
        options = _options(cursor)
        cursor.space()
    mailbox = cursor.mailbox_or_empty()
    cursor.space()
    if options is None and _sees_option(cursor):
        options = _options(cursor)
        cursor.space()
    size, depth = options or (None, 0)
    return c.GetMetadata(mailbox, Wished(read_entries(cursor), depth), size)


def _sees_option(cursor: Cursor) -> bool:
    """Say whether a list of options comes next, not one of entries: these begin with a slash, perhaps in quotes."""
    return cursor.sees(b"(") and not any(cursor.sees(mark) for mark in (b"(/", b'("', b"({"))


def _options(cursor: Cursor) -> Options:
    found: dict[str, int | None] = {}
    for name, value in cursor.items(_option):
        if name in found:
            raise Malformed("An option stands there twice")
        found[name] = value
    return found.get("MAXSIZE"), found.get("DEPTH", 0)


def _option(cursor: Cursor) -> tuple[str, int | None]:
    name = cursor.word()
    cursor.space()
    if name == "MAXSIZE":
        return name, cursor.number(NUMBER_MAX)
    if name != "DEPTH":
        raise Malformed("Unknown METADATA option")
    depth = cursor.word()
    if depth not in _DEPTHS:
        raise Malformed("DEPTH is 0, 1 or infinity")
    return name, _DEPTHS[depth]


def read_entries(cursor: Cursor) -> tuple[str, ...]:
    """Read one entry's name or several in parentheses, each once."""
    names = cursor.items(_entry) if cursor.sees(b"(") else (_entry(cursor),)
    return tuple(dict.fromkeys(names))


def _entry(cursor: Cursor) -> str:
    """Read an entry's name: its case does not matter (RFC 5464 §3.1)."""
    name = cursor.utf8().lower()
    if not _NAME.fullmatch(name) or len(name) > _NAME_MAX_CHARACTERS:
        raise Malformed("Not the name of an entry")
    if name.split("/")[1] not in (PRIVATE[1:], SHARED[1:]):
        raise Malformed("An entry is /private or /shared")
    return name


def read_set_metadata(cursor: Cursor) -> c.SetMetadata:
    """Read SETMETADATA."""
    cursor.space()
    mailbox = cursor.mailbox_or_empty()
    cursor.space()
    changes = cursor.items(_change)
    if len({name for name, _ in changes}) < len(changes):
        raise Malformed("An entry stands there twice")
    return c.SetMetadata(mailbox, changes)


def _change(cursor: Cursor) -> tuple[str, bytes | None]:
    name = _entry(cursor)
    if name in (PRIVATE, SHARED):
        raise Malformed("Not the name of an entry")
    cursor.space()
    return name, cursor.literal8() if cursor.sees(b"~") else cursor.nstring()
