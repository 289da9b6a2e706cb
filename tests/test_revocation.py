"""What the revocation lists say of a peer, which lists count, and how they age."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from mss import pki, tls
from mss import revocation as lists
from mss.errors import Malformed, Unavailable
from mss.revocation import Revocation
from tests.certs.world import HOSPITAL, HOUR, NOW, World, judged, make_world, revocation_of


@pytest.fixture
def world(tmp_path: Path) -> World:
    return make_world(tmp_path)


# Revocation


def test_a_revoked_leaf_is_revoked_and_others_are_good(world: World) -> None:
    pki.revoke(world.authority, world.root / "gip" / "operator.pem", now=NOW)
    revocation = revocation_of(world)
    assert judged(world, "gip", revocation) == "revoked"
    assert judged(world, "chu", revocation) == "good"
    assert judged(world, "gip", revocation) == "revoked"  # From memory.


def test_a_revoked_intermediate_takes_its_leaves_along(world: World) -> None:
    root_key = serialization.load_pem_private_key((world.authority.directory / "root.key").read_bytes(), None)
    assert isinstance(root_key, ec.EllipticCurvePrivateKey)
    intermediate, root = x509.load_pem_x509_certificates(world.authority.ca_file.read_bytes())
    own = [crl for crl in lists._parse_lists(world.authority.crl_file.read_bytes()) if crl.issuer != root.subject]
    revoking = signed_list(root_key, root.subject, number=9, revoked=(intermediate.serial_number,))
    revocation, problems = load(world, [*own, revoking])
    assert problems == []
    assert judged(world, "chu", revocation) == "revoked"


@pytest.mark.parametrize(
    ("after", "verdict"),
    [
        pytest.param(timedelta(days=2), "good", id="until nextUpdate"),
        pytest.param(timedelta(days=2) + HOUR, "good", id="until the grace ends"),
        pytest.param(timedelta(days=2) + HOUR + timedelta(seconds=1), "stale", id="after the grace"),
        pytest.param(timedelta(hours=-1, seconds=-1), "unknown", id="before the list begins"),
    ],
)
def test_lists_age(world: World, after: timedelta, verdict: str) -> None:
    now = NOW.replace(microsecond=0)
    pki.issue(world.root / "old", world.authority, HOSPITAL, [], now=now - timedelta(days=1))
    # The authorities begin an hour before NOW: their leaves cannot be judged earlier, so the list begins later.
    pki.make_crl(world.authority, now=now + 5 * HOUR, days=2)
    revocation = revocation_of(world)
    at = now + 5 * HOUR + after
    assert judged(world, "old", revocation, at) == verdict


def test_a_stale_list_still_revokes(world: World) -> None:
    pki.revoke(world.authority, world.root / "gip" / "operator.pem", now=NOW, days=1)
    assert judged(world, "gip", revocation_of(world), NOW + timedelta(days=30)) == "revoked"


def test_without_a_list_nothing_is_known(world: World) -> None:
    revocation, problems = Revocation.load(world.authority.ca_file, [], HOUR)
    assert problems == []
    assert revocation.next_update is None
    assert judged(world, "chu", revocation) == "unknown"


def test_without_the_root_s_list_nothing_is_known(world: World) -> None:
    intermediate, _ = x509.load_pem_x509_certificates(world.authority.ca_file.read_bytes())
    known = lists._parse_lists(world.authority.crl_file.read_bytes())
    revocation, _ = load(world, [crl for crl in known if crl.issuer == intermediate.subject])
    assert judged(world, "chu", revocation) == "unknown"


def test_dates_of_a_leaf(world: World) -> None:
    with pytest.raises(Malformed, match="outside its dates"):
        judged(world, "expired", revocation_of(world))
    with pytest.raises(Malformed, match="outside its dates"):
        judged(world, "chu", revocation_of(world), NOW - 2 * HOUR)


def test_a_stranger_s_leaf_without_a_handshake_is_no_peer(world: World) -> None:
    with pytest.raises(Unavailable, match="ca_file"):
        judged(world, "rogue", revocation_of(world))


@pytest.mark.parametrize("octets", [b"", b"\x30\x03\x02\x01\x00", b"garbage"])
def test_a_certificate_that_cannot_be_read_is_malformed(world: World, octets: bytes) -> None:
    with pytest.raises(Malformed):
        tls.peer_of(octets, revocation_of(world), ip="::1", now=NOW)


def test_verdicts_are_remembered_up_to_a_limit(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lists, "_LEAVES_MAX", 2)
    revocation = revocation_of(world)
    pki.issue(world.root / "third", world.authority, HOSPITAL, [], now=NOW)
    sizes = []
    for name in ("chu", "gip", "chu", "third"):
        assert judged(world, name, revocation) == "good"
        sizes.append(len(revocation._found))
    assert sizes == [1, 2, 2, 1]


# Lists that do not count


def signed_list(
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey,
    issuer: x509.Name,
    *,
    number: int | None = 1,
    revoked: tuple[int, ...] = (),
    extra: x509.ExtensionType | None = None,
    at: datetime = NOW,
) -> x509.CertificateRevocationList:
    builder = x509.CertificateRevocationListBuilder().issuer_name(issuer)
    builder = builder.last_update(at - HOUR).next_update(at + timedelta(days=7))
    if number is not None:
        builder = builder.add_extension(x509.CRLNumber(number), critical=False)
    if extra is not None:
        builder = builder.add_extension(extra, critical=True)
    for serial in revoked:
        entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(NOW).build()
        builder = builder.add_revoked_certificate(entry)
    return builder.sign(key, hashes.SHA256())


def load(
    world: World, crls: list[x509.CertificateRevocationList], kept: Revocation | None = None
) -> tuple[Revocation, list[str]]:
    path = world.root / "given.crl"
    path.write_bytes(b"".join(crl.public_bytes(serialization.Encoding.PEM) for crl in crls))
    return Revocation.load(world.authority.ca_file, [path], HOUR, kept=kept)


def intermediate_of(world: World) -> tuple[ec.EllipticCurvePrivateKey, x509.Name]:
    key = serialization.load_pem_private_key((world.authority.directory / "intermediate.key").read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    certificate = x509.load_pem_x509_certificate((world.authority.directory / "intermediate.pem").read_bytes())
    return key, certificate.subject


def test_a_list_with_a_stranger_s_signature_does_not_count(world: World) -> None:
    _, name = intermediate_of(world)
    forged = signed_list(ec.generate_private_key(ec.SECP256R1()), name, number=99)
    revocation, problems = load(world, [forged], revocation_of(world))
    assert problems == ["a revocation list is signed by no authority of ca_file"]
    assert forged not in revocation.crls.values()
    assert judged(world, "chu", revocation) == "good"


def test_a_delta_list_does_not_count(world: World) -> None:
    key, name = intermediate_of(world)
    delta = signed_list(key, name, number=99, extra=x509.DeltaCRLIndicator(1))
    revocation, problems = load(world, [delta], revocation_of(world))
    assert problems == ["a revocation list is a delta: complete lists are needed"]
    assert judged(world, "chu", revocation) == "good"


def test_an_older_list_does_not_replace_a_newer(world: World) -> None:
    leaf = world.root / "gip" / "operator.pem"
    before = world.authority.crl_file.read_bytes()
    pki.revoke(world.authority, leaf, now=NOW)
    kept = revocation_of(world)
    world.authority.crl_file.write_bytes(before)
    revocation, problems = Revocation.load(world.authority.ca_file, [world.authority.crl_file], HOUR, kept=kept)
    assert problems == ["a revocation list is older than the one in use"] * 2
    assert judged(world, "gip", revocation) == "revoked"


def test_lists_without_a_number_are_compared_by_date(world: World) -> None:
    key, name = intermediate_of(world)
    old, new = (signed_list(key, name, number=None, at=NOW + shift) for shift in (timedelta(0), HOUR))
    assert load(world, [new], load(world, [old])[0])[1] == []
    assert load(world, [old], load(world, [new])[0])[1] == ["a revocation list is older than the one in use"]


def test_a_list_for_some_certificates_only_leaves_the_whole_one_in_place(world: World) -> None:
    key, name = intermediate_of(world)
    scope = x509.IssuingDistributionPoint(
        full_name=None, relative_name=None, only_contains_user_certs=False, only_contains_ca_certs=True,
        only_some_reasons=None, indirect_crl=False, only_contains_attribute_certs=False,
    )  # fmt: skip
    revocation, problems = load(world, [signed_list(key, name, number=99, extra=scope)], revocation_of(world))
    assert problems == []
    assert len(revocation.crls) == 3
    assert judged(world, "chu", revocation) == "good"


def test_lists_may_be_der(world: World) -> None:
    paths = []
    for number, crl in enumerate(lists._parse_lists(world.authority.crl_file.read_bytes())):
        paths.append(world.root / f"{number}.crl")
        paths[-1].write_bytes(crl.public_bytes(serialization.Encoding.DER))
    revocation, problems = Revocation.load(world.authority.ca_file, paths, HOUR)
    assert problems == []
    assert judged(world, "chu", revocation) == "good"


@pytest.mark.parametrize("octets", [b"", b"\x30\x00", b"-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n"])
def test_a_list_that_cannot_be_read_is_said_and_the_last_good_one_stays(world: World, octets: bytes) -> None:
    path = world.root / "bad.crl"
    path.write_bytes(octets)
    revocation, problems = Revocation.load(world.authority.ca_file, [path], HOUR, kept=revocation_of(world))
    assert problems == [f"{path} holds no revocation list that can be read"]
    assert judged(world, "chu", revocation) == "good"


def test_a_missing_list_is_said(world: World) -> None:
    path = world.root / "absent.crl"
    _, problems = Revocation.load(world.authority.ca_file, [path], HOUR)
    assert problems == [f"cannot read the revocation list {path}: No such file or directory"]


def test_the_next_update_is_the_first_of_the_lists(world: World) -> None:
    pki.make_crl(world.authority, now=NOW, days=3)
    assert revocation_of(world).next_update == NOW.replace(microsecond=0) + timedelta(days=3)
