"""Wake-ups: hints after a commit, inside a process and between those on one machine; a lost one costs time only."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import psycopg
import pytest

from mss.config import Config
from mss.store.store import Store, Uow
from mss.store.wakeup import Wakeups
from tests.store.store_world import config_in, copy_template
from tests.support import postgres


def ring(uow: Uow, channel: str, *keys: int) -> None:
    for key in keys:
        uow.wake(channel, key)


@pytest.fixture
async def neighbour(config: Config, store: Store) -> AsyncIterator[Store]:
    """Another worker's store over the same rows."""
    opened = Store(config)
    await opened.start()
    yield opened
    await opened.close()


async def test_a_commit_wakes_those_who_listen_here(store: Store) -> None:
    ear, other, elsewhere = store.subscribe("mailbox", 4), store.subscribe("mailbox", 5), store.subscribe("queue")
    await store.write(ring, "mailbox", 4)
    assert await ear.wait(30)
    assert not await other.wait(0)
    assert not await elsewhere.wait(0)


async def test_a_commit_wakes_other_workers(store: Store, neighbour: Store) -> None:
    near, far, other = store.subscribe("queue"), neighbour.subscribe("queue"), neighbour.subscribe("mailbox", 4)
    await store.write(ring, "queue", 0)
    assert await near.wait(30)
    assert await far.wait(30)
    assert not await other.wait(0)
    await neighbour.write(ring, "mailbox", 4)
    assert await other.wait(30)


async def test_hints_during_work_are_kept(store: Store) -> None:
    ear = store.subscribe("queue")
    for _ in range(3):
        await store.write(ring, "queue", 0)
    assert await ear.wait(30)
    await store.write(ring, "queue", 0)
    assert await ear.wait(30)
    assert not await ear.wait(0)


async def test_who_stopped_listening_hears_nothing(store: Store) -> None:
    ear, left = store.subscribe("queue"), store.subscribe("queue")
    left.close()
    left.close()
    await store.write(ring, "queue", 0)
    assert await ear.wait(30)
    assert not await left.wait(0)
    assert list(store._wakeups._listeners) == [("queue", 0)]
    ear.close()
    assert store._wakeups._listeners == {}


async def test_a_store_that_was_never_started_still_tells_the_others(sqlite_config: Config) -> None:
    """The command line writes without listening: the servers hear of it."""
    server, command = Store(sqlite_config), Store(sqlite_config)
    await server.start()
    ear = server.subscribe("trust-list")
    await command.write(ring, "trust-list", 0)
    assert await ear.wait(30)
    await command.close()
    await server.close()


async def test_a_worker_that_died_is_forgotten(sqlite_config: Config) -> None:
    store = Store(sqlite_config)
    await store.start()
    folder = sqlite_config.path(sqlite_config.store.blobs_dir).parent / "wakeup"
    dead = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    dead.bind(str(folder / "1-dead.wake"))
    dead.close()
    (folder / "note.txt").write_text("no socket")
    ear = store.subscribe("queue")
    await store.write(ring, "queue", 0)
    assert await ear.wait(30)
    for _ in range(100):  # It is told here first, then there.
        if not (folder / "1-dead.wake").exists():
            break
        await ear.wait(0.02)
    assert not (folder / "1-dead.wake").exists()
    assert (folder / "note.txt").exists()
    await store.close()


async def test_a_folder_that_vanished_costs_nobody_a_commit(sqlite_config: Config) -> None:
    store = Store(sqlite_config)
    await store.start()
    folder = sqlite_config.path(sqlite_config.store.blobs_dir).parent / "wakeup"
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
    ear = store.subscribe("queue")
    await store.write(ring, "queue", 0)
    assert await ear.wait(30)
    await store.close()


async def test_more_wakes_than_a_datagram_holds_are_left_to_the_poll(sqlite_config: Config) -> None:
    store, neighbour = Store(sqlite_config), Store(sqlite_config)
    await neighbour.start()
    ears = [neighbour.subscribe("mailbox", key) for key in range(300)]
    await store.write(ring, "mailbox", *range(300))
    heard = await asyncio.gather(*(ear.wait(0.3) for ear in ears))
    assert sum(heard) == 200
    await store.close()
    await neighbour.close()


