"""Write units: gathered into one commit, each in its savepoint, none lost, none answered before its commit."""

from __future__ import annotations

import ast
import asyncio
import sqlite3
import threading
import time
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from mss.config import Config
from mss.errors import Conflict, Unavailable
from mss.model.audit import AuditEvent
from mss.model.mailbox import INBOX
from mss.store import engine as engines
from mss.store.engine import sqlite_path
from mss.store.store import Store, Uow
from tests.store.store_world import NOW, clinic_box, driver


def note(uow: Uow, number: int) -> int:
    """Write one line into the journal and wake somebody."""
    uow.journal.write(AuditEvent("test", "test.note", f"note:{number}"), NOW)
    uow.wake("mailbox", number)
    return number


def notes(uow: Uow) -> list[str]:
    return sorted(one.event.target for one in uow.journal.newest(10_000, "test.note"))


def verify(uow: Uow) -> tuple[int, Any]:
    return uow.journal.verify()


@dataclass(frozen=True)
class Laden:
    """A value with octets."""

    octets: bytes

    def heavy(self) -> tuple[bytes, ...]:
        return (self.octets,)


def keep(uow: Uow, laden: Laden) -> int:
    note(uow, 99)
    return uow.objects.put(laden.octets, NOW).id


class Broken(Exception):
    """A bug in a service."""


def fail(uow: Uow, number: int) -> None:
    note(uow, number)
    raise Broken


