"""Professional addresses kept off the screens of patients (promise 5): in letters' texts, subjects and file names.

Mail programs write them into quoted answers and signatures. It is no defence against a sender who disguises one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Container
from typing import Final

Veil = Callable[[str], str]

_ADDRESS = re.compile(r"(?:mailto:)?[^\s@<>\"',;:()\[\]{}|\\&=?/]{1,64}@((?:[\w-]{1,63}\.){1,8}[\w-]{2,63})")
_NATIONAL: Final = ".mssante.fr"


def make_veil(instead: str, domains: Container[str]) -> Veil:
    """Return a function that replaces the addresses of these domains, and of the national one, by a sentence."""

    def replaced(match: re.Match[str]) -> str:
        domain = match.group(1).lower()
        return instead if domain.endswith(_NATIONAL) or domain in domains else match.group(0)

    return lambda text: _ADDRESS.sub(replaced, text) if "@" in text else text
