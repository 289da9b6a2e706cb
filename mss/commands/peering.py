"""A session with another operator's mail server, step by step, as the relay would hold it; no letter is sent.

Each step says what was looked at, whether it is well, and what to do. It changes nothing and writes nothing down.
"""

from __future__ import annotations

import asyncio
import smtplib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from cryptography import x509

from mss import dns, ocsp
from mss.clock import Clock
from mss.commands.trust import current
from mss.config import Config
from mss.directory.trustlist import written_dn
from mss.errors import Malformed, Misconfigured, MssError
from mss.model.address import Domain, parse_domain
from mss.model.peer import Peer, TrustList
from mss.policy.admission import list_doubt
from mss.smtp.relay import split_route
from mss.tls import TlsMaterial, dn_of, inspecting_context, mx_client_context, why_not

_SMTP_PORT: Final = 25
_READY: Final = 220
_HOSTS_MAX: Final = 5
_TIMEOUT_S: Final = 20
_WORDS_MAX: Final = 200


@dataclass(frozen=True, slots=True)
class Step:
    """One check."""

    subject: str
    well: bool
    text: str
    remedy: str = ""


def test(config: Config, clock: Clock, domain: str) -> Iterator[Step]:
    """Yield every check of a session with a domain's mail servers, as it is made."""
    now = clock()
    try:
        name, listed = parse_domain(domain), current(config, clock)
    except (Malformed, Misconfigured) as error:
        yield Step("domain", False, str(error), "write a domain name; read a trust list: mss operator read FILE")
        return
    yield _age(config, listed, now)
    yield _is_listed(name, listed)
    places = yield from _places(config, name)
    for host, port in places[:_HOSTS_MAX]:
        yield from _Session(config, name, listed, host, port, now).steps()


def _age(config: Config, listed: TrustList, now: datetime) -> Step:
    doubt = list_doubt(listed, now=now, max_age_s=config.trust_list.max_age_s)
    if doubt is not None:
        return Step("trust list", False, doubt.rule.text, "read it again: mss operator read FILE; see mss check")
    return Step("trust list", True, f"version {listed.version}, read {listed.fetched_at:%Y-%m-%d %H:%M}Z")


def _is_listed(name: Domain, listed: TrustList) -> Step:
    subjects = listed.subjects_of(name)
    if not subjects:
        return Step("domain", False, f"{name} is not in the trust list", "no letter may go there: check the spelling")
    return Step("domain", True, f"{name} is listed for {len(subjects)} certificate{'s' if len(subjects) > 1 else ''}")


def _places(config: Config, name: Domain) -> Any:
    """Yield how the servers were found, and return them."""
    route = config.relay.routes.get(name)
    if route:
        place = split_route(route)
        yield Step("route", True, f"[relay.routes] sends it to {place[0]}:{place[1]}")
        return [place]
    try:
        records = asyncio.run(_look_up(name))
    except MssError as error:
        yield Step("MX", False, str(error), "see that the name servers answer, or set a route: [relay.routes]")
        return []
    hosts = [(host, _SMTP_PORT) for _, host in records if host]
    if not hosts:
        yield Step("MX", False, "the domain names no mail server", "ask its operator, or set a route: [relay.routes]")
    else:
        yield Step("MX", True, ", ".join(host for host, _ in hosts))
    return hosts


async def _look_up(name: Domain) -> list[tuple[int, str]]:
    return await dns.mx(name, dns.make_resolver())


