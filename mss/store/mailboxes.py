"""Mailboxes, their messages and change logs. UID and MODSEQ come from the mailbox's counter row, bumped in the unit.

The log is the notification: `(mailbox, modseq, uid run, kind)`, expunges included. Flags are bits, changed by set
operations in SQL.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import lru_cache
from operator import itemgetter
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Connection,
    and_,
    bindparam,
    case,
    delete,
    func,
    insert,
    literal_column,
    null,
    or_,
    select,
    update,
)
from sqlalchemy.sql.dml import ReturningUpdate

from mss.clock import to_us
from mss.model.mailbox import (
    DEFAULT_MAILBOXES,
    FIRST_KEYWORD_BIT,
    Change,
    ChangeKind,
    Mailbox,
)
from mss.store.engine import bulk, bulk_each, lockable
from mss.store.holding_tables import seen
from mss.store.hot import Hot
from mss.store.tables import boxes, changes, holdings, keywords, mailboxes, messages

Runs = tuple[tuple[int, int], ...]

_BUMP = Hot(
    update(mailboxes)
    .where(mailboxes.c.id == bindparam("b_id"))
    .values(uidnext=mailboxes.c.uidnext + bindparam("b_uids"), modseq=mailboxes.c.modseq + 1)
    .returning(mailboxes.c.uidnext, mailboxes.c.modseq)
)
_BUMP_NAMED = Hot(
    update(mailboxes)
    .where(and_(mailboxes.c.box_id == bindparam("b_box_id"), mailboxes.c.name == bindparam("b_name")))
    .values(uidnext=mailboxes.c.uidnext + 1, modseq=mailboxes.c.modseq + 1)
    .returning(mailboxes.c.id, mailboxes.c.uidnext, mailboxes.c.modseq)
)
_VALIDITY = (
    update(boxes)
    .where(boxes.c.id == bindparam("b_id"))
    .values(
        uidvalidity=case(
            (boxes.c.uidvalidity < bindparam("second"), bindparam("second")), else_=boxes.c.uidvalidity + 1
        )
    )
    .returning(boxes.c.uidvalidity)
)
_COUNT = Hot(select(func.count()).select_from(messages).where(messages.c.mailbox_id == bindparam("b_id")))
_FIRST_WITHOUT = Hot(
    select(func.min(messages.c.uid)).where(
        messages.c.mailbox_id == bindparam("b_id"), messages.c.flags.bitwise_and(bindparam("b_flag")) == 0
    )
)
_IS_DELETED = messages.c.flags.bitwise_and(bindparam("b_deleted")) != 0
_COUNTS = Hot(
    select(
        func.count(),
        func.sum(case((messages.c.flags.bitwise_and(bindparam("b_seen")) == 0, 1), else_=0)),
        func.sum(case((_IS_DELETED, 1), else_=0)),
        func.sum(messages.c.size),
        func.sum(case((_IS_DELETED, messages.c.size), else_=0)),
    ).where(messages.c.mailbox_id == bindparam("b_id"))
)
_REMOVED = Hot(
    select(changes.c.uid_first, changes.c.uid_last).where(
        and_(
            changes.c.mailbox_id == bindparam("b_id"),
            changes.c.modseq > bindparam("b_since"),
            # Written out, for the partial index is only taken for a constant.
            changes.c.kind == literal_column(str(int(ChangeKind.EXPUNGED))),
        )
    )
)
_CHANGES = Hot(
    select(changes.c.modseq, changes.c.uid_first, changes.c.uid_last, changes.c.kind)
    .where(changes.c.mailbox_id == bindparam("b_id"), changes.c.modseq > bindparam("b_since"))
    .order_by(changes.c.modseq, changes.c.uid_first)
)
_FLAGS = Hot(
    select(messages.c.uid, messages.c.modseq, messages.c.flags)
    .where(messages.c.mailbox_id == bindparam("b_id"), messages.c.modseq > bindparam("b_since"))
    .order_by(messages.c.uid)
)
_LOG = Hot.insert(changes)
_ADD = Hot.insert(messages)
_IN_RUN = and_(
    messages.c.mailbox_id == bindparam("b_id"), messages.c.uid.between(bindparam("b_first"), bindparam("b_last"))
)
# In so many runs a statement of its own for each costs less than one that SQLAlchemy has to make first.
_RUNS_BY_THEMSELVES: Final = 8


def _mailbox_where(*where: ColumnElement[bool]) -> Hot:
    return Hot(select(*_MAILBOX).where(*where))


_MAILBOX = (
    mailboxes.c.id, mailboxes.c.box_id, mailboxes.c.name, mailboxes.c.uidvalidity, mailboxes.c.uidnext,
    mailboxes.c.modseq, mailboxes.c.special_use, mailboxes.c.subscribed,
)  # fmt: skip
_BY_ID = _mailbox_where(mailboxes.c.id == bindparam("b_id"))
_BY_NAME = _mailbox_where(mailboxes.c.box_id == bindparam("b_box_id"), mailboxes.c.name == bindparam("b_name"))
_LOCKED = Hot(lambda engine: lockable(engine, select(*_MAILBOX).where(mailboxes.c.id == bindparam("b_id"))))
_KEYWORDS = Hot(select(keywords.c.name).where(keywords.c.mailbox_id == bindparam("b_id")).order_by(keywords.c.bit))
_NEW_FLAGS = messages.c.flags.bitwise_and(bindparam("b_keep")).bitwise_or(bindparam("b_add"))
# Of whichever letters, changed or not.
_ANY_MODSEQ: Final = 2**63 - 1


def _change_flags(which: ColumnElement[bool]) -> ReturningUpdate[Any]:
    where = and_(which, messages.c.flags != _NEW_FLAGS, messages.c.modseq <= bindparam("b_since"))
    changed = update(messages).where(where).values(flags=_NEW_FLAGS, modseq=bindparam("b_modseq"))
    return changed.returning(messages.c.uid)


_CHANGE_FLAGS = Hot(_change_flags(_IN_RUN))
# So many at once are added as one statement: PostgreSQL sums up a mailbox's use once for each.
_BULKY = 10
_OF_ROW = ("uid", "flags", "internal_date", "size", "object_id")
_ADDED = ("mailbox_id", "modseq", "saved_at", *_OF_ROW)


def runs_of(uids: Iterable[int]) -> Runs:
    """Return ascending UIDs as inclusive runs."""
    runs: list[tuple[int, int]] = []
    for uid in uids:
        if runs and runs[-1][1] == uid - 1:
            runs[-1] = (runs[-1][0], uid)
        else:
            runs.append((uid, uid))
    return tuple(runs)


def merged(ranges: Iterable[tuple[int, int]]) -> Runs:
    """Return ranges sorted, with those that touch or overlap joined."""
    found: list[tuple[int, int]] = []
    for first, last in sorted(ranges):
        if found and first <= found[-1][1] + 1:
            found[-1] = found[-1][0], max(found[-1][1], last)
        else:
            found.append((first, last))
    return tuple(found)


def _without(uidnext: int, gone: Runs) -> Runs:
    """Return the UIDs below `uidnext` that are in none of the runs."""
    found, first = [], 1
    for start, end in (*gone, (uidnext, uidnext)):
        if start > first:
            found.append((first, start - 1))
        first = end + 1
    return tuple(found)


def in_runs(runs: Runs) -> Any:
    """Return the SQL condition "uid is in one of the runs"."""
    if len(runs) == 1:
        return messages.c.uid.between(*runs[0])
    singles = [first for first, last in runs if first == last]
    wide = [messages.c.uid.between(first, last) for first, last in runs if first != last]
    return or_(messages.c.uid.in_(singles), *wide) if singles else or_(*wide)


def slices(runs: Runs, size: int = 400) -> Iterable[Runs]:
    """Yield so many runs at a time: SQL has limits on its length."""
    for start in range(0, len(runs), size):
        yield runs[start : start + size]


def default_validities(now: datetime) -> range:
    """Return the UIDVALIDITY of each default mailbox of a new box: each is greater than the one before."""
    second = to_us(now) // 1_000_000
    return range(second, second + len(DEFAULT_MAILBOXES))


_BULK = ("box_id", "name", "uidvalidity", "uidnext", "modseq", "special_use", "subscribed")


class Mailboxes:
    """Mailboxes inside one unit."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    # -- mailboxes -----------------------------------------------------------------------------------------------

    def create_defaults(self, box_id: int, now: datetime) -> None:
        """Create INBOX and the special-use mailboxes of a new box."""
        for name, special_use in DEFAULT_MAILBOXES.items():
            self.create(box_id, name, special_use, now)

    def create_defaults_of(self, box_ids: Sequence[int], now: datetime) -> None:
        """Create the default mailboxes of many boxes that have none yet."""
        kinds = list(zip(DEFAULT_MAILBOXES.items(), default_validities(now), strict=True))
        rows = [(name, validity, 1, 1, use, True) for (name, use), validity in kinds]
        bulk_each(self._connection, mailboxes, _BULK, box_ids, rows)

    def create(self, box_id: int, name: str, special_use: str, now: datetime) -> int:
        """Create a mailbox and return its id. UIDVALIDITY is the second of its creation, greater than any before in
        this box, those of deleted mailboxes included."""
        second = to_us(now) // 1_000_000
        row = {
            "box_id": box_id,
            "name": name,
            "uidvalidity": self._connection.execute(_VALIDITY, {"b_id": box_id, "second": second}).scalar_one(),
            "uidnext": 1,
            "modseq": 1,
            "special_use": special_use,
            "subscribed": True,
        }
        return int(self._connection.execute(insert(mailboxes).returning(mailboxes.c.id), row).scalar_one())

    def all_of(self, box_id: int) -> tuple[Mailbox, ...]:
        """Return the mailboxes of a box, by name."""
        query = select(*_MAILBOX).where(mailboxes.c.box_id == box_id).order_by(mailboxes.c.name)
        rows = self._connection.execute(query).all()
        names = self._keywords([row.id for row in rows])
        return tuple(_mailbox(row, names.get(row.id, ())) for row in rows)

    def by_id(self, mailbox_id: int, *, lock: bool = False) -> Mailbox | None:
        """Return a mailbox; `lock` holds its counter row until the unit ends."""
        return self._one(_LOCKED if lock else _BY_ID, {"b_id": mailbox_id})

    def by_name(self, box_id: int, name: str) -> Mailbox | None:
        """Return a mailbox of a box by its exact name."""
        return self._one(_BY_NAME, {"b_box_id": box_id, "b_name": name})

    def _one(self, query: Hot, values: dict[str, Any]) -> Mailbox | None:
        row = query.run(self._connection, values).fetchone()
        if row is None:
            return None
        names = _KEYWORDS.run(self._connection, {"b_id": row[0]}).fetchall()
        return _mailbox(row, tuple(name for (name,) in names))

    def _keywords(self, mailbox_ids: Sequence[int]) -> dict[int, tuple[str, ...]]:
        if not mailbox_ids:
            return {}
        query = select(keywords.c.mailbox_id, keywords.c.name).where(keywords.c.mailbox_id.in_(mailbox_ids))
        names: dict[int, tuple[str, ...]] = {}
        for row in self._connection.execute(query.order_by(keywords.c.mailbox_id, keywords.c.bit)):
            names[row.mailbox_id] = (*names.get(row.mailbox_id, ()), row.name)
        return names

    def rename(self, mailbox_id: int, name: str) -> None:
        """Give a mailbox another name."""
        self._connection.execute(update(mailboxes).where(mailboxes.c.id == mailbox_id).values(name=name))

    def set_subscribed(self, mailbox_id: int, subscribed: bool) -> None:
        """Set or clear the subscription."""
        self._connection.execute(update(mailboxes).where(mailboxes.c.id == mailbox_id).values(subscribed=subscribed))

    def delete(self, mailbox_id: int) -> None:
        """Remove a mailbox, its messages and its log."""
        for table in (messages, changes, keywords, seen):
            self._connection.execute(delete(table).where(table.c.mailbox_id == mailbox_id))
        self._connection.execute(delete(mailboxes).where(mailboxes.c.id == mailbox_id))

    def add_keyword(self, mailbox_id: int, name: str, position: int) -> None:
        """Give a keyword the next bit of its mailbox."""
        row = {"mailbox_id": mailbox_id, "bit": FIRST_KEYWORD_BIT + position, "name": name, "name_key": name.lower()}
        self._connection.execute(insert(keywords), row)

    # -- counters ------------------------------------------------------------------------------------------------

    def bump(self, mailbox_id: int, uids: int = 0) -> tuple[int, int]:
        """Take one MODSEQ and so many UIDs; returns (first UID taken, MODSEQ)."""
        uidnext, modseq = _BUMP.run(self._connection, {"b_id": mailbox_id, "b_uids": uids}).fetchone()
        return uidnext - uids, modseq

    def bump_inbox(self, box_id: int, name: str = "INBOX") -> tuple[int, int, int]:
        """Take one UID and one MODSEQ of a box's mailbox; returns (mailbox id, UID, MODSEQ)."""
        values = {"b_box_id": box_id, "b_name": name}
        mailbox_id, uidnext, modseq = _BUMP_NAMED.run(self._connection, values).fetchone()
        return mailbox_id, uidnext - 1, modseq

    def log(self, mailbox_id: int, modseq: int, runs: Runs, kind: ChangeKind) -> None:
        """Write runs of UIDs into the change log."""
        rows = [
            {"mailbox_id": mailbox_id, "modseq": modseq, "uid_first": first, "uid_last": last, "kind": int(kind)}
            for first, last in runs
        ]
        _LOG.many(self._connection, rows)

    # -- messages ------------------------------------------------------------------------------------------------

    def add(self, mailbox_id: int, rows: Sequence[dict[str, Any]], modseq: int, now: datetime) -> None:
        """Add messages (uid, flags, internal_date, size, object_id) at one MODSEQ, and log them."""
        saved_at = to_us(now)
        if len(rows) < _BULKY:
            full = [{"mailbox_id": mailbox_id, "modseq": modseq, "saved_at": saved_at, **row} for row in rows]
            _ADD.many(self._connection, full)
        else:
            each = itemgetter(*_OF_ROW)
            bulk(self._connection, messages, _ADDED, [(mailbox_id, modseq, saved_at, *each(row)) for row in rows])
        self.log(mailbox_id, modseq, runs_of(row["uid"] for row in rows), ChangeKind.ADDED)

    def uids(self, mailbox_id: int) -> list[int]:
        """Return all UIDs in order."""
        query = select(messages.c.uid).where(messages.c.mailbox_id == mailbox_id).order_by(messages.c.uid)
        return list(self._connection.execute(query).scalars())

    def present(self, mailbox_id: int, uidnext: int) -> Runs:
        """Return all UIDs as runs: what was ever given without what the log says was removed.

        The rows themselves are only counted; were the numbers to differ, the rows are right.
        """
        (count,) = _COUNT.run(self._connection, {"b_id": mailbox_id}).fetchone()
        found = _without(uidnext, self.removed_since(mailbox_id, 0))
        if sum(last - first + 1 for first, last in found) == count:
            return found
        return runs_of(self.uids(mailbox_id))

    def uids_from(self, mailbox_id: int, first: int, limit: int) -> list[int]:
        """Return so many UIDs from one on, in order."""
        where = and_(messages.c.mailbox_id == mailbox_id, messages.c.uid >= first)
        query = select(messages.c.uid).where(where).order_by(messages.c.uid).limit(limit)
        return list(self._connection.execute(query).scalars())

    def first_without(self, mailbox_id: int, flag: int) -> int | None:
        """Return the first UID that lacks a flag bit."""
        (first,) = _FIRST_WITHOUT.run(self._connection, {"b_id": mailbox_id, "b_flag": flag}).fetchone()
        return None if first is None else int(first)

    def counts(self, mailbox_id: int, seen: int, deleted: int) -> tuple[int, int, int, int, int]:
        """Return (messages, unseen, deleted, octets, octets of those deleted)."""
        values = {"b_id": mailbox_id, "b_seen": seen, "b_deleted": deleted}
        count, *sums = _COUNTS.run(self._connection, values).fetchone()
        unseen, gone, size, gone_size = (int(one or 0) for one in sums)
        return count, unseen, gone, size, gone_size

    def rows(
        self, mailbox_id: int, box_id: int, runs: Runs, *, envelope: bool, bodystructure: bool, more: bool = False
    ) -> list[tuple[Any, ...]]:
        """Return (uid, modseq, flags, internal_date, size, object_id, sealed envelope?, sealed bodystructure?), and
        with `more` (saved_at, thread, sealed preview) too."""
        query = _rows(envelope=envelope, bodystructure=bodystructure, more=more)
        if len(runs) <= _RUNS_BY_THEMSELVES:
            values = {"b_id": mailbox_id, "b_box_id": box_id}
            found: list[tuple[Any, ...]] = []
            for first, last in runs:
                rows = query.of_run.run(self._connection, {**values, "b_first": first, "b_last": last})
                found += rows.fetchall()
            return found
        found = []
        for some in slices(runs):
            where = and_(messages.c.mailbox_id == mailbox_id, in_runs(some))
            every = query.every.where(where).order_by(messages.c.uid)
            found.extend(map(tuple, self._connection.execute(every, {"b_box_id": box_id})))
        return found

    def holds(self, mailbox_id: int, object_id: int) -> bool:
        """Say whether a mailbox has a message with these octets."""
        where = and_(messages.c.mailbox_id == mailbox_id, messages.c.object_id == object_id)
        return self._connection.execute(select(messages.c.uid).where(where).limit(1)).first() is not None

    def change_flags(
        self, mailbox_id: int, runs: Runs, keep: int, add: int, modseq: int, unchanged_since: int | None
    ) -> tuple[int, ...]:
        """Set flags to (flags & keep) | add where that changes something; returns the UIDs changed."""
        values = {
            "b_id": mailbox_id, "b_keep": keep, "b_add": add, "b_modseq": modseq,
            "b_since": _ANY_MODSEQ if unchanged_since is None else unchanged_since,
        }  # fmt: skip
        changed: list[int] = []
        if len(runs) <= _RUNS_BY_THEMSELVES:
            for first, last in runs:
                rows = _CHANGE_FLAGS.run(self._connection, {**values, "b_first": first, "b_last": last}).fetchall()
                changed += (uid for (uid,) in rows)
        else:
            for some in slices(runs):
                statement = _change_flags(and_(messages.c.mailbox_id == mailbox_id, in_runs(some)))
                changed.extend(self._connection.execute(statement, values).scalars())
        return tuple(sorted(changed))

    def remove(self, mailbox_id: int, runs: Runs) -> None:
        """Remove messages."""
        for some in slices(runs):
            self._connection.execute(delete(messages).where(and_(messages.c.mailbox_id == mailbox_id, in_runs(some))))

    def flagged(self, mailbox_id: int, flag: int, runs: Runs | None) -> tuple[int, ...]:
        """Return the UIDs that have a flag bit, among the runs when given."""
        has = and_(messages.c.mailbox_id == mailbox_id, messages.c.flags.bitwise_and(flag) != 0)
        found: list[int] = []
        for some in slices(runs) if runs is not None else (None,):
            where = has if some is None else and_(has, in_runs(some))
            found.extend(self._connection.execute(select(messages.c.uid).where(where)).scalars())
        return tuple(sorted(found))

    # -- changes -------------------------------------------------------------------------------------------------

    def changes_since(self, mailbox_id: int, since: int) -> tuple[Change, ...]:
        """Return the log's lines after a MODSEQ, in order."""
        rows = _CHANGES.run(self._connection, {"b_id": mailbox_id, "b_since": since}).fetchall()
        return tuple(Change(modseq, first, last, ChangeKind(kind)) for modseq, first, last, kind in rows)

    def removed_since(self, mailbox_id: int, since: int) -> Runs:
        """Return the UIDs removed after a MODSEQ, as ascending runs."""
        return merged(_REMOVED.run(self._connection, {"b_id": mailbox_id, "b_since": since}).fetchall())

    def flags_since(self, mailbox_id: int, since: int) -> tuple[tuple[int, int, int], ...]:
        """Return (uid, modseq, flags) of messages changed or added after a MODSEQ."""
        return tuple(map(tuple, _FLAGS.run(self._connection, {"b_id": mailbox_id, "b_since": since}).fetchall()))


