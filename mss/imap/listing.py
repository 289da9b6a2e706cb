"""Handlers that show mailboxes: LIST with its extensions, LSUB, NAMESPACE, STATUS (RFC 3501, 5258, 5819, 6154)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

from mss.imap import commands as c
from mss.imap import names, responses, units
from mss.imap.commands import Selection, Wanted
from mss.imap.folders import located
from mss.imap.names import DELIMITER
from mss.imap.places import PREFIX, Place
from mss.imap.session import Answer, Session, done
from mss.model.mailbox import INBOX, Mailbox
from mss.services import metadata
from mss.services.mailbox import NoSuchMailbox
from mss.services.metadata import Subject, Wished


@dataclass(frozen=True, slots=True)
class _Line:
    """One name of a listing; `mailbox` is None for a level above mailboxes, which cannot be selected."""

    name: str
    place: Place | None
    mailbox: Mailbox | None
    children: bool
    subscribed: bool
    # Something below it is subscribed, or has a special use: what RECURSIVEMATCH looks for.
    subscribed_below: bool
    use_below: bool

    @property
    def use(self) -> str:
        """The special use, empty without."""
        return self.mailbox.special_use if self.mailbox else ""


async def namespace(session: Session, _: c.Namespace) -> Answer:
    """Tell the personal namespace, and the shared one when the account reaches other boxes."""
    shared = f'(("{PREFIX}" "{DELIMITER}"))' if session.places.has_shared else "NIL"
    session.stream.write(responses.untagged(f'NAMESPACE (("" "{DELIMITER}")) NIL {shared}'))
    return done()


# --- LIST ---


async def list_mailboxes(session: Session, command: c.List) -> Answer:
    """List mailboxes with their attributes, each with its STATUS when that was asked for."""
    if not command.patterns:
        session.stream.write(responses.listing("LIST", ("\\Noselect",), None))
        return done()
    if command.status:
        session.condstore = session.condstore or c.StatusItem.HIGHESTMODSEQ in command.status
    matching = [
        (line, told)
        for line in _lines(await _all_mailboxes(session))
        if any(names.matches(pattern, line.name) for pattern in command.patterns)
        and (told := _selected(line, command.selection)) is not None
    ]
    for line, told in matching:
        attributes = _attributes(line, command)
        session.stream.write(responses.listing("LIST", attributes, line.name, utf8=session.utf8, more=told))
        if command.status and line.mailbox is not None and line.place is not None:
            await _tell_status(session, line.name, line.place, line.mailbox, command.status)
        if command.entries and line.mailbox is not None and line.place is not None:
            await _tell_noted(session, line.name, line.place, line.mailbox, command.entries)
    return done()


def _selected(line: _Line, selection: Selection) -> str | None:
    """Return what is told besides of a line that is selected, None for one that is not (RFC 5258 §3.5)."""
    recursive = Selection.RECURSIVEMATCH in selection
    itself = (Selection.SUBSCRIBED not in selection or line.subscribed) and (
        Selection.SPECIAL_USE not in selection or bool(line.use)
    )
    if not recursive:
        return "" if itself else None
    below = []
    if Selection.SUBSCRIBED in selection and line.subscribed_below:
        below.append('"SUBSCRIBED"')
    if Selection.SPECIAL_USE in selection and line.use_below:
        below.append('"SPECIAL-USE"')
    if below:
        return f'("CHILDINFO" ({" ".join(below)}))'
    return "" if itself else None


def _attributes(line: _Line, command: c.List) -> tuple[str, ...]:
    found = [] if line.mailbox else ["\\Noselect"]
    found.append("\\HasChildren" if line.children else "\\HasNoChildren")
    if line.use:
        found.append(line.use)
    subscribed = Selection.SUBSCRIBED in command.selection or Wanted.SUBSCRIBED in command.wanted
    if subscribed and line.subscribed:
        found.append("\\Subscribed")
    return tuple(found)


async def _tell_status(
    session: Session, name: str, place: Place, mailbox: Mailbox, items: tuple[c.StatusItem, ...]
) -> None:
    """Tell the counts of a mailbox that was just listed; one that is gone meanwhile is passed over."""
    found = await session.read(units.status_or_none, mailbox.id, session.reader_of(place), session.house.clock())
    if found is not None:
        limit = session.house.limits.message_max_octets
        session.stream.write(responses.status(name, items, found, limit, utf8=session.utf8))
    await session.stream.drain()


async def _tell_noted(session: Session, name: str, place: Place, mailbox: Mailbox, entries: tuple[str, ...]) -> None:
    """Tell what was noted about a mailbox that was just listed (RFC 9590); one that is gone is passed over."""
    subject, wished = Subject(place.box.id, mailbox.name, session.account_id), Wished(entries)
    with suppress(NoSuchMailbox):
        found = await session.read(metadata.read, subject, wished, session.house.clock())
        session.stream.write(responses.metadata(name, found, utf8=session.utf8))
    await session.stream.drain()


async def _all_mailboxes(session: Session) -> list[tuple[Place, Mailbox]]:
    await session.refresh_places()
    places = session.places.all
    found = await session.read(units.mailboxes_of, tuple(place.box.id for place in places), session.house.clock())
    return [(place, each) for place, mailboxes in zip(places, found, strict=True) for each in mailboxes]


def _lines(found: list[tuple[Place, Mailbox]]) -> Iterator[_Line]:
    """Yield all names, INBOX first; the levels above shared boxes cannot be selected."""
    selectable = {place.outside(each.name): (place, each) for place, each in found}
    above = {level for name in selectable for level in _levels_above(name)}
    subscribed = {level for name, (_, one) in selectable.items() if one.subscribed for level in _levels_above(name)}
    used = {level for name, (_, one) in selectable.items() if one.special_use for level in _levels_above(name)}
    for name in sorted(selectable.keys() | above, key=lambda name: (name != INBOX, name)):
        place, one = selectable.get(name, (None, None))
        is_subscribed = one is not None and one.subscribed
        yield _Line(name, place, one, name in above, is_subscribed, name in subscribed, name in used)


def _levels_above(name: str) -> Iterator[str]:
    while DELIMITER in name:
        name = name.rpartition(DELIMITER)[0]
        yield name


# --- LSUB ---


async def list_subscribed(session: Session, command: c.Lsub) -> Answer:
    """List subscribed mailboxes, and with "%" the levels above them (RFC 3501 §6.3.9)."""
    if command.pattern is None:
        session.stream.write(responses.listing("LSUB", ("\\Noselect",), None))
        return done()
    subscribed = {place.outside(found.name) for place, found in await _all_mailboxes(session) if found.subscribed}
    above = {level for name in subscribed for level in _levels_above(name)} - subscribed
    chosen = [(name, ()) for name in subscribed] + [(name, ("\\Noselect",)) for name in above]
    told = [
        responses.listing("LSUB", attributes, name, utf8=session.utf8)
        for name, attributes in sorted(chosen)
        if names.matches(command.pattern, name)
    ]
    session.stream.write(b"".join(told))
    return done()


# --- STATUS ---


async def status(session: Session, command: c.Status) -> Answer:
    """Tell the counts of a mailbox."""
    place, name = located(session, command.mailbox)
    found = await session.read(
        units.status_by_name, place.box.id, name, session.house.clock(), session.reader_of(place)
    )
    session.condstore = session.condstore or c.StatusItem.HIGHESTMODSEQ in command.items
    limit = session.house.limits.message_max_octets
    session.stream.write(responses.status(command.mailbox, command.items, found, limit, utf8=session.utf8))
    return done()
