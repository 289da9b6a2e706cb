"""An issuer of tokens: its keys, what it publishes, and tokens of every kind."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cache
from typing import Any

from joserfc import jws
from joserfc.jwk import ECKey, OctKey, RSAKey

from mss.config import Limits, TokensConfig
from mss.errors import Unavailable
from mss.tokens.issuer import Issuer

NOW = datetime(2026, 11, 22, 8, 0, tzinfo=UTC)
ISSUER = "https://id.example/realms/staff"
KEYS_URL = "https://id.example/realms/staff/keys"
DISCOVERY = ISSUER + "/.well-known/openid-configuration"
CONFIG = TokensConfig(issuer=ISSUER, audiences=("mss",), claim="preferred_username")
DOCTOR = "claire@chu.example"
AnyKey = RSAKey | ECKey | OctKey


@cache
def rsa(name: str = "r1", bits: int = 2048) -> RSAKey:
    """Return the RSA key of a name."""
    return RSAKey.generate_key(bits, {"kid": name})


@cache
def ec(name: str = "e1", curve: str = "P-256") -> ECKey:
    """Return the EC key of a name."""
    return ECKey.generate_key(curve, {"kid": name})


def published(*keys: AnyKey, **more: Any) -> bytes:
    """Return a key set, as an issuer publishes it."""
    return json.dumps({"keys": [{**key.as_dict(private=False), **more} for key in keys]}).encode()


def claims(**changed: Any) -> dict[str, Any]:
    """Return good claims, changed; None takes one out."""
    now = int(NOW.timestamp())
    good = {
        "iss": ISSUER, "aud": "mss", "sub": "8997002", "preferred_username": DOCTOR, "iat": now - 10, "nbf": now - 10,
        "exp": now + 240, "jti": "t-1",
    }  # fmt: skip
    return {name: value for name, value in {**good, **changed}.items() if value is not None}


def signed(
    payload: Mapping[str, Any] | bytes | None = None,
    key: AnyKey | None = None,
    *,
    alg: str = "RS256",
    kid: str | None = None,
    **header: Any,
) -> bytes:
    """Return a token; `kid` is the key's own unless given, "" leaves it out."""
    key = key or rsa()
    named = key.kid if kid is None else kid
    protected = {"alg": alg, "typ": "at+jwt", **({"kid": named} if named else {}), **header}
    body = payload if isinstance(payload, bytes) else json.dumps(claims() if payload is None else payload).encode()
    registry = jws.JWSRegistry(algorithms=[alg], strict_check_header=False)
    return jws.serialize_compact(protected, body, key, registry=registry).encode()


@dataclass
class Hands:
    """A clock whose hands the test moves."""

    now: datetime = NOW

    def __call__(self) -> datetime:
        return self.now


@dataclass
class Web:
    """What the issuer's machine answers, and what it was asked."""

    pages: dict[str, bytes] = field(
        default_factory=lambda: {
            DISCOVERY: json.dumps({"issuer": ISSUER, "jwks_uri": KEYS_URL}).encode(),
            KEYS_URL: published(rsa(), ec()),
        }
    )
    asked: list[str] = field(default_factory=list)
    down: bool = False

    async def __call__(self, url: str) -> bytes:
        self.asked.append(url)
        if self.down or url not in self.pages:
            raise Unavailable("nothing there")
        return self.pages[url]


def issuer(web: Web, hands: Hands, limits: Limits | None = None, **changed: Any) -> Issuer:
    """Return the issuer as we see it."""
    return Issuer(replace(CONFIG, **changed), limits or Limits(), hands, web)
