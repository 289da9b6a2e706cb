"""Parameters of MIME header fields: `; name=value` (RFC 2045 §5.1, RFC 2231), read tolerantly.

It reads raw octets into raw parameters with continuations joined, and raw parameters into text. What a
parameter means is not decided here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote_from_bytes, unquote_to_bytes

from mss.config import KIB
from mss.mail import charsets
from mss.mail.headers import decode_text, printable, unfold
from mss.mail.remembered import remembered

_PARAMETER = re.compile(rb';\s*+([^\s=;"]++)\s*+=\s*+(?:"((?:[^"\\]++|\\.)*+)"?|([^;]*+))', re.DOTALL)
_ESCAPED = re.compile(rb"\\(.)", re.DOTALL)
# What may follow a name: `*` alone (extended), `*0` (a piece), `*0*` (an extended piece).
_SUFFIX = re.compile(rb"\*(?:(0|[1-9]\d{0,3})(\*?))?\Z")
_FIRST_TOKEN = re.compile(rb"[^\s(]*")
# People write file names with spaces and parentheses without quotes; other values end there.
_FREE_TEXT: Final = frozenset({b"name", b"filename"})


VALUE_MAX_OCTETS: Final = 64 * KIB


@dataclass(frozen=True, slots=True)
class RawParameter:
    """A parameter as written, continuations joined. `extended`: the value is charset'language'percent-encoded."""

    name: bytes
    value: bytes
    extended: bool = False


# A letter's index, its boundary and its BODYSTRUCTURE ask for the same values, and most letters write the same ones.
@remembered
def read_raw(value: bytes, parameters_max: int) -> tuple[tuple[RawParameter, ...], bool]:
    """Return the parameters of a field's value, and whether a limit cut some off."""
    segments: dict[bytes, _Continuation] = {}
    order: list[RawParameter | _Continuation] = []
    for count, match in enumerate(_PARAMETER.finditer(unfold(value[:VALUE_MAX_OCTETS]))):
        if count >= parameters_max:
            return _joined(order), True
        octets = _value_of(match)
        base, star, rest = match[1].partition(b"*")
        suffix = _SUFFIX.match(star + rest) if base else None
        if suffix is None:
            order.append(RawParameter(match[1], octets))
            continue
        continuation = segments.get(base.lower())
        if continuation is None:
            continuation = segments[base.lower()] = _Continuation(base, {})
            order.append(continuation)
        continuation.pieces.setdefault(int(suffix[1] or 0), (octets, suffix[2] != b""))
    return _joined(order), len(value) > VALUE_MAX_OCTETS


def _value_of(match: re.Match[bytes]) -> bytes:
    quoted, bare = match[2], match[3]
    if quoted is not None:
        return _ESCAPED.sub(rb"\1", quoted) if b"\\" in quoted else quoted
    bare = bare.strip()
    if match[1].lower() in _FREE_TEXT:
        return bare
    first = _FIRST_TOKEN.match(bare)
    return first[0] if first else bare


@dataclass(frozen=True, slots=True)
class _Continuation:
    """The pieces of one parameter by number: (value, is percent-encoded)."""

    name: bytes
    pieces: dict[int, tuple[bytes, bool]]

    def joined(self) -> RawParameter:
        """Join the pieces in order of their numbers up to the first gap; some senders count from 1."""
        number = min(self.pieces)
        pieces = []
        while (piece := self.pieces.get(number)) is not None:
            pieces.append(piece)
            number += 1
        if not any(extended for _, extended in pieces):
            return RawParameter(self.name, b"".join(value for value, _ in pieces))
        first_extended = pieces[0][1]
        text = b"".join(value if extended else quote_from_bytes(value).encode() for value, extended in pieces)
        return RawParameter(self.name, text if first_extended else b"''" + text, extended=True)


def _joined(order: list[RawParameter | _Continuation]) -> tuple[RawParameter, ...]:
    return tuple(item.joined() if isinstance(item, _Continuation) else item for item in order)


@remembered
def read(value: bytes, parameters_max: int) -> tuple[tuple[tuple[str, str], ...], bool]:
    """Return the parameters of a field's value as `decode` gives them, and whether a limit cut some off."""
    raw, cut = read_raw(value, parameters_max)
    return decode(raw), cut


def decode(raw: tuple[RawParameter, ...]) -> tuple[tuple[str, str], ...]:
    """Return (lower-case name, text) pairs; of a name given plain and extended, the extended one counts."""
    extended = {parameter.name.lower() for parameter in raw if parameter.extended}
    return tuple(
        (charsets.decode(parameter.name).lower(), _text(parameter))
        for parameter in raw
        if parameter.extended or parameter.name.lower() not in extended
    )


def _text(parameter: RawParameter) -> str:
    if not parameter.extended:
        return decode_text(parameter.value)
    charset, text = split_extended(parameter.value)
    return printable(charsets.decode(text, charset))


def split_extended(value: bytes) -> tuple[str | None, bytes]:
    """Return the charset (None when empty) and the octets of an extended value."""
    charset, quote, rest = value.partition(b"'")
    _language, second, text = rest.partition(b"'")
    if not quote or not second:
        return None, unquote_to_bytes(value)
    return charset.decode("ascii", "replace") or None, unquote_to_bytes(text)


def octets_of(raw: tuple[RawParameter, ...], name: bytes) -> bytes | None:
    """Return the octets of the first parameter of that lower-case name, percent-decoded."""
    for parameter in raw:
        if parameter.name.lower() == name:
            return split_extended(parameter.value)[1] if parameter.extended else parameter.value
    return None
