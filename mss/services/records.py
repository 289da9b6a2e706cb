"""What a patient sees: conversations, letters, drafts and documents, by name and never by address.

Opening a conversation or a document is written in the journal.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, replace
from datetime import date, datetime, time

from mss.dossier.filing import DEPOSIT_TYPES, Unfileable, fileable_by_patient
from mss.errors import Malformed
from mss.model.account import Box, DelegationKind
from mss.model.audit import AuditEvent, AuditRecord
from mss.model.conversation import Conversation, Direction, Letter
from mss.model.document import (
    Author,
    Confidentiality,
    Document,
    DocumentEntry,
    DocumentFormat,
    FiledBy,
    PatientIdentity,
)
from mss.model.filing import FilingReason
from mss.model.ins import Traits
from mss.policy import access, conversing, rules
from mss.policy.decision import Decision, reject
from mss.services import deliver, mailbox, report, submit
from mss.services.house import Hosted
from mss.services.mailbox import FlagAction
from mss.services.reading import read_letter
from mss.services.submit import Attachment
from mss.store import Uow
from mss.store.mailboxes import runs_of
from mss.store.objects import Stored

_READ = access.Action.READ_LETTERS


def conversations(uow: Uow, box_id: int, offset: int, limit: int, now: datetime) -> tuple[Conversation, ...]:
    """Return a box's conversations, newest first."""
    return uow.conversations.list(box_id, offset, limit)


def unread(uow: Uow, box_id: int, now: datetime) -> int:
    """Return how many conversations have unread letters."""
    return uow.conversations.unread(box_id)


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
    filing: tuple[tuple[str, FilingReason], ...] = ()


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

    def heavy(self) -> tuple[bytes, ...]:
        """Return the octets that a unit of work may have to store."""
        return tuple(one.octets for one in self.attachments)


def thread(
    uow: Uow, hosted: Hosted, account_id: int, box_id: int, conversation_id: int, now: datetime
) -> Thread | None:
    """Return a conversation; None when the box has no such, or the account may not read its letters."""
    conversation = uow.conversations.get(box_id, conversation_id)
    box = uow.accounts.box_by_id(box_id)
    if conversation is None or box is None or not _may(uow, account_id, box, _READ, now).accepted:
        return None
    letters = uow.conversations.letters_of(box_id, conversation_id)
    facts = submit.reply_facts(uow, hosted, box, letters, 0)
    acts = _may(uow, account_id, box, access.Action.SEND_LETTERS, now)
    decision = conversing.may_answer(facts) if acts.accepted else acts
    return Thread(
        conversation,
        tuple(_thread_letter(uow, box, letter) for letter in letters),
        decision,
        _choices(uow, box_id, facts) if decision.accepted else (),
        _draft(uow, box_id, conversation_id),
    )


def _may(uow: Uow, account_id: int, box: Box, action: access.Action, now: datetime) -> Decision:
    account = uow.accounts.by_id(account_id)
    if account is None:
        return reject(rules.ACCESS_NONE)
    return access.may_act(account, uow.accounts.delegations_to(account_id, box.id), box, action, now)


def _thread_letter(uow: Uow, box: Box, letter: Letter) -> ThreadLetter:
    own = letter.direction is Direction.SENT
    sender = box.display_name if own else (letter.sender.name if letter.sender else report.POSTMASTER_NAME)
    return ThreadLetter(
        email_id=letter.email_id,
        direction=letter.direction,
        at=letter.at,
        sender_name=sender,
        recipient_names=tuple(one.name for one in letter.authorises) if own else (box.display_name,),
        unread=not letter.seen,
        answerable=letter.answerable,
        closing=letter.closing,
        octets=uow.objects.get(box.id, letter.email_id),
        filing=tuple((unique_id, FilingReason(reason)) for unique_id, reason in letter.filing),
    )


def _choices(uow: Uow, box_id: int, facts: conversing.ReplyFacts) -> tuple[ReplyChoice, ...]:
    defaults = {one.address.key for one in conversing.default_recipients(facts)}
    found = []
    for one in conversing.answerable_to(facts):
        number = uow.conversations.contact_number(box_id, one.address)
        if number is not None:
            found.append(ReplyChoice(number, one.name, one.address.key in defaults))
    return tuple(found)


