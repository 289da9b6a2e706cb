"""DKIM for letters: outgoing ones signed with the author's domain's key, incoming ones verified (RFC 6376, RFC 8601).

It is advice and never the reason why a letter stays away: what cannot be signed goes out unsigned, what cannot be
verified is recorded as such. The arithmetic runs in a process of its own; without keys and resolvers nothing runs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import date
from functools import partial
from pathlib import Path
from typing import Final

from mss import dns
from mss.clock import Clock
from mss.config import Config, DkimKeyConfig, Limits
from mss.errors import Malformed, Misconfigured, MssError, Unavailable
from mss.log import get_logger
from mss.mail import dkim, headers, mime, trace
from mss.model.address import Address, Domain, parse_domain
from mss.model.secret import Secret
from mss.smtp.aside import Aside

TxtRecords = Callable[[str], Awaitable[list[bytes]]]

_SELF_TEST: Final = b"From: <postmaster@localhost>\r\n\r\n\r\n"

_log = get_logger("dkim")


@dataclass(frozen=True, slots=True)
class Key:
    """The key that a domain signs with now."""

    domain: Domain
    selector: str
    pem: Secret


@dataclass(slots=True)
class _Entry:
    config: DkimKeyConfig
    path: Path
    mark: int = -1
    pem: Secret = field(default_factory=lambda: Secret(b""))

    def in_force(self, day: date) -> bool:
        since, until = self.config.since, self.config.until
        return (since is None or since <= day) and (until is None or day < until)

    def read(self) -> Secret:
        """Return the key; the file is read again when it changed."""
        mark = self.path.stat().st_mtime_ns
        if mark != self.mark:
            self.pem, self.mark = Secret(self.path.read_bytes()), mark
        return self.pem


class KeyRing:
    """The configured keys of all domains; rotation is by their days, in UTC."""

    def __init__(self, config: Config) -> None:
        self._entries: dict[Domain, list[_Entry]] = {}
        for one in config.dkim.keys:
            entry = _Entry(one, config.path(one.key_file))
            self._entries.setdefault(parse_domain(one.domain), []).append(entry)
        for entries in self._entries.values():
            # The newest first; without a day a key is as old as can be.
            entries.sort(key=lambda entry: entry.config.since or date.min, reverse=True)

    def __bool__(self) -> bool:
        return bool(self._entries)

    @property
    def domains(self) -> tuple[Domain, ...]:
        """The domains that have keys."""
        return tuple(self._entries)

    def current(self, domain: Domain, day: date) -> Key | None:
        """Return the newest key in force; None without one."""
        entry = next((entry for entry in self._entries.get(domain, ()) if entry.in_force(day)), None)
        return Key(domain, entry.config.selector, entry.read()) if entry else None

    def check(self) -> None:
        """Sign something with every key; Misconfigured names the file that cannot."""
        for entry in (one for entries in self._entries.values() for one in entries):
            try:
                dkim.sign(_SELF_TEST, entry.config.selector, entry.config.domain, entry.read().octets)
            except OSError as error:
                raise Misconfigured(f"cannot read the DKIM key {entry.path}: {error.strerror}") from error
            except Misconfigured as error:
                raise Misconfigured(f"{entry.path}: {error}") from error


class Signer:
    """Signs letters that leave the house."""

    def __init__(self, ring: KeyRing, aside: Aside, limits: Limits, clock: Clock) -> None:
        self._ring, self._aside, self._limits, self._clock = ring, aside, limits, clock

    async def sign(self, octets: bytes) -> bytes:
        """Return the letter with its signature on top, or as it is when it cannot have one."""
        domain = author_domain(octets, self._limits)
        try:
            key = self._ring.current(domain, self._clock().date()) if domain else None
            if key is None:
                return octets
            work = partial(dkim.sign, octets, key.selector, key.domain, key.pem.octets)
            return await self._aside.run(work) + octets
        except (MssError, OSError) as error:
            _log.error("dkim.unsigned", domain=domain, reason=type(error).__name__)
            return octets


def author_domain(octets: bytes, limits: Limits) -> Domain | None:
    """Return the domain of the one mailbox in From; None when there is not exactly one."""
    end = octets.find(b"\r\n\r\n")
    head = mime.index(octets[: end + 4] if end >= 0 else octets, limits)
    named = [spec for raw in head.headers("from") for _, spec in headers.addresses(raw, limits)]
    try:
        return Address.parse(named[0]).domain if len(named) == 1 else None
    except Malformed:
        return None


class Verifier:
    """Verifies letters that come in, within a bounded time; name servers' answers are cached by the resolver."""

    def __init__(self, look_up: TxtRecords, aside: Aside, *, hostname: str, patience_s: float) -> None:
        self._look_up, self._aside = look_up, aside
        self._hostname, self._patience_s = hostname, patience_s

    async def results(self, octets: bytes) -> bytes:
        """Return the Authentication-Results field of a letter, in our name (RFC 8601 §2)."""
        return trace.authentication_results(self._hostname, map(_result, await self._verdicts(octets)))

    async def _verdicts(self, octets: bytes) -> tuple[dkim.Verdict, ...]:
        names = dkim.key_names(octets)
        if not names:
            return (dkim.Verdict("permerror" if dkim.is_signed(octets) else "none"),)
        try:
            async with asyncio.timeout(self._patience_s):
                found = await asyncio.gather(*map(self._record, names))
        except (TimeoutError, Unavailable):
            return (dkim.Verdict("temperror"),)
        try:
            return await self._aside.run(partial(dkim.verify_each, octets, dict(zip(names, found, strict=True)).get))
        except Unavailable:
            return (dkim.Verdict("temperror"),)

    async def _record(self, name: str) -> bytes | None:
        """Return the one record of a name; several are no key (RFC 6376 §3.6.2.2)."""
        try:
            records = await self._look_up(name)
        except Malformed:
            return None
        return records[0] if len(records) == 1 else None


def _result(verdict: dkim.Verdict) -> trace.AuthenticationResult:
    named = (("header.d", verdict.domain), ("header.s", verdict.selector))
    return trace.AuthenticationResult("dkim", verdict.result, tuple(pair for pair in named if pair[1]))


def signer(config: Config, aside: Aside, clock: Clock) -> Callable[[bytes], Awaitable[bytes]] | None:
    """Return what signs with the configured keys; None without any. Misconfigured names a key file that is none."""
    ring = KeyRing(config)
    ring.check()
    return Signer(ring, aside, config.limits, clock).sign if ring else None


def verifier(config: Config, aside: Aside) -> Verifier | None:
    """Return what looks at signatures of incoming letters; None where no resolver is configured."""
    settings = config.dkim
    if not settings.resolvers:
        return None
    resolver = dns.resolver_of(settings.resolvers, timeout_s=settings.timeout_s)

    async def look_up(name: str) -> list[bytes]:
        return await dns.txt(name, resolver)

    return Verifier(look_up, aside, hostname=config.operator.hostname, patience_s=settings.timeout_s)
