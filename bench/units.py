"""How long units of work last in a box of a hundred thousand letters: each main service, the longest of its units.

    python -m bench units           letters from MSS_BENCH_LETTERS, else 100000

Prints, for each engine, every service with its units, the median and the longest in milliseconds of the writer's own
time (no commit, no waiting), and those above the 20 ms that a unit may last.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final

from bench.store_accept import now
from mss.clock import system_clock
from mss.config import Config, DomainConfig, LifeConfig, Limits, OperatorConfig, StoreConfig
from mss.log import configure
from mss.model.account import Box
from mss.model.address import Address, parse_domain
from mss.model.mailbox import DELETED, INBOX
from mss.model.party import BoxKind
from mss.services import accounts, appending, lives, mailbox, many
from mss.services.mailbox import FlagAction
from mss.services.reading import read_letter
from mss.store import store as stores
from mss.store.store import Store, Uow
from mss.store.units import UNIT_MAX_S
from mss.store.work import Work
from mss.upkeep import Upkeep, erase
from tests.support import postgres

_CLINIC: Final = parse_domain("clinic.mssante.test")
_SLICE: Final = 500
_OWN_OBJECTS: Final = 3000
_ACTOR: Final = "bench"
_LIMITS: Final = Limits()


def letters() -> int:
    """Return how many letters the box is to hold."""
    return int(os.environ.get("MSS_BENCH_LETTERS", "100000"))


class Noted:
    """Keeps how long each unit took, by its service; in the place of the store's own figures."""

    def __init__(self) -> None:
        self.took: defaultdict[str, list[float]] = defaultdict(list)
        self.counts: list[int] = []
        self.seconds = 0.0
        self.long = 0

    def ran(self, works: Iterable[Work]) -> None:
        """Take note of units."""
        for work in works:
            self.took[work.name].append(work.seconds)

    def kept_up(self, _job: str, _removed: int, _now: object) -> None:
        """Do nothing: the upkeep tells of its jobs."""


def _append(uow: Uow, mailbox_id: int, first: int, count: int) -> None:
    for number in range(first, first + count):
        octets = b"Subject: %d\r\nMessage-ID: <%d@bench.test>\r\n\r\nLetter %d\r\n" % (number, number, number)
        appending.append(uow, mailbox_id, read_letter(octets, _LIMITS, documents=False), (), None, _ACTOR, now())


def _fill(uow: Uow, mailbox_id: int, object_id: int, count: int) -> None:
    """Put the same letter into a mailbox so many times: what a unit costs depends on rows."""
    first, modseq = uow.mailboxes.bump(mailbox_id, count)
    row = {"flags": DELETED, "internal_date": 0, "size": 100, "object_id": object_id}
    uow.mailboxes.add(mailbox_id, [{**row, "uid": first + number} for number in range(count)], modseq, now())


def _first_object(uow: Uow, box: Box, mailbox_id: int) -> int:
    return int(uow.mailboxes.rows(mailbox_id, box.id, ((1, 1),), envelope=False, bodystructure=False)[0][5])


async def _populate(store: Store, noted: Noted) -> tuple[Box, int]:
    new = accounts.NewBox(Address("doctor", _CLINIC), BoxKind.PER, "Dr Bench")
    box = await store.write(accounts.create_box, new, _ACTOR, now())
    inbox = (await store.read(mailbox.find, box.id, INBOX, now())).id
    for first in range(0, _OWN_OBJECTS, 20):
        await store.write(_append, inbox, first, 20)
    object_id = await store.read(_first_object, box, inbox)
    for _ in range((letters() - _OWN_OBJECTS) // _SLICE):
        await store.write(_fill, inbox, object_id, _SLICE)
    noted.took.clear()
    return box, inbox


async def _walk(store: Store, config: Config, noted: Noted) -> None:
    box, inbox = await _populate(store, noted)
    last, few = letters(), ((_OWN_OBJECTS + 1, _OWN_OBJECTS + 10_000),)
    gone = ((_OWN_OBJECTS + 10_001, _OWN_OBJECTS + 20_000),)
    archive = await store.read(mailbox.find, box.id, "Archive", now())
    made = await store.write(mailbox.create, box.id, "Projects", _ACTOR, now())
    steps: tuple[tuple[Callable[..., Any], tuple[Any, ...]], ...] = (
        (_append, (inbox, last, 1)),
        *(
            (mailbox.store_flags, (inbox, part, FlagAction.ADD, ("\\Seen",), None, _ACTOR, now()))
            for part in many.parts(few)
        ),
        (mailbox.copy, (inbox, few, made.id, _ACTOR, now())),
        *((mailbox.move, (inbox, part, made.id, _ACTOR, now())) for part in many.parts(few)),
        *((mailbox.expunge, (inbox, part, _ACTOR, now())) for part in many.parts(gone)),
        (mailbox.rename, (box.id, "Projects", "Projects 2", _ACTOR, now())),
        (many.empty_some, (box.id, "Projects 2", _ACTOR, now())),
        (mailbox.delete, (box.id, "Projects 2", _ACTOR, now())),
        *((many.move_some, (inbox, archive.id, first, letters(), _ACTOR, now())) for first in range(1, letters(), 300)),
        (lives.close, (box.id, "bench", _ACTOR, now())),
    )
    for service, values in steps:
        while await store.write(service, *values) is True:
            pass
    keeping = Upkeep(store, config, system_clock, noted)
    await keeping.once()
    await keeping.stop()
    await erase(store, box.id, "bench", _ACTOR, system_clock)


def _told(engine: str, noted: Noted) -> int:
    print(f"\n{engine}: units in a box of {letters():,} letters")
    for name, took in sorted(noted.took.items(), key=lambda one: -max(one[1])):
        longest, middle = max(took), statistics.median(took)
        mark = " ← above 20 ms" if longest > UNIT_MAX_S else ""
        print(f"  {name:<40} {len(took):>6} units {middle * 1000:8.2f} ms, at most {longest * 1000:8.2f} ms{mark}")
    return sum(max(took) > UNIT_MAX_S for took in noted.took.values())


async def _on(config: Config, engine: str) -> int:
    stores.create(config)
    store, noted = Store(config), Noted()
    await store.start()
    store._writer.units = noted  # type: ignore[assignment]
    try:
        await _walk(store, config, noted)
    finally:
        await store.close()
    return _told(engine, noted)


def _config(folder: Path, store: StoreConfig | None = None) -> Config:
    domains = (DomainConfig(_CLINIC, "professional"),)
    operator, life = OperatorConfig("bench", "mx.bench.test"), LifeConfig()
    return Config(operator, domains, store=store or StoreConfig(), life=life, root=folder)


def main() -> int:
    """Run it on both engines; returns how many services have a unit that is too long."""
    configure(level="CRITICAL", json=False)
    with tempfile.TemporaryDirectory() as folder:
        found = asyncio.run(_on(_config(Path(folder)), "SQLite"))
    with postgres.running(durable=True) as server, tempfile.TemporaryDirectory() as folder:
        kept = StoreConfig(url=server.url(server.create()), keys_url=server.url(server.create()))
        return found + asyncio.run(_on(_config(Path(folder), kept), "PostgreSQL"))


if __name__ == "__main__":
    raise SystemExit(main())
