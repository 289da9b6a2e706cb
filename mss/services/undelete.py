"""Expunged letters: kept for a while, put back, dropped for good (`retention.EXPUNGED_LETTERS`).

What goes with a box whose owner asked for erasure never comes back: its key is dropped with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from itertools import groupby
from typing import Any

from mss.clock import to_us
from mss.model.audit import AuditEvent
from mss.model.mailbox import DELETED, INBOX, Expunged
from mss.policy import retention
from mss.services import mailbox as mailboxes
from mss.store import Uow

# So many are put back in one unit of work.
RESTORED_MAX = 200
_SHOWN_MAX = 1000


def expunged(
    uow: Uow, box_id: int, now: datetime, mailbox: str | None = None, since: datetime | None = None, limit: int = 0
) -> tuple[Expunged, ...]:
    """Return what can be put back into a box, newest first, of one mailbox and expunged since then when given."""
    oldest = retention.oldest_kept(retention.EXPUNGED_LETTERS, now)
    from_then = max(since, oldest) if since is not None else oldest
    return uow.expunged.of_box(box_id, limit or _SHOWN_MAX, mailbox=mailbox, since=from_then)


def restore(uow: Uow, box_id: int, letters: Sequence[Expunged], actor: str, now: datetime) -> int:
    """Put letters back where they were, in a mailbox made again when it is gone; returns how many came back.

    They get new UIDs and lose \\Deleted. Those that somebody put back meanwhile are passed over.
    """
    still = uow.expunged.present(box_id, [one.id for one in letters])
    held = (one for one in letters if one.id in still and uow.objects.holds(box_id, one.object_id))
    chosen = sorted(held, key=lambda one: (one.mailbox, one.id))
    for name, group in groupby(chosen, key=lambda one: one.mailbox):
        _put_back(uow, box_id, name, tuple(group), actor, now)
    uow.expunged.forget(box_id, sorted(still))
    return len(chosen)


def _put_back(uow: Uow, box_id: int, name: str, letters: Sequence[Expunged], actor: str, now: datetime) -> None:
    if name != INBOX and uow.mailboxes.by_name(box_id, name) is None:
        mailboxes.create(uow, box_id, name, actor, now)
    target = mailboxes.locked(uow, mailboxes.find(uow, box_id, name, now).id)
    first, modseq = uow.mailboxes.bump(target.id, len(letters))
    rows: list[dict[str, Any]] = []
    for uid, one in enumerate(letters, first):
        names = mailboxes.flag_names(one.keywords, one.flags & ~DELETED)
        row = {
            "uid": uid,
            "flags": mailboxes.bits_of(uow, mailboxes.locked(uow, target.id), names),
            "internal_date": to_us(one.internal_date),
            "size": one.size_octets,
            "object_id": one.object_id,
        }
        rows.append(row)
    uow.mailboxes.add(target.id, rows, modseq, now)
    facts = {"letters": len(letters)}
    event = AuditEvent(actor, "letter.restore", f"mailbox:{target.id}", subject_box_id=box_id, facts=facts)
    uow.journal.write(event, now)
    uow.wake("mailbox", box_id)


def erase(uow: Uow, box_id: int, letters: Sequence[Expunged], actor: str, now: datetime) -> int:
    """Drop expunged letters before their time, because the box's owner asked for it; returns how many went."""
    uow.expunged.forget(box_id, [one.id for one in letters])
    facts = {"letters": len(letters)}
    uow.journal.write(AuditEvent(actor, "letter.erase", f"box:{box_id}", subject_box_id=box_id, facts=facts), now)
    return len(letters)


def forget_expunged(uow: Uow, limit: int, now: datetime) -> int:
    """Drop the expunged letters whose time is over, so many at most; returns how many went."""
    return uow.expunged.forget_before(retention.oldest_kept(retention.EXPUNGED_LETTERS, now), limit)
