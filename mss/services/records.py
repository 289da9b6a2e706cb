"""What a patient sees: conversations, letters, drafts and documents, by name and never by address.

It reads, and says by whom that may be read. That somebody looked is written down by `accesses.note`, which the door
calls before it gives anything out; what is read for the first time is noted with that in `mark_read`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from mss.dossier.categories import CATEGORIES
from mss.errors import Malformed
from mss.model.account import Box
from mss.model.conversation import Conversation, Direction, Letter, Which
from mss.model.document import Confidentiality, Document
from mss.model.filing import FilingReason
from mss.policy import conversing, rules
from mss.policy.access import Action, Reader
from mss.policy.decision import Decision, accept, reject
from mss.services import accesses, mailbox, replying, report
from mss.services.accesses import Look, Sight, may
from mss.services.house import Hosted
from mss.services.mailbox import FlagAction
from mss.services.reading import read_letter
from mss.services.submit import Attachment
from mss.store import Uow
from mss.store.conversations import Place
from mss.store.dossiers import hidden_bits
from mss.store.mailboxes import runs_of

# A page of a conversation: so many letters, fewer when they are heavy, as each is held in memory while it is drawn.
LETTERS_SHOWN_MAX = 50
LETTERS_SHOWN_OCTETS = 32 * 1024 * 1024
# Documents of one letter that are looked up for its page.
_DOCUMENTS_OF_LETTER_MAX = 50
_FOLDERS_OF_NEWEST = 200
# A receipt is asked for in the header; what is further down is not looked at.
_HEAD_OCTETS = 64 * 1024


def conversations(
    uow: Uow, account_id: int, box_id: int, offset: int, limit: int, now: datetime, which: Which = Which.ALL
) -> tuple[Conversation, ...]:
    """Return a box's conversations, newest first; none when the account may not read them."""
    if not may(uow, account_id, uow.accounts.box_by_id(box_id), Action.READ_LETTERS, now).accepted:
        return ()
    return uow.conversations.list(box_id, offset, limit, which)


def unread(uow: Uow, account_id: int, box_id: int, now: datetime) -> int:
    """Return how many letters are unread; 0 for an account that may not read them."""
    box = uow.accounts.box_by_id(box_id)
    return uow.conversations.unread(box_id) if may(uow, account_id, box, Action.READ_LETTERS, now).accepted else 0


@dataclass(frozen=True, slots=True)
class ThreadLetter:
    """A letter of a thread; names only. `octets` is the whole letter, for the viewer to read parts of.

    `filing` says why each of its documents was filed or not, by unique id; `filed` are those that now stand in the
    dossier, whoever put them there, as far as the reader may see them.
    """

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
    filed: tuple[Document, ...] = ()


@dataclass(frozen=True, slots=True)
class ReplyChoice:
    """Somebody whom an answer may reach; `number` stands for the address, which is never shown."""

    number: int
    name: str
    default: bool


@dataclass(frozen=True, slots=True)
class Thread:
    """A conversation opened: its letters oldest first, whether it may be answered (with the rule when not) and whom
    an answer may reach. `older` and `newer` letters stand on other pages."""

    conversation: Conversation
    letters: tuple[ThreadLetter, ...]
    reply: Decision
    choices: tuple[ReplyChoice, ...]
    draft: Draft | None
    older: int = 0
    newer: int = 0


@dataclass(frozen=True, slots=True)
class Draft:
    """The one draft of a conversation, attachments included; `subject` of one that is to be begun."""

    text: str
    participants: tuple[int, ...]
    attachments: tuple[Attachment, ...]
    saved_at: datetime
    subject: str = ""

    def heavy(self) -> tuple[bytes, ...]:
        """Return the octets that a unit of work may have to store."""
        return tuple(one.octets for one in self.attachments)


