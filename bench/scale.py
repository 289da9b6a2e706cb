"""What boxes cost when there are many: made in bulk on PostgreSQL, then a letter's steps at each size of the store.

    python -m bench scale           sizes from MSS_BENCH_BOXES, else 10000,200000

Prints boxes a second, octets a box, and for each size the median time of: looking a recipient up, delivering a letter
of 2 KiB durably, signing in without the password's own cost, and the first page of conversations; warm (the same
hundred boxes again) and cold (boxes that nobody asked for yet). The ratio is that of the largest to the smallest, warm.
Then a node's start, a backup and a check at each size, with the most memory that each held.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from bench import keeping
from bench.store_accept import HOSTED, ORIGIN, PATIENTS, SENDER, letter, now
from mss.config import Config, DomainConfig, OperatorConfig, StoreConfig
from mss.log import configure
from mss.model.account import BoxState
from mss.model.address import Address
from mss.model.envelope import Envelope, Recipient
from mss.model.ins import INS, OID_NIR, Traits
from mss.model.party import BoxKind
from mss.services import accounts, provisioning, receive, records
from mss.services.accounts import NewBox
from mss.store import store as stores
from mss.store.sealing import OPERATOR
from mss.store.store import Store, Uow
from tests.support import postgres

RATIO_MAX: Final = 1.25
RATE_MIN: Final = 20_000
START_MAX_S: Final = 2.0
_WRITERS: Final = 4
_WARM: Final = 100
_ROUNDS: Final = 400
# What a server of this size is given anywhere; everything is flushed all the same.
_SERVER: Final = ("shared_buffers=512MB", "max_wal_size=8GB", "checkpoint_timeout=15min")


def sizes() -> list[int]:
    """Return how many boxes the store is to hold, step by step."""
    return sorted(int(word) for word in os.environ.get("MSS_BENCH_BOXES", "10000,200000").split(","))


def matricule(number: int) -> str:
    """Return a matricule of its own for each number, with the right key."""
    body = f"1{number // 100_000_000:02d}01{number % 100_000_000:08d}"
    return f"{body}{97 - int(body) % 97:02d}"


def box(number: int) -> NewBox:
    """Return a patient's box."""
    ins = INS(matricule(number), OID_NIR)
    traits = Traits(f"NOM{number}", "DOMINIQUE", "19790328", "F")
    address = Address(ins.matricule, PATIENTS)
    return NewBox(address, BoxKind.PATIENT, f"Dominique NOM{number}", BoxState.UNOPENED, ins=ins, traits=traits)


async def provision(store: Store, first: int, last: int) -> float:
    """Make the boxes from one number up to another; returns boxes a second, lines not counted."""
    numbers = iter(range(first, last))
    began = time.perf_counter()

    async def work() -> None:
        while some := tuple(box(number) for number in itertools.islice(numbers, provisioning.SLICE)):
            await store.write(provisioning.add_boxes, some, "bench", now())

    await asyncio.gather(*(work() for _ in range(_WRITERS)))
    return (last - first) / (time.perf_counter() - began)


async def median_ms(work: Callable[[int], Awaitable[Any]], numbers: list[int]) -> float:
    """Return the median time of a piece of work, over the boxes of these numbers."""
    took = []
    for number in numbers:
        began = time.perf_counter()
        await work(number)
        took.append(time.perf_counter() - began)
    return statistics.median(took) * 1000


def steps(store: Store) -> dict[str, Callable[[int], Awaitable[Any]]]:
    """Return what is measured, each for the box of a number."""
    letters = itertools.count()

    async def recipient(number: int) -> None:
        found = await store.glance(accounts.box_by_address, box(number).address, now())
        assert found is not None

    async def delivery(number: int) -> None:
        to = box(number).address
        reading = letter(next(letters), 2048, to)
        await store.write(receive.accept, HOSTED, ORIGIN, Envelope(SENDER, (Recipient(to),)), reading, now())

    async def sign_in(number: int) -> None:
        await store.read(_account_of, number)

    async def first_page(number: int) -> None:
        await store.read(_first_page, number)

    return {"recipient": recipient, "delivery": delivery, "sign-in": sign_in, "first page": first_page}


def _account_of(uow: Uow, number: int) -> tuple[int, int]:
    account = uow.accounts.by_login(box(number).address.key)
    assert account is not None
    [access] = accounts.boxes_of(uow, account.id, now())
    return account.id, access.box.id


