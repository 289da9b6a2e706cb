"""Where an operator is and whether it is the right one: routes, MX records, the pin; a connection or why there is none.

It sends no letter and decides no retry. What fails for no reason that the peer gave is temporary.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from mss.clock import Clock
from mss.config import Limits
from mss.errors import Malformed, MssError, Unavailable
from mss.model.address import Domain
from mss.model.delivery import Outcome
from mss.model.peer import TrustList
from mss.policy import admission
from mss.services.outbound import Plan
from mss.smtp import client, dialog
from mss.smtp.client import Channel, Secrets
from mss.smtp.metrics import Metrics
from mss.store.store import Store
from mss.tls import TlsMaterial, pin

_SMTP_PORT: Final = 25
_HOSTS_MAX: Final = 5

LookUp = Callable[[Domain], Awaitable[list[tuple[int, str]]]]


@dataclass(frozen=True, slots=True)
class RelayHouse:
    """What the relay needs. `look_up` is `dns.mx` on a resolver; `jitter` draws from [0, 1). `sign` puts a signature
    on a letter that leaves: the same one each time, so that a copy is recognised; it never fails."""

    store: Store
    material: TlsMaterial
    trust: Callable[[], TrustList | None]
    trust_max_age_s: int
    look_up: LookUp
    plan: Plan
    limits: Limits
    clock: Clock
    metrics: Metrics
    worker: str
    jitter: Callable[[], float] = random.random
    sign: Callable[[bytes], Awaitable[bytes]] | None = None


async def connect(house: RelayHouse, domain: Domain) -> Channel | Outcome:
    """Return a connection to the best host of a domain that answers, or why there is none."""
    hosts = await _hosts(house, domain)
    if isinstance(hosts, Outcome):
        return hosts
    failed = dialog.temporary("4.4.4", "No host to give the letter to")
    context = house.material.mx_client
    secrets = Secrets(context, context.remember, lambda end: _objection(house, domain, end))  # type: ignore[arg-type]
    for host, port in hosts[:_HOSTS_MAX]:
        opened = await client.connect(
            host, port, secrets, hostname=house.plan.hostname, timeout_s=house.plan.relay.timeout_s
        )
        if isinstance(opened, Channel):
            return opened
        failed = opened
    return failed


async def _hosts(house: RelayHouse, domain: Domain) -> list[tuple[str, int]] | Outcome:
    route = house.plan.relay.routes.get(domain)
    if route:
        return [split_route(route)]
    try:
        records = await house.look_up(domain)
    except Malformed:
        return dialog.permanent("5.1.2", "The domain has no valid name")
    except Unavailable:
        return dialog.temporary("4.4.3", "The name servers do not answer")
    hosts = [(host, _SMTP_PORT) for _, host in records if host]
    if hosts:
        return hosts
    if records:
        return dialog.permanent("5.1.10", "The domain takes no letters")
    return dialog.permanent("5.1.2", "The domain has no mail server")


def split_route(route: str) -> tuple[str, int]:
    """Return host and port of a configured `host:port`; IPv6 addresses stand in brackets."""
    host, colon, port = route.rpartition(":")
    if not colon or not port.isdigit():
        return route.strip("[]"), _SMTP_PORT
    return host.strip("[]"), int(port)


def _objection(house: RelayHouse, domain: Domain, end: object) -> str | None:
    """Return why the peer at the other end must not have letters for a domain, as far as it is known here."""
    trust, now = house.trust(), house.clock()
    if trust is None:
        return "no-trust-list"
    if doubt := admission.list_doubt(trust, now=now, max_age_s=house.trust_max_age_s):
        return doubt.rule.name.removeprefix("peer.")
    try:
        peer = house.material.peer(end, ip="", now=now)  # type: ignore[arg-type]
    except MssError:
        return "peer-unverifiable"
    return pin(peer, domain, trust)


async def objection_now(house: RelayHouse, domain: Domain, channel: Channel) -> str | None:
    """Return the same for each letter on an open connection, and what the peer's responder says (OCSP)."""
    trust, now = house.trust(), house.clock()
    if trust is None:
        return "no-trust-list"
    if doubt := admission.list_doubt(trust, now=now, max_age_s=house.trust_max_age_s):
        return doubt.rule.name.removeprefix("peer.")
    try:
        if channel.known is None:
            channel.known = await house.material.met(channel.end, ip="", now=now)  # type: ignore[arg-type]
        else:
            channel.known = await house.material.met_again(channel.known, now)
    except MssError:
        return "peer-unverifiable"
    return pin(channel.known, domain, trust)
