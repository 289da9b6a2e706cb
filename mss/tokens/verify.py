"""Whether a token was made for us, by our issuer, and holds now (RFC 7519 §4.1, RFC 9068, RFC 8705 §3).

Pure: a token, keys and an instant in; a `Token` or a `Fault` out. It fetches nothing and knows no account.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from hmac import compare_digest
from typing import Any, Final

from mss.config import TokensConfig
from mss.errors import Malformed
from mss.tokens import jose
from mss.tokens.jose import Key, Signed

_VALUE_MAX: Final = 320
# Some time after the year 6000; what is beyond, and what is no number, is no date.
_SECONDS_MAX: Final = 2**37
_KINDS: Final = frozenset({"", "jwt", "at+jwt", "application/jwt", "application/at+jwt"})


class Fault(StrEnum):
    """Why a token is not good; for the log, the journal and metrics, never for the client."""

    MALFORMED = "token-malformed"
    TOO_LARGE = "token-too-large"
    ALGORITHM = "token-algorithm"
    KIND = "token-kind"
    UNKNOWN_KEY = "token-unknown-key"
    SIGNATURE = "token-signature"
    ISSUER = "token-issuer"
    AUDIENCE = "token-audience"
    CLIENT = "token-client"
    EXPIRED = "token-expired"
    NOT_YET = "token-not-yet"
    UNDATED = "token-undated"
    BOUND = "token-bound-to-another"
    NAMELESS = "token-nameless"


@dataclass(frozen=True, slots=True)
class Token:
    """What a good token says: the value of the configured claim, until when, and what recognises it again."""

    subject: str
    expires_at: float
    mark: bytes


def read(octets: bytes, octets_max: int, algorithms: Collection[str]) -> Signed | Fault:
    """Take a token apart and look at its header, before any key is needed."""
    if len(octets) > octets_max:
        return Fault.TOO_LARGE
    try:
        signed = jose.take_apart(octets)
    except Malformed:
        return Fault.MALFORMED
    if signed.algorithm not in algorithms:
        return Fault.ALGORITHM
    return signed if signed.kind.lower() in _KINDS else Fault.KIND


def key_for(signed: Signed, keys: Collection[Key]) -> Key | None:
    """Return the key that the token names; when it names none, the only one that could be meant."""
    fit = [key for key in keys if key.serves(signed.algorithm)]
    if signed.kid:
        return next((key for key in fit if key.kid == signed.kid), None)
    return fit[0] if len(fit) == 1 else None


def judge(signed: Signed, key: Key, config: TokensConfig, *, thumbprint: str, now: datetime) -> Token | Fault:
    """Prove the signature, then look at every claim that matters.

    `thumbprint` is the digest of the client's certificate (SHA-256, base64url), empty without one: a token that is
    bound to a certificate counts from its holder only.
    """
    try:
        claims = jose.claims_of(signed, key, config.algorithms)
    except jose.BadSignature:
        return Fault.SIGNATURE
    except Malformed:
        return Fault.MALFORMED
    fault = _origin(claims, config) or _dates(claims, config.leeway_s, now.timestamp()) or _holder(claims, thumbprint)
    return fault or _token(claims, config, signed)


def _origin(claims: Mapping[str, Any], config: TokensConfig) -> Fault | None:
    if claims.get("iss") != config.issuer:
        return Fault.ISSUER
    named = claims.get("aud")
    audiences = named if isinstance(named, list) else [named]
    if config.audiences and not any(one in config.audiences for one in audiences if isinstance(one, str)):
        return Fault.AUDIENCE
    clients = [claims[name] for name in ("azp", "client_id") if isinstance(claims.get(name), str)]
    if config.clients and not (clients and all(one in config.clients for one in clients)):
        return Fault.CLIENT
    return None


def _dates(claims: Mapping[str, Any], leeway_s: int, now_s: float) -> Fault | None:
    """Judge exp, nbf and iat; a token without an end is not taken."""
    dates = {name: _seconds(claims[name]) for name in ("exp", "nbf", "iat") if name in claims}
    if "exp" not in dates or None in dates.values():
        return Fault.UNDATED
    if now_s >= (dates["exp"] or 0) + leeway_s:
        return Fault.EXPIRED
    begins = max(dates.get("nbf") or 0, dates.get("iat") or 0)
    return Fault.NOT_YET if now_s < begins - leeway_s else None


def _seconds(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 <= value < _SECONDS_MAX else None


def _holder(claims: Mapping[str, Any], thumbprint: str) -> Fault | None:
    """Judge whom a token is bound to; other bindings than to a certificate cannot be proven here."""
    if "cnf" not in claims:
        return None
    bound = claims["cnf"].get("x5t#S256") if isinstance(claims["cnf"], dict) else None
    if not isinstance(bound, str) or not bound.isascii():
        return Fault.BOUND
    return None if thumbprint and compare_digest(bound, thumbprint) else Fault.BOUND


def _token(claims: Mapping[str, Any], config: TokensConfig, signed: Signed) -> Token | Fault:
    subject = claims.get(config.claim)
    if not isinstance(subject, str) or not 0 < len(subject.strip()) <= _VALUE_MAX:
        return Fault.NAMELESS
    if config.claim == "email" and claims.get("email_verified") is not True:
        return Fault.NAMELESS
    number = claims.get("jti")
    # Without a number of its own, a token is what was signed: signatures may have more than one spelling.
    own = number.encode("utf-8", "replace") if isinstance(number, str) and number else signed.content
    mark = hashlib.sha256(b"\0".join((config.issuer.encode(), own))).digest()
    return Token(subject.strip(), float(claims["exp"]) + config.leeway_s, mark)
