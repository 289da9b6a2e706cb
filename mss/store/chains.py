"""The journal's chains as a whole: their heads to anchor outside, their pages to export, and what is over to trim.

A segment goes whole, its end stays: what comes after it still follows. Every verb is one short unit.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, and_, delete, func, insert, not_, select, update

from mss.clock import to_us
from mss.model.audit import AuditRecord
from mss.store.journal import LOOKS, Broken, record_of
from mss.store.tables import journal, journal_segments


@dataclass(frozen=True, slots=True)
class Head:
    """The last record of a writer's chain."""

    writer: str
    number: int
    hash: str


class Chains:
    """All chains, inside one unit."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def writers(self) -> Iterator[str]:
        """Yield the writers that have records, by name: one step along the key for each."""
        after = ""
        query = select(func.min(journal.c.writer))
        while (name := self._connection.execute(query.where(journal.c.writer > after)).scalar()) is not None:
            yield name
            after = name

    def heads(self) -> tuple[Head, ...]:
        """Return the last record of every chain that has one."""
        return tuple(
            Head(row.writer, row.number, bytes(row.hash).hex()) for row in map(self._last, self.writers()) if row
        )

    def _last(self, writer: str) -> Any:
        newest = select(journal).where(journal.c.writer == writer).order_by(journal.c.number.desc())
        return self._connection.execute(newest.limit(1)).first()

    def missing(self, heads: Iterable[Head]) -> tuple[Broken, ...]:
        """Return those heads, anchored at some time, that the journal does not hold any more, trimmed ones aside."""
        return tuple(Broken(head.writer, head.number) for head in heads if not self._stands(head))

    def _stands(self, head: Head) -> bool:
        place = and_(journal.c.writer == head.writer, journal.c.number == head.number)
        found = self._connection.execute(select(journal.c.hash).where(place)).scalar()
        if found is not None:
            return bytes(found).hex() == head.hash
        behind = and_(journal_segments.c.writer == head.writer, journal_segments.c.last_number >= head.number)
        query = select(journal_segments).where(behind).order_by(journal_segments.c.last_number).limit(1)
        segment = self._connection.execute(query).first()
        if segment is None or segment.trimmed_at is None:
            return False
        return segment.last_number != head.number or bytes(segment.head).hex() == head.hash

    def page(self, writer: str, after: int, limit: int, since: datetime | None = None) -> tuple[AuditRecord, ...]:
        """Return the records of a chain behind a number, in order; those from an instant on when one is given."""
        query = select(journal).where(journal.c.writer == writer, journal.c.number > after)
        if since is not None:
            query = query.where(journal.c.at >= to_us(since))
        rows = self._connection.execute(query.order_by(journal.c.number).limit(limit))
        return tuple(record_of(row) for row in rows)

    def seal_old_ends(self, before: datetime, now: datetime) -> int:
        """Seal the ends of chains that nobody wrote to since an instant: a worker that is gone fills no segment."""
        sealed = 0
        for last in map(self._last, self.writers()):
            if last is None or last.at >= to_us(before):
                continue
            of_writer = journal_segments.c.writer == last.writer
            end = (
                self._connection.execute(select(func.max(journal_segments.c.last_number)).where(of_writer)).scalar()
                or 0
            )
            if end < last.number:
                row = {"writer": last.writer, "last_number": last.number, "first_number": end + 1, "head": last.hash}
                self._connection.execute(insert(journal_segments), {**row, "sealed_at": to_us(now)})
                sealed += 1
        return sealed

    def trim(self, before: datetime, looks_before: datetime, now: datetime) -> tuple[Head, int] | None:
        """Drop the oldest segment that is over: sealed up to an instant, another one for looks into dossiers.

        Returns its end and how many records went; None when nothing is over.
        """
        looks = journal_segments.c.writer.endswith(LOOKS, autoescape=True)
        over = and_(looks, journal_segments.c.sealed_at <= to_us(looks_before))
        over = over | and_(not_(looks), journal_segments.c.sealed_at <= to_us(before))
        query = select(journal_segments).where(journal_segments.c.trimmed_at.is_(None), over)
        segment = self._connection.execute(
            query.order_by(journal_segments.c.writer, journal_segments.c.last_number).limit(1)
        ).first()
        if segment is None:
            return None
        gone = and_(journal.c.writer == segment.writer, journal.c.number <= segment.last_number)
        count = self._connection.execute(delete(journal).where(gone)).rowcount
        same = and_(journal_segments.c.writer == segment.writer, journal_segments.c.last_number == segment.last_number)
        self._connection.execute(update(journal_segments).where(same).values(trimmed_at=to_us(now)))
        return Head(segment.writer, segment.last_number, bytes(segment.head).hex()), count
