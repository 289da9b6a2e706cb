"""Boxes in which each reader has an own \\Seen: what a reader sees of letters, and what their STORE changes.

`reader` is the account, None where \\Seen is everybody's; every verb then does what its namesake in
`services.mailbox` does. The letters' own bit stays as it was when the setting was made.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime

from mss.model.audit import AuditEvent
from mss.model.mailbox import SEEN, SYSTEM_FLAGS, ChangeKind, Mailbox, MailboxStatus
from mss.services import mailbox
from mss.services.appending import NewLetter
from mss.services.mailbox import Changes, Columns, FlagAction, Placed, Row, Runs, Stored
from mss.services.opening import Opened
from mss.store import Uow
from mss.store.mailboxes import runs_of

_SEEN = SYSTEM_FLAGS[0]
# (uid, modseq, flags) of letters.
Flags = tuple[tuple[int, int, int], ...]


def opened(uow: Uow, found: Opened, reader: int | None) -> Opened:
    """Return a snapshot with the reader's own first unseen letter, and their \\Seen in what they missed."""
    if reader is None:
        return found
    missed = found.missed and replace(found.missed, flags=_own_flags(uow, found.mailbox.id, found.missed.flags, reader))
    return replace(found, first_unseen_uid=uow.seen.unseen(found.mailbox.id, reader)[1], missed=missed)


def status(uow: Uow, found: MailboxStatus, reader: int | None) -> MailboxStatus:
    """Return counts with what the reader has not seen."""
    return found if reader is None else replace(found, unseen=uow.seen.unseen(found.mailbox.id, reader)[0])


def rows(uow: Uow, mailbox_id: int, uids: Runs, columns: Columns, now: datetime, reader: int | None) -> list[Row]:
    """Return rows with the reader's \\Seen."""
    found = mailbox.rows(uow, mailbox_id, uids, columns, now)
    return found if reader is None else seen_by(uow, mailbox_id, found, reader)


def seen_by(uow: Uow, mailbox_id: int, found: Sequence[Row], reader: int) -> list[Row]:
    """Return rows with the reader's \\Seen in place of their own."""
    marks = uow.seen.by(mailbox_id, reader, runs_of(row.uid for row in found))
    return [row._replace(flags=_own(row.flags, row.uid, marks)) for row in found]


def _own(bits: int, uid: int, marks: frozenset[int]) -> int:
    return bits | SEEN if uid in marks else bits & ~SEEN


def changes(uow: Uow, mailbox_id: int, since: int, now: datetime, reader: int | None) -> Changes:
    """Return what happened after a MODSEQ, with the reader's \\Seen."""
    found = mailbox.changes(uow, mailbox_id, since, now)
    if reader is None or not found.flags:
        return found
    return replace(found, flags=_own_flags(uow, mailbox_id, found.flags, reader))


def few_changes(uow: Uow, mailbox_id: int, since: int, now: datetime, reader: int | None) -> Changes | None:
    """Return what happened after a MODSEQ as `changes` does; None when that is more than is read at a glance."""
    found = mailbox.few_changes(uow, mailbox_id, since, now)
    return found if found is None or reader is None or not found.flags else None


def _own_flags(uow: Uow, mailbox_id: int, flags: Flags, reader: int) -> Flags:
    marks = uow.seen.by(mailbox_id, reader, runs_of(uid for uid, _, _ in flags))
    return tuple((uid, modseq, _own(bits, uid, marks)) for uid, modseq, bits in flags)


def store_flags(
    uow: Uow,
    mailbox_id: int,
    uids: Runs,
    action: FlagAction,
    flags: tuple[str, ...],
    unchanged_since: int | None,
    actor: str,
    now: datetime,
    reader: int | None,
) -> Stored:
    """Change flags; \\Seen for the reader alone, with the one MODSEQ of the command."""
    if reader is None:
        return mailbox.store_flags(uow, mailbox_id, uids, action, flags, unchanged_since, actor, now)
    others = _without_seen(flags)
    stored = mailbox.store_flags(uow, mailbox_id, uids, action, others, unchanged_since, actor, now)
    named = len(others) != len(flags)
    marks = uow.seen.by(mailbox_id, reader, uids)
    if action is FlagAction.REPLACE or named:
        wanted = named and action is not FlagAction.REMOVE
        free = [uid for uid, _, _ in stored.rows if not _within(uid, stored.modified)]
        turned = [uid for uid in free if (uid in marks) is not wanted]
        stored = _turned(uow, stored, reader, turned, actor, now, wanted=wanted)
        marks = marks | set(turned) if wanted else marks - set(turned)
    own = tuple((uid, modseq, _own(bits, uid, marks)) for uid, modseq, bits in stored.rows)
    return replace(stored, rows=own)


