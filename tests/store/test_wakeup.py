"""Wake-ups: hints after a commit, inside a process and between those on one machine; a lost one costs time only."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mss.config import Config
from mss.store.store import Store, Uow
from mss.store.wakeup import Wakeups
from tests.store.store_world import config_in, copy_template


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
    assert await ear.wait(5)
    assert not await other.wait(0)
    assert not await elsewhere.wait(0)


async def test_a_commit_wakes_other_workers(store: Store, neighbour: Store) -> None:
    near, far, other = store.subscribe("queue"), neighbour.subscribe("queue"), neighbour.subscribe("mailbox", 4)
    await store.write(ring, "queue", 0)
    assert await near.wait(5)
    assert await far.wait(5)
    assert not await other.wait(0)
    await neighbour.write(ring, "mailbox", 4)
    assert await other.wait(5)


async def test_hints_during_work_are_kept(store: Store) -> None:
    ear = store.subscribe("queue")
    for _ in range(3):
        await store.write(ring, "queue", 0)
    assert await ear.wait(5)
    await store.write(ring, "queue", 0)
    assert await ear.wait(5)
    assert not await ear.wait(0)


async def test_who_stopped_listening_hears_nothing(store: Store) -> None:
    ear, left = store.subscribe("queue"), store.subscribe("queue")
    left.close()
    left.close()
    await store.write(ring, "queue", 0)
    assert await ear.wait(5)
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
    assert await ear.wait(5)
    await command.close()
    await server.close()


async def test_a_worker_that_died_is_forgotten(store: Store, config: Config) -> None:
    folder = config.path(config.store.blobs_dir).parent / "wakeup"
    dead = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    dead.bind(str(folder / "1-dead.wake"))
    dead.close()
    (folder / "note.txt").write_text("no socket")
    ear = store.subscribe("queue")
    await store.write(ring, "queue", 0)
    assert await ear.wait(5)
    for _ in range(100):  # It is told here first, then there.
        if not (folder / "1-dead.wake").exists():
            break
        await ear.wait(0.02)
    assert not (folder / "1-dead.wake").exists()
    assert (folder / "note.txt").exists()


async def test_a_folder_that_vanished_costs_nobody_a_commit(sqlite_config: Config) -> None:
    store = Store(sqlite_config)
    await store.start()
    folder = sqlite_config.path(sqlite_config.store.blobs_dir).parent / "wakeup"
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
    ear = store.subscribe("queue")
    await store.write(ring, "queue", 0)
    assert await ear.wait(5)
    await store.close()


async def test_more_wakes_than_a_datagram_holds_are_left_to_the_poll(store: Store, neighbour: Store) -> None:
    ears = [neighbour.subscribe("mailbox", key) for key in range(300)]
    await store.write(ring, "mailbox", *range(300))
    heard = await asyncio.gather(*(ear.wait(0.3) for ear in ears))
    assert sum(heard) == 200


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
    assert await ear.wait(5)
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
    assert await ear.wait(5)
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
