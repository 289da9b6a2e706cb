"""Owners' keys: made once, shared by all workers, never the operator's own dropped; files that are not there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import event

from mss.config import Config
from mss.errors import Conflict, Unavailable
from mss.services import accounts
from mss.store.files import FileStore
from mss.store.keys import OPERATOR, KeyMissing, KeyRing, make_master_key, read_master_key
from mss.store.store import Store, Uow
from tests.store.store_world import NOW, clinic_box, later


@pytest.fixture
async def lite(sqlite_config: Config) -> AsyncIterator[Store]:
    store = Store(sqlite_config)
    await store.start()
    yield store
    await store.close()


def recognise(uow: Uow, number: int, receipt: str, hour: int) -> str | None:
    return uow.queue.recognise(bytes([number]) * 32, receipt, later(hours=hour))


async def test_workers_who_make_a_key_at_once_make_one(lite: Store, sqlite_config: Config) -> None:
    master = read_master_key(sqlite_config.path(sqlite_config.store.master_key_file))
    workers = [KeyRing(master, lite._key_engine) for _ in range(4)]
    keys = await asyncio.gather(*(asyncio.to_thread(one.create, 7, NOW) for one in workers))
    assert len(set(keys)) == 1
    assert KeyRing(master, lite._key_engine).key(7) == keys[0]
    assert workers[0].create(7, later(days=1)) == keys[0]
    assert workers[0].create(8, NOW) != keys[0]


async def test_the_operators_own_key_stays(lite: Store) -> None:
    keys = lite._shared.keys
    before = keys.key(OPERATOR)
    with pytest.raises(Conflict):
        keys.drop(OPERATOR)
    assert keys.key(OPERATOR) == before


@pytest.mark.parametrize(("age_s", "opens"), [(299, True), (300, False), (301, False)])
async def test_a_key_that_another_worker_dropped_is_not_used_for_long(
    lite: Store, sqlite_config: Config, age_s: int, opens: bool
) -> None:
    seconds = 1000.0
    master = read_master_key(sqlite_config.path(sqlite_config.store.master_key_file))
    ring = KeyRing(master, lite._key_engine, lambda: seconds)
    key = ring.create(7, NOW)
    lite._shared.keys.drop(7)
    seconds += age_s
    if opens:
        assert ring.key(7) == key
        return
    for _ in range(2):
        with pytest.raises(KeyMissing):
            ring.key(7)


async def test_a_key_is_looked_up_once_in_a_while(lite: Store, sqlite_config: Config) -> None:
    now = [0.0]
    master = read_master_key(sqlite_config.path(sqlite_config.store.master_key_file))
    ring = KeyRing(master, lite._key_engine, lambda: now[0])
    asked: list[str] = []
    event.listen(lite._key_engine, "before_cursor_execute", lambda *given: asked.append(given[2]))
    ring.create(7, NOW)
    asked.clear()
    for seconds in (0, 299, 300, 599, 600, 601):
        now[0] = seconds
        ring.key(7)
    assert sum(one.startswith("SELECT") for one in asked) == 2


async def test_the_other_workers_hear_that_a_key_was_dropped(lite: Store, sqlite_config: Config) -> None:
    box = await clinic_box(lite)
    other = Store(sqlite_config)
    await other.start()
    assert (await other.read(accounts.box_by_id, box.id, NOW)) == box
    heard = asyncio.Event()
    forget = other._shared.keys.forget

    def noted(owner_id: int) -> None:
        forget(owner_id)
        heard.set()

    other._wakeups.call("key-dropped", noted)
    await lite.drop_key(box.id)
    async with asyncio.timeout(30):
        await heard.wait()
    for store in (lite, other):
        with pytest.raises(KeyMissing):
            await store.read(accounts.box_by_id, box.id, NOW)
    with pytest.raises(Conflict):
        await lite.drop_key(OPERATOR)
    await other.close()


async def test_a_key_that_was_never_made_is_missing(lite: Store) -> None:
    with pytest.raises(KeyMissing):
        lite._shared.keys.key(999)


def test_a_master_key_is_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "master.key"
    make_master_key(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert len(read_master_key(path)) == 32


def test_a_file_that_is_not_there_is_unavailable_and_may_be_deleted_again(tmp_path: Path) -> None:
    files = FileStore(tmp_path / "blobs")
    name = files.put((b"oct", b"ets"))
    assert files.get(name, 2, 4) == b"te"
    assert (tmp_path / "blobs" / name[:2] / name).stat().st_mode & 0o777 == 0o600
    files.delete(name)
    files.delete(name)
    with pytest.raises(Unavailable):
        files.get(name, 0, 1)


async def test_arrivals_are_forgotten_when_their_time_is_over(store: Store) -> None:
    for number in range(4):
        assert await store.write(recognise, number, f"r{number}", number) is None
    assert await store.write(lambda uow: uow.queue.forget_arrivals(later(hours=2), 9)) == 2
    again = [await store.write(recognise, number, "new", 9) for number in range(4)]
    assert again == [None, None, "r2", "r3"]
