"""IMAP over TLS: mss with two workers against Debian's Dovecot (maildir and sdbox), in turn, in one run.

`python -m bench imap [ROW …]`, or `idle` for `bench.imap_idle`. Each row prints what each side did and the ratio of mss
to the faster Dovecot, above 1 where mss is faster. All that is stored is durable on all sides; mss also encrypts it
and keeps its journal.
`MSS_BENCH_LETTERS` makes the mailboxes smaller than 10,000 letters (SELECT: ten times as many).
"""

from __future__ import annotations

import asyncio
import os
import random
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bench import imap_idle
from bench.imap_client import PASSWORD, Client, letter
from demo.house import Operator
from mss import instance, pki
from mss.clock import system_clock
from mss.model.account import AccountKind, Delegation, DelegationKind
from mss.model.address import Address, parse_domain
from mss.model.party import BoxKind
from mss.passwords import hash_password
from mss.services import accounts
from mss.store import Store

ROOT: Final = Path(__file__).parent
LETTERS: Final = int(os.environ.get("MSS_BENCH_LETTERS", "10000"))
LARGE: Final = max(10, LETTERS // 10)
HUGE_COPIES: Final = 10
USERS: Final = 21
ROUNDS: Final = 3
MSS_PORT: Final = 13700
PEER_PORTS: Final = {"maildir": 13800, "sdbox": 13810}


@dataclass(frozen=True, slots=True)
class Side:
    """One server."""

    name: str
    port: int
    context: ssl.SSLContext
    domain: str

    async def client(self, number: int = 0) -> Client:
        """Sign in as one of the users."""
        return await Client.open(self.port, self.context, f"user{number}@{self.domain}")


# A measurement returns how much was done in a second, so that more is better.
Measure = Callable[[Side], Awaitable[float]]


async def _rate(client: Client, command: str, count: int) -> float:
    started = time.perf_counter()
    await client.ask(command)
    return count / (time.perf_counter() - started)


async def _on(side: Side, mailbox: str) -> Client:
    client = await side.client()
    await client.ask(f"SELECT {mailbox}")
    return client


# -- the rows --------------------------------------------------------------------------------------------------------

_LISTING: Final = "FETCH 1:* (FLAGS UID ENVELOPE BODYSTRUCTURE)"


async def listing(side: Side) -> float:
    """FETCH of FLAGS, UID, ENVELOPE, BODYSTRUCTURE of all letters, letters/s."""
    client = await _on(side, "BIG")
    rate = await _rate(client, _LISTING, LETTERS)
    assert client.fetched == LETTERS, (side.name, client.fetched)
    client.close()
    return rate


async def bodies(side: Side) -> float:
    """FETCH of whole letters of 50 KiB, letters/s."""
    client = await _on(side, "LARGE")
    rate = await _rate(client, "FETCH 1:* (BODY.PEEK[])", LARGE)
    assert client.octets > LARGE * 50_000, (side.name, client.octets)
    client.close()
    return rate


async def sign_ins(side: Side) -> float:
    """Connections with TLS and LOGIN on 16 at a time, sign-ins/s; both sides compare passwords by the same Argon2id."""
    count, gate = 160, asyncio.Semaphore(16)

    async def one(number: int) -> None:
        async with gate:
            client = await side.client(number % USERS)
            await client.ask("LOGOUT")
            client.close()

    started = time.perf_counter()
    await asyncio.gather(*(one(number) for number in range(count)))
    return count / (time.perf_counter() - started)


async def appends(side: Side) -> float:
    """APPEND of 50 KiB by 8 users, letters/s."""
    dice, each = random.Random(time.monotonic_ns()), 40
    letters = [letter(number, 50 * 1024, dice) for number in range(8 * each)]
    clients = [await side.client(number + 1) for number in range(8)]

    async def one(number: int) -> None:
        for index in range(each):
            await clients[number].append("INBOX", letters[number * each + index])
        clients[number].close()

    started = time.perf_counter()
    await asyncio.gather(*(one(number) for number in range(8)))
    return len(letters) / (time.perf_counter() - started)


async def store_all(side: Side) -> float:
    """STORE of one flag on all letters, set and cleared, letters/s."""
    client = await _on(side, "BIG")
    started = time.perf_counter()
    for sign in "+-":
        await client.ask(f"STORE 1:* {sign}FLAGS (\\Flagged)")
    client.close()
    return 2 * LETTERS / (time.perf_counter() - started)


async def store_single(side: Side) -> float:
    """STORE on one letter after another, commands/s."""
    client, count = await _on(side, "BIG"), min(300, LETTERS)
    started = time.perf_counter()
    for number in range(1, count + 1):
        await client.ask(f"STORE {number} +FLAGS (\\Answered)")
    elapsed = time.perf_counter() - started
    await client.ask("STORE 1:* -FLAGS.SILENT (\\Answered)")
    client.close()
    return count / elapsed


async def text(side: Side) -> float:
    """SEARCH TEXT of a word that no letter holds, letters/s."""
    client = await _on(side, "BIG")
    rate = await _rate(client, "SEARCH TEXT zebrafinch", LETTERS)
    client.close()
    return rate


async def sort(side: Side) -> float:
    """SORT by subject and date, letters/s."""
    client = await _on(side, "BIG")
    rate = await _rate(client, "SORT (SUBJECT DATE) UTF-8 ALL", LETTERS)
    client.close()
    return rate


async def thread(side: Side) -> float:
    """THREAD by references, letters/s."""
    client = await _on(side, "BIG")
    rate = await _rate(client, "THREAD REFERENCES UTF-8 ALL", LETTERS)
    client.close()
    return rate


async def mixed(side: Side) -> float:
    """20 clients, each in its own mailbox: list, select, fetch, store, search, append, copy, expunge; commands/s."""
    small = letter(1, 10 * 1024, random.Random(1))
    clients = [await side.client(number + 1) for number in range(20)]

    async def one(number: int) -> int:
        dice, client = random.Random(number), clients[number]
        await client.ask("CREATE MIX", may_fail=True)
        await client.append("MIX", small)
        await client.ask("SELECT MIX")
        for _ in range(60):
            match dice.randrange(9):
                case 0:
                    await client.append("MIX", small)
                case 1:
                    await client.ask("FETCH 1:* (UID FLAGS)")
                case 2:
                    await client.ask("FETCH * (BODY.PEEK[])")
                case 3:
                    await client.ask("FETCH * (FLAGS ENVELOPE BODYSTRUCTURE)")
                case 4:
                    await client.ask("STORE * +FLAGS (\\Seen)")
                case 5:
                    await client.ask("SEARCH UNSEEN")
                case 6:
                    await client.ask('LIST "" *')
                case 7:
                    await client.ask("STATUS INBOX (MESSAGES UNSEEN)")
                case 8:
                    await client.ask("NOOP")
        client.close()
        return 63

    started = time.perf_counter()
    counts = sum(await asyncio.gather(*(one(number) for number in range(20))))
    return counts / (time.perf_counter() - started)


async def select(side: Side) -> float:
    """SELECT of a mailbox of ten times as many letters, commands/s."""
    client = await side.client()
    rate = await _rate(client, "SELECT HUGE", 1)
    client.close()
    return rate


async def resync(side: Side) -> float:
    """SELECT (QRESYNC) of that mailbox after ten letters were flagged and ten removed, commands/s."""
    client = await side.client()
    await client.ask("SELECT HUGE")
    validity, modseq = await _state(client)
    dice = random.Random(time.monotonic_ns())
    numbers = dice.sample(range(1, HUGE_COPIES * LETTERS - 200), 20)
    await client.ask(f"STORE {','.join(map(str, numbers[:10]))} +FLAGS.SILENT (\\Flagged)")
    await client.ask(f"STORE {','.join(map(str, numbers[10:]))} +FLAGS.SILENT (\\Deleted)")
    await client.ask("EXPUNGE")
    client.close()
    again = await side.client()
    await again.ask("ENABLE QRESYNC")
    rate = await _rate(again, f"SELECT HUGE (QRESYNC ({validity} {modseq}))", 1)
    # Letters that were flagged in a round before are not told again.
    assert again.fetched, side.name
    again.close()
    return rate


async def _state(client: Client) -> tuple[int, int]:
    await client.ask("STATUS HUGE (UIDVALIDITY HIGHESTMODSEQ)")
    words = client.told.replace(b"(", b" ").replace(b")", b" ").split()
    return int(words[words.index(b"UIDVALIDITY") + 1]), int(words[words.index(b"HIGHESTMODSEQ") + 1])


ROWS: Final[dict[str, Measure]] = {
    "listing": listing, "bodies": bodies, "sign-ins": sign_ins, "appends": appends, "store": store_all,
    "single-stores": store_single, "text": text, "sort": sort, "thread": thread, "mixed": mixed, "select": select,
    "resync": resync,
}  # fmt: skip
# Rows whose first time, with nothing prepared, is told apart from the others.
HAS_FIRST: Final = ("listing", "text", "sort")
NEEDS_BIG: Final = frozenset({"listing", "store", "single-stores", "text", "sort", "thread", "select", "resync"})


# -- the run ---------------------------------------------------------------------------------------------------------


def main(names: list[str]) -> int:
    """Measure and print; 0 when every row could be measured."""
    if names == ["idle"]:
        return imap_idle.main()
    unknown = [name for name in names if name not in ROWS]
    if unknown:
        print(f"unknown: {', '.join(unknown)}; there are {', '.join(ROWS)}", file=sys.stderr)
        return 2
    chosen = [name for name in ROWS if name in names or not names]
    with tempfile.TemporaryDirectory(prefix="mss-bench-") as name, ExitStack() as stack:
        folder = Path(name)
        folder.chmod(0o755)
        sides = [*_dovecots(stack, folder), stack.enter_context(_mss(folder / "mss"))]
        asyncio.run(_measure(sides, chosen))
    return 0


async def _measure(sides: list[Side], chosen: list[str]) -> None:
    for side in sides:
        await _fill(side, chosen)
    print(f"\n### IMAP over TLS, {LETTERS} letters\n| row | maildir | sdbox | mss | mss / faster Dovecot (range) |")
    print("|---|---|---|---|---|")
    for name in chosen:
        if name in HAS_FIRST:
            _print(f"{name}, first", [[await ROWS[name](side)] for side in sides])
        results: list[list[float]] = [[] for _ in sides]
        for number in range(ROUNDS):
            for index in sorted(range(len(sides)), key=lambda index: (index + number) % len(sides)):
                results[index].append(await ROWS[name](sides[index]))
        _print(name, results)


def _print(name: str, results: list[list[float]]) -> None:
    *peers, ours = results
    ratios = [mine / max(theirs) for mine, *theirs in zip(ours, *peers, strict=True)]
    values = " | ".join(f"{statistics.median(each):,.1f}" for each in results)
    middle = statistics.median(ratios)
    print(f"| {name} | {values} | {middle:.2f} ({min(ratios):.2f}–{max(ratios):.2f}) |", flush=True)


async def _fill(side: Side, chosen: list[str]) -> None:
    """Put the letters that the rows need into a side's mailboxes."""
    started, dice = time.monotonic(), random.Random(1)
    if NEEDS_BIG & set(chosen):
        await _append_all(side, "BIG", [letter(number, 4096, dice) for number in range(LETTERS)])
    if "bodies" in chosen:
        await _append_all(side, "LARGE", [letter(number, 50 * 1024, dice) for number in range(LARGE)])
    if {"select", "resync"} & set(chosen):
        client = await _on(side, "BIG")
        await client.ask("CREATE HUGE")
        for _ in range(HUGE_COPIES):
            await client.ask("COPY 1:* HUGE")
        client.close()
    print(f"  {side.name}: filled in {time.monotonic() - started:.0f} s", file=sys.stderr)


async def _append_all(side: Side, mailbox: str, letters: list[bytes]) -> None:
    clients = [await side.client() for _ in range(8)]
    await clients[0].ask(f"CREATE {mailbox}")

    async def some(index: int) -> None:
        for each in letters[index :: len(clients)]:
            await clients[index].append(mailbox, each)

    await asyncio.gather(*(some(index) for index in range(len(clients))))
    for client in clients:
        client.close()


# -- the sides -------------------------------------------------------------------------------------------------------


def _dovecots(stack: ExitStack, folder: Path) -> Iterator[Side]:
    authority = pki.make_authority(folder / "authority", now=system_clock(), name="BENCH")
    chain, key = pki.issue(folder / "peer", authority, {"CN": "localhost"}, ["localhost"], now=system_clock())
    files = folder / "peer-pki"
    files.mkdir(mode=0o755)
    for target, source in (("server.pem", chain), ("server.key", key), ("ca.pem", authority.ca_file)):
        (files / target).write_bytes(source.read_bytes())
        (files / target).chmod(0o644)
    context = _context(authority.ca_file)
    for form, port in PEER_PORTS.items():
        stack.enter_context(_dovecot(folder / form, files, form, port))
        yield Side(f"Dovecot {form}", port + 1, context, "example.test")


def _context(ca_file: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(ca_file))
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    context.check_hostname = False
    return context


@contextmanager
def _dovecot(folder: Path, files: Path, form: str, port: int) -> Iterator[None]:
    script = str(ROOT / "peers" / "postfix_dovecot.sh")
    environment = {
        "NOPOSTFIX": "1", "IMAP_PORT": str(port), "IMAPS_PORT": str(port + 1), "NAME": f"bench{form}",
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HASH": hash_password(PASSWORD),
    }  # fmt: skip
    quiet: Any = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "env": environment}
    subprocess.run([script, "start", str(folder), str(files), form], check=True, **quiet)
    try:
        yield
    finally:
        subprocess.run([script, "stop", str(folder)], check=False, **quiet)


