"""Trace fields, and header fields put before or taken out of a letter's octets (RFC 5321 §4.4, RFC 8601, RFC 6409 §8).

Every field written here is one well-formed field: what a peer said is cleaned or refused (Malformed), never
passed through. Bodies are not touched.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from mss.config import Limits
from mss.errors import Malformed
from mss.mail.fields import field, refuse_controls
from mss.mail.headers import format_date, unfold
from mss.mail.mime import every_field
from mss.model.address import Address
from mss.model.message import Message, Span

# A letter may pass our own host more than once (submission, then delivery); more often it turns in circles.
OWN_HOPS_MAX: Final = 4

_RESULTS: Final = "authentication-results"

_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,253}[A-Za-z0-9])?\.?\Z|\[[A-Za-z0-9:.]{1,60}\]\Z")
_WORD = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.:@-]{1,200}\Z")
_FIELD = re.compile(rb"[!-9;-~]+:(?:[^\r\n\x00]++|\r\n[ \t])*+\r\n\Z")
_BLANK_LINE = re.compile(rb"\r\n[ \t]+\r\n")
_COMMENT = re.compile(rb"\([^()]*+\)")
_BY = re.compile(rb"\bby\s+([^\s;()]+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Hop:
    """How a letter reached us: what the peer called itself, where it came from, and how it spoke.

    `protocol` is the `with` of RFC 3848 (ESMTPS, ESMTPSA…); `tls` and `certificate` are shown as comments.
    """

    helo: str
    ip: str
    protocol: str = "ESMTPS"
    tls: str = ""
    certificate: str = ""


def received(hop: Hop, *, by: str, queue_id: str, at: datetime, recipient: Address | None = None) -> bytes:
    """Return the Received field of one hop. Give `recipient` only when the letter has no other."""
    helo = hop.helo if _HOST.match(refuse_controls(hop.helo)) else "unknown"
    words = [f"from {helo} ([{_word(hop.ip)}])"]
    if hop.tls or hop.certificate:
        words.append("(" + ", ".join(map(_comment, filter(None, (hop.tls, hop.certificate)))) + ")")
    words += [f"by {_word(by)}", f"with {_word(hop.protocol)}", f"id {_word(queue_id)}"]
    if recipient is not None and recipient.is_ascii:
        words.append(f"for <{refuse_controls(recipient.spec)}>")
    return field("Received", "\r\n\t".join(words).encode() + f";\r\n\t{format_date(at)}".encode())


def _word(text: str) -> str:
    if not _WORD.match(text):
        raise Malformed("a word of a trace field has characters that it may not have")
    return text


def _comment(text: str) -> str:
    """Return a text that is safe inside a comment."""
    return re.sub(r"[^ -'*-\[\]-~]", "?", refuse_controls(text))[:200]


def return_path(reverse_path: Address | None) -> bytes:
    """Return the Return-Path field; None is the null reverse path of reports."""
    return field("Return-Path", f"<{reverse_path.spec if reverse_path else ''}>".encode())


def count_received(message: Message) -> int:
    """Return how many hops the letter has behind it."""
    return sum(1 for entry in message.structure.root.fields if entry.name == "received")


def has_loop(message: Message, hostname: str, limits: Limits) -> bool:
    """Whether the letter turns in circles: too many hops, or too many of them through us."""
    wanted = hostname.lower().encode()
    own = sum(1 for value in message.headers("received") if _receiver(value) == wanted)
    return count_received(message) > limits.received_max or own > OWN_HOPS_MAX


def _receiver(value: bytes) -> bytes:
    match = _BY.search(_COMMENT.sub(b" ", unfold(value)))
    return match[1].lower() if match else b""


@dataclass(frozen=True, slots=True)
class AuthenticationResult:
    """One method's result (RFC 8601 §2.2), for example `dkim`, `pass`, (("header.d", "example.fr"),)."""

    method: str
    result: str
    properties: tuple[tuple[str, str], ...] = ()
    reason: str = ""


def authentication_results(authserv_id: str, results: Iterable[AuthenticationResult]) -> bytes:
    """Return an Authentication-Results field; `none` when nothing was checked."""
    rendered = [_result(result) for result in results] or ["none"]
    return field("Authentication-Results", ";\r\n\t".join([_word(authserv_id), *rendered]).encode())


def _result(result: AuthenticationResult) -> str:
    words = [f"{_word(result.method)}={_word(result.result)}"]
    if result.reason:
        words.append(f"reason={_quoted(result.reason)}")
    words += [f"{_word(name)}={value if _WORD.match(value) else _quoted(value)}" for name, value in result.properties]
    return " ".join(words)


def _quoted(text: str) -> str:
    clean = refuse_controls(text).encode("ascii", "replace").decode()
    return '"' + clean.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _claims(value: bytes, own: bytes) -> bool:
    words = re.split(rb"[\s;]+", _COMMENT.sub(b" ", unfold(value)).strip(), maxsplit=1)
    return words[0].strip(b'"').lower() == own


def prepend(octets: bytes, header_lines: Iterable[bytes]) -> bytes:
    """Return the letter with whole header fields before it; Malformed when one is no well-formed field."""
    lines = list(header_lines)
    for line in lines:
        if not _FIELD.match(line) or _BLANK_LINE.search(line):
            raise Malformed("not one well-formed header field")
    return b"".join(lines) + octets


def add_missing(message: Message, *, message_id: str, date: datetime) -> bytes:
    """Return the octets with Message-ID and Date where they lack them, as submission must (RFC 6409 §8)."""
    names = {entry.name for entry in message.structure.root.fields}
    lines = []
    if "message-id" not in names:
        lines.append(field("Message-ID", refuse_controls(message_id).encode()))
    if "date" not in names:
        lines.append(field("Date", format_date(date).encode()))
    return prepend(message.octets, lines)


def remove(message: Message, names: Collection[str], authserv_id: str = "") -> bytes:
    """Return the octets without the header fields of those names (any letter case), also those past the limits.

    With `authserv_id`, Authentication-Results that claim to be of that name are taken out too (RFC 8601 §5).
    """
    unwanted, own = {name.lower() for name in names}, authserv_id.lower().encode()

    def goes(name: str, span: Span) -> bool:
        if name in unwanted:
            return True
        return bool(own) and name == _RESULTS and _claims(message.slice(span).partition(b":")[2], own)

    return _cut(message.octets, [span for name, span in every_field(message) if goes(name, span)])


def _cut(octets: bytes, spans: list[Span]) -> bytes:
    """Return the octets without the given spans, which are in order."""
    pieces, at = [], 0
    for span in spans:
        pieces.append(octets[at : span.start])
        at = span.end
    return b"".join([*pieces, octets[at:]])
