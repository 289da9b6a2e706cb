"""The journal's chains as a whole: looks are kept apart and longer, whole segments go, anchored heads stand."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from mss.config import Config
from mss.model.audit import AuditEvent
from mss.services import upkeep
from mss.store import anchors
from mss.store.chains import Head
from mss.store.journal import LOOKS, Sought
from mss.store.store import Store, Uow
from tests.store.store_world import NOW, later

KEEP, KEEP_LOOKS = timedelta(days=183), timedelta(days=3653)


def note(uow: Uow, number: int, action: str = "letter.accept") -> None:
    uow.journal.write(AuditEvent(f"account:{number % 3}", action, f"letter:{number}"), later(days=number))


@pytest.fixture
async def journaled(config: Config) -> AsyncIterator[Store]:
    """A store with 25 records, a day apart, and as many looks into a dossier, in segments of ten."""
    limits = replace(config.limits, journal_segment_records=10)
    store = Store(replace(config, limits=limits, store=replace(config.store, writers=1)))
    for number in range(1, 26):
        await store.write(note, number)
        await store.write(note, number, "document.read")
    yield store
    await store.close()


async def heads(store: Store) -> tuple[Head, ...]:
    return await store.read(lambda uow: uow.chains.heads())


async def numbers(store: Store, *, looks: bool) -> list[int]:
    rows = await store.read(lambda uow: uow.journal.find(Sought("document" if looks else "letter"), 99))
    return sorted(one.number for one in rows)


async def test_looks_into_dossiers_have_a_chain_of_their_own(journaled: Store) -> None:
    found = await heads(journaled)
    assert [(one.writer.endswith(LOOKS), one.number) for one in found] == [(False, 25), (True, 25)]
    assert await journaled.read(lambda uow: uow.journal.verify()) == (50, ())


@pytest.mark.parametrize(("days", "left"), [(183, 25), (192, 25), (193, 15), (202, 15), (203, 5), (999, 5)])
async def test_whole_segments_go_when_their_newest_record_is_over(journaled: Store, days: int, left: int) -> None:
    while await journaled.write(upkeep.trim_journal, KEEP, KEEP_LOOKS, later(days=days)):
        pass
    assert await numbers(journaled, looks=False) == list(range(26 - left, 26))
    assert await numbers(journaled, looks=True) == list(range(1, 26))
    trimmed = await journaled.read(lambda uow: uow.journal.find(Sought("journal.trim"), 9))
    assert sum(int(one.event.facts["records"] or 0) for one in trimmed) == 25 - left
    assert (await journaled.read(lambda uow: uow.journal.verify()))[1] == ()


async def test_looks_go_when_their_own_time_is_over(journaled: Store) -> None:
    await journaled.write(upkeep.trim_journal, timedelta(days=9999), KEEP_LOOKS, later(days=3662))
    assert len(await numbers(journaled, looks=True)) == 25
    await journaled.write(upkeep.trim_journal, timedelta(days=9999), KEEP_LOOKS, later(days=3663))
    assert len(await numbers(journaled, looks=True)) == 15


async def test_the_end_that_a_worker_left_open_is_sealed_and_goes_too(journaled: Store) -> None:
    assert await journaled.write(upkeep.seal_old_ends, later(days=26)) == 0
    assert await journaled.write(upkeep.seal_old_ends, later(days=26, seconds=1)) == 2
    assert await journaled.write(upkeep.seal_old_ends, later(days=30)) == 0
    while await journaled.write(upkeep.trim_journal, KEEP, KEEP_LOOKS, later(days=26 + 183, seconds=1)):
        pass
    assert await numbers(journaled, looks=False) == []
    # The worker was not gone after all.
    await journaled.write(note, 300)
    assert (await journaled.read(lambda uow: uow.journal.verify()))[1] == ()


async def test_a_segment_that_nobody_trimmed_is_missed(journaled: Store) -> None:
    await journaled.write(lambda uow: uow._connection.execute(text("DELETE FROM journal")))
    broken = (await journaled.read(lambda uow: uow.journal.verify()))[1]
    assert len(broken) == 4


async def test_anchored_heads_stand_after_trimming_and_not_after_a_change(journaled: Store, tmp_path: Path) -> None:
    file = tmp_path / "heads.jsonl"
    anchors.append(file, await heads(journaled), NOW)
    await journaled.write(note, 26)
    anchors.append(file, await heads(journaled), NOW)
    with file.open("a") as half:
        half.write(
            '{"at": "2026',
        )
    known = list(anchors.read(file))
    assert len(known) == 4
    assert await journaled.read(lambda uow: uow.chains.missing(known)) == ()
    await journaled.write(upkeep.seal_old_ends, later(days=99))
    while await journaled.write(upkeep.trim_journal, KEEP, KEEP_LOOKS, later(days=999)):
        pass
    assert await journaled.read(lambda uow: uow.chains.missing(known)) == ()
    other = [replace(one, hash="00") for one in known]
    missing = await journaled.read(lambda uow: uow.chains.missing(other))
    # A head inside a trimmed segment cannot be compared any more; its end can.
    assert len(missing) == 3


async def test_pages_of_a_chain_join(journaled: Store) -> None:
    [writer, _] = [one.writer for one in await heads(journaled)]
    first = await journaled.read(lambda uow: uow.chains.page(writer, 0, 20))
    second = await journaled.read(lambda uow: uow.chains.page(writer, 20, 20))
    assert [one.number for one in (*first, *second)] == list(range(1, 26))
    assert len(await journaled.read(lambda uow: uow.chains.page(writer, 0, 99, later(days=20)))) == 6


@pytest.mark.parametrize(
    "wanted", [Sought(actor="account:1"), Sought(target="letter:7"), Sought(message="x"), Sought(box_id=3), Sought()]
)
async def test_searches_use_an_index(sqlite_config: Config, wanted: Sought) -> None:
    store = Store(sqlite_config)
    seen: list[str] = []
    await store.write(note, 1)

    def explained(uow: Uow) -> None:
        raw = uow._connection.connection.driver_connection
        assert raw is not None
        raw.set_trace_callback(seen.append)
        uow.journal.find(wanted, 9)
        raw.set_trace_callback(None)
        plan = [row[3] for row in raw.execute(f"EXPLAIN QUERY PLAN {seen[-1]}")]
        assert any("USING INDEX ix_journal_" in one for one in plan), plan
        assert not any(one == "TEMP B-TREE FOR ORDER BY" for one in plan), plan

    await store.read(explained)
    await store.close()
