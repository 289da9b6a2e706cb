"""NOTIFY (RFC 5465): a session is told of what happens in mailboxes that it has not selected, and when it likes.

Nothing but the change logs and the wake-ups of boxes is behind it: at each wake-up the box's mailboxes are read again
and compared with what this session was told of last. A session that never said NOTIFY has nothing of this. What was
lost of its rights is not told any more: boxes are those of `Session.places`, looked at again like everywhere.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

from mss.errors import Conflict, Unavailable
from mss.imap import commands as c
from mss.imap import reading, responses, units
from mss.imap.commands import Event, EventGroup, Item, StatusItem, Where
from mss.imap.notify_words import EVENTS
from mss.imap.options import SequenceSet
from mss.imap.places import Place
from mss.imap.session import Answer, Session, done
from mss.log import get_logger
from mss.model.mailbox import INBOX, ChangeKind
from mss.store.store import Subscription

_log = get_logger("imap")

POLL_S: Final = 60
_BAD_EVENT: Final = Answer("NO", "Not every event is known here", f"BADEVENT ({' '.join(EVENTS)})")
_TOO_MANY: Final = Answer("NO", "There are more mailboxes than can be watched", "NOTIFICATIONOVERFLOW")
_OVERFLOW: Final = responses.tagged("*", "OK", "Too much happens, NOTIFY has ended", "NOTIFICATIONOVERFLOW")
_SELECTED: Final = (Where.SELECTED, Where.SELECTED_DELAYED)
_STATUS: Final = (StatusItem.MESSAGES, StatusItem.UIDNEXT, StatusItem.UIDVALIDITY, StatusItem.UNSEEN)
_KINDS: Final[Mapping[ChangeKind, Event]] = {
    ChangeKind.ADDED: Event.MESSAGE_NEW,
    ChangeKind.EXPUNGED: Event.MESSAGE_EXPUNGE,
    ChangeKind.FLAGS: Event.FLAG_CHANGE,
}


@dataclass(frozen=True, slots=True)
class Known:
    """What a session was told of a mailbox last."""

    name: str
    modseq: int
    subscribed: bool
    use: str


@dataclass(frozen=True, slots=True)
class Seen:
    """A box as it was at the last look: its mailboxes, and its notes by (mailbox, name), each with a mark."""

    place: Place
    mailboxes: Mapping[int, Known]
    notes: Mapping[tuple[int, str], int]


async def notify(session: Session, command: c.Notify) -> Answer:
    """Begin to tell of other events than before, or of none."""
    if command.unknown:
        return _BAD_EVENT
    watch = Watch(session, command.groups)
    if not await watch.begin(tell=command.status):
        await watch.end()
        return _TOO_MANY
    if session.watch is not None:
        await session.watch.end()
    if session.selected is not None and command.groups:
        # What has gathered is told first: NOTIFY SET is a NOOP too (RFC 5465 §3.1).
        await session.catch_up()
        session.tell(expunges=True)
    session.watch = watch
    return done()


class Watch:
    """What one session wants to hear of, and its ears."""

    def __init__(self, session: Session, groups: tuple[EventGroup, ...]) -> None:
        self._session = session
        self._groups = tuple(group for group in groups if group.where not in _SELECTED)
        self._selected = next((group for group in groups if group.where in _SELECTED), None)
        self._ears: dict[int, tuple[Subscription, asyncio.Task[None]]] = {}
        self._rung: set[int] = set()
        self._seen: dict[int, Seen] = {}

    # --- the selected mailbox ---

    @property
    def hears_messages(self) -> bool:
        """Whether anything of the selected mailbox is told by itself."""
        return self._selected is not None and bool(self._selected.events)

    @property
    def hears_flags(self) -> bool:
        """Whether others' changes of flags in the selected mailbox are told."""
        return self._selected is not None and Event.FLAG_CHANGE in self._selected.events

    @property
    def at_once(self) -> bool:
        """Whether EXPUNGE is told at once, whatever the client counts on."""
        return self._selected is not None and self._selected.where is Where.SELECTED

    async def tell_new(self, uids: Iterable[int]) -> None:
        """Tell of new letters what was asked for; that marks none as seen."""
        group = self._selected
        new = tuple((uid, uid) for uid in uids)
        if group is None or not new or not (group.items or group.sections):
            return
        sections = tuple(replace(section, peek=True) for section in group.sections)
        command = c.Fetch(SequenceSet(new), group.items | Item.UID, sections, uid=True)
        await reading.fetch_letters(self._session, command)

    # --- life ---

    async def begin(self, *, tell: bool) -> bool:
        """Look at everything for the first time, telling how each mailbox stands if that is wanted; False when there
        are too many mailboxes."""
        self._listen()
        if self._groups:
            for place in self._session.places.all:
                self._seen[place.box.id] = await self._look(place)
        if self._too_many():
            return False
        if tell:
            for place in self._session.places.all:
                await self._tell_standing(place)
        return True

    async def end(self) -> None:
        """Hear nothing any more."""
        ears, self._ears = self._ears, {}
        for subscription, task in ears.values():
            subscription.close()
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    def _listen(self) -> None:
        """Hear each box that the session reaches, and no other."""
        wanted = {place.box.id for place in self._session.places.all} if self._groups or self._selected else set()
        for box_id in wanted - self._ears.keys():
            subscription = self._session.house.store.subscribe("mailbox", box_id)
            self._ears[box_id] = subscription, asyncio.create_task(self._hear(box_id, subscription))
        for box_id in self._ears.keys() - wanted:
            subscription, task = self._ears.pop(box_id)
            subscription.close()
            task.cancel()
            self._lost(box_id)

    def _lost(self, box_id: int) -> None:
        """Tell that the mailboxes of a box are out of reach."""
        seen = self._seen.pop(box_id, None)
        if seen is not None:
            gone = Seen(seen.place, {}, {})
            self._session.stream.write(b"".join(self._names(seen.place, seen, gone)))

    async def _hear(self, box_id: int, subscription: Subscription) -> None:
        while True:
            await subscription.wait(POLL_S)
            self._rung.add(box_id)
            self._session.stream.poke()

    def _too_many(self) -> bool:
        most = self._session.house.limits.imap_notify_mailboxes_max
        return sum(len(seen.mailboxes) for seen in self._seen.values()) > most

    # --- news ---

    async def news(self) -> None:
        """Tell what happened since the last look in the boxes that rang; what cannot be read now is told later."""
        rung, self._rung = self._rung, set()
        try:
            await self._tell(rung)
        except (Unavailable, Conflict) as error:
            self._rung |= rung
            _log.warning("imap.notify_late", reason=str(error))
        await self._session.stream.drain()

    async def _tell(self, rung: set[int]) -> None:
        session = self._session
        await session.refresh_if_old()
        self._listen()
        if session.selected is not None and self.hears_messages and session.selected.place.box.id in rung:
            await session.catch_up()
            await session.tell_news(expunges=self.at_once)
        if self._groups:
            for place in session.places.all:
                if place.box.id in rung or place.box.id not in self._seen:
                    await self._compare(place)
            if self._too_many():
                self._overflow()

    def _overflow(self) -> None:
        """End as NOTIFY NONE would (RFC 5465 §5.8)."""
        self._seen.clear()
        self._groups, self._selected = (), None
        self._listen()
        self._session.stream.write(_OVERFLOW)

    async def _look(self, place: Place) -> Seen:
        now = self._session.house.clock()
        (found,) = await self._session.read(units.mailboxes_of, (place.box.id,), now)
        known = {one.id: Known(place.outside(one.name), one.modseq, one.subscribed, one.special_use) for one in found}
        wanted = Event.MAILBOX_METADATA_CHANGE | Event.SERVER_METADATA_CHANGE
        if not any(group.events & wanted for group in self._groups):
            return Seen(place, known, {})
        notes = await self._session.read(units.note_marks, place.box.id, self._session.account_id)
        return Seen(place, known, notes)

    async def _compare(self, place: Place) -> None:
        before = self._seen.get(place.box.id, Seen(place, {}, {}))
        after = self._seen[place.box.id] = await self._look(place)
        told = list(self._names(place, before, after))
        told += self._notes(place, before, after)
        self._session.stream.write(b"".join(told))
        for mailbox_id, known in after.mailboxes.items():
            old = before.mailboxes.get(mailbox_id)
            if old is not None and old.modseq != known.modseq:
                await self._tell_messages(place, mailbox_id, old, known)

    def _names(self, place: Place, before: Seen, after: Seen) -> Iterator[bytes]:
        """Yield LIST for names that came, went and changed, and for subscriptions (RFC 5465 §5.4, §5.5)."""
        for mailbox_id in before.mailboxes.keys() | after.mailboxes.keys():
            old, new = before.mailboxes.get(mailbox_id), after.mailboxes.get(mailbox_id)
            # A subscription that ends may take the mailbox out of what is watched: it is told of all the same.
            events = self._events(place, old) | self._events(place, new)
            if new is None:
                if old is not None and Event.MAILBOX_NAME in events:
                    yield self._listed(old.name, ("\\NonExistent",))
                continue
            renamed = old is None or old.name != new.name
            turned = old is not None and old.subscribed is not new.subscribed
            if (renamed and Event.MAILBOX_NAME in events) or (turned and Event.SUBSCRIPTION_CHANGE in events):
                former = old.name if old is not None and renamed else ""
                yield self._listed(new.name, tuple(_attributes(new, after)), old=former)

    def _listed(self, name: str, attributes: tuple[str, ...] = (), *, old: str = "") -> bytes:
        utf8 = self._session.utf8
        line = responses.listing("LIST", attributes, name, utf8=utf8)
        if not old:
            return line
        return line.removesuffix(responses.CRLF) + b' ("OLDNAME" (' + responses.mailbox_name(old, utf8=utf8) + b"))\r\n"

    def _notes(self, place: Place, before: Seen, after: Seen) -> Iterator[bytes]:
        """Yield METADATA with the names of notes that changed, by mailbox; the client asks for what it wants."""
        changed: dict[int, list[str]] = {}
        for key in before.notes.keys() | after.notes.keys():
            if before.notes.get(key) != after.notes.get(key):
                changed.setdefault(key[0], []).append(key[1])
        for mailbox_id, entries in sorted(changed.items()):
            known = after.mailboxes.get(mailbox_id)
            if mailbox_id and known is not None and Event.MAILBOX_METADATA_CHANGE in self._events(place, known):
                yield responses.metadata_changed(known.name, sorted(entries), utf8=self._session.utf8)
            everything = (group.events for group in self._groups)
            if not mailbox_id and not place.prefix and any(Event.SERVER_METADATA_CHANGE in one for one in everything):
                yield responses.metadata_changed("", sorted(entries))

    async def _tell_messages(self, place: Place, mailbox_id: int, old: Known, known: Known) -> None:
        here = self._session.selected
        events = self._events(place, known) & Event.OF_MESSAGES
        if not events or (here is not None and here.view.mailbox.id == mailbox_id):
            return
        kinds = await self._session.read(units.kinds_since, mailbox_id, old.modseq)
        if any(_KINDS[kind] in events for kind in kinds):
            await self._tell_status(place, mailbox_id, known.name, events)

    async def _tell_status(self, place: Place, mailbox_id: int, name: str, events: Event) -> None:
        session = self._session
        found = await session.read(units.status_or_none, mailbox_id, session.reader_of(place), session.house.clock())
        if found is None:
            return
        modseq = session.condstore or Event.FLAG_CHANGE in events
        items = (*_STATUS, StatusItem.HIGHESTMODSEQ) if modseq else _STATUS
        limit = session.house.limits.message_max_octets
        session.stream.write(responses.status(name, items, found, limit, utf8=session.utf8))

    async def _tell_standing(self, place: Place) -> None:
        """Tell how each mailbox stands whose messages are to be heard of (RFC 5465 §3.1)."""
        here = self._session.selected
        for mailbox_id, known in self._mailboxes(place).items():
            events = self._events(place, known) & Event.OF_MESSAGES
            if events and (here is None or here.view.mailbox.id != mailbox_id):
                await self._tell_status(place, mailbox_id, known.name, events)
        await self._session.stream.drain()

    def _mailboxes(self, place: Place) -> Mapping[int, Known]:
        seen = self._seen.get(place.box.id)
        return seen.mailboxes if seen is not None else {}

    def _events(self, place: Place, known: Known | None) -> Event:
        """Return what is wanted of a mailbox: what the first group says that it is in (RFC 5465 §6)."""
        if known is None:
            return Event.NONE
        return next((group.events for group in self._groups if _takes(group, place, known)), Event.NONE)


def _attributes(known: Known, seen: Seen) -> Iterator[str]:
    """Yield what LIST says of a mailbox."""
    below = known.name + "/"
    yield "\\HasChildren" if any(one.name.startswith(below) for one in seen.mailboxes.values()) else "\\HasNoChildren"
    if known.use:
        yield known.use
    if known.subscribed:
        yield "\\Subscribed"


def _takes(group: EventGroup, place: Place, known: Known) -> bool:
    match group.where:
        case Where.PERSONAL:
            return not place.prefix
        case Where.INBOXES:
            return known.name == place.outside(INBOX)
        case Where.SUBSCRIBED:
            return known.subscribed
        case Where.MAILBOXES:
            return known.name in group.names
        case Where.SUBTREE:
            return any(known.name == name or known.name.startswith(name + "/") for name in group.names)
        case Where.SELECTED | Where.SELECTED_DELAYED:
            return False
