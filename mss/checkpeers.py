"""What `mss check` says of certificates, revocation lists and the trust list: what peers will hold against us.

It changes nothing and fetches nothing. Each finding says what to do.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import urlsplit

from mss.config import Config
from mss.crl import files_in
from mss.directory import trustlist
from mss.model.address import Domain
from mss.model.peer import ListReading, TrustList
from mss.revocation import Revocation, read_certificates
from mss.tls import (
    certificate_expiry,
    dn_of,
    list_context,
    mail_client_context,
    mx_client_context,
    mx_server_context,
)

EXPIRY_WARNING: Final = timedelta(days=30)
CLOCK_DRIFT: Final = timedelta(minutes=5)

Level = Literal["ok", "warning", "wrong"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One line: what was looked at, how it is, and what to do when it is not well."""

    subject: str
    level: Level
    text: str
    remedy: str = ""


# Certificates -----------------------------------------------------------------------------------------------------


def certificates(config: Config, now: datetime) -> Iterator[Finding]:
    """Look at our own certificates: the keys that belong to them, and when they end."""
    mx_server_context(config)
    mail_client_context(config)
    yield Finding("certificate", "ok", f"{trustlist.written_dn(dn_of(_leaf(config)))}, its key matches")
    yield _expiry("certificate", config.path(config.tls.certificate_file), now)
    facing = config.tls.client_facing_certificate_file
    if facing is not None:
        yield _expiry("client-facing certificate", config.path(facing), now)
    if config.tls.client_ca_file is not None and not config.tls.client_crl_files:
        remedy = "set [tls] client_crl_files: nobody can say whether a robot's certificate was revoked"
        yield Finding("robots' certificates", "warning", "no robot can sign in with one", remedy)


def _leaf(config: Config) -> Any:
    return read_certificates(config.path(config.tls.certificate_file))[0]


def _expiry(subject: str, path: Path, now: datetime) -> Finding:
    ends = certificate_expiry(path)
    days = (ends - now).days
    if ends <= now:
        return Finding(subject, "wrong", f"it ended on {ends:%Y-%m-%d}", f"renew {path.name} now: nobody accepts it")
    if ends - now < EXPIRY_WARNING:
        return Finding(subject, "warning", f"it ends on {ends:%Y-%m-%d}, in {days} days", f"renew {path.name}")
    return Finding(subject, "ok", f"it is good until {ends:%Y-%m-%d}")


def handshake(config: Config, now: datetime) -> Iterator[Finding]:
    """Let our relay shake hands with our MX in memory: chain, purposes and host name are what peers will verify."""
    hostname = config.operator.hostname
    try:
        _shake_hands(mx_server_context(config), mx_client_context(config), hostname)
    except ssl.SSLCertVerificationError as error:
        remedy = f"the certificate must chain to ca_file, serve and call, and name {hostname}"
        yield Finding("handshake", "wrong", f"peers would refuse our certificate: {error.verify_message}", remedy)
    except ssl.SSLError as error:
        reason = error.reason or type(error).__name__
        yield Finding(
            "handshake", "wrong", f"TLS fails with ourselves: {reason}", "check [tls] certificate and ca_file"
        )
    else:
        yield Finding("handshake", "ok", f"mutual TLS with ourselves as {hostname}")


def _shake_hands(server: ssl.SSLContext, client: ssl.SSLContext, hostname: str) -> None:
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(to_client, to_server, server_hostname=hostname),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    for _ in range(10):
        if not (ends := [end for end in ends if not _is_done(end)]):
            return
    raise ssl.SSLError("the handshake did not end")


def _is_done(end: ssl.SSLObject) -> bool:
    try:
        end.do_handshake()
    except ssl.SSLWantReadError:
        return False
    return True


