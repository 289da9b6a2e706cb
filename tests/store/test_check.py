"""The store looked over: a whole one has nothing wrong, every kind of damage is named, and what can be mended is."""

from __future__ import annotations

import os
import tracemalloc
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from mss.config import Config
from mss.model.mailbox import INBOX
from mss.services import appending, mailbox, undelete
from mss.store import check as checking
from mss.store.check import Checked
from mss.store.collection import BEGINNING
from mss.store.store import Store, Uow
from tests.services.services_world import raw
from tests.store.store_world import NOW, clinic_box, later

SMALL = b"Subject: small\r\n\r\nshort\r\n"
LARGE = b"Subject: large\r\n\r\n" + b"long line of a letter\r\n" * 6000


def run(uow: Uow, sql: str, /, **values: Any) -> Any:
    return uow._connection.execute(text(sql), values)


def append(uow: Uow, box_id: int, octets: bytes) -> int:
    """Put a letter into a box's INBOX; returns its object."""
    inbox = mailbox.find(uow, box_id, INBOX, NOW)
    appending.append(uow, inbox.id, raw(octets), (), None, "test", NOW)
    return int(run(uow, "SELECT max(object_id) FROM holdings WHERE box_id = :b", b=box_id).scalar_one())


async def look(store: Store, *, octets: bool = True, repair: bool = False) -> list[Checked]:
    return [one async for one in checking.check(store, octets=octets, repair=repair)]


async def kinds(store: Store, **more: bool) -> list[str]:
    return [one.finding.kind for one in await look(store, **more)]


@pytest.fixture
async def lived_in(store: Store) -> Store:
    """A store with two boxes that hold a small and a large letter each."""
    for name in ("doctor", "nurse"):
        box = await clinic_box(store, name)
        for octets in (SMALL, LARGE):
            await store.write(append, box.id, octets)
    return store


async def test_a_whole_store_has_nothing_wrong(lived_in: Store) -> None:
    told: list[tuple[str, int, int]] = []
    found = [one async for one in checking.check(lived_in, octets=True, repair=False, told=lambda *a: told.append(a))]
    assert found == []
    assert ("messages", 4, 4) in told
    assert ("objects", 2, 2) in told


def _flip(store: Store, config: Config) -> None:
    """Change an octet of the one file aside, its length kept."""
    [path] = (path for path in config.path(config.store.blobs_dir).rglob("*") if path.is_file())
    octets = bytearray(path.read_bytes())
    octets[1000] ^= 1
    path.chmod(0o600)
    path.write_bytes(octets)


def _cut(store: Store, config: Config) -> None:
    [path] = (path for path in config.path(config.store.blobs_dir).rglob("*") if path.is_file())
    os.truncate(path, 1000)


def _remove(store: Store, config: Config) -> None:
    [path] = (path for path in config.path(config.store.blobs_dir).rglob("*") if path.is_file())
    path.unlink()


@pytest.mark.parametrize(
    ("damage", "kind"), [(_flip, "octets-differ"), (_cut, "octets-cut"), (_remove, "octets-missing")]
)
async def test_damaged_octets_are_named(
    lived_in: Store, config: Config, damage: Callable[[Store, Config], None], kind: str
) -> None:
    damage(lived_in, config)
    assert await kinds(lived_in, repair=True) == [kind]
    assert await kinds(lived_in, octets=False) == ([] if kind == "octets-differ" else [kind])


DAMAGES = {
    "uidnext-behind": "UPDATE mailboxes SET uidnext = 1 WHERE name = 'INBOX'",
    "modseq-behind": "UPDATE mailboxes SET modseq = 1 WHERE name = 'INBOX'",
    "message-without-mailbox": "UPDATE messages SET mailbox_id = 9999 WHERE uid = 1 AND mailbox_id = "
    "(SELECT min(mailbox_id) FROM messages)",
    "holding-without-octets": "INSERT INTO holdings (box_id, object_id, content_key) SELECT box_id, 9999, content_key "
    "FROM holdings WHERE object_id = (SELECT min(object_id) FROM holdings)",
}


