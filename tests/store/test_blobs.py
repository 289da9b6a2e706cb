"""Octets aside: one contract for our own files and for a bucket; what a bucket that goes away and comes back costs."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import obstore
import pytest
from obstore.exceptions import BaseError

from mss.config import Config
from mss.errors import Misconfigured, Unavailable
from mss.store import buckets
from mss.store.blobs import Blobs, open_blobs, try_place
from mss.store.buckets import BucketStore
from mss.store.crypto import SEGMENT_OCTETS, Damaged
from mss.store.store import Store, Uow
from tests.store.store_world import NOW
from tests.support import ceph, s3

ALICE, LARGE = 101, 300_000
PLACES = [
    pytest.param("file"),
    pytest.param("moto", marks=pytest.mark.journey),
    pytest.param("ceph", marks=[pytest.mark.soak, pytest.mark.timeout(600)]),
]


@dataclass(frozen=True)
class Octets:
    value: bytes

    def heavy(self) -> tuple[bytes, ...]:
        return (self.value,)


def keep(uow: Uow, octets: Octets, *, fail: bool = False) -> int:
    uow.sealing.create_owner(ALICE, NOW)
    stored = uow.objects.put(octets.value, NOW)
    uow.objects.hold(ALICE, stored)
    if fail:
        raise ValueError("the unit fails after all")
    return stored.id


def get(uow: Uow, object_id: int, start: int = 0, end: int | None = None) -> bytes:
    return uow.objects.get(ALICE, object_id, start, end)


@pytest.fixture(scope="session")
def moto_server() -> Iterator[s3.Server]:
    with s3.moto() as server:
        yield server


@pytest.fixture(scope="session")
def ceph_server() -> Iterator[s3.Server]:
    with ceph.running() as server:
        yield server


@dataclass(frozen=True)
class Place:
    """A configuration, and what a stranger sees of its octets aside."""

    config: Config
    seen: Callable[[], dict[str, bytes]]


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest, sqlite_config: Config, tmp_path: Path) -> Place:
    """A fresh operator whose octets aside are in files, or in a fresh bucket."""
    if request.param == "file":
        folder = sqlite_config.path(sqlite_config.store.blobs_dir)
        return Place(sqlite_config, lambda: {p.name: p.read_bytes() for p in folder.rglob("*") if p.is_file()})
    server: s3.Server = request.getfixturevalue(f"{request.param}_server")
    bucket = server.create()
    config = s3.config_of(sqlite_config, server.settings(tmp_path, bucket, "mss/octets"))

    def seen() -> dict[str, bytes]:
        keys = server.keys(bucket)
        assert all(key.startswith("mss/octets/") for key in keys)
        return {key.rpartition("/")[2]: server.octets(bucket, key) for key in keys}

    return Place(config, seen)


@pytest.fixture
def blobs(place: Place) -> Blobs:
    return open_blobs(place.config)


@pytest.fixture
async def store(place: Place) -> AsyncIterator[Store]:
    opened = Store(place.config)
    await opened.start()
    yield opened
    await opened.close()


# -- the contract ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 5_000_000])
def test_what_was_put_comes_back(blobs: Blobs, place: Place, size: int) -> None:
    octets = os.urandom(size)
    name = blobs.put((octets[: size // 3], octets[size // 3 :]))
    assert blobs.get(name, 0, size) == octets
    assert place.seen() == {name: octets}
    assert blobs.well


def test_a_range_is_a_range(blobs: Blobs) -> None:
    octets = os.urandom(1000)
    name = blobs.put((octets,))
    pairs = [(0, 1), (0, 0), (10, 20), (999, 1000), (990, 5000), (1000, 1001), (2000, 3000), (7, 7)]
    assert {pair: blobs.get(name, *pair) for pair in pairs} == {pair: octets[slice(*pair)] for pair in pairs}
    assert blobs.well


def test_what_is_not_there_cannot_be_read_and_can_be_removed(blobs: Blobs, place: Place) -> None:
    name = blobs.put((b"octets",))
    blobs.delete(name)
    blobs.delete(name)
    assert place.seen() == {}
    with pytest.raises(Unavailable):
        blobs.get(name, 0, 6)
    assert blobs.well


def test_only_what_is_old_enough_is_named(blobs: Blobs) -> None:
    names = {blobs.put((b"%d" % number,)) for number in range(7)}
    assert set(blobs.older_than(3600)) == set()
    assert set(blobs.older_than(-3600)) == names


def test_a_place_can_be_tried(blobs: Blobs, place: Place) -> None:
    try_place(blobs)
    assert place.seen() == {}


async def test_letters_are_whole_sealed_and_stored_once(store: Store, place: Place) -> None:
    octets = b"a word that stands in a letter " * (LARGE // 31)
    first = await store.write(keep, Octets(octets))
    assert await store.write(keep, Octets(octets)) == first
    assert await store.read(get, first) == octets
    start = SEGMENT_OCTETS * 2 + 5
    assert await store.read(get, first, start, start + 9) == octets[start : start + 9]
    [sealed] = place.seen().values()
    assert b"a word" not in sealed
    assert len(sealed) > len(octets)


async def test_a_unit_that_fails_leaves_nothing_aside(store: Store, place: Place) -> None:
    with pytest.raises(ValueError):
        await store.write(keep, Octets(os.urandom(LARGE)), fail=True)
    assert place.seen() == {}


async def test_only_old_orphans_are_swept(store: Store, place: Place) -> None:
    object_id = await store.write(keep, Octets(os.urandom(LARGE)))
    named = set(place.seen())
    orphans = {store._shared.files.put((b"orphan",)) for _ in range(3)}
    assert await store.sweep_files(3600) == 0
    assert set(place.seen()) == named | orphans
    assert await store.sweep_files(-3600) == 3
    assert set(place.seen()) == named
    assert len(await store.read(get, object_id)) == LARGE


async def test_octets_that_were_changed_aside_are_never_given_out(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    object_id = await store.write(keep, Octets(os.urandom(LARGE)))
    whole = store._shared.files.get
    monkeypatch.setattr(type(store._shared.files), "get", lambda _, *where: whole(*where)[::-1])
    with pytest.raises(Damaged):
        await store.read(get, object_id)


# -- a bucket that goes away -----------------------------------------------------------------------------------------


@pytest.mark.journey
async def test_a_bucket_that_is_away_defers_what_needs_it_and_comes_back_without_hands(
    sqlite_config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(buckets, "_REST_S", 0.05)
    with s3.moto() as server:
        bucket = server.create()
        port = int(server.endpoint.rpartition(":")[2])
        config = s3.config_of(sqlite_config, server.settings(tmp_path, bucket))
        store = Store(config)
        await store.start()
        await store.write(keep, Octets(os.urandom(LARGE)))
    for _ in range(3):
        with pytest.raises(Unavailable):
            await store.write(keep, Octets(os.urandom(LARGE)))
    assert store.blobs_well is False
    await store.write(keep, Octets(b"a letter that needs no bucket"))
    with s3.moto(port) as server:
        server.client.create_bucket(Bucket=bucket)  # moto forgets.
        object_id = await _until_it_is_back(store, Octets(os.urandom(LARGE)))
        assert _is_well(store)
        assert len(await store.read(get, object_id)) == LARGE
        await store.close()
    said = capfd.readouterr().err
    assert (said.count("blobs.away"), said.count("blobs.back")) == (1, 1)
    assert server.secret_key not in said


def _is_well(store: Store) -> bool:
    return store.blobs_well


async def _until_it_is_back(store: Store, octets: Octets) -> int:
    for _ in range(1000):
        try:
            return await store.write(keep, octets)
        except Unavailable:
            continue
    raise AssertionError("the bucket is back, and nobody saw it")


def test_a_bucket_at_rest_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    now, asked = [0.0], []

    def put(*_: object, **__: object) -> None:
        asked.append(now[0])
        if len(asked) == 1:
            raise BaseError("a text that nobody may see")

    monkeypatch.setattr(obstore, "put", put)
    place = BucketStore(None, lambda: now[0])  # type: ignore[arg-type]
    for instant in (0.0, 1.0, 1.99, 2.0, 3.0):
        now[0] = instant
        if instant in (0.0, 1.0, 1.99):
            with pytest.raises(Unavailable, match=r"^(?!.*nobody may see)"):
                place.put((b"x",))
        else:
            place.put((b"x",))
    assert asked == [0.0, 2.0, 3.0]
    assert place.well


@pytest.mark.journey
def test_a_bucket_that_does_not_exist_is_no_place(
    moto_server: s3.Server, sqlite_config: Config, tmp_path: Path
) -> None:
    place = open_blobs(s3.config_of(sqlite_config, moto_server.settings(tmp_path, "no-such-bucket")))
    with pytest.raises(Unavailable):
        place.put((b"x",))
    assert not place.well


@pytest.mark.journey
def test_a_process_that_used_a_bucket_ends_well(moto_server: s3.Server, tmp_path: Path) -> None:
    """The library aborted at the end of processes that had used its asynchronous calls."""
    bucket = moto_server.create()
    where = moto_server.settings(tmp_path, bucket)
    code = (
        "import sys, pathlib; from mss.config import *; from mss.store.blobs import *\n"
        "p = pathlib.Path(sys.argv[3])\n"
        "s = StoreConfig(blobs=sys.argv[1], s3_endpoint=sys.argv[2], s3_access_key_file=p / 's3_access_key_file.txt',"
        " s3_secret_key_file=p / 's3_secret_key_file.txt')\n"
        "try_place(open_blobs(Config(OperatorConfig('a', 'b'), (), store=s)))"
    )
    command = [sys.executable, "-c", code, where["blobs"], where["s3_endpoint"], str(tmp_path)]
    codes = [subprocess.run(command, check=False, timeout=60).returncode for _ in range(5)]
    assert codes == [0] * 5


# -- what cannot be opened -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["", "ftp://x", "s3:/x", "files"])
def test_a_place_that_is_none_stops_the_start(sqlite_config: Config, where: str) -> None:
    config = replace(sqlite_config, store=replace(sqlite_config.store, blobs=where))
    with pytest.raises(Misconfigured, match=r"\[store\] blobs"):
        open_blobs(config)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"blobs": "s3://"}, "names no bucket"),
        ({"s3_access_key_file": None}, "s3_access_key_file must name"),
        ({"s3_secret_key_file": Path("absent")}, "s3_secret_key_file cannot be read"),
        ({"s3_secret_key_file": Path("empty")}, "s3_secret_key_file is empty"),
        ({"s3_access_key_file": Path("octets")}, "s3_access_key_file cannot be read"),
    ],
)
def test_a_bucket_without_its_keys_stops_the_start(
    sqlite_config: Config, tmp_path: Path, changed: dict[str, object], said: str
) -> None:
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "octets").write_bytes(b"\xff\xfe")
    settings = s3.Server("http://127.0.0.1:9").settings(tmp_path, "octets") | changed
    with pytest.raises(Misconfigured, match=said):
        open_blobs(s3.config_of(sqlite_config, settings))
