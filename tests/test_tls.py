"""The contexts: who may shake hands with whom, in which suites; the name behind a certificate; pins.

Handshakes run between two memory buffers; those over loopback are journeys.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from datetime import UTC, timedelta
from pathlib import Path
from typing import Any

import pytest
import uvloop
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from mss import pki, tls
from mss.config import Config
from mss.errors import Malformed, Misconfigured
from mss.model.address import Domain
from mss.model.peer import DN, Peer, TrustList
from mss.revocation import Revocation
from mss.robots import fingerprint_of
from tests.certs.world import HOSPITAL, HOUR, NOW, REGION, World, handshake, leaf_der, make_world, revocation_of


@pytest.fixture
def world(tmp_path: Path) -> World:
    return make_world(tmp_path)


# Handshakes


def test_two_operators_meet_and_know_each_other(world: World) -> None:
    ends = handshake(tls.mx_server_context(world.config("chu")), tls.mx_client_context(world.config("gip")))
    seen = tls.peer_of(ends.server, revocation_of(world), ip="192.0.2.1", now=NOW)
    assert seen.subject == DN.parse("CN=mx.gip.example, OU=3183, O=GIP ESSAI, ST=Haute-Garonne (31), C=FR")
    assert (seen.common_name, seen.ip, seen.revocation) == ("mx.gip.example", "192.0.2.1", "good")
    met = tls.peer_of(ends.client, revocation_of(world), ip="192.0.2.2", now=NOW)
    assert met.subject == DN.of(HOSPITAL)
    leaf = x509.load_der_x509_certificate(leaf_der(world.root / "chu" / "operator.pem"))
    assert int(met.serial, 16) == leaf.serial_number
    assert ends.server.version() == "TLSv1.3"


@pytest.mark.parametrize(
    ("client", "authority", "reason"),
    [
        pytest.param("rogue", "authority", "UNKNOWN_CA|CERTIFICATE_VERIFY_FAILED", id="foreign authority"),
        pytest.param("expired", "authority", "CERTIFICATE_VERIFY_FAILED", id="expired"),
    ],
)
def test_the_mx_refuses_strangers_in_the_handshake(world: World, client: str, authority: str, reason: str) -> None:
    trusted = getattr(world, authority)
    with pytest.raises(ssl.SSLError, match=reason):
        handshake(
            tls.mx_server_context(world.config("chu")), tls.mx_client_context(world.config(client, authority=trusted))
        )


def test_the_mx_refuses_who_shows_no_certificate(world: World) -> None:
    bare = ssl.create_default_context(cafile=str(world.authority.ca_file))
    with pytest.raises(ssl.SSLError, match="PEER_DID_NOT_RETURN_A_CERTIFICATE"):
        handshake(tls.mx_server_context(world.config("chu")), bare)


@pytest.mark.parametrize(
    ("server", "name", "reason"),
    [
        pytest.param("rogue", "mx.chu.example", "unable to get local issuer|self.signed", id="foreign authority"),
        pytest.param("expired", "mx.gip.example", "certificate has expired", id="expired"),
        pytest.param("gip", "mx.chu.example", "Hostname mismatch", id="another name"),
    ],
)
def test_the_relay_refuses_strangers_in_the_handshake(world: World, server: str, name: str, reason: str) -> None:
    with pytest.raises(ssl.SSLCertVerificationError, match=reason):
        handshake(client_free(world.config(server)), tls.mx_client_context(world.config("chu")), name)


def client_free(config: Config) -> ssl.SSLContext:
    """A server's context that does not itself refuse, so that the client has the say."""
    return tls.client_facing_context(config)


def test_clients_are_asked_for_no_certificate(world: World) -> None:
    bare = ssl.create_default_context(cafile=str(world.authority.ca_file))
    ends = handshake(tls.client_facing_context(world.config("chu")), bare)
    assert ends.client.version() == "TLSv1.3"
    with pytest.raises(Malformed, match="no certificate"):
        tls.peer_of(ends.server, revocation_of(world), ip="192.0.2.1", now=NOW)


def test_the_client_facing_certificate_may_be_another(world: World) -> None:
    other = world.config(
        "chu",
        client_facing_certificate_file=world.root / "gip" / "operator.pem",
        client_facing_key_file=world.root / "gip" / "operator.key",
    )
    bare = ssl.create_default_context(cafile=str(world.authority.ca_file))
    ends = handshake(tls.client_facing_context(other), bare, "mx.gip.example")
    assert ends.client.getpeercert(binary_form=True) == leaf_der(world.root / "gip" / "operator.pem")


