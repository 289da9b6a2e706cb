"""What a patient may file by hand: told by the octets, never by the name or the declared type (MSSANTE.md §4.4).

It does not clean the file: whoever shows it sends it with this type, as an attachment, and `nosniff`. The one
module that names puremagic.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Final

import puremagic

from mss.config import Limits
from mss.model.document import DocumentFormat

TEXT: Final = "text/plain"
_FORMATS: Final = {
    "application/pdf": DocumentFormat.PDF,
    "image/jpeg": DocumentFormat.IMAGE,
    "image/png": DocumentFormat.IMAGE,
    "image/tiff": DocumentFormat.IMAGE,
    "application/rtf": DocumentFormat.TEXT,
}
# What a file of the type begins with: puremagic also reports what stands further on, at its end, or in its name.
_STARTS: Final = {
    "application/pdf": (b"%PDF-",),
    "image/jpeg": (b"\xff\xd8\xff",),
    "image/png": (b"\x89PNG\r\n\x1a\n",),
    "image/tiff": (b"II*\0", b"MM\0*"),
    "application/rtf": (b"{\\rtf",),
}
_ALIASES: Final = {"image/pjpeg": "image/jpeg", "text/rtf": "application/rtf", "application/x-pdf": "application/pdf"}
_TEXT_NAMES: Final = re.compile(r"[^.]*\Z|.*\.txt\Z", re.IGNORECASE | re.DOTALL)
_CONTROLS = re.compile(rb"[\x00-\x08\x0e-\x1f\x7f]")
_MARKUP = re.compile(rb"\s*<(?:[!?/]|[a-z])", re.IGNORECASE)
_SNIFFED_OCTETS: Final = 16 * 1024


class Unfileable(StrEnum):
    """Why a file cannot be filed."""

    EMPTY = "empty"
    TOO_LARGE = "too-large"
    TYPE = "type-not-supported"


def fileable_by_patient(octets: bytes, declared_name: str, limits: Limits) -> tuple[DocumentFormat, str] | Unfileable:
    """Return the format and MIME type of a JPEG, PNG, TIFF, PDF, RTF or plain text, or why it cannot be filed.

    The name only helps to refuse: plain text that calls itself something else is not taken as text.
    """
    if not octets:
        return Unfileable.EMPTY
    if len(octets) > limits.filing_max_octets:
        return Unfileable.TOO_LARGE
    mime_type = sniff(octets)
    if mime_type in _FORMATS:
        return _FORMATS[mime_type], mime_type
    if mime_type == TEXT and _TEXT_NAMES.match(declared_name):
        return DocumentFormat.TEXT, TEXT
    return Unfileable.TYPE


def sniff(octets: bytes) -> str | None:
    """Return the MIME type of the octets when it is one that we take; None otherwise."""
    for mime_type in _magic(octets[:_SNIFFED_OCTETS]):
        if octets.startswith(_STARTS.get(mime_type, ())):
            return mime_type
    return TEXT if _is_text(octets) else None


def _magic(head: bytes) -> list[str]:
    try:
        found = puremagic.magic_string(head)
    except (puremagic.PureError, ValueError):
        return []
    return [_ALIASES.get(match.mime_type, match.mime_type) for match in found]


def _is_text(octets: bytes) -> bool:
    """Return whether the octets are UTF-8 or Windows text without control characters, and no markup."""
    if _CONTROLS.search(octets) or _MARKUP.match(octets.removeprefix(b"\xef\xbb\xbf")):
        return False
    for charset in ("utf-8", "cp1252"):
        try:
            octets.decode(charset)
        except UnicodeDecodeError:
            continue
        return True
    return False
