"""URLs that name a letter of the account, or a part of one (RFC 5092 §5, as CATENATE uses them: RFC 4469 §3).

Only what begins at this server's root ("/INBOX;UIDVALIDITY=7/;UID=3/;SECTION=1.2") or at the selected mailbox
(";UID=3") is read: another server, a user's name and URLAUTH are not for this. Nothing is looked up here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote_from_bytes, unquote_to_bytes

from mss.errors import Malformed
from mss.imap import commands as c
from mss.imap.fetch_items import read_section
from mss.imap.lexer import NUMBER_MAX

_URL: Final = re.compile(
    rb"(?:/(?P<mailbox>[^;?/][^;?]*?)(?:;UIDVALIDITY=(?P<validity>\d{1,10}))?/)?;UID=(?P<uid>\d{1,10})"
    rb"(?:/;SECTION=(?P<section>[^;?]+?))?(?:/;PARTIAL=(?P<start>\d{1,10})(?:\.(?P<count>\d{1,10}))?)?",
    re.IGNORECASE,
)
_CONTROL: Final = re.compile(rb"[\x00-\x1f\x7f]")
_TOLD_MAX_OCTETS: Final = 1000
# What may stand in a response code as it is: neither "]" nor anything that ends a line or is not ASCII.
_SAFE: Final = "/;?:@&=+$,-_.!~*'()%"


@dataclass(frozen=True, slots=True)
class Reference:
    """A letter, or octets of it: `mailbox` None is the selected one, `section` None the whole letter."""

    mailbox: str | None
    uidvalidity: int | None
    uid: int
    section: c.Section | None = None
    start: int = 0
    count: int | None = None

    def cut(self, octets: bytes) -> bytes:
        """Return the range of a section that is meant."""
        return octets[self.start :] if self.count is None else octets[self.start : self.start + self.count]


def read_url(url: bytes) -> Reference | None:
    """Read a URL, None for one that is not of this kind."""
    match = _URL.fullmatch(url)
    if match is None:
        return None
    try:
        mailbox = None if match["mailbox"] is None else unquote_to_bytes(match["mailbox"]).decode("utf-8")
        section = None if match["section"] is None else _section(match["section"])
    except (UnicodeDecodeError, Malformed):
        return None
    uid, validity, count = int(match["uid"]), _number(match["validity"]), _number(match["count"])
    if not 0 < uid <= NUMBER_MAX or 0 in (validity, count):
        return None
    return Reference(mailbox, validity, uid, section, _number(match["start"]) or 0, count)


def _number(digits: bytes | None) -> int | None:
    return None if digits is None else int(digits)


def _section(written: bytes) -> c.Section:
    plain = unquote_to_bytes(written)
    if _CONTROL.search(plain):
        raise Malformed("Not a section")
    return read_section(plain)


def told(url: bytes) -> str:
    """Return a URL as the code BADURL may name it."""
    return quote_from_bytes(url[:_TOLD_MAX_OCTETS], safe=_SAFE)
