"""Putting a letter into a box: octets, mailbox row, conversation and dossier. It decides nothing about acceptance.

For patients' boxes it keeps the conversation's state as `policy.conversing` says, and files the documents that
`dossier.filing` matched, each once per `uniqueId`.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Set
from dataclasses import dataclass, replace
from datetime import datetime

from mss.clock import to_us
from mss.dossier.categories import category_of
from mss.model.account import Box
from mss.model.address import Address, Domain
from mss.model.audit import AuditEvent
from mss.model.conversation import ContactState, Direction, Participant, Role
from mss.model.document import AttachedDocument, Document, FiledBy
from mss.model.filing import FilingVerdict
from mss.model.mailbox import INBOX, SEEN
from mss.model.party import BoxKind
from mss.policy import conversing, threads
from mss.policy.exchange import LetterFacts
from mss.services import mailbox as mailbox_service
from mss.services import threads as box_threads
from mss.services.mailbox import forms_of, keep_search_text
from mss.services.reading import Reading
from mss.store import Uow
from mss.store.conversations import NewLetter
from mss.store.dossiers import hidden_bits
from mss.store.objects import Stored

SENT = "Sent"
# How many conversations, and newest letters of each, are looked at for an answer that lost its references.
_THREADS_TRIED = 10
_LETTERS_TRIED = 20


@dataclass(frozen=True, slots=True)
class Placed:
    """Where a letter came to be in a box."""

    mailbox_id: int
    uid: int


@dataclass(frozen=True, slots=True)
class Incoming:
    """A letter about to be delivered: its octets as stored, what was read of them, and who sent them."""

    reading: Reading
    stored: Stored
    reverse_path: Address | None
    envelope: tuple[Address, ...]
    origin_domains: frozenset[Domain]
    patient_domains: frozenset[Domain]
    reply_to_foreign: bool
    actor: str


def participants(reading: Reading) -> tuple[Participant, ...]:
    """Return everybody named in the header, with the role each stands in."""
    roles = ((Role.SENDER, reading.author), (Role.REPLY_TO, reading.reply_to), (Role.TO, reading.to))
    named = [(role, one) for role, some in (*roles, (Role.CC, reading.cc)) for one in some]
    return tuple(Participant(one.address, one.name, role) for role, one in named)


def letter_facts(
    letter: Incoming,
    recipient: Address,
    size_max_octets: int,
    *,
    represented: bool = False,
    test_identities: bool = False,
) -> LetterFacts:
    """Return what the policy needs to know of one recipient's copy; `represented` only matters before acceptance."""
    reading = letter.reading
    documents = reading.submission.documents if reading.submission else ()
    return LetterFacts(
        recipient=recipient,
        reverse_path=letter.reverse_path,
        participants=participants(reading),
        envelope=letter.envelope,
        patient_domains=letter.patient_domains,
        author_domains=letter.origin_domains,
        automatic=reading.automatic,
        closing=reading.closing,
        answerable=reading.answerable,
        documents=tuple(document.entry for document in documents),
        size_octets=len(reading.octets),
        size_max_octets=size_max_octets,
        represented=represented,
        reply_to_foreign=letter.reply_to_foreign,
        test_identities=test_identities,
    )


def place(uow: Uow, box_id: int, mailbox: str, letter: Incoming, flags: int, now: datetime) -> Placed:
    """Add a letter to a box's mailbox and wake those who watch it."""
    return _placed(uow, box_id, mailbox, letter, flags, None, now)


def _placed(
    uow: Uow, box_id: int, mailbox: str, letter: Incoming, flags: int, thread_id: int | None, now: datetime
) -> Placed:
    uow.objects.hold(box_id, letter.stored, forms_of(letter.reading), thread_id)
    mailbox_id, uid, modseq = uow.mailboxes.bump_inbox(box_id, mailbox)
    row = {
        "uid": uid,
        "flags": flags,
        "internal_date": to_us(now),
        "size": len(letter.reading.octets),
        "object_id": letter.stored.id,
    }
    uow.mailboxes.add(mailbox_id, [row], modseq, now)
    uow.wake("mailbox", box_id)
    return Placed(mailbox_id, uid)


