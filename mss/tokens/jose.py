"""Signatures of tokens and the keys that prove them: the only module that names joserfc (RFC 7515, RFC 7517).

It does not say whom a token speaks for, nor until when: `verify` reads the claims.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

from joserfc import jws
from joserfc.errors import BadSignatureError, JoseError
from joserfc.jwk import ECKey, RSAKey

from mss.errors import Malformed

RSA_MIN_BITS: Final = 2048
_KID_MAX: Final = 255
# Of the algorithms that the configuration may name: no secret shared with the issuer can ever prove a token.
_KEY_TYPES: Final[Mapping[str, str]] = {
    "RS256": "RSA", "RS384": "RSA", "RS512": "RSA", "PS256": "RSA", "PS384": "RSA", "PS512": "RSA",
    "ES256": "EC", "ES384": "EC", "ES512": "EC",
}  # fmt: skip
_CURVES: Final[Mapping[str, str]] = {"ES256": "P-256", "ES384": "P-384", "ES512": "P-521"}


class BadSignature(Exception):
    """The signature is not that of the key."""


@dataclass(frozen=True, slots=True)
class Key:
    """One public key of an issuer."""

    kid: str
    kind: str
    curve: str
    algorithm: str
    _key: ECKey | RSAKey

    def serves(self, algorithm: str) -> bool:
        """Whether the key may prove signatures of an algorithm."""
        right_curve = self.curve == _CURVES.get(algorithm, "")
        return _KEY_TYPES.get(algorithm) == self.kind and right_curve and self.algorithm in ("", algorithm)


@dataclass(frozen=True, slots=True)
class Signed:
    """A token taken apart; nothing of it is believed yet."""

    algorithm: str
    kid: str
    kind: str
    _compact: bytes

    @property
    def content(self) -> bytes:
        """What was signed: header and claims as they came."""
        return self._compact.rpartition(b".")[0]


def keys_of(octets: bytes, keys_max: int) -> tuple[Key, ...]:
    """Read an issuer's key set; keys that are not for us (secrets, encryption, short, odd) are left out.

    Malformed: not a key set, or more keys than that.
    """
    try:
        listed = json.loads(octets)["keys"]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise Malformed("not a key set") from error
    if not isinstance(listed, list) or len(listed) > keys_max:
        raise Malformed("not a key set, or too many keys")
    return tuple(key for one in listed if (key := _key(one)) is not None)


def _key(given: object) -> Key | None:
    if not isinstance(given, dict) or given.get("kty") not in ("RSA", "EC") or given.get("use", "sig") != "sig":
        return None
    # Only what makes the public key: a private part, were it ever published, is not taken in.
    public = {name: given[name] for name in ("kty", "n", "e", "crv", "x", "y") if name in given}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # It warns of short keys; we leave them out.
            if public["kty"] == "EC":
                key: ECKey | RSAKey = ECKey.import_key(public)
            elif (key := RSAKey.import_key(public)).raw_value.key_size < RSA_MIN_BITS:
                return None
    except (JoseError, ValueError, TypeError, KeyError, AttributeError):
        return None
    curve = str(public.get("crv", ""))
    return Key(str(given.get("kid", ""))[:_KID_MAX], str(public["kty"]), curve, str(given.get("alg", "")), key)


class _Registry(jws.JWSRegistry):
    max_header_length = 4096
    max_payload_length = 64 * 1024
    max_signature_length = 2048


def take_apart(token: bytes) -> Signed:
    """Return a token's header; Malformed when it is no signed token in compact form."""
    try:
        header = jws.extract_compact(token, registry=_Registry(strict_check_header=False)).headers()
    except (JoseError, ValueError, TypeError, RecursionError) as error:
        raise Malformed("not a signed token") from error
    algorithm, kid, kind = header.get("alg"), header.get("kid", ""), header.get("typ", "")
    if not all(isinstance(one, str) for one in (algorithm, kid, kind)):
        raise Malformed("not a token's header")
    return Signed(str(algorithm), str(kid)[:_KID_MAX], str(kind), token)


def claims_of(signed: Signed, key: Key, algorithms: Collection[str]) -> dict[str, Any]:
    """Return what a token claims once its signature is proven; BadSignature when it is not.

    Malformed: a critical header that we do not know, an algorithm that is not allowed, claims that are no object.
    """
    registry = _Registry(algorithms=list(algorithms), strict_check_header=False)
    try:
        proven = jws.deserialize_compact(signed._compact, key._key, registry=registry)
        claims = json.loads(proven.payload)
    except BadSignatureError as error:
        raise BadSignature from error
    except (JoseError, ValueError, TypeError, RecursionError) as error:
        raise Malformed("not a token that we can read") from error
    if not isinstance(claims, dict):
        raise Malformed("a token's claims are an object")
    return claims
