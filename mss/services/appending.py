"""Letters that a client puts into a mailbox (RFC 3501 §6.3.11, RFC 3502, RFC 8508). UID sets are inclusive runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from mss.clock import to_us
from mss.model.audit import AuditEvent
from mss.model.mailbox import Mailbox
from mss.services import mailbox as mailboxes
from mss.services import quotas, threads
from mss.services.mailbox import Placed, forms_of
from mss.services.reading import Reading
from mss.store import Uow


@dataclass(frozen=True, slots=True)
class NewLetter:
    """A letter as a client hands it over; `internal_date` None: now."""

    reading: Reading
    flags: tuple[str, ...] = ()
    internal_date: datetime | None = None

    def heavy(self) -> tuple[bytes, ...]:
        """Return the octets that a unit of work may have to store."""
        return self.reading.heavy()


def append(
    uow: Uow,
    mailbox_id: int,
    reading: Reading,
    flags: tuple[str, ...],
    internal_date: datetime | None,
    actor: str,
    now: datetime,
) -> Placed:
    """Add a letter to a mailbox."""
    return append_all(uow, mailbox_id, (NewLetter(reading, flags, internal_date),), actor, now)


def append_all(uow: Uow, mailbox_id: int, letters: Sequence[NewLetter], actor: str, now: datetime) -> Placed:
    """Add letters to a mailbox, all or none, with UIDs one after another. OverQuota when the box has no room."""
    mailbox = mailboxes.locked(uow, mailbox_id)
    quotas.must_have_room(uow, mailbox.box_id, len(letters), sum(len(one.reading.octets) for one in letters))
    return _added(uow, mailbox, letters, actor, now)


def _added(uow: Uow, mailbox: Mailbox, letters: Sequence[NewLetter], actor: str, now: datetime) -> Placed:
    mailbox_id = mailbox.id
    rows, joined = [], []
    first, modseq = uow.mailboxes.bump(mailbox_id, len(letters))
    for uid, letter in enumerate(letters, first):
        stored = uow.objects.put(letter.reading.octets, now)
        thread = threads.join(uow, mailbox.box_id, stored.id, letter.reading)
        uow.objects.hold(mailbox.box_id, stored, forms_of(letter.reading), thread.thread_id)
        mailboxes.keep_search_text(uow, mailbox.box_id, stored.id, letter.reading)
        joined.append(thread)
        row = {
            "uid": uid,
            "flags": mailboxes.bits_of(uow, mailboxes.locked(uow, mailbox_id), (*letter.flags, *thread.keywords)),
            "internal_date": to_us(letter.internal_date or now),
            "size": len(letter.reading.octets),
            "object_id": stored.id,
        }
        rows.append(row)
    uow.mailboxes.add(mailbox_id, rows, modseq, now)
    for row in rows:
        _journal(uow, actor, mailbox, int(row["object_id"]), now)
    for one in joined:
        threads.after_arrival(uow, mailbox.box_id, one, now)
    uow.wake("mailbox", mailbox.box_id)
    return Placed(mailbox.uidvalidity, (), ((first, first + len(letters) - 1),))


def replace(
    uow: Uow, mailbox_id: int, uid: int, target_id: int, letter: NewLetter, actor: str, now: datetime
) -> Placed:
    """Add a letter to a mailbox and expunge another one, as one; NoSuchLetter when that one is gone.

    In one box the new letter may have the old one's room: a draft in a full box can still be saved.
    """
    both = {each: mailboxes.locked(uow, each) for each in sorted({mailbox_id, target_id})}
    source, target = both[mailbox_id], both[target_id]
    found = uow.mailboxes.rows(mailbox_id, source.box_id, ((uid, uid),), envelope=False, bodystructure=False)
    if not found:
        raise mailboxes.NoSuchLetter("the letter is gone")
    freed = (1, int(found[0][4])) if source.box_id == target.box_id else (0, 0)
    grows = len(letter.reading.octets) - freed[1]
    if grows > 0:
        quotas.must_have_room(uow, target.box_id, 1 - freed[0], grows)
    placed = _added(uow, target, (letter,), actor, now)
    mailboxes.remove(uow, mailbox_id, ((uid, uid),), actor, now)
    return placed


def _journal(uow: Uow, actor: str, mailbox: Mailbox, letter: int, now: datetime) -> None:
    target, facts = f"mailbox:{mailbox.id}", {"letter": letter}
    uow.journal.write(AuditEvent(actor, "letter.append", target, subject_box_id=mailbox.box_id, facts=facts), now)
