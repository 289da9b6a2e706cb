"""Files that come and go with letters: what their first octets say they are, and what may be done with them.

A name or a declared type is never trusted. It opens no file: viewers do (MSSANTE.md §4.4).
"""

from __future__ import annotations

import re
import unicodedata
from enum import Enum
from typing import Final
from urllib.parse import quote

from mss.dossier.deposit import sniff

NAME_MAX_CHARACTERS: Final = 120
FILES_MAX: Final = 10
# Base64 and its line ends make 78 octets of 57; the rest is room for the text and the headers.
_ENCODED: Final = 78 / 57
_ROOM_OCTETS: Final = 512 * 1024


class Kind(Enum):
    """The files that patients may send and file, by media type."""

    PDF = "application/pdf"
    JPEG = "image/jpeg"
    PNG = "image/png"
    TIFF = "image/tiff"
    RTF = "application/rtf"
    TEXT = "text/plain"

    @property
    def extensions(self) -> tuple[str, ...]:
        """The file name extensions, with their dot; nameless files get the first."""
        return _EXTENSIONS[self]

    @property
    def in_browser(self) -> bool:
        """Whether every browser shows it by itself, safely."""
        return self in (Kind.PDF, Kind.JPEG, Kind.PNG, Kind.TEXT)


_EXTENSIONS: Final = {
    Kind.PDF: (".pdf",),
    Kind.JPEG: (".jpg", ".jpeg"),
    Kind.PNG: (".png",),
    Kind.TIFF: (".tif", ".tiff"),
    Kind.RTF: (".rtf",),
    Kind.TEXT: (".txt",),
}
ACCEPT: Final = ",".join(extension for kind in Kind for extension in kind.extensions)


def kind_of(octets: bytes) -> Kind | None:
    """Return what the octets are; None for anything else than the kinds we know."""
    sniffed = sniff(octets) if octets else None
    return Kind(sniffed) if sniffed is not None else None


def kind_named(name: str) -> Kind | None:
    """Return the kind that a file's name promises: for lists, where nothing is opened yet."""
    lower = name.lower()
    return next((kind for kind in Kind if lower.endswith(kind.extensions)), None)


def safe_name(name: str, kind: Kind | None = None) -> str:
    """Return a file name without folders, control or direction characters, not too long, fit for its kind."""
    base = unicodedata.normalize("NFC", name).replace("\\", "/").rpartition("/")[2]
    kept = "".join(c for c in base if unicodedata.category(c)[0] != "C").strip(" .")
    kept = " ".join(kept.split()) or "document"
    stem, dot, extension = kept.rpartition(".")
    if not dot or len(extension) > 10:
        stem, extension = kept, ""
    if kind is not None and f".{extension.lower()}" not in kind.extensions:
        stem, extension = kept, kind.extensions[0][1:]
    tail = f".{extension}" if extension else ""
    return stem[: NAME_MAX_CHARACTERS - len(tail)] + tail


def content_disposition(name: str, *, inline: bool = False) -> str:
    """Return the field's value with the name in both forms of RFC 6266."""
    plain = re.sub(r"[^A-Za-z0-9._ -]", "_", unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode())
    way = "inline" if inline else "attachment"
    return f"{way}; filename=\"{plain or 'document'}\"; filename*=UTF-8''{quote(name, safe='')}"


def room_for_files(message_max_octets: int) -> int:
    """Return how many octets of files fit into one letter, rounded down to whole megabytes (of 1,000,000)."""
    octets = int((message_max_octets - _ROOM_OCTETS) / _ENCODED)
    return max(octets // 1_000_000, 0) * 1_000_000
