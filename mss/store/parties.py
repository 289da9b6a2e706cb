"""The directory by generations, the trust list with its history, and named leases.

A new generation is written in slices, invisible, and becomes the visible one by a single row.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import fields, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, and_, bindparam, delete, func, insert, select, update

from mss.clock import from_us, to_us
from mss.model.address import Address, parse_domain
from mss.model.party import BoxKind, Party
from mss.model.peer import DN, ListReading, TrustList
from mss.model.search import search_key
from mss.store.hot import Hot
from mss.store.tables import generations, leases, parties, party_words, trust_list_readings, trust_lists

_WORD = re.compile(r"[a-z0-9]+")
_TEXTS = [f.name for f in fields(Party) if f.name not in ("address", "kind", "red_list")]
_HISTORY = 30
_INSTANTS = ("generated_at", "first_at", "last_at")
_WORD_MAX = 64
_ADD = Hot.new(parties, parties.c.id)
_ADD_WORD = Hot.insert(party_words)
_FORGET_WORD = Hot(
    delete(party_words).where(
        and_(
            party_words.c.generation == bindparam("b_generation"),
            party_words.c.word == bindparam("b_word"),
            party_words.c.party_id == bindparam("b_party"),
        )
    )
)
_LEASE = Hot.new(leases)


def words_of(text: str) -> list[str]:
    """Return the words of a text as they are searched."""
    return _WORD.findall(search_key(text))


class Parties:
    """Directory and trust list inside one unit."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    # -- trust list ----------------------------------------------------------------------------------------------

    def trust_list(self) -> TrustList | None:
        """Return the current trust list."""
        row = self._connection.execute(select(trust_lists).order_by(trust_lists.c.version.desc()).limit(1)).first()
        return None if row is None else _trust_list(row)

    def trust_list_of(self, version: int) -> TrustList | None:
        """Return a trust list of a version that is still kept."""
        row = self._connection.execute(select(trust_lists).where(trust_lists.c.version == version)).first()
        return None if row is None else _trust_list(row)

    def trust_list_versions(self) -> tuple[int, ...]:
        """Return the versions that are kept, oldest first."""
        query = select(trust_lists.c.version).order_by(trust_lists.c.version)
        return tuple(row.version for row in self._connection.execute(query))

    def note_reading(self, new: ListReading, keep: int) -> bool:
        """Remember a reading; one like the last is counted there. Returns whether it is news."""
        last = self._connection.execute(
            select(trust_list_readings).order_by(trust_list_readings.c.id.desc()).limit(1)
        ).first()
        if last is not None and _alike(_reading(last), new):
            where = trust_list_readings.c.id == last.id
            values = {"last_at": to_us(new.last_at), "times": last.times + 1}
            self._connection.execute(update(trust_list_readings).where(where).values(values))
            return False
        row = {f.name: getattr(new, f.name) for f in fields(ListReading)}
        row |= {name: None if row[name] is None else to_us(row[name]) for name in _INSTANTS}
        made = self._connection.execute(insert(trust_list_readings).returning(trust_list_readings.c.id), row)
        self._connection.execute(
            delete(trust_list_readings).where(trust_list_readings.c.id <= made.scalar_one() - keep)
        )
        return True

    def readings(self, limit: int) -> tuple[ListReading, ...]:
        """Return the newest readings, newest first."""
        query = select(trust_list_readings).order_by(trust_list_readings.c.id.desc()).limit(limit)
        return tuple(map(_reading, self._connection.execute(query)))

    def trust_list_mark(self) -> tuple[int, int]:
        """Return (version, reading time) of the current list: cheap, to see whether it changed; (0, 0) without."""
        query = select(trust_lists.c.version, trust_lists.c.fetched_at).order_by(trust_lists.c.version.desc()).limit(1)
        row = self._connection.execute(query).first()
        return (0, 0) if row is None else (row.version, row.fetched_at)

    def replace_trust_list(self, new: TrustList) -> int:
        """Store a list as the current one; an equal one only gets its reading time. Returns the version."""
        body = _trust_body(new)
        digest = hashlib.sha256(body.encode() + str(to_us(new.generated_at)).encode()).digest()
        query = select(trust_lists.c.version, trust_lists.c.digest).order_by(trust_lists.c.version.desc()).limit(1)
        current = self._connection.execute(query).first()
        if current is not None and bytes(current.digest) == digest:
            where = trust_lists.c.version == current.version
            self._connection.execute(update(trust_lists).where(where).values(fetched_at=to_us(new.fetched_at)))
            return int(current.version)
        version = 1 if current is None else current.version + 1
        row = {"version": version, "digest": digest, "body": body, "generated_at": to_us(new.generated_at)}
        self._connection.execute(insert(trust_lists), {**row, "fetched_at": to_us(new.fetched_at)})
        self._connection.execute(delete(trust_lists).where(trust_lists.c.version <= version - _HISTORY))
        return version

    # -- directory -----------------------------------------------------------------------------------------------

    def begin(self, now: datetime) -> int:
        """Open an invisible generation."""
        row = {"begun_at": to_us(now), "published_at": None, "parties": 0}
        return int(self._connection.execute(insert(generations).returning(generations.c.id), row).scalar_one())

    def add(self, generation: int, some: Sequence[Party]) -> None:
        """Add parties to a generation; an address that comes again replaces nothing (the first stays)."""
        found_words: list[dict[str, Any]] = []
        for party in some:
            new = _ADD.run(self._connection, _party_row(generation, party)).fetchone()
            if new is not None:
                words = _words(party)
                found_words += [{"generation": generation, "word": word, "party_id": new[0]} for word in words]
        _ADD_WORD.many(self._connection, found_words)

    def publish(self, generation: int, now: datetime) -> int:
        """Make a generation visible; returns how many parties it holds."""
        count = self._connection.execute(
            select(func.count()).select_from(parties).where(parties.c.generation == generation)
        ).scalar_one()
        where = generations.c.id == generation
        self._connection.execute(update(generations).where(where).values(published_at=to_us(now), parties=count))
        return int(count)

    def current(self) -> tuple[int, datetime, int] | None:
        """Return (generation, published at, number of parties) of the visible directory."""
        query = select(generations).where(generations.c.published_at.is_not(None))
        row = self._connection.execute(query.order_by(generations.c.id.desc()).limit(1)).first()
        return None if row is None else (row.id, from_us(row.published_at), row.parties)

    def sweep(self, limit: int, abandoned_before: datetime) -> int:
        """Drop rows of generations that are neither visible nor being written; returns how many parties went."""
        current = self.current()
        keep = current[0] if current else 0
        old = select(generations.c.id).where(
            and_(
                generations.c.id != keep,
                (generations.c.published_at.is_not(None)) | (generations.c.begun_at < to_us(abandoned_before)),
            )
        )
        gone = self._connection.execute(select(parties).where(parties.c.generation.in_(old)).limit(limit)).all()
        words = [{"b_generation": row.generation, "b_word": word, "b_party": row.id} for row in gone
                 for word in _words(_party(row))]  # fmt: skip
        _FORGET_WORD.many(self._connection, words)
        self._connection.execute(delete(parties).where(parties.c.id.in_([row.id for row in gone])))
        return len(gone)

    def by_address(self, address: Address) -> Party | None:
        """Return the visible party of an address, red list included (for delivery, never for a search)."""
        current = self.current()
        if current is None:
            return None
        where = and_(parties.c.generation == current[0], parties.c.address_key == address.key)
        row = self._connection.execute(select(parties).where(where)).first()
        return None if row is None else _party(row)

    def search(self, words: Sequence[str], profession: str, town: str, limit: int) -> tuple[Party, ...]:
        """Return visible parties whose words begin with all those given, not on the red list, by name."""
        current = self.current()
        if current is None:
            return ()
        where = and_(parties.c.generation == current[0], parties.c.red_list.is_(False))
        for word in words:
            found = select(party_words.c.party_id).where(
                and_(
                    party_words.c.generation == current[0],
                    party_words.c.word >= word[:_WORD_MAX],
                    party_words.c.word < word[:_WORD_MAX] + "\x7f",
                )
            )
            where = and_(where, parties.c.id.in_(found))
        if town:
            where = and_(where, parties.c.town_key.startswith(search_key(town), autoescape=True))
        if profession:
            key = search_key(profession)
            where = and_(where, parties.c.profession_key.contains(key, autoescape=True))
        rows = self._connection.execute(select(parties).where(where).order_by(parties.c.address_key).limit(limit))
        return tuple(_party(row) for row in rows)

    # -- leases --------------------------------------------------------------------------------------------------

    def lease(self, name: str, owner: str, length: timedelta, now: datetime) -> bool:
        """Take or renew a named lease; False while another owner has it."""
        row = {"name": name, "owner": owner, "until": to_us(now + length)}
        if _LEASE.run(self._connection, row).rowcount:
            return True
        free = (leases.c.owner == owner) | (leases.c.until <= to_us(now))
        statement = update(leases).where(and_(leases.c.name == name, free)).values(owner=owner, until=row["until"])
        return self._connection.execute(statement).rowcount == 1


