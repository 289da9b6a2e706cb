"""Holders are told that their boxes are nearly full: once, and again after it was emptier."""

from __future__ import annotations

from datetime import datetime
from functools import partial

import pytest

from mss.model.account import Box, BoxState
from mss.model.mailbox import INBOX, Quota
from mss.model.party import BoxKind
from mss.services import appending, fullness, lives, mailbox, quotas
from mss.services.house import House as Housing
from mss.store.journal import Sought
from mss.store.store import Store, Uow
from tests.services.services_world import HOSTED, raw
from tests.store.store_world import NOW, clinic_box, later, patient_box

HOUSING = Housing(HOSTED.hostname, HOSTED.domains, HOSTED.limits)
SHARE = 0.5


@pytest.fixture
async def box(store: Store) -> Box:
    """A box that may hold four letters."""
    made = await clinic_box(store)
    await store.write(quotas.set_for_kind, made.kind, Quota(letters_max=4), "test", NOW)
    return made


async def sweep(store: Store, days: float = 0, limit: int = 50) -> int:
    """Do what is due; returns how many holders were told."""
    told, after, at = 0, 0, later(days=days)
    while True:
        found = await store.read(fullness.look, SHARE, after, limit)
        for box_id in found.boxes:
            told += await store.write(partial(fullness.settle, hook=True), box_id, SHARE, HOUSING, at)
        if found.after is None:
            return told
        after = found.after


async def append(store: Store, box: Box, octets: bytes) -> None:
    def work(uow: Uow) -> None:
        appending.append(uow, mailbox.find(uow, box.id, INBOX, NOW).id, raw(octets), (), None, "test", NOW)

    await store.write(work)


async def empty(store: Store, box: Box) -> None:
    """Let everything go that is in the inbox."""

    def work(uow: Uow) -> None:
        folder = mailbox.find(uow, box.id, INBOX, NOW).id
        assert lives.expire(uow, folder, tuple(range(1, 100)), later(days=1), NOW)

    await store.write(work)


def subjects(uow: Uow, box_id: int) -> int:
    return mailbox.status(uow, mailbox.find(uow, box_id, INBOX, NOW).id, NOW).messages


async def test_a_holder_is_told_once_and_again_only_after_the_box_was_emptier(store: Store, box: Box) -> None:
    await append(store, box, b"1")
    assert await sweep(store) == 0, "one of four"
    await append(store, box, b"2")
    assert await sweep(store) == 1
    assert await store.read(subjects, box.id) == 3, "the notice stands in the box"
    await append(store, box, b"3")
    assert await sweep(store, 1) == 0
    assert await sweep(store, 400) == 0
    await empty(store, box)
    assert await sweep(store, 401) == 0, "it is forgotten that anybody was told"
    await append(store, box, b"4")
    await append(store, box, b"5")
    assert await sweep(store, 402) == 1


async def test_what_is_told_is_in_the_journal_and_waits_for_the_program(store: Store, box: Box) -> None:
    await store.write(lambda uow: uow.lives.set_channel(box.id, "mailto:camille@example.org"))
    await append(store, box, b"1")
    await append(store, box, b"2")
    await sweep(store)

    def look(uow: Uow) -> tuple[object, ...]:
        (record,) = uow.journal.find(Sought("box.full"), 5)
        return record.event.target, dict(record.event.facts)

    assert await store.read(look) == (f"box:{box.id}", {"percent": 50})
    due = await store.write(lambda uow: uow.lives.hooks_due(5, NOW, later(days=1)))
    assert [(one.box_id, one.kind, one.channel, one.tries) for one in due] == [
        (box.id, "box-nearly-full", "mailto:camille@example.org", 1)
    ]
    assert "camille" not in repr(due)
    assert await store.write(lambda uow: uow.lives.hooks_due(5, NOW, later(days=1))) == ()


async def test_a_full_box_gets_its_notice(store: Store, box: Box) -> None:
    for letter in (b"1", b"2", b"3", b"4"):
        await append(store, box, letter)
    with pytest.raises(quotas.OverQuota):
        await append(store, box, b"5")
    assert await sweep(store) == 1
    assert await store.read(subjects, box.id) == 5


@pytest.mark.parametrize("state", [BoxState.CLOSED, BoxState.OPEN])
async def test_closed_boxes_and_boxes_without_a_quota_are_left_alone(store: Store, box: Box, state: BoxState) -> None:
    await append(store, box, b"1")
    await append(store, box, b"2")
    if state is BoxState.CLOSED:
        await store.write(lives.close, box.id, "test", "test", NOW)
    else:
        await store.write(quotas.set_for_box, box.id, Quota(), "test", NOW)
    assert await sweep(store) == 0


async def test_a_box_quota_comes_before_that_of_its_kind(store: Store, box: Box) -> None:
    await store.write(quotas.set_for_box, box.id, Quota(letters_max=1), "test", NOW)
    await append(store, box, b"1")
    assert await sweep(store) == 1


async def test_boxes_are_looked_at_in_slices(store: Store, box: Box) -> None:
    other = await patient_box(store)
    await store.write(quotas.set_for_kind, BoxKind.PATIENT, Quota(letters_max=2), "test", NOW)
    for one in (box, other):
        await append(store, one, b"1")
        await append(store, one, b"2")
    assert await sweep(store, limit=1) == 2


async def test_without_any_quota_nothing_is_looked_at(store: Store) -> None:
    await clinic_box(store)
    assert await store.read(fullness.look, SHARE, 0, 1) == fullness.Found((), None)


async def test_what_is_no_news_any_more_is_not_told(store: Store, box: Box) -> None:
    assert not await store.write(lambda uow: fullness.settle(uow, box.id, SHARE, HOUSING, _at()))
    assert not await store.write(lambda uow: fullness.settle(uow, box.id + 7, SHARE, HOUSING, _at()))


def _at() -> datetime:
    return NOW
