"""Conversations in the store: their sums, the names in lists, and a cost that does not grow with the box."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from mss.config import Config
from mss.model.address import Address
from mss.model.conversation import Direction, Participant, Role, Which
from mss.model.document import Author, Document, DocumentEntry, DocumentFormat, FiledBy
from mss.store.conversations import NewLetter
from mss.store.store import Store
from mss.store.unit import Uow
from tests.store.store_world import NOW, OTHER_MATRICULE, driver, later, patient_box


def doctor(number: int) -> Participant:
    return Participant(Address.parse(f"dr{number}@chu.mssante.test"), f"Dr {number}", Role.SENDER)


def new_letter(number: int, author: int | None = 1, **changes: Any) -> NewLetter:
    sender = None if author is None else doctor(author)
    values: dict[str, Any] = {
        "object_id": number,
        "mailbox_id": 1,
        "uid": number,
        "direction": Direction.SENT if author is None else Direction.RECEIVED,
        "message_id": f"<{number}@chu>",
        "answerable": True,
        "closing": False,
        "has_attachment": False,
        "unread": author is not None,
        "sender": sender,
        "authorises": () if sender is None else (sender,),
    }
    return NewLetter(**values | changes)


def add(uow: Uow, box_id: int, conversation_id: int, *new: NewLetter) -> None:
    for number, one in enumerate(new):
        uow.conversations.add_letter(box_id, conversation_id, one, later(seconds=number))


async def open_one(store: Store, box_id: int, *new: NewLetter) -> int:
    """Open a conversation with these letters in it; returns its number."""

    def unit(uow: Uow) -> int:
        number = uow.conversations.create(box_id, "Sujet", NOW)
        add(uow, box_id, number, *new)
        return number

    return await store.write(unit)


async def test_a_conversation_sums_up_its_letters(store: Store) -> None:
    box = await patient_box(store)
    number = await open_one(store, box.id, new_letter(1), new_letter(2, None), new_letter(3, 2, has_attachment=True))
    [found] = await store.read(lambda uow: uow.conversations.list(box.id, 0, 10))
    assert (found.id, found.letters, found.unread, found.has_attachment) == (number, 3, 2, True)
    assert (found.names, found.last_at) == (("Dr 1", "Dr 2"), later(seconds=2))


async def test_the_same_letter_again_changes_nothing(store: Store) -> None:
    box = await patient_box(store)
    number = await open_one(store, box.id, new_letter(1), new_letter(2))
    await store.write(add, box.id, number, new_letter(1, has_attachment=True))
    [found] = await store.read(lambda uow: uow.conversations.list(box.id, 0, 10))
    assert (found.letters, found.unread, found.has_attachment) == (2, 2, False)


async def test_only_the_letters_that_were_shown_become_read(store: Store) -> None:
    box = await patient_box(store)
    number = await open_one(store, box.id, *(new_letter(n) for n in (1, 2, 3)))
    other = await open_one(store, box.id, new_letter(4))
    marked = await store.write(lambda uow: uow.conversations.mark_read(box.id, number, [2, 3, 4]))
    assert {(one.uid, one.direction) for one in marked} == {(2, Direction.RECEIVED), (3, Direction.RECEIVED)}
    assert await store.write(lambda uow: uow.conversations.mark_read(box.id, number, [2, 3])) == ()
    counts = {one.id: one.unread for one in await store.read(lambda uow: uow.conversations.list(box.id, 0, 10))}
    assert counts == {number: 1, other: 1}
    assert await store.read(lambda uow: uow.conversations.unread(box.id)) == 2
    assert await store.read(lambda uow: uow.conversations.unread(box.id + 1)) == 0
    await store.write(lambda uow: uow.conversations.mark_read(box.id, number, [1]))
    assert await store.read(lambda uow: uow.conversations.unread(box.id)) == 1
    stranger = await patient_box(store, OTHER_MATRICULE)
    assert await store.write(lambda uow: uow.conversations.mark_read(stranger.id, other, [4])) == ()


@pytest.mark.parametrize(
    ("authors", "names"),
    [
        ((1,), ("Dr 1",)),
        ((1, None, 1, 2), ("Dr 1", "Dr 2")),
        ((1, 2, 3, 4, 5), ("Dr 1", "Dr 2", "Dr 3", "Dr 4", "Dr 5")),
        ((1, 2, 3, 4, 5, 6, 7), ("Dr 1", "Dr 3", "Dr 4", "Dr 5", "Dr 6", "Dr 7")),
        ((None, None), ()),
    ],
)
async def test_a_list_names_who_wrote_first_and_last(
    store: Store, authors: tuple[int | None, ...], names: tuple[str, ...]
) -> None:
    box = await patient_box(store)
    await open_one(store, box.id, *(new_letter(n, author) for n, author in enumerate(authors, 1)))
    [found] = await store.read(lambda uow: uow.conversations.list(box.id, 0, 10))
    assert found.names == names


async def test_letters_come_in_pages_oldest_first(store: Store) -> None:
    box = await patient_box(store)
    number = await open_one(store, box.id, *(new_letter(n) for n in range(1, 8)))

    async def page(**which: int) -> list[int]:
        found = await store.read(lambda uow: uow.conversations.letters_of(box.id, number, **which))
        assert {one.conversation_id for one in found} <= {number}
        return [one.email_id for one in found]

    assert await page() == [1, 2, 3, 4, 5, 6, 7]
    assert await page(limit=3) == [5, 6, 7]
    assert await page(skip=3, limit=3) == [2, 3, 4]
    assert await page(skip=6, limit=3) == [1]
    assert await page(skip=7, limit=3) == []


async def test_an_authors_letters_are_found_in_every_conversation(store: Store) -> None:
    box = await patient_box(store)
    await open_one(store, box.id, new_letter(1, 1), new_letter(2, 2))
    newest = await open_one(store, box.id, new_letter(3, 2), new_letter(4, 3), new_letter(5, None))
    writer = doctor(2).address
    found = await store.read(lambda uow: uow.conversations.letters_by(box.id, writer))
    assert {one.email_id for one in found} == {2, 3}
    shouted = Address.parse(writer.spec.upper())
    assert await store.read(lambda uow: uow.conversations.newest_with(box.id, shouted)) in (newest, 1)
    assert await store.read(lambda uow: uow.conversations.newest_with(box.id, doctor(9).address)) is None
    [one] = await store.read(lambda uow: uow.conversations.letters_by(box.id, writer, 1))
    assert one.sender == doctor(2)


# -- what a page costs -----------------------------------------------------------------------------------------------


def steps(uow: Uow, work: Callable[[Uow], Any]) -> int:
    """Return about how many steps SQLite's machine takes for some work, in hundreds."""
    count = 0

    def tick() -> int:
        nonlocal count
        count += 1
        return 0

    driver(uow).set_progress_handler(tick, 100)
    work(uow)
    driver(uow).set_progress_handler(None, 0)
    return count


