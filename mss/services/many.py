"""What touches many letters, in units that stay short: a caller repeats them until nothing is left.

Each unit leaves a mailbox as it could be after a smaller command, so that a cut in between does no harm. A COPY is all
or none (RFC 9051 §6.4.7) and stays one unit: see `mailbox.copy`.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Final

from mss.model.mailbox import DELETED
from mss.services import mailbox
from mss.store import Uow
from mss.store.mailboxes import Runs, runs_of

# So many letters stay below the 20 ms that a write unit may last.
SLICE: Final = 300


def parts(runs: Runs, size: int = 0) -> Iterator[Runs]:
    """Yield runs in parts of so many UIDs at most."""
    part: list[tuple[int, int]] = []
    size = room = size or SLICE
    for first, last in runs:
        while first <= last:
            end = min(last, first + room - 1)
            part.append((first, end))
            room -= end - first + 1
            first = end + 1
            if not room:
                yield tuple(part)
                part, room = [], size
    if part:
        yield tuple(part)


def flagged(uow: Uow, mailbox_id: int, uids: Runs | None, now: datetime) -> tuple[Runs, ...]:
    """Return the letters flagged \\Deleted (only among `uids` when given), in parts to expunge one by one."""
    return tuple(parts(runs_of(uow.mailboxes.flagged(mailbox_id, DELETED, uids))))


def empty_some(uow: Uow, box_id: int, name: str, actor: str, now: datetime) -> bool:
    """Expunge some letters of a mailbox that is about to be deleted; whether it may hold more than a unit can take."""
    found = mailbox.deletable(uow, box_id, name, now)
    uids = uow.mailboxes.uids_from(found.id, 1, SLICE)
    if len(uids) < SLICE:
        return False
    mailbox.remove(uow, found.id, runs_of(uids), actor, now)
    return True


def move_some(uow: Uow, source_id: int, target_id: int, first: int, last: int, actor: str, now: datetime) -> int:
    """Move some letters of a range of UIDs into another mailbox; returns the UID to go on from, 0 at the end."""
    uids = [uid for uid in uow.mailboxes.uids_from(source_id, first, SLICE) if uid <= last]
    if uids:
        mailbox.move(uow, source_id, runs_of(uids), target_id, actor, now)
    return uids[-1] + 1 if len(uids) == SLICE else 0
