"""A backup of a house that serves, brought back: the same letters, flags and counters; nothing of a dropped key."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mss.config import Config
from mss.errors import Conflict, Malformed
from mss.model.mailbox import INBOX
from mss.services import accounts, appending, mailbox
from mss.store import backup, check, crypto, keycopies, restore
from mss.store.keys import KeyMissing
from mss.store.repository import Repository
from mss.store.store import Store, Uow
from mss.store.tables import metadata
from tests.services.services_world import raw
from tests.store.store_world import NOW, clinic_box, config_in, patient_box

pytestmark = pytest.mark.slow

LARGE = b"Subject: large\r\n\r\n" + b"long line of a letter\r\n" * 6000


def append(uow: Uow, box_id: int, octets: bytes, flags: tuple[str, ...] = ()) -> None:
    appending.append(uow, mailbox.find(uow, box_id, INBOX, NOW).id, raw(octets), flags, None, "test", NOW)


def everything(uow: Uow) -> dict[str, list[tuple[Any, ...]]]:
    tables = [one for one in metadata.sorted_tables if one.name not in backup.LEFT_OUT]
    return {one.name: sorted(map(tuple, uow._connection.execute(one.select())), key=repr) for one in tables}


def letters(uow: Uow, box_id: int) -> list[bytes]:
    inbox = mailbox.find(uow, box_id, INBOX, NOW)
    rows = mailbox.rows(uow, inbox.id, ((1, 999),), mailbox.Columns.PLAIN, NOW)
    return [uow.objects.get(box_id, row.object_id) for row in rows]


@pytest.fixture
async def lived_in(store: Store) -> Store:
    """A store with a doctor and a patient who hold the same large letter, and some small ones each."""
    for box in (await clinic_box(store), await patient_box(store)):
        await store.write(append, box.id, LARGE, ("\\Seen", "Important"))
        for number in range(5):
            await store.write(append, box.id, b"Subject: %d\r\n\r\nto box %d\r\n" % (number, box.id))
    return store


def elsewhere(config: Config, folder: Path, url: str = "sqlite:///data/store.sqlite") -> Config:
    """Return an operator on another machine: an empty store, the keys of ours, no data."""
    (folder / "data").mkdir(parents=True)
    shutil.copytree(config.root / "keys", folder / "keys")
    return config_in(folder, url)


async def make(config: Config, folder: Path) -> backup.Made:
    return await asyncio.to_thread(backup.make, config, folder, NOW)


async def bring(config: Config, folder: Path, name: str = "") -> restore.Restored:
    return await asyncio.to_thread(restore.restore, config, folder, name)


async def test_what_is_brought_back_is_what_was(lived_in: Store, config: Config, tmp_path: Path) -> None:
    made = await make(config, tmp_path / "safe")
    before = await lived_in.read(everything)
    other = elsewhere(config, tmp_path / "other")
    brought = await bring(other, tmp_path / "safe")
    assert (brought.name, brought.rows, brought.files) == (made.name, made.rows, made.files)
    again = Store(other)
    after = await again.read(everything)
    assert {name: len(rows) for name, rows in after.items()} == {name: len(rows) for name, rows in before.items()}
    assert after == before
    assert [one async for one in check.check(again, octets=True, repair=False)] == []
    # Counters go on where they were.
    box = await clinic_box(again, "next")
    assert box.id == 3
    await again.close()


@pytest.mark.postgres
async def test_a_backup_goes_from_one_engine_to_the_other(
    sqlite_config: Config, postgres_server: Any, tmp_path: Path
) -> None:
    lite = Store(sqlite_config)
    for box in (await clinic_box(lite), await patient_box(lite)):
        await lite.write(append, box.id, LARGE, ("\\Seen",))
    await make(sqlite_config, tmp_path / "safe")
    url = postgres_server.url(postgres_server.create())
    there = elsewhere(sqlite_config, tmp_path / "pg", url)
    await bring(there, tmp_path / "safe")
    server = Store(there)
    assert await server.read(letters, 1) == [LARGE]
    assert (await clinic_box(server, "next")).id == 3
    await make(there, tmp_path / "back")
    await server.close()
    back = elsewhere(there, tmp_path / "lite")
    await bring(back, tmp_path / "back")
    again = Store(back)
    assert await again.read(letters, 2) == [LARGE]
    assert [one async for one in check.check(again, octets=True, repair=False)] == []
    await again.close()
    await lite.close()


async def test_the_keys_are_in_no_backup_and_nothing_plain_is(lived_in: Store, config: Config, tmp_path: Path) -> None:
    await make(config, tmp_path / "safe")
    written = b"".join(path.read_bytes() for path in (tmp_path / "safe").rglob("*") if path.is_file())
    for plain in (b"doctor", b"clinic.mssante", b"279035121518989", b"PAT-TROIS", b"long line of a letter", b"INBOX"):
        assert plain not in written
    master = config.path(config.store.master_key_file).read_bytes().strip()
    assert master not in written
    keys = lived_in._shared.keys
    for owner in (0, 1, 2, -1, -2):
        assert keys.key(owner) not in written
        wrapped = keys._wrapped(owner)
        assert wrapped is not None
        assert wrapped not in written


async def test_a_dropped_key_erases_its_box_from_every_backup_and_nobody_elses_copy(
    lived_in: Store, config: Config, tmp_path: Path
) -> None:
    await make(config, tmp_path / "safe")
    doctor, patient = 1, 2
    await lived_in.drop_key(patient)
    other = elsewhere(config, tmp_path / "other")
    await bring(other, tmp_path / "safe")
    again = Store(other)
    assert (await again.read(letters, doctor))[0] == LARGE
    with pytest.raises(KeyMissing):
        await again.read(letters, patient)
    with pytest.raises(KeyMissing):
        await again.read(accounts.box_by_id, patient, NOW)
    found = [one.finding async for one in check.check(again, octets=True, repair=False)]
    assert [(one.kind, one.where) for one in found] == [("key-dropped", f"box:{patient}")]
    await again.close()


async def test_a_backup_of_one_instant_while_letters_come(lived_in: Store, config: Config, tmp_path: Path) -> None:
    stop = asyncio.Event()

    async def busy() -> int:
        number = 0
        while not stop.is_set():
            await lived_in.write(append, 1, b"Subject: busy %d\r\n\r\n" % number)
            number += 1
        return number

    writing = asyncio.create_task(busy())
    for _ in range(3):
        await make(config, tmp_path / "safe")
    stop.set()
    assert await writing > 0
    for number, name in enumerate(sorted(path.name for path in (tmp_path / "safe" / "snapshots").iterdir())):
        other = elsewhere(config, tmp_path / f"other{number}")
        await bring(other, tmp_path / "safe", name)
        again = Store(other)
        assert [one async for one in check.check(again, octets=True, repair=False)] == []
        await again.close()


async def test_a_second_backup_writes_only_what_changed(lived_in: Store, config: Config, tmp_path: Path) -> None:
    for number in range(300):
        await lived_in.write(append, 1, b"Subject: many %d\r\n\r\n" % number + b"x" * 6000)
    first = await make(config, tmp_path / "safe")
    assert (await make(config, tmp_path / "safe")).written == 0
    await lived_in.write(append, 1, b"Subject: one more\r\n\r\n")
    third = await make(config, tmp_path / "safe")
    assert third.rows > first.rows
    # The octets, the holding, the message, its mailbox, its change and the journal: a chunk of each, or two.
    assert 0 < third.written <= 10 < first.written


async def test_a_backup_cut_off_counts_for_nothing_and_is_gone_on_with(
    lived_in: Store, config: Config, tmp_path: Path
) -> None:
    def cut(done: int, total: int) -> None:
        if done > total // 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        backup.make(config, tmp_path / "safe", NOW, cut)
    opened = backup.open_repository(config, tmp_path / "safe")
    assert opened.snapshots() == ()
    with pytest.raises(Conflict):
        await bring(elsewhere(config, tmp_path / "other"), tmp_path / "safe")
    assert (await make(config, tmp_path / "safe")).rows
    assert len(opened.snapshots()) == 1


async def test_a_restore_cut_off_is_gone_on_with(lived_in: Store, config: Config, tmp_path: Path) -> None:
    first = await make(config, tmp_path / "safe")
    await lived_in.write(append, 1, b"Subject: later\r\n\r\n")
    second = await make(config, tmp_path / "safe")
    other = elsewhere(config, tmp_path / "other")
    for part in (0.1, 0.5, 0.9, 1.0):

        def cut(done: int, total: int, part: float = part) -> None:
            if done >= part * total:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            await asyncio.to_thread(restore.restore, other, tmp_path / "safe", second.name, cut)
    with pytest.raises(Conflict, match=second.name):
        await bring(other, tmp_path / "safe", first.name)
    await bring(other, tmp_path / "safe", second.name)
    again = Store(other)
    assert await again.read(everything) == await lived_in.read(everything)
    await again.close()
    with pytest.raises(Conflict):
        await bring(other, tmp_path / "safe", second.name)


async def test_a_store_that_serves_is_never_written_into(lived_in: Store, config: Config, tmp_path: Path) -> None:
    await make(config, tmp_path / "safe")
    with pytest.raises(Conflict):
        await bring(config, tmp_path / "safe")


def _other_end(octets: bytes) -> bytes:
    return octets[:-1] + bytes((octets[-1] ^ 1,))


async def test_a_backup_is_proven_by_bringing_it_back(lived_in: Store, config: Config, tmp_path: Path) -> None:
    await make(config, tmp_path / "safe")
    assert await asyncio.to_thread(restore.verify, config, tmp_path / "safe") == []
    assert {path.name for path in (tmp_path / "safe").iterdir()} == {"chunks", "octets", "snapshots", "form", "lock"}
    [file] = (path for path in (tmp_path / "safe" / "octets").rglob("*") if path.is_file())
    file.write_bytes(_other_end(file.read_bytes()))
    found = await asyncio.to_thread(restore.verify, config, tmp_path / "safe")
    assert [one.finding.kind for one in found] == ["octets-differ"]


@pytest.mark.parametrize("kind", ["chunks", "snapshots"])
@pytest.mark.parametrize("change", [lambda octets: octets[:-1], _other_end, lambda octets: b""])
async def test_a_changed_backup_is_refused(
    lived_in: Store, config: Config, tmp_path: Path, kind: str, change: Callable[[bytes], bytes]
) -> None:
    await make(config, tmp_path / "safe")
    file = next(path for path in (tmp_path / "safe" / kind).rglob("*") if path.is_file())
    file.write_bytes(change(file.read_bytes()))
    with pytest.raises(crypto.Damaged):
        await bring(elsewhere(config, tmp_path / "other"), tmp_path / "safe")


async def test_old_backups_are_forgotten_with_what_only_they_named(
    lived_in: Store, config: Config, tmp_path: Path
) -> None:
    names = [(await make(config, tmp_path / "safe")).name]
    for number in range(2):
        await lived_in.write(append, 1, b"Subject: later %d\r\n\r\n" % number)
        names.append((await make(config, tmp_path / "safe")).name)
    opened = backup.open_repository(config, tmp_path / "safe")
    with opened.writing():
        assert opened.forget(1) > 0
    assert opened.snapshots() == (max(names),)
    assert await asyncio.to_thread(restore.verify, config, tmp_path / "safe") == []


async def test_one_backup_at_a_time_in_one_folder(lived_in: Store, config: Config, tmp_path: Path) -> None:
    with backup.open_repository(config, tmp_path / "safe").writing(), pytest.raises(Conflict):
        await make(config, tmp_path / "safe")


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "form").write_text("else")
    with pytest.raises(Malformed), Repository(tmp_path, bytes(32)).writing():
        pass
    with pytest.raises(Malformed):
        Repository(tmp_path / "none", bytes(32)).snapshots()


async def test_keys_and_data_from_their_two_safes_make_the_house_again(
    lived_in: Store, config: Config, tmp_path: Path
) -> None:
    await make(config, tmp_path / "safe")
    await asyncio.to_thread(keycopies.copy, config, tmp_path / "keys.copy")
    other = config_in(tmp_path / "other")
    (tmp_path / "other" / "keys").mkdir(parents=True)
    shutil.copy(config.path(config.store.master_key_file), other.path(other.store.master_key_file))
    await asyncio.to_thread(keycopies.restore, other, tmp_path / "keys.copy")
    await bring(replace(other, root=tmp_path / "other"), tmp_path / "safe")
    again = Store(other)
    assert (await again.read(letters, 2))[0] == LARGE
    await again.close()