def deliver(
    uow: Uow, box: Box, letter: Incoming, verdict: FilingVerdict, size_max_octets: int, now: datetime
) -> Placed:
    """Deliver a letter to a box's INBOX; a patient's also to its conversation and dossier."""
    if box.kind is not BoxKind.PATIENT:
        return _deliver_to_professional(uow, box, letter, now)
    placed = place(uow, box.id, INBOX, letter, 0, now)
    converse(uow, box, letter, placed, verdict, size_max_octets, now)
    for document in letter.reading.submission.documents if letter.reading.submission else ():
        if document.entry.unique_id in verdict.filed:
            file_document(uow, box, document, letter, now)
    if verdict.filed:
        box_threads.note_filed(uow, letter.reverse_path, letter.reading.message_id, now)
    return placed


def _deliver_to_professional(uow: Uow, box: Box, letter: Incoming, now: datetime) -> Placed:
    joined = box_threads.join(uow, box.id, letter.stored.id, letter.reading)
    flags = 0
    if joined.keywords:
        flags = mailbox_service.bits_of(uow, mailbox_service.find(uow, box.id, INBOX, now), joined.keywords)
    placed = _placed(uow, box.id, INBOX, letter, flags, joined.thread_id, now)
    # A patient's box has no IMAP.
    keep_search_text(uow, box.id, letter.stored.id, letter.reading)
    box_threads.after_arrival(uow, box.id, joined, now)
    return placed


# -- conversations ---------------------------------------------------------------------------------------------------


def converse(
    uow: Uow, box: Box, letter: Incoming, placed: Placed, verdict: FilingVerdict, size_max_octets: int, now: datetime
) -> None:
    """Put an incoming letter into its conversation and keep the state that it changes."""
    reading = letter.reading
    facts = letter_facts(letter, box.address, size_max_octets)
    stand_ins = _stand_ins(uow, box.id, reading) if reading.closing else ()
    contacts = uow.conversations.contacts(box.id)
    opening = conversing.opens(facts, contacts, stand_ins)
    conversation_id = _conversation(uow, box.id, reading, now)
    new = NewLetter(
        object_id=letter.stored.id,
        mailbox_id=placed.mailbox_id,
        uid=placed.uid,
        direction=Direction.RECEIVED,
        message_id=reading.message_id,
        answerable=opening.answerable,
        closing=opening.closing,
        has_attachment=reading.has_attachment,
        unread=True,
        sender=opening.sender,
        authorises=opening.authorises,
        filing=tuple((one.unique_id, one.reason.value) for one in verdict.documents),
        hidden=_hidden(reading),
    )
    uow.conversations.add_letter(box.id, conversation_id, new, now)
    _keep_contacts(uow, box.id, opening, {one.address.key for one in contacts}, now)
    event = AuditEvent(
        letter.actor,
        "conversation.letter",
        f"conversation:{conversation_id}",
        opening.decision.verdict.value,
        opening.decision.rule.name,
        box.id,
        {"letter": letter.stored.id},
    )
    uow.journal.write(event, now)


def _hidden(reading: Reading) -> int:
    """Return the bits of those whom one of the letter's documents is hidden from."""
    documents = reading.submission.documents if reading.submission else ()
    return hidden_bits(frozenset().union(*(one.entry.confidentiality for one in documents)))


def _keep_contacts(uow: Uow, box_id: int, opening: conversing.Opening, known: Set[str], now: datetime) -> None:
    for participant, state in opening.contacts:
        uow.conversations.set_contact(box_id, participant.address, participant.name, state, now)
    numbered = known | {participant.address.key for participant, _ in opening.contacts}
    for participant in opening.authorises:
        # Everybody who may be written to needs a number for the pages; being named opens nothing by itself.
        if participant.address.key not in numbered:
            uow.conversations.set_contact(box_id, participant.address, participant.name, ContactState.NEVER, now)


def _conversation(uow: Uow, box_id: int, reading: Reading, now: datetime) -> int:
    """Find the letter's conversation by References and In-Reply-To, or by its subject where a client dropped them; a
    lone `[FIN]` goes to its author's newest."""
    found = uow.conversations.find(box_id, reading.references)
    if found is None and reading.author:
        author = reading.author[0].address
        if reading.closing:
            found = uow.conversations.newest_with(box_id, author)
        elif threads.base_subject(reading.subject)[1]:
            found = threads.thread_of(reading.subject, author.key, _threads(uow, box_id, author), now)
    return found if found is not None else uow.conversations.create(box_id, reading.subject, now)


