"""The text of a letter that SEARCH looks into: header and texts as people read them, case folded. It is prepared once.

Attachments are not looked into, letters inside a letter are (RFC 3501 §6.4.4 leaves it open).
"""

from __future__ import annotations

from collections.abc import Iterator

from mss.mail import content, headers
from mss.model.message import Message, Part


def prepare(message: Message) -> bytes:
    """Return the header, a NUL, and the texts. What a client looks for holds no NUL, so nothing matches across it."""
    header = headers.decode_text(message.slice(message.structure.root.header))
    texts = "\n".join(content.text(message, part) for part in _texts(message))
    return f"{header}\0{texts}".casefold().encode("utf-8", "surrogatepass")


def prepare_short(message: Message, octets_max: int) -> bytes:
    """Return the same where it has at most so many octets, else nothing, without decoding what is surely longer."""
    if sum(len(part.body) for part in _texts(message)) > octets_max:
        return b""
    prepared = prepare(message)
    return prepared if len(prepared) <= octets_max else b""


def fold(text: str) -> bytes:
    """Return a text that is looked for in the same form."""
    return text.casefold().encode("utf-8", "surrogatepass")


def _texts(message: Message) -> Iterator[Part]:
    return (part for part in _all_parts(message.structure.root) if part.content_type.startswith("text/"))


def _all_parts(part: Part) -> Iterator[Part]:
    for each in part.walk():
        yield each
        if each.embedded is not None:
            yield from _all_parts(each.embedded)
