"""A worker process for the tests: it writes into a store that others write into as well."""

from __future__ import annotations

import asyncio
import time
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

from mss.config import Config
from mss.model.audit import AuditEvent
from mss.store.store import Store, Uow
from tests.store.store_world import NOW


def note(uow: Uow, name: str, number: int) -> None:
    """Write one record and give its turn away only after a moment's work."""
    facts = {"n": number, "at": time.monotonic_ns()}
    uow.journal.write(AuditEvent(f"worker:{name}", "test.note", f"note:{number}", facts=facts), NOW)


async def _caller(store: Store, name: str, numbers: list[int]) -> float:
    worst = 0.0
    while numbers:
        began = time.monotonic()
        await store.write(note, name, numbers.pop())
        worst = max(worst, time.monotonic() - began)
    return worst


async def _work(config: Config, name: str, count: int, barrier: Barrier) -> float:
    store = Store(config)
    await store.start()
    barrier.wait(30)
    numbers = list(range(count))
    worst = max(await asyncio.gather(*(_caller(store, name, numbers) for _ in range(4))))
    await store.close()
    return worst


def work(config: Config, name: str, count: int, barrier: Barrier, results: Any) -> None:
    """Write so many records from four callers; tells the longest wait, or the error's name."""
    try:
        results.put((name, asyncio.run(_work(config, name, count, barrier))))
    except Exception as error:  # noqa: BLE001 - the test shows it.
        results.put((name, repr(error)))


def crash(config: Config, name: str, folder: Path, barrier: Barrier) -> None:
    """Write until killed, noting each record that was answered in a file of its own."""

    async def forever() -> None:
        store = Store(config)
        await store.start()
        barrier.wait(30)
        for number in range(1_000_000):
            await store.write(note, name, number)
            (folder / f"{number}").touch()

    asyncio.run(forever())
