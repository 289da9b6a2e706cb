"""Values into the octets of responses (RFC 3501 §7). Whatever a value holds, it cannot break out of its response."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final

from mss.imap import names
from mss.imap.commands import StatusItem
from mss.model.mailbox import FIRST_KEYWORD_BIT, SYSTEM_FLAGS, MailboxStatus

Runs = tuple[tuple[int, int], ...]

CRLF: Final = b"\r\n"
NIL: Final = b"NIL"
_ATOM: Final = re.compile(rb"[\x21\x23\x24\x26\x27\x2b-\x5b\x5e-\x7a\x7c-\x7e]+")
_QUOTABLE: Final = re.compile(rb"[\x20-\x7e]{0,1000}")
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def tagged(tag: str, condition: str, text: str, code: str = "") -> bytes:
    """Return a status response; `tag` "*" makes it untagged. The text is ours and in ASCII."""
    code = f"[{code}] " if code else ""
    return f"{tag} {condition} {code}{text}\r\n".encode("ascii")


def untagged(text: str) -> bytes:
    """Return an untagged response of our own words."""
    return f"* {text}\r\n".encode("ascii")


def go_ahead(text: str = "Ready") -> bytes:
    """Return a continuation request."""
    return f"+ {text}\r\n".encode("ascii")


# --- strings ---


def string(octets: bytes) -> bytes:
    """Return a quoted string where it can be one, else a literal."""
    if _QUOTABLE.fullmatch(octets):
        return b'"' + octets.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'
    return literal(octets)


def literal(octets: bytes) -> bytes:
    """Return a literal."""
    return b"{%d}\r\n%b" % (len(octets), octets)


def mailbox_name(name: str, *, utf8: bool = False) -> bytes:
    """Return a mailbox name as an astring, in modified UTF-7 or in UTF-8."""
    encoded = names.written(name, utf8=utf8)
    if utf8 and not name.isascii():
        return b'"' + encoded.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'
    return encoded if _ATOM.fullmatch(encoded) and encoded.upper() != NIL else string(encoded)


# --- numbers ---


def runs(ranges: Iterable[tuple[int, int]]) -> str:
    """Return inclusive runs as a sequence set: `1:3,7`."""
    return ",".join(str(first) if first == last else f"{first}:{last}" for first, last in ranges)


def as_runs(numbers: Iterable[int]) -> Runs:
    """Return ascending numbers as inclusive runs."""
    found: list[tuple[int, int]] = []
    first = last = -1
    for number in numbers:
        if number == last + 1 and first >= 0:
            last = number
            continue
        if first >= 0:
            found.append((first, last))
        first = last = number
    if first >= 0:
        found.append((first, last))
    return tuple(found)


def internal_date(microseconds: int) -> bytes:
    """Return a date-time in UTC, quoted."""
    at = _EPOCH + timedelta(seconds=microseconds // 1_000_000)
    return (
        f'"{at.day:2d}-{_MONTHS[at.month - 1]}-{at.year:04d} {at.hour:02d}:{at.minute:02d}:{at.second:02d} +0000"'
    ).encode("ascii")


# --- flags ---


@lru_cache(maxsize=4096)
def flags(bits: int, keywords: tuple[str, ...]) -> bytes:
    """Return a flag list from a mailbox's bits; bits without a name are left out."""
    return b"(" + " ".join(flag_names(bits, keywords)).encode("ascii") + b")"


def flag_names(bits: int, keywords: tuple[str, ...]) -> list[str]:
    """Return the names of the flags that are set."""
    system = [name for bit, name in enumerate(SYSTEM_FLAGS) if bits >> bit & 1]
    return system + [name for bit, name in enumerate(keywords, FIRST_KEYWORD_BIT) if bits >> bit & 1]


def flag_bit(name: str, keywords: tuple[str, ...]) -> int:
    """Return the bit of a flag's name, whatever its case; 0 when the mailbox does not know it."""
    wanted = name.lower()
    for bit, known in [*enumerate(SYSTEM_FLAGS), *enumerate(keywords, FIRST_KEYWORD_BIT)]:
        if known.lower() == wanted:
            return 1 << bit
    return 0


def mailbox_flags(keywords: tuple[str, ...], *, read_only: bool) -> bytes:
    """Return SELECT's FLAGS and PERMANENTFLAGS."""
    known = " ".join((*SYSTEM_FLAGS, *keywords))
    permanent = "" if read_only else known + " \\*"
    return f"* FLAGS ({known})\r\n* OK [PERMANENTFLAGS ({permanent})] Flags\r\n".encode("ascii")


# --- mailboxes ---


