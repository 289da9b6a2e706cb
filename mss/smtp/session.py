"""What a connection and a transaction know (RFC 5321 §3.3, §4.1.4). No I/O, no decision."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from mss.model.account import Account
from mss.model.address import Address
from mss.model.envelope import Envelope, Recipient
from mss.model.peer import ClientCertificate, Peer
from mss.policy.decision import Decision
from mss.smtp.chunking import ChunkReader
from mss.smtp.commands import Mail


class LetterIn(Protocol):
    """A letter that is being read, or was read to its end, however it comes."""

    @property
    def wire_octets(self) -> int:
        """How many octets came."""

    @property
    def size_octets(self) -> int:
        """How large the letter is, stored or not."""

    @property
    def too_large(self) -> bool:
        """Whether it exceeds the limit."""

    @property
    def bad(self) -> bool:
        """Whether it had a bare CR, a bare LF or a NUL."""

    @property
    def discarded(self) -> bool:
        """Whether nothing was kept."""

    def discard(self) -> None:
        """Keep nothing from now on."""

    def take(self) -> bytes:
        """Return, and forget, what was kept so far, perhaps but for its end: somebody else keeps it."""

    def octets(self) -> bytes:
        """Return the letter, or what of it was not taken."""


class Listener(StrEnum):
    """Which door: the MX, submission by STARTTLS, submission by implicit TLS."""

    MX = "mx"
    SUBMISSION = "submission"
    SUBMISSIONS = "submissions"


@dataclass(frozen=True, slots=True)
class Session:
    """Facts of one connection; a new value after each thing learnt.

    `helo` is what the client calls itself: for the trace field only, never for a log. `peer` is known after
    mutual TLS, `account` after signing in. `certificate` is what a client of ours showed, and `mechanisms` how it may
    sign in here; None: as the door says for all.
    """

    id: str
    listener: Listener
    ip: str
    helo: str = ""
    extended: bool = False
    tls: bool = False
    peer: Peer | None = None
    account: Account | None = None
    certificate: ClientCertificate | None = None
    mechanisms: tuple[str, ...] | None = None


@dataclass(slots=True)
class Transaction:
    """From MAIL to the answer after the letter: what was agreed so far. `chunks` is the letter that comes by BDAT."""

    id: str
    mail: Mail
    began_at: datetime
    recipients: list[Recipient] = field(default_factory=list)
    refused: int = 0
    rule: str = ""
    receipt: str = ""
    chunks: ChunkReader | None = None

    @property
    def sender(self) -> Address | None:
        """The reverse path; None when null."""
        return self.mail.reverse_path

    def has(self, address: Address) -> bool:
        """Whether the address stands among the accepted recipients already."""
        return any(recipient.address.key == address.key for recipient in self.recipients)

    def note(self, decision: Decision) -> None:
        """Remember the first rule that refused something, for the log line."""
        if not decision.accepted and not self.rule:
            self.rule = decision.rule.name

    def envelope(self) -> Envelope:
        """Return the envelope of the accepted recipients."""
        mail = self.mail
        return Envelope(
            mail.reverse_path,
            tuple(self.recipients),
            mail.ret,
            mail.envid,
            mail.body,
            mail.smtputf8,
            mail.require_tls,
        )


def new_id() -> str:
    """Return a short random identifier, for joining log lines."""
    return secrets.token_hex(6)
