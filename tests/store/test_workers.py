"""Several worker processes on one SQLite file take turns; one that is killed takes nothing answered with it."""

from __future__ import annotations

import fcntl
import multiprocessing
import os
import signal
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from mss.config import Config
from mss.store.store import Store
from mss.store.turns import Turns
from tests.store.store_worker import crash, work

_spawn = multiprocessing.get_context("spawn")


def _waits_for_next(path: Path) -> bool:
    with path.with_suffix(".next").open("w") as probe:
        try:
            fcntl.flock(probe, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        fcntl.flock(probe, fcntl.LOCK_UN)
        return False


def test_who_just_had_a_turn_stands_behind_the_one_who_waits(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "store.lock"
    one, two = Turns(path), Turns(path)
    said: list[str] = []

    def other() -> None:
        with two.taken():
            said.append("two")

    thread = threading.Thread(target=other)
    with one.taken():
        said.append("one")
        thread.start()
        while not _waits_for_next(path):
            time.sleep(0)
    with one.taken():
        said.append("one again")
    thread.join()
    assert said == ["one", "two", "one again"]
    one.close()
    two.close()


def test_a_turn_ends_with_an_error_too(tmp_path: Path) -> None:
    turns = Turns(tmp_path / "store.lock")
    with pytest.raises(ZeroDivisionError), turns.taken():
        _ = 1 / 0
    with turns.taken():
        pass
    turns.close()


@pytest.mark.slow
async def test_worker_processes_take_turns(sqlite_config: Config) -> None:
    names, count = ("a", "b"), 300
    barrier, results = _spawn.Barrier(len(names)), _spawn.Queue()
    workers = [_spawn.Process(target=work, args=(sqlite_config, name, count, barrier, results)) for name in names]
    for worker in workers:
        worker.start()
    told = dict(results.get(timeout=50) for _ in workers)
    for worker in workers:
        worker.join(20)
    assert all(isinstance(wait, float) and wait < 5 for wait in told.values()), told
    store = Store(sqlite_config)
    records = await store.read(lambda uow: uow.journal.newest(10_000, "test.note"))
    assert Counter(one.event.actor for one in records) == {"worker:a": count, "worker:b": count}
    assert await store.read(lambda uow: uow.journal.verify()) == (2 * count, ())
    await store.close()
    # Neither had to wait until the other was done.
    moments = {
        actor: sorted(_at(one) for one in records if one.event.actor == actor) for actor in ("worker:a", "worker:b")
    }
    assert moments["worker:a"][0] < moments["worker:b"][-1]
    assert moments["worker:b"][0] < moments["worker:a"][-1]


def _at(record: object) -> int:
    return int(record.event.facts["at"])  # type: ignore[attr-defined]


@pytest.mark.slow
async def test_what_was_answered_is_there_after_a_kill(sqlite_config: Config, tmp_path: Path) -> None:
    for name in ("first", "second", "third"):
        answered = tmp_path / name
        answered.mkdir()
        barrier = _spawn.Barrier(2)
        worker = _spawn.Process(target=crash, args=(sqlite_config, name, answered, barrier))
        worker.start()
        barrier.wait(30)
        deadline = time.monotonic() + 20
        while len(list(answered.iterdir())) < 5 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert worker.pid
        os.kill(worker.pid, signal.SIGKILL)
        worker.join(20)
        store = Store(sqlite_config)
        records = await store.read(lambda uow: uow.journal.newest(100_000, "test.note"))
        there = {one.event.facts["n"] for one in records if one.event.actor == f"worker:{name}"}
        promised = {int(path.name) for path in answered.iterdir()}
        assert promised
        assert promised <= there
        assert (await store.read(lambda uow: uow.journal.verify()))[1] == ()
        await store.close()
