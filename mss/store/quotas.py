"""How much a box holds and may hold (RFC 9208). Usage is summed up per mailbox by triggers on its letters."""

from __future__ import annotations

from sqlalchemy import Connection, bindparam, func, or_, select

from mss.model.mailbox import Quota, Usage
from mss.store.holding_tables import quotas
from mss.store.hot import Hot
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

    def all(self) -> dict[str, Quota]:
        """Return every quota by its subject: "kind:PER", "box:12"."""
        rows = self._connection.execute(select(quotas).order_by(quotas.c.subject))
        return {row.subject: Quota(row.octets_max, row.letters_max) for row in rows}


def _of_box(box_id: int) -> str:
    return f"box:{box_id}"


def _of_kind(kind: str) -> str:
    return f"kind:{kind}"
