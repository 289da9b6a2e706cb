"""How much a box holds and may hold (RFC 9208). Usage is summed up per mailbox by triggers on its letters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, bindparam, func, or_, select

from mss.clock import to_us
from mss.model.account import BoxState
from mss.model.mailbox import Quota, Usage
from mss.store.holding_tables import quotas
from mss.store.hot import Hot
from mss.store.keeping_tables import box_lives
from mss.store.tables import boxes, mailboxes

_QUOTA = Hot(
    select(quotas.c.subject, quotas.c.octets_max, quotas.c.letters_max).where(
        or_(quotas.c.subject == bindparam("own"), quotas.c.subject == bindparam("kind"))
    )
)
_KIND = Hot(select(boxes.c.kind).where(boxes.c.id == bindparam("box_id")))
_USAGE = Hot(
    select(func.coalesce(func.sum(mailboxes.c.letters), 0), func.coalesce(func.sum(mailboxes.c.octets), 0)).where(
        mailboxes.c.box_id == bindparam("box_id")
    )
)
_SET = Hot.upsert(quotas, ["subject"], ["octets_max", "letters_max"])
_TOLD = Hot.upsert(box_lives, ["box_id"], ["full_told_at"])


@dataclass(frozen=True, slots=True)
class Fullness:
    """How full a box is, and whether its holder was told."""

    box_id: int
    usage: Usage
    quota: Quota
    told: bool


class Quotas:
    """Usage and quotas inside one unit."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def usage(self, box_id: int) -> Usage:
        """Return how much a box holds."""
        letters, octets = _USAGE.run(self._connection, {"box_id": box_id}).fetchone()
        return Usage(int(letters), int(octets))

    def quota(self, box_id: int, kind: str = "") -> Quota:
        """Return what a box may hold: its own quota, or else its kind's (looked up when it is not given)."""
        if not kind:
            (kind,) = _KIND.run(self._connection, {"box_id": box_id}).fetchone() or ("",)
        rows = _QUOTA.run(self._connection, {"own": _of_box(box_id), "kind": _of_kind(kind)}).fetchall()
        found = {subject: Quota(octets, letters) for subject, octets, letters in rows}
        return found.get(_of_box(box_id)) or found.get(_of_kind(kind)) or Quota()

    def set_for_box(self, box_id: int, quota: Quota | None) -> None:
        """Give a box a quota of its own; None: its kind's counts again."""
        self._set(_of_box(box_id), quota)

    def set_for_kind(self, kind: str, quota: Quota | None) -> None:
        """Give all boxes of a kind a quota."""
        self._set(_of_kind(kind), quota)

    def _set(self, subject: str, quota: Quota | None) -> None:
        if quota is None:
            self._connection.execute(quotas.delete().where(quotas.c.subject == subject))
        else:
            row = {"subject": subject, "octets_max": quota.octets_max, "letters_max": quota.letters_max}
            _SET.run(self._connection, row)

    def fullness(self, after: int, limit: int) -> tuple[Fullness, ...]:
        """Return how full the boxes behind a number are that take letters, so many at most, in order."""
        joined = boxes.outerjoin(box_lives, box_lives.c.box_id == boxes.c.id)
        query = select(boxes.c.id, boxes.c.kind, box_lives.c.full_told_at).select_from(joined)
        where = (boxes.c.id > after, boxes.c.state != BoxState.CLOSED)
        rows = self._connection.execute(query.where(*where).order_by(boxes.c.id).limit(limit)).all()
        known = self._some([one for row in rows for one in (_of_box(row.id), _of_kind(row.kind))])
        held = self._usages([row.id for row in rows])
        found = []
        for row in rows:
            quota = known.get(_of_box(row.id)) or known.get(_of_kind(row.kind)) or Quota()
            usage = held.get(row.id, Usage(0, 0))
            found.append(Fullness(row.id, usage, quota, row.full_told_at is not None))
        return tuple(found)

    def _usages(self, box_ids: Sequence[int]) -> dict[int, Usage]:
        sums = (func.sum(mailboxes.c.letters), func.sum(mailboxes.c.octets))
        query = select(mailboxes.c.box_id, *sums).where(mailboxes.c.box_id.in_(box_ids)).group_by(mailboxes.c.box_id)
        return {box: Usage(int(letters), int(octets)) for box, letters, octets in self._connection.execute(query)}

    def full_told(self, box_id: int, at: datetime | None) -> None:
        """Note that a holder was told that the box is nearly full; None: it no longer is."""
        row = {"signed_in_at": None, "told_at": None, "closed_at": None, "channel": None}
        _TOLD.run(self._connection, {**row, "box_id": box_id, "full_told_at": None if at is None else to_us(at)})

    def any(self) -> bool:
        """Whether there is any quota at all."""
        return self._connection.execute(select(quotas.c.subject).limit(1)).first() is not None

    def _some(self, subjects: Sequence[str]) -> dict[str, Quota]:
        rows = self._connection.execute(select(quotas).where(quotas.c.subject.in_(set(subjects))))
        return {row.subject: Quota(row.octets_max, row.letters_max) for row in rows}

    def all(self) -> dict[str, Quota]:
        """Return every quota by its subject: "kind:PER", "box:12"."""
        rows = self._connection.execute(select(quotas).order_by(quotas.c.subject))
        return {row.subject: Quota(row.octets_max, row.letters_max) for row in rows}


def _of_box(box_id: int) -> str:
    return f"box:{box_id}"


def _of_kind(kind: str) -> str:
    return f"kind:{kind}"
