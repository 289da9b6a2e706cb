"""What OAUTHBEARER and XOAUTH2 wrap around a token, and the error that they send back (RFC 7628, RFC 5801 §4).

It reads octets and judges their form only; whether a token is good is `verify`'s.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Final

from mss.errors import Malformed
from mss.model.secret import Secret

OAUTHBEARER: Final = "OAUTHBEARER"
XOAUTH2: Final = "XOAUTH2"
MECHANISMS: Final = (OAUTHBEARER, XOAUTH2)

_SEPARATOR: Final = b"\x01"
_PAIRS_MAX: Final = 10
# The flag for channel binding ("p=…" would need one, and we have none), then the name that the client acts as.
_GS2 = re.compile(rb"[ny],(?:a=((?:[^,=\x00-\x1f\x7f]|=2C|=3D){1,1000}))?,\Z")
_KEY = re.compile(rb"[A-Za-z]{1,20}\Z")
_VALUE = re.compile(rb"[\x20-\x7e\t\r\n]*\Z")
_BEARER = re.compile(rb"[Bb][Ee][Aa][Rr][Ee][Rr] +([A-Za-z0-9._~+/-]+=*)\Z")
_USER = re.compile(rb"user=([^\x00-\x1f\x7f]{0,1000})\Z")


@dataclass(frozen=True, slots=True)
class Bearer:
    """A client's response: its token (empty: it only asks what we want), and whom it acts as (often empty)."""

    token: Secret
    acting_as: str = ""


def parse(mechanism: str, response: bytes) -> Bearer:
    """Read a client's response; Malformed says nothing of what it held."""
    return _oauthbearer(response) if mechanism == OAUTHBEARER else _xoauth2(response)


def _oauthbearer(response: bytes) -> Bearer:
    header, separator, rest = response.partition(_SEPARATOR)
    match = _GS2.match(header)
    if not match or not separator:
        raise Malformed("not a response of OAUTHBEARER")
    name = (match.group(1) or b"").replace(b"=2C", b",").replace(b"=3D", b"=")
    return Bearer(_token(_pairs(rest)), _text(name))


def _xoauth2(response: bytes) -> Bearer:
    user, separator, rest = response.partition(_SEPARATOR)
    match = _USER.match(user)
    if not match or not separator:
        raise Malformed("not a response of XOAUTH2")
    return Bearer(_token(_pairs(rest)), _text(match.group(1)))


def _pairs(octets: bytes) -> dict[bytes, bytes]:
    """Return the key/value pairs, each ended by a separator, up to the separator that ends them all."""
    pairs: dict[bytes, bytes] = {}
    pieces = octets.split(_SEPARATOR, _PAIRS_MAX + 2)
    if pieces[-2:] != [b"", b""] or len(pieces) > _PAIRS_MAX + 2:
        raise Malformed("the pairs do not end as they must")
    for piece in pieces[:-2]:
        key, equals, value = piece.partition(b"=")
        if not equals or not _KEY.match(key) or not _VALUE.match(value) or key.lower() in pairs:
            raise Malformed("not a pair of key and value")
        pairs[key.lower()] = value
    return pairs


def _token(pairs: dict[bytes, bytes]) -> Secret:
    given = pairs.get(b"auth", b"")
    match = _BEARER.match(given)
    if given and not match:
        raise Malformed("not a bearer token")
    return Secret(match.group(1) if match else b"")


def _text(octets: bytes) -> str:
    try:
        return octets.decode()
    except UnicodeDecodeError as error:
        raise Malformed("a name is not UTF-8") from error


def failure(mechanism: str, discovery: str) -> bytes:
    """Return the error that a refused client gets as a challenge, before the refusal itself (RFC 7628 §3.2.2).

    XOAUTH2's form is the one that clients have known for longest; `discovery` is where our issuer describes itself.
    """
    if mechanism == XOAUTH2:
        return b'{"status":"401","schemes":"bearer","scope":"mail"}'
    told = {"status": "invalid_token", "schemes": "bearer", "scope": "mail", "openid-configuration": discovery}
    return json.dumps(told, separators=(",", ":")).encode()
