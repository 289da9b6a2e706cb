"""The store: units of work on a writer and a pool of readers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Concatenate, ParamSpec, Protocol, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class Uow:
    """One unit of work: the rooms of the store inside one transaction."""


class Subscription(Protocol):
    """Wakes when something may have changed; a hint, never the truth."""

    async def wait(self, timeout_s: float) -> bool:
        """Wait for a hint, so long at most; True when one came."""

    def close(self) -> None:
        """Stop listening."""


class Store:
    """Rows and octets of one operator."""

    async def write(self, service: Callable[Concatenate[Uow, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a service in a write unit; returns once its commit is on disk."""
        raise NotImplementedError

    async def read(self, service: Callable[Concatenate[Uow, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a service on one snapshot."""
        raise NotImplementedError

    def subscribe(self, channel: str, key: int = 0) -> Subscription:
        """Listen for wake-ups: channel "mailbox" with a box id, or "queue"."""
        raise NotImplementedError
