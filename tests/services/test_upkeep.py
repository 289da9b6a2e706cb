"""What the house throws away by itself: only what its time is over for, in short units, by one worker of many."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from mss import upkeep as loop
from mss.config import Config
from mss.errors import Unavailable
from mss.policy.retention import ARRIVALS, LOGIN_FAILURES, LOGIN_NETWORKS
from mss.services import accounts, operators, upkeep
from mss.services.accounts import Try, WebSession
from mss.store.store import Store, Uow
from mss.upkeep import BATCH, Upkeep
from tests.services.services_world import House
from tests.store.store_world import NOW, later

_SECOND = timedelta(seconds=1)
JOBS = [
    "arrivals",
    "sessions",
    "login-failures",
    "login-networks",
    "expunged-letters",
    "directory",
    "nodes",
    "fullness",
    "lives",
    "folders",
    "deliveries",
    "journal",
    "unused",
    "files",
]
DAILY = ["lives", "folders", "journal", "unused", "files"]
TRIED = Try("claire", None, "PLAIN", "192.0.2.1")


class Noted:
    """Metrics that remember."""

    def __init__(self) -> None:
        self.done: list[tuple[str, int]] = []

    def kept_up(self, job: str, removed: int, now: datetime) -> None:
        self.done.append((job, removed))


class Hands:
    """A clock whose hands the test moves."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def noted() -> Noted:
    return Noted()


@pytest.fixture
def hands() -> Hands:
    return Hands()


@pytest.fixture
def keeping(store: Store, config: Config, hands: Hands, noted: Noted) -> Upkeep:
    return Upkeep(store, config, hands, noted)


def arrive_at(uow: Uow, first: int, count: int, at: datetime) -> None:
    for number in range(first, first + count):
        uow.queue.recognise(b"digest %d" % number, f"receipt {number}", at)


def sign_in_at(uow: Uow, number: int, created_at: datetime, seen_at: datetime) -> None:
    accounts.open_session(uow, WebSession(f"hash {number}", 1, 1, "csrf", created_at, seen_at, True), seen_at)


# -- units -----------------------------------------------------------------------------------------------------------


async def test_arrivals_go_when_no_sender_tries_any_more(house: House) -> None:
    for number, age in enumerate((ARRIVALS.keep - _SECOND, ARRIVALS.keep, ARRIVALS.keep + _SECOND)):
        await house.store.write(arrive_at, number, 1, NOW - age)
    assert await house.store.write(upkeep.forget_arrivals, 10, NOW) == 1
    assert await house.count("arrivals") == 2


async def test_sessions_go_when_nobody_can_use_them(house: House) -> None:
    for number, idle_s in enumerate((899, 900, 901)):
        await house.store.write(sign_in_at, number, NOW - timedelta(days=1), NOW - timedelta(seconds=idle_s))
    assert await house.store.write(upkeep.end_idle_sessions, 900, 10, NOW) == 1
    assert await house.count("web_sessions") == 2


@pytest.mark.parametrize("window", [timedelta(seconds=60), LOGIN_FAILURES.keep + timedelta(hours=1)], ids=str)
async def test_failures_go_when_they_count_no_longer(house: House, window: timedelta) -> None:
    kept = max(window, LOGIN_FAILURES.keep)
    for age in (kept - _SECOND, kept, kept + _SECOND):
        await house.store.write(accounts.record_login, TRIED, False, NOW - age)
    window_s = int(window.total_seconds())
    assert await house.store.write(upkeep.forget_failures, window_s, 10, NOW) == 1
    assert await house.count("login_failures") == 2


async def test_networks_go_when_nobody_signed_in_from_there_for_long(house: House) -> None:
    for number, age in enumerate((LOGIN_NETWORKS.keep - _SECOND, LOGIN_NETWORKS.keep, LOGIN_NETWORKS.keep + _SECOND)):
        tried = replace(TRIED, source=f"192.0.2.{number}")
        await house.store.write(accounts.record_login, tried, True, NOW - age)
    assert await house.store.write(upkeep.forget_networks, 10, NOW) == 1
    assert await house.count("login_networks") == 2


@pytest.mark.parametrize(("limit", "gone"), [(2, 2), (3, 3), (4, 3)])
async def test_a_unit_takes_so_many_at_most_and_the_oldest_first(house: House, limit: int, gone: int) -> None:
    for number in range(3):
        await house.store.write(arrive_at, number, 1, NOW - ARRIVALS.keep - timedelta(days=3 - number))
        await house.store.write(sign_in_at, number, NOW, NOW - timedelta(days=3 - number))
        at = NOW - timedelta(days=4 - number)
        await house.store.write(accounts.record_login, replace(TRIED, login=f"login{number}"), False, at)
        await house.store.write(
            accounts.record_login, replace(TRIED, source=str(number)), True, at - timedelta(days=99)
        )
    assert await house.store.write(upkeep.forget_arrivals, limit, NOW) == gone
    assert await house.store.write(upkeep.end_idle_sessions, 60, limit, NOW) == gone
    assert await house.store.write(upkeep.forget_failures, 60, limit, NOW) == gone
    assert await house.store.write(upkeep.forget_networks, limit, NOW) == gone
    oldest_left = f"receipt {gone}" if gone < 3 else "new"
    assert (await house.store.write(lambda uow: uow.queue.recognise(b"digest 2", "new", NOW)) or "new") == oldest_left


