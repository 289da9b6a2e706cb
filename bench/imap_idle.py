"""Idle IMAP sessions under TLS in one worker: what each costs in memory (PSS), and how soon it is told of a new letter.

`python -m bench imap idle`. Five sessions hold each mailbox; letters come by APPEND, so many a second, and the clock
runs from the moment that APPEND was sent until a session read its EXISTS: the commit on disk is in it. The accounts'
passwords are hashed cheaply, for sign-ins are not measured here. `MSS_BENCH_SESSIONS` makes it smaller than 5,000.
"""

from __future__ import annotations

import asyncio
import os
import random
import resource
import ssl
import statistics
import sys
import tempfile
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

import uvloop

from bench.imap_client import PASSWORD, Client, letter
from demo.house import Operator
from mss import instance
from mss.clock import system_clock
from mss.model.account import AccountKind, Delegation, DelegationKind
from mss.model.address import Address, parse_domain
from mss.model.party import BoxKind
from mss.passwords import Hasher
from mss.services import accounts
from mss.store import Store

SESSIONS: Final = int(os.environ.get("MSS_BENCH_SESSIONS", "5000"))
SESSIONS_A_BOX: Final = 5
LETTERS: Final = 500
LETTERS_PER_S: Final = 50
WRITERS: Final = 20
PORT: Final = 13900
DOMAIN: Final = "hospital.test"
PSS_MAX_KIB: Final = 40
TOLD_MAX_MS: Final = 50
_SIGNING_IN: Final = 16
_PATIENCE_S: Final = 30
_SPARE_FILES: Final = 500


class Idle(asyncio.Protocol):
    """A session that signs in, selects INBOX, idles, and notes when it is told of letters."""

    def __init__(self, user: str, told: list[float]) -> None:
        self._steps = [f'LOGIN {user} "{PASSWORD}"', "SELECT INBOX", "IDLE"]
        self._told, self._unread, self._asked = told, b"", 0
        self.idles: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin; the server greets first."""
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        """Take lines: the greeting and each OK ask for the next step, each EXISTS is noted."""
        lines = (self._unread + data).split(b"\r\n")
        self._unread = lines.pop()
        for line in lines:
            if self.idles.done():
                if line.endswith(b" EXISTS"):
                    self._told.append(time.perf_counter())
            elif line.startswith(b"+ "):
                self.idles.set_result(None)
            elif line.startswith((b"* OK [CAPABILITY", b"a OK")) and self._asked < len(self._steps):
                self._transport.write(f"a {self._steps[self._asked]}\r\n".encode())
                self._asked += 1
            elif line.startswith((b"a NO", b"a BAD", b"* BYE")):
                self.idles.set_exception(RuntimeError(line.decode("latin-1")))

    def connection_lost(self, exc: Exception | None) -> None:
        """Let whoever waits know."""
        if not self.idles.done():
            self.idles.set_exception(ConnectionError("the server went away"))

    def close(self) -> None:
        """Hang up."""
        self._transport.abort()


def main() -> int:
    """Measure and print; 0 when memory and time hold."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = SESSIONS + _SPARE_FILES
    if hard != resource.RLIM_INFINITY and hard < needed:
        print(f"idle: {needed} open files are needed, {hard} allowed", file=sys.stderr)
        return 1
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, needed), hard))
    with tempfile.TemporaryDirectory(prefix="mss-idle-") as name:
        operator = _operator(Path(name) / "mss")
        operator.start()
        try:
            operator.wait_until_ready()
            return uvloop.run(_measure(operator))
        finally:
            operator.stop()


def _operator(folder: Path) -> Operator:
    plan = instance.Plan(name="Bench", hostname="localhost", domains=((DOMAIN, "professional"),), base_port=PORT)
    operator = Operator("bench", "mss", DOMAIN, "professional", PORT, folder)
    operator.config_file = instance.make(folder, plan, system_clock)
    text = operator.config_file.read_text()
    places = f"imap_connections_max = {SESSIONS + WRITERS + _SIGNING_IN}\n"
    if "\n[limits]\n" in text:
        text = text.replace("\n[limits]\n", f"\n[limits]\n{places}")
    else:
        text += f"\n[limits]\n{places}"
    operator.config_file.write_text(text)
    asyncio.run(_make_users(operator))
    return operator