def thread(
    uow: Uow,
    hosted: Hosted,
    account_id: int,
    box_id: int,
    conversation_id: int,
    now: datetime,
    skip: int = 0,
    limit: int = LETTERS_SHOWN_MAX,
) -> Thread | None:
    """Return a conversation with a page of its newest letters, without the `skip` newest; None when the box has no
    such, or the account may not read its letters."""
    conversation = uow.conversations.get(box_id, conversation_id)
    box = uow.accounts.box_by_id(box_id)
    if conversation is None or box is None or not may(uow, account_id, box, Action.READ_LETTERS, now).accepted:
        return None
    deciding = uow.conversations.letters_of(box_id, conversation_id)
    facts = replying.reply_facts(uow, hosted, box, deciding, 0)
    acts = may(uow, account_id, box, Action.SEND_LETTERS, now)
    decision = conversing.may_answer(facts) if acts.accepted else acts
    older = uow.conversations.letters_of(box_id, conversation_id, skip=skip, limit=limit) if skip else deciding[-limit:]
    bits = _hidden_from(accesses.reader(uow, account_id, box_id, now))
    # A letter whose document is hidden from the reader is hidden whole: its text and its readable twin tell the same.
    shown = _page(uow, box_id, _visible(older, bits))
    return Thread(
        conversation,
        tuple(_thread_letter(uow, box, letter, bits) for letter in shown),
        decision,
        _choices(uow, box_id, facts) if decision.accepted else (),
        _draft(uow, box_id, conversation_id),
        older=max(conversation.letters - skip - (len(shown) + len(older) - len(_visible(older, bits))), 0),
        newer=min(skip, conversation.letters),
    )


def _visible(letters: tuple[Letter, ...], bits: int | None) -> tuple[Letter, ...]:
    """Return the letters that a reader may see, by the bits of what is hidden from them."""
    return () if bits is None else tuple(one for one in letters if not one.hidden & bits)


@dataclass(frozen=True, slots=True)
class Beginning:
    """What a patient needs to begin a conversation: whether that may be, whom it may reach, and the draft of it."""

    reply: Decision
    choices: tuple[ReplyChoice, ...]
    draft: Draft | None


def beginning(uow: Uow, hosted: Hosted, account_id: int, box_id: int, now: datetime) -> Beginning | None:
    """Return whom a patient may write to first, and the draft; None when the account may not write for the box."""
    box = uow.accounts.box_by_id(box_id)
    acts = may(uow, account_id, box, Action.SEND_LETTERS, now)
    if box is None or not acts.accepted:
        return None
    facts = replying.reply_facts(uow, hosted, box, (), 0)
    by_contact = hosted.policy.profile == "contact"
    # A pharmacy that is to be chosen yet may be written to, though nobody else can be.
    decision = accept(rules.CONVERSATION_CONTACT_OPEN) if by_contact else reject(rules.CONVERSATION_NEW_THREAD)
    choices = _choices(uow, box_id, facts) if by_contact else ()
    return Beginning(decision, choices, _draft(uow, box_id, 0))


def _page(uow: Uow, box_id: int, letters: tuple[Letter, ...]) -> tuple[Letter, ...]:
    """Return the newest of these letters that fit into memory together, at least one."""
    octets = 0
    for count, letter in enumerate(reversed(letters)):
        octets += uow.objects.size(box_id, letter.email_id)
        if count and octets > LETTERS_SHOWN_OCTETS:
            return letters[-count:]
    return letters


def _thread_letter(uow: Uow, box: Box, letter: Letter, hidden_from: int | None) -> ThreadLetter:
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
        filed=() if own or hidden_from is None else _filed(uow, box.id, letter, hidden_from),
    )


def _filed(uow: Uow, box_id: int, letter: Letter, hidden_from: int) -> tuple[Document, ...]:
    """Return the documents in the dossier that this letter brought, also those that another letter brought first."""
    known = [uow.dossiers.by_unique_id(box_id, unique_id) for unique_id, _ in letter.filing[:_DOCUMENTS_OF_LETTER_MAX]]
    own = uow.dossiers.of_letter(box_id, letter.email_id, _DOCUMENTS_OF_LETTER_MAX)
    found = {one.id: one for one in (*known, *own) if one is not None}
    return tuple(one for one in found.values() if not hidden_bits(one.entry.confidentiality) & hidden_from)


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
    return Draft(content["text"], tuple(content["participants"]), attachments, saved_at, content.get("subject", ""))


