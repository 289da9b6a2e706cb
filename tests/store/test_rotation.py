"""A new master key: everything opens after a cut at any instant, and when it is done the old one opens nothing."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from mss.config import Config
from mss.errors import Conflict, Malformed, Misconfigured
from mss.services import accounts
from mss.store import crypto, keycopies, rotation, schema
from mss.store.engine import open_engine
from mss.store.keys import OPERATOR, KeyMissing, KeyRing
from mss.store.masters import MasterFiles, fingerprint, make_master_key, read_master_key
from mss.store.nodes import Nodes, Running, program
from mss.store.store import Store, key_ring
from tests.store.store_world import NOW, clinic_box, patient_box

MANY = range(1000, 1000 + 2 * rotation.SLICE + 7)


class Cut(BaseException):
    """The process is gone."""


@pytest.fixture
async def lite(sqlite_config: Config) -> AsyncIterator[Store]:
    store = Store(sqlite_config)
    await store.start()
    yield store
    await store.close()


@pytest.fixture
def files(sqlite_config: Config) -> MasterFiles:
    return MasterFiles(sqlite_config.path(sqlite_config.store.master_key_file))


def ring(config: Config) -> KeyRing:
    return key_ring(config, open_engine(config.sqlite_url(config.store.keys_url), connections=1))


def all_keys(config: Config, owners: list[int]) -> list[bytes]:
    keys = ring(config)
    return [keys.digest_key, *map(keys.key, owners)]


def test_a_new_master_key_opens_what_the_old_one_did_and_the_old_one_nothing(
    sqlite_config: Config, files: MasterFiles
) -> None:
    keys = ring(sqlite_config)
    owners = [OPERATOR, *MANY]
    before = [keys.digest_key, *(keys.create(owner, NOW) for owner in owners)]
    old, told = read_master_key(files.path), list[tuple[int, int]]()
    done = rotation.rotate(sqlite_config, NOW, lambda *counts: told.append(counts))
    assert done.keys == len(MANY) + 3
    assert told[-1] == (done.keys, done.keys)
    assert done.before != done.after
    assert not files.under_way()
    assert all_keys(sqlite_config, owners) == before
    with pytest.raises(crypto.Damaged):
        KeyRing(old, keys._engine).key(MANY[0])


async def test_workers_serve_on_while_the_master_key_changes(lite: Store, sqlite_config: Config) -> None:
    other = Store(sqlite_config)
    boxes = [await clinic_box(lite, f"doctor{n}") for n in range(3)]
    master_before = read_master_key(sqlite_config.path(sqlite_config.store.master_key_file))
    _, new = await asyncio.gather(
        asyncio.to_thread(rotation.rotate, sqlite_config, NOW),
        asyncio.gather(
            *(clinic_box(one, f"{name}{n}") for n in range(10) for one, name in ((lite, "here"), (other, "there")))
        ),
    )
    # Both have the old master key only, and an opened key of nobody.
    for store in (lite, other):
        for box in boxes:
            store._shared.keys.forget(box.id)
    late = [await clinic_box(store, f"late{n}") for n, store in enumerate((lite, other))]
    fresh = Store(sqlite_config)
    for store in (lite, other, fresh):
        for box in (*boxes, *new, *late):
            assert (await store.read(accounts.box_by_id, box.id, NOW)) == box
    assert fresh._shared.keys.digest_key == lite._shared.keys.digest_key
    only_old = KeyRing(master_before, fresh._key_engine)
    for box in (*boxes, *new, *late):
        with pytest.raises(crypto.Damaged):
            only_old.key(box.id)
    await other.close()
    await fresh.close()


@pytest.mark.parametrize(
    ("form", "release", "seconds", "refused"),
    [
        (schema.HEAD, program(), 0, False),
        ("0030", program(), 59, True),
        ("0030", program(), 60, False),
        (schema.HEAD, "0.0.9", 0, True),
    ],
)
async def test_no_master_key_changes_while_a_program_of_another_release_lives(
    lite: Store, sqlite_config: Config, files: MasterFiles, form: str, release: str, seconds: int, refused: bool
) -> None:
    seen = NOW - timedelta(seconds=seconds)
    await lite.write(lambda uow: uow.nodes.seen(Running("w1", "node-2", release, form, "mx", seen, seen)))
    before = read_master_key(files.path)
    if not refused:
        assert rotation.rotate(sqlite_config, NOW).after != fingerprint(before)
        return
    with pytest.raises(Conflict, match="another release runs on node-2"):
        rotation.rotate(sqlite_config, NOW)
    assert read_master_key(files.path) == before
    assert not files.under_way()


async def test_the_old_master_key_stays_when_an_old_program_began_meanwhile(
    lite: Store, sqlite_config: Config, files: MasterFiles
) -> None:
    await clinic_box(lite)
    old = Running("w1", "node-2", "0.0.9", "0030", "mx", NOW, NOW)

    def begin(_done: int, _total: int) -> None:
        engine = open_engine(sqlite_config.sqlite_url(sqlite_config.store.url), connections=1)
        with engine.begin() as connection:
            Nodes(connection).seen(old)
        engine.dispose()

    with pytest.raises(Conflict, match="node-2"):
        rotation.rotate(sqlite_config, NOW, begin)
    assert files.under_way()
    await lite.write(lambda uow: uow.nodes.gone("w1"))
    rotation.rotate(sqlite_config, NOW)
    assert not files.under_way()


def _cut_at(monkeypatch: pytest.MonkeyPatch, number: int) -> Callable[[], int]:
    """Let the process end at so manieth step that touches the disk; returns how many there were."""
    steps = 0

    def counted(real: Callable[..., Any]) -> Callable[..., Any]:
        def step(*args: Any, **more: Any) -> Any:
            nonlocal steps
            steps += 1
            if steps == number:
                raise Cut
            return real(*args, **more)

        return step

    for name in ("open", "fsync", "link", "replace", "unlink"):
        monkeypatch.setattr(os, name, counted(getattr(os, name)))
    monkeypatch.setattr(rotation, "_wrap", counted(rotation._wrap))
    return lambda: steps


@pytest.mark.parametrize("again", [0, 3])
def test_a_cut_at_any_instant_loses_nothing_and_the_next_run_finishes(
    sqlite_config: Config, files: MasterFiles, monkeypatch: pytest.MonkeyPatch, again: int
) -> None:
    keys = ring(sqlite_config)
    owners = [OPERATOR, *MANY[::8]]
    before = [keys.digest_key, *(keys.create(owner, NOW) for owner in owners)]
    first, cuts = read_master_key(files.path), 0
    for number in range(1, 60):
        with monkeypatch.context() as patched:
            count = _cut_at(patched, number)
            try:
                rotation.rotate(sqlite_config, NOW)
            except Cut:
                cuts += 1
            reached = count()
        assert all_keys(sqlite_config, owners) == before, number
        if again and number % again == 0:
            rotation.rotate(sqlite_config, NOW)
            assert not files.under_way()
        if reached < number:
            break
    assert cuts >= 6
    rotation.rotate(sqlite_config, NOW)
    assert not files.under_way()
    assert read_master_key(files.path) != first
    assert all_keys(sqlite_config, owners) == before


def test_a_key_dropped_meanwhile_stays_dropped(sqlite_config: Config) -> None:
    keys = ring(sqlite_config)
    for owner in MANY:
        keys.create(owner, NOW)
    rotation.rotate(sqlite_config, NOW, lambda done, total: keys.drop(MANY[done % len(MANY)]))
    with pytest.raises(KeyMissing):
        ring(sqlite_config).key(MANY[rotation.SLICE])


def test_one_rotation_at_a_time(sqlite_config: Config) -> None:
    def again(done: int, total: int) -> None:
        rotation.rotate(sqlite_config, NOW)

    with pytest.raises(Conflict):
        rotation.rotate(sqlite_config, NOW, again)


def test_a_prepared_key_is_the_one_that_is_taken(sqlite_config: Config) -> None:
    mark = rotation.prepare(sqlite_config)
    assert rotation.prepare(sqlite_config) == mark
    assert rotation.state(sqlite_config).under_way
    assert rotation.rotate(sqlite_config, NOW).after == mark
    assert rotation.state(sqlite_config).fingerprint == mark


async def test_a_copy_of_the_keys_brings_them_back_but_not_the_master_key(
    lite: Store, sqlite_config: Config, files: MasterFiles, tmp_path: Path
) -> None:
    boxes = [await patient_box(lite), await clinic_box(lite)]
    await lite.close()
    copy = tmp_path / "keys.copy"
    assert keycopies.copy(sqlite_config, copy) == 5
    assert copy.stat().st_mode & 0o777 == 0o600
    assert files.path.read_bytes().strip() not in copy.read_bytes()
    with pytest.raises(Conflict):
        keycopies.copy(sqlite_config, copy)
    with pytest.raises(Conflict):
        keycopies.restore(sqlite_config, copy)
    for file in sqlite_config.root.glob("keys/keys.sqlite*"):
        file.unlink()
    assert keycopies.restore(sqlite_config, copy) == 5
    again = Store(sqlite_config)
    for box in boxes:
        assert (await again.read(accounts.box_by_id, box.id, NOW)) == box
    await again.close()


@pytest.mark.parametrize("keep", [0, 1, 2, 4])
def test_a_copy_that_is_cut_off_is_refused_whole(sqlite_config: Config, tmp_path: Path, keep: int) -> None:
    ring(sqlite_config).create(7, NOW)
    copy = tmp_path / "keys.copy"
    count = keycopies.copy(sqlite_config, copy)
    ring(sqlite_config).drop(7)
    copy.write_text("".join(copy.read_text().splitlines(keepends=True)[: min(keep, count)]))
    with pytest.raises(Malformed):
        keycopies.restore(sqlite_config, copy)
    assert ring(sqlite_config).key(OPERATOR)


def test_keys_that_no_master_key_opens_are_named(sqlite_config: Config, files: MasterFiles) -> None:
    files.path.unlink()
    make_master_key(files.path)
    with pytest.raises(crypto.Damaged):
        ring(sqlite_config).key(OPERATOR)
    with pytest.raises(crypto.Damaged):
        rotation.rotate(sqlite_config, NOW)
    files.path.write_text("short")
    with pytest.raises(Misconfigured):
        rotation.state(sqlite_config)
