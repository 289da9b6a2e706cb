"""Header fields written: folded, seven bits, and closed against injection (RFC 5322 §2.2.3, RFC 2047, RFC 2231).

Everything that could end a field early is refused (Malformed), never repaired: what reaches here comes
from our own code or from a person who typed it.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Iterator
from typing import Final
from urllib.parse import quote

from mss.errors import Malformed

LINE_OCTETS: Final = 78
LINE_MAX_OCTETS: Final = 998
_WORD_OCTETS_MAX: Final = 75
_NAME = re.compile(r"[!-9;-~]{1,200}\Z")
_CONTROLS = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029]")
_BAD_VALUE = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|\r(?!\n)|(?<!\r)\n|\r\n(?![ \t]+[^ \t\r\n])")
_PLAIN = re.compile(r"[\t -~]*\Z")
_LONG_TOKEN = re.compile(r"[^ \t]{200}")
_ATOMS = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~ -]*\Z")
_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`{|}~-]+\Z")
_Q_PLAIN: Final = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!*+-/")
_ATTRIBUTE_PLAIN: Final = "!#$&+-.^_`{|}~"


def refuse_controls(text: str) -> str:
    """Return the text as it is; Malformed when it holds control characters or line ends."""
    if _CONTROLS.search(text):
        raise Malformed("control characters have no place in a header field")
    return text


def field(name: str, value: bytes) -> bytes:
    """Return one header field with its line end, folded where it has spaces; Malformed when it could break out."""
    if not _NAME.match(name):
        raise Malformed("not a header field name")
    if _BAD_VALUE.search(value) or value.endswith((b"\r", b"\n")):
        raise Malformed("a header value may not break out of its field")
    lines = b"\r\n".join(_fold(line) for line in (name.encode() + b": " + value).split(b"\r\n"))
    if max(map(len, lines.split(b"\r\n"))) > LINE_MAX_OCTETS:
        raise Malformed("a header line is too long")
    return lines + b"\r\n"


def _fold(line: bytes) -> bytes:
    """Break a line before white space so that it keeps within 78 octets where it can."""
    if len(line) <= LINE_OCTETS:
        return line
    lines, current = [], b""
    for piece in re.findall(rb"[ \t]*[^ \t]+", line.rstrip(b" \t")):
        # A field's first line keeps at least its name and one word.
        if current and len(current) + len(piece) > LINE_OCTETS and not current.endswith(b":"):
            lines.append(current)
            current = b""
        current += piece
    return b"\r\n".join([*lines, current])


def text_field(name: str, text: str) -> bytes:
    """Return a field whose value is free text, as encoded words where needed."""
    return field(name, encode_text(text))


def encode_text(text: str) -> bytes:
    """Return unstructured text for a header: as it is when plain ASCII, else encoded words in UTF-8 (RFC 2047)."""
    refuse_controls(text)
    if _PLAIN.match(text) and "=?" not in text and not _LONG_TOKEN.search(text):
        return text.encode("ascii")
    return b"\r\n ".join(_encoded_words(text))


def encode_phrase(name: str) -> bytes:
    """Return a display name: atoms, a quoted string, or encoded words."""
    refuse_controls(name)
    if not _PLAIN.match(name) or "=?" in name or _LONG_TOKEN.search(name):
        return b"\r\n ".join(_encoded_words(name))
    if _ATOMS.match(name) and name == " ".join(name.split()):
        return name.encode()
    return b'"' + name.replace("\\", "\\\\").replace('"', '\\"').encode() + b'"'


def _encoded_words(text: str) -> Iterator[bytes]:
    """Yield encoded words of at most 75 octets, split between characters; B or Q, whichever is shorter."""
    octets = text.encode("utf-8", "replace")
    plain = sum(map(_Q_PLAIN.__contains__, octets)) + octets.count(b" ")
    as_q = plain + 3 * (len(octets) - plain) <= 4 * len(octets) / 3
    prefix = b"=?utf-8?q?" if as_q else b"=?utf-8?b?"
    room = _WORD_OCTETS_MAX - len(prefix) - 2
    pieces = _split_q(text, room) if as_q else _split_b(text, room // 4 * 3)
    for piece in pieces:
        yield prefix + piece + b"?="


def _split_q(text: str, room: int) -> Iterator[bytes]:
    piece = b""
    for character in text:
        encoded = b"".join(map(_q_octet, character.encode("utf-8", "replace")))
        if len(piece) + len(encoded) > room:
            yield piece
            piece = b""
        piece += encoded
    yield piece


def _q_octet(octet: int) -> bytes:
    if octet == 0x20:
        return b"_"
    return bytes([octet]) if octet in _Q_PLAIN else b"=%02X" % octet


def _split_b(text: str, room: int) -> Iterator[bytes]:
    piece = b""
    for character in text:
        encoded = character.encode("utf-8", "replace")
        if len(piece) + len(encoded) > room:
            yield base64.b64encode(piece)
            piece = b""
        piece += encoded
    yield base64.b64encode(piece)


def encode_parameter(name: str, value: str) -> bytes:
    """Return `name=value` of a MIME field: token, quoted string, or RFC 2231 in UTF-8, continued when long."""
    refuse_controls(value)
    if not _TOKEN.match(name) or "*" in name:
        raise Malformed("not a parameter name")
    if _PLAIN.match(value) and "=?" not in value and len(value) <= LINE_OCTETS - len(name) - 5:
        return name.encode() + b"=" + _token_or_quoted(value)
    return _extended(name, "utf-8''" + quote(value, safe=_ATTRIBUTE_PLAIN, errors="replace"))


def _token_or_quoted(value: str) -> bytes:
    if _TOKEN.match(value):
        return value.encode()
    return b'"' + value.replace("\\", "\\\\").replace('"', '\\"').encode() + b'"'


def _extended(name: str, encoded: str) -> bytes:
    room = LINE_OCTETS - len(name) - 10
    if len(encoded) <= room:
        return f"{name}*={encoded}".encode()
    pieces = _pieces(encoded, room)
    return b";\r\n ".join(f"{name}*{i}*={piece}".encode() for i, piece in enumerate(pieces))


def _pieces(encoded: str, room: int) -> Iterator[str]:
    """Cut percent-encoded text so that no escape is torn."""
    while encoded:
        cut = room
        while "%" in encoded[cut - 2 : cut] and cut < len(encoded):
            cut -= 1
        yield encoded[:cut]
        encoded = encoded[cut:]


def parameters(first: str, pairs: Iterable[tuple[str, str]]) -> bytes:
    """Return `first; name=value; …`, each parameter on its own line."""
    if not re.match(r"[A-Za-z0-9!#$&^_.+/-]+\Z", first):
        raise Malformed("not a MIME token")
    return b";\r\n ".join([first.encode(), *(encode_parameter(name, value) for name, value in pairs)])
