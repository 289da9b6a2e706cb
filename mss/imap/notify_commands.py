"""NOTIFY as a value: which events a client wants to hear of, and in which mailboxes (RFC 5465).

Like `commands`, which hands it on, it holds what was asked, judged by nobody yet.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, Flag, auto

from mss.imap.fetch_commands import Item, Section


class Where(Enum):
    """Which mailboxes a group is about (RFC 5465 §6)."""

    SELECTED = auto()
    SELECTED_DELAYED = auto()
    INBOXES = auto()
    PERSONAL = auto()
    SUBSCRIBED = auto()
    SUBTREE = auto()
    MAILBOXES = auto()


class Event(Flag):
    """What can happen (RFC 5465 §5)."""

    NONE = 0
    MESSAGE_NEW = auto()
    MESSAGE_EXPUNGE = auto()
    FLAG_CHANGE = auto()
    MAILBOX_NAME = auto()
    SUBSCRIPTION_CHANGE = auto()
    MAILBOX_METADATA_CHANGE = auto()
    SERVER_METADATA_CHANGE = auto()

    OF_MESSAGES = MESSAGE_NEW | MESSAGE_EXPUNGE | FLAG_CHANGE


@dataclass(frozen=True, slots=True)
class EventGroup:
    """Events wanted of some mailboxes; `names` for SUBTREE and MAILBOXES. `items` and `sections`: what is told of each
    new letter of the selected one."""

    where: Where
    events: Event
    names: tuple[str, ...] = ()
    items: Item = Item.NONE
    sections: tuple[Section, ...] = ()


@dataclass(frozen=True, slots=True)
class Notify:
    """NOTIFY SET, or NOTIFY NONE without groups. `status`: how each mailbox stands is told first; `unknown`: an event
    was named that is not supported here."""

    groups: tuple[EventGroup, ...] = ()
    status: bool = False
    unknown: bool = False
