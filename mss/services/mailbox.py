"""Mailboxes as IMAP sees them (RFC 9051, 4315, 6851, 7162). UID sets are tuples of inclusive runs.

`actor` is who acts ("account:7"), for the journal. Errors: `NoSuchMailbox` when it is gone, `Malformed` for
names that cannot be, `MailboxExists`, `LimitReached`.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from functools import cache
from typing import Any, Final, assert_never

from mss.errors import Malformed, MssError
from mss.model.audit import AuditEvent
from mss.model.mailbox import (
    DELETED,
    FIRST_KEYWORD_BIT,
    INBOX,
    KEYWORDS_MAX,
    SEEN,
    SPECIAL_USES,
    SYSTEM_FLAGS,
    Change,
    ChangeKind,
    Mailbox,
    MailboxStatus,
)
from mss.services import listing, quotas
from mss.services.listing import Columns as Columns
from mss.services.listing import Row as Row
from mss.services.reading import Reading
from mss.store import Uow
from mss.store.mailboxes import Runs as Runs
from mss.store.mailboxes import merged as merged
from mss.store.mailboxes import runs_of
from mss.store.objects import Forms

NAME_MAX_CHARACTERS: Final = 255
LEVELS_MAX: Final = 10
MAILBOXES_MAX: Final = 1000
KEYWORD_MAX_CHARACTERS: Final = 255
_ALL_BITS: Final = (1 << 62) - 1


class NoSuchMailbox(MssError):
    """The mailbox is gone or never was."""


class MailboxExists(MssError):
    """The name is taken."""


class LimitReached(MssError):
    """A limit of the mailbox (number of keywords, of mailboxes) is reached."""


class NoSuchLetter(MssError):
    """The letter is gone."""


class UseTaken(MssError):
    """The special use is unknown here, or another mailbox of the box has it (RFC 6154 §3)."""


class NotPermitted(MssError):
    """The mailbox may not be changed that way (INBOX deleted, for instance)."""


def mailboxes(uow: Uow, box_id: int, now: datetime) -> tuple[Mailbox, ...]:
    """Return all mailboxes of a box, by name."""
    return uow.mailboxes.all_of(box_id)


def find(uow: Uow, box_id: int, name: str, now: datetime) -> Mailbox:
    """Return a mailbox by its name (INBOX without regard to case)."""
    found = uow.mailboxes.by_name(box_id, _canonical(name))
    if found is None:
        raise NoSuchMailbox("there is no such mailbox")
    return found


def _canonical(name: str) -> str:
    first, slash, rest = name.partition("/")
    return INBOX + slash + rest if first.upper() == INBOX else name


def _checked(name: str) -> str:
    levels = name.split("/")
    bad = any(not level or level != level.strip() or not all(map(_fit, level)) for level in levels)
    if bad or len(name) > NAME_MAX_CHARACTERS or len(levels) > LEVELS_MAX:
        raise Malformed("not a fit name for a mailbox")
    return _canonical(name)


def is_fit_name(name: str) -> bool:
    """Say whether a mailbox may have this name."""
    try:
        _checked(name)
    except Malformed:
        return False
    return True


def _fit(character: str) -> bool:
    """Say whether a character may stand in a name: no wildcard, control character or lone surrogate."""
    return character not in "*%" and unicodedata.category(character) not in ("Cc", "Cs")


def locked(uow: Uow, mailbox_id: int) -> Mailbox:
    """Return a mailbox whose counter row is held until the unit ends."""
    return _by_id(uow, mailbox_id, lock=True)


def _by_id(uow: Uow, mailbox_id: int, *, lock: bool = False) -> Mailbox:
    found = uow.mailboxes.by_id(mailbox_id, lock=lock)
    if found is None:
        raise NoSuchMailbox("the mailbox is gone")
    return found


def _journal(uow: Uow, actor: str, action: str, mailbox: Mailbox, now: datetime, **facts: int) -> None:
    target = f"mailbox:{mailbox.id}"
    uow.journal.write(AuditEvent(actor, action, target, subject_box_id=mailbox.box_id, facts=facts), now)


def create(uow: Uow, box_id: int, name: str, actor: str, now: datetime, use: str = "") -> Mailbox:
    """Create a mailbox and the levels above it; `use` is its special use, which one mailbox of a box has at most."""
    name = _checked(name.removesuffix("/"))
    if use and (use not in SPECIAL_USES or any(one.special_use == use for one in uow.mailboxes.all_of(box_id))):
        raise UseTaken("the special use cannot be had")
    if uow.mailboxes.by_name(box_id, name) is not None:
        raise MailboxExists("the name is taken")
    names = {mailbox.name for mailbox in uow.mailboxes.all_of(box_id)}
    levels = name.split("/")
    new = [level for depth in range(len(levels)) if (level := "/".join(levels[: depth + 1])) not in names]
    if len(names) + len(new) > MAILBOXES_MAX:
        raise LimitReached("the box has too many mailboxes")
    for level in new:
        uow.mailboxes.create(box_id, level, use if level == name else "", now)
    made = find(uow, box_id, name, now)
    _journal(uow, actor, "mailbox.create", made, now)
    return made


def delete(uow: Uow, box_id: int, name: str, actor: str, now: datetime) -> None:
    """Delete a mailbox with its messages; one that holds many is emptied first (`many.empty_some`)."""
    mailbox = deletable(uow, box_id, name, now)
    uow.expunged.keep(mailbox, None, now)
    uow.mailboxes.delete(mailbox.id)
    uow.annotations.drop_all(box_id, mailbox.id)
    _journal(uow, actor, "mailbox.delete", mailbox, now)
    uow.wake("mailbox", box_id)


def deletable(uow: Uow, box_id: int, name: str, now: datetime) -> Mailbox:
    """Return a mailbox that may be deleted; INBOX and those with children are refused."""
    mailbox = find(uow, box_id, name, now)
    children = any(other.name.startswith(mailbox.name + "/") for other in uow.mailboxes.all_of(box_id))
    if mailbox.name == INBOX or children:
        raise NotPermitted("INBOX and mailboxes with others below them cannot be deleted")
    return mailbox


def rename(uow: Uow, box_id: int, old: str, new: str, actor: str, now: datetime) -> None:
    """Rename a mailbox and those below it; renaming INBOX moves its messages (RFC 9051 §6.3.6)."""
    mailbox = find(uow, box_id, old, now)
    target = _checked(new.removesuffix("/"))
    if uow.mailboxes.by_name(box_id, target) is not None:
        raise MailboxExists("the name is taken")
    if target.startswith(mailbox.name + "/"):
        raise NotPermitted("a mailbox cannot be put below itself")
    if mailbox.name == INBOX:
        made = create(uow, box_id, target, actor, now)
        move(uow, mailbox.id, ((1, mailbox.uidnext),), made.id, actor, now)
        return
    parent = target.rpartition("/")[0]
    if parent and uow.mailboxes.by_name(box_id, parent) is None:
        create(uow, box_id, parent, actor, now)
    for other in uow.mailboxes.all_of(box_id):
        if other.id == mailbox.id or other.name.startswith(mailbox.name + "/"):
            uow.mailboxes.rename(other.id, _checked(target + other.name[len(mailbox.name) :]))
    _journal(uow, actor, "mailbox.rename", mailbox, now)


def subscribe(uow: Uow, box_id: int, name: str, subscribed: bool, now: datetime) -> None:
    """Set or clear the subscription."""
    uow.mailboxes.set_subscribed(find(uow, box_id, name, now).id, subscribed)


def status(uow: Uow, mailbox_id: int, now: datetime) -> MailboxStatus:
    """Return the counts of STATUS."""
    mailbox = _by_id(uow, mailbox_id)
    return MailboxStatus(mailbox, *uow.mailboxes.counts(mailbox_id, SEEN, DELETED))


@dataclass(frozen=True, slots=True)
class Changes:
    """What happened since a MODSEQ: the log's lines in order, the present (uid, modseq, flags) of UIDs that were
    added or whose flags changed and that still exist, and the mailbox as it is now (its `modseq` is the new mark)."""

    mailbox: Mailbox
    log: tuple[Change, ...]
    flags: tuple[tuple[int, int, int], ...]


# A glance may take the loop's own time: some 50 µs.
_GLANCED_MAX: Final = 32


def changes(uow: Uow, mailbox_id: int, since: int, now: datetime) -> Changes:
    """Return what happened after MODSEQ `since`."""
    mailbox = _by_id(uow, mailbox_id)
    if mailbox.modseq <= since:
        return Changes(mailbox, (), ())
    log = uow.mailboxes.changes_since(mailbox_id, since)
    return Changes(mailbox, log, uow.mailboxes.flags_since(mailbox_id, since))


def few_changes(uow: Uow, mailbox_id: int, since: int, now: datetime) -> Changes | None:
    """Return what happened after MODSEQ `since`; None when that is more than is read at a glance."""
    mailbox = _by_id(uow, mailbox_id)
    if mailbox.modseq <= since:
        return Changes(mailbox, (), ())
    if mailbox.modseq - since > _GLANCED_MAX:
        return None
    log = uow.mailboxes.changes_since(mailbox_id, since)
    if sum(one.uid_last - one.uid_first + 1 for one in log) > _GLANCED_MAX:
        return None
    return Changes(mailbox, log, uow.mailboxes.flags_since(mailbox_id, since))


def rows(uow: Uow, mailbox_id: int, uids: Runs, columns: Columns, now: datetime) -> list[Row]:
    """Return the rows of the UIDs that exist, by UID; callers ask in chunks (500 or so)."""
    return listing.rows(uow, mailbox_id, _by_id(uow, mailbox_id).box_id, uids, columns)


def octets(uow: Uow, mailbox_id: int, object_id: int, start: int, end: int | None, now: datetime) -> bytes:
    """Return octets [start, end) of a letter that the mailbox holds (None: to its end)."""
    mailbox = _by_id(uow, mailbox_id)
    if not uow.mailboxes.holds(mailbox_id, object_id):
        raise NoSuchMailbox("the mailbox holds no such letter")
    return uow.objects.get(mailbox.box_id, object_id, start, end)


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
    # 0 when nothing changed.
    modseq: int = 0


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
    mailbox = _by_id(uow, mailbox_id, lock=True)
    bits = bits_of(uow, mailbox, flags, create=action is not FlagAction.REMOVE)
    keep, add = _operation(action, bits)
    # The counter is bumped only when something changes: look first, in this same unit.
    modseq = mailbox.modseq + 1
    changed = uow.mailboxes.change_flags(mailbox_id, uids, keep, add, modseq, unchanged_since)
    if changed:
        uow.mailboxes.bump(mailbox_id)
        uow.mailboxes.log(mailbox_id, modseq, runs_of(changed), ChangeKind.FLAGS)
        _journal(uow, actor, "letter.flags", mailbox, now, letters=len(changed))
        uow.wake("mailbox", mailbox.box_id)
    after = uow.mailboxes.rows(mailbox_id, mailbox.box_id, uids, envelope=False, bodystructure=False)
    failed = () if unchanged_since is None else _left_alone(after, unchanged_since, set(changed))
    told = tuple((row[0], row[1], row[2]) for row in after)
    return Stored(_by_id(uow, mailbox_id), told, failed, modseq if changed else 0)


def _left_alone(rows_after: Sequence[Any], unchanged_since: int, changed: set[int]) -> Runs:
    return runs_of(row[0] for row in rows_after if row[1] > unchanged_since and row[0] not in changed)


def _operation(action: FlagAction, bits: int) -> tuple[int, int]:
    """Return (bits to keep, bits to add)."""
    match action:
        case FlagAction.REPLACE:
            return 0, bits
        case FlagAction.ADD:
            return _ALL_BITS, bits
        case FlagAction.REMOVE:
            return _ALL_BITS & ~bits, 0
        case _ as never:
            assert_never(never)


def bits_of(uow: Uow, mailbox: Mailbox, flags: tuple[str, ...], *, create: bool = True) -> int:
    """Return the bits of flags; new keywords get one when `create`, unknown ones none otherwise."""
    system = {flag.lower(): 1 << bit for bit, flag in enumerate(SYSTEM_FLAGS)}
    known = {name.lower(): position for position, name in enumerate(mailbox.keywords)}
    bits = 0
    for flag in flags:
        key = flag.lower()
        if key in system:
            bits |= system[key]
            continue
        if key not in known:
            if not create:
                continue
            if len(known) >= KEYWORDS_MAX or len(flag) > KEYWORD_MAX_CHARACTERS:
                raise LimitReached("the mailbox has too many keywords, or this one is too long")
            uow.mailboxes.add_keyword(mailbox.id, flag, len(known))
            known[key] = len(known)
        bits |= 1 << (FIRST_KEYWORD_BIT + known[key])
    return bits


def flag_names(keywords: tuple[str, ...], bits: int) -> tuple[str, ...]:
    """Return the names of flags that are set; `keywords` in bit order."""
    system = [flag for bit, flag in enumerate(SYSTEM_FLAGS) if bits >> bit & 1]
    words = [name for i, name in enumerate(keywords) if bits >> (FIRST_KEYWORD_BIT + i) & 1]
    return (*system, *words)


@dataclass(frozen=True, slots=True)
class Placed:
    """Where letters came to be: UIDPLUS's triple. `source` and `target` go pairwise."""

    uidvalidity: int
    source: Runs
    target: Runs