@pytest.mark.parametrize("kind", sorted(DAMAGES))
async def test_what_can_be_mended_is_mended_once(lived_in: Store, kind: str) -> None:
    await lived_in.write(run, DAMAGES[kind])
    found = await look(lived_in)
    assert {one.finding.kind for one in found} == {kind}
    assert not any(one.mended for one in found)
    assert all(one.mended for one in await look(lived_in, repair=True))
    assert await look(lived_in) == []
    assert not await lived_in.write(lambda uow: uow.inspection.mend(found[0].finding))


async def test_a_mended_mailbox_gives_out_new_uids(lived_in: Store) -> None:
    await lived_in.write(run, DAMAGES["uidnext-behind"])
    await look(lived_in, repair=True)
    rows = await lived_in.read(
        lambda uow: run(uow, "SELECT uidnext FROM mailboxes WHERE name = 'INBOX'").scalars().all()
    )
    assert rows == [3, 3]


NAMED = {
    "message-without-octets": "UPDATE messages SET object_id = 9999 WHERE uid = 1",
    "message-without-holding": "DELETE FROM holdings WHERE object_id = (SELECT min(object_id) FROM holdings)",
    "mailbox-without-box": "UPDATE mailboxes SET box_id = 9999 WHERE name = 'Junk' AND box_id = "
    "(SELECT min(box_id) FROM mailboxes)",
    "holding-does-not-open": "UPDATE holdings SET content_key = envelope WHERE object_id = "
    "(SELECT min(object_id) FROM holdings)",
    "journal-broken": "UPDATE journal SET rule = 'x' WHERE number = 1",
}


@pytest.mark.parametrize("kind", sorted(NAMED))
async def test_what_cannot_be_mended_is_named_and_stays_as_it_is(lived_in: Store, kind: str) -> None:
    await lived_in.write(run, NAMED[kind])
    found = await look(lived_in, repair=True)
    assert kind in {one.finding.kind for one in found}
    assert not any(one.mended for one in found if one.finding.kind == kind)
    assert await kinds(lived_in) == [one.finding.kind for one in found if not one.mended]


async def test_the_sums_of_several_boxes_conversations_are_each_ones_own(lived_in: Store) -> None:
    for number in range(3):
        box = await clinic_box(lived_in, f"other{number}")
        await lived_in.write(partial(_converse, box_id=box.id))
    assert await look(lived_in) == []


def _converse(uow: Uow, box_id: int) -> None:
    uow.conversations.create(box_id, "Subject", NOW)


async def test_wrong_sums_of_a_conversation_are_mended(lived_in: Store) -> None:
    box = await clinic_box(lived_in, "other")
    number = await lived_in.write(lambda uow: uow.conversations.create(box.id, "Subject", NOW))
    await lived_in.write(run, "UPDATE conversations SET letters = 3, unread = 2, has_attachment = true")
    [one] = await look(lived_in, repair=True)
    assert (one.finding.kind, one.finding.where, one.mended) == (
        "counts-wrong",
        f"box:{box.id} conversation:{number}",
        True,
    )
    assert await look(lived_in) == []


async def test_an_erased_box_is_said_once(lived_in: Store) -> None:
    box = await clinic_box(lived_in, "gone")
    await lived_in.write(append, box.id, SMALL)
    await lived_in.drop_key(box.id)
    assert await kinds(lived_in) == ["key-dropped"]


async def test_a_file_that_no_row_names_is_found_and_removed(lived_in: Store, config: Config) -> None:
    name = lived_in._shared.files.put((b"nobody's",))
    assert await look(lived_in, repair=True) == [], "a young file may belong to a unit that is about to name it"
    path = config.path(config.store.blobs_dir) / name[:2] / name
    os.utime(path, (0, 0))
    [one] = await look(lived_in)
    assert one.finding.kind == "file-without-row"
    assert path.exists()
    assert [one.mended for one in await look(lived_in, repair=True)] == [True]
    assert not path.exists()


async def test_slices_join(lived_in: Store) -> None:
    first = await lived_in.read(lambda uow: uow.inspection.look("holdings", None, 3))
    second = await lived_in.read(lambda uow: uow.inspection.look("holdings", first.after, 3))
    assert (first.rows, second.rows, second.after) == (3, 1, None)


@pytest.mark.slow
async def test_memory_stays_flat(sqlite_config: Config) -> None:
    store = Store(sqlite_config)
    box = await clinic_box(store)
    peaks = []
    for octets in (b"x" * 100_000, b"y" * 100_000):
        for number in range(40):
            await store.write(append, box.id, b"Subject: %d\r\n\r\n" % number + octets)
        tracemalloc.start()
        assert await look(store) == []
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.3 * peaks[0], peaks
    await store.close()


