"""The journal: append-only, one hash chain per writer, in sealed segments; never content.

A record's hash covers its predecessor's hash and all its own fields, so that a change, a gap or a swap is found by
`verify`. It is written in the transaction of the fact that it records.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Row, and_, or_, select

from mss.clock import from_us, to_us
from mss.model.audit import AuditEvent, AuditRecord
from mss.store.hot import Hot
from mss.store.tables import journal, journal_segments

_START = bytes(32)
# Made once: `json.dumps` makes a new encoder for each text that is not written its own way.
_facts = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode
_fields = json.JSONEncoder(separators=(",", ":"), ensure_ascii=True).encode
_INSERT = Hot.insert(journal)
_SEAL = Hot.insert(journal_segments)


# Where a chain stands: of itself, and of the one of looks into dossiers beside it.
ChainState = tuple[int, bytes, int, bytes]
# What a writer's chain of looks into dossiers is called: they are kept longer, and segments are dropped whole.
LOOKS = "+looks"
_LOOKED_AT = ("document", "documents", "dossier", "accesses")


@dataclass(slots=True)
class Chain:
    """Where a writer's two chains stand. Restored from a copy when a unit is rolled back."""

    writer: str
    number: int = 0
    head: bytes = _START
    looks_number: int = 0
    looks_head: bytes = _START

    def copy(self) -> ChainState:
        """Return what `restore` takes."""
        return self.number, self.head, self.looks_number, self.looks_head

    def restore(self, state: ChainState) -> None:
        """Go back to an earlier place, after a rollback."""
        self.number, self.head, self.looks_number, self.looks_head = state

    def renew(self) -> None:
        """Begin other chains: nobody knows whether the last commit of these came to be."""
        self.writer = f"{self.writer.partition('.')[0]}.{secrets.token_hex(3)}"
        self.restore((0, _START, 0, _START))


def is_look(action: str) -> bool:
    """Say whether an action is a look into, or a change of, a patient's dossier: its trace is kept longer."""
    return action.partition(".")[0] in _LOOKED_AT


@dataclass(frozen=True, slots=True)
class Broken:
    """A record whose hash does not follow from its predecessor and its fields."""

    writer: str
    number: int


@dataclass(frozen=True, slots=True)
class Sought:
    """Which records are meant; what is empty is no condition. A prefix before a dot counts in actions and rules.

    `who`: an actor whole ("account:7"), or what stands behind its kind ("mx.chu.mssante.fr", an address). `actor`,
    `target`, `message` (a mark) and `box_id` are found by index, newest first.
    """

    action: str = ""
    rule: str = ""
    who: str = ""
    since: datetime | None = None
    actor: str = ""
    target: str = ""
    message: str = ""
    box_id: int | None = None


class Journal:
    """The journal inside one unit."""

    def __init__(
        self, connection: Connection, chain: Chain | None, segment_records: int, noted: list[AuditEvent] | None = None
    ) -> None:
        self._connection = connection
        self._chain = chain
        self._segment_records = segment_records
        self._noted = noted if noted is not None else []

    def write(self, event: AuditEvent, now: datetime) -> None:
        """Append one record to this writer's chain."""
        chain = self._chain
        if chain is None:
            raise TypeError("a reading unit cannot write to the journal")
        if is_look(event.action):
            place = chain.looks_number, chain.looks_head
            chain.looks_number, chain.looks_head = self._append(chain.writer + LOOKS, place, event, now)
        else:
            chain.number, chain.head = self._append(chain.writer, (chain.number, chain.head), event, now)
        self._noted.append(event)

    def _append(self, writer: str, place: tuple[int, bytes], event: AuditEvent, now: datetime) -> tuple[int, bytes]:
        """Write the record behind a place of a chain; returns its own place."""
        number = place[0] + 1
        values = _values(event, writer, number, now)
        head = _hash(place[1], values)
        _INSERT.run(self._connection, {**values, "hash": head})
        if number % self._segment_records == 0:
            first = number - self._segment_records + 1
            segment = {"writer": writer, "last_number": number, "first_number": first, "trimmed_at": None}
            _SEAL.run(self._connection, {**segment, "head": head, "sealed_at": to_us(now)})
        return number, head

    def about_box(
        self,
        box_id: int,
        limit: int,
        *,
        offset: int = 0,
        except_actions: tuple[str, ...] = (),
        except_actor: str = "",
        at: Sequence[tuple[str, datetime, datetime]] = (),
    ) -> tuple[AuditRecord, ...]:
        """Return the newest records about a box or its dossier, without some actions and one actor's doings.

        `at` compares when they were written with spans, from an instant to before another (see `COMPARED`).
        """
        query = select(journal).where(journal.c.subject_box_id == box_id)
        if except_actions:
            query = query.where(journal.c.action.not_in(except_actions))
        if except_actor:
            query = query.where(journal.c.actor != except_actor)
        for how, begin, end in at:
            query = query.where(COMPARED[how](to_us(begin), to_us(end)))
        return self._records(query.order_by(journal.c.at.desc(), journal.c.number.desc()).offset(offset).limit(limit))

    def newest(self, limit: int, action: str = "") -> tuple[AuditRecord, ...]:
        """Return the newest records, of one action when given (a prefix before a dot counts)."""
        return self.find(Sought(action), limit)

    def find(self, sought: Sought, limit: int) -> tuple[AuditRecord, ...]:
        """Return the newest records that are meant, newest first."""
        query = select(journal).where(*_conditions(sought))
        return self._records(query.order_by(journal.c.at.desc(), journal.c.number.desc()).limit(limit))

    def of_receipt(self, number: str) -> tuple[AuditRecord, ...]:
        """Return all records about one receipt number."""
        return self._records(select(journal).where(journal.c.target == f"receipt:{number}"))

    def of_message(self, digest: str, limit: int) -> tuple[AuditRecord, ...]:
        """Return the first records about a letter, by the digest of its Message-ID, in order of time."""
        query = select(journal).where(journal.c.message == digest)
        return self._records(query.order_by(journal.c.at, journal.c.number).limit(limit))

    def about_box_at(self, box_id: int, at: datetime) -> tuple[AuditRecord, ...]:
        """Return the records about a box that were written at one instant: those of one unit, as a rule."""
        query = select(journal).where(journal.c.subject_box_id == box_id, journal.c.at == to_us(at))
        return self._records(query.order_by(journal.c.number))

    def _records(self, query: Any) -> tuple[AuditRecord, ...]:
        return tuple(record_of(row) for row in self._connection.execute(query))

    def verify(self) -> tuple[int, tuple[Broken, ...]]:
        """Check all chains; returns how many records were read and those that are broken."""
        broken: list[Broken] = []
        count = 0
        sealed = self._sealed()
        heads: dict[str, tuple[int, bytes]] = {}
        query = select(journal).order_by(journal.c.writer, journal.c.number).execution_options(yield_per=1000)
        for row in self._connection.execute(query):
            count += 1
            number, head = heads.get(row.writer) or _beginning(row, sealed)
            expected = _hash(head, _row_values(row))
            end = sealed.pop((row.writer, row.number), expected)
            if row.number != number + 1 or not expected == end == bytes(row.hash):
                broken.append(Broken(row.writer, row.number))
            heads[row.writer] = (row.number, bytes(row.hash))
        # A sealed segment whose end is gone while its beginning is there, or what came before it.
        trimmed = self._trimmed()
        ends = (end for end in sealed if end[1] > heads.get(end[0], (0, b""))[0] and end not in trimmed)
        missing = (Broken(*end) for end in ends)
        return count, (*broken, *missing)

    def _trimmed(self) -> set[tuple[str, int]]:
        """Return (writer, last number) of the segments that are gone because their time was over."""
        gone = select(journal_segments).where(journal_segments.c.trimmed_at.is_not(None))
        return {(row.writer, row.last_number) for row in self._connection.execute(gone)}

    def _sealed(self) -> dict[tuple[str, int], bytes]:
        """Return (writer, last number) → hash of the last record, of all sealed segments."""
        rows = self._connection.execute(select(journal_segments))
        return {(row.writer, row.last_number): bytes(row.head) for row in rows}


