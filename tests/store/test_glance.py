"""Reads at once: they see what was committed, on one snapshot, and give way to the pool when the file is locked."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing
from dataclasses import replace
from datetime import datetime
from typing import cast

import pytest

from mss.config import Config
from mss.errors import Unavailable
from mss.model.account import Box
from mss.model.address import Address, parse_domain
from mss.store import Uow
from mss.store.engine import sqlite_path
from mss.store.glance import Busy, Glances
from mss.store.store import Store
from mss.store.unit import Shared
from tests.store.store_world import clinic_box, later


def find(uow: Uow, address: Address, now: datetime) -> Box | None:
    return uow.accounts.box_by_address(address)


def thread_of(uow: Uow, now: datetime) -> int:
    return threading.get_ident()


async def test_a_glance_sees_what_was_committed(store: Store) -> None:
    assert (
        await store.glance(find, Address("doctor", (await clinic_box(store, "other")).address.domain), later()) is None
    )
    box = await clinic_box(store)
    assert await store.glance(find, box.address, later()) == box


def broken(uow: Uow, now: datetime) -> None:
    raise sqlite3.DatabaseError("of the store")


@pytest.mark.parametrize("way", ["read", "glance"])
async def test_after_the_store_failed_it_is_opened_anew(sqlite_config: Config, way: str) -> None:
    store = Store(replace(sqlite_config, store=replace(sqlite_config.store, readers=1)))
    ask = getattr(store, way)
    connections = [await ask(connection_of, later())]
    for service, error in ((failing, KeyError), (broken, sqlite3.DatabaseError)):
        with pytest.raises(error):
            await ask(service, later())
        connections.append(await ask(connection_of, later()))
    assert connections[0] is connections[1]
    assert connections[1] is not connections[2]
    await store.close()


def connection_of(uow: Uow, now: datetime) -> object:
    return uow._connection


async def test_on_sqlite_it_runs_where_the_loop_runs(sqlite_config: Config) -> None:
    store = Store(sqlite_config)
    try:
        assert await store.glance(thread_of, later()) == threading.get_ident()
        assert await store.read(thread_of, later()) != threading.get_ident()
    finally:
        await store.close()


def failing(uow: Uow, now: datetime) -> None:
    uow.wake("queue")
    raise KeyError("of the service")


async def test_the_service_s_own_error_comes_through_and_the_next_glance_works(store: Store) -> None:
    box = await clinic_box(store)
    with pytest.raises(KeyError):
        await store.glance(failing, later())
    assert await store.glance(find, box.address, later()) == box


def statement_by_sqlalchemy(uow: Uow, now: datetime) -> int:
    return len(uow.accounts.all())


async def test_any_reading_service_may_glance(store: Store) -> None:
    for _ in range(3):
        assert await store.glance(statement_by_sqlalchemy, later()) == 0


def write(uow: Uow, now: datetime) -> None:
    uow.queue.recognise(b"d" * 32, "R", now)


async def test_a_glance_writes_nothing(sqlite_config: Config) -> None:
    store = Store(sqlite_config)
    try:
        # Refused at once here, and by the pool's own connection too.
        with pytest.raises(Unavailable):
            await store.glance(write, later())
    finally:
        await store.close()


async def test_a_locked_file_is_busy(sqlite_config: Config) -> None:
    url = sqlite_config.sqlite_url(sqlite_config.store.url)
    with closing(sqlite3.connect(sqlite_path(url), isolation_level=None)) as other:
        # In WAL mode readers are kept out only by whoever holds the whole file.
        other.execute("PRAGMA locking_mode=EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        glances = Glances(url, cast(Shared, None))
        with pytest.raises(Busy):
            glances.run(lambda uow: find(uow, Address("a", parse_domain("b.example")), later()))
        other.execute("ROLLBACK")
        glances.close()


async def test_what_is_busy_is_for_the_pool(sqlite_config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(sqlite_config)
    box = await clinic_box(store)

    def busy(_call: object) -> None:
        raise Busy

    monkeypatch.setattr(store._glances, "run", busy)
    assert await store.glance(find, box.address, later()) == box
    assert await store.glance(thread_of, later()) != threading.get_ident()
    await store.close()


async def test_after_the_end_there_is_no_glance(sqlite_config: Config) -> None:
    store = Store(sqlite_config)
    await store.glance(thread_of, later())
    await store.close()
    with pytest.raises(Unavailable):
        await store.glance(thread_of, later())
