"""What keeping costs at a size of the store, each in a process of its own: a start, a whole backup, a check."""

from __future__ import annotations

import asyncio
import multiprocessing
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench.store_accept import now
from mss.config import Config
from mss.store import backup, check
from mss.store.store import Store


@dataclass(frozen=True, slots=True)
class Kept:
    """How long a piece of work took, its process's start included, its processor time, and the most memory it held."""

    seconds: float
    cpu_s: float
    mebibytes: float


def measured(config: Config, root: Path) -> dict[str, Kept]:
    """Start a store, back it up whole into a fresh folder, check all of its rows."""
    works: dict[str, Callable[[Config, Path], None]] = {"start": _start, "backup": _backup, "check": _check}
    return {name: _alone(work, config, root) for name, work in works.items()}


def _alone(work: Callable[[Config, Path], None], config: Config, root: Path) -> Kept:
    began = time.perf_counter()
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        cpu_s, kibibytes = pool.apply(_used, (work, config, root))
        return Kept(time.perf_counter() - began, cpu_s, kibibytes / 1024)


def _used(work: Callable[[Config, Path], None], config: Config, root: Path) -> tuple[float, int]:
    work(config, root)
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime, used.ru_maxrss


def _start(config: Config, _root: Path) -> None:
    """Begin as a node does: all of the program, the tables looked at, the store opened and asked."""
    from mss import app
    from mss.store.store import upgrade

    assert app.ROLES
    upgrade(config)

    async def run() -> None:
        store = Store(config)
        await store.start()
        await store.close()

    asyncio.run(run())


def _backup(config: Config, root: Path) -> None:
    backup.make(config, root, now())


def _check(config: Config, _root: Path) -> None:
    async def run() -> None:
        store = Store(config)
        await store.start()
        found = [one async for one in check.check(store, octets=False, repair=False)]
        assert not found, found
        await store.close()

    asyncio.run(run())