async def _make_users(operator: Operator) -> None:
    store, now = Store(operator.config), system_clock()
    cheap = Hasher(passes=1, memory_kib=8).hash(PASSWORD.encode())

    async def one(number: int) -> None:
        address = Address(f"user{number}", parse_domain(DOMAIN))
        box = await store.write(accounts.create_box, accounts.NewBox(address, BoxKind.PER), "bench", now)
        login, kind = f"user{number}@{DOMAIN}", AccountKind.PROFESSIONAL
        made = await store.write(accounts.create_account, login, kind, "", cheap, "bench", now)
        await store.write(accounts.delegate, Delegation(made.id, box.id, DelegationKind.OWNER), "bench", now)

    try:
        for start in range(0, _boxes(), 100):
            await asyncio.gather(*(one(number) for number in range(start, min(start + 100, _boxes()))))
    finally:
        await store.close()


def _boxes() -> int:
    return max(WRITERS, SESSIONS // SESSIONS_A_BOX)


def _pss_kib(pids: Iterable[int]) -> int:
    """Return the proportional memory of some processes."""
    found = 0
    for pid in pids:
        with suppress(FileNotFoundError):
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
            found += next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return found


def _family(pid: int) -> list[int]:
    """Return a process and those below it."""
    found = [pid]
    for parent in found:
        for task in Path(f"/proc/{parent}/task").glob("*/children"):
            found += [int(child) for child in task.read_text().split()]
    return found


async def _measure(operator: Operator) -> int:
    assert operator.process is not None
    config, family = operator.config, _family(operator.process.pid)
    context = ssl.create_default_context(cafile=str(config.path(config.tls.ca_file)))
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    context.check_hostname = False
    told: dict[int, list[float]] = {number: [] for number in range(_boxes())}
    port, gate = operator.port("imaps"), asyncio.Semaphore(_SIGNING_IN)

    async def open_one(number: int) -> Idle:
        user = f"user{number % _boxes()}@{DOMAIN}"
        async with gate, asyncio.timeout(_PATIENCE_S):
            _, session = await asyncio.get_running_loop().create_connection(
                lambda: Idle(user, told[number % _boxes()]), "127.0.0.1", port, ssl=context, server_hostname="localhost"
            )
            await session.idles
            return session

    # The first ones bring in what a process loads once.
    sessions = [await open_one(number) for number in range(_SIGNING_IN)]
    before, started = _pss_kib(family), time.perf_counter()
    sessions += await asyncio.gather(*(open_one(number) for number in range(_SIGNING_IN, SESSIONS)))
    print(f"  {SESSIONS} sessions idle after {time.perf_counter() - started:.0f} s", file=sys.stderr)
    each = (_pss_kib(family) - before) / (SESSIONS - _SIGNING_IN)
    delays, missing = await _letters(port, context, told)
    for session in sessions:
        session.close()
    middle, late = statistics.median(delays), statistics.quantiles(delays, n=100)[98]
    print(f"\n### {SESSIONS} idle IMAP sessions under TLS in one worker, {LETTERS_PER_S} letters/s")
    print("| row | mss | target |")
    print("|---|---|---|")
    print(f"| PSS of a session, KiB | {each:.1f} | {PSS_MAX_KIB} |\n| told after, ms, median | {middle:.1f} | |")
    print(f"| told after, ms, 99 % | {late:.1f} | {TOLD_MAX_MS} |\n| not told | {missing} | 0 |")
    return 0 if each <= PSS_MAX_KIB and late <= TOLD_MAX_MS and not missing else 1


async def _letters(port: int, context: ssl.SSLContext, told: dict[int, list[float]]) -> tuple[list[float], int]:
    """Let letters come; returns the milliseconds until each session was told, and how many were not told."""
    dice, delays, missing = random.Random(1), list[float](), 0
    boxes = dice.sample(range(_boxes()), WRITERS)
    writers = [await Client.open(port, context, f"user{box}@{DOMAIN}") for box in boxes]
    octets = letter(1, 4096, dice)

    async def write(index: int) -> None:
        nonlocal missing
        heard, watching = told[boxes[index]], sum(number % _boxes() == boxes[index] for number in range(SESSIONS))
        for turn in range(LETTERS // WRITERS):
            await asyncio.sleep(max(0, began + (turn * WRITERS + index) / LETTERS_PER_S - time.perf_counter()))
            heard.clear()
            sent = time.perf_counter()
            await writers[index].append("INBOX", octets)
            end = time.perf_counter() + 2
            while len(heard) < watching and time.perf_counter() < end:
                await asyncio.sleep(0.002)
            missing += watching - len(heard)
            delays.extend((at - sent) * 1000 for at in heard)

    began = time.perf_counter() + 1
    await asyncio.gather(*(write(index) for index in range(WRITERS)))
    for writer in writers:
        writer.close()
    return delays, missing