@contextmanager
def _mss(folder: Path) -> Iterator[Side]:
    plan = instance.Plan(
        name="Bench", hostname="localhost", domains=(("hospital.test", "professional"),), base_port=MSS_PORT
    )
    operator = Operator("bench", "mss", "hospital.test", "professional", MSS_PORT, folder)
    operator.config_file = instance.make(folder, plan, system_clock)
    asyncio.run(_make_users(operator))
    operator.start(workers=2)
    try:
        operator.wait_until_ready()
        config = operator.config
        yield Side("mss", operator.port("imaps"), _context(config.path(config.tls.ca_file)), "hospital.test")
    finally:
        operator.stop()


async def _make_users(operator: Operator) -> None:
    store, now, hashed = Store(operator.config), system_clock(), hash_password(PASSWORD)
    try:
        for number in range(USERS):
            address = Address(f"user{number}", parse_domain("hospital.test"))
            box = await store.write(accounts.create_box, accounts.NewBox(address, BoxKind.PER), "bench", now)
            login, kind = f"user{number}@hospital.test", AccountKind.PROFESSIONAL
            made = await store.write(accounts.create_account, login, kind, "", hashed, "bench", now)
            await store.write(accounts.delegate, Delegation(made.id, box.id, DelegationKind.OWNER), "bench", now)
    finally:
        await store.close()