class _Session:
    """One session with one server, from connecting to QUIT."""

    def __init__(self, config: Config, name: Domain, listed: TrustList, host: str, port: int, now: datetime) -> None:
        self._config, self._name, self._listed = config, name, listed
        self._host, self._port, self._now = host, port, now
        self._smtp: smtplib.SMTP | None = None

    def steps(self) -> Iterator[Step]:
        """Yield the checks; the last failed one ends them."""
        try:
            yield from self._connected()
        except (OSError, smtplib.SMTPException) as error:
            remedy = "the other side ended the session: ask its operator, with the time of this test"
            yield Step("session", False, f"it broke: {_words(error)}", remedy)
        finally:
            self._close()

    def _connected(self) -> Iterator[Step]:
        try:
            smtp = self._open()
        except (OSError, smtplib.SMTPException) as error:
            remedy = "see that a firewall lets us out to this port, and that the server runs"
            yield Step("connection", False, f"{self._host}:{self._port}: {_words(error)}", remedy)
            return
        yield Step("connection", True, f"{self._host}:{self._port} answers")
        if not smtp.has_extn("starttls"):
            yield Step("STARTTLS", False, "it is not offered", "nothing is sent in clear: ask its operator")
            return
        yield Step("STARTTLS", True, "it is offered")
        yield from self._secured(smtp)

    def _open(self) -> smtplib.SMTP:
        smtp = self._smtp = smtplib.SMTP(
            self._host, self._port, local_hostname=self._config.operator.hostname, timeout=_TIMEOUT_S
        )
        smtp.ehlo()
        return smtp

    def _secured(self, smtp: smtplib.SMTP) -> Iterator[Step]:
        try:
            code, said = smtp.starttls(context=mx_client_context(self._config))
        except OSError as error:
            yield from self._refused(error)
            return
        if code != _READY:
            yield Step("STARTTLS", False, f"{code} {_printed(said)}", "nothing is sent in clear: ask its operator")
            return
        end: Any = smtp.sock
        yield Step("TLS", True, f"{end.version()}, {end.cipher()[0]}")
        yield Step("chain", True, "it leads to an authority of [tls] ca_file, and every date holds")
        yield Step("host name", True, f"the certificate names {self._host}")
        yield from self._certificate(end.getpeercert(binary_form=True))
        yield from self._welcomed(smtp)

    def _refused(self, error: OSError) -> Iterator[Step]:
        """Explain a handshake that failed, by looking at the certificate without judging it."""
        reason = why_not(error)
        self._close()
        try:
            smtp = self._open()
            smtp.starttls(context=inspecting_context(self._config))
            der: bytes | None = smtp.sock.getpeercert(True)  # type: ignore[union-attr]
        except (OSError, smtplib.SMTPException) as failure:
            remedy = "it speaks no TLS 1.2 with the four suites of the référentiel, nor TLS 1.3: ask its operator"
            yield Step("TLS", False, why_not(failure), remedy)
            return
        yield Step("handshake", False, reason, _remedy_for(reason, self._host))
        if der:
            yield self._dates(x509.load_der_x509_certificate(der))
            yield self._pinned(x509.load_der_x509_certificate(der))

    def _close(self) -> None:
        if self._smtp is not None:
            with suppress(OSError, smtplib.SMTPException):
                self._smtp.quit()
            self._smtp.close()

    def _dates(self, leaf: x509.Certificate) -> Step:
        begins, ends = leaf.not_valid_before_utc, leaf.not_valid_after_utc
        text = f"from {begins:%Y-%m-%d} to {ends:%Y-%m-%d}"
        return Step("dates", begins <= self._now <= ends, text, "its operator must renew it; check our clock, too")

    def _pinned(self, leaf: x509.Certificate) -> Step:
        subject = dn_of(leaf)
        if subject in self._listed.subjects_of(self._name):
            return Step("subject", True, f"{written_dn(subject)}, listed for {self._name}")
        others = self._listed.domains_of(subject)
        where = f"listed for {len(others)} other domains only" if others else "listed for no domain"
        wanted = "; ".join(sorted(map(written_dn, self._listed.subjects_of(self._name)))) or "none"
        return Step("subject", False, f"{written_dn(subject)}, {where}", f"the list wants {wanted}: letters wait")

    def _certificate(self, der: bytes) -> Iterator[Step]:
        leaf = x509.load_der_x509_certificate(der)
        yield self._dates(leaf)
        yield self._pinned(leaf)
        try:
            material = TlsMaterial(self._config)
            peer = material.peer(der, ip=self._host, now=self._now)
        except MssError as error:
            yield Step("revocation lists", False, str(error), "see mss check")
            return
        yield _by_lists(peer)
        yield _by_responder(material, peer, leaf, self._now)

    def _welcomed(self, smtp: smtplib.SMTP) -> Iterator[Step]:
        """Ask whether they would let us speak: that is their trust list's word on our certificate."""
        code, said = smtp.ehlo()
        if code >= 300:
            yield Step(
                "our certificate", False, f"{code} {_printed(said)}", "ask its operator what it holds against it"
            )
            return
        names = sorted(set(smtp.esmtp_features) & {"size", "8bitmime", "smtputf8", "dsn", "pipelining", "requiretls"})
        yield Step("extensions", True, ", ".join(names).upper() or "none")
        own = self._config.domains[0].name
        code, said = smtp.mail(f"postmaster@{own}")
        remedy = f"its operator must read the trust list that names our certificate for {own}; see mss check"
        yield Step("our certificate", code < 300, f"MAIL FROM for {own}: {code} {_printed(said)}", remedy)


def _by_lists(peer: Peer) -> Step:
    texts = {
        "good": "not revoked",
        "revoked": "the certificate is revoked",
        "stale": "our list is past its date and its grace",
        "unknown": "no usable list covers the chain",
    }
    remedy = "its operator needs another certificate" if peer.revocation == "revoked" else "renew our lists: mss check"
    return Step("revocation lists", peer.revocation == "good", texts.get(peer.revocation, peer.revocation), remedy)


def _by_responder(material: TlsMaterial, peer: Peer, leaf: x509.Certificate, now: datetime) -> Step:
    url = ocsp.responder_of(leaf)
    if url is None:
        return Step("responder (OCSP)", True, "the certificate names none")
    answer = asyncio.run(material.ask_responder(peer, now))
    if answer is None:
        return Step("responder (OCSP)", False, f"{url} gives no answer that counts", "see [tls] ocsp and the network")
    text = f"{url} says {answer.status}, until {answer.until:%Y-%m-%d %H:%M}Z"
    return Step("responder (OCSP)", answer.status == "good", text, "its operator needs another certificate")


def _remedy_for(reason: str, host: str) -> str:
    lowered = reason.lower()
    if "mismatch" in lowered:
        return f"its certificate must name {host}, as the MX record or the route does"
    if "expired" in lowered or "not yet valid" in lowered:
        return "its operator must renew the certificate; check our clock, too"
    if "self-signed" in lowered or "self signed" in lowered or "issuer" in lowered:
        return "it must come from an authority of [tls] ca_file (IGC-Santé)"
    return "ask its operator, with the time of this test"


def _words(error: Exception) -> str:
    text = getattr(error, "strerror", None) or why_not(error)
    return _printed(str(text).encode())


def _printed(said: bytes) -> str:
    return " ".join(said.decode("ascii", "replace").split())[:_WORDS_MAX]
