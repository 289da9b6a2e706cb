"""The one clock. Times are UTC; on disk they are whole microseconds since 1970."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

Clock = Callable[[], datetime]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def system_clock() -> datetime:
    """Return the present instant, in UTC."""
    return datetime.now(UTC)


def to_us(instant: datetime) -> int:
    """Return whole microseconds since 1970 for an aware instant."""
    return (instant - _EPOCH) // _MICROSECOND


def from_us(microseconds: int) -> datetime:
    """Return the UTC instant of so many microseconds since 1970."""
    return _EPOCH + microseconds * _MICROSECOND
