"""No write unit lasts longer than 20 ms: each is measured, and who is too long is named. A slow disk defers."""

from __future__ import annotations

import asyncio
import threading
from functools import partial

import pytest

from mss.config import Config
from mss.errors import Unavailable
from mss.store import units as measured
from mss.store.store import Store, Uow
from mss.store.units import BOUNDS_S, UNIT_MAX_S, Units
from mss.store.work import Work
from tests.store.store_world import config_in, copy_template


def a_service(uow: Uow) -> int:
    return 1


def fails(uow: Uow) -> None:
    raise ValueError("no")


def of(seconds: float) -> Work:
    work = Work(partial(lambda service, uow: service(uow), a_service), {}, None, None)  # type: ignore[arg-type]
    work.seconds = seconds
    return work


async def test_every_unit_is_counted_once_whatever_became_of_it(store: Store) -> None:
    for _ in range(3):
        assert await store.write(a_service) == 1
    with pytest.raises(ValueError):
        await store.write(fails)
    async with asyncio.timeout(30):
        while sum(store.units.counts) < 4:  # Callers are answered before it is counted.
            await asyncio.sleep(0)
    assert sum(store.units.counts) == 4
    assert store.units.seconds > 0
    assert store.waiting == 0


@pytest.mark.parametrize(
    ("seconds", "place", "long"),
    [(0.0, 0, 0), (UNIT_MAX_S, 4, 0), (UNIT_MAX_S + 1e-9, 5, 1), (0.5, 7, 1), (9.0, len(BOUNDS_S), 1)],
)
def test_a_unit_is_long_above_twenty_milliseconds(seconds: float, place: int, long: int) -> None:
    units = Units()
    units.ran([of(seconds)])
    assert [at for at, count in enumerate(units.counts) if count] == [place]
    assert units.long == long


@pytest.mark.parametrize(("seconds", "lines"), [(0.1, 0), (0.1001, 1)])
def test_a_unit_that_is_far_too_long_is_named(seconds: float, lines: int, capfd: pytest.CaptureFixture[str]) -> None:
    Units().ran([of(seconds)])
    said = capfd.readouterr().err
    assert said.count("unit.long") == said.count('"service": "a_service"') == lines
    assert measured.UNIT_MAX_S == 0.02


@pytest.mark.parametrize("more", [1, 50])
async def test_a_disk_that_stands_still_defers_and_holds_no_more_than_it_may(
    store_template: object, tmp_path: object, more: int
) -> None:
    from pathlib import Path

    assert isinstance(store_template, Path)
    assert isinstance(tmp_path, Path)
    config: Config = config_in(copy_template(store_template, tmp_path), write_queue_max=5)
    store = Store(config)
    await store.start()
    stands, begun = threading.Event(), threading.Event()

    def waits(uow: Uow) -> None:
        begun.set()
        assert stands.wait(30)

    first = asyncio.create_task(store.write(waits))
    assert await asyncio.to_thread(begun.wait, 30)
    waiting = [asyncio.create_task(store.write(a_service)) for _ in range(5)]
    await asyncio.sleep(0)
    for _ in range(more):
        with pytest.raises(Unavailable, match="too many units"):
            await store.write(a_service)
    assert store.waiting == 5
    stands.set()
    await first
    assert await asyncio.gather(*waiting) == [1] * 5
    await store.close()
