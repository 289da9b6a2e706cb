"""Letters that our own people send: professionals and robots by submission, patients by the webmail."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from mss.model.address import Address
from mss.model.envelope import Envelope
from mss.policy.decision import Decision
from mss.services.reading import Reading
from mss.services.receive import Hosted, Receipt
from mss.store import Uow


def sender_addresses(uow: Uow, account_id: int, now: datetime) -> tuple[Address, ...]:
    """Return the addresses of all boxes that the account owns or acts for."""
    raise NotImplementedError


@dataclass(frozen=True, slots=True)
class Outside:
    """What may be reached beyond our own domains: the trust list's and the configured routes' domains."""

    reachable: frozenset[str]
    expire_s: int


def accept(
    uow: Uow, hosted: Hosted, outside: Outside, account_id: int, envelope: Envelope, reading: Reading, now: datetime
) -> Receipt:
    """Take a submitted letter: local recipients at once, a delivery for each other one, journal.

    The octets are final (Message-ID and Date there, Bcc gone, Received added). Refused recipients are in the
    receipt with their decision; nothing is kept when none is accepted.
    """
    raise NotImplementedError


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file that goes with a patient's letter; `name` and `mime_type` already checked by sniffing."""

    name: str
    mime_type: str
    octets: bytes


@dataclass(frozen=True, slots=True)
class PatientReply:
    """A patient's answer. `participants` are the numbers that `records.thread` gave to those who may be written
    to (never addresses); empty: the default of the newest letter."""

    conversation_id: int
    text: str
    participants: tuple[int, ...] = ()
    attachments: tuple[Attachment, ...] = ()


def reply(
    uow: Uow, hosted: Hosted, outside: Outside, account_id: int, box_id: int, answer: PatientReply, now: datetime
) -> tuple[Decision, Receipt | None]:
    """Send a patient's answer inside its conversation: Sent copy, deliveries, journal, draft dropped.

    The decision is taken here, in the unit that writes; when it refuses, nothing changes (the draft stays).
    """
    raise NotImplementedError
