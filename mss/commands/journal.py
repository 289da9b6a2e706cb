"""The journal from the command line: newest records, those of one receipt, the check of all chains."""

from __future__ import annotations

from dataclasses import dataclass

from mss.clock import Clock
from mss.commands.house import read
from mss.commands.words import age
from mss.config import Config
from mss.errors import Malformed
from mss.model.audit import AuditRecord
from mss.store import Uow
from mss.store.journal import Sought


@dataclass(frozen=True, slots=True)
class Checked:
    """How many records were read, and where a chain is broken: (writer, number)."""

    records: int
    broken: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Filters:
    """Which records are meant, as typed; what is empty is no condition."""

    action: str = ""
    rule: str = ""
    who: str = ""
    younger: str = ""


def newest(config: Config, clock: Clock, filters: Filters, limit: int) -> tuple[AuditRecord, ...]:
    """Return the newest records that are meant; an action or a rule stands for all below it ("letter" for letter.…)."""
    since = clock() - age(filters.younger) if filters.younger else None
    wanted = Sought(filters.action, filters.rule, filters.who, since)
    return read(config, lambda uow: uow.journal.find(wanted, limit))


def of_receipt(config: Config, number: str) -> tuple[AuditRecord, ...]:
    """Return what became of the letter with a receipt number; Malformed when there is none such."""
    wanted = number.strip().lower()
    records = read(config, lambda uow: uow.journal.of_receipt(wanted))
    if not records:
        raise Malformed("there is no such receipt number here: it stands after “250” in the sender's log")
    return records


def verify(config: Config) -> Checked:
    """Check every chain of the journal."""
    return read(config, _verify)


def _verify(uow: Uow) -> Checked:
    count, broken = uow.journal.verify()
    return Checked(count, tuple((one.writer, one.number) for one in broken))
