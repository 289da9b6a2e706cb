"""Handlers that change letters: STORE, COPY, MOVE, EXPUNGE, APPEND (RFC 3501, 4315, 6851, 7162)."""

from __future__ import annotations

from typing import Final

from mss.imap import commands as c
from mss.imap import responses, units
from mss.imap.folders import located
from mss.imap.reading import NO_SUCH_NUMBER, SOME_GONE
from mss.imap.responses import Runs
from mss.imap.session import Answer, Session, done
from mss.imap.view import View
from mss.model.mailbox import SYSTEM_FLAGS
from mss.services import mailbox
from mss.services.mailbox import FlagAction, Placed, Stored

_READ_ONLY: Final = Answer("NO", "The mailbox is open for reading only", "CANNOT")
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
        return _READ_ONLY
    stored = await session.write(
        mailbox.store_flags, view.mailbox.id, runs, _ACTIONS[command.mode], settable(command.flags),
        command.unchanged_since, session.actor, session.house.clock(),
    )  # fmt: skip
    view.own(stored.modseq)
    _tell_stored(session, command, stored)
    return _stored_answer(view, command, runs, stored)


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


def _stored_answer(view: View, command: c.Store, runs: Runs, stored: Stored) -> Answer:
    if stored.modified:
        return done("Some were changed meanwhile", f"MODIFIED {_named(view, stored.modified, uid=command.uid)}")
    wanted = sum(1 for _ in view.numbered(runs))
    return SOME_GONE if len(stored.rows) < wanted and not command.uid else done()


def _named(view: View, runs: Runs, *, uid: bool) -> str:
    """Return UIDs as the command named them: by UID or by number."""
    return responses.runs(runs if uid else responses.as_runs(number for number, _ in view.numbered(runs)))


# --- COPY and MOVE ---


async def copy(session: Session, command: c.Copy) -> Answer:
    """Copy or move letters, all or none."""
    view = session.here.view
    runs = view.resolve(command.messages, uid=command.uid)
    if runs is None:
        return NO_SUCH_NUMBER
    if command.move and view.read_only:
        return _READ_ONLY
    place, name = located(session, command.mailbox, to_change=True)
    service = units.move if command.move else units.copy
    target = units.Target(place.box.id, name)
    placed = await session.write(service, view.mailbox.id, runs, target, session.actor, session.house.clock())
    if not placed.source:
        return done("Nothing to do")
    code = _copyuid(placed)
    if not command.move:
        return done(code=code)
    # The client learns the new UIDs before the old numbers go (RFC 6851 §4.3).
    session.stream.write(responses.tagged("*", "OK", "Moved", code))
    return done()


def _copyuid(placed: Placed) -> str:
    return f"COPYUID {placed.uidvalidity} {responses.runs(placed.source)} {responses.runs(placed.target)}"


# --- EXPUNGE ---


async def expunge(session: Session, command: c.Expunge) -> Answer:
    """Remove what is flagged \\Deleted, with UID EXPUNGE only among the named."""
    view = session.here.view
    if view.read_only:
        return _READ_ONLY
    runs = None if command.uids is None else view.resolve(command.uids, uid=True)
    await session.write(mailbox.expunge, view.mailbox.id, runs, session.actor, session.house.clock())
    return done()


# --- APPEND ---


async def append(session: Session, command: c.Append) -> Answer:
    """Add a letter to a mailbox."""
    if not command.octets:
        return Answer("NO", "A letter cannot be empty", "CANNOT")
    place, name = located(session, command.mailbox, to_change=True)
    reading = await session.house.read_letter(command.octets)
    placed = await session.write(
        units.append, units.Target(place.box.id, name), reading, settable(command.flags), command.internal_date,
        session.actor, session.house.clock(),
    )  # fmt: skip
    return done(code=f"APPENDUID {placed.uidvalidity} {responses.runs(placed.target)}")
