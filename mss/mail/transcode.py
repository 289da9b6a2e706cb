"""Letters that came with binary parts (RFC 3516 §4.4): NUL cannot stand in a literal, so such parts become base64.

Nothing else of a letter is changed. It knows no mailbox.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterator
from typing import Final

from mss.mail.content import is_multipart
from mss.model.message import Message, Part

_ENCODING: Final = re.compile(rb"(?im)^content-transfer-encoding[ \t]*:.*(?:\r\n[ \t].*)*\r\n")
_LINE_OCTETS: Final = 57


def without_nul(message: Message) -> bytes | None:
    """Return the letter with its parts that hold NUL in base64; None when NUL stands where no encoding helps."""
    octets = message.octets
    if b"\0" not in octets:
        return octets
    for part in sorted(_leaves(message.structure.root), key=lambda part: part.body.start, reverse=True):
        body = octets[part.body.start : part.body.end]
        if b"\0" not in body:
            continue
        header = _ENCODING.sub(b"", octets[part.header.start : part.header.end])
        empty_line = header.endswith(b"\r\n\r\n") or header == b"\r\n"
        fields = header[:-2] if empty_line else header
        encoded = fields + b"Content-Transfer-Encoding: base64\r\n\r\n" + _base64(body)
        octets = octets[: part.header.start] + encoded + octets[part.body.end :]
    return None if b"\0" in octets else octets


def _leaves(part: Part) -> Iterator[Part]:
    """Yield the parts with content of their own, those of embedded letters too."""
    for each in part.walk():
        if each.embedded is not None:
            yield from _leaves(each.embedded)
        elif not is_multipart(each):
            yield each


def _base64(body: bytes) -> bytes:
    lines = (body[start : start + _LINE_OCTETS] for start in range(0, len(body), _LINE_OCTETS))
    return b"\r\n".join(binascii.b2a_base64(line, newline=False) for line in lines)