def _trust_list(row: Any) -> TrustList:
    body = json.loads(row.body)
    names = [DN(tuple((kind, value) for kind, value in name)) for name in body["names"]]
    domains = {parse_domain(d): frozenset(names[i] for i in indices) for d, indices in body["domains"].items()}
    return TrustList(from_us(row.generated_at), domains, from_us(row.fetched_at), row.version)


def _reading(row: Any) -> ListReading:
    values = {f.name: getattr(row, f.name) for f in fields(ListReading)}
    return ListReading(**values | {n: None if values[n] is None else from_us(values[n]) for n in _INSTANTS})


def _alike(one: ListReading, other: ListReading) -> bool:
    return replace(one, first_at=other.first_at, last_at=other.last_at, times=other.times) == other


def _trust_body(new: TrustList) -> str:
    names = sorted({name for subjects in new.domains.values() for name in subjects}, key=lambda n: n.attributes)
    number = {name: i for i, name in enumerate(names)}
    domains = {str(d): sorted(number[s] for s in subjects) for d, subjects in sorted(new.domains.items())}
    return json.dumps({"names": [name.attributes for name in names], "domains": domains}, ensure_ascii=False)


def _party_row(generation: int, party: Party) -> dict[str, Any]:
    body = {"address": party.address.spec, **{name: getattr(party, name) for name in _TEXTS}}
    return {
        "generation": generation,
        "address_key": party.address.key,
        "kind": party.kind,
        "red_list": party.red_list,
        "town_key": search_key(party.town)[:200],
        "profession_key": search_key(f"{party.profession_code} {party.profession} {party.speciality}")[:200],
        "body": json.dumps(body, ensure_ascii=False),
    }


def _words(party: Party) -> set[str]:
    texts = (party.name, party.first_name, party.structure, party.service, party.address.key, party.speciality)
    return {word[:_WORD_MAX] for text in texts for word in words_of(text)}


def _party(row: Any) -> Party:
    body = json.loads(row.body)
    address = Address.parse(body.pop("address"))
    return Party(address=address, kind=BoxKind(row.kind), red_list=row.red_list, **body)