def mark_read(
    uow: Uow,
    hosted: Hosted,
    account_id: int,
    box_id: int,
    conversation_id: int,
    now: datetime,
    only: Collection[int] | None = None,
) -> int:
    """Mark a conversation's letters (`only` these) as read (\\Seen in the mailbox), send read receipts that were asked
    for, and write the reading down; returns how many changed."""
    box = uow.accounts.box_by_id(box_id)
    look = Look(Sight.CONVERSATION, conversation_id)
    holds = uow.conversations.holds(box_id, conversation_id)
    if box is None or not holds or not may(uow, account_id, box, Action.READ_LETTERS, now).accepted:
        accesses.note(uow, account_id, box_id, look, holds, now)
        return 0
    if only is None:
        only = [letter.email_id for letter in uow.conversations.letters_of(box_id, conversation_id)]
    marked = uow.conversations.mark_read(box_id, conversation_id, only)
    for mailbox_id in {place.mailbox_id for place in marked}:
        uids = runs_of(sorted(place.uid for place in marked if place.mailbox_id == mailbox_id))
        actor = f"account:{account_id}"
        mailbox.store_flags(uow, mailbox_id, uids, FlagAction.ADD, ("\\Seen",), None, actor, now)
    _send_receipts(uow, hosted, box, marked, now)
    accesses.note(uow, account_id, box_id, look, holds, now, letters=len(marked))
    return len(marked)


def _send_receipts(uow: Uow, hosted: Hosted, box: Box, marked: Iterable[Place], now: datetime) -> None:
    for place in marked:
        if place.direction is Direction.RECEIVED:
            head = uow.objects.get(box.id, place.object_id, 0, _HEAD_OCTETS)
            report.read_receipt(uow, hosted.house, box, read_letter(head, hosted.limits, documents=False), now)


def save_draft(uow: Uow, account_id: int, box_id: int, conversation_id: int, draft: Draft, now: datetime) -> None:
    """Keep the draft of a conversation: there is one, the newest. Malformed when it is not this account's to write."""
    _must_write(uow, account_id, box_id, conversation_id, now)
    kept = []
    for one in draft.attachments:
        stored = uow.objects.put(one.octets, now)
        uow.objects.hold(box_id, stored)
        kept.append([one.name, one.mime_type, stored.id])
    content = {"text": draft.text, "participants": list(draft.participants), "attachments": kept}
    content |= {"subject": draft.subject} if draft.subject else {}
    uow.conversations.save_draft(box_id, conversation_id, content, now)


def drop_draft(uow: Uow, account_id: int, box_id: int, conversation_id: int, now: datetime) -> None:
    """Drop the draft. Malformed when it is not this account's to drop."""
    _must_write(uow, account_id, box_id, conversation_id, now)
    uow.conversations.drop_draft(box_id, conversation_id)


def _must_write(uow: Uow, account_id: int, box_id: int, conversation_id: int, now: datetime) -> None:
    box = uow.accounts.box_by_id(box_id)
    allowed = may(uow, account_id, box, Action.SEND_LETTERS, now).accepted
    if not allowed or (conversation_id and not uow.conversations.holds(box_id, conversation_id)):
        raise Malformed("there is no such conversation to write in")


@dataclass(frozen=True, slots=True)
class HeldLetter:
    """A letter that a box holds, and the conversation in which it stands."""

    conversation_id: int
    octets: bytes
    filing: Mapping[str, FilingReason]


