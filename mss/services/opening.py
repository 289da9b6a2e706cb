"""What a client needs that opens a mailbox again: its letters as runs, and what was missed (RFC 7162 §3.2.5).

The cost follows what changed, and how many holes there are between the UIDs; not how many letters there are.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from mss.model.mailbox import SEEN, Mailbox
from mss.store import Uow
from mss.store.mailboxes import Runs


@dataclass(frozen=True, slots=True)
class Since:
    """Until where a client knows a mailbox."""

    uidvalidity: int
    modseq: int


@dataclass(frozen=True, slots=True)
class Missed:
    """What happened since: runs of UIDs that were removed, and (uid, modseq, flags) of letters that are new or whose
    flags changed, by UID."""

    gone: Runs
    flags: tuple[tuple[int, int, int], ...]


@dataclass(frozen=True, slots=True)
class Opened:
    """What SELECT needs: the mailbox, all its UIDs as runs, the first unseen UID, and what the client missed (None
    when it did not ask, or when the mailbox is another one by now)."""

    mailbox: Mailbox
    runs: Runs
    first_unseen_uid: int | None
    missed: Missed | None = None


def open_mailbox(uow: Uow, mailbox: Mailbox, since: Since | None, now: datetime) -> Opened:
    """Return the snapshot that a session starts from."""
    known = since is not None and since.uidvalidity == mailbox.uidvalidity
    return Opened(
        mailbox,
        uow.mailboxes.present(mailbox.id, mailbox.uidnext),
        uow.mailboxes.first_without(mailbox.id, SEEN),
        missed(uow, mailbox.id, since.modseq, now) if since is not None and known else None,
    )


def missed(uow: Uow, mailbox_id: int, modseq: int, now: datetime) -> Missed:
    """Return what happened in a mailbox after a MODSEQ."""
    return Missed(uow.mailboxes.removed_since(mailbox_id, modseq), uow.mailboxes.flags_since(mailbox_id, modseq))
