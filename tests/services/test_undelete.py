"""Expunged letters come back for a while, and never those whose erasure the owner asked for."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from mss.model.account import Box
from mss.model.mailbox import INBOX, Expunged
from mss.policy.retention import EXPUNGED_LETTERS
from mss.services import appending, mailbox, undelete
from mss.services.mailbox import Columns
from mss.store import Store
from tests.services.services_world import DESK, letter
from tests.store.store_world import NOW, clinic_box

ALL = ((1, 1_000_000),)


@pytest.fixture
async def box(store: Store) -> Box:
    return await clinic_box(store)


async def fill(store: Store, box: Box, name: str = INBOX, flags: tuple[str, ...] = ("\\Deleted", "$Work")) -> int:
    """Put a letter into a mailbox; returns the mailbox."""
    where = await store.read(mailbox.find, box.id, name, NOW)
    await store.write(appending.append, where.id, letter(to=[DESK]), flags, NOW, "test", NOW)
    return where.id


async def held(store: Store, box: Box, name: str = INBOX) -> list[tuple[int, tuple[str, ...]]]:
    """Return UID and flags of a mailbox's letters."""
    where = await store.read(mailbox.find, box.id, name, NOW)
    rows = await store.read(mailbox.rows, where.id, ALL, Columns.ENVELOPE, NOW)
    return [(row.uid, mailbox.flag_names(where.keywords, row.flags)) for row in rows]


async def lost(store: Store, box: Box, now: datetime = NOW, name: str | None = None) -> tuple[Expunged, ...]:
    return await store.read(undelete.expunged, box.id, now, name)


async def test_an_expunged_letter_comes_back_with_its_keywords(store: Store, box: Box) -> None:
    where = await fill(store, box)
    await store.write(mailbox.expunge, where, None, "test", NOW)
    assert await held(store, box) == []
    [one] = await lost(store, box)
    assert await store.write(undelete.restore, box.id, [one], "test", NOW) == 1
    assert await held(store, box) == [(2, ("$Work",))]
    # Twice is once.
    assert await store.write(undelete.restore, box.id, [one], "test", NOW) == 0
    assert await lost(store, box) == ()


async def test_a_deleted_mailbox_comes_back_with_its_letters(store: Store, box: Box) -> None:
    await store.write(mailbox.create, box.id, "a/b", "test", NOW)
    for _ in range(3):
        await fill(store, box, "a/b", ("\\Seen",))
    await store.write(mailbox.delete, box.id, "a/b", "test", NOW)
    letters = await lost(store, box, name="a/b")
    assert await store.write(undelete.restore, box.id, letters, "test", NOW) == 3
    assert [flags for _, flags in await held(store, box, "a/b")] == [("\\Seen",)] * 3


async def test_a_moved_letter_is_not_lost(store: Store, box: Box) -> None:
    where = await fill(store, box)
    target = await store.read(mailbox.find, box.id, "Archive", NOW)
    await store.write(mailbox.move, where, ALL, target.id, "test", NOW)
    assert await lost(store, box) == ()


@pytest.mark.parametrize(("late", "kept"), [(-1, 1), (0, 1), (1, 0)])
async def test_after_its_time_it_is_gone(store: Store, box: Box, late: int, kept: int) -> None:
    where = await fill(store, box)
    await store.write(mailbox.expunge, where, None, "test", NOW)
    later = NOW + EXPUNGED_LETTERS.keep + timedelta(seconds=late)
    assert len(await lost(store, box, later)) == kept
    assert await store.write(undelete.forget_expunged, 10, later) == 1 - kept


async def test_what_the_owner_wants_erased_never_comes_back(store: Store, box: Box) -> None:
    where = await fill(store, box)
    await store.write(mailbox.expunge, where, None, "test", NOW)
    letters = await lost(store, box)
    assert await store.write(undelete.erase, box.id, letters, "test", NOW) == 1
    assert await store.write(undelete.restore, box.id, letters, "test", NOW) == 0
    assert await held(store, box) == []


async def test_usage_is_what_the_mailboxes_hold(store: Store, box: Box) -> None:
    where = await fill(store, box)
    await fill(store, box, flags=())
    copies = await store.read(mailbox.find, box.id, "Archive", NOW)
    await store.write(mailbox.copy, where, ALL, copies.id, "test", NOW)
    await store.write(mailbox.expunge, where, None, "test", NOW)
    sizes = [
        row.size_octets
        for one in (where, copies.id)
        for row in await store.read(mailbox.rows, one, ALL, Columns.PLAIN, NOW)
    ]
    usage = await store.read(lambda uow: uow.quotas.usage(box.id))
    assert (usage.letters, usage.octets) == (3, sum(sizes))
    await store.write(mailbox.delete, box.id, "Archive", "test", NOW)
    assert (await store.read(lambda uow: uow.quotas.usage(box.id))).letters == 1
