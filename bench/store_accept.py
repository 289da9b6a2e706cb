"""How many letters a second the store accepts durably, through `receive.accept`: no network, no TLS, no parsing.

    python -m bench.store_accept [--letters N] [--callers N] [--octets N] [--to doctor|patient] [--profile] [--url URL]

Prints accepts and commits a second and the statements that one accept takes; `--profile` adds where the writer thread
spends its time. The raw figure beside it is the same octets as one INSERT each, in groups of eight, on the same disk.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import os
import pstats
import sqlite3
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mss.config import Config, DomainConfig, Limits, OperatorConfig, PolicyConfig, StoreConfig
from mss.mail.compose import Correspondent, Draft, compose
from mss.model.account import Box
from mss.model.address import Address, parse_domain
from mss.model.envelope import Envelope, Recipient
from mss.model.ins import INS, Traits
from mss.model.party import BoxKind
from mss.services import accounts, receive
from mss.services.reading import Reading, read_letter
from mss.services.receive import Hosted, Origin
from mss.store import store as stores
from mss.store import writer
from mss.store.store import Store, Uow

PATIENTS, CLINIC, HOSPITAL = (parse_domain(f"{name}.mssante.test") for name in ("patient", "clinic", "chu"))
SENDER = Address("dr", HOSPITAL)
MATRICULE = "279035121518989"
HOSTED = Hosted({PATIENTS: "patient", CLINIC: "professional"}, "mx.bench.test", PolicyConfig())
ORIGIN = Origin("peer:bench", frozenset({HOSPITAL}))


def now() -> datetime:
    """Return the present instant."""
    return datetime.now(UTC)


def letter(number: int, octets: int, to: Address) -> Reading:
    """Return a letter of about so many octets, read."""
    draft = Draft(
        sender=Correspondent(SENDER, "Dr Jean MARTIN"),
        to=(Correspondent(to, "Somebody"),),
        subject="Bench",
        date=now(),
        message_id=f"<{number}.{os.getpid()}@chu.mssante.test>",
        text="\n".join(os.urandom(35).hex() for _ in range(max(0, octets - 900) // 74)),
    )
    return read_letter(compose(draft), Limits(), documents=False)


async def boxes(store: Store, kind: str, count: int) -> list[Box]:
    """Create the recipients."""
    if kind == "patient":
        new = accounts.NewBox(
            Address(MATRICULE, PATIENTS), BoxKind.PATIENT, "Dominique", ins=INS(MATRICULE), traits=Traits()
        )
        return [await store.write(accounts.create_box, new, "cli", now())]
    names = (accounts.NewBox(Address(f"dr{i}", CLINIC), BoxKind.PER, f"Dr {i}") for i in range(count))
    return [await store.write(accounts.create_box, one, "cli", now()) for one in names]


async def accept(store: Store, readings: list[tuple[Address, Reading]]) -> None:
    """One caller: the letters of the list, one after another."""
    while readings:
        to, reading = readings.pop()
        receipt = await store.write(receive.accept, HOSTED, ORIGIN, Envelope(SENDER, (Recipient(to),)), reading, now())
        assert receipt.accepted, receipt


def listen(uow: Uow, said: list[str]) -> None:
    """Note every statement that the writer's connection runs from now on."""
    driver: Any = uow._connection.connection.driver_connection
    driver.set_trace_callback(said.append)


async def statements(store: Store, to: Address, reading: Reading) -> int:
    """Return how many statements one accept takes, those around the transaction and its savepoint left out."""
    said: list[str] = []
    await store.write(listen, said)
    said.clear()
    await accept(store, [(to, reading)])
    around = ("BEGIN", "COMMIT", "SAVEPOINT", "RELEASE")
    return sum(not statement.startswith(around) for statement in said)


@contextmanager
def _nothing() -> Iterator[None]:
    yield


def raw_rate(folder: Path, octets: int, letters: int) -> float:
    """Return how many rows of so many octets SQLite alone takes a second, eight to a commit."""
    connection = sqlite3.connect(folder / "raw.sqlite", isolation_level=None)
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "wal_autocheckpoint=4000"):
        connection.execute(f"PRAGMA {pragma}")
    connection.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, octets BLOB)")
    block = os.urandom(octets)
    began = time.perf_counter()
    for _ in range(letters // 8):
        connection.execute("BEGIN IMMEDIATE")
        for _ in range(8):
            connection.execute("INSERT INTO t (octets) VALUES (?)", (block,))
        connection.execute("COMMIT")
    rate = letters / (time.perf_counter() - began)
    connection.close()
    return rate


async def run(args: argparse.Namespace, folder: Path) -> None:
    """Measure, and print."""
    config = Config(
        OperatorConfig("bench", "mx.bench.test"),
        (DomainConfig(PATIENTS, "patient"), DomainConfig(CLINIC, "professional")),
        StoreConfig(url=args.url),
        root=folder,
    )
    stores.create(config)
    store = Store(config)
    await store.start()
    lite = args.url.startswith("sqlite")
    there = [box.address for box in await boxes(store, args.to, args.boxes)]
    readings = [(to := there[i % len(there)], letter(i, args.octets, to)) for i in range(args.letters + 50)]
    await accept(store, [readings.pop() for _ in range(50)])
    commits, began, cpu = store.commits, time.perf_counter(), time.process_time()
    await asyncio.gather(*(accept(store, readings) for _ in range(args.callers)))
    spent, cpu = time.perf_counter() - began, time.process_time() - cpu
    groups = store.commits - commits
    one = await statements(store, there[0], letter(args.letters + 50, args.octets, there[0])) if lite else 0
    await store.close()
    rate = args.letters / spent
    print(
        f"{args.letters} letters of {args.octets} octets to {args.to}, {args.callers} callers: {rate:.0f} accepts/s, "
        f"{groups} commits, {cpu / args.letters * 1e6:.0f} µs of CPU each" + (f", {one} statements" if lite else "")
    )


@contextmanager
def profiled() -> Iterator[None]:
    """Profile the writer thread, and print where its time went."""
    profile = cProfile.Profile()
    original = writer.GroupWriter._run

    def run_profiled(self: writer.GroupWriter) -> None:
        profile.enable()
        try:
            original(self)
        finally:
            profile.disable()

    writer.GroupWriter._run = run_profiled  # type: ignore[method-assign]
    try:
        yield
    finally:
        writer.GroupWriter._run = original  # type: ignore[method-assign]
        pstats.Stats(profile, stream=sys.stdout).sort_stats("tottime").print_stats(35)


def main() -> None:
    """Read the options and measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--letters", type=int, default=2000)
    parser.add_argument("--callers", type=int, default=8)
    parser.add_argument("--boxes", type=int, default=20)
    parser.add_argument("--octets", type=int, default=50 * 1024)
    parser.add_argument("--to", choices=("doctor", "patient"), default="doctor")
    parser.add_argument("--url", default="sqlite:///data/store.sqlite")
    parser.add_argument("--folder", type=Path, help="where the store is made (its disk is measured)")
    parser.add_argument("--profile", action="store_true")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        with profiled() if args.profile else _nothing():
            asyncio.run(run(args, Path(folder)))
        print(
            f"SQLite alone, one row each, eight to a commit: {raw_rate(Path(folder), args.octets, args.letters):.0f}/s"
        )


if __name__ == "__main__":
    main()