class Held:
    """Keeps the writer busy with one unit, until told to let go."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._begun, self._free = threading.Event(), threading.Event()

    def _wait(self, uow: Uow) -> None:
        self._begun.set()
        self._free.wait(10)

    async def __aenter__(self) -> Held:
        self._task = asyncio.ensure_future(self._store.write(self._wait))
        await asyncio.to_thread(self._begun.wait, 10)
        return self

    def let_go(self) -> None:
        self._free.set()

    async def __aexit__(self, *_: object) -> None:
        self._free.set()
        await self._task


@pytest.fixture
async def lite(sqlite_config: Config) -> AsyncIterator[Store]:
    store = Store(sqlite_config)
    await store.start()
    yield store
    await store.close()


# -- gathering -------------------------------------------------------------------------------------------------------


async def test_each_write_is_there_once_answered(store: Store) -> None:
    assert await store.write(note, 1) == 1
    assert await store.read(notes) == ["note:1"]


async def test_concurrent_writes_gather_into_few_commits(lite: Store) -> None:
    before = lite.commits
    async with Held(lite) as hold:
        waiting = [asyncio.ensure_future(lite.write(note, i)) for i in range(100)]
        await asyncio.sleep(0)
        hold.let_go()
        await asyncio.gather(*waiting)
    assert len(await lite.read(notes)) == 100
    assert 1 <= lite.commits - before <= 3


async def test_there_is_one_begin_and_one_commit_for_a_group(lite: Store) -> None:
    said: list[str] = []
    # The writer keeps its connection: reach it from inside a unit.
    await lite.write(lambda uow: driver(uow).set_trace_callback(said.append))
    said.clear()
    commits = lite.commits
    await asyncio.gather(*(lite.write(note, i) for i in range(50)))
    words = [statement.split()[0].upper() for statement in said]
    groups = lite.commits - commits
    assert words.count("COMMIT") == words.count("BEGIN") == groups < 25
    assert words.count("SAVEPOINT") == words.count("RELEASE") == 50
    assert "ROLLBACK" not in words
    # Nothing happens outside the transactions.
    depth = 0
    for word in words:
        depth += (word == "BEGIN") - (word == "COMMIT")
        assert depth == 1 or word == "COMMIT"


async def test_a_commit_that_the_driver_makes_by_itself_would_be_seen(lite: Store) -> None:
    def released(uow: Uow) -> bool:
        note(uow, 1)
        driver(uow).execute("SAVEPOINT inner")
        driver(uow).execute("RELEASE inner")
        return bool(driver(uow).in_transaction)

    assert await lite.write(released)


# -- failing ---------------------------------------------------------------------------------------------------------


async def test_a_failing_service_hurts_no_neighbour(store: Store) -> None:
    results = await asyncio.gather(
        *(store.write(fail if i % 3 == 1 else note, i) for i in range(30)), return_exceptions=True
    )
    assert [isinstance(one, Broken) for one in results] == [i % 3 == 1 for i in range(30)]
    assert await store.read(notes) == sorted(f"note:{i}" for i in range(30) if i % 3 != 1)
    assert await store.read(verify) == (20, ())


async def test_a_failing_service_wakes_nobody(store: Store) -> None:
    ear, other = store.subscribe("mailbox", 1), store.subscribe("mailbox", 2)
    with pytest.raises(Broken):
        await store.write(fail, 1)
    await store.write(note, 2)
    assert await other.wait(30)
    assert not await ear.wait(0)


async def test_an_unknown_database_error_reaches_its_caller_and_the_writer_lives(store: Store) -> None:
    def nonsense(uow: Uow) -> None:
        uow._connection.execute(text("SELECT :what"), {"what": object()})

    for _ in range(2):
        with pytest.raises(DBAPIError):
            await store.write(nonsense)
    assert await store.write(note, 3) == 3


async def test_a_service_that_ends_the_transaction_loses_its_group_only(lite: Store) -> None:
    def spoil(uow: Uow) -> None:
        note(uow, 1)
        driver(uow).execute("ROLLBACK")
        raise Broken

    with pytest.raises(Unavailable):
        await lite.write(spoil)
    await lite.write(note, 2)
    assert await lite.read(notes) == ["note:2"]
    assert await lite.read(verify) == (1, ())


async def test_a_bug_of_the_writer_itself_stops_nobody(lite: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise Broken

    with monkeypatch.context() as patched:
        patched.setattr(lite._writer, "_commit_group", broken)
        with pytest.raises(Broken):
            await lite.write(note, 1)
    await lite.write(note, 2)
    assert await lite.read(notes) == ["note:2"]


async def test_errors_hold_no_values(store: Store) -> None:
    await clinic_box(store, "someone")

    def again(uow: Uow) -> None:
        values = "VALUES ('someone@clinic.mssante.test', 'x', 'x', 'x', 'x', '', false, 1)"
        columns = "(address_key, local, domain, kind, state, display_name, red_list, created_at)"
        uow._connection.execute(text(f"INSERT INTO boxes {columns} {values}"))

    with pytest.raises(Conflict) as caught:
        await store.write(again)
    assert "someone" not in repr(caught.value)


def _fill(uow: Uow, octets: int) -> None:
    uow.objects.put(bytes(octets), NOW)
    note(uow, octets)


async def test_a_full_disk_is_unavailable_to_the_whole_group_and_loses_nothing(lite: Store) -> None:
    await lite.write(note, 1)

    def shrink(uow: Uow) -> None:
        driver(uow).execute("PRAGMA max_page_count=1")  # As small as it may be.

    def mend(uow: Uow) -> None:
        driver(uow).execute("PRAGMA max_page_count=1000000")

    await lite.write(shrink)
    results: list[Any] = []
    async with Held(lite) as hold:
        waiting = [asyncio.ensure_future(lite.write(_fill, 8000 + i)) for i in range(20)]
        await asyncio.sleep(0)
        hold.let_go()
        results = await asyncio.gather(*waiting, return_exceptions=True)
    assert any(isinstance(one, Unavailable) for one in results)
    assert {type(one) for one in results} <= {Unavailable, type(None)}
    there = await lite.read(notes)
    kept = {f"note:{8000 + i}" for i, one in enumerate(results) if one is None}
    assert set(there) == kept | {"note:1"}
    await lite.write(mend)
    await lite.write(note, 2)
    count, broken = await lite.read(verify)
    assert (count, broken) == (len(kept) + 2, ())


async def test_a_locked_store_is_unavailable_to_all_who_wait(
    sqlite_config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "_BUSY_TIMEOUT_MS", 50)
    store = Store(sqlite_config)
    await store.start()
    path = sqlite_path(sqlite_config.sqlite_url(sqlite_config.store.url))
    with closing(sqlite3.connect(path, isolation_level=None)) as stranger:
        stranger.execute("BEGIN IMMEDIATE")
        results = await asyncio.gather(*(store.write(note, i) for i in range(40)), return_exceptions=True)
        assert {type(one) for one in results} == {Unavailable}
        assert await store.read(notes) == []
        stranger.execute("ROLLBACK")
    assert await store.write(note, 1) == 1
    await store.close()


async def test_a_store_that_is_locked_when_it_is_opened_is_written_to_later(
    sqlite_config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "_BUSY_TIMEOUT_MS", 20)
    path = sqlite_path(sqlite_config.sqlite_url(sqlite_config.store.url))
    with closing(sqlite3.connect(path, isolation_level=None)) as stranger:
        # Readers are shut out too: not even a connection can be made ready.
        stranger.execute("PRAGMA locking_mode=EXCLUSIVE")
        stranger.execute("BEGIN IMMEDIATE")
        stranger.execute("UPDATE leases SET until = until")
        stranger.execute("COMMIT")
        store = Store(sqlite_config)
        await store.start()
        for attempt in (store.write(note, 1), store.read(notes), store.fit()):
            with pytest.raises(Unavailable, match="holds its file locked"):
                await attempt
    assert await store.write(note, 1) == 1
    assert (await store.fit()).may_run
    await store.close()


@pytest.mark.postgres
async def test_a_locked_table_is_unavailable(
    postgres_database: str, sqlite_config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "_BUSY_TIMEOUT_MS", 50)
    settings = replace(sqlite_config.store, url=postgres_database, writers=1)
    store = Store(replace(sqlite_config, store=settings))
    await store.start()
    stranger = engines.open_engine(postgres_database, connections=1)
    with stranger.connect() as connection, connection.begin():
        connection.execute(text("LOCK TABLE journal"))
        with pytest.raises(Unavailable):
            await store.write(note, 1)
    stranger.dispose()
    assert await store.write(note, 2) == 2
    assert (await store.read(verify))[1] == ()
    await store.close()


# -- back-pressure ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("more", "refused"), [(-1, 0), (0, 0), (1, 1), (5, 5)])
async def test_too_many_waiting_units_are_unavailable(config: Config, more: int, refused: int) -> None:
    settings = replace(config.store, writers=1)
    limits = replace(config.limits, write_queue_max=10)
    store = Store(replace(config, store=settings, limits=limits))
    await store.start()
    async with Held(store) as hold:
        waiting = [asyncio.ensure_future(store.write(note, i)) for i in range(10 + more)]
        await asyncio.sleep(0)
        hold.let_go()
        results = await asyncio.gather(*waiting, return_exceptions=True)
    assert sum(isinstance(one, Unavailable) for one in results) == refused
    assert len(await store.read(notes)) == 10 + more - refused
    await store.close()


async def test_a_unit_that_waited_too_long_is_unavailable_and_never_begins(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mss.store.store._BEGIN_WITHIN_S", 0.1)
    store = Store(replace(config, store=replace(config.store, writers=1)))
    await store.start()
    async with Held(store) as hold:
        for octets in (1, 300_000):  # The larger one has a file aside, which must go.
            with pytest.raises(Unavailable, match="busy for too long"):
                await store.write(keep, Laden(bytes(octets)))
        hold.let_go()
    assert await store.write(note, 3) == 3
    assert await store.read(notes) == ["note:3"]
    if not engines.is_sqlite(store._url):
        await store.sweep_files(-1)  # A server may commit what nobody heard of: its files wait for the sweep.
    assert [path for path in config.path(config.store.blobs_dir).rglob("*") if path.is_file()] == []
    await store.close()


async def test_a_unit_that_has_begun_is_waited_for(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mss.store.store._BEGIN_WITHIN_S", 0.05)
    store = Store(config)
    await store.start()

    def slow(uow: Uow) -> int:
        time.sleep(0.3)
        return note(uow, 1)

    assert await store.write(slow) == 1
    await store.close()


# -- retries, callers who go away, the end ---------------------------------------------------------------------------


@pytest.mark.parametrize(("conflicts", "succeeds"), [(0, True), (1, True), (2, False)])
async def test_a_conflict_is_tried_once_more(store: Store, conflicts: int, succeeds: bool) -> None:
    tries: list[int] = []

    def meeting(uow: Uow) -> str:
        tries.append(1)
        note(uow, len(tries))
        if len(tries) <= conflicts:
            raise Conflict("met")
        return "done"

    if succeeds:
        assert await store.write(meeting) == "done"
    else:
        with pytest.raises(Conflict):
            await store.write(meeting)
    assert len(tries) == min(conflicts + 1, 2)
    assert await store.read(notes) == ([f"note:{conflicts + 1}"] if succeeds else [])


async def test_a_unit_comes_to_its_end_when_its_caller_goes_away(store: Store) -> None:
    begun, free = threading.Event(), threading.Event()

    def slow(uow: Uow) -> None:
        begun.set()
        free.wait(10)
        note(uow, 7)

    task = asyncio.ensure_future(store.write(slow))
    await asyncio.to_thread(begun.wait, 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    free.set()
    await store.write(note, 8)
    ear = store.subscribe("mailbox", 0)
    for _ in range(100):
        if len(await store.read(notes)) == 2:
            break
        await ear.wait(0.05)
    assert await store.read(notes) == ["note:7", "note:8"]


async def test_close_finishes_what_waits(config: Config) -> None:
    store = Store(config)
    await store.start()
    waiting = [asyncio.ensure_future(store.write(note, i)) for i in range(50)]
    await asyncio.sleep(0)
    await store.close()
    assert await asyncio.gather(*waiting) == list(range(50))
    again = Store(config)
    assert len(await again.read(notes)) == 50
    await again.close()


async def test_a_closed_store_says_so_instead_of_waiting(config: Config) -> None:
    store = Store(config)
    await store.start()
    await store.close()
    await store.close()
    with pytest.raises(Unavailable):
        await asyncio.wait_for(store.write(note, 1), 30)
    with pytest.raises(Unavailable):
        await asyncio.wait_for(store.read(notes), 5)


# -- readers ---------------------------------------------------------------------------------------------------------


async def test_a_reader_sees_one_snapshot(store: Store) -> None:
    first, go = threading.Event(), threading.Event()

    def twice(uow: Uow) -> tuple[list[str], list[str]]:
        before = notes(uow)
        first.set()
        go.wait(10)
        return before, notes(uow)

    await store.write(note, 1)
    reading = asyncio.ensure_future(store.read(twice))
    await asyncio.to_thread(first.wait, 10)
    await store.write(note, 2)
    go.set()
    assert await reading == (["note:1"], ["note:1"])
    assert await store.read(notes) == ["note:1", "note:2"]


async def test_a_reader_cannot_write(store: Store) -> None:
    box = await clinic_box(store)
    with pytest.raises(TypeError, match="journal"):
        await store.read(note, 1)
    with pytest.raises(Unavailable):
        await store.read(lambda uow: uow.mailboxes.create(box.id, "Sneaky", "", NOW))
    names = await store.read(lambda uow: [one.name for one in uow.mailboxes.all_of(box.id)])
    assert "Sneaky" not in names
    assert INBOX in names


async def test_readers_go_on_while_a_unit_is_written(store: Store) -> None:
    async with Held(store):
        assert await asyncio.gather(*(store.read(notes) for _ in range(10))) == [[]] * 10


def test_services_never_await() -> None:
    root = Path(__file__).parents[2] / "mss"
    forbidden = (ast.AsyncFunctionDef, ast.Await, ast.AsyncFor, ast.AsyncWith)
    files = sorted((root / "services").glob("*.py"))
    assert len(files) > 5
    for file in files:
        tree = ast.parse(file.read_text())
        assert not [node for node in ast.walk(tree) if isinstance(node, forbidden)], file.name


async def test_a_service_that_would_await_is_a_bug(store: Store) -> None:
    async def awaiting(uow: Uow) -> None:
        note(uow, 1)

    with pytest.raises(TypeError, match="await"):
        await store.write(awaiting)  # type: ignore[unused-coroutine]
    assert await store.read(notes) == []


@pytest.mark.postgres
async def test_a_server_that_goes_away_in_the_middle_is_unavailable_and_costs_nothing_else(
    postgres_database: str, sqlite_config: Config
) -> None:
    settings = replace(sqlite_config.store, url=postgres_database, writers=1)
    store = Store(replace(sqlite_config, store=settings))
    await store.start()
    await store.write(note, 1)

    def cut(uow: Uow) -> None:
        note(uow, 2)
        uow._connection.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))

    with pytest.raises(Unavailable):
        await store.write(cut)
    await store.write(note, 3)
    assert await store.read(notes) == ["note:1", "note:3"]
    assert await store.read(verify) == (2, ())
    writers = await store.read(lambda uow: {one.writer for one in uow.journal.newest(9)})
    assert len(writers) == 2, "nobody knows how the last commit of the old chain ended: a new one begins"
    await store.close()
