"""Conversations of a patient's box, the letters in them, contacts and drafts. Names and addresses are sealed.

Nothing here reads a whole box, nor a whole long conversation: what is asked for comes with a number, and is found by an
index.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, assert_never

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Select,
    and_,
    bindparam,
    delete,
    func,
    insert,
    literal_column,
    or_,
    select,
    update,
)

from mss.clock import from_us, to_us
from mss.model.address import Address
from mss.model.conversation import Contact, ContactState, Conversation, Direction, Letter, Participant, Role, Which
from mss.store.hot import Hot
from mss.store.sealing import Sealing
from mss.store.tables import contacts, conversations, drafts, letters

# The newest letters of a conversation say who may be answered in it; more are not looked at.
DECIDING_MAX = 500
# Of a conversation in a list, the names of so many of its newest letters are shown, and that of its first.
_NAMES_NEWEST = 5

_SUBJECT, _FACTS, _CONTACT, _DRAFT = b"subject", b"letter facts", b"contact", b"draft"

_ADD = Hot.new(letters)
_CREATE = Hot(
    insert(conversations).returning(conversations.c.id),
    ["box_id", "subject", "created_at", "last_at", "letters", "unread", "has_attachment"],
)
_TOUCH = Hot(
    update(conversations)
    .where(conversations.c.id == bindparam("b_id"))
    .values(
        last_at=bindparam("b_at"),
        letters=conversations.c.letters + 1,
        unread=conversations.c.unread + bindparam("b_unread"),
        has_attachment=or_(conversations.c.has_attachment, bindparam("b_attachment")),
    )
)
_OF_CONVERSATION = and_(
    letters.c.box_id == bindparam("box_id"),
    letters.c.conversation_id == bindparam("conversation_id"),
    letters.c.direction == Direction.RECEIVED.value,
)
_FACTS_OF = select(letters.c.facts).where(_OF_CONVERSATION)
_NEWEST_FACTS = Hot(_FACTS_OF.order_by(letters.c.at.desc(), letters.c.object_id.desc()).limit(_NAMES_NEWEST))
_FIRST_FACTS = Hot(_FACTS_OF.order_by(letters.c.at, letters.c.object_id).limit(1))
_PERSON = [contacts.c[name] for name in ("id", "box_id", "address", "name", "state", "since")]
_OF_BOX = contacts.c.box_id == bindparam("box_id")
_CONTACTS = Hot(select(*_PERSON).where(_OF_BOX).order_by(contacts.c.id))
_CONTACT_OF = Hot(select(*_PERSON).where(and_(_OF_BOX, contacts.c.address_digest == bindparam("digest"))))
_CONTACT_BY_NUMBER = Hot(select(*_PERSON).where(and_(_OF_BOX, contacts.c.id == bindparam("number"))))
_CONTACT_KEY = ["box_id", "address_digest"]
_SET = Hot.upsert(contacts, _CONTACT_KEY, ["state", "since"])
_SET_NAMED = Hot.upsert(contacts, _CONTACT_KEY, ["state", "since", "name"])
_SAVE_DRAFT = Hot.upsert(drafts, ["box_id", "conversation_id"], ["content", "saved_at"])


@dataclass(frozen=True, slots=True)
class NewLetter:
    """A letter to put into a conversation."""

    object_id: int
    mailbox_id: int
    uid: int
    direction: Direction
    message_id: str
    answerable: bool
    closing: bool
    has_attachment: bool
    unread: bool
    sender: Participant | None
    authorises: tuple[Participant, ...]
    filing: tuple[tuple[str, str], ...] = ()
    hidden: int = 0


@dataclass(frozen=True, slots=True)
class Place:
    """Where a letter of a conversation lies in the mailbox."""

    mailbox_id: int
    uid: int
    object_id: int
    direction: Direction


class Conversations:
    """Conversations inside one unit."""

    def __init__(self, connection: Connection, sealing: Sealing) -> None:
        self._connection = connection
        self._sealing = sealing

    # -- threads -------------------------------------------------------------------------------------------------

    def find(self, box_id: int, message_ids: Iterable[str]) -> int | None:
        """Return the conversation that holds one of the letters named by Message-ID, the newest first."""
        digests = [self._message(box_id, message_id) for message_id in message_ids]
        if not digests:
            return None
        where = and_(letters.c.box_id == box_id, letters.c.message_digest.in_(digests))
        query = select(letters.c.conversation_id).where(where).order_by(letters.c.at.desc()).limit(1)
        return self._connection.execute(query).scalar()

    def create(self, box_id: int, subject: str, now: datetime) -> int:
        """Open a conversation."""
        row = {
            "box_id": box_id,
            "subject": self._sealing.seal_text(box_id, subject, _SUBJECT),
            "created_at": to_us(now),
            "last_at": to_us(now),
            "letters": 0,
            "unread": 0,
            "has_attachment": False,
        }
        return int(_CREATE.run(self._connection, row).fetchone()[0])

    def add_letter(self, box_id: int, conversation_id: int, letter: NewLetter, now: datetime) -> None:
        """Put a letter into a conversation; the same letter again changes nothing."""
        facts = {
            "sender": _dump(letter.sender),
            "authorises": [_dump(one) for one in letter.authorises],
            "filing": letter.filing,
            "hidden": letter.hidden,
        }
        row = {
            "box_id": box_id,
            "object_id": letter.object_id,
            "conversation_id": conversation_id,
            "mailbox_id": letter.mailbox_id,
            "uid": letter.uid,
            "direction": letter.direction,
            "at": to_us(now),
            "message_digest": self._message(box_id, letter.message_id),
            "author_digest": self._author(box_id, letter.sender.address) if letter.sender else None,
            "answerable": letter.answerable,
            "closing": letter.closing,
            "has_attachment": letter.has_attachment,
            "unread": letter.unread,
            "facts": self._sealing.seal_json(box_id, facts, _FACTS),
        }
        if _ADD.run(self._connection, row).rowcount:
            sums = {"b_unread": int(letter.unread), "b_attachment": letter.has_attachment}
            _TOUCH.run(self._connection, {"b_id": conversation_id, "b_at": to_us(now), **sums})

    def _message(self, box_id: int, message_id: str) -> bytes:
        return self._sealing.digest(b"message", b"%d" % box_id, message_id.strip().encode("utf-8", "replace"))

    def _author(self, box_id: int, address: Address) -> bytes:
        return self._sealing.digest(b"author", b"%d" % box_id, address.key.encode("utf-8", "replace"))

    def list(self, box_id: int, offset: int, limit: int, which: Which = Which.ALL) -> tuple[Conversation, ...]:
        """Return conversations, newest first, with their counts and the names of those who wrote first and last."""
        newest_first = (conversations.c.last_at.desc(), conversations.c.id.desc())
        # The page is cut before anything is joined: skipped rows cost an index entry each.
        page = select(conversations.c.id).where(_listed(box_id, which)).order_by(*newest_first)
        where = conversations.c.id.in_(page.offset(offset).limit(limit))
        rows = self._connection.execute(_with_drafts(box_id).where(where).order_by(*newest_first)).all()
        return tuple(self._conversation(row) for row in rows)

    def get(self, box_id: int, conversation_id: int) -> Conversation | None:
        """Return one conversation of a box."""
        where = and_(conversations.c.id == conversation_id, conversations.c.box_id == box_id)
        row = self._connection.execute(_with_drafts(box_id).where(where)).first()
        return None if row is None else self._conversation(row)

    def _conversation(self, row: Row[Any]) -> Conversation:
        return Conversation(
            id=row.id,
            box_id=row.box_id,
            subject=self._sealing.unseal_text(row.box_id, row.subject, _SUBJECT),
            last_at=from_us(row.last_at),
            letters=row.letters,
            unread=row.unread,
            names=self._names(row),
            has_attachment=row.has_attachment,
            has_draft=row.saved_at is not None,
        )

    def _names(self, row: Row[Any]) -> tuple[str, ...]:
        """Return who wrote, each once: the first one, then those of the newest letters."""
        which = {"box_id": row.box_id, "conversation_id": row.id}
        sealed = _NEWEST_FACTS.run(self._connection, which).fetchall()[::-1]
        if row.letters > _NAMES_NEWEST:
            sealed = [*_FIRST_FACTS.run(self._connection, which).fetchall(), *sealed]
        senders = (self._sealing.unseal_json(row.box_id, facts, _FACTS)["sender"] for (facts,) in sealed)
        return tuple(dict.fromkeys(sender[1] for sender in senders if sender is not None))

    def subject(self, box_id: int, conversation_id: int) -> str:
        """Return the subject of a conversation of a box; empty when it has none such."""
        where = and_(conversations.c.id == conversation_id, conversations.c.box_id == box_id)
        sealed = self._connection.execute(select(conversations.c.subject).where(where)).scalar()
        return "" if sealed is None else self._sealing.unseal_text(box_id, sealed, _SUBJECT)

    def holds(self, box_id: int, conversation_id: int) -> bool:
        """Say whether a conversation is this box's."""
        where = and_(conversations.c.box_id == box_id, conversations.c.id == conversation_id)
        return self._connection.execute(select(conversations.c.id).where(where)).first() is not None

    def letters_of(
        self, box_id: int, conversation_id: int, *, skip: int = 0, limit: int = DECIDING_MAX
    ) -> tuple[Letter, ...]:
        """Return the newest letters of a conversation, oldest first; `skip` so many of the newest."""
        where = and_(letters.c.box_id == box_id, letters.c.conversation_id == conversation_id)
        newest_first = (letters.c.at.desc(), letters.c.object_id.desc())
        rows = self._connection.execute(select(letters).where(where).order_by(*newest_first).offset(skip).limit(limit))
        return tuple(self._letter(row) for row in rows.all()[::-1])

    def letters_by(self, box_id: int, author: Address, limit: int = DECIDING_MAX) -> tuple[Letter, ...]:
        """Return the newest letters of a box that an address wrote, oldest first."""
        where = and_(letters.c.box_id == box_id, letters.c.author_digest == self._author(box_id, author))
        rows = self._connection.execute(select(letters).where(where).order_by(letters.c.at.desc()).limit(limit))
        return tuple(self._letter(row) for row in rows.all()[::-1])

    def newest_with(self, box_id: int, author: Address) -> int | None:
        """Return the conversation of the newest letter that an address wrote."""
        newest = self.letters_by(box_id, author, 1)
        return newest[0].conversation_id if newest else None

    def letter(self, box_id: int, object_id: int) -> Letter | None:
        """Return one letter of a box."""
        where = and_(letters.c.box_id == box_id, letters.c.object_id == object_id)
        row = self._connection.execute(select(letters).where(where)).first()
        return None if row is None else self._letter(row)

    def _letter(self, row: Row[Any]) -> Letter:
        facts = self._sealing.unseal_json(row.box_id, row.facts, _FACTS)
        return Letter(
            email_id=row.object_id,
            direction=Direction(row.direction),
            at=from_us(row.at),
            answerable=row.answerable,
            closing=row.closing,
            authorises=tuple(one for item in facts["authorises"] if (one := _load(item))),
            sender=_load(facts["sender"]),
            uid=row.uid,
            mailbox_id=row.mailbox_id,
            seen=not row.unread,
            filing=tuple((unique_id, reason) for unique_id, reason in facts["filing"]),
            conversation_id=row.conversation_id,
            hidden=facts.get("hidden", 0),
        )

    def mark_read(self, box_id: int, conversation_id: int, only: Iterable[int]) -> tuple[Place, ...]:
        """Mark letters of a conversation as read, by object; returns where those are that were not."""
        where = and_(
            letters.c.box_id == box_id,
            letters.c.object_id.in_(list(only)),
            # Not as an index would like it: the few letters are found by their own numbers, not by walking the thread.
            letters.c.conversation_id + 0 == conversation_id,
            letters.c.unread.is_(True),
        )
        columns = (letters.c.mailbox_id, letters.c.uid, letters.c.object_id, letters.c.direction)
        rows = self._connection.execute(update(letters).where(where).values(unread=False).returning(*columns)).all()
        if rows:
            fewer = update(conversations).where(conversations.c.id == conversation_id)
            self._connection.execute(fewer.values(unread=conversations.c.unread - len(rows)))
        return tuple(Place(row.mailbox_id, row.uid, row.object_id, Direction(row.direction)) for row in rows)

    def unread(self, box_id: int) -> int:
        """Return how many letters of a box are unread."""
        query = select(func.sum(conversations.c.unread)).where(_listed(box_id, Which.UNREAD))
        return int(self._connection.execute(query).scalar() or 0)

    # -- contacts ------------------------------------------------------------------------------------------------

    def contact(self, box_id: int, address: Address) -> Contact | None:
        """Return the state between a box and a professional address; None: never contacted."""
        values = {"box_id": box_id, "digest": self._address(box_id, address)}
        return self._contact(_CONTACT_OF.run(self._connection, values).fetchone())

    def contact_number(self, box_id: int, address: Address) -> int | None:
        """Return the number that stands for an address in a box's pages."""
        values = {"box_id": box_id, "digest": self._address(box_id, address)}
        row = _CONTACT_OF.run(self._connection, values).fetchone()
        return None if row is None else int(row[0])

    def contact_by_number(self, box_id: int, number: int) -> Contact | None:
        """Return a box's contact by its number."""
        values = {"box_id": box_id, "number": number}
        return self._contact(_CONTACT_BY_NUMBER.run(self._connection, values).fetchone())

    def contacts(self, box_id: int) -> tuple[Contact, ...]:
        """Return all contacts of a box."""
        rows = _CONTACTS.run(self._connection, {"box_id": box_id}).fetchall()
        return tuple(contact for row in rows if (contact := self._contact(row)))

    def set_contact(self, box_id: int, address: Address, name: str, state: ContactState, now: datetime) -> None:
        """Set the state (and the name, when one is given) between a box and an address."""
        row = {
            "box_id": box_id,
            "address_digest": self._address(box_id, address),
            "address": self._sealing.seal_text(box_id, address.spec, _CONTACT),
            "name": self._sealing.seal_text(box_id, name, _CONTACT),
            "state": state,
            "since": to_us(now),
        }
        (_SET_NAMED if name else _SET).run(self._connection, row)

    def _address(self, box_id: int, address: Address) -> bytes:
        return self._sealing.digest(b"contact", b"%d" % box_id, address.key.encode("utf-8", "replace"))

    def _contact(self, row: Sequence[Any] | None) -> Contact | None:
        """Make a contact of the columns of `_PERSON`."""
        if row is None:
            return None
        _number, box_id, address, name, state, since = row
        spec = self._sealing.unseal_text(box_id, address, _CONTACT)
        shown = self._sealing.unseal_text(box_id, name, _CONTACT)
        return Contact(Address.parse(spec), shown, ContactState(state), from_us(since))

    # -- drafts --------------------------------------------------------------------------------------------------

    def save_draft(self, box_id: int, conversation_id: int, content: Any, now: datetime) -> None:
        """Keep the one draft of a conversation (a JSON value)."""
        row = {
            "box_id": box_id,
            "conversation_id": conversation_id,
            "content": self._sealing.seal_json(box_id, content, _DRAFT),
            "saved_at": to_us(now),
        }
        _SAVE_DRAFT.run(self._connection, row)

    def draft(self, box_id: int, conversation_id: int) -> tuple[Any, datetime] | None:
        """Return the draft's content and when it was saved."""
        where = and_(drafts.c.box_id == box_id, drafts.c.conversation_id == conversation_id)
        row = self._connection.execute(select(drafts).where(where)).first()
        return None if row is None else (self._sealing.unseal_json(box_id, row.content, _DRAFT), from_us(row.saved_at))

    def drop_draft(self, box_id: int, conversation_id: int) -> None:
        """Drop the draft."""
        where = and_(drafts.c.box_id == box_id, drafts.c.conversation_id == conversation_id)
        self._connection.execute(delete(drafts).where(where))


def _listed(box_id: int, which: Which) -> ColumnElement[bool]:
    mine = conversations.c.box_id == box_id
    match which:
        case Which.ALL:
            return mine
        case Which.UNREAD:
            # Written out, not bound: only then is the partial index known to fit.
            return and_(mine, conversations.c.unread > literal_column("0"))
        case Which.DRAFTS:
            written = select(drafts.c.conversation_id).where(drafts.c.box_id == box_id)
            return and_(mine, conversations.c.id.in_(written))
        case _ as never:
            assert_never(never)


def _with_drafts(box_id: int) -> Select[Any]:
    own = and_(drafts.c.box_id == box_id, drafts.c.conversation_id == conversations.c.id)
    return select(conversations, drafts.c.saved_at).outerjoin(drafts, own)


def _dump(participant: Participant | None) -> list[str] | None:
    return None if participant is None else [participant.address.spec, participant.name, participant.role]


def _load(item: list[str] | None) -> Participant | None:
    return None if item is None else Participant(Address.parse(item[0]), item[1], Role(item[2]))
