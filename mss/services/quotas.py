"""How much boxes may hold (RFC 9208): asked before letters come in, set by the operator per kind and per box."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from mss.errors import MssError
from mss.model.account import Box
from mss.model.audit import AuditEvent
from mss.model.mailbox import Quota, Usage
from mss.model.party import BoxKind
from mss.store import Uow


class OverQuota(MssError):
    """The box holds as much as it may."""


@dataclass(frozen=True, slots=True)
class Filling:
    """How much a box holds, and what it may hold."""

    usage: Usage
    quota: Quota


def has_room(uow: Uow, box: Box, letters: int, octets: int) -> bool:
    """Say whether so much more may come into a box."""
    quota = uow.quotas.quota(box.id, box.kind.value)
    return quota == Quota() or quota.has_room(uow.quotas.usage(box.id), letters, octets)


def must_have_room(uow: Uow, box_id: int, letters: int, octets: int) -> None:
    """Raise OverQuota when so much more may not come into a box."""
    quota = uow.quotas.quota(box_id)
    if quota != Quota() and not quota.has_room(uow.quotas.usage(box_id), letters, octets):
        raise OverQuota("the box is full")


def filling(uow: Uow, box_id: int, now: datetime) -> Filling:
    """Return how full a box is."""
    return Filling(uow.quotas.usage(box_id), uow.quotas.quota(box_id))


def set_for_box(uow: Uow, box_id: int, quota: Quota | None, actor: str, now: datetime) -> None:
    """Give a box a quota of its own; None: its kind's counts again."""
    uow.quotas.set_for_box(box_id, quota)
    _journal(uow, actor, f"box:{box_id}", box_id, quota, now)


def set_for_kind(uow: Uow, kind: BoxKind, quota: Quota | None, actor: str, now: datetime) -> None:
    """Give all boxes of a kind a quota."""
    uow.quotas.set_for_kind(kind.value, quota)
    _journal(uow, actor, f"kind:{kind.value}", None, quota, now)


def _journal(uow: Uow, actor: str, target: str, box_id: int | None, quota: Quota | None, now: datetime) -> None:
    known = {"octets_max": quota.octets_max, "letters_max": quota.letters_max} if quota else {}
    facts = {name: value for name, value in known.items() if value is not None}
    uow.journal.write(AuditEvent(actor, "box.quota", target, subject_box_id=box_id, facts=facts), now)