def _draft(uow: Uow, box_id: int, conversation_id: int) -> Draft | None:
    saved = uow.conversations.draft(box_id, conversation_id)
    if saved is None:
        return None
    content, saved_at = saved
    attachments = tuple(
        Attachment(name, mime_type, uow.objects.get(box_id, object_id))
        for name, mime_type, object_id in content["attachments"]
    )
    return Draft(content["text"], tuple(content["participants"]), attachments, saved_at)


def mark_read(uow: Uow, hosted: Hosted, account_id: int, box_id: int, conversation_id: int, now: datetime) -> int:
    """Mark a conversation's letters as read (\\Seen in the mailbox), send read receipts that were asked for, and write
    the reading down; returns how many changed."""
    box = uow.accounts.box_by_id(box_id)
    if box is None or not _may(uow, account_id, box, access.Action.READ_LETTERS, now).accepted:
        return 0
    marked = uow.conversations.mark_read(box_id, conversation_id)
    if not marked:
        return 0
    for mailbox_id in {mailbox_id for mailbox_id, _ in marked}:
        uids = runs_of(sorted(uid for one, uid in marked if one == mailbox_id))
        actor = f"account:{account_id}"
        mailbox.store_flags(uow, mailbox_id, uids, FlagAction.ADD, ("\\Seen",), None, actor, now)
    _send_receipts(uow, hosted, box, conversation_id, set(marked), now)
    _note(uow, account_id, "conversation.read", f"conversation:{conversation_id}", box_id, now, letters=len(marked))
    return len(marked)


def _send_receipts(
    uow: Uow, hosted: Hosted, box: Box, conversation_id: int, marked: set[tuple[int, int]], now: datetime
) -> None:
    for letter in uow.conversations.letters_of(box.id, conversation_id):
        if (letter.mailbox_id, letter.uid) in marked and letter.direction is Direction.RECEIVED:
            reading = read_letter(uow.objects.get(box.id, letter.email_id), hosted.limits, documents=False)
            report.read_receipt(uow, hosted.house, box, reading, now)


def _note(uow: Uow, account_id: int, action: str, target: str, box_id: int, now: datetime, **facts: int | str) -> None:
    uow.journal.write(AuditEvent(f"account:{account_id}", action, target, subject_box_id=box_id, facts=facts), now)


def save_draft(uow: Uow, account_id: int, box_id: int, conversation_id: int, draft: Draft, now: datetime) -> None:
    """Keep the draft of a conversation: there is one, the newest. Malformed when it is not this account's to write."""
    _must_write(uow, account_id, box_id, conversation_id, now)
    kept = []
    for one in draft.attachments:
        stored = uow.objects.put(one.octets, now)
        uow.objects.hold(box_id, stored)
        kept.append([one.name, one.mime_type, stored.id])
    content = {"text": draft.text, "participants": list(draft.participants), "attachments": kept}
    uow.conversations.save_draft(box_id, conversation_id, content, now)


def drop_draft(uow: Uow, account_id: int, box_id: int, conversation_id: int, now: datetime) -> None:
    """Drop the draft. Malformed when it is not this account's to drop."""
    _must_write(uow, account_id, box_id, conversation_id, now)
    uow.conversations.drop_draft(box_id, conversation_id)


def _must_write(uow: Uow, account_id: int, box_id: int, conversation_id: int, now: datetime) -> None:
    box = uow.accounts.box_by_id(box_id)
    may = box is not None and _may(uow, account_id, box, access.Action.SEND_LETTERS, now).accepted
    if not may or not uow.conversations.holds(box_id, conversation_id):
        raise Malformed("there is no such conversation to write in")


def letter_octets(uow: Uow, account_id: int, box_id: int, email_id: int, now: datetime) -> bytes | None:
    """Return a letter that the box holds, for attachments; None when it holds no such."""
    letter = uow.conversations.letter(box_id, email_id)
    box = uow.accounts.box_by_id(box_id)
    if letter is None or box is None or not _may(uow, account_id, box, access.Action.READ_LETTERS, now).accepted:
        return None
    return uow.objects.get(box_id, letter.email_id)


def documents(uow: Uow, account_id: int, box_id: int, now: datetime) -> tuple[Document, ...]:
    """Return the dossier's documents visible to this account, newest first."""
    kind = _kind(uow, account_id, box_id, now)
    return tuple(one for one in uow.dossiers.list(box_id) if kind is not None and _visible(one, kind))