# -- collection ------------------------------------------------------------------------------------------------------


async def collect(store: Store, noted: Any, collected: Any) -> None:
    """Note at one instant and collect at another: holdings first, then octets."""
    grace = timedelta(days=1)
    await store.write(lambda uow: uow.collection.note_holdings(BEGINNING, 500, noted))
    await store.write(lambda uow: uow.collection.let_go(collected - grace, 500))
    await store.write(lambda uow: uow.collection.note_objects(0, 500, noted))
    await store.collect(collected - grace, 500)


def octets_left(uow: Uow) -> int:
    return int(run(uow, "SELECT count(*) FROM objects").scalar_one())


def expunge_all(uow: Uow, box_id: int) -> None:
    inbox = mailbox.find(uow, box_id, INBOX, NOW)
    mailbox.store_flags(uow, inbox.id, ((1, 99),), mailbox.FlagAction.ADD, ("\\Deleted",), None, "test", NOW)
    mailbox.expunge(uow, inbox.id, None, "test", NOW)
    # As long as they can be put back they are needed.
    undelete.forget_expunged(uow, 99, NOW + timedelta(days=365))


def boxes_in(uow: Uow) -> list[int]:
    return list(run(uow, "SELECT id FROM boxes ORDER BY id").scalars())


def files_in(config: Config) -> list[Path]:
    return [path for path in config.path(config.store.blobs_dir).rglob("*") if path.is_file()]


async def test_expunged_letters_go_in_two_steps_and_nobody_elses_copy_does(lived_in: Store, config: Config) -> None:
    first, second = await lived_in.read(boxes_in)
    await lived_in.write(expunge_all, first)
    await collect(lived_in, NOW, later(hours=23))
    assert await lived_in.read(lambda uow: uow.objects.holds(first, 1)), "the time of grace is not over"
    await collect(lived_in, NOW, later(days=1))
    assert not await lived_in.read(lambda uow: uow.objects.holds(first, 1))
    assert await lived_in.read(lambda uow: uow.objects.get(second, 1)) == SMALL
    await lived_in.write(expunge_all, second)
    await collect(lived_in, NOW, later(days=1))
    assert await lived_in.read(octets_left) == 0
    assert files_in(config) == []
    assert await look(lived_in) == []


async def test_a_letter_that_comes_back_in_the_time_of_grace_stays(lived_in: Store) -> None:
    first, _ = await lived_in.read(boxes_in)
    await lived_in.write(expunge_all, first)
    await lived_in.write(lambda uow: uow.collection.note_holdings(BEGINNING, 500, NOW))
    await lived_in.write(append, first, LARGE)
    await collect(lived_in, NOW, later(days=2))
    assert await look(lived_in) == []
    assert not await lived_in.read(lambda uow: uow.objects.holds(first, 1))
    assert await lived_in.read(lambda uow: uow.objects.get(first, 2)) == LARGE


async def test_what_is_collected_may_come_again(lived_in: Store) -> None:
    for box_id in await lived_in.read(boxes_in):
        await lived_in.write(expunge_all, box_id)
    await collect(lived_in, NOW, later(days=1))
    first, _ = await lived_in.read(boxes_in)
    number = await lived_in.write(append, first, LARGE)
    assert number > 2, "numbers are never given out again"
    assert await look(lived_in) == []


async def test_slices_of_notes_join(lived_in: Store) -> None:
    for box_id in await lived_in.read(boxes_in):
        await lived_in.write(expunge_all, box_id)
    noted, after = await lived_in.write(lambda uow: uow.collection.note_holdings(BEGINNING, 3, NOW))
    assert after is not None
    more, end = await lived_in.write(lambda uow: uow.collection.note_holdings(after, 3, NOW))
    assert (noted, more, end) == (3, 1, None)
    assert (await lived_in.write(lambda uow: uow.collection.note_holdings(BEGINNING, 500, NOW)))[0] == 0
    assert await lived_in.write(lambda uow: uow.collection.let_go(NOW, 3)) == 3
    assert await lived_in.write(lambda uow: uow.collection.let_go(NOW, 3)) == 1
