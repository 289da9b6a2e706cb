"""Annotations of mailboxes and of the server, by whose they are; values are kept sealed under the box's key."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, and_, delete, func, select

from mss.store.annotation_tables import entries
from mss.store.hot import Hot
from mss.store.sealing import Sealing

# The mailbox that stands for the server, and the account that stands for everybody.
SERVER = EVERYBODY = 0
_PUT = Hot.upsert(entries, ["box_id", "mailbox_id", "account_id", "name"], ["value"])


class Annotations:
    """Annotations inside one unit. `of` is (box, mailbox, account)."""

    def __init__(self, connection: Connection, sealing: Sealing) -> None:
        self._connection = connection
        self._sealing = sealing

    def all(self, of: tuple[int, int, int]) -> dict[str, bytes]:
        """Return every value by its name, in order."""
        query = select(entries.c.name, entries.c.value).where(_where(of)).order_by(entries.c.name)
        rows = self._connection.execute(query).all()
        return {name: self._sealing.unseal(of[0], value, _purpose(of, name)) for name, value in rows}

    def count(self, of: tuple[int, int, int]) -> int:
        """Return how many there are."""
        query = select(func.count()).select_from(entries).where(_where(of))
        return int(self._connection.execute(query).scalar_one())

    def put(self, of: tuple[int, int, int], name: str, value: bytes) -> None:
        """Keep a value under a name, in the place of the one before."""
        sealed = self._sealing.seal(of[0], value, _purpose(of, name))
        row = {"box_id": of[0], "mailbox_id": of[1], "account_id": of[2], "name": name, "value": sealed}
        _PUT.run(self._connection, row)

    def drop(self, of: tuple[int, int, int], name: str) -> None:
        """Remove a value, if there is one."""
        self._connection.execute(delete(entries).where(and_(_where(of), entries.c.name == name)))

    def drop_all(self, box_id: int, mailbox_id: int) -> None:
        """Remove what was noted about a mailbox, whoever did."""
        of_it = and_(entries.c.box_id == box_id, entries.c.mailbox_id == mailbox_id)
        self._connection.execute(delete(entries).where(of_it))


def _where(of: tuple[int, int, int]) -> Any:
    box_id, mailbox_id, account_id = of
    return and_(
        entries.c.box_id == box_id,
        entries.c.mailbox_id == mailbox_id,
        entries.c.account_id == account_id,
    )


def _purpose(of: tuple[int, int, int], name: str) -> bytes:
    return b"annotation:%d:%d:%d:" % of + name.encode("ascii")
