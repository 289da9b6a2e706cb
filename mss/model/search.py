"""How texts are compared when people search: without accents, case, ligatures and punctuation."""

from __future__ import annotations

import re
import unicodedata

_LIGATURES = str.maketrans({"œ": "oe", "æ": "ae", "ø": "o", "ł": "l", "đ": "d", "ı": "i"})
_BETWEEN_WORDS = re.compile(r"[\W_]+")


def search_key(text: str) -> str:
    """Return the words of a text as they are searched, with single spaces between; idempotent."""
    if text.isascii():
        return _BETWEEN_WORDS.sub(" ", text.lower()).strip()
    bare = _without_marks(_without_marks(text).casefold().translate(_LIGATURES))
    return _BETWEEN_WORDS.sub(" ", bare).strip()


def _without_marks(text: str) -> str:
    return "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