def listing(kind: str, attributes: Iterable[str], name: str | None, *, utf8: bool = False, more: str = "") -> bytes:
    """Return a LIST or LSUB response; without a name it tells the hierarchy delimiter. `more`: extended data."""
    written = mailbox_name(name, utf8=utf8) if name is not None else b'""'
    tail = f" {more}".encode("ascii") if more else b""
    return f'* {kind} ({" ".join(attributes)}) "{names.DELIMITER}" '.encode("ascii") + written + tail + CRLF


def metadata(name: str, entries: Mapping[str, bytes | None], *, utf8: bool = False) -> bytes:
    """Return a METADATA response, nothing without entries (RFC 5464 §4.4.1); an empty name is the server's."""
    if not entries:
        return b""
    written = mailbox_name(name, utf8=utf8) if name else b'""'
    told = b" ".join(_astring(entry.encode("ascii")) + b" " + _value(value) for entry, value in entries.items())
    return b"* METADATA " + written + b" (" + told + b")" + CRLF


def _astring(octets: bytes) -> bytes:
    return octets if _ATOM.fullmatch(octets) else string(octets)


def _value(octets: bytes | None) -> bytes:
    if octets is None:
        return NIL
    return b"~" + literal(octets) if b"\0" in octets else string(octets)


def status(
    name: str, items: Iterable[StatusItem], found: MailboxStatus, append_limit_octets: int, *, utf8: bool = False
) -> bytes:
    """Return a STATUS response."""
    told = " ".join(f"{item.value} {_status_value(item, found, append_limit_octets)}" for item in items)
    return b"* STATUS " + mailbox_name(name, utf8=utf8) + b" (" + told.encode("ascii") + b")\r\n"


def _status_value(item: StatusItem, found: MailboxStatus, append_limit_octets: int) -> int | str:
    match item:
        case StatusItem.MESSAGES:
            return found.messages
        case StatusItem.RECENT:
            return 0
        case StatusItem.UIDNEXT:
            return found.mailbox.uidnext
        case StatusItem.UIDVALIDITY:
            return found.mailbox.uidvalidity
        case StatusItem.UNSEEN:
            return found.unseen
        case StatusItem.HIGHESTMODSEQ:
            return max(1, found.mailbox.modseq)
        case StatusItem.SIZE:
            return found.size_octets
        case StatusItem.DELETED:
            return found.deleted
        case StatusItem.DELETED_STORAGE:
            return found.deleted_octets
        case StatusItem.MAILBOXID:
            return mailbox_id(found.mailbox.id)
        case StatusItem.APPENDLIMIT:
            return append_limit_octets


def email_name(name: str) -> str:
    """Return an EMAILID (RFC 8474)."""
    return f"M{name}"


def thread_name(number: int) -> str:
    """Return a THREADID (RFC 8474)."""
    return f"T{number}"


def mailbox_id(number: int) -> str:
    """Return a MAILBOXID in its parentheses (RFC 8474)."""
    return f"(F{number})"


def search(numbers: Iterable[int], modseq: int | None) -> bytes:
    """Return a SEARCH response; `modseq` is the highest among those found (RFC 7162 §3.1.5)."""
    return _numbers(b"* SEARCH", numbers, modseq)


def sort(numbers: Iterable[int], modseq: int | None) -> bytes:
    """Return a SORT response."""
    return _numbers(b"* SORT", numbers, modseq)


def _numbers(opening: bytes, numbers: Iterable[int], modseq: int | None) -> bytes:
    found = b"".join(b" %d" % number for number in numbers)
    tail = b" (MODSEQ %d)" % modseq if modseq is not None and found else b""
    return opening + found + tail + CRLF


def highest(modseq: int) -> bytes:
    """Return the mailbox's highest MODSEQ (RFC 7162 §3.1.2.1)."""
    return tagged("*", "OK", "Highest", f"HIGHESTMODSEQ {max(1, modseq)}")


def vanished(ranges: Iterable[tuple[int, int]], *, earlier: bool = False) -> bytes:
    """Return a VANISHED response (RFC 7162 §3.2.10)."""
    return untagged(f"VANISHED {'(EARLIER) ' if earlier else ''}{runs(ranges)}")


def flag_update(number: int, uid: int, modseq: int | None, written_flags: bytes) -> bytes:
    """Return an untagged FETCH that tells new flags, with the MODSEQ when the client knows about it."""
    if modseq is None:
        return b"* %d FETCH (UID %d FLAGS %b)\r\n" % (number, uid, written_flags)
    return b"* %d FETCH (UID %d FLAGS %b MODSEQ (%d))\r\n" % (number, uid, written_flags, modseq)
