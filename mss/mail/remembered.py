"""Values that most letters write alike are read once: short ones, the newest of them. Results must not change."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Final, TypeVar

T = TypeVar("T")

VALUE_MAX_OCTETS: Final = 256
VALUES_MAX: Final = 512


def remembered(read: Callable[[bytes, int], T]) -> Callable[[bytes, int], T]:
    """Make a function of a field's value and a limit remember what it returned for short values."""
    known = lru_cache(maxsize=VALUES_MAX)(read)

    def recall(value: bytes, limit: int) -> T:
        return known(value, limit) if len(value) <= VALUE_MAX_OCTETS else read(value, limit)

    return recall
