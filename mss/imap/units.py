"""Units of work of the IMAP door: services composed where one answer needs several. Synchronous; no network.

A mailbox is always found again by its name in the unit that reads or writes it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

from mss.imap import sorting
from mss.imap.places import Place, Places, arrange
from mss.imap.responses import Runs, as_runs
from mss.imap.sorting import Form
from mss.model.account import Account, Delegation, DelegationKind
from mss.model.mailbox import SEEN, Mailbox, MailboxStatus
from mss.policy import access
from mss.policy.access import Action
from mss.services import accounts, appending, mailbox, opening, own_seen, quotas
from mss.services.appending import NewLetter
from mss.services.mailbox import Columns, NoSuchMailbox, Placed, Row
from mss.services.opening import Opened, Since
from mss.services.quotas import Filling
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
            found.append(Place(granted.box, "", writable, granted.kind is DelegationKind.OWNER))
    own = uow.seen.own_boxes([place.box.id for place in found])
    return arrange((replace(place, own_seen=place.box.id in own) for place in found), personal_box_id)


def open_by_name(
    uow: Uow, box_id: int, name: str, since: Since | None, now: datetime, reader: int | None = None
) -> Opened:
    """Return the snapshot of a mailbox as a reader sees it, with what a client missed `since`."""
    return own_seen.opened(uow, opening.open_mailbox(uow, mailbox.find(uow, box_id, name, now), since, now), reader)


def status_by_name(uow: Uow, box_id: int, name: str, now: datetime, reader: int | None = None) -> MailboxStatus:
    """Return the counts of a mailbox as a reader sees it."""
    return own_seen.status(uow, mailbox.status(uow, mailbox.find(uow, box_id, name, now).id, now), reader)


def status_or_none(uow: Uow, mailbox_id: int, reader: int | None, now: datetime) -> MailboxStatus | None:
    """Return the counts of a mailbox, None when it is gone."""
    try:
        return own_seen.status(uow, mailbox.status(uow, mailbox_id, now), reader)
    except NoSuchMailbox:
        return None


def filling(uow: Uow, box_id: int, now: datetime) -> Filling:
    """Return how full a box is."""
    return quotas.filling(uow, box_id, now)


def filling_of_mailbox(uow: Uow, box_id: int, name: str, now: datetime) -> Filling:
    """Return how full a box is, when it has such a mailbox."""
    mailbox.find(uow, box_id, name, now)
    return quotas.filling(uow, box_id, now)


def holders(uow: Uow, box_id: int, now: datetime) -> tuple[tuple[str, DelegationKind], ...]:
    """Return the logins that may act for a box now, and why."""
    found = uow.accounts.delegations_on(box_id)
    return tuple((account.login, one.kind) for account, one in found if one.ends_at is None or now < one.ends_at)


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


@dataclass(frozen=True, slots=True)
class Letters:
    """Letters that come with one command."""

    all: tuple[NewLetter, ...]

    def heavy(self) -> tuple[bytes, ...]:
        """Return the octets that a unit of work may have to store."""
        return tuple(octets for letter in self.all for octets in letter.heavy())


def append(uow: Uow, target: Target, letters: Letters, actor: str, now: datetime, reader: int | None = None) -> Placed:
    """Add letters to a mailbox, all or none; what comes as seen is seen by the reader."""
    found = mailbox.find(uow, target.box_id, target.name, now)
    placed = appending.append_all(uow, found.id, own_seen.arriving(letters.all, reader), actor, now)
    own_seen.arrived(uow, found.id, placed, letters.all, reader)
    return placed


def replace_letter(
    uow: Uow, mailbox_id: int, uid: int, target: Target, letters: Letters, actor: str, now: datetime,
    reader: int | None = None,
) -> Placed:  # fmt: skip
    """Put a letter into a mailbox in the place of another one; what comes as seen is seen by the reader."""
    found = mailbox.find(uow, target.box_id, target.name, now)
    [letter] = own_seen.arriving(letters.all, reader)
    placed = appending.replace(uow, mailbox_id, uid, found.id, letter, actor, now)
    own_seen.arrived(uow, found.id, placed, letters.all, reader)
    return placed


def copy(uow: Uow, mailbox_id: int, uids: Runs, target: Target, actor: str, now: datetime, readers: Readers) -> Placed:
    """Copy letters into a mailbox."""
    return _placed(uow, mailbox.copy, mailbox_id, uids, target, actor, now, readers)


def move(uow: Uow, mailbox_id: int, uids: Runs, target: Target, actor: str, now: datetime, readers: Readers) -> Placed:
    """Move letters into a mailbox."""

    def moved(uow: Uow, mailbox_id: int, uids: Runs, target_id: int, actor: str, now: datetime) -> Placed:
        return mailbox.move(uow, mailbox_id, uids, target_id, actor, now)[0]

    return _placed(uow, moved, mailbox_id, uids, target, actor, now, readers)


@dataclass(frozen=True, slots=True)
class Readers:
    """Whose \\Seen counts in the mailbox that letters come from, and in the one that they go to; None: everybody's."""

    account_id: int
    own_source: bool
    own_target: bool


def _placed(
    uow: Uow,
    place: Callable[[Uow, int, Runs, int, str, datetime], Placed],
    mailbox_id: int,
    uids: Runs,
    target: Target,
    actor: str,
    now: datetime,
    readers: Readers,
) -> Placed:
    """Copy or move letters; the copies of what the reader has seen are seen."""
    found = mailbox.find(uow, target.box_id, target.name, now)
    if not (readers.own_source or readers.own_target):
        return place(uow, mailbox_id, uids, found.id, actor, now)
    source = mailbox.locked(uow, mailbox_id)
    reader = readers.account_id if readers.own_source else None
    seen = [r.uid for r in own_seen.rows(uow, mailbox_id, uids, Columns.PLAIN, now, reader) if r.flags & SEEN]
    placed = place(uow, mailbox_id, uids, found.id, actor, now)
    own_seen.carry(
        uow, source, found, seen, placed, now, actor, reader=readers.account_id, own_target=readers.own_target
    )
    return placed


def letter_by_name(
    uow: Uow, box_id: int, name: str, uidvalidity: int | None, uid: int, now: datetime
) -> tuple[int, int] | None:
    """Return the mailbox of a letter and its size in octets, None when there is no such letter."""
    try:
        found = mailbox.find(uow, box_id, name, now)
    except NoSuchMailbox:
        return None
    if uidvalidity not in (None, found.uidvalidity):
        return None
    rows = mailbox.rows(uow, found.id, ((uid, uid),), Columns.PLAIN, now)
    return (found.id, rows[0].size_octets) if rows else None


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
    reader: int | None,
) -> tuple[list[Row], list[bytes]]:
    """Return rows, and the octets [start, end) that `span` wants of the first of them, so many at most in all."""
    rows = own_seen.rows(uow, mailbox_id, uids, columns, now, reader)
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
