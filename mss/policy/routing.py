"""Where a letter goes: a box of ours, another operator of the trust space, or nowhere (promise 2).

It opens no connection and reads no MX record; it only says which domain may be reached and what next hop was
configured for it. A configured route counts as reachable: the relay still pins the operator's certificate.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import assert_never

from mss.model.address import Address, Domain
from mss.model.peer import TrustList
from mss.policy import rules
from mss.policy.decision import Decision, accept, defer, reject


class Destination(StrEnum):
    """The closed set of ways."""

    LOCAL_PROFESSIONAL = "local-professional"
    LOCAL_PATIENT = "local-patient"
    RELAY = "relay"
    NOWHERE = "nowhere"


@dataclass(frozen=True, slots=True)
class Route:
    """One recipient's way. `next_hop` is a configured `host:port`; empty: look MX records up (or local)."""

    destination: Destination
    domain: Domain
    decision: Decision
    next_hop: str = ""


def route(
    recipient: Address, hosted: Mapping[Domain, str], trust_list: TrustList | None, routes: Mapping[str, str]
) -> Route:
    """Find a recipient's way; without a trust list, other operators' domains are deferred.

    `hosted` maps our domains to "professional" or "patient"; `routes` maps domains to `host:port`.
    """
    domain = recipient.domain
    if domain in hosted:
        return _local(domain, hosted[domain])
    if domain in routes:
        return _relay(domain, routes[domain])
    if trust_list is None:
        return Route(Destination.NOWHERE, domain, defer(rules.ROUTE_NO_TRUST_LIST, domain=domain))
    return _relay(domain) if trust_list.subjects_of(domain) else _nowhere(domain)


def route_within(recipient: Address, hosted: Mapping[Domain, str], reachable: Container[str]) -> Route:
    """Find a recipient's way when the reachable domains were gathered before (`reachable_domains`)."""
    domain = recipient.domain
    if domain in hosted:
        return _local(domain, hosted[domain])
    return _relay(domain) if domain in reachable else _nowhere(domain)


def _local(domain: Domain, kind: str) -> Route:
    if kind == "patient":
        return Route(Destination.LOCAL_PATIENT, domain, accept(rules.ROUTE_LOCAL_PATIENT, domain=domain))
    return Route(Destination.LOCAL_PROFESSIONAL, domain, accept(rules.ROUTE_LOCAL_PROFESSIONAL, domain=domain))


def _relay(domain: Domain, next_hop: str = "") -> Route:
    return Route(Destination.RELAY, domain, accept(rules.ROUTE_RELAY, domain=domain), next_hop)


def _nowhere(domain: Domain) -> Route:
    return Route(Destination.NOWHERE, domain, reject(rules.ROUTE_OUTSIDE, domain=domain))


def reachable_domains(trust_list: TrustList | None, routes: Mapping[str, str]) -> frozenset[str]:
    """Return the domains beyond ours that letters may go to: those listed and those with a route."""
    listed = (domain for domain, subjects in trust_list.domains.items() if subjects) if trust_list else ()
    return frozenset(listed) | frozenset(routes)


def may_enter(way: Route) -> Decision:
    """Say whether a letter from another operator may take this way: only to our own boxes, we relay for nobody."""
    match way.destination:
        case Destination.LOCAL_PROFESSIONAL | Destination.LOCAL_PATIENT:
            return way.decision
        case Destination.RELAY | Destination.NOWHERE:
            return reject(rules.ROUTE_NOT_HERE, domain=way.domain)
        case _ as never:
            assert_never(never)


def patient_domains(hosted: Mapping[Domain, str], others: Iterable[str] = ()) -> frozenset[Domain]:
    """Return all domains whose boxes are patients': ours, and those that the configuration names."""
    return frozenset(d for d, kind in hosted.items() if kind == "patient") | {Domain(d.lower()) for d in others}
