"""A store that is locked, missing or no database is one clear sentence, at the start and for every command."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from mss import app
from mss.store import engine as engines
from mss.store import schema
from tests.cli.cli_world import Desk, one_line

STORE, KEYS = Path("data/store.sqlite"), Path("keys/keys.sqlite")
COMMANDS = [("account", "list"), ("audit", "list"), ("queue", "list"), ("operator", "list")]
Fault = Callable[[Path], object]


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait a moment only for a lock; and nothing listens, should a start succeed against expectation."""
    monkeypatch.setattr(engines, "_BUSY_TIMEOUT_MS", 20)
    monkeypatch.setattr(app, "bind", lambda *_: pytest.fail("the start went on"))


@pytest.fixture
def quiet(desk: Desk) -> Desk:
    """An operator that listens nowhere, its databases in one file each."""
    desk.close_doors()
    for path in (STORE, KEYS):
        with closing(sqlite3.connect(desk.folder / path)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return desk


def remove(path: Path) -> None:
    path.unlink()


def empty(path: Path) -> None:
    path.write_bytes(b"")


def overwrite(path: Path) -> None:
    path.write_bytes(b"garbage " * 4096)


def replace_by_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


LOST: list[tuple[Fault, str]] = [
    (remove, "there is no database at {path}"),
    (empty, "{path} is no SQLite database"),
    (overwrite, "{path} is no SQLite database"),
    (replace_by_folder, "{path} cannot be read (Is a directory)"),
]


@pytest.mark.parametrize("file", [STORE, KEYS], ids=["store", "keys"])
@pytest.mark.parametrize(("fault", "said"), LOST, ids=lambda one: getattr(one, "__name__", ""))
@pytest.mark.parametrize("words", [*COMMANDS[:1], ("serve",)], ids=" ".join)
def test_a_lost_database_is_said_and_never_made_anew(
    quiet: Desk, words: tuple[str, ...], fault: Fault, said: str, file: Path
) -> None:
    path = quiet.folder / file
    fault(path)
    before = path.read_bytes() if path.is_file() else None
    line = quiet.fails(*words, code=2)
    assert line == f"mss: {said.format(path=path)}: bring its backup back, or make a new operator with “mss init”"
    assert (path.read_bytes() if path.is_file() else None) == before


@pytest.mark.parametrize("file", [STORE, KEYS], ids=["store", "keys"])
@pytest.mark.parametrize(("fault", "said"), LOST, ids=lambda one: getattr(one, "__name__", ""))
def test_a_lost_database_is_a_finding(quiet: Desk, fault: Fault, said: str, file: Path) -> None:
    path = quiet.folder / file
    fault(path)
    result = quiet.run("check", "--no-settings")
    assert result.exit_code == 1
    assert f": {said.format(path=path)} → bring its backup back" in result.stdout


@pytest.fixture
def held(quiet: Desk) -> Iterator[Desk]:
    """Another program has the store for itself, readers shut out."""
    with closing(sqlite3.connect(quiet.folder / STORE, isolation_level=None)) as stranger:
        stranger.execute("PRAGMA locking_mode=EXCLUSIVE")
        stranger.execute("BEGIN IMMEDIATE")
        stranger.execute("UPDATE leases SET until = until")
        stranger.execute("COMMIT")
        yield quiet


@pytest.mark.parametrize("words", [*COMMANDS, ("serve",)], ids=" ".join)
def test_a_locked_store_is_said(held: Desk, words: tuple[str, ...]) -> None:
    line = held.fails(*words, code=1)
    assert line == "mss: the store is away: another program holds its file locked (SQLITE_BUSY): try again"


def test_a_locked_store_is_a_finding(held: Desk) -> None:
    result = held.run("check", "--no-settings")
    assert result.exit_code == 1
    assert "✗ store: the store is away: another program holds its file locked" in result.stdout


@pytest.mark.parametrize("words", [*COMMANDS, ("serve",)], ids=" ".join)
def test_a_damaged_store_is_said(quiet: Desk, words: tuple[str, ...]) -> None:
    path = quiet.folder / STORE
    octets = path.read_bytes()
    path.write_bytes(octets[:100] + b"garbage " * ((len(octets) - 100) // 8))
    line = quiet.fails(*words, code=1)
    assert line.startswith("mss: the store is away: its file is damaged, bring its backup back (SQLITE_")


def test_keys_that_are_locked_are_said_at_the_start(quiet: Desk) -> None:
    with closing(sqlite3.connect(quiet.folder / KEYS, isolation_level=None)) as stranger:
        stranger.execute("BEGIN IMMEDIATE")
        line = quiet.fails("serve", code=1)
    assert line.startswith("mss: the database of keys is away: another program holds its file locked")


@pytest.mark.parametrize("words", [("serve",), ("account", "list"), ("migrate",)], ids=" ".join)
def test_a_store_of_a_newer_program_that_refuses_this_one_is_said(quiet: Desk, words: tuple[str, ...]) -> None:
    with closing(sqlite3.connect(quiet.folder / STORE, isolation_level=None)) as stranger:
        stranger.execute("UPDATE alembic_version SET version_num = '9999'")
        stranger.execute("UPDATE accepted_forms SET form = '9999' WHERE form = ?", (schema.HEAD,))
    assert quiet.fails(*words, code=2) == f"mss: {schema.Fit.BEYOND.said}"


@pytest.mark.postgres
def test_a_server_that_is_not_there_is_said(quiet: Desk, tmp_path: Path) -> None:
    quiet.change('url = "sqlite:///data/store.sqlite"', f'url = "postgresql://mss@/mss?host={tmp_path}"')
    for words in (("account", "list"), ("serve",)):
        line = quiet.fails(*words, code=1)
        said = "the server does not answer, or does not let us in (OperationalError)"
        assert line == f"mss: the store is away: {said}: try again"


@pytest.mark.parametrize("url", ["store.sqlite", "mysql://mss:secret@host/mss", "secret"])
@pytest.mark.parametrize("words", [("account", "list"), ("serve",)], ids=" ".join)
def test_a_url_of_no_engine_of_ours_is_said(quiet: Desk, words: tuple[str, ...], url: str) -> None:
    quiet.change('url = "sqlite:///data/store.sqlite"', f'url = "{url}"')
    line = quiet.fails(*words, code=2)
    assert line == "mss: a database's URL begins with sqlite:/// or postgresql+psycopg://: see [store]"


def test_a_store_of_an_older_program_is_said(quiet: Desk) -> None:
    schema.downgrade(quiet.config.sqlite_url(quiet.config.store.url), "base")
    said = f"mss: {schema.Fit.NONE.said}"
    assert quiet.fails("account", "list", code=2) == said
    assert one_line(quiet.run("audit", "list")) == said
