"""What all IMAP sessions of a process share. The composition root fills it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from mss.clock import Clock
from mss.config import Limits
from mss.imap.metrics import Metrics
from mss.model.peer import ClientCertificate
from mss.screening import UNSCREENED, Screen
from mss.services.reading import Reading
from mss.signin import SignIn
from mss.store import Store

if TYPE_CHECKING:
    import ssl


class Memory:
    """How many octets of letters on their way in may be held, over all sessions of a process."""

    def __init__(self, octets_max: int) -> None:
        self._free = octets_max
        self._changed = asyncio.Event()

    async def take(self, octets: int, timeout_s: float) -> bool:
        """Wait until there are so many, False when it takes too long."""
        try:
            async with asyncio.timeout(timeout_s):
                while octets > self._free:
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            return False
        self._free -= octets
        return True

    def give(self, octets: int) -> None:
        """Give them back."""
        self._free += octets
        self._changed.set()


@dataclass(frozen=True, slots=True)
class House:
    """The parts that sessions work with. `read_letter` may hand large letters to another process, `certificate` says
    what a TLS session's client showed, and `screen` looks at letters that clients bring."""

    store: Store
    sign_in: SignIn
    clock: Clock
    limits: Limits
    metrics: Metrics
    tls_context: Callable[[], ssl.SSLContext]
    read_letter: Callable[[bytes], Awaitable[Reading]]
    memory: Memory
    certificate: Callable[[object, datetime], ClientCertificate | None] = lambda _end, _now: None
    screen: Screen = UNSCREENED