def _threads(uow: Uow, box_id: int, author: Address) -> Iterator[threads.ThreadFacts]:
    """Yield the conversations that an answer without references might belong to: the newest of the box, and those in
    which its author wrote last."""
    newest = {one.id: one for one in uow.conversations.list(box_id, 0, _THREADS_TRIED)}
    for letter in uow.conversations.letters_by(box_id, author, _THREADS_TRIED):
        if letter.conversation_id not in newest:
            known = uow.conversations.get(box_id, letter.conversation_id)
            newest |= {known.id: known} if known is not None else {}
    for one in newest.values():
        letters = uow.conversations.letters_of(box_id, one.id, limit=_LETTERS_TRIED)
        people = {person.address.key for letter in letters for person in letter.authorises}
        people |= {letter.sender.address.key for letter in letters if letter.sender is not None}
        yield threads.ThreadFacts(one.id, one.subject, one.last_at, frozenset(people))


def _stand_ins(uow: Uow, box_id: int, reading: Reading) -> tuple[Participant, ...]:
    """Return the Reply-To boxes that earlier letters of this author named."""
    mine = (letter for one in reading.author[:1] for letter in uow.conversations.letters_by(box_id, one.address))
    return tuple(dict.fromkeys(p for letter in mine for p in letter.authorises if p.role is Role.REPLY_TO))


# -- dossier ---------------------------------------------------------------------------------------------------------


def file_document(uow: Uow, box: Box, found: AttachedDocument, letter: Incoming, now: datetime) -> int | None:
    """File one document of a letter, with its readable twin; None when that `uniqueId` is filed already."""
    stored = uow.objects.put(found.octets, now)
    uow.objects.hold(box.id, stored)
    twin = uow.objects.put(found.companion_pdf, now) if found.companion_pdf else None
    if twin is not None:
        uow.objects.hold(box.id, twin)
    document = Document(
        id=0,
        box_id=box.id,
        entry=found.entry,
        entry_id=secrets.token_hex(16),
        logical_id=secrets.token_hex(16),
        object_id=stored.id,
        size_octets=len(found.octets),
        filed_at=now,
        filed_by=FiledBy.LETTER,
        category=category_of(found.entry.type_code),
        email_id=letter.stored.id,
        companion_object_id=twin.id if twin else None,
    )
    return keep_document(uow, document, letter.actor, now)


def keep_document(uow: Uow, document: Document, actor: str, now: datetime) -> int | None:
    """Write a document into a dossier and the journal, masked where its patient wants new ones to be; the one it
    replaces is kept and marked."""
    if uow.rights.settings(document.box_id).default_mask:
        document = replace(document, masked=True)
    document_id = uow.dossiers.file(document)
    if document_id is not None:
        authors = (author.person_id for author in document.entry.authors)
        uow.rights.note_authors(document.box_id, document_id, authors)
    action = "document.known" if document_id is None else "document.file"
    target = f"document:{document_id or 0}"
    facts = {"letter": document.email_id, "by": document.filed_by.value}
    uow.journal.write(AuditEvent(actor, action, target, subject_box_id=document.box_id, facts=facts), now)
    if document_id is not None:
        _link_versions(uow, document, document_id)
    return document_id


def _link_versions(uow: Uow, document: Document, document_id: int) -> None:
    """Mark the version that a new document replaces, and the new one when its successor came first."""
    older = document.entry.replaces
    if older and older != document.entry.unique_id:
        earlier = uow.dossiers.by_unique_id(document.box_id, older)
        if earlier is None:
            uow.dossiers.expect(document.box_id, older, document_id)
        else:
            uow.dossiers.replace(earlier.id, document_id)
    for later in uow.dossiers.expected(document.box_id, document.entry.unique_id):
        uow.dossiers.replace(document_id, later)


def send_copy(uow: Uow, box_id: int, letter: Incoming, now: datetime) -> Placed:
    """Keep the sender's own copy in Sent."""
    return place(uow, box_id, SENT, letter, SEEN, now)
