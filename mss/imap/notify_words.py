"""The words of NOTIFY (RFC 5465 §8)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from mss.errors import Malformed
from mss.imap import commands as c
from mss.imap.commands import Event, EventGroup, Item, Section, Where
from mss.imap.fetch_items import read_fetch_items
from mss.imap.lexer import Cursor

_WHERE: Final[Mapping[str, Where]] = {
    "SELECTED": Where.SELECTED,
    "SELECTED-DELAYED": Where.SELECTED_DELAYED,
    "INBOXES": Where.INBOXES,
    "PERSONAL": Where.PERSONAL,
    "SUBSCRIBED": Where.SUBSCRIBED,
    "SUBTREE": Where.SUBTREE,
    "MAILBOXES": Where.MAILBOXES,
}
EVENTS: Final[Mapping[str, Event]] = {
    "MessageNew": Event.MESSAGE_NEW,
    "MessageExpunge": Event.MESSAGE_EXPUNGE,
    "FlagChange": Event.FLAG_CHANGE,
    "MailboxName": Event.MAILBOX_NAME,
    "SubscriptionChange": Event.SUBSCRIPTION_CHANGE,
    "MailboxMetadataChange": Event.MAILBOX_METADATA_CHANGE,
    "ServerMetadataChange": Event.SERVER_METADATA_CHANGE,
}
_EVENTS: Final = {name.upper(): event for name, event in EVENTS.items()}
_SELECTED: Final = (Where.SELECTED, Where.SELECTED_DELAYED)

# An event with what is to be told of new letters; None for one that is not known.
_Read = tuple[Event | None, Item, tuple[Section, ...]]


def read_notify(cursor: Cursor) -> c.Notify:
    """Read NOTIFY."""
    cursor.space()
    word = cursor.word()
    if word == "NONE":
        return c.Notify()
    if word != "SET":
        raise Malformed("NOTIFY is SET or NONE")
    cursor.space()
    status = cursor.skip(b"STATUS ")
    found = [_group(cursor)]
    while cursor.skip(b" "):
        cursor.count()
        found.append(_group(cursor))
    groups = tuple(group for group, _ in found)
    if sum(group.where in _SELECTED for group in groups) > 1:
        raise Malformed("The selected mailbox stands there twice")
    return c.Notify(groups, status, any(unknown for _, unknown in found))


def _group(cursor: Cursor) -> tuple[EventGroup, bool]:
    cursor.expect(b"(")
    where = _WHERE.get(cursor.word())
    if where is None:
        raise Malformed("Unknown choice of mailboxes")
    cursor.space()
    names: tuple[str, ...] = ()
    if where in (Where.SUBTREE, Where.MAILBOXES):
        names = cursor.items(Cursor.mailbox) if cursor.sees(b"(") else (cursor.mailbox(),)
        cursor.space()
    group, unknown = EventGroup(where, Event.NONE, names), False
    if not cursor.skip(b"NONE"):
        for event, items, sections in cursor.items(_event):
            unknown = unknown or event is None
            group = replace(group, events=group.events | (event or Event.NONE))
            if items or sections:
                group = replace(group, items=items, sections=sections)
    cursor.expect(b")")
    _check(group)
    return group, unknown


def _event(cursor: Cursor) -> _Read:
    event = _EVENTS.get(cursor.word())
    if event is not Event.MESSAGE_NEW or not cursor.skip(b" ("):
        return event, Item.NONE, ()
    cursor.at -= 1
    return event, *read_fetch_items(cursor)


def _check(group: EventGroup) -> None:
    """Refuse what makes no sense (RFC 5465 §5): changes of flags without letters, letters that only come or only go."""
    events = group.events
    if (Event.MESSAGE_NEW in events) is not (Event.MESSAGE_EXPUNGE in events):
        raise Malformed("MessageNew and MessageExpunge go together")
    if Event.FLAG_CHANGE in events and Event.MESSAGE_NEW not in events:
        raise Malformed("FlagChange needs MessageNew and MessageExpunge")
    if group.where in _SELECTED:
        if events & ~Event.OF_MESSAGES:
            raise Malformed("The selected mailbox has events of messages only")
    elif group.items or group.sections:
        raise Malformed("Letters are told of the selected mailbox only")