def _kind(uow: Uow, account_id: int, box_id: int, now: datetime) -> DelegationKind | None:
    found = (kind for box, kind in uow.accounts.delegations_of(account_id, now) if box.id == box_id)
    return next(found, None)


def _visible(document: Document, kind: DelegationKind) -> bool:
    """Say whether a patient's account may see a document: what a professional hid for now stays hidden."""
    hidden = document.entry.confidentiality
    if Confidentiality.INVISIBLE_PATIENT in hidden:
        return False
    represents = kind is not DelegationKind.OWNER
    return not (represents and Confidentiality.INVISIBLE_REPRESENTATIVES in hidden)


@dataclass(frozen=True, slots=True)
class OpenedDocument:
    """A document and its octets; `companion_pdf` the readable twin, when one came along."""

    document: Document
    octets: bytes
    companion_pdf: bytes | None


def open_document(uow: Uow, account_id: int, box_id: int, document_id: int, now: datetime) -> OpenedDocument | None:
    """Return a document with its octets and write the access down; None when the dossier has no such."""
    kind = _kind(uow, account_id, box_id, now)
    document = uow.dossiers.get(box_id, document_id)
    if document is None or kind is None or not _visible(document, kind):
        return None
    _note(uow, account_id, "document.read", f"document:{document_id}", box_id, now)
    twin = document.companion_object_id
    return OpenedDocument(
        document,
        uow.objects.get(box_id, document.object_id),
        uow.objects.get(box_id, twin) if twin is not None else None,
    )


@dataclass(frozen=True, slots=True)
class FilingWish:
    """What a patient says of an attachment to file (MSSANTE.md §4.4)."""

    title: str
    date: date
    folder: str
    category: str


def file_attachment(
    uow: Uow,
    hosted: Hosted,
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
    box = uow.accounts.box_by_id(box_id)
    letter = uow.conversations.letter(box_id, email_id)
    if box is None or letter is None:
        return reject(rules.ACCESS_NONE), None
    decision = _may(uow, account_id, box, access.Action.ADD_DOCUMENTS, now)
    if not decision.accepted:
        return decision, None
    fileable = fileable_by_patient(octets, name, hosted.limits)
    if isinstance(fileable, Unfileable):
        return reject(rules.ATTACHMENT_NOT_FILEABLE, reason=fileable.value), None
    stored = uow.objects.put(octets, now)
    uow.objects.hold(box_id, stored)
    document = _by_hand(uow, box, stored, octets, fileable, email_id, wish, now)
    document_id = deliver.keep_document(uow, document, f"account:{account_id}", now)
    known = uow.dossiers.by_unique_id(box_id, document.entry.unique_id)
    return decision, known if document_id is None else replace(document, id=document_id)


def _by_hand(
    uow: Uow,
    box: Box,
    stored: Stored,
    octets: bytes,
    fileable: tuple[DocumentFormat, str],
    email_id: int,
    wish: FilingWish,
    now: datetime,
) -> Document:
    document_format, mime_type = fileable
    entry = DocumentEntry(
        # The same octets give the same identifier, so that they are filed once (RFC 9562 §5.5, OID arc 2.25).
        unique_id=f"2.25.{int.from_bytes(uow.sealing.digest(b'by hand', octets)[:16], 'big')}",
        format=document_format,
        title=wish.title,
        type_code=DEPOSIT_TYPES.get(wish.category, ""),
        created_at=datetime.combine(wish.date, time(), tzinfo=now.tzinfo),
        mime_type=mime_type,
        patient=PatientIdentity(((box.ins.matricule, box.ins.oid),) if box.ins else (), box.traits or Traits()),
        authors=(Author(box.display_name),),
    )
    return Document(
        id=0,
        box_id=box.id,
        entry=entry,
        entry_id=secrets.token_hex(16),
        logical_id=secrets.token_hex(16),
        object_id=stored.id,
        size_octets=len(octets),
        filed_at=now,
        filed_by=FiledBy.PATIENT,
        category=wish.category,
        folder=wish.folder,
        email_id=email_id,
    )


def accesses(uow: Uow, box_id: int, limit: int, now: datetime) -> tuple[AuditRecord, ...]:
    """Return who did what in this box or dossier, newest first: the patient may read it."""
    return uow.journal.about_box(box_id, limit)
