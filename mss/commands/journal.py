"""The journal from the command line: newest records, those about something, the check of all chains, their
anchors."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, time
from pathlib import Path

from mss.clock import Clock
from mss.commands.house import read
from mss.commands.words import age
from mss.config import Config
from mss.errors import Malformed, Misconfigured
from mss.model.address import Address
from mss.model.audit import AuditRecord
from mss.services.marks import message_mark
from mss.store import Uow, anchors
from mss.store.journal import Sought

_NUMBERED = ("letter", "document", "box", "account", "mailbox", "delivery", "conversation", "receipt")


@dataclass(frozen=True, slots=True)
class Checked:
    """How many records were read, where a chain is broken (writer, number), how many heads were anchored outside, and
    which of them do not stand any more."""

    records: int
    broken: tuple[tuple[str, int], ...]
    anchors: int = 0
    unanchored: tuple[tuple[str, int], ...] = ()


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


def about(config: Config, what: str, limit: int) -> tuple[AuditRecord, ...]:
    """Return who did what to a letter, document, box or account, newest first; Malformed when it is none of these."""
    return read(config, lambda uow: _about(uow, what.strip(), limit))


def _about(uow: Uow, what: str, limit: int) -> tuple[AuditRecord, ...]:
    found: dict[tuple[str, int], AuditRecord] = {}
    for wanted in _meant(uow, what):
        found |= {(one.writer, one.number): one for one in uow.journal.find(wanted, limit)}
    return tuple(sorted(found.values(), key=lambda one: (one.at, one.number), reverse=True)[:limit])


def _meant(uow: Uow, what: str) -> tuple[Sought, ...]:
    kind, colon, number = what.partition(":")
    if what.startswith("<"):
        return (Sought(message=message_mark(uow, what) or "-"),)
    if colon and kind in _NUMBERED:
        wanted = Sought(target=what)
        more = Sought(actor=what) if kind == "account" else None
        if kind == "box" and number.isdigit():
            more = Sought(box_id=int(number))
        return (wanted,) if more is None else (wanted, more)
    account = uow.accounts.by_login(what)
    places = [] if account is None else [f"account:{account.id}"]
    wishes = [one for place in places for one in (Sought(target=place), Sought(actor=place))]
    if "@" in what:
        box = uow.accounts.box_by_address(Address.parse(what))
        wishes += [] if box is None else [Sought(box_id=box.id)]
    if not wishes:
        raise Malformed("no box, login or number of ours is written like that: see mss audit about --help")
    return tuple(wishes)


def day_of(text: str) -> datetime | None:
    """Return the beginning of a day written YYYY-MM-DD, in UTC; None for none."""
    if not text:
        return None
    try:
        return datetime.combine(datetime.strptime(text, "%Y-%m-%d").date(), time(), UTC)  # noqa: DTZ007
    except ValueError as error:
        raise Malformed("a day is written YYYY-MM-DD") from error


def of_receipt(config: Config, number: str) -> tuple[AuditRecord, ...]:
    """Return what became of the letter with a receipt number; Malformed when there is none such."""
    wanted = number.strip().lower()
    records = read(config, lambda uow: uow.journal.of_receipt(wanted))
    if not records:
        raise Malformed("there is no such receipt number here: it stands after “250” in the sender's log")
    return records


def verify(config: Config, anchored: Path | None = None) -> Checked:
    """Check every chain of the journal, and that the heads anchored outside still stand."""
    file = anchored or _anchors_file(config)
    heads = list(dict.fromkeys(anchors.read(file))) if file is not None and (anchored or file.exists()) else []

    def check(uow: Uow) -> Checked:
        count, broken = uow.journal.verify()
        missing = uow.chains.missing(heads)
        pairs = tuple((one.writer, one.number) for one in missing)
        return Checked(count, tuple((one.writer, one.number) for one in broken), len(heads), pairs)

    return read(config, check)


def _anchors_file(config: Config) -> Path | None:
    return None if config.journal.anchors_file is None else config.path(config.journal.anchors_file)


def anchor(config: Config, clock: Clock, to: Path | None) -> tuple[int, Path]:
    """Anchor the heads of all chains now; returns how many, and where."""
    file = to or _anchors_file(config)
    if file is None:
        raise Misconfigured("say where: --to FILE, or anchors_file in [journal]")
    heads = read(config, lambda uow: uow.chains.heads())
    anchors.append(file, heads, clock())
    return len(heads), file
