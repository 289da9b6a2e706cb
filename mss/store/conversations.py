"""Conversations of a patient's box, the letters in them, contacts and drafts. Names and addresses are sealed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, and_, bindparam, delete, func, insert, select, update

from mss.clock import from_us, to_us
from mss.model.address import Address
from mss.model.conversation import Contact, ContactState, Conversation, Direction, Letter, Participant, Role
from mss.store.hot import Hot
from mss.store.sealing import Sealing
from mss.store.tables import contacts, conversations, drafts, letters

_SUBJECT, _FACTS, _CONTACT, _DRAFT = b"subject", b"letter facts", b"contact", b"draft"

_ADD = Hot.new(letters)
_CREATE = Hot(insert(conversations).returning(conversations.c.id), ["box_id", "subject", "created_at", "last_at"])
_TOUCH = Hot(update(conversations).where(conversations.c.id == bindparam("b_id")).values(last_at=bindparam("b_at")))
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
        }
        return int(_CREATE.run(self._connection, row).fetchone()[0])

    def add_letter(self, box_id: int, conversation_id: int, letter: NewLetter, now: datetime) -> None:
        """Put a letter into a conversation; the same letter again changes nothing."""
        facts = {
            "sender": _dump(letter.sender),
            "authorises": [_dump(one) for one in letter.authorises],
            "filing": letter.filing,
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
            "answerable": letter.answerable,
            "closing": letter.closing,
            "has_attachment": letter.has_attachment,
            "unread": letter.unread,
            "facts": self._sealing.seal_json(box_id, facts, _FACTS),
        }
        _ADD.run(self._connection, row)
        _TOUCH.run(self._connection, {"b_id": conversation_id, "b_at": to_us(now)})

    def _message(self, box_id: int, message_id: str) -> bytes:
        return self._sealing.digest(b"message", b"%d" % box_id, message_id.strip().encode("utf-8", "replace"))

    def list(self, box_id: int, offset: int, limit: int) -> tuple[Conversation, ...]:
        """Return conversations, newest first, with their counts and the names seen in them."""
        return self._conversations(box_id, None, offset, limit)

    def get(self, box_id: int, conversation_id: int) -> Conversation | None:
        """Return one conversation of a box."""
        return next(iter(self._conversations(box_id, conversation_id, 0, 1)), None)

    def _conversations(self, box_id: int, only: int | None, offset: int, limit: int) -> tuple[Conversation, ...]:
        where = conversations.c.box_id == box_id
        if only is not None:
            where = and_(where, conversations.c.id == only)
        query = (
            select(conversations, drafts.c.saved_at)
            .outerjoin(drafts, and_(drafts.c.box_id == box_id, drafts.c.conversation_id == conversations.c.id))
            .where(where)
            .order_by(conversations.c.last_at.desc(), conversations.c.id.desc())
        )
        rows = self._connection.execute(query.offset(offset).limit(limit)).all()
        sums = self._sums(box_id, [row.id for row in rows])
        return tuple(self._conversation(row, *sums.get(row.id, (0, 0, False, ()))) for row in rows)

    def _sums(self, box_id: int, ids: Iterable[int]) -> dict[int, tuple[int, int, bool, tuple[str, ...]]]:
        where = and_(letters.c.box_id == box_id, letters.c.conversation_id.in_(list(ids)))
        sums: dict[int, tuple[int, int, bool, tuple[str, ...]]] = {}
        for row in self._connection.execute(select(letters).where(where).order_by(letters.c.at)):
            count, unread, attachment, names = sums.get(row.conversation_id, (0, 0, False, ()))
            sender = self._facts(row)[0]
            if sender is not None and row.direction == Direction.RECEIVED and sender.name not in names:
                names = (*names, sender.name)
            attachment = attachment or row.has_attachment
            sums[row.conversation_id] = (count + 1, unread + int(row.unread), attachment, names)
        return sums

    def _conversation(
        self, row: Row[Any], count: int, unread: int, attachment: bool, names: tuple[str, ...]
    ) -> Conversation:
        subject = self._sealing.unseal_text(row.box_id, row.subject, _SUBJECT)
        has_draft = row.saved_at is not None
        return Conversation(
            row.id, row.box_id, subject, from_us(row.last_at), count, unread, names, attachment, has_draft
        )

    def holds(self, box_id: int, conversation_id: int) -> bool:
        """Say whether a conversation is this box's."""
        where = and_(conversations.c.box_id == box_id, conversations.c.id == conversation_id)
        return self._connection.execute(select(conversations.c.id).where(where)).first() is not None

    def letters_of(self, box_id: int, conversation_id: int) -> tuple[Letter, ...]:
        """Return the letters of a conversation, oldest first."""
        where = and_(letters.c.box_id == box_id, letters.c.conversation_id == conversation_id)
        rows = self._connection.execute(select(letters).where(where).order_by(letters.c.at, letters.c.object_id))
        return tuple(self._letter(row) for row in rows)

    def letters_of_box(self, box_id: int) -> tuple[Letter, ...]:
        """Return all letters of a box, oldest first."""
        rows = self._connection.execute(select(letters).where(letters.c.box_id == box_id).order_by(letters.c.at))
        return tuple(self._letter(row) for row in rows)

    def newest_with(self, box_id: int, author: Address) -> int | None:
        """Return the conversation of the newest letter that an address wrote."""
        rows = select(letters).where(letters.c.box_id == box_id).order_by(letters.c.at.desc())
        for row in self._connection.execute(rows):
            sender = self._facts(row)[0]
            if sender is not None and sender.address.key == author.key:
                return int(row.conversation_id)
        return None

    def letter(self, box_id: int, object_id: int) -> Letter | None:
        """Return one letter of a box."""
        where = and_(letters.c.box_id == box_id, letters.c.object_id == object_id)
        row = self._connection.execute(select(letters).where(where)).first()
        return None if row is None else self._letter(row)

    def _letter(self, row: Row[Any]) -> Letter:
        sender, authorises = self._facts(row)
        return Letter(
            email_id=row.object_id,
            direction=Direction(row.direction),
            at=from_us(row.at),
            answerable=row.answerable,
            closing=row.closing,
            authorises=authorises,
            sender=sender,
            uid=row.uid,
            mailbox_id=row.mailbox_id,
            seen=not row.unread,
            filing=self._filing(row),
        )

    def _facts(self, row: Row[Any]) -> tuple[Participant | None, tuple[Participant, ...]]:
        facts = self._sealing.unseal_json(row.box_id, row.facts, _FACTS)
        return _load(facts["sender"]), tuple(one for item in facts["authorises"] if (one := _load(item)))

    def _filing(self, row: Row[Any]) -> tuple[tuple[str, str], ...]:
        facts = self._sealing.unseal_json(row.box_id, row.facts, _FACTS)
        return tuple((unique_id, reason) for unique_id, reason in facts["filing"])

    def mark_read(self, box_id: int, conversation_id: int) -> tuple[tuple[int, int], ...]:
        """Mark a conversation's letters as read; returns (mailbox, UID) of those that were not."""
        where = and_(
            letters.c.box_id == box_id, letters.c.conversation_id == conversation_id, letters.c.unread.is_(True)
        )
        statement = update(letters).where(where).values(unread=False).returning(letters.c.mailbox_id, letters.c.uid)
        return tuple((row.mailbox_id, row.uid) for row in self._connection.execute(statement))

    def unread(self, box_id: int) -> int:
        """Return how many conversations have unread letters."""
        where = and_(letters.c.box_id == box_id, letters.c.unread.is_(True))
        query = select(func.count(func.distinct(letters.c.conversation_id))).where(where)
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


def _dump(participant: Participant | None) -> list[str] | None:
    return None if participant is None else [participant.address.spec, participant.name, participant.role]


def _load(item: list[str] | None) -> Participant | None:
    return None if item is None else Participant(Address.parse(item[0]), item[1], Role(item[2]))
