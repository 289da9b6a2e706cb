"""Octets that nobody needs any more go in two steps: noted first; collected after a time of grace, looked at again.

A box needs what its mailboxes, conversations, dossier and deliveries name. Once it holds a letter for nothing, its
holding goes; octets that no box holds go with their file. Whoever needs them meanwhile takes them back simply by naming
them. It knows no schedule.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, delete, exists, insert, or_, select, tuple_

from mss.clock import to_us
from mss.store.engine import locked
from mss.store.holding_tables import expunged
from mss.store.keeping_tables import loose_holdings, loose_objects
from mss.store.prepared_tables import search_texts, sort_forms
from mss.store.tables import deliveries, documents, drafts, holdings, letters, mailboxes, messages, objects

Place = tuple[int, int]
BEGINNING: Place = (-1, -1)


class Collection:
    """What goes, inside one unit. Every verb looks at so many rows at most."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def note_holdings(self, after: Place, limit: int, now: datetime) -> tuple[int, Place | None]:
        """Note the holdings behind a place that their boxes do not need; returns how many, and the next place."""
        loose, following = self.loose_holdings(after, limit)
        self._note(loose_holdings, [{"box_id": box, "object_id": one} for box, one in loose], now)
        return len(loose), following

    def loose_holdings(self, after: Place, limit: int) -> tuple[list[Place], Place | None]:
        """Return the holdings behind a place that are not needed and not noted, and the next place."""
        key = tuple_(holdings.c.box_id, holdings.c.object_id)
        page = select(holdings.c.box_id, holdings.c.object_id, holdings.c.envelope.is_(None).label("plain"))
        page = page.where(key > tuple_(*after)).order_by(holdings.c.box_id, holdings.c.object_id).limit(limit)
        rows = self._connection.execute(page).all()
        loose = self._loose(page.subquery())
        return loose, (rows[-1].box_id, rows[-1].object_id) if len(rows) == limit else None

    def _loose(self, page: Any) -> list[Place]:
        noted = and_(loose_holdings.c.box_id == page.c.box_id, loose_holdings.c.object_id == page.c.object_id)
        query = select(page.c.box_id, page.c.object_id).where(_unused(page), ~exists().where(noted))
        return [(row.box_id, row.object_id) for row in self._connection.execute(query)]

    def let_go(self, before: datetime, limit: int) -> int:
        """Drop holdings noted up to an instant that are still not needed; returns how many notes were settled."""
        query = select(loose_holdings.c.box_id, loose_holdings.c.object_id)
        query = query.where(loose_holdings.c.since <= to_us(before)).order_by(loose_holdings.c.since).limit(limit)
        noted = [(row.box_id, row.object_id) for row in self._connection.execute(query)]
        if not noted:
            return 0
        key = tuple_(holdings.c.box_id, holdings.c.object_id)
        # Held until the unit ends: a letter that comes again meanwhile waits, and finds no holding or keeps its own.
        held = select(holdings.c.box_id, holdings.c.object_id).where(key.in_(noted))
        self._connection.execute(locked(self._connection, held)).all()
        page = select(holdings.c.box_id, holdings.c.object_id, holdings.c.envelope.is_(None).label("plain"))
        sub = page.where(key.in_(noted)).subquery()
        gone = [
            tuple(row) for row in self._connection.execute(select(sub.c.box_id, sub.c.object_id).where(_unused(sub)))
        ]
        if gone:
            self._connection.execute(delete(holdings).where(key.in_(gone)))
            # What was prepared of these letters goes with them.
            for table in (search_texts, sort_forms):
                self._connection.execute(delete(table).where(tuple_(table.c.box_id, table.c.object_id).in_(gone)))
        settled = tuple_(loose_holdings.c.box_id, loose_holdings.c.object_id)
        self._connection.execute(delete(loose_holdings).where(settled.in_(noted)))
        return len(noted)

    def note_objects(self, after: int, limit: int, now: datetime) -> tuple[int, int | None]:
        """Note the octets behind a number that no box holds; returns how many, and the next number."""
        loose, following = self.loose_objects(after, limit)
        self._note(loose_objects, [{"object_id": one} for one in loose], now)
        return len(loose), following

    def loose_objects(self, after: int, limit: int) -> tuple[list[int], int | None]:
        """Return the octets behind a number that no box holds and that are not noted, and the next number."""
        page = select(objects.c.id).where(objects.c.id > after).order_by(objects.c.id).limit(limit)
        rows = list(self._connection.execute(page).scalars())
        sub = page.subquery()
        held = exists().where(holdings.c.object_id == sub.c.id)
        noted = exists().where(loose_objects.c.object_id == sub.c.id)
        loose = list(self._connection.execute(select(sub.c.id).where(~held, ~noted)).scalars())
        return loose, rows[-1] if len(rows) == limit else None

    def collect(self, before: datetime, limit: int) -> tuple[int, tuple[str, ...]]:
        """Drop octets noted up to an instant that still nobody holds; returns how many notes were settled, and the
        files to remove once the unit is committed."""
        query = select(loose_objects.c.object_id).where(loose_objects.c.since <= to_us(before))
        noted = list(self._connection.execute(query.order_by(loose_objects.c.since).limit(limit)).scalars())
        if not noted:
            return 0, ()
        # Held first, looked at again then: who takes octets that nobody holds writes their row, too, and is seen.
        self._connection.execute(locked(self._connection, select(objects.c.id).where(objects.c.id.in_(noted)))).all()
        held = exists().where(holdings.c.object_id == objects.c.id)
        where = and_(objects.c.id.in_(noted), ~held)
        gone = self._connection.execute(delete(objects).where(where).returning(objects.c.file)).scalars().all()
        self._connection.execute(delete(loose_objects).where(loose_objects.c.object_id.in_(noted)))
        return len(noted), tuple(file for file in gone if file is not None)

    def _note(self, table: Any, rows: list[dict[str, int]], now: datetime) -> None:
        if rows:
            self._connection.execute(insert(table), [{**row, "since": to_us(now)} for row in rows])


def _unused(page: Any) -> ColumnElement[bool]:
    """Say that nothing of its box names what a holding holds. A draft's attachments are named where nobody can look."""
    box_id, object_id = page.c.box_id, page.c.object_id
    in_mailbox = (
        select(messages.c.uid)
        .join(mailboxes, mailboxes.c.id == messages.c.mailbox_id)
        .where(mailboxes.c.box_id == box_id, messages.c.object_id == object_id)
    )
    document = and_(
        documents.c.box_id == box_id,
        or_(documents.c.object_id == object_id, documents.c.companion_object_id == object_id),
    )
    recoverable = and_(expunged.c.box_id == box_id, expunged.c.object_id == object_id)
    delivery = and_(deliveries.c.holder_id == box_id, deliveries.c.object_id == object_id)
    return and_(
        ~in_mailbox.exists(),
        ~exists().where(letters.c.box_id == box_id, letters.c.object_id == object_id),
        ~exists().where(document),
        ~exists().where(delivery),
        ~exists().where(recoverable),
        ~and_(page.c.plain, exists().where(drafts.c.box_id == box_id)),
    )
