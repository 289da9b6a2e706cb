"""Units of work of the IMAP door: services composed where one answer needs several. Synchronous; no network.

A mailbox is always found again by its name in the unit that reads or writes it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from mss.imap import sorting
from mss.imap.places import Places, arrange
from mss.imap.responses import Runs, as_runs
from mss.imap.sorting import Form
from mss.model.account import Account, Delegation
from mss.model.mailbox import Mailbox, MailboxStatus
from mss.policy import access
from mss.policy.access import Action
from mss.services import accounts, mailbox, opening
from mss.services.mailbox import Columns, Placed, Row
from mss.services.opening import Opened, Since
from mss.services.reading import Reading
from mss.store import Uow


def places(uow: Uow, account: Account, personal_box_id: int | None, now: datetime) -> Places:
    """Return the boxes that an account may read now, none when it was disabled meanwhile."""
    present = uow.accounts.by_login(account.login)
    if present is None or present.id != account.id or not present.enabled:
        return Places(())
    found = []
    for granted in accounts.boxes_of(uow, account.id, now):
        delegations = (Delegation(account.id, granted.box.id, granted.kind),)
        if access.may_act(present, delegations, granted.box, Action.READ_LETTERS, now).accepted:
            writable = access.may_act(present, delegations, granted.box, Action.DELETE_LETTERS, now).accepted
            found.append((granted.box, writable))
    return arrange(found, personal_box_id)


def open_by_name(uow: Uow, box_id: int, name: str, since: Since | None, now: datetime) -> Opened:
    """Return the snapshot of a mailbox, with what a client missed `since`."""
    return opening.open_mailbox(uow, mailbox.find(uow, box_id, name, now), since, now)


def status_by_name(uow: Uow, box_id: int, name: str, now: datetime) -> MailboxStatus:
    """Return the counts of a mailbox."""
    return mailbox.status(uow, mailbox.find(uow, box_id, name, now).id, now)


def mailboxes_of(uow: Uow, box_ids: tuple[int, ...], now: datetime) -> tuple[tuple[Mailbox, ...], ...]:
    """Return the mailboxes of each box."""
    return tuple(mailbox.mailboxes(uow, box_id, now) for box_id in box_ids)


# UID, and octets [start, end) of its letter.
Range = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Target:
    """A mailbox to write into, by its name."""

    box_id: int
    name: str


def append(
    uow: Uow,
    target: Target,
    reading: Reading,
    flags: tuple[str, ...],
    internal_date: datetime | None,
    actor: str,
    now: datetime,
) -> Placed:
    """Add a letter to a mailbox."""
    found = mailbox.find(uow, target.box_id, target.name, now)
    return mailbox.append(uow, found.id, reading, flags, internal_date, actor, now)


def copy(uow: Uow, mailbox_id: int, uids: Runs, target: Target, actor: str, now: datetime) -> Placed:
    """Copy letters into a mailbox."""
    found = mailbox.find(uow, target.box_id, target.name, now)
    return mailbox.copy(uow, mailbox_id, uids, found.id, actor, now)


def move(uow: Uow, mailbox_id: int, uids: Runs, target: Target, actor: str, now: datetime) -> Placed:
    """Move letters into a mailbox."""
    found = mailbox.find(uow, target.box_id, target.name, now)
    return mailbox.move(uow, mailbox_id, uids, found.id, actor, now)[0]


def octets(uow: Uow, box_id: int, mailbox_id: int, wanted: tuple[Range, ...], now: datetime) -> list[bytes | None]:
    """Return octets of letters that a mailbox of the box holds, None for those that are gone.

    Many letters in one unit: what `mailbox.octets` asks for each is asked once here.
    """
    uids = as_runs(sorted({uid for uid, _, _ in wanted}))
    objects = {row.uid: row.object_id for row in mailbox.rows(uow, mailbox_id, uids, Columns.PLAIN, now)}
    return [uow.objects.get(box_id, objects[uid], start, end) if uid in objects else None for uid, start, end in wanted]


def letters(
    uow: Uow,
    box_id: int,
    mailbox_id: int,
    uids: Runs,
    columns: Columns,
    span: Callable[[Row], tuple[int, int]],
    octets_max: int,
    now: datetime,
) -> tuple[list[Row], list[bytes]]:
    """Return rows, and the octets [start, end) that `span` wants of the first of them, so many at most in all."""
    rows = mailbox.rows(uow, mailbox_id, uids, columns, now)
    found: list[bytes] = []
    for row in rows:
        start, end = span(row)
        octets_max -= end - start
        if octets_max < 0:
            break
        found.append(uow.objects.get(box_id, row.object_id, start, end))
    return rows, found


# --- what is prepared of letters ---


def decided_by_text(
    uow: Uow, box_id: int, mailbox_id: int, uids: Runs, test: Callable[[int, bytes], bool], now: datetime
) -> dict[int, bool]:
    """Return what a test says of the prepared text of each letter that has one, by UID."""
    return {uid: test(uid, text) for uid, text in uow.prepared.texts(mailbox_id, box_id, uids)}


def keep_texts(uow: Uow, box_id: int, texts: list[tuple[int, bytes]], now: datetime) -> None:
    """Keep (object, prepared text) of letters."""
    uow.prepared.keep_texts(box_id, texts)


def sort_forms(uow: Uow, box_id: int, mailbox_id: int, uids: Runs, now: datetime) -> dict[int, Form]:
    """Return the sort forms of letters that have one, by UID."""
    return {uid: sorting.read(form) for uid, form in uow.prepared.forms(mailbox_id, box_id, uids)}


def keep_forms(uow: Uow, box_id: int, forms: list[tuple[int, bytes]], now: datetime) -> None:
    """Keep (object, sort form) of letters."""
    uow.prepared.keep_forms(box_id, forms)
