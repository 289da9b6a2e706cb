"""Octets in a named charset become text, whatever the name is worth.

It never raises and never guesses by statistics: the name given, else UTF-8, else Windows-1252 (what
European software means by "no charset"; ISO 8859-1 and US-ASCII are read so too, as browsers do).
"""

from __future__ import annotations

import codecs
import re
from functools import lru_cache
from typing import Final

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:+-]{0,39}\Z")
_AS_WINDOWS: Final = frozenset({"iso8859-1", "ascii", "cp1252"})
# Codecs of Python that are no charsets of mail: slow on hostile input, or escapes of a programming language.
_NO_CHARSETS: Final = frozenset(
    {"idna", "punycode", "undefined", "unicode-escape", "raw-unicode-escape", "mbcs", "oem"}
)


def decode(octets: bytes, charset: str | None = None) -> str:
    """Return the text that the octets mean; what cannot be read becomes U+FFFD."""
    codec = _codec(charset) if charset else None
    if codec is None or codec in _AS_WINDOWS or codec == "utf-8":
        return _utf8_or_windows(octets)
    # UTF-7 can make lone surrogates, which nothing else could encode again.
    return octets.decode(codec, "replace").encode("utf-8", "replace").decode("utf-8")


def _utf8_or_windows(octets: bytes) -> str:
    try:
        return octets.decode("utf-8")
    except UnicodeDecodeError:
        return _mostly_utf8(octets)


def _mostly_utf8(octets: bytes) -> str:
    """Read a text that is not UTF-8: as UTF-8 with few faults where it clearly is, else as Windows-1252."""
    text = octets.decode("utf-8", "replace")
    faults = text.count("\ufffd")
    good = sum(map(text.count, "éèàçêùâîôëïœÉÀ’"))
    return text if good > 4 * faults else octets.decode("cp1252", "replace")


@lru_cache(maxsize=256)
def _codec(charset: str) -> str | None:
    """Return Python's name of a charset, None when it knows none that fits."""
    if not _NAME.match(charset):
        return None
    try:
        info = codecs.lookup(charset)
    except LookupError:
        return None
    name = info.name.lower().replace("_", "-")
    is_text = getattr(info, "_is_text_encoding", True)
    return name if is_text and name not in _NO_CHARSETS else None
