"""Octets: kept whole, sealed, once, in ranges; what was changed on disk is never given out."""

from __future__ import annotations

import asyncio
import hashlib
import os
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable, Collection, Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text

from mss.config import Config
from mss.errors import Unavailable
from mss.store import crypto
from mss.store import store as stores
from mss.store.crypto import SEGMENT_OCTETS, Damaged
from mss.store.engine import sqlite_path
from mss.store.files import FileStore
from mss.store.keys import KeyMissing
from mss.store.objects import Forms, Staged
from mss.store.store import Store, Uow
from tests.store.store_world import NOW, driver

ALICE, BOB = 101, 102
INLINE_MAX = 8 * 1024


@dataclass(frozen=True)
class Octets:
    """Octets that are written aside before their unit when they are large."""

    value: bytes

    def heavy(self) -> tuple[bytes, ...]:
        return (self.value,)


def keep(uow: Uow, box_id: int, octets: Octets | bytes, forms: Forms | None = None) -> int:
    uow.sealing.create_owner(box_id, NOW)
    stored = uow.objects.put(octets.value if isinstance(octets, Octets) else octets, NOW)
    uow.objects.hold(box_id, stored, forms)
    return stored.id


def get(uow: Uow, box_id: int, object_id: int, start: int = 0, end: int | None = None) -> bytes:
    return uow.objects.get(box_id, object_id, start, end)


def files_of(config: Config) -> list[Path]:
    return sorted(path for path in config.path(config.store.blobs_dir).rglob("*") if path.is_file())


def rows(uow: Uow, sql: str) -> list[Any]:
    return list(uow._connection.execute(text(sql)))


def change(uow: Uow, sql: str, values: dict[str, Any]) -> None:
    uow._connection.execute(text(sql), values)


@pytest.fixture
async def lite(sqlite_config: Config) -> AsyncIterator[Store]:
    store = Store(sqlite_config)
    await store.start()
    yield store
    await store.close()


# -- where they stand ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, INLINE_MAX - 1, INLINE_MAX, INLINE_MAX + 1, SEGMENT_OCTETS * 2 + 5])
async def test_octets_come_back_whole(store: Store, config: Config, size: int) -> None:
    octets = os.urandom(size)
    object_id = await store.write(keep, ALICE, Octets(octets))
    assert await store.read(get, ALICE, object_id) == octets
    assert await store.read(lambda uow: uow.objects.size(ALICE, object_id)) == size
    [(file, inline)] = await store.read(rows, "SELECT file, octets FROM objects")
    aside = size > INLINE_MAX
    assert (file is not None, inline is None, len(files_of(config))) == (aside, aside, int(aside))


SIZE = SEGMENT_OCTETS * 3 + 17
EDGES = [0, 1, SEGMENT_OCTETS - 1, SEGMENT_OCTETS, SEGMENT_OCTETS + 1, 2 * SEGMENT_OCTETS, SIZE - 1, SIZE, SIZE + 9]


@pytest.mark.parametrize("inline", [True, False])
async def test_ranges_cross_segments(store: Store, monkeypatch: pytest.MonkeyPatch, inline: bool) -> None:
    if inline:
        object.__setattr__(store._shared, "inline_max_octets", SIZE)
    octets = os.urandom(SIZE)
    object_id = await store.write(keep, ALICE, Octets(octets))

    def all_ranges(uow: Uow) -> list[tuple[int, int]]:
        pairs = [(start, end) for start in EDGES for end in EDGES]
        return [pair for pair in pairs if uow.objects.get(ALICE, object_id, *pair) != octets[slice(*pair)]]

    assert await store.read(all_ranges) == []


@given(st.binary(max_size=300), st.data())
def test_any_range_opens_from_the_segments_that_it_needs(octets: bytes, data: st.DataObject) -> None:
    patched = 16
    before, crypto.SEGMENT_OCTETS = crypto.SEGMENT_OCTETS, patched
    try:
        key = crypto.new_key()
        sealed = crypto.seal_octets(key, octets)
        start = data.draw(st.integers(0, max(0, len(octets) - 1)))
        end = data.draw(st.integers(min(start + 1, len(octets)), len(octets)))
        first, sealed_start, sealed_end = crypto.sealed_range(len(octets), start, end)
        plain = crypto.open_segments(key, sealed[sealed_start:sealed_end], len(octets), first)
        assert plain[start - first * patched : end - first * patched] == octets[start:end]
        assert sealed_end - sealed_start <= (end - start) + 2 * (patched + 16) + 16
    finally:
        crypto.SEGMENT_OCTETS = before


