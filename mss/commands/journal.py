"""The journal from the command line: newest records, those of one receipt, the check of all chains."""

from __future__ import annotations

from dataclasses import dataclass

from mss.commands.house import read
from mss.config import Config
from mss.errors import Malformed
from mss.model.audit import AuditRecord
from mss.store import Uow


@dataclass(frozen=True, slots=True)
class Checked:
    """How many records were read, and where a chain is broken: (writer, number)."""

    records: int
    broken: tuple[tuple[str, int], ...]


def newest(config: Config, action: str, limit: int) -> tuple[AuditRecord, ...]:
    """Return the newest records, of one action when given ("letter" is all of letter.…)."""
    return read(config, lambda uow: uow.journal.newest(limit, action))


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
