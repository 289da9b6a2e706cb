"""What does not fit together in the store, slice by slice, and the repairs that invent nothing.

Each look reads so many rows of one table behind a place, with what they name, and says what is wrong. A repair says its
condition again: what changed meanwhile is left alone. Octets that are gone or damaged cannot be made again: they are
named.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, Select, Table, and_, case, delete, func, or_, select, tuple_, update

from mss.errors import MssError
from mss.model.delivery import DeliveryState
from mss.store import crypto
from mss.store.blobs import Blobs
from mss.store.keys import KeyMissing, KeyRing
from mss.store.objects import Objects
from mss.store.tables import (
    boxes,
    changes,
    conversations,
    deliveries,
    documents,
    holdings,
    letters,
    mailboxes,
    messages,
    objects,
)


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that does not fit: a static word, where (identifiers only), and whether a repair exists."""

    kind: str
    where: str
    mendable: bool = False
    key: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Slice:
    """What one look found, how many rows it read, and the place to go on from; None at the end."""

    found: tuple[Finding, ...]
    rows: int
    after: tuple[int, ...] | None


_OPEN: Final = (DeliveryState.DUE, DeliveryState.HELD)
# The parts that are looked at, in order, with the table that each walks along.
PARTS: Final[Mapping[str, Table]] = {
    "boxes": boxes,
    "mailboxes": mailboxes,
    "messages": messages,
    "holdings": holdings,
    "conversations": conversations,
    "letters": letters,
    "documents": documents,
    "deliveries": deliveries,
    "objects": objects,
}


class Inspection:
    """The looks and repairs inside one unit."""

    def __init__(self, connection: Connection, octets: Objects, keys: KeyRing, files: Blobs) -> None:
        self._connection = connection
        self._octets = octets
        self._keys = keys
        self._files = files

    def count(self, part: str) -> int:
        """Return how many rows a part walks along."""
        return int(self._connection.execute(select(func.count()).select_from(PARTS[part])).scalar_one())

    def look(self, part: str, after: tuple[int, ...] | None, limit: int, *, octets: bool = False) -> Slice:
        """Look at the rows behind a place; `octets`: open what they hold, too, which costs reading all of it."""
        table = PARTS[part]
        key = list(table.primary_key.columns)
        page = select(table).order_by(*key).limit(limit)
        if after is not None:
            page = page.where(tuple_(*key) > tuple_(*after) if len(key) > 1 else key[0] > after[0])
        sub = page.subquery()
        rows = self._connection.execute(_LOOKS[part](sub)).all()
        found = tuple(one for row in rows for one in _JUDGES[part](self, row, octets))
        ends = self._connection.execute(select(*(sub.c[one.name] for one in key))).all()
        place = tuple(max(ends)) if len(ends) == limit else None
        return Slice(found, len(ends), place)

    def mend(self, finding: Finding) -> bool:
        """Repair one finding, if it is still so; False when there was nothing to do."""
        return bool(self._connection.execute(_MENDS[finding.kind](*finding.key)).rowcount)

    # -- judging rows -----------------------------------------------------------------------------------------------

    def _box(self, row: Any, _deep: bool) -> list[Finding]:
        try:
            self._keys.key(row.id)
        except KeyMissing:
            return [Finding("key-dropped", f"box:{row.id}")]
        except crypto.Damaged:
            return [Finding("key-damaged", f"box:{row.id}")]
        return []

    def _mailbox(self, row: Any, _deep: bool) -> list[Finding]:
        where = f"mailbox:{row.id}"
        found = [] if row.has_box else [Finding("mailbox-without-box", where)]
        if row.uid_max is not None and row.uid_max >= row.uidnext:
            found.append(Finding("uidnext-behind", where, mendable=True, key=(row.id,)))
        if max(row.modseq_max or 0, row.change_max or 0) > row.modseq:
            found.append(Finding("modseq-behind", where, mendable=True, key=(row.id,)))
        return found

    def _message(self, row: Any, _deep: bool) -> list[Finding]:
        if row.box_id is None:
            key = (row.mailbox_id, row.uid)
            return [
                Finding("message-without-mailbox", f"mailbox:{row.mailbox_id} uid:{row.uid}", mendable=True, key=key)
            ]
        where = f"box:{row.box_id} mailbox:{row.mailbox_id} uid:{row.uid} letter:{row.object_id}"
        return _lost("message", where, row)

    def _holding(self, row: Any, deep: bool) -> list[Finding]:
        where = f"box:{row.box_id} letter:{row.object_id}"
        if not row.has_object:
            return [Finding("holding-without-octets", where, mendable=True, key=(row.box_id, row.object_id))]
        if not deep:
            return []
        try:
            self._octets.content_key(row.box_id, row.object_id)
        except KeyMissing:
            return []  # The box was erased: said once, of the box.
        except crypto.Damaged:
            return [Finding("holding-does-not-open", where)]
        return []

    def _conversation(self, row: Any, _deep: bool) -> list[Finding]:
        real = (row.real_letters or 0, row.real_unread or 0, bool(row.real_attachment))
        if (row.letters, row.unread, bool(row.has_attachment)) == real:
            return []
        return [Finding("counts-wrong", f"box:{row.box_id} conversation:{row.id}", mendable=True, key=(row.id,))]

    def _letter(self, row: Any, _deep: bool) -> list[Finding]:
        where = f"box:{row.box_id} letter:{row.object_id}"
        alone = [] if row.has_conversation else [Finding("letter-without-conversation", where)]
        return [*alone, *_lost("letter", where, row)]

    def _document(self, row: Any, _deep: bool) -> list[Finding]:
        return _lost("document", f"box:{row.box_id} document:{row.id}", row)

    def _delivery(self, row: Any, _deep: bool) -> list[Finding]:
        return _lost("delivery", f"delivery:{row.id}", row) if row.state in _OPEN else []

    def _object(self, row: Any, deep: bool) -> list[Finding]:
        where = f"letter:{row.id}"
        sealed = row.size + crypto.segments(row.size) * crypto.TAG_OCTETS
        length = row.inline if row.file is None else self._files.size(row.file)
        if length is None:
            return [Finding("octets-missing", f"{where} file:{row.file or 'none'}")]
        if length != sealed:
            return [Finding("octets-cut", where)]
        return [Finding("octets-differ", where)] if deep and not self._same(row) else []

    def _same(self, row: Any) -> bool:
        """Open octets through a holder whose key is here and compare their digest; True when nobody can open them."""
        query = select(holdings.c.box_id).where(holdings.c.object_id == row.id).order_by(holdings.c.box_id)
        for holder in self._connection.execute(query).scalars():
            try:
                return self._octets.digest(self._octets.get(holder, row.id)) == bytes(row.digest)
            except KeyMissing:
                continue
            except MssError:
                return False
        return True


