"""Promise 1, when the power goes: every letter answered 250 before the cut is there after it, whole.

A server works under strace, which writes down all that it writes and flushes; then the disk is replayed, cut off at
flushes. Once with nothing but what was flushed, once with any sectors of the rest. `make soak` takes longer.
"""

from __future__ import annotations

import asyncio
import os
import random
import re
import shutil
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest

from mss.clock import system_clock
from mss.model.address import Address
from mss.model.mailbox import INBOX
from mss.services import mailbox
from mss.services.mailbox import Columns
from mss.settings import load
from mss.store import Store, Uow, check
from tests.journeys import kernel
from tests.journeys.keeping import kept
from tests.journeys.kernel import Call
from tests.journeys.powercut import CALLS, OCTETS_MAX, Disk
from tests.journeys.sites import BOX, DOCTOR, Site, letter, new_id

pytestmark = [pytest.mark.journey, pytest.mark.slow]

# When each letter was answered, and its octets, by Message-ID.
Answered = dict[str, tuple[float, bytes]]
SENDERS: Final = 3
SIZES_OCTETS: Final = (1_000, 20_000, 200_000)
_MESSAGE_ID: Final = re.compile(rb"^Message-ID: *(<[^>]*>)", re.IGNORECASE | re.MULTILINE)
# What a cut may leave behind and the upkeep sweeps: octets whose row did not come to be.
HARMLESS: Final = frozenset({"file-without-row"})


def _send(site: Site, letters: int, answered: Answered, seed: int) -> None:
    chance = random.Random(seed)
    with site.as_peer() as client:
        for _ in range(letters):
            mark = new_id()
            octets = letter(mark, size_octets=chance.choice(SIZES_OCTETS))
            assert client.mail(DOCTOR)[0] == 250
            assert client.rcpt(BOX)[0] == 250
            code, text = client.data(octets)
            assert code == 250, text
            answered[mark] = time.time(), octets


def _worked(site: Site, folder: Path, letters: int) -> tuple[Answered, list[Call]]:
    """Let several senders work at once; returns what was answered when, and what the server asked of the kernel."""
    trace = folder / "trace"
    strace = kernel.under_strace(trace)
    words = [
        *strace[: strace.index("-s")],
        "-xx",
        "-s",
        str(OCTETS_MAX),
        "-o",
        str(trace),
        "-e",
        "trace=" + ",".join(CALLS),
    ]
    site.start(under=words)
    answered: Answered = {}
    senders = [threading.Thread(target=_send, args=(site, letters, answered, seed)) for seed in range(SENDERS)]
    for one in senders:
        one.start()
    for one in senders:
        one.join()
    assert len(answered) == SENDERS * letters
    assert site.operator.stop() == 0
    until = time.monotonic() + 30
    while "+++ exited with" not in (text := trace.read_text(encoding="utf-8", errors="replace"))[-200:]:
        assert time.monotonic() < until, "strace did not end"
        time.sleep(0.05)
    return answered, kernel.calls(text.splitlines())


def _found_after(folder: Path) -> dict[str, bytes]:
    """Open a store as a server does that comes back, look it over, and return the letters in the box by Message-ID."""

    def read(uow: Uow) -> dict[str, bytes]:
        box = uow.accounts.box_by_address(Address.parse(BOX))
        assert box is not None
        inbox = mailbox.find(uow, box.id, INBOX, system_clock())
        rows = mailbox.rows(uow, inbox.id, ((1, 99_999),), Columns.PLAIN, system_clock())
        found = [uow.objects.get(box.id, row.object_id) for row in rows]
        marks = [match[1].decode() for octets in found if (match := _MESSAGE_ID.search(octets))]
        assert len(marks) == len(set(marks)) == len(found)
        return dict(zip(marks, found, strict=True))

    async def look() -> dict[str, bytes]:
        store = Store(load(folder / "mss.toml"))
        try:
            wrong = [one.finding async for one in check.check(store, octets=True, repair=False)]
            assert [one for one in wrong if one.kind not in HARMLESS] == []
            return await store.read(read)
        finally:
            await store.close()

    return asyncio.run(look())


