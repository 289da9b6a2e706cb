"""Rights on a large dossier, a patient's page of a large mailbox: milliseconds of processor a unit, and their bounds.

`python -m bench rights`. There is no peer to name: the bounds are the house's own. The store is SQLite in a folder of
the system's; the median of many readings counts, the first ones warm it up. A busy machine waits longer; it works no
more.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from mss.config import Config, DomainConfig, OperatorConfig, StoreConfig
from mss.dossier.categories import category_of
from mss.dossier.habilitation import parse
from mss.model.account import Account, AccountKind, Box, Delegation, DelegationKind
from mss.model.address import Address, Domain
from mss.model.conversation import Direction, Participant, Role
from mss.model.document import Document, DocumentEntry, DocumentFormat, FiledBy
from mss.model.ins import INS, OID_NIR_TEST
from mss.model.party import BoxKind
from mss.model.rights import Grant, Grantee, GrantKind, Professional, Purpose
from mss.services import accounts, records, rights
from mss.services.rights import Book
from mss.store.conversations import NewLetter
from mss.store.store import Store, Uow, create

NOW: Final = datetime(2026, 11, 22, tzinfo=UTC)
DOCUMENTS, LETTERS, PER_CONVERSATION, SLICE = 10_000, 100_000, 20, 500
TYPES: Final = tuple(f"{n}-{n % 10}" for n in range(87))
BOUNDS_MS: Final = {
    "a dossier of 10,000 judged, document by document": 20,
    "listed for one professional, first page": 20,
    "a page of 50 conversations from 100,000 letters": 30,
}
_READINGS, _WARM = 60, 10


def main() -> int:
    """Measure and print; the exit code says whether all bounds hold."""
    with tempfile.TemporaryDirectory(prefix="mss-bench-") as folder:
        measured = asyncio.run(_measure(Path(folder)))
    for name, ms in measured.items():
        print(f"{name}: {ms:.1f} ms (bound {BOUNDS_MS[name]} ms)")
    return int(any(ms > BOUNDS_MS[name] for name, ms in measured.items()))


async def _measure(folder: Path) -> dict[str, float]:
    (folder / "data").mkdir()
    (folder / "keys").mkdir()
    config = Config(
        operator=OperatorConfig("bench", "mx.bench.test"),
        domains=(DomainConfig("patient.bench.test", "patient"),),
        store=StoreConfig(readers=1),
        root=folder,
    )
    create(config, lambda: NOW)
    store = Store(config)
    await store.start()
    try:
        box, owner = await store.write(_patient)
        one = Professional(99, "Dr", "899700000001", "10")
        book = Book(_matrix())
        await _fill(store, box)
        judge: Callable[[Uow], Any] = lambda uow: rights.judge_all(uow, book, one, box.id, Purpose.TREATMENT, NOW)  # noqa: E731
        page: Callable[[Uow], Any] = lambda uow: rights.listing(uow, book, one, box.id, Purpose.TREATMENT, NOW)  # noqa: E731
        talks: Callable[[Uow], Any] = lambda uow: records.conversations(uow, owner.id, box.id, 0, 50, NOW)  # noqa: E731
        units = (judge, page, talks)
        return {name: await _median_ms(store, unit) for name, unit in zip(BOUNDS_MS, units, strict=True)}
    finally:
        await store.close()


async def _median_ms(store: Store, unit: Callable[[Uow], Any]) -> float:
    def timed(uow: Uow) -> float:
        began = time.thread_time()
        assert unit(uow)
        return (time.thread_time() - began) * 1000

    taken = [await store.read(timed) for _ in range(_READINGS)]
    return statistics.median(taken[_WARM:])


def _matrix() -> Any:
    rows = "".join(f"{code},x,{'X' if n % 2 else ''},X\n" for n, code in enumerate(TYPES))
    return parse(f"code,label,10,60\n{rows}")


def _patient(uow: Uow) -> tuple[Box, Account]:
    address = Address("279035121518989", Domain("patient.bench.test"))
    new = accounts.NewBox(address, BoxKind.PATIENT, "P", ins=INS("279035121518989", OID_NIR_TEST))
    box = accounts.create_box(uow, new, "bench", NOW)
    owner = accounts.create_account(uow, "p", AccountKind.PATIENT, "P", "hash", "bench", NOW)
    accounts.delegate(uow, Delegation(owner.id, box.id, DelegationKind.OWNER), "bench", NOW)
    uow.rights.grant(box.id, Grant(0, GrantKind.CARE_TEAM, Grantee("Dr", person_id="899700000001"), NOW))
    return box, owner


async def _fill(store: Store, box: Box) -> None:
    for first in range(0, DOCUMENTS, SLICE):
        await store.write(_file, box.id, first)
    for first in range(0, LETTERS // PER_CONVERSATION, SLICE // PER_CONVERSATION):
        await store.write(_converse, box.id, first)


def _file(uow: Uow, box_id: int, first: int) -> None:
    for n in range(first, first + SLICE):
        code = TYPES[n % len(TYPES)]
        entry = DocumentEntry(f"1.2.{n}", DocumentFormat.CDA, f"Compte rendu {n}", code)
        at = NOW + timedelta(seconds=n)
        uow.dossiers.file(
            Document(
                0, box_id, entry, f"e{n}", f"l{n}", 1, 1000, at, FiledBy.LETTER, category_of(code), masked=n % 10 == 0
            )
        )


def _converse(uow: Uow, box_id: int, first: int) -> None:
    sender = Participant(Address("dr", Domain("chu.bench.test")), "Dr Bench", Role.SENDER)
    for n in range(first, first + SLICE // PER_CONVERSATION):
        number = uow.conversations.create(box_id, f"Sujet {n}", NOW)
        for m in range(PER_CONVERSATION):
            at = NOW + timedelta(seconds=n * PER_CONVERSATION + m)
            uid = n * PER_CONVERSATION + m + 1
            flags = (True, False, False, m == 0)
            new = NewLetter(uid, 1, uid, Direction.RECEIVED, f"{n}.{m}", *flags, sender, (sender,))
            uow.conversations.add_letter(box_id, number, new, at)
