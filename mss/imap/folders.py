"""Handlers of mailboxes: LIST, LSUB, NAMESPACE, STATUS, CREATE, DELETE, RENAME, SUBSCRIBE, SELECT, CLOSE, ENABLE."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Final

from mss.imap import commands as c
from mss.imap import names, responses, resyncing, units
from mss.imap.names import DELIMITER
from mss.imap.places import PREFIX, Place
from mss.imap.session import Answer, Session, done
from mss.imap.view import View
from mss.model.mailbox import INBOX, Mailbox
from mss.services import mailbox
from mss.services.mailbox import NoSuchMailbox, NotPermitted
from mss.services.opening import Opened, Since

# What ENABLE turns on, and which of it makes a client one that knows about MODSEQ (RFC 7162 §3.1, §3.2.3).
ENABLES_CONDSTORE: Final = frozenset({"CONDSTORE", "QRESYNC"})
ENABLABLE: Final = ENABLES_CONDSTORE


def located(session: Session, name: str, *, to_change: bool = False) -> tuple[Place, str]:
    """Return a mailbox's box and name, or raise what the error map knows."""
    found = session.places.locate(name)
    if found is None:
        raise NotPermitted("the name is reserved") if to_change else NoSuchMailbox("there is no such mailbox")
    if to_change and not found[0].writable:
        raise NotPermitted("the box is closed")
    return found


# --- seeing ---


async def namespace(session: Session, _: c.Namespace) -> Answer:
    """Tell the personal namespace, and the shared one when the account reaches other boxes."""
    shared = f'(("{PREFIX}" "{DELIMITER}"))' if session.places.has_shared else "NIL"
    session.stream.write(responses.untagged(f'NAMESPACE (("" "{DELIMITER}")) NIL {shared}'))
    return done()


async def list_mailboxes(session: Session, command: c.List) -> Answer:
    """List mailboxes with their SPECIAL-USE attribute and whether they have children."""
    if command.pattern is None:
        session.stream.write(responses.listing("LIST", ("\\Noselect",), None))
        return done()
    told = [
        responses.listing("LIST", attributes, name)
        for name, attributes in _listed(await _all_mailboxes(session))
        if names.matches(command.pattern, name)
    ]
    session.stream.write(b"".join(told))
    return done()


async def list_subscribed(session: Session, command: c.Lsub) -> Answer:
    """List subscribed mailboxes, and with "%" the levels above them (RFC 3501 §6.3.9)."""
    if command.pattern is None:
        session.stream.write(responses.listing("LSUB", ("\\Noselect",), None))
        return done()
    subscribed = {place.outside(found.name) for place, found in await _all_mailboxes(session) if found.subscribed}
    above = {level for name in subscribed for level in _levels_above(name)} - subscribed
    chosen = [(name, ()) for name in subscribed] + [(name, ("\\Noselect",)) for name in above]
    told = [
        responses.listing("LSUB", attributes, name)
        for name, attributes in sorted(chosen)
        if names.matches(command.pattern, name)
    ]
    session.stream.write(b"".join(told))
    return done()


async def _all_mailboxes(session: Session) -> list[tuple[Place, Mailbox]]:
    await session.refresh_places()
    places = session.places.all
    found = await session.read(units.mailboxes_of, tuple(place.box.id for place in places), session.house.clock())
    return [(place, each) for place, mailboxes in zip(places, found, strict=True) for each in mailboxes]


def _listed(found: list[tuple[Place, Mailbox]]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield names with their attributes, INBOX first; the levels above shared boxes cannot be selected."""
    selectable = {place.outside(each.name): each for place, each in found}
    above = {level for name in selectable for level in _levels_above(name)}
    for name in sorted(selectable.keys() | above, key=lambda name: (name != INBOX, name)):
        children = "\\HasChildren" if name in above else "\\HasNoChildren"
        if name not in selectable:
            yield name, ("\\Noselect", children)
        elif special := selectable[name].special_use:
            yield name, (children, special)
        else:
            yield name, (children,)


def _levels_above(name: str) -> Iterator[str]:
    while DELIMITER in name:
        name = name.rpartition(DELIMITER)[0]
        yield name


async def status(session: Session, command: c.Status) -> Answer:
    """Tell the counts of a mailbox."""
    place, name = located(session, command.mailbox)
    found = await session.read(units.status_by_name, place.box.id, name, session.house.clock())
    session.condstore = session.condstore or c.StatusItem.HIGHESTMODSEQ in command.items
    session.stream.write(responses.status(command.mailbox, command.items, found))
    return done()


# --- changing ---


async def create(session: Session, command: c.Create) -> Answer:
    """Create a mailbox."""
    place, name = located(session, command.mailbox, to_change=True)
    await session.write(mailbox.create, place.box.id, name, session.actor, session.house.clock())
    return done()


async def delete(session: Session, command: c.Delete) -> Answer:
    """Delete a mailbox; the selected one is left first."""
    place, name = located(session, command.mailbox, to_change=True)
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
    await session.write(mailbox.rename, place.box.id, old, new, session.actor, session.house.clock())
    return done()


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
    resync = command.resync
    since = Since(resync.uidvalidity, resync.modseq) if resync is not None else None
    opened = await session.read(units.open_by_name, place.box.id, name, since, session.house.clock())
    read_only = command.read_only or not place.writable
    session.condstore = session.condstore or command.condstore
    view = View(
        opened.mailbox, chain.from_iterable(range(first, last + 1) for first, last in opened.runs), read_only=read_only
    )
    session.select(view, place)
    session.stream.write(b"".join(_opening(opened, view)))
    if resync is not None and opened.missed is not None:
        resyncing.tell_missed(session, resync, opened.missed)
    return done("Selected", "READ-ONLY" if read_only else "READ-WRITE")


def _opening(opened: Opened, view: View) -> Iterable[bytes]:
    found = opened.mailbox
    yield responses.mailbox_flags(found.keywords, read_only=view.read_only)
    yield b"* %d EXISTS\r\n* 0 RECENT\r\n" % view.exists
    if opened.first_unseen_uid is not None:
        yield responses.tagged("*", "OK", "First unseen", f"UNSEEN {view.number_of(opened.first_unseen_uid)}")
    yield responses.tagged("*", "OK", "UIDs valid", f"UIDVALIDITY {found.uidvalidity}")
    yield responses.tagged("*", "OK", "Next UID", f"UIDNEXT {found.uidnext}")
    yield responses.highest(found.modseq)


async def close(session: Session, command: c.Close) -> Answer:
    """Leave the mailbox; CLOSE removes what is flagged \\Deleted without telling."""
    view = session.here.view
    if command.expunge and not view.read_only:
        await session.write(mailbox.expunge, view.mailbox.id, None, session.actor, session.house.clock())
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
