"""Outgoing letters made here: text, attachments and their header, as octets (RFC 5322, RFC 2045–2047, RFC 2231).

Seven bits by default: base64 and quoted-printable. The same draft with the same seed gives the same octets.
Bcc is never written. Nothing here decides who may be written to.
"""

from __future__ import annotations

import binascii
import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from mss.errors import Malformed
from mss.mail import scan
from mss.mail.fields import encode_parameter, encode_phrase, parameters, refuse_controls, text_field
from mss.mail.fields import field as header_field
from mss.mail.headers import format_date
from mss.model.address import Address, Domain

_BASE64_LINE: Final = 76
_LINE_PREFERRED: Final = 78
# A longer one would not fit in a line with its field's name.
_MESSAGE_ID = re.compile(r"<[!-;=?-~]{1,900}>\Z")
_TYPE = re.compile(r"[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}/[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}\Z")
_REFERENCES_MAX: Final = 30
# Fields that compose writes itself: a caller's extra fields may not double them.
_OWN_FIELDS: Final = frozenset(
    {"from", "to", "cc", "bcc", "reply-to", "subject", "date", "message-id", "in-reply-to", "references",
     "mime-version", "sender"}
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Correspondent:
    """An address with the name that is shown with it."""

    address: Address
    name: str = ""


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file to send; `type` is media type and subtype."""

    name: str
    type: str
    octets: bytes


@dataclass(frozen=True, slots=True)
class Draft:
    """A letter to be made. `extra` are further header fields (X-MSS-*, Auto-Submitted…) in order.

    `message_id`, `in_reply_to` and `references` carry their angle brackets. Those of the two latter come from
    others' letters: what cannot be written again is left out.
    """

    sender: Correspondent
    to: tuple[Correspondent, ...]
    subject: str
    date: datetime
    message_id: str
    text: str = ""
    cc: tuple[Correspondent, ...] = ()
    reply_to: tuple[Correspondent, ...] = ()
    in_reply_to: str = ""
    references: tuple[str, ...] = ()
    attachments: tuple[Attachment, ...] = ()
    html: str | None = None
    auto_submitted: str = ""
    extra: tuple[tuple[str, str], ...] = field(default=())


def compose(draft: Draft, *, seed: str = "") -> bytes:
    """Return the letter; the seed (the Message-ID when empty) makes its boundaries. Malformed for unfit values."""
    boundaries = Boundaries(seed or draft.message_id)
    body = text_entity(draft.text)
    if draft.html is not None:
        body = multipart("alternative", [body, text_entity(draft.html, subtype="html")], boundaries)
    if draft.attachments:
        body = multipart("mixed", [body, *map(attachment_entity, draft.attachments)], boundaries)
    return header_of(draft) + body


def header_of(draft: Draft) -> bytes:
    """Return the fields of a draft, without those of its content."""
    fields = [
        header_field("Date", format_date(draft.date).encode()),
        _people("From", [draft.sender]),
        _people("Reply-To", draft.reply_to),
        _people("To", draft.to) or header_field("To", b"undisclosed-recipients:;"),
        _people("Cc", draft.cc),
        text_field("Subject", draft.subject),
        _ids("Message-ID", [_checked_id(draft.message_id)]),
        _ids("In-Reply-To", _writable([draft.in_reply_to])),
        _ids("References", _bounded(_writable(draft.references))),
        text_field("Auto-Submitted", draft.auto_submitted) if draft.auto_submitted else b"",
        *(text_field(name, value) for name, value in _checked_extra(draft.extra)),
        header_field("MIME-Version", b"1.0"),
    ]
    return b"".join(fields)


def _checked_extra(extra: Iterable[tuple[str, str]]) -> Iterable[tuple[str, str]]:
    for name, value in extra:
        if name.lower() in _OWN_FIELDS or name.lower().startswith("content-"):
            raise Malformed("this header field is written by compose itself")
        yield name, value


def _people(name: str, people: Sequence[Correspondent]) -> bytes:
    if not people:
        return b""
    return header_field(name, b",\r\n ".join(map(mailbox, people)))


def mailbox(person: Correspondent) -> bytes:
    """Return `name <address>` or the address alone; non-ASCII addresses are in UTF-8 and need SMTPUTF8."""
    spec = refuse_controls(person.address.spec).encode()
    return encode_phrase(person.name) + b" <" + spec + b">" if person.name else spec


def _checked_id(message_id: str) -> str:
    if not _MESSAGE_ID.match(message_id):
        raise Malformed("not a message identifier")
    return message_id


def _writable(ids: Iterable[str]) -> list[str]:
    return [item for item in ids if _MESSAGE_ID.match(item)]


def _ids(name: str, ids: Sequence[str]) -> bytes:
    return header_field(name, "\r\n ".join(ids).encode()) if ids else b""


def _bounded(references: list[str]) -> list[str]:
    """Keep the first reference and the latest ones of a long thread (RFC 5322 §3.6.4 asks for the thread's root)."""
    if len(references) <= _REFERENCES_MAX:
        return references
    return [references[0], *references[1 - _REFERENCES_MAX :]]


def message_id(unique: str, domain: Domain) -> str:
    """Return a Message-ID of a unique word and the domain that answers for it."""
    if not re.match(r"[A-Za-z0-9._-]{1,128}\Z", unique):
        raise Malformed("not a unique word")
    return f"<{unique}@{domain}>"


class Boundaries:
    """Boundaries that follow from one seed: not to be met by chance, the same for the same letter."""

    def __init__(self, seed: str) -> None:
        self._seed = seed
        self._count = 0

    def for_entities(self, entities: Sequence[bytes]) -> str:
        """Return a new boundary that none of the entities holds."""
        while True:
            self._count += 1
            digest = hashlib.sha256(f"{self._count}:{self._seed}".encode("utf-8", "replace")).hexdigest()
            # "=_" can stand in no quoted-printable or base64 body (RFC 2045 §6.7).
            boundary = f"=_{digest[:32]}"
            if not any(boundary.encode() in entity for entity in entities):
                return boundary


def multipart(
    subtype: str, entities: Sequence[bytes], boundaries: Boundaries, *, more: tuple[tuple[str, str], ...] = ()
) -> bytes:
    """Return a multipart entity: its Content-Type, an empty line, its parts; `more` are further parameters."""
    boundary = boundaries.for_entities(entities)
    delimiter = b"\r\n--" + boundary.encode("ascii")
    value = parameters(f"multipart/{subtype}", [*more, ("boundary", boundary)])
    parts = b"".join(delimiter + b"\r\n" + entity for entity in entities)
    return header_field("Content-Type", value) + parts + delimiter + b"--\r\n"


def text_entity(text: str, *, subtype: str = "plain") -> bytes:
    """Return a text part in UTF-8: as it is when short-lined ASCII, else the shorter of the two encodings."""
    octets = scan.canonical(text.encode("utf-8", "replace"))
    if octets and not octets.endswith(b"\r\n"):
        octets += b"\r\n"
    encoding, body = _encoded_text(octets)
    charset = "us-ascii" if octets.isascii() else "utf-8"
    return (
        header_field("Content-Type", parameters(f"text/{subtype}", [("charset", charset)]))
        + header_field("Content-Transfer-Encoding", encoding)
        + b"\r\n"
        + body
    )


def _encoded_text(octets: bytes) -> tuple[bytes, bytes]:
    if octets.isascii() and not _has_control(octets) and max(map(len, octets.split(b"\r\n"))) <= _LINE_PREFERRED:
        return b"7bit", octets
    quoted = _quoted_printable(octets)
    return (b"quoted-printable", quoted) if len(quoted) <= len(octets) * 1.4 else (b"base64", base64_lines(octets))


def _has_control(octets: bytes) -> bool:
    return re.search(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]", octets) is not None


def _quoted_printable(octets: bytes) -> bytes:
    encoded = binascii.b2a_qp(octets, istext=True)
    # Soft line breaks come as "=\n" where the text has no line end of its own before.
    return encoded.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


def base64_lines(octets: bytes) -> bytes:
    """Return base64 in lines of 76 octets, the last one ended too."""
    encoded = binascii.b2a_base64(octets, newline=False)
    return b"".join(encoded[at : at + _BASE64_LINE] + b"\r\n" for at in range(0, len(encoded), _BASE64_LINE))


def attachment_entity(attachment: Attachment) -> bytes:
    """Return the part of a file, in base64."""
    if not _TYPE.match(attachment.type):
        raise Malformed("not a media type")
    kind = attachment.type.lower()
    if kind.startswith(("multipart/", "message/")):
        # These may not be in base64 (RFC 2046 §5.2.1): as a file they travel as plain octets.
        kind = "application/octet-stream"
    name = attachment.name
    named = [("name", name)] if name.isascii() and name else []
    return (
        header_field("Content-Type", parameters(kind, named))
        + header_field("Content-Transfer-Encoding", b"base64")
        + header_field(
            "Content-Disposition", b"attachment" + (b";\r\n " + encode_parameter("filename", name) if name else b"")
        )
        + b"\r\n"
        + base64_lines(attachment.octets)
    )