# Robots


def for_robots(world: World, **changes: Any) -> Config:
    """Return an operator whose robots' certificates come from the foreign authority."""
    foreign = world.foreign
    return world.config("chu", client_ca_file=foreign.ca_file, client_crl_files=(foreign.crl_file,), **changes)


def client_of(world: World, name: str) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(world.authority.ca_file))
    if name:
        context.load_cert_chain(world.root / name / "operator.pem", world.root / name / "operator.key")
    return context


def test_robots_may_show_a_certificate_and_others_need_none(world: World) -> None:
    config = for_robots(world)
    material = tls.TlsMaterial(config)
    robot = handshake(material.mail_clients, client_of(world, "rogue")).server
    leaf = x509.load_der_x509_certificate(leaf_der(world.root / "rogue" / "operator.pem"))
    shown = material.robots.shown(robot, NOW)
    assert shown is not None
    assert (shown.subject, shown.fingerprint) == (DN.of(HOSPITAL), fingerprint_of(leaf))
    assert shown.revocation == "good"
    assert material.robots.shown(handshake(material.mail_clients, client_of(world, "")).server, NOW) is None
    assert material.robots.shown(None, NOW) is None


@pytest.mark.parametrize("name", ["gip", "expired"])
def test_certificates_of_other_authorities_end_the_handshake(world: World, name: str) -> None:
    with pytest.raises(ssl.SSLError):
        handshake(tls.mail_client_context(for_robots(world)), client_of(world, name))


def test_browsers_are_not_asked_for_certificates_where_robots_are(world: World) -> None:
    material = tls.TlsMaterial(for_robots(world))
    assert material.client_facing.verify_mode is ssl.CERT_NONE
    assert material.mail_clients.verify_mode is ssl.CERT_OPTIONAL


def test_without_an_authority_for_robots_nobody_is_asked(world: World) -> None:
    material = tls.TlsMaterial(world.config("chu"))
    assert material.mail_clients.verify_mode is ssl.CERT_NONE
    assert material.robots.shown(handshake(material.mail_clients, client_of(world, "gip")).server, NOW) is None


def test_a_robot_s_certificate_may_end_while_its_session_is_resumed(world: World) -> None:
    material = tls.TlsMaterial(for_robots(world))
    robot = handshake(material.mail_clients, client_of(world, "rogue")).server
    with pytest.raises(Malformed):
        material.robots.shown(robot, NOW + timedelta(days=4000))


MAKERS = [tls.mx_server_context, tls.client_facing_context, tls.mail_client_context]


def tls12_client(world: World, suites: str) -> ssl.SSLContext:
    context = tls.mx_client_context(world.config("gip"))
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(suites)
    return context


@pytest.mark.parametrize("maker", MAKERS)
@pytest.mark.parametrize(
    "suite",
    [
        "ECDHE-ECDSA-AES256-GCM-SHA384",
        "ECDHE-ECDSA-AES128-GCM-SHA256",
        "ECDHE-ECDSA-AES256-SHA384",
        "ECDHE-ECDSA-AES128-SHA256",
    ],
)
def test_the_suites_of_tls_1_2_that_are_allowed(
    world: World, maker: Callable[[Config], ssl.SSLContext], suite: str
) -> None:
    cipher = handshake(maker(world.config("chu")), tls12_client(world, suite)).server.cipher()
    assert cipher is not None
    assert cipher[:2] == (suite, "TLSv1.2")


@pytest.mark.parametrize("maker", MAKERS)
@pytest.mark.parametrize("suite", ["ECDHE-ECDSA-CHACHA20-POLY1305", "ECDHE-ECDSA-AES256-SHA", "ECDHE-ECDSA-AES256-CCM"])
def test_other_suites_of_tls_1_2_are_refused(
    world: World, maker: Callable[[Config], ssl.SSLContext], suite: str
) -> None:
    with pytest.raises(ssl.SSLError, match="NO_SHARED_CIPHER"):
        handshake(maker(world.config("chu")), tls12_client(world, suite))


OF_THE_REFERENCE = {
    "ECDHE-RSA-AES256-GCM-SHA384": 0xC030,
    "ECDHE-RSA-AES128-GCM-SHA256": 0xC02F,
    "ECDHE-RSA-AES256-SHA384": 0xC028,
    "ECDHE-RSA-AES128-SHA256": 0xC027,
}