def _mailbox(row: Sequence[Any], names: tuple[str, ...]) -> Mailbox:
    number, box_id, name, uidvalidity, uidnext, modseq, special_use, subscribed = row
    return Mailbox(number, box_id, name, uidvalidity, uidnext, modseq, special_use, bool(subscribed), names)


class _Rows:
    """The statements that read messages with some of their forms."""

    def __init__(self, *, envelope: bool, bodystructure: bool, more: bool) -> None:
        columns: list[Any] = [
            messages.c.uid,
            messages.c.modseq,
            messages.c.flags,
            messages.c.internal_date,
            messages.c.size,
            messages.c.object_id,
            holdings.c.envelope if envelope else null().label("envelope"),
            holdings.c.bodystructure if bodystructure else null().label("bodystructure"),
        ]
        if more:
            columns += [messages.c.saved_at, holdings.c.thread_id, holdings.c.preview]
        query = select(*columns)
        if envelope or bodystructure or more:
            held = and_(holdings.c.box_id == bindparam("b_box_id"), holdings.c.object_id == messages.c.object_id)
            query = query.join(holdings, held)
        self.every = query
        self.of_run = Hot(query.where(_IN_RUN).order_by(messages.c.uid))


@lru_cache(maxsize=8)
def _rows(*, envelope: bool, bodystructure: bool, more: bool) -> _Rows:
    return _Rows(envelope=envelope, bodystructure=bodystructure, more=more)
