"""Threads of a professional's box: letters that name one another by Message-ID (RFC 5322 §3.6.4, RFC 8474 §5.2).

A thread's number is given when its first letter comes and never changes. Message-IDs are kept as keyed digests.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import cast

from sqlalchemy import Connection, Executable, LargeBinary, and_, bindparam, func, select

from mss.store.holding_tables import thread_names
from mss.store.hot import INSERTS, Hot
from mss.store.sealing import Sealing
from mss.store.tables import holdings, mailboxes, messages

_KEY = ["box_id", "digest"]


def _name(engine: str) -> Executable:
    """Note a letter by its own name. A thread that the name has already stays."""
    new = INSERTS[engine](thread_names)
    thread = func.coalesce(thread_names.c.thread_id, new.excluded.thread_id)
    changed = {"object_id": new.excluded.object_id, "thread_id": thread}
    named = new.on_conflict_do_update(index_elements=_KEY, set_=changed)
    return cast(Executable, named.returning(thread_names.c.thread_id, thread_names.c.filed))


_NAME = Hot(_name, [column.name for column in thread_names.columns])
_REFERENCE = Hot.new(thread_names)
_FILED = Hot.upsert(thread_names, _KEY, ["filed"])


@lru_cache(maxsize=128)
def _known(count: int) -> Hot:
    """Return the statement that finds the threads of so many names."""
    names = [bindparam(f"digest{number}", type_=LargeBinary) for number in range(count)]
    mine = and_(thread_names.c.box_id == bindparam("box_id"), thread_names.c.digest.in_(names))
    return Hot(
        select(thread_names.c.digest, thread_names.c.thread_id).where(mine, thread_names.c.thread_id.is_not(None))
    )


@dataclass(frozen=True, slots=True)
class Joined:
    """The thread that a letter belongs to, whether that letter was new in it, and whether its document was filed."""

    thread_id: int
    filed: bool


class Threads:
    """Threads inside one unit."""

    def __init__(self, connection: Connection, sealing: Sealing) -> None:
        self._connection = connection
        self._sealing = sealing

    def join(self, box_id: int, object_id: int, message_id: str, references: Sequence[str]) -> Joined:
        """Put a letter into the thread of the letters that it names, into a new one when none is known.

        The first reference is noted with it: a letter that comes late finds those that came before it.
        """
        named = [self._digest(box_id, one) for one in references]
        known = self._threads_of(box_id, named) if named else {}
        thread_id = next((known[digest] for digest in reversed(named) if digest in known), None) or object_id
        row = {"box_id": box_id, "thread_id": thread_id, "object_id": object_id, "filed": False}
        filed = False
        if message_id:
            own = self._digest(box_id, message_id)
            thread_id, filed = _NAME.run(self._connection, {**row, "digest": own}).fetchone()
        if named and named[0] not in known:
            first = {**row, "thread_id": thread_id, "object_id": None, "digest": named[0]}
            _REFERENCE.run(self._connection, first)
        return Joined(thread_id, bool(filed))

    def _threads_of(self, box_id: int, digests: list[bytes]) -> dict[bytes, int]:
        values = {"box_id": box_id, **{f"digest{number}": digest for number, digest in enumerate(digests)}}
        rows = _known(len(digests)).run(self._connection, values).fetchall()
        return {bytes(digest): thread_id for digest, thread_id in rows}

    def note_filed(self, box_id: int, message_id: str) -> int | None:
        """Note that a document of a letter was filed; returns the letter's object when the box holds it already."""
        digest = self._digest(box_id, message_id)
        row = {"box_id": box_id, "digest": digest, "thread_id": None, "object_id": None, "filed": True}
        _FILED.run(self._connection, row)
        where = and_(thread_names.c.box_id == box_id, thread_names.c.digest == digest)
        copy: int | None = self._connection.execute(select(thread_names.c.object_id).where(where)).scalar_one()
        return copy

    def places(self, box_id: int, objects: Iterable[int]) -> tuple[tuple[int, int], ...]:
        """Return (mailbox, UID) of every copy of some letters in a box."""
        where = and_(mailboxes.c.box_id == box_id, messages.c.object_id.in_(list(objects)))
        query = select(messages.c.mailbox_id, messages.c.uid).join(mailboxes, mailboxes.c.id == messages.c.mailbox_id)
        ordered = query.where(where).order_by(messages.c.mailbox_id, messages.c.uid)
        return tuple((row.mailbox_id, row.uid) for row in self._connection.execute(ordered))

    def letters(self, box_id: int, thread_id: int, most: int) -> tuple[int, ...]:
        """Return the newest letters of a thread."""
        where = and_(holdings.c.box_id == box_id, holdings.c.thread_id == thread_id)
        query = select(holdings.c.object_id).where(where).order_by(holdings.c.object_id.desc()).limit(most)
        return tuple(self._connection.execute(query).scalars())

    def names_of(self, box_id: int, objects: Sequence[int]) -> dict[int, int]:
        """Return the thread of each letter that has one."""
        where = and_(holdings.c.box_id == box_id, holdings.c.object_id.in_(objects), holdings.c.thread_id.is_not(None))
        query = select(holdings.c.object_id, holdings.c.thread_id).where(where)
        return {row.object_id: row.thread_id for row in self._connection.execute(query)}

    def _digest(self, box_id: int, message_id: str) -> bytes:
        bare = message_id.strip().strip("<>").encode("utf-8", "replace")
        return self._sealing.digest(b"thread", b"%d" % box_id, bare)


__all__ = ["Joined", "Threads"]
