"""Who may answer whom, and whether it is still open (MSSANTE.md §4.2)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from mss.model.address import Address


class ContactState(StrEnum):
    """Between one patient and one professional address. `ended`: `[FIN]` came; a new letter re-opens."""

    NEVER = "never-contacted"
    OPEN = "open"
    ENDED = "ended"


class Direction(StrEnum):
    """Seen from the patient."""

    RECEIVED = "received"
    SENT = "sent"


class Which(StrEnum):
    """Which of a box's conversations are listed."""

    ALL = ""
    UNREAD = "unread"
    DRAFTS = "drafts"


class Role(StrEnum):
    """Where an address stood in a letter."""

    SENDER = "sender"
    REPLY_TO = "reply-to"
    TO = "to"
    CC = "cc"


@dataclass(frozen=True, slots=True)
class Contact:
    """The state between one patient's box and one professional address; `name` is what patients see."""

    address: Address
    name: str
    state: ContactState
    since: datetime


@dataclass(frozen=True, slots=True)
class Participant:
    """A professional address that one letter authorises for an answer (Reply-To stands for the sender)."""

    address: Address
    name: str
    role: Role


@dataclass(frozen=True, slots=True)
class Letter:
    """One letter of a conversation. `closing` says `[FIN]`; `answerable` is False under `X-MSS-MES: FIN`.

    `authorises` are those whom this letter lets the patient write to. `filing` says of each document that came
    along, by unique id, why it is in the dossier or not (`model.filing.FilingReason`). `hidden` has the bits of those
    whom one of its documents is hidden from (`store.dossiers.HIDDEN`).
    """

    email_id: int
    direction: Direction
    at: datetime
    answerable: bool
    closing: bool
    authorises: tuple[Participant, ...]
    sender: Participant | None
    uid: int = 0
    mailbox_id: int = 0
    seen: bool = True
    filing: tuple[tuple[str, str], ...] = ()
    conversation_id: int = 0
    hidden: int = 0


@dataclass(frozen=True, slots=True)
class Conversation:
    """A thread in a patient's box. `unread` counts letters; `last_at` is the newest letter's time."""

    id: int
    box_id: int
    subject: str
    last_at: datetime
    letters: int
    unread: int
    names: tuple[str, ...] = ()
    has_attachment: bool = False
    has_draft: bool = False
