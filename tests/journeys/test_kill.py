"""Promise 1: a letter answered with 250 is in the mailbox after kill -9 at any instant, and once only.

So is what IMAP answered with OK, and a patient's answer that the webmail showed as sent. A letter that was not answered
is tried again by its sender, and is there once then. `make soak` takes MSS_SOAK_S seconds for each run, else 300.
"""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from mss.store.engine import is_sqlite, sqlite_path
from tests.journeys.conftest import MakeSite
from tests.journeys.keeping import kept
from tests.journeys.load import FOLDER, Load, Promises
from tests.journeys.patients import Patient
from tests.journeys.sites import PATIENCE_S, Site, letter, new_id
from tests.support import postgres

pytestmark = pytest.mark.journey

KILLS_MIN = 3
ACCEPTED_MIN = 20
SOAK_S = float(os.environ.get("MSS_SOAK_S", "300"))


@pytest.mark.parametrize("workers", [1, 2])
def test_what_was_answered_is_there_once_after_kills(new_hospital: MakeSite, workers: int) -> None:
    _prove(new_hospital(), 10, workers, seed=workers)


@pytest.mark.postgres
def test_what_was_answered_is_there_once_after_kills_on_postgres(durable_database: Site) -> None:
    _prove(durable_database, 10, 2, seed=3)


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("workers", [1, 2])
def test_what_was_answered_is_there_once_after_many_kills(new_hospital: MakeSite, workers: int) -> None:
    _prove(new_hospital(), SOAK_S, workers, seed=int(time.time()))


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_what_was_answered_is_there_once_after_many_kills_on_postgres(durable_database: Site) -> None:
    _prove(durable_database, SOAK_S, 2, seed=int(time.time()))


@pytest.fixture
def durable_database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A hospital whose store is a PostgreSQL of its own that flushes, and outlives the hospital's servers."""
    with (
        postgres.running(durable=True) as server,
        kept(tmp_path_factory.mktemp("site"), server.url(server.create())) as site,
    ):
        yield site


def _prove(site: Site, seconds: float, workers: int, *, seed: int) -> None:
    site.start(workers=workers)
    patient = Patient(site)
    site.kill()
    promises, kills = _kill_for(site, patient, seconds, workers, random.Random(seed))
    print(f"\n{workers} workers, {seconds:.0f} s, {kills} kills: {promises.figures()}")
    assert kills >= KILLS_MIN
    assert len(promises.accepted) >= ACCEPTED_MIN
    assert promises.refused
    assert promises.flagged
    found = site.message_ids()
    assert found == Counter(promises.accepted), "each letter answered 250 once, and no other"
    _prove_folders(site, promises)
    patient.look_again()
    assert {text: patient.sees(text) for text in promises.answers} == dict.fromkeys(promises.answers, 1)
    assert all(patient.sees(text) <= 1 for text in promises.unanswered_answers)
    assert _whole(site)


def _prove_folders(site: Site, promises: Promises) -> None:
    """Each letter that IMAP took is once where the client put it; what was not answered is whole or not at all."""
    archived, moved = site.message_ids("Archive"), site.message_ids(FOLDER)
    both = archived + moved
    stays = set(promises.appended) - {*promises.moved, *promises.expunged, *promises.perhaps_gone}
    assert {one: archived[one] for one in stays} == dict.fromkeys(stays, 1)
    assert {one: (archived[one], moved[one]) for one in promises.moved} == dict.fromkeys(promises.moved, (0, 1))
    assert [one for one in promises.expunged if both[one]] == []
    assert [one for one in promises.perhaps_gone if both[one] > 1] == []
    assert set(both) <= {*promises.appended, *promises.unanswered}
    gone = {*promises.expunged, *promises.perhaps_gone}
    assert set(promises.flagged) - gone <= _flagged(site, "Archive") | _flagged(site, FOLDER)