def every_suite(version: ssl.TLSVersion) -> list[str]:
    """All suites that a client of this machine can speak in one version, the weakest included."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.set_ciphers("ALL:COMPLEMENTOFALL:eNULL:@SECLEVEL=0")
    of_tls13 = version is ssl.TLSVersion.TLSv1_3
    return [one["name"] for one in context.get_ciphers() if (one["protocol"] == "TLSv1.3") is of_tls13]


@pytest.mark.parametrize("maker", MAKERS)
def test_what_a_client_may_negotiate_with_an_operator_of_igc_sante_is_counted(
    world: World, maker: Callable[[Config], ssl.SSLContext]
) -> None:
    pki.issue(world.root / "rsa", world.authority, HOSPITAL, ["mx.chu.example"], now=NOW, key_kind="rsa")
    server, offered = maker(world.config("rsa")), every_suite(ssl.TLSVersion.TLSv1_2)
    assert len(offered) > 100
    negotiated = set()
    for suite in offered:
        client = tls.mx_client_context(world.config("gip"))
        client.maximum_version = ssl.TLSVersion.TLSv1_2
        client.set_ciphers(f"{suite}:@SECLEVEL=0")
        try:
            cipher = handshake(server, client).server.cipher()
        except ssl.SSLError:
            continue
        assert cipher is not None
        negotiated.add(cipher[0])
    assert negotiated == set(OF_THE_REFERENCE)


@pytest.mark.parametrize("maker", MAKERS)
def test_tls_1_3_has_its_three_suites(world: World, maker: Callable[[Config], ssl.SSLContext]) -> None:
    suites = {one["name"] for one in maker(world.config("chu")).get_ciphers() if one["protocol"] == "TLSv1.3"}
    assert suites == {"TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256", "TLS_AES_128_GCM_SHA256"}
    assert (
        handshake(maker(world.config("chu")), tls.mx_client_context(world.config("gip"))).server.version() == "TLSv1.3"
    )


@pytest.mark.parametrize(("key_kind", "added"), [("rsa", set()), ("curve", {0xC02C, 0xC02B, 0xC024, 0xC023})])
@pytest.mark.parametrize("maker", [*MAKERS, tls.mx_client_context])
def test_exactly_the_suites_of_the_reference_and_for_curves_their_equivalents(
    world: World, maker: Callable[[Config], ssl.SSLContext], key_kind: Any, added: set[int]
) -> None:
    pki.issue(world.root / "own", world.authority, HOSPITAL, ["mx.chu.example"], now=NOW, key_kind=key_kind)
    ciphers = maker(world.config("own")).get_ciphers()
    offered = {int(cipher["id"]) & 0xFFFF for cipher in ciphers if cipher["protocol"] == "TLSv1.2"}
    assert offered == set(OF_THE_REFERENCE.values()) | added


@pytest.mark.parametrize("maker", MAKERS)
def test_tls_1_1_is_refused(world: World, maker: Callable[[Config], ssl.SSLContext]) -> None:
    old = ssl.create_default_context(cafile=str(world.authority.ca_file))
    old.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        old.minimum_version = ssl.TLSVersion.TLSv1_1
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        old.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(ssl.SSLError, match="UNSUPPORTED_PROTOCOL"):
        handshake(maker(world.config("chu")), old)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_sessions_resume_and_still_show_the_peer(world: World, version: ssl.TLSVersion) -> None:
    server, client = tls.mx_server_context(world.config("chu")), tls.mx_client_context(world.config("gip"))
    client.maximum_version = version
    first = handshake(server, client)
    first.finish()
    client.remember(first.client)
    second = handshake(server, client)
    assert (first.client.session_reused, second.client.session_reused) == (False, True)
    revocation = revocation_of(world)
    assert tls.peer_of(second.server, revocation, ip="::1", now=NOW).subject == DN.of(REGION)
    assert tls.peer_of(second.client, revocation, ip="::1", now=NOW).subject == DN.of(HOSPITAL)
    assert not handshake(tls.mx_server_context(world.config("gip")), client, "mx.gip.example").client.session_reused


def test_the_relay_remembers_so_many_sessions_at_most(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tls, "_SESSIONS_MAX", 1)
    server, client = tls.mx_server_context(world.config("chu")), tls.mx_client_context(world.config("gip"))
    for name in ("mx.chu.example", "localhost"):
        ends = handshake(server, client, name)
        ends.finish()
        client.remember(ends.client)
    assert handshake(server, client, "localhost").client.session_reused
    assert not handshake(server, client, "mx.chu.example").client.session_reused


def test_a_resumed_session_does_not_outlive_its_certificate_nor_its_revocation(world: World) -> None:
    server, client = tls.mx_server_context(world.config("chu")), tls.mx_client_context(world.config("gip"))
    first = handshake(server, client)
    first.finish()
    client.remember(first.client)
    pki.revoke(world.authority, world.root / "gip" / "operator.pem", now=NOW)
    second = handshake(server, client)
    assert second.client.session_reused
    assert tls.peer_of(second.server, revocation_of(world), ip="::1", now=NOW).revocation == "revoked"
    later = NOW + timedelta(days=pki.LEAF_DAYS + 1)
    with pytest.raises(Malformed, match="outside its dates"):
        tls.peer_of(second.server, revocation_of(world), ip="::1", now=later)


# Files that cannot be used


@pytest.mark.parametrize("maker", [*MAKERS, tls.mx_client_context])
def test_a_missing_certificate_is_said(world: World, maker: Callable[[Config], ssl.SSLContext]) -> None:
    with pytest.raises(Misconfigured, match=r"operator\.pem.*No such file"):
        maker(world.config("nowhere"))


def test_a_key_of_another_certificate_is_said(world: World) -> None:
    crossed = world.config("chu", key_file=world.root / "gip" / "operator.key")
    with pytest.raises(Misconfigured, match="KEY_VALUES_MISMATCH"):
        tls.mx_server_context(crossed)


def test_an_encrypted_key_is_refused_without_asking_the_terminal(world: World) -> None:
    path = world.root / "chu" / "operator.key"
    key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )
    with pytest.raises(Misconfigured, match=r"operator\.key"):
        tls.mx_server_context(world.config("chu"))


@pytest.mark.parametrize("maker", [tls.mx_server_context, tls.mx_client_context])
@pytest.mark.parametrize("octets", [None, b"", b"nothing of the kind"])
def test_authorities_that_cannot_be_read_are_said(
    world: World, maker: Callable[[Config], ssl.SSLContext], octets: bytes | None
) -> None:
    path = world.root / "bad-ca.pem"
    if octets is not None:
        path.write_bytes(octets)
    with pytest.raises(Misconfigured, match=r"bad-ca\.pem"):
        maker(world.config("chu", ca_file=path))
    with pytest.raises(Misconfigured, match=r"bad-ca\.pem"):
        Revocation.load(path, [], HOUR)


# Pins and names


def trust_list(**domains: list[list[tuple[str, str]]]) -> TrustList:
    listed = {
        Domain(name.replace("_", ".")): frozenset(DN.of(subject) for subject in subjects)
        for name, subjects in domains.items()
    }
    return TrustList(generated_at=NOW, domains=listed, fetched_at=NOW)


@pytest.mark.parametrize(
    ("domain", "verdict", "reason"),
    [
        ("chu.example", "good", None),
        ("both.example", "good", None),
        ("gip.example", "good", "peer-not-listed"),
        ("nowhere.example", "good", "peer-not-listed"),
        ("chu.example", "revoked", "peer-revocation-revoked"),
        ("chu.example", "unknown", "peer-revocation-unknown"),
        ("chu.example", "stale", "peer-revocation-stale"),
        ("gip.example", "revoked", "peer-not-listed"),
    ],
)
def test_a_letter_goes_only_to_who_is_listed_for_its_domain(domain: str, verdict: str, reason: str | None) -> None:
    listed = trust_list(chu_example=[HOSPITAL], gip_example=[REGION], both_example=[REGION, HOSPITAL])
    peer = Peer(DN.of(HOSPITAL), "mx.chu.example", "1", "::1", verdict)
    assert tls.pin(peer, Domain(domain), listed) == reason


@pytest.mark.parametrize(
    ("written", "same"),
    [
        ("CN=mx.chu.example,OU=1330000001,O=CHU ESSAI,ST=Gironde (33),C=FR", True),
        ("C=FR, ST=Gironde (33), O=CHU  ESSAI, OU=1330000001, CN=MX.chu.example", True),
        ("cn=mx.chu.example,ou=1330000001,o=chu essai,s=Gironde \\2833\\29,c=fr", True),
        ("CN=mx.chu.example,OU=1330000002,O=CHU ESSAI,ST=Gironde (33),C=FR", False),
        ("CN=mx.chu.example,OU=1330000001,O=CHU ESSAI,ST=Gironde (33)", False),
        ("CN=mx.chu.example,CN=mx.chu.example,OU=1330000001,O=CHU ESSAI,ST=Gironde (33),C=FR", False),
    ],
)
def test_the_name_in_a_certificate_compares_by_attribute(world: World, written: str, same: bool) -> None:
    peer = tls.peer_of(leaf_der(world.root / "chu" / "operator.pem"), revocation_of(world), ip="::1", now=NOW)
    assert (peer.subject == DN.parse(written)) is same


def test_a_certificate_with_several_attributes_in_one_rdn_compares_as_any_other() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    cn, ou, o = (
        x509.NameAttribute(kind, value)
        for kind, value in (
            (NameOID.COMMON_NAME, "mx"),
            (NameOID.ORGANIZATIONAL_UNIT_NAME, "318"),
            (NameOID.ORGANIZATION_NAME, "É"),
        )
    )
    joined = x509.Name([x509.RelativeDistinguishedName([cn, ou]), x509.RelativeDistinguishedName([o])])
    builder = x509.CertificateBuilder().subject_name(joined).issuer_name(joined).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(NOW).not_valid_after(NOW + timedelta(days=1))
    assert tls.dn_of(builder.sign(key, hashes.SHA256())) == DN.parse("O=é, OU=318, CN=MX")


def test_a_comma_inside_a_name_is_no_separator(world: World) -> None:
    tricky = [("C", "FR"), ("CN", "mx.evil.example,O=CHU ESSAI")]
    pki.issue(world.root / "tricky", world.authority, tricky, [], now=NOW)
    peer = tls.peer_of(leaf_der(world.root / "tricky" / "operator.pem"), revocation_of(world), ip="::1", now=NOW)
    assert peer.subject == DN.of(tricky)
    assert peer.subject != DN.parse("CN=mx.evil.example,O=CHU ESSAI,C=FR")


def test_when_a_certificate_ends(world: World) -> None:
    path = world.root / "chu" / "operator.pem"
    assert tls.certificate_expiry(path) == (NOW + timedelta(days=pki.LEAF_DAYS)).replace(microsecond=0)
    assert tls.certificate_expiry(path).tzinfo == UTC
    with pytest.raises(Misconfigured, match="no PEM certificate"):
        tls.certificate_expiry(world.root / "chu" / "operator.key")
    with pytest.raises(Misconfigured, match="cannot read"):
        tls.certificate_expiry(world.root / "absent.pem")


# Journeys


async def met_over_loopback(server_context: ssl.SSLContext, client_context: ssl.SSLContext) -> bytes:
    """Send a word through a server on loopback; return the certificate that the server saw."""
    seen: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.set_result(writer.get_extra_info("ssl_object").getpeercert(binary_form=True))
        writer.write(await reader.readline())
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=server_context)
    async with server:
        host, port = server.sockets[0].getsockname()[:2]
        reader, writer = await asyncio.open_connection(host, port, ssl=client_context, server_hostname="mx.chu.example")
        writer.write(b"word\n")
        try:
            answer = await reader.readline()
            if isinstance(client_context, tls.OutgoingContext):
                client_context.remember(writer.get_extra_info("ssl_object"))
        finally:
            writer.close()
    if answer != b"word\n":
        raise ConnectionResetError("nobody answered")
    return await seen


@pytest.mark.journey
@pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def test_operators_meet_over_loopback_and_resume(world: World, run: Callable[..., Any]) -> None:
    server, client = tls.mx_server_context(world.config("chu")), tls.mx_client_context(world.config("gip"))

    async def twice() -> list[bytes]:
        return [await met_over_loopback(server, client) for _ in range(2)]

    assert run(twice()) == [leaf_der(world.root / "gip" / "operator.pem")] * 2
    assert server.session_stats()["hits"] == 1


@pytest.mark.journey
@pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
@pytest.mark.parametrize("client", ["rogue", "expired", "nobody"])
def test_strangers_are_cut_off_over_loopback(world: World, run: Callable[..., Any], client: str) -> None:
    if client == "nobody":
        context = ssl.create_default_context(cafile=str(world.authority.ca_file))
    else:
        context = tls.mx_client_context(world.config(client))
    with pytest.raises((ssl.SSLError, ConnectionError)):
        run(met_over_loopback(tls.mx_server_context(world.config("chu")), context))
