"""The issuer's keys: found by its own description, kept, and asked for again when a token names an unknown one.

OpenID Connect Discovery 1.0 §4. An issuer that is down does not lock anybody out at once: its keys go on for
`keys_max_age_s`. Strangers cannot make us ask it more often than every `REFRESH_MIN_S`, whatever they invent.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from mss.clock import Clock
from mss.config import Config, Limits, TokensConfig
from mss.errors import Malformed, Misconfigured, MssError, Unavailable
from mss.fetch import fetch, is_fetchable
from mss.log import get_logger
from mss.tokens import jose, verify
from mss.tokens.jose import Key
from mss.tokens.verify import Fault, Token

REFRESH_MIN_S: Final = 30
KEYS_MAX: Final = 100
_LOOPBACK: Final = frozenset({"127.0.0.1", "::1"})
_DISCOVERY: Final = "/.well-known/openid-configuration"

Fetch = Callable[[str], Awaitable[bytes]]

_log = get_logger("tokens")


def discovery_url(issuer: str) -> str:
    """Return where an issuer describes itself."""
    return issuer.rstrip("/") + _DISCOVERY


class Issuer:
    """One issuer whose tokens we take; one per process."""

    def __init__(self, config: TokensConfig, limits: Limits, clock: Clock, fetch: Fetch) -> None:
        self.config = config
        self._limits, self._clock, self._fetch = limits, clock, fetch
        self._keys: tuple[Key, ...] = ()
        self._read_at: datetime | None = None
        self._asked_at: datetime | None = None
        self._asking: asyncio.Task[None] | None = None

    @property
    def discovery(self) -> str:
        """Where the issuer describes itself; clients are told."""
        return discovery_url(self.config.issuer)

    async def judge(self, token: bytes, thumbprint: str = "") -> Token | Fault:
        """Say whether a token is good now; Unavailable when its issuer's keys cannot be had.

        `thumbprint` is that of the client's certificate, for tokens that are bound to one.
        """
        signed = verify.read(token, self._limits.token_max_octets, self.config.algorithms)
        if isinstance(signed, Fault):
            return signed
        key = verify.key_for(signed, await self._current())
        if key is None:
            # A new key is in use before we look the next time: look now, unless we just did.
            await self._refresh()
            key = verify.key_for(signed, self._keys)
        if key is None:
            if self._read_at is None or self._asked_at is None or self._read_at < self._asked_at:
                raise Unavailable("the issuer cannot be asked for a new key")
            return Fault.UNKNOWN_KEY
        return verify.judge(signed, key, self.config, thumbprint=thumbprint, now=self._clock())

    async def read_keys(self) -> int:
        """Ask for the keys now, and return how many can be used; 0 when they cannot be had."""
        await self._refresh()
        return len(self._keys)

    async def _current(self) -> tuple[Key, ...]:
        """Return the keys; old ones are renewed beside, missing or outlived ones before."""
        age = self._age()
        if age is None or age > timedelta(seconds=self.config.keys_max_age_s):
            await self._refresh()
            age = self._age()
            if age is None or age > timedelta(seconds=self.config.keys_max_age_s):
                raise Unavailable("the issuer's keys cannot be had")
        elif age > timedelta(seconds=self.config.refresh_s):
            self._begin()
        return self._keys

    def _age(self) -> timedelta | None:
        # A clock set back makes them look new: that is no reason to drop them.
        return None if self._read_at is None else self._clock() - self._read_at

    async def _refresh(self) -> None:
        """Ask the issuer once for all who wait; returns at once when it was asked just before."""
        task = self._begin()
        if task is not None:
            # A client that leaves must not take the others' answer with it.
            await asyncio.shield(task)

    def _begin(self) -> asyncio.Task[None] | None:
        if self._asking is not None and not self._asking.done():
            return self._asking
        now = self._clock()
        if self._asked_at is not None and timedelta(0) <= now - self._asked_at < timedelta(seconds=REFRESH_MIN_S):
            return None
        self._asked_at = now
        self._asking = asyncio.get_running_loop().create_task(self._ask())
        return self._asking

    async def _ask(self) -> None:
        try:
            keys = jose.keys_of(await self._fetch(await self._keys_url()), KEYS_MAX)
            if not keys:
                raise Malformed("no key of the issuer can be used")
        except MssError as error:
            # What worked stays in use; whoever has no key learns it from `judge`.
            _log.error("tokens.keys_not_read", reason=str(error))
            return
        self._keys, self._read_at = keys, self._clock()
        _log.info("tokens.keys_read", keys=len(keys))

    async def _keys_url(self) -> str:
        if self.config.jwks_url:
            return self.config.jwks_url
        try:
            described = json.loads(await self._fetch(self.discovery))
            named, url = described["issuer"], described["jwks_uri"]
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise Malformed("the issuer's description cannot be read") from error
        if named != self.config.issuer:
            raise Malformed("the description is another issuer's")
        if not isinstance(url, str):
            raise Malformed("the issuer's description names no keys")
        if urlsplit(url).scheme != urlsplit(self.config.issuer).scheme or not may_ask(url):
            raise Malformed("the issuer's description names keys that may not be fetched")
        return url


def may_ask(url: str) -> bool:
    """Say whether a URL of an issuer may be fetched: by https, or from this machine's own loopback addresses."""
    return is_fetchable(url, ("https",)) or (is_fetchable(url, ("http",)) and urlsplit(url).hostname in _LOOPBACK)


def issuer_of(config: Config, clock: Clock) -> Issuer | None:
    """Return whose tokens we take; None where tokens are not offered. Misconfigured says what does not fit."""
    tokens, limits = config.tokens, config.limits
    if not tokens.issuer:
        return None
    for url in filter(None, (tokens.issuer, tokens.jwks_url)):
        if not may_ask(url):
            raise Misconfigured(f"[tokens] {url}: only https URLs are fetched")
    context = context_of(config.path(tokens.ca_file) if tokens.ca_file else None)

    async def ask(url: str) -> bytes:
        return await fetch(url, context, max_octets=limits.token_keys_max_octets, timeout_s=tokens.timeout_s)

    return Issuer(tokens, limits, clock, ask)


def context_of(ca_file: Path | None) -> ssl.SSLContext:
    """Return whom we believe to be the issuer's machine: the authorities of a file, else those of this system."""
    try:
        context = ssl.create_default_context(cafile=str(ca_file) if ca_file else None)
    except OSError as error:  # SSLError is one.
        raise Misconfigured(f"cannot use {ca_file} as trusted authorities") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
