"""Handlers of METADATA: GETMETADATA and SETMETADATA (RFC 5464).

With ACL, notes about a mailbox are for those who have "l" and one of "r", "s", "w", "i", "p" (§3.3): whoever reaches a
box here has. Notes in a closed box stay as they are. About the server each person notes for themself; what it says to
everybody is the operator's.
"""

from __future__ import annotations

from typing import Final

from mss.imap import commands as c
from mss.imap import responses
from mss.imap.folders import located
from mss.imap.session import Answer, Session, done
from mss.services import metadata
from mss.services.metadata import SHARED, Subject, TooManyAnnotations

_OPERATORS: Final = Answer("NO", "What the server says to everybody is the operator's", "NOPERM")
_TOO_MANY: Final = Answer("NO", "There are as many annotations as there may be", "METADATA TOOMANY")


def subject_of(session: Session, mailbox: str, *, to_change: bool = False) -> Subject:
    """Return what a command is about; about the server, notes are kept with the personal box."""
    if not mailbox:
        return Subject(session.places.all[0].box.id, "", session.account_id)
    place, name = located(session, mailbox, to_change=to_change)
    return Subject(place.box.id, name, session.account_id)


async def get_metadata(session: Session, command: c.GetMetadata) -> Answer:
    """Tell what was noted; values above MAXSIZE are left out, and the largest of them is named."""
    subject = subject_of(session, command.mailbox)
    found = await session.read(metadata.read, subject, command.wished, session.house.clock())
    most = command.size_max_octets
    long = [len(value) for value in found.values() if most is not None and value is not None and len(value) > most]
    told = {name: value for name, value in found.items() if most is None or value is None or len(value) <= most}
    session.stream.write(responses.metadata(command.mailbox, told, utf8=session.utf8))
    return done(code=f"METADATA LONGENTRIES {max(long)}") if long else done()


async def set_metadata(session: Session, command: c.SetMetadata) -> Answer:
    """Note something, or remove what was noted: all of it or nothing."""
    limits = session.house.limits
    if any(len(value) > limits.imap_annotation_max_octets for _, value in command.changes if value is not None):
        return Answer("NO", "An annotation is too large", f"METADATA MAXSIZE {limits.imap_annotation_max_octets}")
    if not command.mailbox and any(name.startswith(SHARED + "/") for name, _ in command.changes):
        return _OPERATORS
    subject = subject_of(session, command.mailbox, to_change=True)
    try:
        await session.write(
            metadata.write, subject, command.changes, limits.imap_annotations_max, session.actor,
            session.house.clock(),
        )  # fmt: skip
    except TooManyAnnotations:
        return _TOO_MANY
    return done()