@pytest.mark.parametrize(
    "datagram", [b"", b"{", b"[1]", b'["queue"]', b'[["queue","x"]]', bytes(range(200, 200 + 40)), b"null"]
)
async def test_a_datagram_that_is_none_is_passed_over(tmp_path: Path, datagram: bytes) -> None:
    wakeups = Wakeups(tmp_path)
    wakeups.start()
    ear = wakeups.subscribe("queue", 0)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
        [address] = list(tmp_path.glob("*.wake"))
        out.sendto(datagram, str(address))
        out.sendto(json.dumps([["queue", 0]]).encode(), str(address))
    assert await ear.wait(30)
    wakeups.close()


async def test_wakeups_work_in_a_folder_deeper_than_a_socket_name(store_template: Path, tmp_path: Path) -> None:
    deep = tmp_path / "a-rather-long-name-of-a-folder-as-operators-like-them" / ("x" * 80)
    deep.mkdir(parents=True)
    assert len(str(deep)) > 107
    config = config_in(copy_template(store_template, deep))
    one, two = Store(config), Store(config)
    await one.start()
    await two.start()
    ear = two.subscribe("queue")
    await one.write(ring, "queue", 0)
    assert await ear.wait(30)
    await one.close()
    await two.close()
    assert list((deep / "data" / "wakeup").iterdir()) == []


async def test_publishing_after_the_end_is_quiet(tmp_path: Path) -> None:
    wakeups = Wakeups(tmp_path)
    wakeups.start()
    wakeups.close()
    wakeups.close()
    wakeups.publish([("queue", 0)])
    assert list(tmp_path.iterdir()) == []


# -- between nodes ---------------------------------------------------------------------------------------------------


@pytest.fixture
async def far_apart(store_template: Path, tmp_path: Path, postgres_database: str) -> AsyncIterator[tuple[Store, Store]]:
    """The stores of two nodes: one database, no folder in common."""
    stores = []
    for name in ("one", "two"):
        config = config_in(copy_template(store_template, tmp_path / name), postgres_database)
        stores.append(Store(config))
        await stores[-1].start()
    yield stores[0], stores[1]
    for opened in stores:
        await opened.close()


@pytest.mark.postgres
async def test_a_commit_wakes_other_nodes(far_apart: tuple[Store, Store]) -> None:
    one, two = far_apart
    ears = [two.subscribe("mailbox", key) for key in range(500)]
    await one.write(ring, "mailbox", *range(500))
    assert all(await asyncio.gather(*(ear.wait(30) for ear in ears)))
    assert not await two.subscribe("queue").wait(0)


@pytest.mark.postgres
async def test_a_node_whose_ear_was_cut_off_hears_again_and_wakes_everybody(
    far_apart: tuple[Store, Store], postgres_server: postgres.Server
) -> None:
    one, two = far_apart
    ear = two.subscribe("queue")
    await one.write(ring, "queue", 0)
    assert await ear.wait(30)
    cut = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE query LIKE 'LISTEN%%'"
    while not postgres_server.admin.execute(cut).fetchone()[0]:  # type: ignore[index]
        continue
    assert await ear.wait(30), "hints may have been missed: everybody is to look"
    await one.write(ring, "queue", 0)
    assert await ear.wait(30)


@pytest.mark.postgres
async def test_a_command_that_never_listened_tells_the_nodes(
    far_apart: tuple[Store, Store], store_template: Path, tmp_path: Path, postgres_database: str
) -> None:
    ear = far_apart[0].subscribe("trust-list")
    command = Store(config_in(copy_template(store_template, tmp_path / "command"), postgres_database))
    await command.write(ring, "trust-list", 0)
    await command.close()
    assert await ear.wait(30)


@pytest.mark.postgres
async def test_a_notice_that_is_none_is_passed_over(
    far_apart: tuple[Store, Store], postgres_database: str, postgres_server: postgres.Server
) -> None:
    ear = far_apart[0].subscribe("queue")
    stranger = psycopg.connect(
        host=str(postgres_server.folder), user="postgres", dbname=database_of(postgres_database), autocommit=True
    )
    with stranger:
        for payload in ("", "{", "[1]", '["x"]', '["x",[["queue","y"]]]', '["x",null]', '["x",[["queue",0]]]'):
            stranger.execute("SELECT pg_notify('mss', %s)", (payload,))
    assert await ear.wait(30)


def database_of(url: str) -> str:
    return url.partition("@/")[2].partition("?")[0]