def _without_seen(flags: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(flag for flag in flags if flag.lower() != _SEEN.lower())


def arriving(letters: Sequence[NewLetter], reader: int | None) -> Sequence[NewLetter]:
    """Return new letters as they are added: the \\Seen that a reader gives them is not everybody's."""
    return letters if reader is None else [replace(one, flags=_without_seen(one.flags)) for one in letters]


def arrived(uow: Uow, mailbox_id: int, placed: Placed, letters: Sequence[NewLetter], reader: int | None) -> None:
    """Mark the letters that a reader added as seen, where they said so."""
    if reader is None:
        return
    pairs = zip(_each(placed.target), letters, strict=True)
    uow.seen.mark(mailbox_id, reader, [uid for uid, one in pairs if _without_seen(one.flags) != one.flags])


def _within(uid: int, runs: Runs) -> bool:
    return any(first <= uid <= last for first, last in runs)


def _turned(
    uow: Uow, stored: Stored, reader: int, turned: Sequence[int], actor: str, now: datetime, *, wanted: bool
) -> Stored:
    """Change the reader's marks of letters, and give these the command's MODSEQ."""
    if not turned:
        return stored
    where = stored.mailbox
    (uow.seen.mark if wanted else uow.seen.unmark)(where.id, reader, turned)
    modseq = stored.modseq or uow.mailboxes.bump(where.id)[1]
    uow.seen.touch(where.id, turned, modseq)
    logged = {uid for uid, at, _ in stored.rows if at == modseq}
    uow.mailboxes.log(where.id, modseq, runs_of(uid for uid in turned if uid not in logged), ChangeKind.FLAGS)
    facts = {"letters": len(turned)}
    event = AuditEvent(actor, "letter.flags", f"mailbox:{where.id}", subject_box_id=where.box_id, facts=facts)
    uow.journal.write(event, now)
    uow.wake("mailbox", where.box_id)
    touched = set(turned)
    rows_now = tuple((uid, modseq if uid in touched else before, bits) for uid, before, bits in stored.rows)
    return replace(stored, mailbox=mailbox.locked(uow, where.id), rows=rows_now, modseq=modseq)


def carry(
    uow: Uow, source: Mailbox, target: Mailbox, seen: Iterable[int], placed: Placed, now: datetime, actor: str,
    *, reader: int, own_target: bool,
) -> None:  # fmt: skip
    """Let copies be seen by the reader whose originals were; `seen`: the UIDs in the source that were."""
    pairs = dict(zip(_each(placed.source), _each(placed.target), strict=True))
    copies = sorted(pairs[uid] for uid in seen if uid in pairs)
    if not copies:
        return
    if own_target:
        uow.seen.mark(target.id, reader, copies)
    else:
        mailbox.store_flags(uow, target.id, runs_of(copies), FlagAction.ADD, (_SEEN,), None, actor, now)


def _each(runs: Runs) -> list[int]:
    return [uid for first, last in runs for uid in range(first, last + 1)]


def begin(uow: Uow, box_id: int, own: bool, actor: str, now: datetime) -> None:
    """Say whether each reader of a box is to have an own \\Seen; `inherit` then gives them what was seen before."""
    uow.seen.set_own(box_id, own)
    event = AuditEvent(actor, "box.own-seen", f"box:{box_id}", subject_box_id=box_id, facts={"own": own})
    uow.journal.write(event, now)


def inherit(uow: Uow, mailbox_id: int, account_id: int, now: datetime) -> None:
    """Give a reader the marks that the letters of a mailbox have for everybody."""
    uow.seen.inherit(mailbox_id, account_id, SEEN)