def _beginning(row: Row[Any], sealed: dict[tuple[str, int], bytes]) -> tuple[int, bytes]:
    """Return what came before a chain's first record: nothing, or the sealed segment that was trimmed."""
    if row.number == 1:
        return 0, _START
    return (row.number - 1, head) if (head := sealed.get((row.writer, row.number - 1))) else (0, _START)


# How an instant may stand to a span: FHIR's prefixes of a date search.
COMPARED: Final[Mapping[str, Callable[[int, int], ColumnElement[bool]]]] = MappingProxyType(
    {
        "eq": lambda begin, end: and_(journal.c.at >= begin, journal.c.at < end),
        "ne": lambda begin, end: or_(journal.c.at < begin, journal.c.at >= end),
        "gt": lambda _begin, end: journal.c.at >= end,
        "ge": lambda begin, _end: journal.c.at >= begin,
        "lt": lambda begin, _end: journal.c.at < begin,
        "le": lambda _begin, end: journal.c.at < end,
    }
)


def _conditions(sought: Sought) -> list[ColumnElement[bool]]:
    found = [
        or_(column == word, column.startswith(f"{word}.", autoescape=True))
        for column, word in ((journal.c.action, sought.action), (journal.c.rule, sought.rule))
        if word
    ]
    if sought.who:
        found.append(or_(journal.c.actor == sought.who, journal.c.actor.endswith(f":{sought.who}", autoescape=True)))
    columns = (journal.c.actor, journal.c.target, journal.c.message)
    words = (sought.actor, sought.target, sought.message)
    found += [column == word for column, word in zip(columns, words, strict=True) if word]
    if sought.box_id is not None:
        found.append(journal.c.subject_box_id == sought.box_id)
    if sought.since is not None:
        found.append(journal.c.at >= to_us(sought.since))
    return found


def _values(event: AuditEvent, writer: str, number: int, now: datetime) -> dict[str, Any]:
    return {
        "writer": writer,
        "number": number,
        "at": to_us(now),
        "actor": event.actor,
        "action": event.action,
        "target": event.target,
        "decision": event.decision,
        "rule": event.rule,
        "subject_box_id": event.subject_box_id,
        "facts": _facts(dict(event.facts)),
        "message": event.message,
    }


_FIELDS = (
    "writer",
    "number",
    "at",
    "actor",
    "action",
    "target",
    "decision",
    "rule",
    "subject_box_id",
    "facts",
    "message",
)


def _row_values(row: Row[Any]) -> dict[str, Any]:
    return {name: getattr(row, name) for name in _FIELDS}


def _hash(previous: bytes, values: dict[str, Any]) -> bytes:
    text = _fields([values[name] for name in _FIELDS])
    return hashlib.sha256(previous + text.encode()).digest()


def record_of(row: Row[Any]) -> AuditRecord:
    """Return a row of the journal as a record."""
    event = AuditEvent(
        row.actor,
        row.action,
        row.target,
        row.decision,
        row.rule,
        row.subject_box_id,
        json.loads(row.facts),
        row.message,
    )
    return AuditRecord(row.writer, row.number, from_us(row.at), event, bytes(row.hash).hex())
