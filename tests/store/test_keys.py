"""Owners' keys: made once, shared by all workers, never the operator's own dropped; files that are not there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mss.config import Config
from mss.errors import Conflict, Unavailable
from mss.store.files import FileStore
from mss.store.keys import OPERATOR, KeyMissing, KeyRing, make_master_key, read_master_key
from mss.store.store import Store, Uow
from tests.store.store_world import NOW, later


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
    name = files.put(b"octets")
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