def forms_of(reading: Reading) -> Forms:
    """Return what IMAP sends of a letter, for the store to keep."""
    return Forms(reading.envelope, reading.bodystructure, reading.preview)


def keep_search_text(uow: Uow, box_id: int, object_id: int, reading: Reading) -> None:
    """Keep what SEARCH looks into; where it is too long, the letter is read anew each time."""
    if reading.search_text:
        uow.prepared.keep_texts(box_id, ((object_id, reading.search_text),))


def copy(uow: Uow, mailbox_id: int, uids: Runs, target_id: int, actor: str, now: datetime) -> Placed:
    """Copy letters (flags and dates kept); all or nothing. OverQuota when the target's box has no room."""
    return _copied(uow, *_both(uow, mailbox_id, target_id), uids, actor, now, grows=True)


def _copied(
    uow: Uow, source: Mailbox, target: Mailbox, uids: Runs, actor: str, now: datetime, *, grows: bool
) -> Placed:
    mailbox_id, target_id = source.id, target.id
    found = uow.mailboxes.rows(mailbox_id, source.box_id, uids, envelope=False, bodystructure=False)
    if not found:
        return Placed(target.uidvalidity, (), ())
    if grows:
        quotas.must_have_room(uow, target.box_id, len(found), sum(row[4] for row in found))
    first, modseq = uow.mailboxes.bump(target_id, len(found))
    translate = _translator(uow, source, target)
    rows_new = []
    for offset, row in enumerate(found):
        if source.box_id != target.box_id:
            uow.objects.hold_too(target.box_id, source.box_id, row[5])
        values = {"uid": first + offset, "flags": translate(row[2]), "internal_date": row[3], "size": row[4]}
        rows_new.append({**values, "object_id": row[5]})
    uow.mailboxes.add(target_id, rows_new, modseq, now)
    _journal(uow, actor, "letter.copy", target, now, letters=len(found), source=mailbox_id)
    uow.wake("mailbox", target.box_id)
    return Placed(target.uidvalidity, runs_of(row[0] for row in found), ((first, first + len(found) - 1),))


