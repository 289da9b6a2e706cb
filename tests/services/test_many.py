"""What touches many letters goes in short units, and comes to the same as in one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mss.model.account import Box
from mss.model.mailbox import INBOX, Mailbox
from mss.services import appending, mailbox, many
from mss.services.mailbox import NotPermitted
from mss.store.mailboxes import Runs, merged
from mss.store.store import Store, Uow
from tests.services.services_world import raw
from tests.store.store_world import NOW, clinic_box

RUNS = st.lists(st.tuples(st.integers(1, 60), st.integers(0, 30)), max_size=8).map(
    lambda found: merged((first, first + more) for first, more in found)
)


@given(RUNS, st.integers(1, 10))
def test_parts_are_the_runs_and_no_longer_than_asked(runs: Runs, size: int) -> None:
    found = list(many.parts(runs, size))
    uids = [uid for part in found for first, last in part for uid in range(first, last + 1)]
    assert uids == [uid for first, last in runs for uid in range(first, last + 1)]
    sizes = [sum(last - first + 1 for first, last in part) for part in found]
    assert all(one == size for one in sizes[:-1])
    assert all(1 <= one <= size for one in sizes)


@pytest.fixture
async def box(store: Store, monkeypatch: pytest.MonkeyPatch) -> Box:
    """A box with 25 letters in INBOX, every other one flagged for removal, in which units take three."""
    monkeypatch.setattr(many, "SLICE", 3)
    made = await clinic_box(store)

    def fill(uow: Uow) -> None:
        inbox = mailbox.find(uow, made.id, INBOX, NOW)
        for number in range(25):
            flags = ("\\Deleted",) if number % 2 else ()
            appending.append(uow, inbox.id, raw(b"%d" % number), flags, None, "test", NOW)

    await store.write(fill)
    return made


async def find(store: Store, box: Box, name: str = INBOX) -> Mailbox:
    return await store.read(mailbox.find, box.id, name, NOW)


async def uids(store: Store, mailbox_id: int) -> list[int]:
    return await store.read(lambda uow: uow.mailboxes.uids(mailbox_id))


async def test_what_is_flagged_is_named_in_parts(store: Store, box: Box) -> None:
    inbox = await find(store, box)
    found = await store.read(many.flagged, inbox.id, None, NOW)
    assert [uid for part in found for first, last in part for uid in range(first, last + 1)] == list(range(2, 25, 2))
    assert len(found) == 4
    among = await store.read(many.flagged, inbox.id, ((1, 4), (20, 20)), NOW)
    assert [run for part in among for run in part] == [(2, 2), (4, 4), (20, 20)]


async def test_a_mailbox_is_moved_up_to_a_letter_in_several_units(store: Store, box: Box) -> None:
    inbox = await find(store, box)
    made = await store.write(mailbox.create, box.id, "Old", "test", NOW)
    places, first = [], 1
    while first := await store.write(many.move_some, inbox.id, made.id, first, 10, "test", NOW):
        places.append(first)
    assert places == [4, 7, 10]
    assert await uids(store, inbox.id) == list(range(11, 26)), "what came after the command stays"
    assert await uids(store, made.id) == list(range(1, 11))


async def test_a_mailbox_is_emptied_before_it_is_deleted_and_can_be_undeleted(store: Store, box: Box) -> None:
    inbox = await find(store, box)
    made = await store.write(mailbox.create, box.id, "Old", "test", NOW)
    await store.write(mailbox.copy, inbox.id, ((1, 25),), made.id, "test", NOW)
    units = 0
    while await store.write(many.empty_some, box.id, "Old", "test", NOW):
        units += 1
    assert (units, len(await uids(store, made.id))) == (8, 1)
    await store.write(mailbox.delete, box.id, "Old", "test", NOW)
    assert len(await store.read(lambda uow: uow.expunged.of_box(box.id, 100))) == 25


async def test_what_may_not_be_deleted_is_not_emptied(store: Store, box: Box) -> None:
    with pytest.raises(NotPermitted):
        await store.write(many.empty_some, box.id, INBOX, "test", NOW)
    assert len(await uids(store, (await find(store, box)).id)) == 25
