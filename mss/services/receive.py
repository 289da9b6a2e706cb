"""Letters that come in: who they are for, and their acceptance in one unit of work.

`judge` and `accept` take the same decisions: at RCPT on what was read, again in the unit that writes.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from mss.config import PolicyConfig
from mss.model.account import Box
from mss.model.address import Address, Domain
from mss.model.envelope import Envelope, Recipient
from mss.policy.decision import Decision
from mss.services.reading import Reading
from mss.store import Uow


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a letter came in: the listed peer's name ("peer:<CN>") and all domains its certificate may speak for."""

    actor: str
    domains: frozenset[Domain]


@dataclass(frozen=True, slots=True)
class Hosted:
    """What the unit needs of the configuration: hosted domain → "professional" or "patient"; our host name."""

    domains: dict[Domain, str]
    hostname: str
    policy: PolicyConfig
    message_max_octets: int


@dataclass(frozen=True, slots=True)
class RecipientOutcome:
    """What became of one recipient."""

    recipient: Recipient
    decision: Decision
    box_id: int | None = None


@dataclass(frozen=True, slots=True)
class Receipt:
    """The answer to an accepted or refused letter; `number` is shown after 250 and found in the journal.

    `duplicate`: the same letter from the same operator was here before; nothing was delivered twice.
    """

    number: str
    outcomes: tuple[RecipientOutcome, ...]
    duplicate: bool = False

    @property
    def accepted(self) -> bool:
        """Whether at least one recipient was accepted: the answer is 250 then."""
        return any(outcome.decision.accepted for outcome in self.outcomes)


def judge(
    uow: Uow, hosted: Hosted, sender: Address | None, recipient: Address, size_octets: int | None, now: datetime
) -> tuple[Decision, Box | None]:
    """Say at RCPT whether a recipient would be accepted; `size_octets` as declared with SIZE=."""
    raise NotImplementedError


def accept(uow: Uow, hosted: Hosted, origin: Origin, envelope: Envelope, reading: Reading, now: datetime) -> Receipt:
    """Deliver a letter to every acceptable recipient: octets, mailbox rows, conversation, dossier, reports due,
    journal, all in this unit. Idempotent per (origin, Message-ID, digest, recipient)."""
    raise NotImplementedError