def _both(uow: Uow, mailbox_id: int, target_id: int) -> tuple[Mailbox, Mailbox]:
    """Lock two mailboxes, always in the same order, and return them as asked."""
    locked = {one: _by_id(uow, one, lock=True) for one in sorted({mailbox_id, target_id})}
    return locked[mailbox_id], locked[target_id]


def _translator(uow: Uow, source: Mailbox, target: Mailbox) -> Callable[[int], int]:
    """Return what turns flag bits of one mailbox into those of another, asking the store once per set of bits."""
    if source.id == target.id:
        return lambda bits: bits

    @cache
    def translated(bits: int) -> int:
        return bits_of(uow, _by_id(uow, target.id), flag_names(source.keywords, bits), create=True)

    return translated


def move(uow: Uow, mailbox_id: int, uids: Runs, target_id: int, actor: str, now: datetime) -> tuple[Placed, int]:
    """Move letters: copy and expunge as one; returns the source mailbox's MODSEQ too."""
    source, target = _both(uow, mailbox_id, target_id)
    placed = _copied(uow, source, target, uids, actor, now, grows=source.box_id != target.box_id)
    source = _by_id(uow, mailbox_id)
    if not placed.source:
        return placed, source.modseq
    modseq, _ = _remove(uow, source, placed.source, now)
    _journal(uow, actor, "letter.move", source, now, target=target_id)
    return placed, modseq


