"""The journal: one chain per writer; whatever is changed, moved or taken away is found."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Connection, create_engine, text

from mss.config import Config
from mss.model.audit import AuditEvent
from mss.store.journal import Broken, Chain, Journal
from mss.store.store import Store, Uow
from mss.store.tables import metadata
from tests.store.store_world import NOW, later

SEGMENT = 10


def note(uow: Uow, number: int, box_id: int | None = None) -> None:
    event = AuditEvent(
        "account:7", "letter.accept", f"receipt:{number}", "accept", "box.receives", box_id, {"n": number}
    )
    uow.journal.write(event, later(seconds=number))


def fail(uow: Uow, number: int) -> None:
    note(uow, number)
    raise RuntimeError


def verify(uow: Uow) -> tuple[int, tuple[Broken, ...]]:
    return uow.journal.verify()


@pytest.fixture
async def journaled(config: Config) -> AsyncIterator[Store]:
    """A store with one writer and 35 records in segments of ten."""
    limits = replace(config.limits, journal_segment_records=SEGMENT)
    store = Store(replace(config, limits=limits, store=replace(config.store, writers=1)))
    await store.start()
    for number in range(1, 36):
        await store.write(note, number)
    yield store
    await store.close()


def run(uow: Uow, sql: str, values: dict[str, Any]) -> None:
    uow._connection.execute(text(sql), values)


async def test_what_was_written_is_read_newest_first(store: Store) -> None:
    for number in range(5):
        await store.write(note, number, 4 if number % 2 else None)
    about = await store.read(lambda uow: uow.journal.about_box(4, 10))
    assert [one.event.target for one in about] == ["receipt:3", "receipt:1"]
    newest = await store.read(lambda uow: uow.journal.newest(3, "letter"))
    assert [one.event.facts["n"] for one in newest] == [4, 3, 2]
    assert newest[0].at == later(seconds=4)
    assert await store.read(lambda uow: uow.journal.newest(3, "lett")) == ()
    [one] = await store.read(lambda uow: uow.journal.of_receipt("2"))
    assert (one.event.actor, one.event.rule, one.event.subject_box_id) == ("account:7", "box.receives", None)


async def test_an_untouched_journal_verifies_and_its_segments_are_sealed(journaled: Store) -> None:
    assert await journaled.read(verify) == (35, ())
    sealed = "SELECT first_number, last_number FROM journal_segments ORDER BY last_number"
    rows = await journaled.read(lambda uow: [tuple(row) for row in uow._connection.execute(text(sealed))])
    assert rows == [(1, 10), (11, 20), (21, 30)]


CHANGES = {
    "actor": "UPDATE journal SET actor = 'account:8' WHERE number = :n",
    "action": "UPDATE journal SET action = 'letter.refuse' WHERE number = :n",
    "target": "UPDATE journal SET target = 'receipt:99' WHERE number = :n",
    "decision": "UPDATE journal SET decision = 'reject' WHERE number = :n",
    "rule": "UPDATE journal SET rule = '' WHERE number = :n",
    "box": "UPDATE journal SET subject_box_id = 1 WHERE number = :n",
    "time": "UPDATE journal SET at = at + 1 WHERE number = :n",
    "facts": "UPDATE journal SET facts = '{}' WHERE number = :n",
    "hash": "UPDATE journal SET hash = :none WHERE number = :n",
}


@pytest.mark.parametrize("what", sorted(CHANGES))
@pytest.mark.parametrize("number", [1, 10, 17, 35])
async def test_a_changed_record_is_found(journaled: Store, what: str, number: int) -> None:
    await journaled.write(run, CHANGES[what], {"n": number, "none": bytes(32)} if what == "hash" else {"n": number})
    count, broken = await journaled.read(verify)
    assert count == 35
    assert number in {one.number for one in broken}


@pytest.mark.parametrize("gone", [[1], [5], [10], [11], [1, 2, 3], [29, 30], [30], list(range(1, 11))])
async def test_a_record_taken_away_is_found(journaled: Store, gone: list[int]) -> None:
    for number in gone:
        await journaled.write(run, "DELETE FROM journal WHERE number = :n", {"n": number})
    count, broken = await journaled.read(verify)
    assert count == 35 - len(gone)
    trimmed = gone == list(range(1, 11))
    assert bool(broken) is not trimmed, "only a whole sealed segment at the beginning may be trimmed"


async def test_the_tail_of_a_sealed_segment_taken_away_is_found(journaled: Store) -> None:
    await journaled.write(run, "DELETE FROM journal WHERE number > :n", {"n": 24})
    count, broken = await journaled.read(verify)
    assert count == 24
    assert [one.number for one in broken] == [30]


async def test_a_whole_writer_taken_away_is_found(journaled: Store) -> None:
    await journaled.write(run, "DELETE FROM journal", {})
    assert [one.number for one in (await journaled.read(verify))[1]] == [10, 20, 30]


async def test_swapped_records_are_found(journaled: Store) -> None:
    for number, to in ((14, 114), (15, 14), (114, 15)):
        await journaled.write(run, "UPDATE journal SET number = :to WHERE number = :n", {"n": number, "to": to})
    _, broken = await journaled.read(verify)
    assert {14, 15} <= {one.number for one in broken}


async def test_a_record_put_in_is_found(journaled: Store) -> None:
    columns = "actor, action, target, decision, rule, subject_box_id, facts, hash"
    copy = f"INSERT INTO journal (writer, number, at, {columns}) SELECT writer, 36, at, {columns} FROM journal"
    await journaled.write(run, f"{copy} WHERE number = 35", {})
    assert [one.number for one in (await journaled.read(verify))[1]] == [36]


async def test_another_head_of_a_sealed_segment_is_found(journaled: Store) -> None:
    await journaled.write(run, "UPDATE journal_segments SET head = :h WHERE last_number = 20", {"h": bytes(32)})
    assert [one.number for one in (await journaled.read(verify))[1]] == [20]


async def test_a_rollback_leaves_no_gap(store: Store) -> None:
    results = await asyncio.gather(
        *(store.write(fail if n % 4 == 2 else note, n) for n in range(40)), return_exceptions=True
    )
    assert sum(isinstance(one, RuntimeError) for one in results) == 10
    assert await store.read(verify) == (30, ())


async def test_every_store_writes_chains_of_its_own(config: Config, store: Store) -> None:
    other = Store(config)
    await other.start()
    await asyncio.gather(*(one.write(note, n) for n in range(20) for one in (store, other)))
    assert await store.read(verify) == (40, ())
    writers = await store.read(lambda uow: {one.writer for one in uow.journal.newest(100)})
    names = {one.name for one in (store, other)}
    assert {next(name for name in names if writer.startswith(name)) for writer in writers} == names
    await other.close()


def _journal(connection: Connection, records: int, segment: int) -> Journal:
    book = Journal(connection, Chain("w"), segment)
    for number in range(records):
        book.write(AuditEvent("a", "b.c", f"t:{number}", facts={"n": number}), NOW)
    return book


@given(st.integers(1, 30), st.integers(1, 7), st.data())
def test_any_one_record_removed_from_before_the_last_seal_is_found(
    records: int, segment: int, data: st.DataObject
) -> None:
    engine = create_engine("sqlite://", connect_args={"isolation_level": None})
    metadata.create_all(engine)
    with engine.connect() as connection, connection.begin():
        book = _journal(connection, records, segment)
        assert book.verify() == (records, ())
        sealed = records - records % segment
        gone = data.draw(st.integers(1, records))
        connection.execute(text("DELETE FROM journal WHERE number = :n"), {"n": gone})
        _, broken = book.verify()
        trimmed = gone == segment == 1 < records
        open_end = gone == records > sealed
        assert bool(broken) is not (trimmed or open_end)
    engine.dispose()


async def test_records_are_told_once_they_are_on_disk_and_only_then(store: Store) -> None:
    told: list[int] = []
    store.tell(lambda events: told.extend(int(event.facts["n"] or 0) for event in events))
    await store.write(note, 1)
    with pytest.raises(RuntimeError):
        await store.write(fail, 2)
    await asyncio.gather(*(store.write(note, number) for number in (3, 4)))
    assert sorted(told) == [1, 3, 4]