def _lost(what: str, where: str, row: Any) -> list[Finding]:
    if not row.has_object:
        return [Finding(f"{what}-without-octets", where)]
    return [] if row.has_holding else [Finding(f"{what}-without-holding", where)]


def _held(page: Any, box: Any, *more: Any) -> Select[Any]:
    """Select the rows of a page, and whether what they name is there and held."""
    there = and_(holdings.c.box_id == box, holdings.c.object_id == page.c.object_id)
    has = (objects.c.id.is_not(None).label("has_object"), holdings.c.box_id.is_not(None).label("has_holding"))
    joined = page.outerjoin(objects, objects.c.id == page.c.object_id).outerjoin(holdings, there)
    return select(page, *has, *more).select_from(joined)


def _look_mailboxes(page: Any) -> Select[Any]:
    of_messages = messages.c.mailbox_id == page.c.id
    uid_max = select(func.max(messages.c.uid)).where(of_messages).scalar_subquery()
    modseq_max = select(func.max(messages.c.modseq)).where(of_messages).scalar_subquery()
    change_max = select(func.max(changes.c.modseq)).where(changes.c.mailbox_id == page.c.id).scalar_subquery()
    has_box = select(boxes.c.id).where(boxes.c.id == page.c.box_id).exists().label("has_box")
    labelled = (uid_max.label("uid_max"), modseq_max.label("modseq_max"), change_max.label("change_max"))
    return select(page.c.id, page.c.uidnext, page.c.modseq, has_box, *labelled)


def _look_messages(page: Any) -> Select[Any]:
    there = and_(holdings.c.box_id == mailboxes.c.box_id, holdings.c.object_id == page.c.object_id)
    joined = page.outerjoin(mailboxes, mailboxes.c.id == page.c.mailbox_id)
    joined = joined.outerjoin(objects, objects.c.id == page.c.object_id).outerjoin(holdings, there)
    has = (objects.c.id.is_not(None).label("has_object"), holdings.c.box_id.is_not(None).label("has_holding"))
    return select(page.c.mailbox_id, page.c.uid, page.c.object_id, mailboxes.c.box_id, *has).select_from(joined)


def _look_holdings(page: Any) -> Select[Any]:
    has_object = objects.c.id.is_not(None).label("has_object")
    joined = page.outerjoin(objects, objects.c.id == page.c.object_id)
    return select(page.c.box_id, page.c.object_id, has_object).select_from(joined)


