"""How texts are compared when letters are sorted: the collation i;unicode-casemap (RFC 5051)."""

from __future__ import annotations

import unicodedata


class _CaseMap(dict[int, str]):
    """Character → its simple titlecase, decomposed; filled as characters come."""

    def __missing__(self, code: int) -> str:
        character = chr(code)
        title = character.title()
        # Only the simple mapping counts, from one character to one.
        mapped = unicodedata.normalize("NFKD", title if len(title) == 1 else character)
        # What decomposes into small letters of its own is mapped again.
        found = mapped if mapped == character else "".join(self[ord(each)] for each in mapped)
        self[code] = found
        return found


_MAP = _CaseMap()


def key(text: str) -> str:
    """Return what to compare instead of a text; the order of code points is that of their UTF-8 octets."""
    return text.upper() if text.isascii() else text.translate(_MAP)
