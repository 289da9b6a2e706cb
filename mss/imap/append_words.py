"""The words of APPEND and REPLACE (RFC 3501 §6.3.11, RFC 3502, RFC 3516 §4.4, RFC 4469, RFC 6855 §4, RFC 8508)."""

from __future__ import annotations

from mss.errors import Malformed
from mss.imap import commands as c
from mss.imap.lexer import Cursor


def read_append(cursor: Cursor) -> c.Append:
    """Read APPEND of one or several letters."""
    cursor.space()
    mailbox = cursor.mailbox()
    letters = [_letter(cursor)]
    while cursor.sees(b" "):
        cursor.count()
        letters.append(_letter(cursor))
    return c.Append(mailbox, tuple(letters))


def read_replace(cursor: Cursor, *, uid: bool = False) -> c.Replace:
    """Read REPLACE: exactly one letter goes, exactly one comes."""
    cursor.space()
    message = cursor.sequence_set()
    if len(message.ranges) != 1 or message.ranges[0][0] != message.ranges[0][1]:
        raise Malformed("REPLACE names one message")
    cursor.space()
    return c.Replace(message, cursor.mailbox(), _letter(cursor), uid)


def _letter(cursor: Cursor) -> c.Letter:
    cursor.space()
    flags: tuple[str, ...] = ()
    if cursor.sees(b"("):
        flags = cursor.flags()
        cursor.space()
    internal_date = None
    if cursor.sees(b'"'):
        internal_date = cursor.date_time()
        cursor.space()
    if cursor.skip(b"CATENATE "):
        parts = cursor.items(_piece)
        pieces, utf8 = tuple(piece for piece, _ in parts), any(utf8 for _, utf8 in parts)
        return c.Letter(b"", flags, internal_date, utf8=utf8, pieces=pieces)
    if cursor.sees(b"U") or cursor.sees(b"u"):
        return c.Letter(_utf8(cursor), flags, internal_date, utf8=True)
    if cursor.sees(b"~"):
        return c.Letter(cursor.literal8(), flags, internal_date, binary=True)
    return c.Letter(cursor.literal(), flags, internal_date)


def _utf8(cursor: Cursor) -> bytes:
    cursor.expect(b"UTF8 (")
    octets = cursor.literal8()
    cursor.expect(b")")
    return octets


def _piece(cursor: Cursor) -> tuple[bytes | c.Url, bool]:
    """Read one part of CATENATE; says too whether it is UTF8 data."""
    if cursor.skip(b"URL "):
        return c.Url(cursor.astring()), False
    if cursor.skip(b"TEXT "):
        return cursor.literal8() if cursor.sees(b"~") else cursor.literal(), False
    return _utf8(cursor), True