def fill(uow: Uow, box_id: int, first: int, last: int) -> None:
    """Give a box letters: a fifth of them in one conversation, the others four by four."""
    conversation = 0
    for n in range(first, last):
        if n % 5 == 0 or not conversation:
            conversation = uow.conversations.create(box_id, f"Sujet {n}", later(seconds=n))
        place = 1 if n % 5 == 1 else conversation
        uow.conversations.add_letter(box_id, place, new_letter(n, n % 7 + 1), later(seconds=n))
        if n % 2:
            uow.dossiers.file(filed(box_id, n))


def filed(box_id: int, number: int) -> Document:
    entry = DocumentEntry(f"1.2.{number}", DocumentFormat.PDF, "Titre", authors=(Author("Dr 1"),))
    category = "CPT_REND" if number % 3 else "BIOLOGIE"
    at = later(seconds=number)
    return Document(0, box_id, entry, "e", "l", number, 9, at, FiledBy.LETTER, category, email_id=number)


WORK: dict[str, Callable[[Uow], Any]] = {
    "the first page of conversations": lambda uow: uow.conversations.list(1, 0, 20),
    "one long conversation": lambda uow: uow.conversations.get(1, 1),
    "the newest letters of a long conversation": lambda uow: uow.conversations.letters_of(1, 1, limit=20),
    "who wrote last": lambda uow: uow.conversations.newest_with(1, doctor(3).address),
    "somebody who never wrote": lambda uow: uow.conversations.newest_with(1, doctor(99).address),
    "the unread ones": lambda uow: uow.conversations.list(1, 0, 20, Which.UNREAD),
    "the first page of documents": lambda uow: uow.dossiers.list(1, limit=20, hidden_from=1),
    "the documents of a category": lambda uow: uow.dossiers.list(1, limit=20, category="BIOLOGIE", hidden_from=1),
    "the documents of a letter": lambda uow: uow.dossiers.of_letter(1, 11, 20),
}


async def test_a_page_costs_the_same_in_a_box_ten_times_as_full(sqlite_config: Config) -> None:
    opened = Store(sqlite_config)
    await opened.start()
    try:
        box = await patient_box(opened)
        costs = []
        for first, last in ((1, 301), (301, 3001)):
            await opened.write(fill, box.id, first, last)
            costs.append({what: await opened.read(steps, work) for what, work in WORK.items()})
        small, large = costs
        assert {what: cost for what, cost in large.items() if cost > small[what] + 2} == {}
    finally:
        await opened.close()


async def test_marking_costs_what_is_marked(sqlite_config: Config) -> None:
    opened = Store(sqlite_config)
    await opened.start()
    try:
        box = await patient_box(opened)
        await opened.write(fill, box.id, 1, 3001)
        cost = await opened.write(steps, lambda uow: uow.conversations.mark_read(box.id, 1, [1, 6, 11]))
        assert cost <= 5
    finally:
        await opened.close()
