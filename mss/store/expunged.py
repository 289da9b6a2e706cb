"""Letters that were expunged, for as long as they can be put back. Their octets stay held by the box."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, and_, delete, insert, literal, select

from mss.clock import from_us, to_us
from mss.model.mailbox import Expunged, Mailbox
from mss.store.holding_tables import expunged
from mss.store.mailboxes import Runs, in_runs, slices
from mss.store.tables import Big, messages

_KEPT = ["box_id", "mailbox", "flags", "keywords", "internal_date", "size", "object_id", "expunged_at"]


class ExpungedLetters:
    """Expunged letters inside one unit."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def keep(self, mailbox: Mailbox, runs: Runs | None, now: datetime) -> None:
        """Remember letters of a mailbox that are about to be expunged; all of them without runs."""
        of_mailbox = messages.c.mailbox_id == mailbox.id
        for some in slices(runs) if runs is not None else (None,):
            query = select(
                literal(mailbox.box_id),
                literal(mailbox.name),
                messages.c.flags,
                literal(" ".join(mailbox.keywords)),
                messages.c.internal_date,
                messages.c.size,
                messages.c.object_id,
                literal(to_us(now), Big),
            ).where(of_mailbox if some is None else and_(of_mailbox, in_runs(some)))
            self._connection.execute(insert(expunged).from_select(_KEPT, query))

    def of_box(
        self, box_id: int, limit: int, *, mailbox: str | None = None, since: datetime | None = None
    ) -> tuple[Expunged, ...]:
        """Return what can be put back into a box, newest first, of one mailbox and expunged since then if given."""
        where = [expunged.c.box_id == box_id]
        if mailbox is not None:
            where.append(expunged.c.mailbox == mailbox)
        if since is not None:
            where.append(expunged.c.expunged_at >= to_us(since))
        query = select(expunged).where(and_(*where)).order_by(expunged.c.expunged_at.desc(), expunged.c.id.desc())
        return tuple(
            Expunged(
                row.box_id,
                row.mailbox,
                row.flags,
                tuple(row.keywords.split()),
                from_us(row.internal_date),
                row.size,
                row.object_id,
                from_us(row.expunged_at),
                row.id,
            )
            for row in self._connection.execute(query.limit(limit))
        )

    def present(self, box_id: int, ids: Sequence[int]) -> frozenset[int]:
        """Return those of some letters that can still be put back."""
        query = select(expunged.c.id).where(and_(expunged.c.box_id == box_id, expunged.c.id.in_(ids)))
        return frozenset(self._connection.execute(query).scalars())

    def forget(self, box_id: int, ids: Sequence[int]) -> None:
        """Drop what was put back, or what must not come back."""
        self._connection.execute(delete(expunged).where(and_(expunged.c.box_id == box_id, expunged.c.id.in_(ids))))

    def forget_before(self, at: datetime, limit: int) -> int:
        """Drop letters that were expunged before a time, so many at most; returns how many went."""
        old = select(expunged.c.id).where(expunged.c.expunged_at < to_us(at)).limit(limit)
        return self._connection.execute(delete(expunged).where(expunged.c.id.in_(old))).rowcount
