"""Promise 8: a crowd of senders with the largest letters makes no worker grow past a bound, and nothing is lost."""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest

from tests.journeys.conftest import MakeSite
from tests.journeys.crowds import LARGEST_OCTETS, Crowd, resident_mib
from tests.journeys.sites import PATIENCE_S, SECRET, Site

pytestmark = [pytest.mark.journey, pytest.mark.slow, pytest.mark.timeout(600)]

# A worker takes this over what it has when it is idle: its letters in memory, one large letter at a time while that is
# read and stored, and the buffers of each connection.
LETTERS_MIB = 16
ONE_AT_A_TIME_MIB = 80
CONNECTION_MIB = 1.2


def limited(site: Site, *lines: str) -> None:
    """Change limits of a site that does not run yet."""
    with site.operator.config_file.open("a", encoding="utf-8") as file:
        file.write("\n[limits]\nsmtp_connections_per_peer_max = 250\n" + "\n".join(lines) + "\n")


def pid_of(site: Site) -> int:
    assert site.operator.process is not None
    return site.operator.process.pid


def brought(crowd: Crowd, pid: int) -> None:
    """Let the crowd send everything, look while it holds its breath, and let it end."""
    thread = threading.Thread(target=crowd.run)
    thread.start()
    try:
        crowd.all_sent.wait(400)
        # What was sent may still be on its way. One letter may be on its way back already: large ones are taken singly.
        end = time.monotonic() + PATIENCE_S
        while len(_spooled(pid)) < min(crowd.count, 5) - 1:
            assert time.monotonic() < end, "letters wait on disk"
            time.sleep(0.05)
        _nothing_in_plain(pid)
    finally:
        crowd.end.set()
    thread.join(400)
    assert not thread.is_alive()


def _spooled(pid: int) -> list[Path]:
    """Return the letters that a process holds on disk."""
    found = []
    for path in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # It was closed meanwhile.
            found += [path] if "/spool/" in os.readlink(path) else []
    return found


def _nothing_in_plain(pid: int) -> None:
    for path in _spooled(pid)[:1]:
        assert SECRET.encode() not in path.read_bytes()


@pytest.mark.parametrize("count", [50, pytest.param(200, marks=pytest.mark.soak)])
def test_many_large_letters_at_once_are_all_taken_in_bounded_memory(new_hospital: MakeSite, count: int) -> None:
    site = new_hospital()
    limited(site, f"smtp_spool_max_octets = {count * LARGEST_OCTETS + (64 << 20)}")
    site.start()
    pid = pid_of(site)
    idle_mib = resident_mib(pid)
    crowd = Crowd(site, count)
    brought(crowd, pid)
    peak_mib = resident_mib(pid, peak=True)
    print(f"\n{count} letters of {LARGEST_OCTETS} octets: idle {idle_mib:.0f} MiB, at most {peak_mib:.0f} MiB")
    assert {code for code, _ in crowd.answers} == {250}
    assert peak_mib < idle_mib + LETTERS_MIB + ONE_AT_A_TIME_MIB + CONNECTION_MIB * count
    found = site.message_ids()
    assert {found[one] for one in crowd.ids} == {1}


def test_past_the_room_on_disk_letters_are_deferred_and_their_retry_is_taken(new_hospital: MakeSite) -> None:
    site, size, fitting = new_hospital(), 4_000_000, 5
    limited(site, f"smtp_spool_max_octets = {fitting * 26_214_400}", "smtp_memory_max_octets = 1000000")
    site.start()
    crowd = Crowd(site, 12, size)
    brought(crowd, pid_of(site))
    answers = Counter(code for code, _ in crowd.answers)
    assert answers == {250: fitting, 452: 12 - fitting}
    assert {text[:6] for code, text in crowd.answers if code == 452} == {b"4.3.1 "}
    again = Crowd(site, fitting, size)
    brought(again, pid_of(site))
    assert Counter(code for code, _ in again.answers) == {250: fitting}
    found = site.message_ids()
    assert {found[one] for one in (*crowd.ids, *again.ids)} == {1}
    assert found.total() == 2 * fitting