# -- once ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [100, INLINE_MAX + 100])
async def test_equal_octets_are_stored_once_and_held_by_each(store: Store, config: Config, size: int) -> None:
    octets = os.urandom(size)
    first = await store.write(keep, ALICE, Octets(octets))
    second = await store.write(keep, BOB, Octets(octets))
    assert first == second
    assert await store.read(get, BOB, second) == octets
    assert len(files_of(config)) == (size > INLINE_MAX)
    assert len(await store.read(rows, "SELECT * FROM holdings")) == 2


async def test_the_digest_tells_nothing_outside(store: Store) -> None:
    octets = b"a well known letter"
    await store.write(keep, ALICE, octets)
    [(digest,)] = await store.read(rows, "SELECT digest FROM objects")
    assert bytes(digest) not in (hashlib.sha256(octets).digest(), hashlib.blake2b(octets, digest_size=32).digest())
    assert bytes(digest) == await store.read(lambda uow: uow.objects.digest(octets))


async def test_only_holders_read(store: Store) -> None:
    object_id = await store.write(keep, ALICE, b"mine")
    await store.write(keep, BOB, b"another")
    with pytest.raises(Damaged):
        await store.read(get, BOB, object_id)
    assert await store.read(lambda uow: uow.objects.holds(BOB, object_id)) is False
    await store.write(lambda uow: uow.objects.hold_too(BOB, ALICE, object_id))
    assert await store.read(get, BOB, object_id) == b"mine"


async def test_forms_are_kept_for_each_holder_and_filled_in_later(store: Store) -> None:
    forms = Forms(b'("env")', b'("text" "plain")', "Bonjour")
    object_id = await store.write(keep, ALICE, b"letter")
    assert await store.read(lambda uow: uow.objects.forms(ALICE, object_id)) is None
    await store.write(keep, ALICE, b"letter", forms)
    await store.write(keep, BOB, b"letter", Forms(b"other", b"", ""))
    assert await store.read(lambda uow: uow.objects.forms(ALICE, object_id)) == forms
    opener = await store.read(lambda uow: uow.objects.opener(ALICE))
    sealed = "SELECT envelope, bodystructure FROM holdings WHERE box_id = 101"
    [(envelope, structure)] = await store.read(rows, sealed)
    assert opener.envelope(object_id, bytes(envelope)) == forms.envelope
    assert opener.bodystructure(object_id, bytes(structure)) == forms.bodystructure


async def test_what_nobody_holds_any_more_begins_anew(store: Store) -> None:
    object_id = await store.write(keep, ALICE, b"letter")
    await store.write(change, "DELETE FROM holdings", {})
    assert await store.write(keep, BOB, b"letter") == object_id
    assert await store.read(get, BOB, object_id) == b"letter"


# -- files -----------------------------------------------------------------------------------------------------------


class Refused(Exception):
    """A service that fails after it put its octets."""


def keep_and_fail(uow: Uow, octets: Octets) -> None:
    keep(uow, ALICE, octets)
    raise Refused


async def test_a_failed_unit_leaves_no_file(store: Store, config: Config) -> None:
    with pytest.raises(Refused):
        await store.write(keep_and_fail, Octets(os.urandom(INLINE_MAX + 1)))
    assert files_of(config) == []


async def test_a_failed_unit_leaves_no_file_that_it_wrote_itself(store: Store, config: Config) -> None:
    def inside(uow: Uow) -> None:
        keep_and_fail(uow, Octets(bytes(INLINE_MAX + 1)))

    with pytest.raises(Refused):
        await store.write(inside)
    assert files_of(config) == []


