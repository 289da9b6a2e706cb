"""Handlers of mailboxes: CREATE, DELETE, RENAME, SUBSCRIBE, SELECT, CLOSE, ENABLE (RFC 3501, 6154, 8474, 9051)."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain
from typing import Final

from mss.imap import commands as c
from mss.imap import responses, resyncing, units
from mss.imap.places import Place
from mss.imap.responses import Runs
from mss.imap.session import REV2, UTF8, Answer, Session, done
from mss.imap.view import View
from mss.model.mailbox import INBOX, SPECIAL_USES, Mailbox
from mss.services import mailbox, many
from mss.services.mailbox import NoSuchMailbox, NotPermitted, UseTaken
from mss.services.opening import Opened, Since

# What makes a client one that knows about MODSEQ (RFC 7162 §3.1, §3.2.3), and all that ENABLE turns on.
ENABLES_CONDSTORE: Final = frozenset({"CONDSTORE", "QRESYNC"})
ENABLABLE: Final = ENABLES_CONDSTORE | {UTF8, REV2}


def located(session: Session, name: str, *, to_change: bool = False) -> tuple[Place, str]:
    """Return a mailbox's box and name, or raise what the error map knows."""
    found = session.places.locate(name)
    if found is None:
        raise NotPermitted("the name is reserved") if to_change else NoSuchMailbox("there is no such mailbox")
    if to_change and not found[0].writable:
        raise NotPermitted("the box is closed")
    return found


# --- changing ---


async def create(session: Session, command: c.Create) -> Answer:
    """Create a mailbox, perhaps for a special use."""
    place, name = located(session, command.mailbox, to_change=True)
    if len(command.uses) > 1:
        raise UseTaken("a mailbox has one special use")
    use = _known_use(command.uses[0]) if command.uses else ""
    made = await session.write(mailbox.create, place.box.id, name, session.actor, session.house.clock(), use)
    return done(code=f"MAILBOXID {responses.mailbox_id(made.id)}")


def _known_use(written: str) -> str:
    """Return a special use as it is spelled here, whatever its case."""
    return next((use for use in SPECIAL_USES if use.lower() == written.lower()), written)


async def delete(session: Session, command: c.Delete) -> Answer:
    """Delete a mailbox; the selected one is left first."""
    place, name = located(session, command.mailbox, to_change=True)
    while await session.write(many.empty_some, place.box.id, name, session.actor, session.house.clock()):
        pass
    await session.write(mailbox.delete, place.box.id, name, session.actor, session.house.clock())
    here = session.selected
    if here is not None and (here.place.box.id, here.view.mailbox.name) == (place.box.id, name):
        session.unselect()
    return done()


async def rename(session: Session, command: c.Rename) -> Answer:
    """Rename a mailbox within its box."""
    place, old = located(session, command.mailbox, to_change=True)
    target, new = located(session, command.to, to_change=True)
    if target.box.id != place.box.id:
        raise NotPermitted("a mailbox stays in its box")
    found = await session.read(mailbox.find, place.box.id, old, session.house.clock())
    if found.name == INBOX:
        await _move_all(session, found, new)
    else:
        await session.write(mailbox.rename, place.box.id, old, new, session.actor, session.house.clock())
    return done()


async def expunge(session: Session, mailbox_id: int, among: Runs | None) -> None:
    """Remove what is flagged \\Deleted, perhaps only among some letters."""
    for part in await session.read(many.flagged, mailbox_id, among, session.house.clock()):
        await session.write(mailbox.expunge, mailbox_id, part, session.actor, session.house.clock())


async def _move_all(session: Session, inbox: Mailbox, new: str) -> None:
    """Rename INBOX: its letters move into a new mailbox, and it stays (RFC 9051 §6.3.6)."""
    made = await session.write(mailbox.create, inbox.box_id, new, session.actor, session.house.clock())
    where, last, first = (inbox.id, made.id), inbox.uidnext - 1, 1
    while first := await session.write(many.move_some, *where, first, last, session.actor, session.house.clock()):
        pass


