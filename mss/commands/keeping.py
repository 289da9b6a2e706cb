"""What boxes keep, from the command line: expunged letters, quotas, whose \\Seen counts."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Final

from mss.clock import Clock
from mss.commands.house import actor, address_of, in_store, read, write
from mss.commands.words import QuotaKind, age
from mss.config import Config
from mss.errors import Malformed
from mss.model.account import Box
from mss.model.mailbox import Expunged, Quota
from mss.model.party import BoxKind
from mss.services import accounts, own_seen, undelete
from mss.services import quotas as quota_service
from mss.store import Store, Uow

_SIZE: Final = re.compile(r"(\d{1,12})([KMGT]?)")
_UNITS: Final[Mapping[str, int]] = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_KINDS: Final[Mapping[QuotaKind, BoxKind]] = {
    QuotaKind.PER: BoxKind.PER,
    QuotaKind.ORG: BoxKind.ORG,
    QuotaKind.APP: BoxKind.APP,
    QuotaKind.CAB: BoxKind.CAB,
    QuotaKind.PATIENT: BoxKind.PATIENT,
}


def _box(uow: Uow, address: str, now: datetime) -> Box:
    found = accounts.box_by_address(uow, address_of(address, "the box"), now)
    if found is None:
        raise Malformed("no box of ours has this address: `mss account list` shows them")
    return found


# -- expunged letters ------------------------------------------------------------------------------------------------


def expunged(config: Config, clock: Clock, box: str, mailbox: str, since: str, limit: int = 0) -> tuple[Expunged, ...]:
    """Return the letters of a box that can be put back, newest first."""
    return read(config, partial(_expunged, box=box, mailbox=mailbox, since=since, limit=limit, now=clock()))


def _expunged(uow: Uow, *, box: str, mailbox: str, since: str, limit: int, now: datetime) -> tuple[Expunged, ...]:
    begun = now - age(since) if since else None
    return undelete.expunged(uow, _box(uow, box, now).id, now, mailbox or None, begun, limit)


def restore(config: Config, clock: Clock, box: str, mailbox: str, since: str, numbers: tuple[int, ...]) -> int:
    """Put letters back, in units of work that are short; returns how many came back."""
    now = clock()

    async def work(store: Store) -> int:
        owner = await store.read(lambda uow: _box(uow, box, now))
        count = 0
        while some := _of(await store.read(_chosen, box, mailbox, since, now), numbers)[: undelete.RESTORED_MAX]:
            count += await store.write(undelete.restore, owner.id, some, actor(), now)
        return count

    return in_store(config, work)


def _chosen(uow: Uow, box: str, mailbox: str, since: str, now: datetime) -> tuple[Expunged, ...]:
    return _expunged(uow, box=box, mailbox=mailbox, since=since, limit=0, now=now)


def _of(found: tuple[Expunged, ...], numbers: tuple[int, ...]) -> tuple[Expunged, ...]:
    return tuple(one for one in found if one.id in numbers) if numbers else found


def erase(config: Config, clock: Clock, box: str, mailbox: str, since: str) -> int:
    """Drop expunged letters before their time; returns how many went."""
    now = clock()

    async def work(store: Store) -> int:
        owner = await store.read(lambda uow: _box(uow, box, now))
        count = 0
        while some := await store.read(_chosen, box, mailbox, since, now):
            count += await store.write(undelete.erase, owner.id, some, actor(), now)
        return count

    return in_store(config, work)


# -- whose \Seen -----------------------------------------------------------------------------------------------------


def set_own_seen(config: Config, clock: Clock, box: str, *, own: bool) -> None:
    """Give each reader of a box an own \\Seen that begins with what was seen by all, or one to all."""
    now = clock()

    async def work(store: Store) -> None:
        owner = await store.read(lambda uow: _box(uow, box, now))
        if not owner.kind.is_professional:
            raise Malformed("this is a patient's box: it is read on the web only")
        readers = await store.read(lambda uow: tuple(one.id for one, _ in uow.accounts.delegations_on(owner.id)))
        mailboxes = await store.read(lambda uow: tuple(one.id for one in uow.mailboxes.all_of(owner.id)))
        for mailbox_id, reader in [(one, reader) for one in mailboxes for reader in readers] if own else ():
            await store.write(own_seen.inherit, mailbox_id, reader, now)
        await store.write(own_seen.begin, owner.id, own, actor(), now)

    in_store(config, work)


# -- quotas ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class QuotaRow:
    """A quota and, for a box, how much it holds."""

    subject: str
    quota: Quota
    octets: int | None = None
    letters: int | None = None

    def values(self) -> dict[str, object]:
        """Return it for programs."""
        limits = {"octets_max": self.quota.octets_max, "letters_max": self.quota.letters_max}
        return {"for": self.subject, "octets": self.octets, "letters": self.letters, **limits}

    def cells(self) -> tuple[str, ...]:
        """Return it for people."""
        numbers = (self.octets, self.quota.octets_max, self.letters, self.quota.letters_max)
        return (self.subject, *("-" if one is None else str(one) for one in numbers))


def quotas(config: Config, clock: Clock, box: str, kind: QuotaKind | None) -> tuple[QuotaRow, ...]:
    """Return what one box holds and may hold, or every quota that is set (of a kind when given)."""
    return read(config, partial(_quotas, box=box, kind=kind, now=clock()))


def _quotas(uow: Uow, *, box: str, kind: QuotaKind | None, now: datetime) -> tuple[QuotaRow, ...]:
    if box:
        found = quota_service.filling(uow, _box(uow, box, now).id, now)
        return (QuotaRow("this box", found.quota, found.usage.octets, found.usage.letters),)
    wanted = f"kind:{_KINDS[kind].value}" if kind is not None else ""
    rows = uow.quotas.all().items()
    return tuple(QuotaRow(subject, quota) for subject, quota in rows if not wanted or subject == wanted)


def set_quota(
    config: Config, clock: Clock, box: str, kind: QuotaKind | None, size: str, letters: int, *, none: bool
) -> None:
    """Set or drop the quota of a box or of a kind."""
    if bool(box) is (kind is not None):
        raise Malformed("give a box or --kind, one of the two")
    if none and (size or letters):
        raise Malformed("--none goes without --size and --letters")
    quota = None if none else Quota(_octets(size) if size else None, letters or None)
    write(config, partial(_set_quota, box=box, kind=kind, quota=quota, now=clock()))


def _octets(text: str) -> int:
    match = _SIZE.fullmatch(text.strip().upper())
    if match is None or not int(match.group(1)):
        raise Malformed("--size is a number, with K, M, G or T after it: 500M, 2G")
    return int(match.group(1)) * _UNITS[match.group(2)]


def _set_quota(uow: Uow, *, box: str, kind: QuotaKind | None, quota: Quota | None, now: datetime) -> None:
    if kind is not None:
        quota_service.set_for_kind(uow, _KINDS[kind], quota, actor(), now)
    else:
        quota_service.set_for_box(uow, _box(uow, box, now).id, quota, actor(), now)