def _kill_for(
    site: Site, patient: Patient, seconds: float, workers: int, chance: random.Random
) -> tuple[Promises, int]:
    """Kill the server at random instants under load, a worker alone or everything."""
    kills = 0
    with Load(site, patient) as load:
        end = time.monotonic() + seconds
        latest = end + PATIENCE_S  # On a slow machine it goes on until there is something to prove.
        while time.monotonic() < end or (time.monotonic() < latest and not _enough(load.promises, kills)):
            site.start(workers=workers)
            for alone in (workers > 1, False):
                time.sleep(chance.uniform(0.1, 1.2))  # The instant is the point of the test.
                (_kill_a_worker if alone else Site.kill)(site)
                kills += 1
                if not alone:
                    break
        site.start(workers=workers)
    return load.promises, kills


def _enough(promises: Promises, kills: int) -> bool:
    return kills >= KILLS_MIN and len(promises.accepted) >= ACCEPTED_MIN and bool(promises.refused and promises.flagged)


def _children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _kill_a_worker(site: Site) -> None:
    assert site.operator.process is not None
    os.kill(random.choice(_children(site.operator.process.pid)), signal.SIGKILL)


def _flagged(site: Site, mailbox: str) -> set[str]:
    """Return which letters of a mailbox have both flags that the reader set."""
    with site.mailbox() as client:
        client.select(mailbox, readonly=True)
        _, found = client.uid("SEARCH", "FLAGGED", "KEYWORD", "$Vu", "SEEN")
        uids = cast(bytes, found[0]).decode().split()
        if not uids:
            return set()
        _, parts = client.uid("FETCH", ",".join(uids), "(BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)])")
    return {part[1].split(b":", 1)[1].strip().decode() for part in cast(Any, parts) if isinstance(part, tuple)}


def _whole(site: Site) -> bool:
    """Whether every letter can be read to its end, UIDs are in order, and the databases are sound."""
    with site.mailbox() as client:
        client.select("INBOX", readonly=True)
        _, parts = client.uid("FETCH", "1:*", "(BODY.PEEK[]<0.100000000>)")
        uids = [int(part[0].split(b"UID ")[1].split()[0]) for part in cast(Any, parts) if isinstance(part, tuple)]
    assert uids == sorted(set(uids))
    config = site.operator.config
    for url in filter(is_sqlite, (config.store.url, config.store.keys_url)):
        database = sqlite3.connect(sqlite_path(config.sqlite_url(url)))
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert database.execute("PRAGMA foreign_key_check").fetchall() == []
        database.close()
    return True


# -- one process of several ------------------------------------------------------------------------------------------


def _until(true: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < end, what
        time.sleep(0.02)


def _session(pid: int) -> list[int]:
    """Return the processes that live in the session that a process began."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(words[3]) == pid and words[0] != "Z":
            found.append(int(folder.name))
    return found


def test_a_killed_worker_is_replaced_and_its_reader_ends(new_hospital: MakeSite) -> None:
    site = new_hospital()
    site.start(workers=2)
    assert site.operator.process is not None
    parent = site.operator.process.pid
    for _ in range(4):  # Until a worker has a process of its own that reads large letters.
        assert site.deliver(letter(new_id(), size_octets=400_000))[0] == 250
    before = set(_children(parent))
    readers = {worker: set(_children(worker)) for worker in before}
    killed = max(before, key=lambda worker: len(readers[worker]))
    assert readers[killed]
    os.kill(killed, signal.SIGKILL)
    _until(lambda: len(set(_children(parent)) - {killed}) == 2, "the worker was not replaced")
    _until(lambda: not readers[killed] & set(_session(parent)), "the killed worker's readers live on")
    assert site.until_logged("worker.died")["code"] == -signal.SIGKILL
    assert site.deliver(letter(new_id(), size_octets=400_000))[0] == 250


def test_workers_end_when_their_parent_was_killed(new_hospital: MakeSite) -> None:
    site = new_hospital()
    site.start(workers=2)
    assert site.operator.process is not None
    parent = site.operator.process.pid
    os.kill(parent, signal.SIGKILL)
    site.operator.process.wait(PATIENCE_S)
    _until(lambda: not _session(parent), "workers live on without a parent")
    site.start(workers=2)
    assert site.deliver(letter(new_id()))[0] == 250
