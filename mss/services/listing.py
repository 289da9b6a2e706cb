"""Rows of a mailbox with what IMAP tells of letters: flags, dates, ENVELOPE, BODYSTRUCTURE, names and preview."""

from __future__ import annotations

from enum import Flag, auto
from typing import Any, Final, NamedTuple

from mss.store import Uow
from mss.store.mailboxes import Runs, runs_of
from mss.store.objects import Opener


class Columns(Flag):
    """What `rows` brings besides uid, modseq, flags, internal date and size."""

    PLAIN = 0
    ENVELOPE = auto()
    BODYSTRUCTURE = auto()
    # When it was saved, its names (OBJECTID) and its preview.
    MORE = auto()


_LISTING: Final = Columns.ENVELOPE | Columns.BODYSTRUCTURE


class Row(NamedTuple):
    """One message of a mailbox; `flags` as bits of the mailbox; times in microseconds since 1970.

    A tuple: a listing makes tens of thousands, and a dataclass takes five times as long to make.
    """

    uid: int
    modseq: int
    flags: int
    internal_date_us: int
    size_octets: int
    object_id: int
    envelope: bytes = b""
    bodystructure: bytes = b""
    saved_at_us: int = 0
    thread_id: int | None = None
    email: str = ""
    preview: str = ""


def rows(uow: Uow, mailbox_id: int, box_id: int, uids: Runs, columns: Columns) -> list[Row]:
    """Return the rows of a mailbox of a box, of the UIDs that exist, by UID."""
    if columns == _LISTING:
        return _listed(uow, mailbox_id, box_id, uids)
    return _read(uow, mailbox_id, box_id, uids, columns)


def _read(uow: Uow, mailbox_id: int, box_id: int, uids: Runs, columns: Columns) -> list[Row]:
    envelope, bodystructure = Columns.ENVELOPE in columns, Columns.BODYSTRUCTURE in columns
    more = Columns.MORE in columns
    found = uow.mailboxes.rows(mailbox_id, box_id, uids, envelope=envelope, bodystructure=bodystructure, more=more)
    if not columns:
        return [Row(row[0], row[1], row[2], row[3], row[4], row[5]) for row in found]
    opener = uow.objects.opener(box_id)
    return [
        Row(
            row[0],
            row[1],
            row[2],
            row[3],
            row[4],
            row[5],
            opener.envelope(row[5], row[6]) if envelope else b"",
            opener.bodystructure(row[5], row[7]) if bodystructure else b"",
            *(_more(uow, opener, row) if more else ()),
        )
        for row in found
    ]


def _listed(uow: Uow, mailbox_id: int, box_id: int, uids: Runs) -> list[Row]:
    """Return rows with ENVELOPE and BODYSTRUCTURE: what was opened lately is not opened again."""
    known = uow.objects.opened(box_id)
    if not known:
        return _opened(uow, mailbox_id, box_id, uids)
    plain = uow.mailboxes.rows(mailbox_id, box_id, uids, envelope=False, bodystructure=False)
    missing = runs_of(row[0] for row in plain if row[5] not in known)
    fresh = {row.uid: row for row in _opened(uow, mailbox_id, box_id, missing)} if missing else {}
    return [
        fresh[row[0]] if row[0] in fresh else Row(row[0], row[1], row[2], row[3], row[4], row[5], *known[row[5]])
        for row in plain
        # A letter that the box does not hold (a damaged store) is in no listing.
        if row[0] in fresh or row[5] in known
    ]


def _opened(uow: Uow, mailbox_id: int, box_id: int, uids: Runs) -> list[Row]:
    found = _read(uow, mailbox_id, box_id, uids, _LISTING)
    uow.objects.keep_opened(box_id, {row.object_id: (row.envelope, row.bodystructure) for row in found})
    return found


def _more(uow: Uow, opener: Opener, row: tuple[Any, ...]) -> tuple[int, int | None, str, str]:
    object_id, saved_at, thread_id, preview = row[5], *row[8:11]
    text = opener.preview(object_id, preview) if preview is not None else ""
    return saved_at, thread_id, uow.objects.email_name(object_id), text
