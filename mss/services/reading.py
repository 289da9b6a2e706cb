"""A letter read once: index, IMAP forms, addresses, markers and documents. Pure, no unit of work.

It is computed before a unit begins (off the loop for large letters) and travels into it as a value, also
between processes. No letter, however broken, makes it fail.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from mss.config import KIB, Limits
from mss.dossier import filing
from mss.errors import Malformed
from mss.mail import content, headers, markers, mime, searchtext, structure
from mss.model.address import Address
from mss.model.document import Submission
from mss.model.message import Message
from mss.policy import exchange

PREVIEW_CHARACTERS = 256
_PREVIEW_OCTETS = 8192


# Longer texts are prepared by the first search for them: kept at once, they would double what a letter writes.
PREPARED_AT_ONCE_MAX_OCTETS: Final = 16 * KIB


@dataclass(frozen=True, slots=True)
class NamedAddress:
    """A mailbox of a header field: display name (may be empty) and address."""

    name: str
    address: Address


@dataclass(frozen=True, slots=True)
class Reading:
    """What the services need to know of a letter.

    `envelope`, `bodystructure`: the octets that IMAP sends (RFC 9051). `preview`: up to 256 characters of
    text. `submission` is None when documents were not looked for. `closing`: subject `[FIN]`; `answerable`:
    no `X-MSS-MES: FIN`. `bad_addresses` counts header addresses that could not be read. `search_text` is what IMAP's
    SEARCH looks into, empty where it is too long to be kept.
    """

    message: Message
    message_id: str
    references: tuple[str, ...]
    subject: str
    date: datetime | None
    author: tuple[NamedAddress, ...]
    sender: NamedAddress | None
    reply_to: tuple[NamedAddress, ...]
    to: tuple[NamedAddress, ...]
    cc: tuple[NamedAddress, ...]
    envelope: bytes
    bodystructure: bytes
    preview: str
    automatic: bool
    closing: bool
    answerable: bool
    wants_mdn: bool
    has_attachment: bool
    software: str = ""
    bad_addresses: int = 0
    submission: Submission | None = None
    search_text: bytes = b""

    @property
    def octets(self) -> bytes:
        """The letter's octets."""
        return self.message.octets

    def heavy(self) -> tuple[bytes, ...]:
        """Return the octets that a unit of work may have to store: the letter and its documents."""
        documents = self.submission.documents if self.submission else ()
        twins = (one.companion_pdf for one in documents if one.companion_pdf is not None)
        return (self.octets, *(one.octets for one in documents), *twins)


def read_letter(octets: bytes, limits: Limits, *, documents: bool) -> Reading:
    """Read a letter; `documents` says whether to look for clinical documents too (letters to patients)."""
    message = mime.index(octets, limits)
    marks = markers.read(message)
    people = {name: _people(message, name, limits) for name in ("from", "sender", "reply-to", "to", "cc")}
    in_reply_to = _ids(message, "in-reply-to")
    return Reading(
        message=message,
        message_id=next(iter(_ids(message, "message-id")), ""),
        references=tuple(dict.fromkeys((*_ids(message, "references"), *in_reply_to))),
        subject=marks.subject,
        date=headers.date(message.header("date") or b""),
        author=people["from"][0],
        sender=next(iter(people["sender"][0]), None),
        reply_to=people["reply-to"][0],
        to=people["to"][0],
        cc=people["cc"][0],
        envelope=structure.envelope(message, limits),
        bodystructure=structure.bodystructure(message, limits),
        preview=_preview(message),
        automatic=_automatic(message, is_reply=bool(in_reply_to)),
        closing=marks.closing,
        answerable=marks.answerable,
        wants_mdn=message.header("disposition-notification-to") is not None,
        has_attachment=_has_attachment(message),
        software=marks.software or "",
        bad_addresses=sum(bad for _, bad in people.values()),
        submission=filing.read(message, limits) if documents else None,
        search_text=searchtext.prepare_short(
            message, min(limits.imap_search_text_max_octets, PREPARED_AT_ONCE_MAX_OCTETS)
        ),
    )


def _people(message: Message, name: str, limits: Limits) -> tuple[tuple[NamedAddress, ...], int]:
    """Return the readable mailboxes of all header fields of that name, and how many were not readable."""
    found, bad = [], 0
    for raw in message.headers(name):
        for display, spec in headers.addresses(raw, limits):
            try:
                found.append(NamedAddress(display, Address.parse(spec)))
            except Malformed:
                bad += 1
    return tuple(found), bad


def _ids(message: Message, name: str) -> tuple[str, ...]:
    return tuple(one for raw in message.headers(name) for one in headers.message_ids(raw))


def _automatic(message: Message, *, is_reply: bool) -> bool:
    submitted, precedence = (
        [headers.decode_text(value) for value in message.headers(name)] for name in ("auto-submitted", "precedence")
    )
    return exchange.is_automatic(message.structure.root.content_type, submitted, precedence, is_reply=is_reply)


def _has_attachment(message: Message) -> bool:
    root = message.structure.root
    return any(part.filename is not None or part.embedded is not None for part in root.walk())


def _preview(message: Message) -> str:
    """Return the beginning of the letter's first short text part, on one line; nothing for odd letters."""
    for part in message.structure.root.walk():
        if part.content_type == "text/plain" and not part.filename:
            beginning = content.beginning(message, part, _PREVIEW_OCTETS)
            return " ".join(beginning[: 4 * PREVIEW_CHARACTERS].split())[:PREVIEW_CHARACTERS]
    return ""
