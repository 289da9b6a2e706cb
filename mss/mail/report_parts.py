"""What delivery and disposition reports share: the multipart/report letter, the returned letter, groups of fields.

RFC 6522 (multipart/report); the fields themselves are `mail.dsn`'s and `mail.mdn`'s.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from mss.config import KIB, MIB, Limits
from mss.mail import scan
from mss.mail.compose import Boundaries, Correspondent, Draft, header_of, multipart, text_entity
from mss.mail.content import decoded
from mss.mail.fields import encode_text, parameters
from mss.mail.fields import field as header_field
from mss.mail.headers import decode_text, message_ids
from mss.mail.mime import index
from mss.model.address import Address
from mss.model.envelope import Ret
from mss.model.message import Message, Part

_RETURNED_MAX_OCTETS: Final = 10 * MIB
_RETURNED_HEADER_MAX_OCTETS: Final = 256 * KIB
_DIAGNOSTIC_MAX: Final = 900
_GROUPS_MAX: Final = 1000
_NOT_VISIBLE = re.compile(r"[^\x20-\x7e]+")
_XTEXT = re.compile(r"\+([0-9A-F]{2})")
_BLANK_LINE = re.compile(rb"\r?\n[ \t]*\r?\n")


@dataclass(frozen=True, slots=True)
class Frame:
    """Who reports to whom, when, about which letter; `message_id` is the report's own."""

    reporter: Correspondent
    to: Address
    at: datetime
    message_id: str
    original: Message


def report(frame: Frame, kind: str, subject: str, parts: Sequence[bytes]) -> bytes:
    """Return the letter of a report; `kind` is its report-type."""
    return letter_of(frame, subject, "report", parts, (("report-type", kind),))


def letter_of(
    frame: Frame, subject: str, subtype: str, parts: Sequence[bytes], more: tuple[tuple[str, str], ...] = ()
) -> bytes:
    """Return a letter about another one that no person wrote: a multipart of some subtype."""
    ids = original_ids(frame.original)
    draft = Draft(
        sender=frame.reporter,
        to=(Correspondent(frame.to),),
        subject=subject,
        date=frame.at,
        message_id=frame.message_id,
        in_reply_to=ids[0] if ids else "",
        references=tuple(ids),
        auto_submitted="auto-replied",
    )
    return header_of(draft) + multipart(subtype, parts, Boundaries(frame.message_id), more=more)


def original_ids(original: Message) -> list[str]:
    """Return the letter's Message-ID, alone or not at all."""
    return message_ids(original.header("message-id") or b"")[:1]


def human(text: str) -> bytes:
    """Return the part that people read."""
    return text_entity(text)


def fields_entity(kind: str, groups: Sequence[Sequence[bytes]]) -> bytes:
    """Return a part of groups of fields, each group ended by an empty line."""
    body = b"\r\n".join(b"".join(group) for group in groups)
    encoding = b"7bit" if body.isascii() else b"8bit"
    return (
        header_field("Content-Type", parameters(kind, []))
        + header_field("Content-Transfer-Encoding", encoding)
        + b"\r\n"
        + body
    )


def returned(original: Message, ret: Ret) -> bytes:
    """Return the part that brings the letter back, whole or its header; a very large one its header only."""
    if ret is Ret.FULL and len(original.octets) <= _RETURNED_MAX_OCTETS:
        return _returned_as("message/rfc822", scan.canonical(original.octets))
    header = original.slice(original.structure.root.header)
    if len(header) > _RETURNED_HEADER_MAX_OCTETS:
        header = header[: header.rfind(b"\n", 0, _RETURNED_HEADER_MAX_OCTETS) + 1]
    return _returned_as("text/rfc822-headers", scan.canonical(header))


def _returned_as(kind: str, octets: bytes) -> bytes:
    encoding = b"7bit" if octets.isascii() else b"8bit"
    content_type = header_field("Content-Type", parameters(kind, []))
    return content_type + header_field("Content-Transfer-Encoding", encoding) + b"\r\n" + octets


def visible(text: str) -> str:
    """Return a stranger's text fit for a field: ASCII that prints, not too long."""
    return " ".join(_NOT_VISIBLE.sub(" ", text).split())[:_DIAGNOSTIC_MAX].strip()


def line(name: str, value: str) -> bytes:
    """Return one field of a report; its value is cleaned."""
    return header_field(name, encode_text(visible(value)))


def typed_address(address: Address) -> str:
    """Return an address with its address type (RFC 3464 §2.1.2, RFC 6533 §3)."""
    if address.is_ascii:
        return f"rfc822; {address.spec}"
    spec = "".join(c if c.isascii() else f"\\x{{{ord(c):X}}}" for c in address.spec)
    return f"utf-8; {spec}"


def from_xtext(text: str) -> str:
    """Return what an xtext of RFC 3461 §4 means; what does not print is left out."""
    return visible(_XTEXT.sub(lambda match: chr(int(match[1], 16)), text))


def find(message: Message, *kinds: str) -> Part | None:
    """Return the first part of one of the content types."""
    return next((part for part in message.structure.root.walk() if part.content_type in kinds), None)


def groups_of(message: Message, part: Part, limits: Limits) -> list[dict[str, str]]:
    """Return the groups of fields of a report's part: lower-case name → text, the first of a name counts."""
    groups = []
    for piece in _BLANK_LINE.split(decoded(message, part).strip(b"\r\n"), maxsplit=_GROUPS_MAX)[:_GROUPS_MAX]:
        letter = index(piece.lstrip(b"\r\n") + b"\r\n\r\n", limits)
        group: dict[str, str] = {}
        for entry in letter.structure.root.fields:
            group.setdefault(entry.name, decode_text(letter.slice(entry.value)))
        groups.append(group)
    return [group for group in groups if group]


def untyped(value: str) -> str:
    """Return an address of a report without its address type, a host without `dns`."""
    return value.partition(";")[2].strip() or value.strip()


def returned_message_id(message: Message, limits: Limits) -> str:
    """Return the Message-ID of the letter that a report brought back; "" without."""
    part = find(message, "message/rfc822", "message/global", "text/rfc822-headers", "message/global-headers")
    if part is None:
        return ""
    letter = index(decoded(message, part) + b"\r\n", limits)
    return next(iter(message_ids(letter.header("message-id") or b"")), "")