def revocation(config: Config, now: datetime) -> Iterator[Finding]:
    """Look at the revocation lists, as files and as fetched, and at what they say of our own certificate."""
    tls = config.tls
    paths = [*map(config.path, tls.crl_files), *files_in(config.path(tls.crl_dir))]
    if not paths:
        remedy = (
            "name the authorities' lists in [tls] crl_files or crl_urls: without them no letter comes in or goes out"
        )
        why = "none was fetched yet" if tls.crl_urls else "none is configured"
        yield Finding("revocation lists", "wrong", why, remedy)
        return
    grace = timedelta(seconds=tls.crl_grace_s)
    lists, problems = Revocation.load(config.path(config.tls.ca_file), paths, grace)
    for problem in problems:
        yield Finding("revocation lists", "wrong", problem, "fetch the lists anew")
    yield _verdict(lists, config, now)
    due = lists.next_update
    if due is not None and due <= now <= due + grace:
        text = f"one is late since {due:%Y-%m-%d %H:%M} and counts until {due + grace:%Y-%m-%d %H:%M}"
        yield Finding("revocation lists", "warning", text, "fetch the lists anew: then every peer is deferred")
    if due is not None and due > now:
        yield Finding("revocation lists", "ok", f"{len(lists.crls)} lists, the first is due on {due:%Y-%m-%d %H:%M}")


def _verdict(lists: Revocation, config: Config, now: datetime) -> Finding:
    """Judge our own certificate as a peer would judge it."""
    match lists.judge(_leaf(config), now):
        case "good":
            return Finding("revocation", "ok", "our certificate is not revoked")
        case "revoked":
            return Finding("revocation", "wrong", "our own certificate is revoked", "ask its authority for another")
        case "stale":
            return Finding("revocation", "wrong", "a revocation list is past its date", "fetch the lists anew")
        case _:
            remedy = "name a list of each authority of the chain in [tls] crl_files"
            return Finding("revocation", "wrong", "no usable list covers our own chain", remedy)


# Trust list -------------------------------------------------------------------------------------------------------


def trust_list_file(config: Config, now: datetime) -> Iterator[Finding]:
    """Look at where the trust list comes from, and whether it lists us."""
    settings = config.trust_list
    signers = read_certificates(config.path(settings.signer_file)) if settings.signer_file is not None else ()
    if settings.url:
        list_context(config)
        host = urlsplit(settings.url).hostname
        signed = "and must be signed" if signers else "and its signature is not looked at"
        yield Finding("trust list", "ok", f"it is fetched from {host} every {settings.fetch_s} s {signed}")
        return
    if settings.file is None:
        yield Finding(
            "trust list", "warning", "neither file nor url is configured", "name one: [trust_list] file or url"
        )
        return
    octets = config.path(settings.file).read_bytes()
    max_octets = config.limits.trust_list_max_octets
    listed = trustlist.parse(octets, fetched_at=now, max_octets=max_octets, signers=signers)
    dated = f"{listed.generated_at:%Y-%m-%d}"
    yield Finding("trust list", "ok", f"{len(listed.domains)} domains, dated {dated}")
    yield from _own_entries(config, listed)


def _own_entries(config: Config, listed: TrustList) -> Iterator[Finding]:
    own = dn_of(_leaf(config))
    for domain in config.domains:
        name = Domain(domain.name.lower())
        if own in listed.subjects_of(name):
            yield Finding("trust list", "ok", f"it lists our certificate for {name}")
        else:
            remedy = f"ask its manager to list exactly this subject for {name}: {trustlist.written_dn(own)}"
            yield Finding("trust list", "wrong", f"it does not list our certificate for {name}", remedy)


def list_in_use(config: Config, listed: TrustList | None, now: datetime) -> Finding:
    """Look at the age of the trust list in use."""
    if listed is None:
        return Finding("trust list in use", "wrong", "none was read yet", "mss operator read FILE, or start mss serve")
    age = now - listed.fetched_at
    hours = int(age.total_seconds() // 3600)
    if age < -CLOCK_DRIFT:
        remedy = "set the clock (NTP): every other operator is deferred until then"
        return Finding("trust list in use", "wrong", "it was read later than now: the clock went back", remedy)
    if age > timedelta(seconds=config.trust_list.max_age_s):
        remedy = "renew it: every other operator is deferred until then"
        return Finding("trust list in use", "wrong", f"it was last read {hours} hours ago", remedy)
    return Finding("trust list in use", "ok", f"version {listed.version}, last read {hours} hours ago")


def last_reading(last: tuple[ListReading, ...]) -> list[Finding]:
    """Look whether the newest reading of the list came to something."""
    if not last or last[0].verdict == "taken":
        return []
    one = last[0]
    text = f"{one.verdict} since {one.first_at:%Y-%m-%d %H:%M}: {one.reason}"
    return [Finding("trust list, last reading", "warning", text, "see mss operator history")]
