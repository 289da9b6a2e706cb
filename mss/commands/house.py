"""What all commands need: the store for a moment, what we host, who is asking."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import TypeVar

from mss.config import Config
from mss.errors import Malformed, Misconfigured
from mss.model.address import Address
from mss.model.peer import TrustList
from mss.policy.routing import reachable_domains
from mss.services.submit import Outside
from mss.store import Store, Uow

T = TypeVar("T")
Work = Callable[[Store], Awaitable[T]]


def in_store(config: Config, work: Work[T]) -> T:
    """Open the store, do the work, close it; Misconfigured when its tables are of another form."""

    async def run() -> T:
        store = Store(config)
        try:
            fit = await store.fit()
            if not fit.may_run:
                raise Misconfigured(fit.said)
            return await work(store)
        finally:
            await store.close()

    return asyncio.run(run())


def read(config: Config, service: Callable[[Uow], T]) -> T:
    """Run one read unit."""
    return in_store(config, lambda store: store.read(service))


def write(config: Config, service: Callable[[Uow], T]) -> T:
    """Run one write unit."""
    return in_store(config, lambda store: store.write(service))


def outside(config: Config, trust_list: TrustList | None) -> Outside:
    """Return what may be reached beyond our own domains."""
    return Outside(reachable_domains(trust_list, config.relay.routes), config.relay.expire_s)


def actor() -> str:
    """Return who types, for the journal: the system's number of the user, never a name."""
    return f"cli:uid{os.getuid()}"


def address_of(text: str, what: str) -> Address:
    """Read an address that somebody typed; Malformed names what it was for."""
    try:
        return Address.parse(text)
    except Malformed as error:
        raise Malformed(f"{what} is no mail address: {error}") from error


def seconds_ago(instant: datetime, now: datetime) -> str:
    """Return an age in the largest two units that matter ("3 d 4 h")."""
    seconds = max(0, int((now - instant).total_seconds()))
    sizes = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))
    parts: list[str] = []
    for unit, size in sizes:
        count, seconds = divmod(seconds, size)
        if count or (unit == "s" and not parts):
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2])
