"""What a letter says and carries: decoded parts, its text and HTML, its attachments (RFC 2045 §6, RFC 2046 §5.1).

Broken encodings give what can be saved of them. HTML comes out as it came in: cleaning it is the webmail's.
"""

from __future__ import annotations

import binascii
import html
import re
from collections.abc import Callable, Iterable
from typing import Final

from mss.mail import charsets
from mss.model.message import Message, Part

_NOT_BASE64: Final = bytes(set(range(256)) - set(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/="))
_TAG = re.compile(r"<[^<>]*+>")
_LINE_TAG = re.compile(r"<(?:br|/p|/div|/tr|/h[1-6]|/li)\b[^<>]*+>", re.IGNORECASE)
_HIDDEN = re.compile(r"<(script|style|head|title)\b", re.IGNORECASE)
_BLANK_LINES = re.compile(r"\n[ \t\n]*\n")


def is_multipart(part: Part) -> bool:
    """Whether the part's type is a multipart, even one in which no part was found."""
    return part.content_type.startswith("multipart/")


def decoded(message: Message, part: Part) -> bytes:
    """Return a part's body without its transfer encoding; an unknown encoding leaves it as it is."""
    return _decoded(part, message.slice(part.body))


def _decoded(part: Part, octets: bytes) -> bytes:
    match part.encoding:
        case "base64":
            return _from_base64(octets)
        case "quoted-printable":
            return binascii.a2b_qp(octets)
        case _:
            return octets


def _from_base64(octets: bytes) -> bytes:
    try:
        return binascii.a2b_base64(octets)
    except binascii.Error:
        clean = octets.translate(None, _NOT_BASE64).partition(b"=")[0]
        clean = clean[: len(clean) - (len(clean) % 4 == 1)]
        return binascii.a2b_base64(clean + b"=" * (-len(clean) % 4))


def text(message: Message, part: Part) -> str:
    """Return a text part as text, in its charset, lines ended by "\\n"."""
    return _as_text(part, decoded(message, part))


def beginning(message: Message, part: Part, octets_max: int) -> str:
    """Return what the first lines of a text part say, at most so many octets of it as they stand there."""
    if len(part.body) <= octets_max:
        return text(message, part)
    start = part.body.start
    end = message.octets.rfind(b"\n", start, start + octets_max) + 1 or start + octets_max
    return _as_text(part, _decoded(part, message.octets[start:end]))


def _as_text(part: Part, octets: bytes) -> str:
    return charsets.decode(octets, part.parameter("charset")).replace("\r\n", "\n").replace("\r", "\n")


def text_of(message: Message) -> tuple[str, str | None]:
    """Return the letter's best plain text and its best HTML (None without); attachments not included.

    A letter that has HTML only gives a rough plain text made of it.
    """
    plain, markup = _bodies(message, message.structure.root, [])
    return plain or from_html(markup or ""), markup


def attachments(message: Message) -> list[Part]:
    """Return the parts that are not the letter's text, in order; embedded letters count as one each."""
    used: list[Part] = []
    _bodies(message, message.structure.root, used)
    texts = {part.number for part in used}
    return [part for part in message.structure.root.walk() if part.number not in texts and not is_multipart(part)]


_Bodies = tuple[str | None, str | None]


def _bodies(message: Message, part: Part, used: list[Part]) -> _Bodies:
    """Return plain text and HTML of a part; `used` collects the parts that they come from."""
    if is_multipart(part):
        return _of_multipart(part, lambda child: _bodies(message, child, used))
    is_text = part.content_type in ("text/plain", "text/html")
    is_named = part.filename is not None and part.number
    if not is_text or is_named or part.disposition == "attachment":
        return None, None
    used.append(part)
    content = text(message, part)
    return (content, None) if part.content_type == "text/plain" else (None, content)


def _of_multipart(part: Part, read: Callable[[Part], _Bodies]) -> _Bodies:
    match part.content_type:
        case "multipart/alternative":
            found = [read(child) for child in part.children]
            # Alternatives stand in order of growing faithfulness (RFC 2046 §5.1.4).
            return _first(plain for plain, _ in found), _first(markup for _, markup in reversed(found))
        case "multipart/related":
            return read(part.children[0]) if part.children else (None, None)
        case _:
            return _one_after_the_other([read(child) for child in part.children])


def _first(found: Iterable[str | None]) -> str | None:
    return next((item for item in found if item is not None), None)


def _one_after_the_other(found: list[_Bodies]) -> _Bodies:
    found = [(plain, markup) for plain, markup in found if plain is not None or markup is not None]
    if not found:
        return None, None
    plain = "\n".join(from_html(markup or "") if plain is None else plain for plain, markup in found)
    if all(markup is None for _, markup in found):
        return plain, None
    return plain, "\n".join(as_html(plain or "") if markup is None else markup for plain, markup in found)


def as_html(plain: str) -> str:
    """Return plain text as a paragraph of HTML, its lines kept."""
    return "<p>" + html.escape(plain.strip("\n")).replace("\n", "<br>\n") + "</p>"


def from_html(markup: str) -> str:
    """Return a rough plain text of HTML: tags, scripts and styles left out, paragraphs as lines."""
    lines = _LINE_TAG.sub("\n", _without_hidden(markup))
    return _BLANK_LINES.sub("\n\n", html.unescape(_TAG.sub("", lines))).strip()


def _without_hidden(markup: str) -> str:
    """Leave out elements that are not read aloud; one without its end hides all that follows."""
    pieces, at = [], 0
    lower = markup.lower()
    while (opening := _HIDDEN.search(markup, at)) is not None:
        pieces.append(markup[at : opening.start()])
        closing = lower.find("</" + opening[1].lower(), opening.end())
        if closing < 0:
            return "".join(pieces)
        at = lower.find(">", closing) + 1 or len(markup)
    return "".join([*pieces, markup[at:]])
