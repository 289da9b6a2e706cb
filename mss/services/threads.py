"""Threads of professionals' letters, and the keywords that the house sets where the facts arise.

A patient's letters have conversations instead (`services.deliver`). It decides nothing about acceptance.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby

from mss.model.address import Address
from mss.policy import keywords
from mss.services import mailbox
from mss.services.mailbox import FlagAction
from mss.services.reading import Reading
from mss.store import Uow
from mss.store.mailboxes import runs_of

# Of a thread that is closed, so many of its newest letters get the keyword: a unit of work is short.
_CLOSED_MAX = 200
_HOUSE = "house"


@dataclass(frozen=True, slots=True)
class Joined:
    """A letter's thread in a box and the keywords that the house gives it."""

    thread_id: int
    keywords: tuple[str, ...]


def join(uow: Uow, box_id: int, object_id: int, reading: Reading) -> Joined:
    """Put a letter of a professional's box into its thread."""
    found = uow.threads.join(box_id, object_id, reading.message_id, reading.references)
    words = keywords.of_letter(_named(reading), closing=reading.closing)
    return Joined(found.thread_id, (*words, keywords.FILED) if found.filed else words)


def _named(reading: Reading) -> Iterable[Address]:
    return (one.address for one in (*reading.author, *reading.to, *reading.cc))


def after_arrival(uow: Uow, box_id: int, joined: Joined, now: datetime) -> None:
    """Note on the letters of an exchange that it was closed, once the letter that closed it is in its mailbox."""
    if keywords.CLOSED in joined.keywords:
        letters = uow.threads.letters(box_id, joined.thread_id, _CLOSED_MAX)
        _set(uow, box_id, letters, keywords.CLOSED, now)


def note_filed(uow: Uow, sender: Address | None, message_id: str, now: datetime) -> None:
    """Note on a sender's own copy that a document of the letter was filed in its patient's dossier; the copy may also
    come later."""
    box = uow.accounts.box_by_address(sender) if sender is not None and message_id else None
    if box is None or not box.kind.is_professional:
        return
    copy = uow.threads.note_filed(box.id, message_id)
    if copy is not None:
        _set(uow, box.id, (copy,), keywords.FILED, now)


def _set(uow: Uow, box_id: int, letters: Iterable[int], keyword: str, now: datetime) -> None:
    for mailbox_id, places in groupby(uow.threads.places(box_id, letters), key=lambda place: place[0]):
        uids = runs_of(uid for _, uid in places)
        mailbox.store_flags(uow, mailbox_id, uids, FlagAction.ADD, (keyword,), None, _HOUSE, now)
