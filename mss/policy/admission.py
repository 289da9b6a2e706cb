"""Who may send us letters, and in whose name (MSSANTE.md §2.A and §8.1; promise 3).

A peer is admitted when its certificate is good and listed; it speaks only for the domains that list its subject,
in the envelope and in the From header. It does not check chains, dates or names of certificates: `tls` did. What we
cannot check now is deferred, never refused.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Final

from mss.model.address import Address
from mss.model.peer import Peer, TrustList
from mss.policy import rules
from mss.policy.decision import Decision, accept, defer, reject

# A list that was read later than now says that the clock went back: nobody knows how old it is.
CLOCK_SKEW_S: Final = 300


def admit(peer: Peer | None, trust_list: TrustList | None, *, now: datetime, max_age_s: int) -> Decision:
    """Say whether a peer may begin a letter; ask for each letter, for lists age while connections live."""
    if peer is None:
        return reject(rules.PEER_NO_CERTIFICATE)
    doubt = _revocation(peer)
    if doubt is None and trust_list is not None:
        doubt = list_doubt(trust_list, now=now, max_age_s=max_age_s)
    if doubt is not None or trust_list is None:
        return doubt or defer(rules.PEER_NO_TRUST_LIST)
    domains = trust_list.domains_of(peer.subject)
    if not domains:
        return reject(rules.PEER_NOT_LISTED, serial=peer.serial, list_version=trust_list.version)
    return accept(rules.PEER_LISTED, domains=len(domains), list_version=trust_list.version)


def _revocation(peer: Peer) -> Decision | None:
    match peer.revocation:
        case "good":
            return None
        case "revoked":
            return reject(rules.PEER_REVOKED, serial=peer.serial)
        case "expired":
            return reject(rules.PEER_EXPIRED, serial=peer.serial)
        case "stale":
            return defer(rules.PEER_REVOCATION_STALE, serial=peer.serial)
        case _:
            return defer(rules.PEER_REVOCATION_UNKNOWN, serial=peer.serial)


def list_doubt(trust_list: TrustList, *, now: datetime, max_age_s: int) -> Decision | None:
    """Return why a trust list must not be used now; None when it may."""
    age_s = int((now - trust_list.fetched_at).total_seconds())
    if age_s > max_age_s:
        return defer(rules.PEER_STALE_TRUST_LIST, age_s=age_s, max_age_s=max_age_s)
    if age_s < -CLOCK_SKEW_S:
        return defer(rules.PEER_CLOCK_BACK, ahead_s=-age_s)
    return None


def may_speak_for(peer: Peer, trust_list: TrustList, address: Address | None) -> Decision:
    """Say whether an admitted peer may use a reverse path; None is the null one of reports, open to all."""
    if address is None:
        return accept(rules.SENDER_NULL)
    if peer.subject in trust_list.subjects_of(address.domain):
        return accept(rules.SENDER_LISTED, domain=address.domain)
    return reject(rules.SENDER_FOREIGN_DOMAIN, domain=address.domain, list_version=trust_list.version)


def may_author(
    peer: Peer, trust_list: TrustList, from_addresses: Collection[Address], *, reverse_path: Address | None
) -> Decision:
    """Say whether an admitted peer may bring a letter of this author.

    `from_addresses` are all addresses of all From fields; exactly one mailbox is wanted, because a patient answers
    one author. Reports (null reverse path) come from the peer's domains too.
    """
    domains = sorted({address.domain for address in from_addresses})
    foreign = [domain for domain in domains if peer.subject not in trust_list.subjects_of(domain)]
    if not domains:
        return reject(rules.AUTHOR_MISSING, report=reverse_path is None)
    if foreign:
        rule = rules.AUTHOR_FOREIGN_REPORT if reverse_path is None else rules.AUTHOR_FOREIGN_DOMAIN
        return reject(rule, domain=foreign[0], list_version=trust_list.version)
    if len({address.key for address in from_addresses}) > 1:
        return reject(rules.AUTHOR_SEVERAL, authors=len(from_addresses))
    return accept(rules.AUTHOR_LISTED, domain=domains[0])


def sender_field_may_name(account_addresses: Collection[Address], named: Iterable[Address | None]) -> Decision:
    """Say whether what a submitted letter's Sender fields name is the account's own; None: could not be read."""
    own = {one.key for one in account_addresses}
    foreign = [one for one in named if one is None or one.key not in own]
    if foreign:
        return reject(rules.SENDER_FIELD_NOT_YOURS, readable=foreign[0] is not None, own_addresses=len(own))
    return accept(rules.SENDER_OWN)


def sender_may_use(account_addresses: Collection[Address], address: Address | None) -> Decision:
    """Say whether an account may send in an address's name: reverse path or From, at submission.

    The null reverse path is open to all, for the receipts that mail programs send (RFC 8098); the From field of
    such a letter is asked about separately.
    """
    if address is None:
        return accept(rules.SENDER_NULL)
    if address.key in {own.key for own in account_addresses}:
        return accept(rules.SENDER_OWN, domain=address.domain)
    return reject(rules.SENDER_NOT_YOURS, domain=address.domain, own_addresses=len(account_addresses))
