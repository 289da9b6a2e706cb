"""Handlers that change letters: STORE, COPY, MOVE, EXPUNGE (RFC 3501, 4315, 6851, 7162)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from mss.imap import commands as c
from mss.imap import folders, responses, units
from mss.imap.folders import located
from mss.imap.reading import NO_SUCH_NUMBER, SOME_GONE
from mss.imap.responses import Runs
from mss.imap.session import Answer, Session, done
from mss.imap.view import View
from mss.model.mailbox import SYSTEM_FLAGS
from mss.services import many, own_seen
from mss.services.mailbox import FlagAction, Placed, Stored

# A unit of work lasts 20 ms at most.
_SLICE_LETTERS: Final = many.SLICE
READ_ONLY: Final = Answer("NO", "The mailbox is open for reading only", "CANNOT")
_ACTIONS: Final = {
    c.StoreMode.REPLACE: FlagAction.REPLACE,
    c.StoreMode.ADD: FlagAction.ADD,
    c.StoreMode.REMOVE: FlagAction.REMOVE,
}
_SYSTEM: Final = frozenset(flag.lower() for flag in SYSTEM_FLAGS)


def settable(flags: tuple[str, ...]) -> tuple[str, ...]:
    """Return the flags that can be stored: \\Recent and system flags that nobody knows are passed over."""
    return tuple(flag for flag in flags if not flag.startswith("\\") or flag.lower() in _SYSTEM)


# --- STORE ---


async def store(session: Session, command: c.Store) -> Answer:
    """Change flags as one set operation and tell the new ones."""
    view = session.here.view
    session.condstore = session.condstore or command.unchanged_since is not None
    runs = view.resolve(command.messages, uid=command.uid)
    if runs is None:
        return NO_SUCH_NUMBER
    if view.read_only:
        return READ_ONLY
    flags, modified, found = settable(command.flags), list[tuple[int, int]](), 0
    for part in view.slices(runs, _SLICE_LETTERS):
        stored = await session.write(
            own_seen.store_flags, view.mailbox.id, part, _ACTIONS[command.mode], flags, command.unchanged_since,
            session.actor, session.house.clock(), session.reader,
        )  # fmt: skip
        view.own(stored.modseq)
        _tell_stored(session, command, stored)
        modified.extend(stored.modified)
        found += len(stored.rows)
    if modified:
        return done("Some were changed meanwhile", f"MODIFIED {_named(view, tuple(modified), uid=command.uid)}")
    wanted = sum(1 for _ in view.numbered(runs))
    return SOME_GONE if found < wanted and not command.uid else done()


def _tell_stored(session: Session, command: c.Store, stored: Stored) -> None:
    view = session.here.view
    failed = {uid for first, last in stored.modified for uid in range(first, last + 1)}
    told = []
    for uid, modseq, bits in stored.rows:
        number = view.number_of(uid)
        if number is None or uid in failed:
            continue
        if not command.silent:
            written = responses.flags(bits, stored.mailbox.keywords)
            told.append(responses.flag_update(number, uid, modseq if session.condstore else None, written))
        elif session.condstore:
            told.append(b"* %d FETCH (UID %d MODSEQ (%d))\r\n" % (number, uid, modseq))
    _tell_keywords(session, stored)
    session.stream.write(b"".join(told))


def _tell_keywords(session: Session, stored: Stored) -> None:
    """Name new keywords before they are used."""
    here = session.here
    if stored.mailbox.keywords != here.told_keywords:
        here.told_keywords = stored.mailbox.keywords
        session.stream.write(responses.mailbox_flags(stored.mailbox.keywords, read_only=here.view.read_only))


def _named(view: View, runs: Runs, *, uid: bool) -> str:
    """Return UIDs as the command named them: by UID or by number."""
    return responses.runs(runs if uid else responses.as_runs(number for number, _ in view.numbered(runs)))


# --- COPY and MOVE ---


async def copy(session: Session, command: c.Copy) -> Answer:
    """Copy letters, all or none; or move them, each whole."""
    view = session.here.view
    runs = view.resolve(command.messages, uid=command.uid)
    if runs is None:
        return NO_SUCH_NUMBER
    if command.move and view.read_only:
        return READ_ONLY
    place, name = located(session, command.mailbox, to_change=True)
    target = units.Target(place.box.id, name)
    own_source = session.here.place.own_seen
    readers = units.Readers(session.account_id, own_source, place.own_seen)
    return await (_move if command.move else _copy)(session, runs, target, readers)


async def _copy(session: Session, runs: Runs, target: units.Target, readers: units.Readers) -> Answer:
    mailbox_id = session.here.view.mailbox.id
    now = session.house.clock()
    placed = await session.write(units.copy, mailbox_id, runs, target, session.actor, now, readers)
    return done(code=_copyuid([placed])) if placed.source else done("Nothing to do")


async def _move(session: Session, runs: Runs, target: units.Target, readers: units.Readers) -> Answer:
    view, moved = session.here.view, list[Placed]()
    for part in view.slices(runs, _SLICE_LETTERS):
        now = session.house.clock()
        moved.append(await session.write(units.move, view.mailbox.id, part, target, session.actor, now, readers))
    if not any(placed.source for placed in moved):
        return done("Nothing to do")
    # The client learns the new UIDs before the old numbers go (RFC 6851 §4.3).
    session.stream.write(responses.tagged("*", "OK", "Moved", _copyuid(moved)))
    return done()


def _copyuid(placed: Sequence[Placed]) -> str:
    source = [run for each in placed for run in each.source]
    target = [run for each in placed for run in each.target]
    return f"COPYUID {placed[0].uidvalidity} {responses.runs(source)} {responses.runs(target)}"


# --- EXPUNGE ---


async def expunge(session: Session, command: c.Expunge) -> Answer:
    """Remove what is flagged \\Deleted, with UID EXPUNGE only among the named."""
    view = session.here.view
    if view.read_only:
        return READ_ONLY
    runs = None if command.uids is None else view.resolve(command.uids, uid=True)
    await folders.expunge(session, view.mailbox.id, runs)
    return done()
