"""Bad certificates, lost domains, bad lists and a wrong clock, brought to a running server; reload while it runs.

Each has a stated answer, a record in the journal with its rule, and nothing is lost: the next good letter arrives.
"""

from __future__ import annotations

import signal
import smtplib
import ssl
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from demo.clients import context
from demo.house import HOSPITAL, REGION
from mss import pki
from mss.clock import system_clock
from mss.directory.refresh import read_trust_list
from mss.model.audit import AuditRecord
from mss.services import operators
from mss.store.store import Store
from mss.tls import dn_of
from tests.certs.responder import Responder, leaf_of
from tests.journeys.keeping import kept
from tests.journeys.sites import (
    DOCTOR,
    OTHER_OPERATOR,
    PATIENCE_S,
    Certificate,
    Site,
    figures,
    hand_over,
    letter,
    new_id,
)
from tests.support.web import Web, web

pytestmark = [pytest.mark.journey, pytest.mark.slow]

NewHospital = Callable[[], Site]
NOW = system_clock()


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A hospital whose files these tests damage and mend again."""
    with kept(tmp_path_factory.mktemp("house")) as site:
        site.set("[smtp]", "ocsp_timeout_s = 1\n\n[smtp]")
        site.start()
        yield site


def subject_of(domain: str) -> list[tuple[str, str]]:
    return [("C", "FR"), ("ST", "Paris (75)"), ("O", domain.upper()), ("OU", "318"), ("CN", f"mx.{domain}")]


def look_now(site: Site) -> int:
    """Ask the server to look at its files at once; returns how many lines its log had."""
    since = len(site.log.lines())
    assert site.operator.process is not None
    site.operator.process.send_signal(signal.SIGHUP)
    return since


def reload_files(site: Site) -> None:
    site.until_logged("certificates.reloaded", since=look_now(site))


def journal(site: Site, action: str, rule: str = "") -> list[AuditRecord]:
    """Return the records of an action, newest first; only those with a rule when given."""

    async def read(store: Store) -> list[AuditRecord]:
        found: tuple[AuditRecord, ...] = await store.read(lambda uow: uow.journal.newest(200, action))
        return [one for one in found if rule in ("", one.event.rule)]

    return site.operator.with_store(read)


def delivered(site: Site, client: smtplib.SMTP) -> None:
    """Bring a letter on an open connection and find it in the mailbox."""
    message_id = new_id()
    code, text = hand_over(client, letter(message_id))
    assert code == 250, text
    assert site.count(message_id) == 1


def mail(client: smtplib.SMTP, sender: str = DOCTOR) -> str:
    code, text = client.mail(sender)
    return f"{code} {text.decode()}"


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.1)


# Certificates that end in a TLS alert


def self_signed(folder: Path) -> Certificate:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"mx.{REGION}")])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = (
        builder.serial_number(1).not_valid_before(NOW - timedelta(days=1)).not_valid_after(NOW + timedelta(days=9))
    )
    folder.mkdir()
    chain, private = folder / "operator.pem", folder / "operator.key"
    chain.write_bytes(builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return chain, private


def bad_certificate(site: Site, folder: Path, kind: str) -> Certificate:
    match kind:
        case "expired":
            return pki.issue(folder, site.authority, subject_of(REGION), [f"mx.{REGION}"], now=NOW, days=-1)
        case "self-signed":
            return self_signed(folder)
        case _:
            foreign = pki.make_authority(folder / "authority", now=NOW, name="ETRANGERE")
            return pki.issue(folder, foreign, subject_of(REGION), [f"mx.{REGION}"], now=NOW)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize(
    ("kind", "alert", "reason"),
    [
        ("expired", "certificate expired", "certificate has expired"),
        ("self-signed", "unknown ca", "self-signed certificate"),
        ("wrong authority", "unknown ca", "unable to get local issuer certificate|self-signed certificate in"),
    ],
)
def test_a_bad_certificate_gets_an_alert_and_a_record_with_address_and_reason(
    hospital: Site, tmp_path: Path, version: ssl.TLSVersion, kind: str, alert: str, reason: str
) -> None:
    # An address of its own: the journal takes one failed handshake a minute from each.
    number = ("expired", "self-signed", "wrong authority").index(kind) * 2 + (version is ssl.TLSVersion.TLSv1_3)
    source = f"127.7.0.{number + 1}"
    tls = context(hospital.ca_file)
    tls.maximum_version = version
    tls.load_cert_chain(*bad_certificate(hospital, tmp_path / "bad", kind))
    client = smtplib.SMTP(source_address=(source, 0), timeout=PATIENCE_S)
    client.connect("127.0.0.1", hospital.port("mx"))
    client._host = "localhost"  # type: ignore[attr-defined]
    with pytest.raises(ssl.SSLError) as failed:
        shake_hands(client, tls)
    client.close()
    assert alert in str(failed.value).replace("_", " ").lower()
    until(lambda: bool(journal_of(hospital, source)))
    [record] = journal_of(hospital, source)
    assert (record.event.rule, record.event.decision, record.event.facts["ip"]) == ("peer.tls-failed", "reject", source)
    assert any(part in str(record.event.facts["reason"]) for part in reason.split("|"))
    with hospital.as_peer() as peer:
        delivered(hospital, peer)


def shake_hands(client: smtplib.SMTP, tls: ssl.SSLContext) -> None:
    """Shake hands until the server has looked at our certificate: in TLS 1.3 we hear of it with the next octets."""
    client.starttls(context=tls)
    assert client.sock is not None
    client.sock.recv(1)


def journal_of(site: Site, source: str) -> list[AuditRecord]:
    return [one for one in journal(site, "letter.refuse", "peer.tls-failed") if one.event.actor == f"ip:{source}"]


# Certificates that get an SMTP reply


def test_a_certificate_that_nobody_listed_is_told_so(hospital: Site, tmp_path: Path) -> None:
    domain = "inconnu-demo.mssante.fr"
    chain = pki.issue(tmp_path / "x", hospital.authority, subject_of(domain), [f"mx.{domain}"], now=NOW)
    with as_bearer(hospital, chain) as client:
        assert mail(client, f"a@{domain}").startswith("550 5.7.1 The trust list does not name your certificate")
        assert mail(client, DOCTOR).startswith("550 5.7.1 The trust list does not name your certificate")
    assert journal(hospital, "letter.refuse", "peer.not-listed")[0].event.actor == f"peer:mx.{domain}"


def test_a_certificate_listed_for_another_domain_is_told_so(hospital: Site) -> None:
    with hospital.as_peer(OTHER_OPERATOR) as client:
        assert mail(client).startswith("550 5.7.1 The trust list does not let your certificate speak for the domain")
        author = f"camille@{OTHER_OPERATOR}"
        code, text = hand_over(client, letter(new_id(), sender=DOCTOR), sender=author)
        assert (code, "for the domain in From" in text) == (550, True)
        assert hand_over(client, letter(new_id(), sender=author), sender=author)[0] == 250
    assert journal(hospital, "letter.refuse", "sender.foreign-domain")
    assert journal(hospital, "letter.refuse", "author.foreign-domain")


def as_bearer(site: Site, chain: Certificate) -> smtplib.SMTP:
    """Connect to the MX with a certificate."""
    tls = context(site.ca_file)
    tls.load_cert_chain(*chain)
    client = smtplib.SMTP("localhost", site.port("mx"), "mx.example", PATIENCE_S)
    client.starttls(context=tls)
    client.ehlo()
    return client


# While connections are open


@pytest.mark.parametrize("workers", [1, 2])
def test_a_certificate_is_revoked_and_ours_renewed_while_connections_are_open(
    new_hospital: NewHospital, workers: int
) -> None:
    site = new_hospital()
    site.start(workers=workers)
    with site.as_peer() as revoked, site.as_peer(OTHER_OPERATOR) as kept:
        delivered(site, revoked)
        before = shown(site)
        pki.revoke(site.authority, site.peers[REGION][0], now=system_clock())
        pki.publish(site.authority, site.operator.folder / "certs")
        pki.issue(
            site.operator.folder / "certs", site.authority, subject_of(HOSPITAL), [f"mx.{HOSPITAL}"], now=system_clock()
        )
        look_now(site)
        until(lambda: len(site.log.events("certificates.reloaded")) == workers)
        assert mail(revoked).startswith("550 5.7.1 Your client certificate is revoked")
        author = f"camille@{OTHER_OPERATOR}"
        assert hand_over(kept, letter(new_id(), sender=author), sender=author)[0] == 250
    assert shown(site) not in (before, None)
    [record] = journal(site, "letter.refuse", "peer.revoked")
    assert record.event.actor == f"peer:mx.{REGION}"


def test_a_bad_renewal_keeps_what_worked_and_raises_an_alarm(house: Site) -> None:
    site = house
    certs = site.operator.folder / "certs"
    before, good = shown(site), (certs / "operator.key").read_bytes()
    (certs / "operator.key").write_bytes(b"rubbish")
    (certs / "crl.pem").write_bytes(b"rubbish")
    line = site.until_logged("certificates.unusable", since=look_now(site))
    assert any("operator.key" in problem for problem in line["problems"])
    assert any("crl.pem" in problem for problem in line["problems"])
    assert shown(site) == before
    with site.as_peer() as client:
        delivered(site, client)
    assert "mss_certificate_problems 2.0" in figures(site.port("ops"))
    (certs / "operator.key").write_bytes(good)
    pki.publish(site.authority, certs)
    reload_files(site)
    assert "mss_certificate_problems 0.0" in figures(site.port("ops"))


def shown(site: Site) -> int | None:
    """Return the serial number of the certificate that the MX shows."""
    with site.as_peer(OTHER_OPERATOR) as client:
        end: Any = client.sock
        der = end.getpeercert(binary_form=True)
    return x509.load_der_x509_certificate(der).serial_number


def test_a_peer_that_lost_its_domain_an_hour_ago(house: Site) -> None:
    site = house
    owner = {domain: dn_of(leaf_of(chain)) for domain, (chain, _) in site.peers.items()}
    with site.as_peer() as client:
        delivered(site, client)
        # Its domain went to the other operator; it keeps another one, and its connection.
        mine, theirs = owner[REGION], owner[OTHER_OPERATOR]
        site.list_peers({REGION: theirs, OTHER_OPERATOR: theirs, "reste-demo.mssante.fr": mine})
        until(lambda: mail_and_forget(client).startswith("550"))
        assert mail(client).startswith("550 5.7.1 The trust list does not let your certificate speak for the domain")
        assert hand_over(client, letter(new_id()), sender=DOCTOR)[0] == 550
    with site.as_peer(OTHER_OPERATOR) as client:
        delivered(site, client)
    site.list_peers()
    assert journal(site, "letter.refuse", "sender.foreign-domain")[0].event.facts["domain"] == REGION


def mail_and_forget(client: smtplib.SMTP) -> str:
    said = mail(client)
    client.rset()
    return said


# Lists


def test_a_trust_list_cut_in_half_changes_nothing(house: Site) -> None:
    site = house
    whole = site.trust_list_file.read_bytes()
    site.trust_list_file.write_bytes(whole[: len(whole) // 2])
    line = site.until_logged("trust_list.refused", since=look_now(site))
    assert "closing tag" in line["reason"]
    with site.as_peer() as client:
        delivered(site, client)
    site.trust_list_file.write_bytes(whole)
    site.until_logged("trust_list.read", since=look_now(site))
    [record] = [one for one in journal(site, "trust-list.refuse") if "closing tag" in str(one.event.facts["reason"])]
    assert record.event.rule == "trust-list.refused"


def test_the_clock_set_back_defers_until_somebody_says_that_it_is_right(house: Site) -> None:
    site = house

    async def read_ahead(store: Store) -> None:
        """Make the list in use one that was read two hours from now, as it is when the clock goes back so far."""
        now = system_clock()
        listed = await store.read(operators.trust_list, now)
        assert listed is not None
        await store.write(operators.replace_trust_list, replace(listed, fetched_at=now + timedelta(hours=2)), now)

    async def say_it_is_right(store: Store) -> str:
        config, path = site.operator.config, site.trust_list_file
        return (await read_trust_list(store, config, system_clock, path, clock_is_right=True)).reason

    with site.as_peer() as client:
        delivered(site, client)
        site.operator.with_store(read_ahead)
        until(lambda: mail_and_forget(client).startswith("451"))
        assert mail_and_forget(client).startswith("451 4.3.5 Our clock is wrong")
        line = site.until_logged("trust_list.refused", since=look_now(site))
        assert "the clock went back" in line["reason"]
        assert site.operator.with_store(say_it_is_right) == ""
        until(lambda: mail_and_forget(client).startswith("250"))
        delivered(site, client)
    assert journal(site, "letter.refuse", "peer.clock-back")
    assert "the clock went back" in str(journal(site, "trust-list.refuse")[0].event.facts["reason"])


def test_revocation_lists_are_fetched_while_the_server_runs(new_hospital: NewHospital) -> None:
    site = new_hospital()
    with web() as served:
        site.set('crl_files = ["certs/crl.pem"]', f'crl_files = []\ncrl_urls = ["{served.url("/crl.pem")}"]')
        served.pages["/crl.pem"] = 503
        site.start()
        site.until_logged("revocation.list_not_fetched")
        with site.as_peer() as client:
            assert mail_and_forget(client).startswith("451 4.7.0 We cannot check now")
            served.pages["/crl.pem"] = site.authority.crl_file.read_bytes()
            reload_after_fetch(site)
            delivered(site, client)
            served.pages["/crl.pem"] = b"<html>come back later</html>"
            site.until_logged("revocation.list_not_fetched", since=look_now(site))
            delivered(site, client)
            pki.revoke(site.authority, site.peers[REGION][0], now=system_clock())
            served.pages["/crl.pem"] = site.authority.crl_file.read_bytes()
            reload_after_fetch(site)
            assert mail(client).startswith("550 5.7.1 Your client certificate is revoked")
    assert journal(site, "letter.refuse", "peer.revocation-unknown")


def reload_after_fetch(site: Site) -> None:
    """Look now, fetch included, and wait until what was fetched is in use."""
    since = look_now(site)
    site.until_logged("revocation.list_fetched", since=since, new=True)
    until(lambda: len(site.log.events("certificates.reloaded", since=since)) == 2)


def test_a_dead_responder_costs_one_wait_and_a_logged_pass(house: Site, tmp_path: Path) -> None:
    with web() as served:
        with asked_about(house, tmp_path, served) as client:
            delivered(house, client)
            house.until_logged("ocsp.soft_pass")
        assert served.count("/ocsp") == 1
    assert house.log.events("ocsp.no_answer")


def test_a_dead_responder_costs_a_deferral_when_it_is_required(new_hospital: NewHospital, tmp_path: Path) -> None:
    site = new_hospital()
    site.set("[smtp]", 'ocsp = "hard"\nocsp_timeout_s = 1\n\n[smtp]')
    site.start()
    with web() as served, asked_about(site, tmp_path, served) as client:
        assert mail(client).startswith("451 4.7.0 We cannot check now")
    assert journal(site, "letter.refuse", "peer.revocation-unknown")


def asked_about(site: Site, folder: Path, served: Web) -> smtplib.SMTP:
    """Connect as a peer whose certificate names a responder that never answers."""
    served.held.add("/ocsp")
    names = [f"mx.{REGION}"]
    chain = pki.issue(
        folder / "asked", site.authority, subject_of(REGION), names, now=NOW, ocsp_url=served.url("/ocsp")
    )
    began = time.monotonic()
    client = as_bearer(site, chain)
    assert time.monotonic() - began < PATIENCE_S / 2
    return client


def test_a_responder_that_says_no_is_heard(house: Site, tmp_path: Path) -> None:
    site = house
    with web() as served:
        chain = pki.issue(
            tmp_path / "asked", site.authority, subject_of(REGION), [f"mx.{REGION}"], now=NOW,
            ocsp_url=served.url("/ocsp"),
        )  # fmt: skip
        leaf = leaf_of(chain[0])
        served.pages["/ocsp"] = Responder(site.authority, [leaf], {leaf.serial_number}, clock=system_clock)
        with as_bearer(site, chain) as client:
            assert mail(client).startswith("550 5.7.1 Your client certificate is revoked")
    assert journal(site, "letter.refuse", "peer.revoked")
