"""The seam between the SMTP dialogue and what a listener does with it. No I/O here."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from mss.clock import Clock
from mss.config import Limits
from mss.model.address import Domain
from mss.model.envelope import Recipient
from mss.policy.decision import Decision
from mss.smtp.commands import Given
from mss.smtp.decrypted import new_buffer
from mss.smtp.metrics import Metrics
from mss.smtp.reply import Reply
from mss.smtp.session import Listener, Session, Transaction
from mss.smtp.spool import Spool

if TYPE_CHECKING:
    import ssl

    from mss.smtp.esmtp import Connection


class Door(Protocol):
    """What a listener does with what it is told. A `Reply` that is positive lets the dialogue go on."""

    listener: Listener
    mechanisms: tuple[str, ...]

    async def secured(self, session: Session, end: object) -> Session | Reply:
        """Take note of TLS (`end` is the SSL object); a Reply ends the connection."""

    async def insecure(self, session: Session, reason: str) -> None:
        """Take note of a handshake that failed."""

    async def sign_in(self, session: Session, mechanism: str, given: Given) -> Session | Reply:
        """Return the session with its account, or why not."""

    async def mail(self, session: Session, transaction: Transaction) -> Reply:
        """Judge the sender."""

    async def rcpt(self, session: Session, transaction: Transaction, recipient: Recipient) -> Reply:
        """Judge a recipient."""

    async def data(self, session: Session, transaction: Transaction, octets: bytes) -> Reply:
        """Take the letter: a positive reply is a promise that it is on disk."""

    async def unfit(self, session: Session, transaction: Transaction, decision: Decision) -> Reply:
        """Refuse a letter whose octets are not fit to be read."""


@dataclass(frozen=True, slots=True)
class House:
    """What all connections of a listener share. `home` is where a bare `postmaster` lives."""

    hostname: str
    home: Domain
    door: Door
    limits: Limits
    clock: Clock
    metrics: Metrics
    spool: Spool
    tls_context: Callable[[], ssl.SSLContext]
    admit: Callable[[Connection], Reply | None]
    leave: Callable[[Connection], None]
    # What TLS decrypts into, for one connection after another: each takes its octets out at once.
    decrypted: memoryview = field(default_factory=new_buffer)
    deliveries: set[asyncio.Task[Reply]] = field(default_factory=set)