def _sums(box_id: Any, conversation_id: Any) -> tuple[Any, Any, Any]:
    """Return what the sums of a box's conversation have to be: letters, unread ones, whether one has an attachment."""
    where = and_(letters.c.box_id == box_id, letters.c.conversation_id == conversation_id)
    unread = func.coalesce(func.sum(case((letters.c.unread.is_(True), 1), else_=0)), 0)
    attached = func.coalesce(func.max(case((letters.c.has_attachment.is_(True), 1), else_=0)), 0)
    one = (select(value).where(where).scalar_subquery() for value in (func.count(), unread, attached))
    count, unread_sum, attachment = one
    return count, unread_sum, attachment


def _look_conversations(page: Any) -> Select[Any]:
    names = ("real_letters", "real_unread", "real_attachment")
    sums = (value.label(name) for value, name in zip(_sums(page.c.box_id, page.c.id), names, strict=True))
    return select(page.c.id, page.c.box_id, page.c.letters, page.c.unread, page.c.has_attachment, *sums)


def _look_letters(page: Any) -> Select[Any]:
    of_it = and_(conversations.c.id == page.c.conversation_id, conversations.c.box_id == page.c.box_id)
    return _held(page, page.c.box_id, select(conversations.c.id).where(of_it).exists().label("has_conversation"))


def _look_objects(page: Any) -> Select[Any]:
    inline = func.length(page.c.octets).label("inline")
    return select(page.c.id, page.c.digest, page.c.size, page.c.file, inline)


_LOOKS: Final[Mapping[str, Callable[[Any], Select[Any]]]] = {
    "boxes": lambda page: select(page.c.id),
    "mailboxes": _look_mailboxes,
    "messages": _look_messages,
    "holdings": _look_holdings,
    "conversations": _look_conversations,
    "letters": _look_letters,
    "documents": lambda page: _held(page, page.c.box_id),
    "deliveries": lambda page: _held(page, page.c.holder_id),
    "objects": _look_objects,
}
_JUDGES: Final[Mapping[str, Callable[[Inspection, Any, bool], list[Finding]]]] = {
    "boxes": Inspection._box,
    "mailboxes": Inspection._mailbox,
    "messages": Inspection._message,
    "holdings": Inspection._holding,
    "conversations": Inspection._conversation,
    "letters": Inspection._letter,
    "documents": Inspection._document,
    "deliveries": Inspection._delivery,
    "objects": Inspection._object,
}


def _mend_uidnext(mailbox_id: int) -> Any:
    newest = select(func.max(messages.c.uid)).where(messages.c.mailbox_id == mailbox_id).scalar_subquery()
    behind = and_(mailboxes.c.id == mailbox_id, mailboxes.c.uidnext <= newest)
    return update(mailboxes).where(behind).values(uidnext=newest + 1)


def _mend_modseq(mailbox_id: int) -> Any:
    tables = (messages, changes)
    marks = [select(func.max(one.c.modseq)).where(one.c.mailbox_id == mailbox_id).scalar_subquery() for one in tables]
    first, second = (func.coalesce(mark, 0) for mark in marks)
    newest = case((first > second, first), else_=second)
    return update(mailboxes).where(mailboxes.c.id == mailbox_id, mailboxes.c.modseq < newest).values(modseq=newest)


def _mend_message(mailbox_id: int, uid: int) -> Any:
    orphaned = ~select(mailboxes.c.id).where(mailboxes.c.id == mailbox_id).exists()
    return delete(messages).where(messages.c.mailbox_id == mailbox_id, messages.c.uid == uid, orphaned)


def _mend_holding(box_id: int, object_id: int) -> Any:
    orphaned = ~select(objects.c.id).where(objects.c.id == object_id).exists()
    return delete(holdings).where(holdings.c.box_id == box_id, holdings.c.object_id == object_id, orphaned)


def _mend_counts(conversation_id: int) -> Any:
    box_id = select(conversations.c.box_id).where(conversations.c.id == conversation_id).scalar_subquery()
    count, unread, attachment = _sums(box_id, conversation_id)
    c = conversations.c
    wrong = or_(c.letters != count, c.unread != unread, case((c.has_attachment.is_(True), 1), else_=0) != attachment)
    values = {"letters": count, "unread": unread, "has_attachment": attachment == 1}
    return update(conversations).where(c.id == conversation_id, wrong).values(values)


_MENDS: Final[Mapping[str, Callable[..., Any]]] = {
    "uidnext-behind": _mend_uidnext,
    "modseq-behind": _mend_modseq,
    "message-without-mailbox": _mend_message,
    "holding-without-octets": _mend_holding,
    "counts-wrong": _mend_counts,
}