async def subscribe(session: Session, command: c.Subscribe) -> Answer:
    """Set or clear a subscription; a name that is gone needs no clearing."""
    try:
        place, name = located(session, command.mailbox)
        await session.write(mailbox.subscribe, place.box.id, name, command.wanted, session.house.clock())
    except NoSuchMailbox:
        if command.wanted:
            raise
    return done()


# --- selecting ---


async def select(session: Session, command: c.Select) -> Answer:
    """Open a mailbox; whatever was selected is left, also when this fails (RFC 3501 §6.3.1)."""
    if command.resync is not None and "QRESYNC" not in session.enabled:
        return Answer("BAD", "ENABLE QRESYNC first")
    if session.selected is not None:
        session.unselect()
        session.stream.write(responses.tagged("*", "OK", "The mailbox before is closed", "CLOSED"))
    await session.refresh_places()
    place, name = located(session, command.mailbox)
    resync, now, reader = command.resync, session.house.clock(), session.reader_of(place)
    since = Since(resync.uidvalidity, resync.modseq) if resync is not None else None
    opened = await session.read(units.open_by_name, place.box.id, name, since, now, reader)
    read_only = command.read_only or not place.writable
    session.condstore = session.condstore or command.condstore
    uids = chain.from_iterable(range(first, last + 1) for first, last in opened.runs)
    view = View(opened.mailbox, uids, read_only=read_only, recent=not session.rev2)
    session.select(view, place)
    session.stream.write(b"".join(_opening(opened, view, rev2=session.rev2)))
    if session.rev2:
        # RFC 9051 §6.3.2: the mailbox's own line of LIST goes with it.
        use = (opened.mailbox.special_use,) if opened.mailbox.special_use else ()
        session.stream.write(responses.listing("LIST", use, place.outside(name), utf8=True))
    if resync is not None and opened.missed is not None:
        resyncing.tell_missed(session, resync, opened.missed)
    return done("Selected", "READ-ONLY" if read_only else "READ-WRITE")


def _opening(opened: Opened, view: View, *, rev2: bool) -> Iterable[bytes]:
    found = opened.mailbox
    yield responses.mailbox_flags(found.keywords, read_only=view.read_only)
    yield b"* %d EXISTS\r\n" % view.exists + (b"" if rev2 else b"* 0 RECENT\r\n")
    if not rev2 and opened.first_unseen_uid is not None:
        yield responses.tagged("*", "OK", "First unseen", f"UNSEEN {view.number_of(opened.first_unseen_uid)}")
    yield responses.tagged("*", "OK", "UIDs valid", f"UIDVALIDITY {found.uidvalidity}")
    yield responses.tagged("*", "OK", "Next UID", f"UIDNEXT {found.uidnext}")
    yield responses.tagged("*", "OK", "Its name", f"MAILBOXID {responses.mailbox_id(found.id)}")
    yield responses.highest(found.modseq)


async def close(session: Session, command: c.Close) -> Answer:
    """Leave the mailbox; CLOSE removes what is flagged \\Deleted without telling."""
    view = session.here.view
    if command.expunge and not view.read_only:
        await expunge(session, view.mailbox.id, None)
    session.unselect()
    return done()


async def enable(session: Session, command: c.Enable) -> Answer:
    """Turn on what is known of what was asked."""
    known = [word for word in dict.fromkeys(command.capabilities) if word in ENABLABLE]
    session.enabled.update(known)
    begins = not session.condstore and bool(ENABLES_CONDSTORE & session.enabled)
    session.condstore = session.condstore or begins
    session.stream.write(responses.untagged(" ".join(("ENABLED", *known))))
    if begins and session.selected is not None:
        session.stream.write(responses.highest(session.selected.view.mailbox.modseq))
    return done()