def _prove(site: Site, folder: Path, letters: int, cuts: int) -> None:
    disk, forgetful = Disk(site.operator.folder), Disk(site.operator.folder)
    answered, calls = _worked(site, folder, letters)
    flushes = sum(1 for call in calls if call.name in kernel.FLUSHES)
    chance, seen, most = random.Random(letters), 0, 0
    shares = cuts / max(flushes, 1)
    for call in disk.play(calls):
        if chance.random() > shares:
            continue
        due = {mark for mark, (at, _) in answered.items() if at < call.began}
        for torn in (None, chance):
            after = folder / "after"
            disk.lose_power(after, torn)
            found = _found_after(after)
            assert due <= set(found), f"{len(due - set(found))} letters that were answered 250 are gone"
            for mark in due:
                assert found[mark].endswith(answered[mark][1][-200:]), "a letter is not whole"
            shutil.rmtree(after)
        seen, most = seen + 1, max(most, len(due))
    print(f"\n{len(answered)} letters, {flushes} flushes, {seen} cuts of each kind, the last after {most} answers")
    # Group commit may make fewer flushes than cuts are wished for: then each of them is one.
    assert seen >= min(cuts, flushes) // 3
    assert most > len(answered) // 2
    _would_be_seen(forgetful, answered, calls, folder / "after")


def _would_be_seen(disk: Disk, answered: Answered, calls: list[Call], after: Path) -> None:
    """The same disk, had the flushes of the WAL not been: what was answered is not there."""
    for _ in disk.play(replace(call, result=-1) if call.name in kernel.FLUSHES else call for call in calls):
        pass
    disk.lose_power(after)
    assert not set(answered) & set(_found_after(after))


@pytest.fixture
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with kept(tmp_path_factory.mktemp("power")) as made:
        yield made


def test_what_was_answered_is_there_after_a_power_cut(site: Site, tmp_path: Path) -> None:
    _prove(site, tmp_path, letters=6, cuts=16)


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_what_was_answered_is_there_after_many_power_cuts(site: Site, tmp_path: Path) -> None:
    _prove(site, tmp_path, letters=int(os.environ.get("MSS_SOAK_LETTERS", "60")), cuts=2000)


# -- the model of the disk ---------------------------------------------------------------------------------------------


def _hex(text: str) -> str:
    return "".join(f"\\x{octet:02x}" for octet in text.encode())


def _calls(root: Path, *lines: str) -> list[Call]:
    """Read lines such as `pwrite64 FILE octets at`, one millisecond each."""
    written = []
    for number, line in enumerate(lines, 1):
        name, path, *more = line.split()
        file, text = _hex(str(root / path)), ", ".join(f'"{_hex(str(root / one))}"' for one in (path, *more))
        match name:
            case "pwrite64":
                rest = f'(3<{file}>, "{_hex(more[0])}", {len(more[0])}, {more[1]}) = {len(more[0])}'
            case "fsync":
                rest = f"(3<{file}>) = 0"
            case "openat":
                rest = f"(AT_FDCWD, {text}, O_RDWR|O_CREAT, 0600) = 3<{file}>"
            case "ftruncate":
                rest = f"(3<{file}>, {more[0]}) = 0"
            case _:
                rest = f"({text}) = 0"
        written.append(f"1 {number / 1000:.3f} {name}{rest}")
    return kernel.calls(written)


@pytest.mark.parametrize(
    ("lines", "left"),
    [
        (("pwrite64 old new 0",), {"old": b"kept"}),
        (("pwrite64 old new 0", "fsync old"), {"old": b"newt"}),
        (("pwrite64 old new 0", "fsync old", "pwrite64 old xx 4"), {"old": b"newt"}),
        (("ftruncate old 2", "fsync old"), {"old": b"ke"}),
        (("openat new", "pwrite64 new x 0", "fsync new"), {"old": b"kept"}),
        (("openat new", "pwrite64 new x 0", "fsync new", "fsync ."), {"old": b"kept", "new": b"x"}),
        (("openat new", "pwrite64 new x 0", "fsync ."), {"old": b"kept", "new": b""}),
        (("link old other", "fsync ."), {"old": b"kept", "other": b"kept"}),
        (("rename old other",), {"old": b"kept"}),
        (("rename old other", "fsync ."), {"other": b"kept"}),
        (("unlink old",), {"old": b"kept"}),
        (("unlink old", "fsync ."), {}),
        (("mkdir sub", "openat sub/new", "fsync sub"), {"old": b"kept"}),
        (("mkdir sub", "openat sub/new", "fsync sub", "fsync ."), {"old": b"kept", "sub/new": b""}),
    ],
)
def test_a_disk_keeps_what_was_flushed_and_nothing_else(
    tmp_path: Path, lines: tuple[str, ...], left: dict[str, bytes]
) -> None:
    root, after = tmp_path / "disk", tmp_path / "after"
    root.mkdir()
    (root / "old").write_bytes(b"kept")
    disk = Disk(root)
    for _ in disk.play(_calls(root, *lines)):
        pass
    disk.lose_power(after)
    found = {str(one.relative_to(after)): one.read_bytes() for one in after.rglob("*") if one.is_file()}
    assert found == left
