"""Mailboxes as IMAP sees them (RFC 9051, 4315, 6851, 7162). UID sets are tuples of inclusive runs.

`actor` is who acts ("account:7"), for the journal. Errors: `NoSuchMailbox` when it is gone, `Malformed` for
names that cannot be, `MailboxExists`, `LimitReached`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum, Flag, auto

from mss.errors import MssError
from mss.model.mailbox import Change, Mailbox, MailboxStatus
from mss.services.reading import Reading
from mss.store import Uow

Runs = tuple[tuple[int, int], ...]


class NoSuchMailbox(MssError):
    """The mailbox is gone or never was."""


class MailboxExists(MssError):
    """The name is taken."""


class LimitReached(MssError):
    """A limit of the mailbox (number of keywords, of mailboxes) is reached."""


class NotPermitted(MssError):
    """The mailbox may not be changed that way (INBOX deleted, for instance)."""


class Columns(Flag):
    """What `rows` brings besides uid, modseq, flags, internal date and size."""

    PLAIN = 0
    ENVELOPE = auto()
    BODYSTRUCTURE = auto()


@dataclass(frozen=True, slots=True)
class Row:
    """One message of a mailbox; `flags` as bits of the mailbox; times in microseconds since 1970."""

    uid: int
    modseq: int
    flags: int
    internal_date_us: int
    size_octets: int
    object_id: int
    envelope: bytes = b""
    bodystructure: bytes = b""


def mailboxes(uow: Uow, box_id: int, now: datetime) -> tuple[Mailbox, ...]:
    """Return all mailboxes of a box, by name."""
    raise NotImplementedError


def find(uow: Uow, box_id: int, name: str, now: datetime) -> Mailbox:
    """Return a mailbox by its name (INBOX without regard to case)."""
    raise NotImplementedError


def create(uow: Uow, box_id: int, name: str, actor: str, now: datetime) -> Mailbox:
    """Create a mailbox and the levels above it."""
    raise NotImplementedError


def delete(uow: Uow, box_id: int, name: str, actor: str, now: datetime) -> None:
    """Delete a mailbox with its messages; INBOX and those with children are refused."""
    raise NotImplementedError


def rename(uow: Uow, box_id: int, old: str, new: str, actor: str, now: datetime) -> None:
    """Rename a mailbox and those below it; renaming INBOX moves its messages (RFC 9051 §6.3.6)."""
    raise NotImplementedError


def subscribe(uow: Uow, box_id: int, name: str, subscribed: bool, now: datetime) -> None:
    """Set or clear the subscription."""
    raise NotImplementedError


def status(uow: Uow, mailbox_id: int, now: datetime) -> MailboxStatus:
    """Return the counts of STATUS."""
    raise NotImplementedError


@dataclass(frozen=True, slots=True)
class Opened:
    """What SELECT needs: the mailbox, all its UIDs in order, and the first unseen UID."""

    mailbox: Mailbox
    uids: list[int]
    first_unseen_uid: int | None


def open_mailbox(uow: Uow, mailbox_id: int, now: datetime) -> Opened:
    """Return the snapshot that a session starts from."""
    raise NotImplementedError


@dataclass(frozen=True, slots=True)
class Changes:
    """What happened since a MODSEQ: the log's lines in order, the present (uid, modseq, flags) of UIDs that were
    added or whose flags changed and that still exist, and the mailbox as it is now (its `modseq` is the new mark)."""

    mailbox: Mailbox
    log: tuple[Change, ...]
    flags: tuple[tuple[int, int, int], ...]


def changes(uow: Uow, mailbox_id: int, since: int, now: datetime) -> Changes:
    """Return what happened after MODSEQ `since`."""
    raise NotImplementedError


def rows(uow: Uow, mailbox_id: int, uids: Runs, columns: Columns, now: datetime) -> list[Row]:
    """Return the rows of the UIDs that exist, by UID; callers ask in chunks (500 or so)."""
    raise NotImplementedError


def octets(uow: Uow, mailbox_id: int, object_id: int, start: int, end: int | None, now: datetime) -> bytes:
    """Return octets [start, end) of a letter that the mailbox holds (None: to its end)."""
    raise NotImplementedError


class FlagAction(Enum):
    """STORE's three forms."""

    REPLACE = "FLAGS"
    ADD = "+FLAGS"
    REMOVE = "-FLAGS"


@dataclass(frozen=True, slots=True)
class Stored:
    """The MODSEQ of the whole command, the (uid, modseq, flags) after it of all that were named and exist, and the
    runs of those left alone by UNCHANGEDSINCE. Setting what is set already changes nothing and gives no MODSEQ."""

    mailbox: Mailbox
    rows: tuple[tuple[int, int, int], ...]
    modified: Runs


def store_flags(
    uow: Uow,
    mailbox_id: int,
    uids: Runs,
    action: FlagAction,
    flags: tuple[str, ...],
    unchanged_since: int | None,
    actor: str,
    now: datetime,
) -> Stored:
    """Change flags as one set operation; new keywords get a bit of the mailbox."""
    raise NotImplementedError


@dataclass(frozen=True, slots=True)
class Placed:
    """Where letters came to be: UIDPLUS's triple. `source` and `target` go pairwise."""

    uidvalidity: int
    source: Runs
    target: Runs


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
    raise NotImplementedError


def copy(uow: Uow, mailbox_id: int, uids: Runs, target_id: int, actor: str, now: datetime) -> Placed:
    """Copy letters (flags and dates kept); all or nothing."""
    raise NotImplementedError


def move(uow: Uow, mailbox_id: int, uids: Runs, target_id: int, actor: str, now: datetime) -> tuple[Placed, int]:
    """Move letters: copy and expunge as one; returns the source mailbox's MODSEQ too."""
    raise NotImplementedError


def expunge(uow: Uow, mailbox_id: int, uids: Runs | None, actor: str, now: datetime) -> tuple[int, Runs]:
    """Remove messages flagged \\Deleted (only among `uids` when given); returns MODSEQ and the removed UIDs."""
    raise NotImplementedError
