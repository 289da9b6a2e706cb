"""Promise 1: a letter answered with 250 is in the mailbox after kill -9 at any instant, and once only.

Senders behave as operators do: a letter that got no 250 is tried again, the same octets, until it does.
"""

from __future__ import annotations

import random
import smtplib
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from tests.journeys.sites import Site, hand_over, letter, make_site, new_id

pytestmark = pytest.mark.journey

SENDERS = 4
KILLS_MIN = 3
# Letters on both sides of the limit above which octets stand aside.
SIZES_OCTETS = (2_000, 60_000, 200_000)


class Load:
    """Senders that never give a letter up, and what was answered with 250."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._stop = threading.Event()
        self.accepted: list[str] = []
        self.refused: list[str] = []
        self._threads = [threading.Thread(target=self._send, args=(seed,)) for seed in range(SENDERS)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(60)
            assert not thread.is_alive()

    def _send(self, seed: int) -> None:
        chance = random.Random(seed)
        waiting: tuple[str, bytes] | None = None
        # A letter under way is brought to its end: the server is up again when the load stops.
        while waiting is not None or not self._stop.is_set():
            try:
                with self._site.as_peer(timeout_s=10) as client:
                    for _ in range(20):
                        waiting = waiting or self._new(chance)
                        code, text = hand_over(client, waiting[1])
                        (self.accepted if code == 250 else self.refused).append(waiting[0] if code == 250 else text)
                        waiting = None if code == 250 else waiting
                        if self._stop.is_set():
                            break
            except (OSError, smtplib.SMTPException):
                time.sleep(0.05)

    @staticmethod
    def _new(chance: random.Random) -> tuple[str, bytes]:
        message_id = new_id()
        return message_id, letter(message_id, size_octets=chance.choice(SIZES_OCTETS))


def append(site: Site, count: int) -> list[str]:
    """Append letters over IMAP with a flag, each answered OK; returns their Message-IDs."""
    ids = [new_id() for _ in range(count)]
    with site.mailbox() as client:
        for message_id in ids:
            condition, _ = client.append("Archive", "(\\Flagged)", "", letter(message_id))
            assert condition == "OK"
    return ids


def kill_for(site: Site, seconds: float, *, workers: int, seed: int) -> tuple[list[str], list[str], int]:
    """Kill the server at random instants under load; returns accepted and appended Message-IDs, and the kills."""
    chance = random.Random(seed)
    appended: list[str] = []
    kills = 0
    end = time.monotonic() + seconds
    with Load(site) as load:
        while time.monotonic() < end or kills < KILLS_MIN:
            site.start(workers=workers)
            appended += append(site, 3)
            time.sleep(chance.uniform(0.1, 1.2))  # The instant of the kill is the point of the test.
            site.kill()
            kills += 1
        site.start(workers=workers)
    return load.accepted, appended, kills


@pytest.mark.parametrize("workers", [1, 2])
def test_every_letter_answered_250_is_there_once_after_kills(tmp_path: Path, workers: int) -> None:
    _prove(tmp_path, 10, workers)


@pytest.mark.soak
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("workers", [1, 2])
def test_every_letter_answered_250_is_there_once_after_ten_minutes_of_kills(tmp_path: Path, workers: int) -> None:
    _prove(tmp_path, 300, workers)


def _prove(folder: Path, seconds: float, workers: int) -> None:
    site = make_site(folder)
    try:
        accepted, appended, kills = kill_for(site, seconds, workers=workers, seed=workers)
        found: Any = site.message_ids()
        archived: Any = site.message_ids("Archive")
        flagged = _flagged(site)
    finally:
        site.operator.stop()
    assert kills >= KILLS_MIN
    assert len(accepted) >= 20
    assert {one: found[one] for one in accepted} == dict.fromkeys(accepted, 1)
    assert set(found) == set(accepted), "a letter that got no 250 is there, and its sender stopped trying"
    assert {one: archived[one] for one in appended} == dict.fromkeys(appended, 1)
    assert flagged == len(appended)


def _flagged(site: Site) -> int:
    with site.mailbox() as client:
        client.select("Archive", readonly=True)
        _, found = client.search(None, "FLAGGED")
        return len(found[0].split())