def letter_octets(uow: Uow, account_id: int, box_id: int, email_id: int, now: datetime) -> HeldLetter | None:
    """Return a letter that the box holds, for attachments; None when it holds no such, or the account may not read."""
    letter = uow.conversations.letter(box_id, email_id)
    box = uow.accounts.box_by_id(box_id)
    if letter is None or not may(uow, account_id, box, Action.READ_LETTERS, now).accepted:
        return None
    bits = _hidden_from(accesses.reader(uow, account_id, box_id, now))
    if not _visible((letter,), bits):
        return None
    reasons = {unique_id: FilingReason(reason) for unique_id, reason in letter.filing}
    return HeldLetter(letter.conversation_id, uow.objects.get(box_id, letter.email_id), reasons)


# -- documents -------------------------------------------------------------------------------------------------------


def documents(
    uow: Uow, account_id: int, box_id: int, now: datetime, category: str = "", offset: int = 0, limit: int = 100
) -> tuple[Document, ...]:
    """Return the dossier's documents visible to this account, newest first, of one category when given."""
    bits = _documents_of(uow, account_id, box_id, now)
    if bits is None:
        return ()
    return uow.dossiers.list(box_id, offset=offset, limit=limit, category=category, hidden_from=bits)


def shelves(uow: Uow, account_id: int, box_id: int, now: datetime) -> dict[str, int]:
    """Return how many documents each category has that the account may see."""
    bits = _documents_of(uow, account_id, box_id, now)
    return {} if bits is None else uow.dossiers.counts(box_id, ("", *CATEGORIES), hidden_from=bits)


def folders(uow: Uow, account_id: int, box_id: int, now: datetime) -> tuple[str, ...]:
    """Return the folders that the newest documents of a dossier stand in, by name."""
    newest = documents(uow, account_id, box_id, now, limit=_FOLDERS_OF_NEWEST)
    return tuple(sorted({document.folder for document in newest if document.folder}))


def _documents_of(uow: Uow, account_id: int, box_id: int, now: datetime) -> int | None:
    """Return the bits of what is hidden from an account in a dossier; None when it may not read it at all."""
    box = uow.accounts.box_by_id(box_id)
    if not may(uow, account_id, box, Action.READ_DOCUMENTS, now).accepted:
        return None
    return _hidden_from(accesses.reader(uow, account_id, box_id, now))


def _hidden_from(reader: Reader | None) -> int | None:
    if reader is None:
        return None
    hidden = {Confidentiality.INVISIBLE_PATIENT}
    return hidden_bits(hidden if reader is Reader.PATIENT else hidden | {Confidentiality.INVISIBLE_REPRESENTATIVES})


@dataclass(frozen=True, slots=True)
class OpenedDocument:
    """A document and its octets; `companion_pdf` the readable twin, when one came along."""

    document: Document
    octets: bytes
    companion_pdf: bytes | None


def look_up(uow: Uow, account_id: int, box_id: int, document_id: int, now: datetime) -> Document | None:
    """Return a document's facts; None when the dossier has no such, or the account may not see it."""
    document = uow.dossiers.get(box_id, document_id)
    box = uow.accounts.box_by_id(box_id)
    if document is None or not may(uow, account_id, box, Action.READ_DOCUMENTS, now).accepted:
        return None
    return document if accesses.may_see(uow, account_id, document, now).accepted else None


def earlier_version(uow: Uow, account_id: int, box_id: int, document: Document, now: datetime) -> int | None:
    """Return the number of the version that a document replaced; None without one that the account may see."""
    older = uow.dossiers.by_unique_id(box_id, document.entry.replaces) if document.entry.replaces else None
    if older is None or older.replaced_by != document.id:
        return None
    return older.id if accesses.may_see(uow, account_id, older, now).accepted else None


def open_document(uow: Uow, account_id: int, box_id: int, document_id: int, now: datetime) -> OpenedDocument | None:
    """Return a document with its octets; None when the dossier has no such, or the account may not see it."""
    document = look_up(uow, account_id, box_id, document_id, now)
    if document is None:
        return None
    twin = document.companion_object_id
    return OpenedDocument(
        document,
        uow.objects.get(box_id, document.object_id),
        uow.objects.get(box_id, twin) if twin is not None else None,
    )
