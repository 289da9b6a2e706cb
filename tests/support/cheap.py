"""Passwords of tests guard nothing: the program's parameters take 20 ms of a core each, hundreds of times."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from mss import passwords

_REAL: Final = passwords._HASHER
_CHEAP: Final = passwords.Hasher(passes=1, memory_kib=8)


def make_passwords_cheap() -> None:
    """Hash with the least that Argon2 knows, in this process."""
    passwords._HASHER = _CHEAP
    passwords._nobody.cache_clear()


@contextmanager
def dear_passwords() -> Iterator[None]:
    """Hash with the program's own parameters meanwhile."""
    passwords._HASHER = _REAL
    passwords._nobody.cache_clear()
    yield
    make_passwords_cheap()
