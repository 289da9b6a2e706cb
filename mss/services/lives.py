"""The end of boxes: unused ones are closed after a notice that can be opposed, closed ones are an archive for a time,
and what is erased is certified. Letters in folders with a rule go when their time is over. MSSANTE.md §2.E.

A box that is closed keeps everything and takes no letter; opening it again takes nothing back. Erasing drops its key
first: from then on nobody reads it, here or in a backup; the rows go in slices after that.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from mss.config import LifeConfig
from mss.errors import Conflict
from mss.model.account import Box, BoxState
from mss.model.audit import AuditEvent, AuditRecord
from mss.model.mailbox import ChangeKind
from mss.model.party import BoxKind
from mss.policy import retention
from mss.policy.retention import Inactivity, Retention
from mss.services import accounts, notices
from mss.services.house import House
from mss.store import Uow
from mss.store.journal import Sought
from mss.store.lives import Life
from mss.store.mailboxes import runs_of

_UPKEEP: Final = "system:upkeep"
# Shared boxes and robots' have no holder who signs in for themselves.
_HELD_BY_ONE: Final = (BoxKind.PER, BoxKind.PATIENT)
_NOTICE: Final = """\
Bonjour,

Vous ne vous êtes pas connecté à cette messagerie depuis longtemps. Sans nouvelle de votre part, elle sera fermée
le {day}. Pour la garder, il suffit de vous connecter avant cette date.

Une messagerie fermée ne reçoit plus de message. Elle peut être rouverte sur simple demande.

Le service de messagerie
"""


@dataclass(frozen=True, slots=True)
class Due:
    """What a look found: boxes to do something about, boxes whose archive is over (to be erased), and where to go on;
    None at the end."""

    boxes: tuple[int, ...]
    over: tuple[int, ...]
    after: int | None


def due(uow: Uow, rules: LifeConfig, after: int, limit: int, now: datetime) -> Due:
    """Look at the boxes behind a number."""
    page = uow.lives.page(after, limit)
    found = tuple(life.box_id for life in page if _due(life, rules, now) is not Inactivity.KEEP)
    over = tuple(life.box_id for life in page if is_over(life, rules, now))
    return Due(found, over, page[-1].box_id if len(page) == limit else None)


def settle(uow: Uow, box_id: int, rules: LifeConfig, house: House, now: datetime, *, hook: bool = False) -> Inactivity:
    """Tell a box's holder, or close the box, if that is still due; returns what was done."""
    life = uow.lives.of(box_id)
    what = Inactivity.KEEP if life is None else _due(life, rules, now)
    if life is not None and what is Inactivity.NOTIFY:
        _tell(uow, life, rules, house, now, hook)
    elif what is Inactivity.DELETE:
        close(uow, box_id, "inactive", _UPKEEP, now)
    return what


def _due(life: Life, rules: LifeConfig, now: datetime) -> Inactivity:
    if not rules.close_inactive or life.kind not in _HELD_BY_ONE or life.state is not BoxState.OPEN:
        return Inactivity.KEEP
    inactive = Retention("inactive-box", timedelta(days=rules.inactive_days), "configured")
    notice = Retention("inactivity-notice", timedelta(days=rules.notice_days), "configured")
    last = life.signed_in_at or life.since
    return retention.inactivity(last, life.told_at, now, inactive=inactive, notice=notice)


def is_over(life: Life, rules: LifeConfig, now: datetime) -> bool:
    """Say whether a closed box's archive is over."""
    if life.closed_at is None or life.state is not BoxState.CLOSED:
        return False
    days = rules.archive_days if life.kind is BoxKind.PATIENT else rules.professional_archive_days
    return now - life.closed_at >= timedelta(days=days)


def _tell(uow: Uow, life: Life, rules: LifeConfig, house: House, now: datetime, hook: bool) -> None:
    """Put a notice into the box; who has a channel of their own is listed for it by `mss account notices`, too."""
    box = uow.accounts.box_by_id(life.box_id)
    if box is None:
        return
    day = now + timedelta(days=rules.notice_days)
    text = _NOTICE.format(day=f"{day:%d/%m/%Y}")
    notices.tell(uow, house, box, notices.CLOSING, "Votre messagerie va être fermée", text, now, hook=hook)
    uow.lives.told(box.id, now)
    facts = {"days": rules.notice_days}
    uow.journal.write(AuditEvent(_UPKEEP, "box.notice", f"box:{box.id}", subject_box_id=box.id, facts=facts), now)


def keep(uow: Uow, box: Box, actor: str, now: datetime) -> None:
    """Note that a holder opposes the closing: their time begins anew."""
    uow.lives.seen(box.id, now)
    uow.journal.write(AuditEvent(actor, "box.keep", f"box:{box.id}", subject_box_id=box.id), now)


