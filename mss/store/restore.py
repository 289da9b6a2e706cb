"""A backup brought back into an empty store of either engine, and its proof: brought back beside, and looked over.

Every step may be done twice: a restore that was cut off is begun again and leaves alone what is there. Until it is done
a mark beside the octets names its backup; a store that serves already is never written into.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, Engine, column, table, text
from sqlalchemy.dialects import postgresql, sqlite

from mss.config import MIB, Config
from mss.errors import Conflict
from mss.store import crypto, schema
from mss.store.backup import open_repository, rows_of
from mss.store.blobs import FILE, Blobs, open_blobs
from mss.store.check import Checked, check
from mss.store.engine import is_sqlite, mapping, open_engine, sqlite_path
from mss.store.repository import Repository
from mss.store.store import Store

_ROWS_AT_ONCE: Final = 500
_INSERTS: Final[dict[str, Any]] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}
Told = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Restored:
    """Which backup was brought back, with how many rows and files."""

    name: str
    rows: int
    files: int


def restore(
    config: Config, root: Path, name: str = "", told: Told = lambda done, total: None, *, link: bool = False
) -> Restored:
    """Bring a backup (the newest, when none is named) into the configured, empty store. `link`: files are linked."""
    repository = open_repository(config, root)
    names = repository.snapshots()
    if not names:
        raise Conflict(f"there is no whole backup in {root}")
    name = name or names[-1]
    head, total = _measure(repository, name)
    blobs = config.path(config.store.blobs_dir)
    mark = blobs.parent / "restoring"
    url = config.sqlite_url(config.store.url)
    _expect_empty(url, mark, name)
    schema.upgrade(url, head["schema"])
    engine = open_engine(url, connections=1)
    try:
        with mapping():
            bringing = _Bringing(repository, engine, open_blobs(config), total, told, links=blobs if link else None)
            bringing.all(repository.entries(name))
            _set_sequences(engine, head["next"])
    finally:
        engine.dispose()
    schema.upgrade(url)
    mark.unlink()
    return Restored(name, bringing.rows, bringing.files)


def verify(config: Config, root: Path, name: str = "", told: Told = lambda done, total: None) -> list[Checked]:
    """Bring a backup back into a folder beside the others, read every octet of it, and return what does not fit."""
    with tempfile.TemporaryDirectory(dir=root, prefix=".proof-") as folder:
        beside = replace(
            config.store,
            blobs=FILE,
            url=f"sqlite:///{folder}/store.sqlite",
            blobs_dir=Path(folder) / "blobs",
            readers=1,
        )
        keys_url = config.sqlite_url(config.store.keys_url)
        proof = replace(config, store=replace(beside, keys_url=keys_url))
        restore(proof, root, name, told, link=True)
        return asyncio.run(_look_over(proof))


async def _look_over(config: Config) -> list[Checked]:
    store = Store(config)
    try:
        return [one async for one in check(store, octets=True, repair=False)]
    finally:
        await store.close()


def _measure(repository: Repository, name: str) -> tuple[dict[str, Any], int]:
    """Return the head of a backup's list, and its rows and files; Damaged when the list has no end."""
    head: dict[str, Any] = {}
    last: dict[str, Any] = {}
    for last in repository.entries(name):
        head = head or last
    if "end" not in last:
        raise crypto.Damaged("the backup's list is cut off")
    return head, last["rows"] + last["files"]


def _expect_empty(url: str, mark: Path, name: str) -> None:
    """Begin, or go on with, the same backup; Conflict when the store holds anything else."""
    mark.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if mark.exists():
        if mark.read_text(encoding="ascii") != name:
            raise Conflict(f"another backup is half brought back here: go on with {mark.read_text(encoding='ascii')}")
        return
    if not is_sqlite(url) or sqlite_path(url).exists():
        engine = open_engine(url, connections=1)
        try:
            with mapping(), engine.connect() as connection, connection.begin():
                there = engine.dialect.has_table(connection, "boxes")
                if there and connection.execute(text("SELECT 1 FROM boxes LIMIT 1")).first():
                    raise Conflict("the store has boxes already: a backup is brought back into an empty one")
        finally:
            engine.dispose()
    mark.write_text(name, encoding="ascii")


class _Bringing:
    """One backup on its way back."""

    def __init__(
        self, repository: Repository, engine: Engine, files: Blobs, total: int, told: Told, *, links: Path | None
    ) -> None:
        self._repository = repository
        self._engine = engine
        self._files = files
        self._total = total
        self._told = told
        self._links = links
        self.rows = self.files = 0

    def all(self, entries: Iterable[dict[str, Any]]) -> None:
        """Bring back what a list names, in its order."""
        insert: Any = None
        columns: list[str] = []
        for entry in entries:
            if "table" in entry:
                columns = entry["columns"]
                target = table(entry["table"], *map(column, columns))
                insert = _INSERTS[self._engine.dialect.name](target).on_conflict_do_nothing()
            elif "chunk" in entry:
                self._chunk(insert, columns, entry)
            elif "file" in entry:
                self._file(entry["file"])
            elif "gone" in entry:
                self._gone(entry["gone"])
            self._told(self.rows + self.files, self._total)

    def _chunk(self, insert: Any, columns: list[str], entry: dict[str, Any]) -> None:
        chunk = self._repository.chunk(entry["chunk"])
        rows = [dict(zip(columns, row, strict=True)) for row in rows_of(chunk, entry["rows"])]
        with self._engine.begin() as connection:
            for start in range(0, len(rows), _ROWS_AT_ONCE):
                connection.execute(insert, rows[start : start + _ROWS_AT_ONCE])
        self.rows += len(rows)

    def _file(self, name: str) -> None:
        source = self._repository.file(name)
        if self._links is not None:
            target = self._links / name[:2] / name
            target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            os.link(source, target)
        elif self._files.size(name) != source.stat().st_size:
            with source.open("rb") as file:
                self._files.put_named(name, iter(lambda: file.read(MIB), b""))
        self.files += 1

    def _gone(self, name: str) -> None:
        """Drop the row of octets that nobody held and whose file went while the backup was taken."""
        unheld = "NOT EXISTS (SELECT 1 FROM holdings WHERE holdings.object_id = objects.id)"
        with self._engine.begin() as connection:
            connection.execute(text(f"DELETE FROM objects WHERE file = :file AND {unheld}"), {"file": name})  # noqa: S608
        self.files += 1


def _set_sequences(engine: Engine, last: dict[str, int]) -> None:
    with engine.begin() as connection:
        for name, number in last.items():
            _set_sequence(connection, name, number)


def _set_sequence(connection: Connection, name: str, number: int) -> None:
    if connection.dialect.name == "sqlite":
        connection.execute(text("DELETE FROM sqlite_sequence WHERE name = :n"), {"n": name})
        connection.execute(text("INSERT INTO sqlite_sequence (name, seq) VALUES (:n, :s)"), {"n": name, "s": number})
        return
    connection.execute(text("SELECT setval(pg_get_serial_sequence(:n, 'id'), :s)"), {"n": name, "s": number})