def _first_page(uow: Uow, number: int) -> None:
    records.conversations(uow, *_account_of(uow, number), 0, 20, now())


def give_accounts(uow: Uow) -> None:
    """Give every box that has none an account of its own; its sealed name is the same for all, which costs nothing."""
    run = uow._connection.exec_driver_sql
    name = uow.sealing.seal_text(OPERATOR, "Somebody", b"account name")
    run(
        "INSERT INTO accounts (login, kind, display_name, password_hash, enabled, locale, totp_confirmed,"
        " totp_last_step, created_at) SELECT address_key, 'patient', %s, 'none', true, 'fr', false, 0, 0 FROM boxes"
        " WHERE id NOT IN (SELECT box_id FROM delegations)",
        (name,),
    )
    run(
        "INSERT INTO delegations (account_id, box_id, kind) SELECT a.id, b.id, 'owner' FROM accounts a"
        " JOIN boxes b ON b.address_key = a.login ON CONFLICT DO NOTHING"
    )


async def measure(store: Store, size: int) -> dict[str, tuple[float, float]]:
    """Return the warm and the cold time of each step, in milliseconds."""
    stride = max(1, size // _WARM)
    warm = [number * stride for number in range(_WARM)] * (_ROUNDS // _WARM)
    found = {}
    for at, (name, step) in enumerate(steps(store).items()):
        cold = await median_ms(step, [(number * stride + at + 1) % size for number in range(_WARM)])
        await median_ms(step, warm[:_WARM])
        found[name] = await median_ms(step, warm), cold
    return found


async def _run(config: Config, server: postgres.Server) -> int:
    store = Store(config)
    await store.start()
    made, results, rates, starts = 0, {}, [], list[float]()
    for size in sizes():
        cpu_s = time.process_time()
        rates.append(await provision(store, made, size))
        cpu_us = (time.process_time() - cpu_s) / (size - made) * 1_000_000
        made = size
        await store.write(give_accounts)
        server.admin.execute("VACUUM ANALYZE")
        server.admin.execute("CHECKPOINT")
        octets = server.admin.execute("SELECT sum(pg_database_size(datname)) FROM pg_database").fetchone()
        results[size] = await measure(store, size)
        print(
            f"{size:>12,} boxes: {rates[-1]:,.0f} made a second, {cpu_us:.0f} µs of our processor time and"
            f" {int(octets[0] if octets else 0) / size:,.0f} octets each"
        )
        for name, (warm, cold) in results[size].items():
            print(f"{'':>12} {name:<12} {warm:7.2f} ms warm, {cold:7.2f} ms cold")
        with tempfile.TemporaryDirectory() as folder:
            found = await asyncio.to_thread(keeping.measured, config, Path(folder) / "backups")
        for name, one in found.items():
            print(
                f"{'':>12} {name:<12} {one.seconds:7.1f} s, {one.cpu_s:5.1f} s of CPU, {one.mebibytes:5.0f} MiB",
                flush=True,
            )
        starts.append(found["start"].seconds)
    await store.close()
    smallest, largest = results[sizes()[0]], results[sizes()[-1]]
    ratios = {name: largest[name][0] / smallest[name][0] for name in smallest}
    for name, ratio in ratios.items():
        print(f"{name:<12} {ratio:.2f} × from {sizes()[0]:,} to {sizes()[-1]:,} boxes (at most {RATIO_MAX})")
    print(f"provisioning {max(rates):,.0f} boxes a second (at least {RATE_MIN:,})")
    print(f"a node's start {max(starts):.1f} s at most (less than {START_MAX_S:.0f})")
    return int(max(rates) < RATE_MIN or max(ratios.values()) > RATIO_MAX or max(starts) >= START_MAX_S)


def main() -> int:
    """Run it; returns 1 when a figure does not hold."""
    configure(level="ERROR", json=False)
    with postgres.running(durable=True, more=_SERVER) as server, tempfile.TemporaryDirectory() as folder:
        store = StoreConfig(url=server.url(server.create()), keys_url=server.url(server.create()))
        domains = (DomainConfig(PATIENTS, "patient"),)
        config = Config(OperatorConfig("bench", "mx.bench.test"), domains, store=store, root=Path(folder))
        stores.create(config)
        return asyncio.run(_run(replace(config), server))