def close(uow: Uow, box_id: int, reason: str, actor: str, now: datetime) -> None:
    """Close a box: it takes no letter any more, and what is in it is an archive from now on."""
    uow.lives.closed(box_id, now)
    uow.journal.write(AuditEvent(actor, "box.close", f"box:{box_id}", "", reason, box_id), now)
    accounts.set_box_state(uow, box_id, BoxState.CLOSED, actor, now)


def reopen(uow: Uow, box_id: int, actor: str, now: datetime) -> None:
    """Open a closed box again, with all that was in it."""
    uow.lives.closed(box_id, None)
    uow.lives.seen(box_id, now)
    accounts.set_box_state(uow, box_id, BoxState.OPEN, actor, now)


# -- folders -----------------------------------------------------------------------------------------------------------


Expired = tuple[int, tuple[int, ...]]


def over(uow: Uow, mailbox: str, before: datetime, after: int, limit: int) -> tuple[Expired | None, int | None]:
    """Return a folder of that name, behind a number, with UIDs put there up to an instant; and where to go on."""
    return uow.lives.over(mailbox, before, after, limit)


def expire(uow: Uow, mailbox_id: int, uids: tuple[int, ...], before: datetime, now: datetime) -> int:
    """Remove those of some letters of a folder that were put there up to an instant; returns how many. They cannot be
    put back as expunged ones can: the end that a rule sets is an end."""
    folder = uow.mailboxes.by_id(mailbox_id, lock=True)
    gone = () if folder is None else uow.lives.still_over(mailbox_id, uids, before)
    if folder is None or not gone:
        return 0
    runs = runs_of(gone)
    _, modseq = uow.mailboxes.bump(mailbox_id)
    uow.mailboxes.remove(mailbox_id, runs)
    uow.mailboxes.log(mailbox_id, modseq, runs, ChangeKind.EXPUNGED)
    uow.wake("mailbox", folder.box_id)
    event = AuditEvent(
        _UPKEEP, "letter.expire", f"mailbox:{mailbox_id}", subject_box_id=folder.box_id, facts={"letters": len(gone)}
    )
    uow.journal.write(event, now)
    return len(gone)


def forget_deliveries(uow: Uow, limit: int, now: datetime) -> int:
    """Drop what is known of letters that went out, or came back, long ago."""
    return uow.lives.forget_deliveries(retention.oldest_kept(retention.ENDED_DELIVERIES, now), limit)


# -- erasure -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Erasure:
    """What is about to be erased: numbers, and one digest over the digests of all letters and documents."""

    box_id: int
    kind: str
    counts: dict[str, int]
    digest: str


class Tally:
    """The digest over all that a box holds, gathered slice by slice in the order of numbers."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256(b"mss erasure")
        self.after: int | None = 0

    def take(self, uow: Uow, box_id: int, limit: int) -> None:
        """Take in the next so many digests."""
        rows = uow.lives.digests(box_id, self.after or 0, limit)
        for _, digest in rows:
            self._digest.update(digest)
        self.after = rows[-1][0] if len(rows) == limit else None

    def hex(self) -> str:
        """Return the digest over all that was taken in."""
        return self._digest.hexdigest()


def erasure(uow: Uow, box_id: int, tally: Tally) -> Erasure:
    """Return what there is to erase of a box."""
    life = uow.lives.of(box_id)
    if life is None:
        raise Conflict("the box is gone")
    return Erasure(box_id, life.kind.value, uow.lives.contents(box_id), tally.hex())


def begin_erasure(uow: Uow, found: Erasure, reason: str, actor: str, now: datetime) -> None:
    """Close the box for good, and write down what is erased and why; its key is dropped after this is on disk."""
    facts: dict[str, Any] = {**found.counts, "digest": found.digest}
    event = AuditEvent(actor, "box.erase", f"box:{found.box_id}", "", reason, found.box_id, facts)
    uow.journal.write(event, now)
    uow.accounts.set_state(found.box_id, BoxState.CLOSED)


def erasure_of(uow: Uow, box_id: int) -> AuditRecord | None:
    """Return the record of a box's erasure, if one was begun."""
    return next(iter(uow.journal.find(Sought("box.erase", target=f"box:{box_id}"), 1)), None)


def erase_some(uow: Uow, box_id: int, limit: int, now: datetime) -> int:
    """Drop so many rows of a box whose key is gone; returns how many went."""
    return uow.lives.erase_some(box_id, limit)


def end_erasure(uow: Uow, box_id: int, actor: str, now: datetime) -> int:
    """Drop the box itself and the accounts that act for nothing else; returns how many accounts went."""
    gone = uow.lives.erase_rest(box_id)
    uow.quotas.set_for_box(box_id, None)
    uow.journal.write(AuditEvent(actor, "box.erased", f"box:{box_id}", facts={"accounts": gone}), now)
    return gone
