"""A letter made fit for a peer that takes seven bits only: 8-bit parts in quoted-printable or base64 (RFC 6152 §3).

Decoded, every part stays what it was; the same letter gives the same octets each time, so that the receiver recognises
a copy. Neither signed parts nor headers are touched: what would need that is a `CannotError`. DKIM signatures of the
body do not survive. Who calls it has a peer that leaves no choice.
"""

from __future__ import annotations

import binascii
from collections.abc import Iterator
from enum import StrEnum
from typing import Final

from mss.mail.compose import base64_lines
from mss.mail.content import decoded, is_multipart
from mss.model.message import Message, Part, Span

# Where quoted-printable is larger than this share of the octets, base64 is shorter and as readable.
_QUOTED_MAX_SHARE: Final = 1.4
_CTE: Final = "content-transfer-encoding"
_ENCODINGS: Final = frozenset({"7bit", "8bit", "binary", "quoted-printable", "base64"})
_NOT_ASCII: Final = bytes(range(128)) + b"?" * 128

_Edit = tuple[Span, bytes]


class Reason(StrEnum):
    """Why a letter cannot be made seven bits wide."""

    HEADER = "header"
    SIGNED = "signed"
    OPAQUE = "opaque"


class CannotError(Exception):
    """The letter stays as it is; `reason` says why."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason.value)
        self.reason = reason


def needs_utf8(message: Message) -> bool:
    """Whether a header, of the letter or of a part of it, needs SMTPUTF8 (RFC 6532)."""
    if message.octets.isascii():
        return False
    return message.structure.truncated or any(
        not message.slice(part.header).isascii() for part in _all_parts(message.structure.root)
    )


def _all_parts(part: Part) -> Iterator[Part]:
    """Yield the part and all below it, those inside embedded letters too."""
    for one in part.walk():
        yield one
        if one.embedded is not None:
            yield from _all_parts(one.embedded)


def seven_bit(message: Message) -> bytes:
    """Return the letter's octets with every 8-bit part encoded; CannotError when that cannot be done."""
    if message.octets.isascii():
        return message.octets
    if message.structure.truncated:
        raise CannotError(Reason.OPAQUE)
    edits = sorted(_edits(message, message.structure.root, top=True), key=lambda edit: edit[0].start)
    pieces, at = [], 0
    for span, octets in edits:
        pieces += [message.octets[at : span.start], octets]
        at = span.end
    return b"".join([*pieces, message.octets[at:]])


def _edits(message: Message, part: Part, *, top: bool = False) -> Iterator[_Edit]:
    """Yield what to replace in a part: its encoding field, its body or what is below it; nothing when it is ASCII."""
    if not message.slice(part.header).isascii():
        raise CannotError(Reason.HEADER)
    if message.slice(part.body).isascii():
        return
    if part.content_type == "multipart/signed":
        raise CannotError(Reason.SIGNED)
    if part.embedded is not None:
        yield from _encoding_field(message, part, b"7bit", top=top)
        yield from _edits(message, part.embedded, top=True)
    elif is_multipart(part):
        yield from _encoding_field(message, part, b"7bit", top=top)
        yield from _multipart_edits(message, part)
    elif part.content_type.startswith("message/") or part.encoding not in _ENCODINGS:
        raise CannotError(Reason.OPAQUE)  # These may not be in quoted-printable or base64 (RFC 2046 §5.2).
    else:
        encoding, body = _encoded(decoded(message, part), is_text=part.content_type.startswith("text/"))
        yield from _encoding_field(message, part, encoding, top=top)
        yield part.body, body


def _multipart_edits(message: Message, part: Part) -> Iterator[_Edit]:
    if not part.children:
        raise CannotError(Reason.OPAQUE)
    at = part.body.start
    for child in part.children:
        yield from _plain_edit(message, Span(at, child.header.start))
        yield from _edits(message, child)
        at = child.body.end
    yield from _plain_edit(message, Span(at, part.body.end))


def _plain_edit(message: Message, span: Span) -> Iterator[_Edit]:
    """Yield the replacement of what stands between parts, which nobody reads: other octets become question marks."""
    octets = message.slice(span)
    if not octets.isascii():
        yield span, octets.translate(_NOT_ASCII)


def _encoding_field(message: Message, part: Part, encoding: bytes, *, top: bool) -> Iterator[_Edit]:
    """Yield what makes a part's header name its encoding; containers without the field need none."""
    present = [field for field in part.fields if field.name == _CTE]
    if not present:
        if encoding != b"7bit":
            yield _added(message, part, b"Content-Transfer-Encoding: " + encoding + b"\r\n", top=top)
        return
    yield present[0].field, b"Content-Transfer-Encoding: " + encoding + b"\r\n"
    for field in present[1:]:
        yield field.field, b""


def _added(message: Message, part: Part, line: bytes, *, top: bool) -> _Edit:
    """Return the field put at the end of a header; a letter without MIME-Version gets that too."""
    if top and not any(field.name == "mime-version" for field in part.fields):
        line = b"MIME-Version: 1.0\r\n" + line
    end = part.header.end - (2 if message.slice(part.header).endswith(b"\r\n") else 0)
    return Span(end, end), line


def _encoded(octets: bytes, *, is_text: bool) -> tuple[bytes, bytes]:
    """Return the encoding's name and the encoded octets: text as quoted-printable where that is short."""
    if is_text:
        quoted = _quoted_printable(octets)
        # A soft line break must not make a line that begins like a delimiter.
        if len(quoted) <= _QUOTED_MAX_SHARE * len(octets) + 100 and b"\n--" not in b"\n" + quoted:
            return b"quoted-printable", quoted
    return b"base64", base64_lines(octets)


def _quoted_printable(octets: bytes) -> bytes:
    lines = octets.split(b"\r\n")
    return b"\r\n".join(binascii.b2a_qp(line, istext=False).replace(b"\n", b"\r\n") for line in lines)


__all__ = ["CannotError", "Reason", "needs_utf8", "seven_bit"]