async def test_a_failed_unit_leaves_the_file_of_a_letter_that_was_there(store: Store, config: Config) -> None:
    octets = Octets(os.urandom(INLINE_MAX + 1))
    object_id = await store.write(keep, ALICE, octets)
    with pytest.raises(Refused):
        await store.write(keep_and_fail, octets)
    assert len(files_of(config)) == 1
    assert await store.read(get, ALICE, object_id) == octets.value


async def test_equal_large_octets_at_once_leave_one_file(store: Store, config: Config) -> None:
    octets = Octets(os.urandom(INLINE_MAX + 1))
    ids = await asyncio.gather(*(store.write(keep, ALICE, octets) for _ in range(6)))
    assert len(set(ids)) == 1
    assert len(files_of(config)) == 1
    assert await store.read(get, ALICE, ids[0]) == octets.value


async def test_what_a_committed_row_names_is_not_asked_about_again(
    store: Store, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []
    drop = store._drop_unnamed

    def noted(files: Collection[str]) -> int:
        asked.append(files)
        return drop(files)

    monkeypatch.setattr(store, "_drop_unnamed", noted)
    octets = Octets(bytes(INLINE_MAX + 1))
    await store.write(keep, ALICE, octets)
    assert asked == []
    # The same once more: its file is not named, and goes.
    await store.write(keep, ALICE, octets)
    assert len(asked) == len(files_of(config)) == 1

    def forget(uow: Uow, value: Octets) -> None:
        uow.objects.forget(uow.objects.put(value.value, NOW))

    await store.write(forget, Octets(bytes(INLINE_MAX + 2)))
    assert len(asked) == 2
    assert len(files_of(config)) == 1


async def test_a_file_outlives_the_caller_whose_unit_names_it(store: Store, config: Config) -> None:
    octets = Octets(os.urandom(INLINE_MAX + 1))
    begun, free = threading.Event(), threading.Event()

    def slow(uow: Uow, value: Octets) -> None:
        begun.set()
        free.wait(10)
        keep(uow, ALICE, value)

    task = asyncio.ensure_future(store.write(slow, octets))
    await asyncio.to_thread(begun.wait, 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.sleep(0)
    assert len(files_of(config)) == 1
    free.set()
    while store._tasks:
        await asyncio.gather(*store._tasks)
    [(object_id,)] = await store.read(rows, "SELECT id FROM objects")
    assert await store.read(get, ALICE, object_id) == octets.value


async def test_a_file_is_flushed_and_named_before_its_row_is_committed(
    lite: Store, sqlite_config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Content, then name, then directories (new ones in their parents too), and only then the commit."""
    said: list[str] = []
    fsync, link = os.fsync, os.link

    def noted_fsync(descriptor: int) -> None:
        path = os.readlink(f"/proc/self/fd/{descriptor}")
        said.append(f"fsync {'directory' if Path(path).is_dir() else 'file'} {Path(path).name[:2]}")
        fsync(descriptor)

    def noted_link(source: Any, target: Any) -> None:
        said.append("link")
        link(source, target)

    await lite.write(lambda uow: driver(uow).set_trace_callback(lambda sql: said.append(sql.split()[0])))
    said.clear()
    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(os, "link", noted_link)
    await lite.write(keep, ALICE, Octets(bytes(INLINE_MAX + 1)))
    [file] = files_of(sqlite_config)
    where = file.name[:2]
    parents = [one for one in said if one.startswith("fsync directory") and one != f"fsync directory {where}"]
    assert parents, "the new directory was not flushed in its parent"
    order = [said.index("fsync file ." + where[:1]), said.index("link"), said.index(f"fsync directory {where}")]
    order += [said.index("BEGIN"), said.index("COMMIT")]
    assert order == sorted(order)
    assert not list(file.parent.glob(".*"))


def test_a_disk_that_refuses_a_file_is_unavailable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(Unavailable, match="No space left"):
        FileStore(tmp_path / "blobs").put((b"octets",))
    assert [path for path in (tmp_path / "blobs").rglob("*") if path.is_file()] == []


async def test_a_disk_that_refuses_the_second_file_leaves_not_the_first(
    store: Store, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    @dataclass(frozen=True)
    class Two:
        def heavy(self) -> tuple[bytes, ...]:
            return (bytes(INLINE_MAX + 1), bytes(INLINE_MAX + 2))

    put, calls = FileStore.put, []

    def once(self: FileStore, pieces: Iterable[bytes]) -> str:
        calls.append(1)
        if len(calls) > 1:
            raise Unavailable("full")
        return put(self, pieces)

    def never(uow: Uow, two: Two) -> None:
        raise AssertionError

    monkeypatch.setattr(FileStore, "put", once)
    with pytest.raises(Unavailable):
        await store.write(never, Two())
    assert len(calls) == 2
    assert files_of(config) == []


async def test_the_sweep_takes_old_orphans_and_nothing_else(store: Store, config: Config) -> None:
    octets = Octets(os.urandom(INLINE_MAX + 1))
    object_id = await store.write(keep, ALICE, octets)
    orphan = store._shared.files.put((b"orphan",))
    half = config.path(config.store.blobs_dir) / orphan[:2] / ".half.new"
    half.write_bytes(b"half")
    assert await store.sweep_files(3600) == 0
    assert len(files_of(config)) == 3
    assert await store.sweep_files(-1) == 1
    assert len(files_of(config)) == 1
    assert await store.read(get, ALICE, object_id) == octets.value


# -- tampering -------------------------------------------------------------------------------------------------------


def _flip(octets: bytes, position: int) -> bytes:
    return octets[:position] + bytes([octets[position] ^ 1]) + octets[position + 1 :]


LARGE = SEGMENT_OCTETS * 2 + 100
STEP = SEGMENT_OCTETS + 16
TAMPERINGS: dict[str, Callable[[bytes], bytes]] = {
    "first octet": lambda sealed: _flip(sealed, 0),
    "last octet": lambda sealed: _flip(sealed, len(sealed) - 1),
    "middle": lambda sealed: _flip(sealed, STEP + 7),
    "cut by one": lambda sealed: sealed[:-1],
    "cut at a segment": lambda sealed: sealed[: 2 * STEP],
    "cut to one segment": lambda sealed: sealed[:STEP],
    "emptied": lambda sealed: b"",
    "swapped": lambda sealed: sealed[STEP : 2 * STEP] + sealed[:STEP] + sealed[2 * STEP :],
    "doubled": lambda sealed: sealed[:STEP] + sealed[:STEP] + sealed[2 * STEP :],
}


@pytest.mark.parametrize("what", sorted(TAMPERINGS))
async def test_a_changed_file_is_damaged(store: Store, config: Config, what: str) -> None:
    object_id = await store.write(keep, ALICE, Octets(os.urandom(LARGE)))
    [file] = files_of(config)
    file.write_bytes(TAMPERINGS[what](file.read_bytes()))
    with pytest.raises(Damaged):
        await store.read(get, ALICE, object_id)


@pytest.mark.parametrize("what", sorted(TAMPERINGS))
async def test_a_changed_row_is_damaged(store: Store, what: str) -> None:
    object.__setattr__(store._shared, "inline_max_octets", LARGE)
    object_id = await store.write(keep, ALICE, os.urandom(LARGE))
    [(sealed,)] = await store.read(rows, "SELECT octets FROM objects")
    await store.write(change, "UPDATE objects SET octets = :octets", {"octets": TAMPERINGS[what](bytes(sealed))})
    with pytest.raises(Damaged):
        await store.read(get, ALICE, object_id)


async def test_objects_cannot_stand_for_one_another(store: Store) -> None:
    one, two = [await store.write(keep, ALICE, octets) for octets in (b"first letter", b"other letter")]
    sealed = {row[0]: row[1] for row in await store.read(rows, "SELECT id, octets FROM objects")}
    await store.write(change, "UPDATE objects SET octets = :octets WHERE id = :id", {"octets": sealed[one], "id": two})
    with pytest.raises(Damaged):
        await store.read(get, ALICE, two)
    keys = {row[0]: row[1] for row in await store.read(rows, "SELECT object_id, content_key FROM holdings")}
    swap = "UPDATE holdings SET content_key = :key WHERE object_id = :id"
    await store.write(change, swap, {"key": bytes(keys[one]), "id": two})
    with pytest.raises(Damaged):
        await store.read(get, ALICE, two)


@pytest.mark.parametrize("size", [11, 13, SEGMENT_OCTETS + 12])
async def test_another_size_is_damaged(store: Store, size: int) -> None:
    object_id = await store.write(keep, ALICE, b"twelve octet")
    await store.write(change, "UPDATE objects SET size = :size", {"size": size})
    with pytest.raises(Damaged):
        await store.read(get, ALICE, object_id)


async def test_a_sealed_value_opens_for_its_purpose_and_owner_only(store: Store) -> None:
    def seal(uow: Uow) -> bytes:
        for box_id in (ALICE, BOB):
            uow.sealing.create_owner(box_id, NOW)
        return uow.sealing.seal_text(ALICE, "secret", b"name")

    def unseal(uow: Uow, owner: int, octets: bytes, purpose: bytes) -> str:
        return uow.sealing.unseal_text(owner, octets, purpose)

    sealed = await store.write(seal)
    assert await store.read(unseal, ALICE, sealed, b"name") == "secret"
    for owner, purpose, octets in ((BOB, b"name", sealed), (ALICE, b"traits", sealed), (ALICE, b"name", sealed[:-1])):
        with pytest.raises(Damaged):
            await store.read(unseal, owner, octets, purpose)


# -- keys ------------------------------------------------------------------------------------------------------------


async def test_dropping_an_owners_key_erases_that_owners_copy_only(config: Config) -> None:
    store = Store(config)
    await store.start()
    object_id = await store.write(keep, ALICE, b"shared letter", Forms(b"env", b"structure"))
    await store.write(keep, BOB, b"shared letter")
    store._shared.keys.drop(ALICE)
    with pytest.raises(KeyMissing):
        await store.read(get, ALICE, object_id)
    with pytest.raises(KeyMissing):
        await store.read(lambda uow: uow.objects.forms(ALICE, object_id))
    assert await store.read(get, BOB, object_id) == b"shared letter"
    await store.close()
    again = Store(config)
    with pytest.raises(KeyMissing):
        await again.read(get, ALICE, object_id)
    assert await again.read(get, BOB, object_id) == b"shared letter"
    await again.close()


async def test_the_master_key_alone_opens_nothing_of_a_dropped_owner(lite: Store, sqlite_config: Config) -> None:
    object_id = await lite.write(keep, ALICE, b"gone")
    lite._shared.keys.drop(ALICE)
    with closing(sqlite3.connect(sqlite_path(sqlite_config.sqlite_url(sqlite_config.store.keys_url)))) as keys:
        assert keys.execute("SELECT count(*) FROM owner_keys WHERE owner_id = ?", (ALICE,)).fetchone() == (0,)
    await lite.write(lambda uow: uow.sealing.create_owner(ALICE, NOW))
    with pytest.raises(Damaged):
        await lite.read(get, ALICE, object_id)


@dataclass(frozen=True)
class Many:
    """Octets of several letters."""

    all: tuple[bytes, ...]

    def heavy(self) -> tuple[bytes, ...]:
        return self.all


def put_all(uow: Uow, many: Many) -> tuple[int, ...]:
    return tuple(uow.objects.put(octets, NOW).id for octets in many.all)


@pytest.mark.parametrize(("more", "at_once"), [(-1, True), (0, True), (1, False)])
async def test_many_octets_are_sealed_off_the_loop(
    store: Store, monkeypatch: pytest.MonkeyPatch, more: int, at_once: bool
) -> None:
    """What is sealed before the unit is what the unit writes."""
    sealed, where = store._sealed, []

    def noted(octets: bytes) -> Staged:
        where.append(threading.get_ident() == loop)
        return sealed(octets)

    loop = threading.get_ident()
    monkeypatch.setattr(store, "_sealed", noted)
    monkeypatch.setattr(stores, "_SEALED_AT_ONCE_MAX_OCTETS", 300)
    many = Many((b"a" * 100, b"b" * 100, b"c" * (100 + more)))
    assert len(set(await store.write(put_all, many))) == 3
    assert where == [at_once] * 3
    assert await store.write(put_all, many) == await store.write(put_all, many)