async def test_a_unit_is_short(house: House) -> None:
    """Processor time, so that a busy machine does not matter; a write unit lasts 20 ms at most."""
    await house.store.write(arrive_at, 0, 10 * BATCH, NOW - timedelta(days=30))
    spent: list[float] = []

    def timed(uow: Uow) -> int:
        began = time.thread_time()
        gone = upkeep.forget_arrivals(uow, BATCH, NOW)
        spent.append(time.thread_time() - began)
        return gone

    while await house.store.write(timed):
        pass
    assert len(spent) == 11
    assert sorted(spent)[len(spent) // 2] < 0.02


# -- the loop --------------------------------------------------------------------------------------------------------


async def test_a_round_empties_everything_in_several_units(house: House, keeping: Upkeep, noted: Noted) -> None:
    count = 2 * BATCH + 1
    await house.store.write(arrive_at, 0, count, NOW - timedelta(days=30))
    await house.store.write(sign_in_at, 1, NOW, NOW - timedelta(hours=1))
    await house.store.write(accounts.record_login, TRIED, False, NOW - timedelta(days=2))
    await house.store.write(accounts.record_login, replace(TRIED, login="x"), True, NOW - timedelta(days=99))
    before = house.store.commits
    await keeping.once()
    assert noted.done == list(zip(JOBS, (count, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0), strict=True))
    assert [await house.count(table) for table in ("arrivals", "web_sessions", "login_failures")] == [0, 0, 0]
    # A lease for each job, three units for the arrivals, one for each other table, two for the journal, two for
    # what nobody needs.
    assert house.store.commits - before == len(JOBS) + 3 + 7 + 2 + 2


async def test_one_worker_of_many_does_it(store: Store, config: Config, keeping: Upkeep, noted: Noted) -> None:
    other_store, other = Store(config), Noted()
    second = Upkeep(other_store, config, lambda: NOW, other)
    await keeping.once()
    await second.once()
    assert (len(noted.done), other.done) == (len(JOBS), [])
    # The first one stops and gives the lease back: the second need not wait.
    await keeping.stop()
    await second.once()
    assert [job for job, _ in other.done] == JOBS
    await other_store.close()


@pytest.mark.parametrize(("hours", "taken"), [(2.9, False), (3, True), (3.1, True)])
async def test_the_lease_of_a_worker_that_died_runs_out(
    config: Config, keeping: Upkeep, hours: float, taken: bool
) -> None:
    await keeping.once()
    other_store, other = Store(config), Noted()
    await Upkeep(other_store, config, lambda: later(hours=hours), other).once()
    assert bool(other.done) is taken
    await other_store.close()


@pytest.mark.parametrize(("hours", "files_again"), [(1, False), (23.4, False), (23.5, True), (24, True)])
async def test_files_are_looked_through_once_a_day(
    keeping: Upkeep, hands: Hands, noted: Noted, hours: float, files_again: bool
) -> None:
    await keeping.once()
    hands.now = later(hours=hours)
    noted.done.clear()
    await keeping.once()
    assert [job for job, _ in noted.done] == [job for job in JOBS if files_again or job not in DAILY]


async def test_a_job_that_fails_leaves_the_others_undisturbed(
    keeping: Upkeep, noted: Noted, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(uow: Uow, limit: int, seen: int, now: datetime) -> int:
        raise RuntimeError("not for the log")

    monkeypatch.setattr(upkeep, "end_idle_sessions", broken)
    await keeping.once()
    assert [job for job, _ in noted.done] == [job for job in JOBS if job != "sessions"]
    said = capsys.readouterr()
    lines = (said.out + said.err).splitlines()
    assert sum("upkeep.done" in line for line in lines) == len(JOBS) - 1
    (failed,) = (line for line in lines if "upkeep.failed" in line)
    assert "sessions" in failed
    assert "RuntimeError" in failed
    assert "not for the log" not in failed


async def test_a_store_that_is_away_is_tried_again(
    store: Store, keeping: Upkeep, noted: Noted, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> bool:
        raise Unavailable("the store is away")

    with monkeypatch.context() as patch:
        patch.setattr(operators, "take_lease", away)
        await keeping.once()
        await keeping.stop()
    assert noted.done == []


async def test_stopping_is_between_two_units(
    house: House, keeping: Upkeep, noted: Noted, monkeypatch: pytest.MonkeyPatch
) -> None:
    def many(uow: Uow) -> None:
        for number in range(2 * BATCH):
            sign_in_at(uow, number, NOW, NOW - timedelta(hours=1))

    await house.store.write(many)
    original = upkeep.end_idle_sessions

    def told_to_stop(uow: Uow, idle_s: int, limit: int, now: datetime) -> int:
        keeping._stopping.set()
        return original(uow, idle_s, limit, now)

    monkeypatch.setattr(upkeep, "end_idle_sessions", told_to_stop)
    await keeping.once()
    assert await house.count("web_sessions") == BATCH
    assert noted.done == [("arrivals", 0), ("sessions", BATCH)]


async def test_the_loop_begins_a_little_after_the_start_repeats_and_ends(
    keeping: Upkeep, noted: Noted, monkeypatch: pytest.MonkeyPatch
) -> None:
    rounds: Callable[[], int] = lambda: sum(job == "arrivals" for job, _ in noted.done)  # noqa: E731
    monkeypatch.setattr(loop, "_FIRST_S", 0.01)
    monkeypatch.setattr(loop, "_PAUSE_S", 0.01)
    running = asyncio.create_task(keeping.run())
    assert rounds() == 0
    while rounds() < 2:
        await asyncio.sleep(0)
    await keeping.stop()
    await running


async def test_a_loop_that_is_stopped_at_once_does_nothing(keeping: Upkeep, noted: Noted) -> None:
    running = asyncio.create_task(keeping.run())
    await asyncio.sleep(0)
    await keeping.stop()
    await running
    assert noted.done == []
