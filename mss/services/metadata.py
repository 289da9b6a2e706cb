"""Annotations of mailboxes and of the server (RFC 5464): what was noted under which name, for oneself or for everybody.

Names begin with "/private/" or "/shared/" and are in lower case. What is noted about a mailbox belongs to it: it
keeps its notes when it is renamed, and takes them along when it is deleted. A mailbox named "" is the server, about
which each person notes for themself alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from mss.errors import MssError
from mss.model.audit import AuditEvent
from mss.services import mailbox
from mss.store import Uow
from mss.store.annotations import EVERYBODY, SERVER

PRIVATE: Final = "/private"
SHARED: Final = "/shared"

Of = tuple[int, int, int]


class TooManyAnnotations(MssError):
    """A mailbox holds as many as it may."""


@dataclass(frozen=True, slots=True)
class Subject:
    """What is noted about, and who notes: a box's mailbox by its name, "" for the server, and an account."""

    box_id: int
    mailbox: str
    account_id: int


@dataclass(frozen=True, slots=True)
class Wished:
    """Which entries are asked for: those named, and below them so many levels, all of them with None."""

    names: tuple[str, ...]
    depth: int | None = 0

    def takes(self, name: str) -> bool:
        """Say whether an entry is asked for."""
        return any(name == one or self._below(name, one) for one in self.names)

    def _below(self, name: str, above: str) -> bool:
        if not name.startswith(above + "/"):
            return False
        return self.depth is None or name.count("/") - above.count("/") <= self.depth


def read(uow: Uow, subject: Subject, wished: Wished, now: datetime) -> dict[str, bytes | None]:
    """Return the entries asked for; one that was named by itself and is not there is None."""
    mailbox_id = _mailbox_id(uow, subject, now)
    found: dict[str, bytes | None] = {} if wished.depth != 0 else dict.fromkeys(wished.names)
    for root, account_id in ((PRIVATE, subject.account_id), (SHARED, EVERYBODY)):
        if any(name == root or name.startswith(root + "/") for name in wished.names):
            values = uow.annotations.all((subject.box_id, mailbox_id, account_id))
            found.update((name, value) for name, value in values.items() if wished.takes(name))
    return found


def write(
    uow: Uow, subject: Subject, changes: tuple[tuple[str, bytes | None], ...], most: int, actor: str, now: datetime
) -> None:
    """Set entries, or remove them with None: all or none. TooManyAnnotations when more than `most` would stand."""
    mailbox_id = _mailbox_id(uow, subject, now)
    if mailbox_id != SERVER:
        mailbox.locked(uow, mailbox_id)
    touched: set[Of] = set()
    for name, value in changes:
        of = (subject.box_id, mailbox_id, EVERYBODY if name.startswith(SHARED + "/") else subject.account_id)
        touched.add(of)
        if value is None:
            uow.annotations.drop(of, name)
        else:
            uow.annotations.put(of, name, value)
    if any(uow.annotations.count(of) > most for of in touched):
        raise TooManyAnnotations("as many as there may be")
    target = f"mailbox:{mailbox_id}" if mailbox_id != SERVER else f"box:{subject.box_id}"
    event = AuditEvent(
        actor, "mailbox.annotate", target, subject_box_id=subject.box_id, facts={"entries": len(changes)}
    )
    uow.journal.write(event, now)
    uow.wake("mailbox", subject.box_id)


def _mailbox_id(uow: Uow, subject: Subject, now: datetime) -> int:
    return mailbox.find(uow, subject.box_id, subject.mailbox, now).id if subject.mailbox else SERVER
