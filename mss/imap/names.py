"""Mailbox names on the wire: modified UTF-7 (RFC 3501 §5.1.3) or UTF-8, and Unicode inside; LIST patterns."""

from __future__ import annotations

import binascii
import re
import unicodedata
from typing import Final

from mss.errors import Malformed
from mss.model.mailbox import INBOX

DELIMITER: Final = "/"
NAME_MAX_CHARACTERS: Final = 500
_SHIFTED: Final = re.compile(rb"&([^-]*)(-?)")
_PLAIN: Final = re.compile(r"[\x20-\x25\x27-\x7e]+|&|[^\x20-\x7e]+")
_BASE64: Final = re.compile(rb"[A-Za-z0-9+,]+")


def decode(octets: bytes, *, utf8: bool = False) -> str:
    """Return the Unicode name, normalised (NFC, INBOX in capitals); Malformed when it is no name.

    `utf8`: the client said that its names are in UTF-8 (RFC 6855, RFC 9051); "&" then stands for itself.
    """
    name = _decode_utf8(octets) if utf8 or any(octet > 0x7F for octet in octets) else _decode_utf7(octets)
    if len(name) > NAME_MAX_CHARACTERS or any(unicodedata.category(c) in ("Cc", "Cs") for c in name):
        raise Malformed("Not a mailbox name")
    return canonical(unicodedata.normalize("NFC", name))


def canonical(name: str) -> str:
    """Return the name with its INBOX, alone or as first level, in capitals."""
    first, slash, rest = name.partition(DELIMITER)
    return f"{INBOX}{slash}{rest}" if first.upper() == INBOX else name


def _decode_utf8(octets: bytes) -> str:
    try:
        return octets.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Malformed("Mailbox name is neither UTF-7 nor UTF-8") from error


def _decode_utf7(octets: bytes) -> str:
    pieces, at = [], 0
    for match in _SHIFTED.finditer(octets):
        pieces.append(octets[at : match.start()].decode("ascii"))
        pieces.append(_decode_shifted(match.group(1), bool(match.group(2))))
        at = match.end()
    pieces.append(octets[at:].decode("ascii"))
    return "".join(pieces)


def _decode_shifted(coded: bytes, closed: bool) -> str:
    """Decode what stands between "&" and "-"; printable ASCII there would give one name two spellings."""
    if not closed or (coded and not _BASE64.fullmatch(coded)):
        raise Malformed("Mailbox name is not modified UTF-7")
    if not coded:
        return "&"
    try:
        padded = coded.replace(b",", b"/") + b"=" * (-len(coded) % 4)
        text = binascii.a2b_base64(padded, strict_mode=True).decode("utf-16-be")
    except ValueError as error:
        raise Malformed("Mailbox name is not modified UTF-7") from error
    if not text or any("\x20" <= character <= "\x7e" for character in text):
        raise Malformed("Mailbox name is not modified UTF-7")
    return text


def encode(name: str) -> bytes:
    """Return the name in modified UTF-7."""
    return b"".join(_encode_run(run) for run in _PLAIN.findall(name))


def written(name: str, *, utf8: bool) -> bytes:
    """Return the name as the client reads names."""
    return name.encode("utf-8") if utf8 else encode(name)


def _encode_run(run: str) -> bytes:
    if run == "&":
        return b"&-"
    if "\x20" <= run[0] <= "\x7e":
        return run.encode("ascii")
    coded = binascii.b2a_base64(run.encode("utf-16-be"), newline=False).rstrip(b"=")
    return b"&" + coded.replace(b"/", b",") + b"-"


def matches(pattern: str, name: str) -> bool:
    """Say whether a LIST pattern fits: "*" is anything, "%" anything within one level.

    Linear in pattern times name: a hostile pattern full of stars costs no more.
    """
    states = {0}
    for character in name:
        states = _advance(pattern, _closure(pattern, states), character)
    return len(pattern) in _closure(pattern, states)


def _closure(pattern: str, states: set[int]) -> set[int]:
    """Add the places that wildcards reach when they stand for nothing."""
    reached = set(states)
    for state in sorted(states):
        while state < len(pattern) and pattern[state] in "*%":
            state += 1
            reached.add(state)
    return reached


def _advance(pattern: str, states: set[int], character: str) -> set[int]:
    following = set()
    for state in states:
        if state == len(pattern):
            continue
        wanted = pattern[state]
        if wanted == "*" or (wanted == "%" and character != DELIMITER):
            following.add(state)
        elif wanted == character:
            following.add(state + 1)
    return following
