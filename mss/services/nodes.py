"""What the nodes tell of themselves, and what is forgotten of it."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from mss.store import Uow
from mss.store.nodes import Running

_FORGOTTEN: Final = timedelta(days=1)


def report(uow: Uow, running: Running, now: datetime) -> None:
    """Write down that a worker lives."""
    uow.nodes.seen(running)


def leave(uow: Uow, name: str, now: datetime) -> None:
    """Forget a worker that ends in good order."""
    uow.nodes.gone(name)


def listed(uow: Uow, now: datetime) -> tuple[Running, ...]:
    """Return the workers that were heard of within a day."""
    return uow.nodes.all()


def forget_silent(uow: Uow, limit: int, now: datetime) -> int:
    """Drop workers that nobody heard of for a day, so many at most; returns how many went."""
    return uow.nodes.forget(now - _FORGOTTEN, limit)
