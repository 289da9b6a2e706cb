"""A backup of one instant, taken while the house serves: all rows in one snapshot, then the files that they name.

Rows are written in the order of their keys, in chunks whose ends depend on the rows alone: a row that comes or goes
changes one chunk, and the others are in the folder already. The same form serves both engines. The owners' keys and the
master key are never in it. A backup that was cut off is begun again and finds what it had written.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import cbor2
from sqlalchemy import Connection, Engine, Table, func, inspect, select, text

from mss.config import Config
from mss.store import schema
from mss.store.blobs import Blobs, open_blobs
from mss.store.engine import mapping, open_engine
from mss.store.keeping_tables import loose_holdings, loose_objects
from mss.store.keys import BACKUPS
from mss.store.repository import Entry, Repository
from mss.store.store import key_ring
from mss.store.tables import leases, mailboxes, metadata, objects, web_sessions

# The octets that a chunk has on average.
_CHUNK: Final = 256 * 1024
_CHUNK_MAX: Final = 8 * 1024 * 1024
# What a house that comes back begins anew: who signed in on the web, who was at work, what was about to go.
LEFT_OUT: Final = frozenset({leases.name, web_sessions.name, loose_holdings.name, loose_objects.name})
Told = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Made:
    """A backup: its name, how many rows and files are in it, and how many chunks and files had to be written for it."""

    name: str
    rows: int
    files: int
    written: int


def open_repository(config: Config, root: Path) -> Repository:
    """Open a folder of backups with the operator's key; the keys have to be in their place."""
    engine = open_engine(config.sqlite_url(config.store.keys_url), connections=1, mostly_read=True)
    try:
        with mapping("the database of keys"):
            return Repository(root, key_ring(config, engine).key(BACKUPS))
    finally:
        engine.dispose()


def make(config: Config, root: Path, now: datetime, told: Told = lambda done, total: None) -> Made:
    """Make a backup in a folder; `told` hears (rows and files done, of how many)."""
    repository = open_repository(config, root)
    engine = open_engine(config.sqlite_url(config.store.url), connections=1, read_only=True)
    try:
        with repository.writing(), mapping(), engine.connect() as connection, connection.begin():
            taking = _Taking(repository, connection, open_blobs(config), told)
            name = repository.write_snapshot(now, taking.entries(engine, now))
            return Made(name, taking.rows, taking.files, taking.written)
    finally:
        engine.dispose()


class _Taking:
    """One backup on its way."""

    def __init__(self, repository: Repository, connection: Connection, files: Blobs, told: Told) -> None:
        self._repository = repository
        self._connection = connection
        self._files = files
        self._told = told
        self.rows = self.files = self.written = 0
        self._total = 0

    def entries(self, engine: Engine, now: datetime) -> Iterator[Entry]:
        """Yield the lines of the backup's list, writing what they name on the way."""
        # Mailboxes come last: letters that are brought back would be counted in them a second time.
        tables = sorted(
            (table for table in metadata.sorted_tables if table.name not in LEFT_OUT),
            key=lambda table: table is mailboxes,
        )
        self._total = sum(self._count(select(func.count()).select_from(table)) for table in tables)
        self._total += self._count(select(func.count()).where(objects.c.file.is_not(None)))
        yield {
            "at": now.isoformat(),
            "schema": schema.HEAD,
            "engine": engine.dialect.name,
            "next": _sequences(self._connection),
        }
        for table in tables:
            yield {"table": table.name, "columns": [column.name for column in table.columns]}
            yield from self._table(table)
        yield from self._octets()
        yield {"end": True, "rows": self.rows, "files": self.files}

    def _count(self, query: Any) -> int:
        return int(self._connection.execute(query).scalar_one())

    def _table(self, table: Table) -> Iterator[Entry]:
        key = list(table.primary_key.columns)
        places = [list(table.columns).index(column) for column in key]
        # Octets may stand in the row: few rows at a time keep memory flat.
        query = select(table).order_by(*key).execution_options(yield_per=32 if table is objects else 500)
        chunk, count = bytearray(), 0
        for row in self._connection.execute(query):
            encoded = cbor2.dumps(list(row))
            chunk += encoded
            count += 1
            if len(chunk) >= _CHUNK_MAX or _ends(cbor2.dumps([row[place] for place in places]), len(encoded)):
                yield self._chunk(chunk, count)
                chunk, count = bytearray(), 0
        if count:
            yield self._chunk(chunk, count)

    def _chunk(self, chunk: bytearray, count: int) -> Entry:
        name, new = self._repository.put_chunk(bytes(chunk))
        self._done(rows=count, written=int(new))
        return {"chunk": name, "rows": count}

    def _octets(self) -> Iterator[Entry]:
        query = select(objects.c.file).where(objects.c.file.is_not(None)).order_by(objects.c.id)
        for name in self._connection.execute(query.execution_options(yield_per=1000)).scalars():
            copied = self._repository.put_file(name, self._files)
            self._done(files=1, written=int(bool(copied)))
            # One that is gone belonged to octets that nobody held: they were collected since the snapshot.
            yield {"file": name} if copied is not None else {"gone": name}

    def _done(self, *, rows: int = 0, files: int = 0, written: int = 0) -> None:
        self.rows, self.files, self.written = self.rows + rows, self.files + files, self.written + written
        self._told(self.rows + self.files, max(self._total, self.rows + self.files))


def rows_of(chunk: bytes, count: int) -> Iterator[list[Any]]:
    """Yield the rows of a chunk, in order."""
    decoder = cbor2.CBORDecoder(BytesIO(chunk))
    for _ in range(count):
        yield decoder.decode()


def _ends(key: bytes, octets: int) -> bool:
    """Say whether a chunk ends behind a row: by its key and size alone, so that others' rows do not move the ends."""
    return zlib.crc32(key) * _CHUNK < octets << 32


def _sequences(connection: Connection) -> dict[str, int]:
    """Return the last number that each counting table gave out: none is ever given out again."""
    if connection.dialect.name == "sqlite":
        if not inspect(connection).has_table("sqlite_sequence"):
            return {}
        return {row[0]: row[1] for row in connection.execute(text("SELECT name, seq FROM sqlite_sequence"))}
    counting = {
        table.name: connection.execute(text("SELECT pg_get_serial_sequence(:t, 'id')"), {"t": table.name}).scalar()
        for table in metadata.sorted_tables
        if table.autoincrement_column is not None
    }
    last = {name: _last(connection, sequence) for name, sequence in counting.items() if sequence}
    return {name: number for name, number in last.items() if number}


def _last(connection: Connection, sequence: str) -> int:
    """Return the last number of a sequence; its name comes from the server, quoted as it wants it."""
    query = f"SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM {sequence}"  # noqa: S608
    return int(connection.execute(text(query)).scalar_one())
