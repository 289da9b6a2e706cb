"""Who has seen which letter, in shared boxes where each reader has an own \\Seen."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from sqlalchemy import Connection, and_, bindparam, delete, func, insert, literal, select

from mss.store.holding_tables import seen
from mss.store.hot import Hot
from mss.store.mailboxes import Runs
from mss.store.tables import boxes, messages

_ADD = Hot.new(seen)
_OWN = Hot(select(boxes.c.id).where(boxes.c.id == bindparam("box_id"), boxes.c.own_seen.is_(True)))
# Of so few boxes each is looked up by itself.
_OWN_MAX: Final = 8


class Seen:
    """Readers' marks inside one unit."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def own_boxes(self, box_ids: Sequence[int]) -> frozenset[int]:
        """Return those of some boxes whose readers have an own \\Seen each."""
        if len(box_ids) > _OWN_MAX:
            query = select(boxes.c.id).where(and_(boxes.c.id.in_(box_ids), boxes.c.own_seen.is_(True)))
            return frozenset(self._connection.execute(query).scalars())
        return frozenset(one for one in box_ids if _OWN.run(self._connection, {"box_id": one}).fetchone())

    def set_own(self, box_id: int, own: bool) -> None:
        """Say whether each reader of a box is to have an own \\Seen."""
        self._connection.execute(boxes.update().where(boxes.c.id == box_id).values(own_seen=own))

    def by(self, mailbox_id: int, account_id: int, runs: Runs | None = None) -> frozenset[int]:
        """Return the UIDs that an account has seen, within the hull of some runs when given."""
        where = [seen.c.mailbox_id == mailbox_id, seen.c.account_id == account_id]
        if runs:
            where.append(seen.c.uid.between(min(first for first, _ in runs), max(last for _, last in runs)))
        return frozenset(self._connection.execute(select(seen.c.uid).where(and_(*where))).scalars())

    def mark(self, mailbox_id: int, account_id: int, uids: Iterable[int]) -> None:
        """Note that an account has seen letters."""
        _ADD.many(self._connection, [{"mailbox_id": mailbox_id, "account_id": account_id, "uid": u} for u in uids])

    def unmark(self, mailbox_id: int, account_id: int, uids: Iterable[int]) -> None:
        """Note that an account has not seen letters."""
        of_reader = and_(seen.c.mailbox_id == mailbox_id, seen.c.account_id == account_id)
        self._connection.execute(delete(seen).where(and_(of_reader, seen.c.uid.in_(list(uids)))))

    def inherit(self, mailbox_id: int, account_id: int, flag: int) -> None:
        """Note that an account has seen the letters that have a flag bit; it had seen none of the mailbox before."""
        self._connection.execute(
            delete(seen).where(and_(seen.c.mailbox_id == mailbox_id, seen.c.account_id == account_id))
        )
        where = and_(messages.c.mailbox_id == mailbox_id, messages.c.flags.bitwise_and(flag) != 0)
        chosen = select(messages.c.mailbox_id, literal(account_id), messages.c.uid).where(where)
        self._connection.execute(insert(seen).from_select(["mailbox_id", "account_id", "uid"], chosen))

    def touch(self, mailbox_id: int, uids: Iterable[int], modseq: int) -> None:
        """Give letters a new MODSEQ: what somebody sees of them has changed."""
        where = and_(messages.c.mailbox_id == mailbox_id, messages.c.uid.in_(list(uids)))
        self._connection.execute(messages.update().where(where).values(modseq=modseq))

    def unseen(self, mailbox_id: int, account_id: int) -> tuple[int, int | None]:
        """Return how many letters an account has not seen, and the first of them."""
        has = and_(
            seen.c.mailbox_id == mailbox_id, seen.c.account_id == account_id, seen.c.uid == messages.c.uid
        )  # fmt: skip
        where = and_(messages.c.mailbox_id == mailbox_id, ~select(seen.c.uid).where(has).exists())
        count, first = self._connection.execute(select(func.count(), func.min(messages.c.uid)).where(where)).one()
        return int(count), first
