"""Look-ups of MX and TXT records (RFC 1035, RFC 5321 section 5.1, RFC 7505).

It connects to nobody and believes no record beyond its form: whom a letter may be given to is for the trust list.
Errors: Unavailable when the answer may be another one later, Malformed when the name can be no name, Misconfigured
when there is no resolver to ask.
"""

from __future__ import annotations

import ipaddress
import random
from collections.abc import Iterable, Sequence

import dns.asyncresolver
import dns.exception
import dns.name
import dns.resolver
from dns.nameserver import Do53Nameserver
from dns.rdata import Rdata
from dns.rdatatype import RdataType
from dns.rdtypes.ANY.MX import MX
from dns.rdtypes.ANY.TXT import TXT

from mss.errors import Malformed, Misconfigured, Unavailable
from mss.model.address import Domain, parse_domain

TIMEOUT_S = 10.0
HOSTS_MAX = 20
TXT_RECORDS_MAX = 20
_CACHED_ANSWERS = 1000
_PORT = 53

NULL_MX: list[tuple[int, str]] = [(0, "")]
"""What `mx` returns for a domain that declares to take no letters (RFC 7505)."""

Resolver = dns.asyncresolver.Resolver


def make_resolver(nameservers: Sequence[str] = (), *, port: int = 53, timeout_s: float = TIMEOUT_S) -> Resolver:
    """Return a caching resolver of the given servers' IP addresses, or else of the system's.

    `timeout_s` bounds one look-up with all its tries.
    """
    try:
        resolver = Resolver(configure=not nameservers)
    except dns.resolver.NoResolverConfiguration as error:
        raise Misconfigured("no name server: give relay routes, or name one in resolv.conf") from error
    if nameservers:
        resolver.nameservers = list(nameservers)
        resolver.port = port
    resolver.lifetime = timeout_s
    resolver.timeout = timeout_s / 3
    resolver.cache = dns.resolver.LRUCache(_CACHED_ANSWERS)
    return resolver


def resolver_of(servers: Sequence[str], *, timeout_s: float = TIMEOUT_S) -> Resolver:
    """Return a resolver of configured servers, each an `address` or `address:port`; "system" is resolv.conf's."""
    if "system" in servers:
        return make_resolver(timeout_s=timeout_s)
    asked = [_server(server) for server in servers]
    resolver = make_resolver([one.address for one in asked], timeout_s=timeout_s)
    resolver.nameservers = list(asked)
    return resolver


def _server(text: str) -> Do53Nameserver:
    """Read one name server; an IPv6 address with a port stands in brackets."""
    host, _, port = text.rpartition(":")
    with_port = host.endswith("]") or (bool(host) and ":" not in host)
    name = host if with_port else text
    try:
        address = ipaddress.ip_address(name[1:-1] if name.startswith("[") and name.endswith("]") else name)
        return Do53Nameserver(str(address), int(port) if with_port else _PORT)
    except ValueError as error:
        raise Misconfigured(f"“{text}” is no name server: write its IP address, or “system”") from error


async def mx(domain: Domain, resolver: Resolver) -> list[tuple[int, str]]:
    """Return (preference, host) to try in this order: best first, equals in random order, at most HOSTS_MAX.

    A domain without MX that has an address is its own host. Empty: there is no such domain, or nothing at it.
    NULL_MX: the domain takes no letters. Both are permanent.
    """
    try:
        answer = await _ask(domain, RdataType.MX, resolver)
    except dns.resolver.NXDOMAIN:
        return []
    records = [record for record in answer if isinstance(record, MX)]
    if not records:
        return [(0, str(domain))] if await _has_address(domain, resolver) else []
    if all(record.exchange == dns.name.root for record in records):
        return NULL_MX
    hosts = [(record.preference, host) for record in records if (host := _host(record.exchange))]
    if not hosts:
        raise Unavailable("the MX records name no usable host")
    return sorted(hosts, key=lambda pair: (pair[0], random.random()))[:HOSTS_MAX]  # noqa: S311 (spreads load)


async def txt(name: str, resolver: Resolver) -> list[bytes]:
    """Return the TXT records of a name, the strings of each joined (DKIM keys): none when there are none."""
    try:
        answer = await _ask(name, RdataType.TXT, resolver)
    except dns.resolver.NXDOMAIN:
        return []
    return [b"".join(record.strings) for record in answer if isinstance(record, TXT)][:TXT_RECORDS_MAX]


async def _has_address(domain: Domain, resolver: Resolver) -> bool:
    for kind in (RdataType.A, RdataType.AAAA):
        try:
            if await _ask(domain, kind, resolver):
                return True
        except dns.resolver.NXDOMAIN:
            return False
    return False


async def _ask(name: str, kind: RdataType, resolver: Resolver) -> list[Rdata]:
    """Return the records, none when the name has none of the kind; NXDOMAIN passes, all else is Unavailable."""
    absolute = _name(name)
    try:
        answer = await resolver.resolve(absolute, kind, raise_on_no_answer=False, search=False)
    except dns.resolver.NXDOMAIN:
        raise
    except (dns.exception.DNSException, OSError) as error:
        raise Unavailable(f"the name server does not answer: {type(error).__name__}") from error
    return _records(answer.rrset)


def _name(name: str) -> dns.name.Name:
    try:
        return dns.name.from_text(name)
    except dns.exception.DNSException as error:
        raise Malformed("not a name that can be looked up") from error


def _records(rrset: Iterable[Rdata] | None) -> list[Rdata]:
    return [] if rrset is None else list(rrset)


def _host(name: dns.name.Name) -> str:
    """Return a record's host name when it is one, else an empty text."""
    try:
        return str(parse_domain(name.to_text(omit_final_dot=True)))
    except Malformed:
        return ""
