"""`mss account import`: boxes in bulk from CSV (its first line names the columns) or from JSON lines, slice by slice.

Like `cli`, it knows typer. It makes boxes, not accounts: nobody signs in before somebody gave them a way to.
"""

from __future__ import annotations

import csv
import json
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from mss.clock import Clock, system_clock
from mss.commands.options import HERE, ConfigFile, settings
from mss.commands.words import Kind
from mss.config import Config
from mss.errors import Malformed

_WORKERS: Final = 3
_SAID_EVERY_S: Final = 5.0
_NAMED_MAX: Final = 1000
_TRUE: Final = frozenset({"1", "true", "yes", "oui"})


@dataclass(frozen=True, slots=True)
class Line:
    """A box as a line says it: `address` is an address, or a patient's matricule."""

    address: str
    kind: str
    name: str = ""
    ins_oid: str = "nir"
    birth_name: str = ""
    first_name: str = ""
    birth_date: str = ""
    sex: str = ""
    red_list: str = ""


_COLUMNS: Final = tuple(one.name for one in fields(Line))


@dataclass(slots=True)
class Imported:
    """What an import came to so far; `bad` holds the numbers of the first lines that were left out, and why."""

    made: int = 0
    there: int = 0
    left_out: int = 0
    bad: list[tuple[int, str]] = field(default_factory=list)

    def leave_out(self, number: int, reason: str) -> None:
        """Note a line that cannot be a box."""
        self.left_out += 1
        if len(self.bad) < _NAMED_MAX:
            self.bad.append((number, reason))


def import_boxes(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="CSV, or JSON lines when it ends in .jsonl.")],
    config: ConfigFile = HERE,
) -> None:
    """Create boxes in bulk; those that are there stay as they are, so a broken import is simply begun again.

    Columns: address (or a patient's matricule), kind (per, org, app, patient), name, ins_oid, birth_name, first_name,
    birth_date (YYYYMMDD), sex, red_list. Lines that cannot be read are left out and named; the exit code is 1 then.
    """
    from mss.commands.output import complain, say

    imported = run(settings(config), system_clock, file)
    for number, reason in imported.bad:
        complain(f"line {number}: {reason}")
    say(f"{imported.made} boxes made, {imported.there} were there, {imported.left_out} lines left out.")
    if imported.left_out:
        raise typer.Exit(1)


def run(config: Config, clock: Clock, file: Path) -> Imported:
    """Import a file; Malformed when it has not the columns that every box needs."""
    import asyncio

    from mss.commands.house import actor, in_store
    from mss.services import provisioning
    from mss.services.accounts import NewBox
    from mss.store import Store

    imported = Imported()
    began = said = time.monotonic()

    async def work(store: Store) -> Imported:
        nonlocal said
        new = boxes(config, lines(file), imported)
        under_way: set[asyncio.Task[Any]] = set()

        async def one(some: tuple[NewBox, ...]) -> None:
            done = await store.write(provisioning.add_boxes, some, actor(), clock())
            imported.made, imported.there = imported.made + done.made, imported.there + done.there

        while some := tuple(islice(new, provisioning.SLICE)):
            under_way.add(asyncio.create_task(one(some)))
            if len(under_way) >= _WORKERS:
                finished, under_way = await asyncio.wait(under_way, return_when=asyncio.FIRST_COMPLETED)
                for task in finished:
                    task.result()
            if sys.stderr.isatty() and time.monotonic() - said > _SAID_EVERY_S:
                said = time.monotonic()
                rate = (imported.made + imported.there) / (said - began)
                sys.stderr.write(f"\r{imported.made + imported.there} boxes, {rate:.0f} a second ")
        await asyncio.gather(*under_way)
        return imported

    return in_store(config, work)


def boxes(config: Config, numbered: Iterable[tuple[int, Mapping[str, Any]]], imported: Imported) -> Iterator[Any]:
    """Yield the boxes that lines ask for; what cannot be one is noted with its number."""
    from mss.commands import accounts
    from mss.model.ins import Traits

    for number, values in numbered:
        try:
            line = Line(**{name: str(value or "") for name, value in values.items() if name in _COLUMNS})
            kind = Kind(line.kind.lower())
            traits = Traits(line.birth_name, line.first_name, line.birth_date, line.sex)
            patient = kind is Kind.PATIENT
            wish = accounts.Wish(
                "unopened" if patient else line.address,
                kind,
                line.name,
                (line.address,) if patient else (),
                line.ins_oid or "nir",
                traits,
                line.red_list.lower() in _TRUE,
            )
            yield accounts.new_box(config, wish)
        except Malformed as error:
            imported.leave_out(number, str(error))
        except (TypeError, ValueError):
            imported.leave_out(number, "no address, or a kind that is none of per, org, app, patient")


def lines(file: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Yield the lines of a file with their numbers; Malformed when the first names no address and kind."""
    with file.open(encoding="utf-8-sig", newline="") as stream:
        if file.suffix == ".jsonl":
            for number, text in enumerate(stream, 1):
                yield number, _object(text)
            return
        reader = csv.DictReader(stream)
        if missing := {"address", "kind"} - set(reader.fieldnames or ()):
            raise Malformed(f"the first line names no column {' and no '.join(sorted(missing))}")
        for row in reader:
            yield reader.line_num, row


def _object(text: str) -> Mapping[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