def _remove(uow: Uow, mailbox: Mailbox, runs: Runs, now: datetime) -> tuple[int, Runs]:
    _, modseq = uow.mailboxes.bump(mailbox.id)
    uow.mailboxes.remove(mailbox.id, runs)
    uow.mailboxes.log(mailbox.id, modseq, runs, ChangeKind.EXPUNGED)
    uow.wake("mailbox", mailbox.box_id)
    return modseq, runs


def expunge(uow: Uow, mailbox_id: int, uids: Runs | None, actor: str, now: datetime) -> tuple[int, Runs]:
    """Remove messages flagged \\Deleted (only among `uids` when given); returns MODSEQ and the removed UIDs."""
    mailbox = _by_id(uow, mailbox_id, lock=True)
    gone = runs_of(uow.mailboxes.flagged(mailbox_id, DELETED, uids))
    if not gone:
        return mailbox.modseq, ()
    return _expunged(uow, mailbox, gone, actor, now)


def remove(uow: Uow, mailbox_id: int, uids: Runs, actor: str, now: datetime) -> tuple[int, Runs]:
    """Expunge letters whatever their flags; returns MODSEQ and the removed UIDs."""
    return _expunged(uow, locked(uow, mailbox_id), uids, actor, now)


def _expunged(uow: Uow, mailbox: Mailbox, gone: Runs, actor: str, now: datetime) -> tuple[int, Runs]:
    _journal(uow, actor, "letter.expunge", mailbox, now, letters=sum(last - first + 1 for first, last in gone))
    uow.expunged.keep(mailbox, gone, now)
    return _remove(uow, mailbox, gone, now)
