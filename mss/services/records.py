"""What a patient sees: conversations, letters, drafts and documents, by name and never by address.

Opening a conversation or a document is written in the journal.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime

from mss.model.audit import AuditRecord
from mss.model.conversation import Conversation, Direction
from mss.model.document import Document
from mss.policy.decision import Decision
from mss.services.receive import Hosted
from mss.services.submit import Attachment
from mss.store import Uow


def conversations(uow: Uow, box_id: int, offset: int, limit: int, now: datetime) -> tuple[Conversation, ...]:
    """Return a box's conversations, newest first."""
    raise NotImplementedError


def unread(uow: Uow, box_id: int, now: datetime) -> int:
    """Return how many conversations have unread letters."""
    raise NotImplementedError


@dataclass(frozen=True, slots=True)
class ThreadLetter:
    """A letter of a thread; names only. `octets` is the whole letter, for the viewer to read parts of."""

    email_id: int
    direction: Direction
    at: datetime
    sender_name: str
    recipient_names: tuple[str, ...]
    unread: bool
    answerable: bool
    closing: bool
    octets: bytes


@dataclass(frozen=True, slots=True)
class ReplyChoice:
    """Somebody whom an answer may reach; `number` stands for the address, which is never shown."""

    number: int
    name: str
    default: bool


@dataclass(frozen=True, slots=True)
class Thread:
    """A conversation opened: its letters oldest first, whether it may be answered (with the rule when not) and whom
    an answer may reach."""

    conversation: Conversation
    letters: tuple[ThreadLetter, ...]
    reply: Decision
    choices: tuple[ReplyChoice, ...]
    draft: Draft | None


@dataclass(frozen=True, slots=True)
class Draft:
    """The one draft of a conversation, attachments included."""

    text: str
    participants: tuple[int, ...]
    attachments: tuple[Attachment, ...]
    saved_at: datetime


def thread(
    uow: Uow, hosted: Hosted, account_id: int, box_id: int, conversation_id: int, now: datetime
) -> Thread | None:
    """Return a conversation; None when the box has no such."""
    raise NotImplementedError


def mark_read(uow: Uow, hosted: Hosted, account_id: int, box_id: int, conversation_id: int, now: datetime) -> int:
    """Mark a conversation's letters as read (\\Seen in the mailbox), send read receipts that were asked for, and write
    the reading down; returns how many changed."""
    raise NotImplementedError


def save_draft(uow: Uow, account_id: int, box_id: int, conversation_id: int, draft: Draft, now: datetime) -> None:
    """Keep the draft of a conversation: there is one, the newest."""
    raise NotImplementedError


def drop_draft(uow: Uow, account_id: int, box_id: int, conversation_id: int, now: datetime) -> None:
    """Drop the draft."""
    raise NotImplementedError


def letter_octets(uow: Uow, account_id: int, box_id: int, email_id: int, now: datetime) -> bytes | None:
    """Return a letter that the box holds, for attachments; None when it holds no such."""
    raise NotImplementedError


def documents(uow: Uow, account_id: int, box_id: int, now: datetime) -> tuple[Document, ...]:
    """Return the dossier's documents visible to this account, newest first."""
    raise NotImplementedError


@dataclass(frozen=True, slots=True)
class OpenedDocument:
    """A document and its octets; `companion_pdf` the readable twin, when one came along."""

    document: Document
    octets: bytes
    companion_pdf: bytes | None


def open_document(uow: Uow, account_id: int, box_id: int, document_id: int, now: datetime) -> OpenedDocument | None:
    """Return a document with its octets and write the access down; None when the dossier has no such."""
    raise NotImplementedError


@dataclass(frozen=True, slots=True)
class FilingWish:
    """What a patient says of an attachment to file (MSSANTE.md §4.4)."""

    title: str
    date: date
    folder: str
    category: str


def file_attachment(
    uow: Uow,
    account_id: int,
    box_id: int,
    email_id: int,
    part_number: str,
    octets: bytes,
    name: str,
    wish: FilingWish,
    now: datetime,
) -> tuple[Decision, Document | None]:
    """File an attachment by the patient's hand; the same octets twice give the same document."""
    raise NotImplementedError


def accesses(uow: Uow, box_id: int, limit: int, now: datetime) -> tuple[AuditRecord, ...]:
    """Return who did what in this box or dossier, newest first: the patient may read it."""
    raise NotImplementedError
