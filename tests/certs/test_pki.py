"""The development PKI makes what IGC-Santé's looks like, and OpenSSL agrees."""

from __future__ import annotations

import importlib.util
import stat
import subprocess
from datetime import timedelta
from pathlib import Path
from types import ModuleType

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from mss import pki
from mss.clock import system_clock
from mss.errors import Misconfigured

NOW = system_clock()
SUBJECT = [
    ("C", "FR"),
    ("ST", "Bouches-du-Rhône (13)"),
    ("O", "GIP ESSAI"),
    ("OU", "318310021300028"),
    ("CN", "mx.hopital.mssante.fr"),
]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> pki.Authority:
    return pki.make_authority(tmp_path_factory.mktemp("authority"), now=NOW)


def certificates(path: Path) -> list[x509.Certificate]:
    return x509.load_pem_x509_certificates(path.read_bytes())


def lists(authority: pki.Authority) -> dict[x509.Name, x509.CertificateRevocationList]:
    blocks = authority.crl_file.read_bytes().split(b"-----END X509 CRL-----\n")[:-1]
    return {
        crl.issuer: crl for crl in (x509.load_pem_x509_crl(block + b"-----END X509 CRL-----\n") for block in blocks)
    }


def openssl(*arguments: str | Path) -> str:
    done = subprocess.run(["openssl", *map(str, arguments)], capture_output=True, text=True, check=False, timeout=20)
    return done.stdout + done.stderr


def test_three_levels_with_the_names_of_the_field(authority: pki.Authority) -> None:
    intermediate, root = certificates(authority.ca_file)
    assert root.subject == root.issuer == intermediate.issuer
    assert "AC RACINE MSS DEVELOPPEMENT" in root.subject.rfc4514_string()
    assert "AC MSS DEVELOPPEMENT ORGANISATIONS" in intermediate.subject.rfc4514_string()
    assert root.extensions.get_extension_for_class(x509.BasicConstraints).value.path_length == 1
    assert intermediate.extensions.get_extension_for_class(x509.BasicConstraints).value.path_length == 0


def test_a_leaf_serves_and_calls_under_its_names(authority: pki.Authority, tmp_path: Path) -> None:
    chain, _ = pki.issue(tmp_path, authority, SUBJECT, ["mx.hopital.mssante.fr", "10.1.2.3"], now=NOW)
    leaf, intermediate = certificates(chain)
    assert [(a.rfc4514_attribute_name, a.value) for a in leaf.subject] == SUBJECT
    assert intermediate == certificates(authority.ca_file)[0]
    assert isinstance(leaf.public_key(), ec.EllipticCurvePublicKey)
    uses = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert set(uses) == {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH}
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["mx.hopital.mssante.fr", "localhost"]
    assert [str(ip) for ip in names.get_values_for_type(x509.IPAddress)] == ["10.1.2.3", "127.0.0.1"]
    with pytest.raises(x509.ExtensionNotFound):
        leaf.extensions.get_extension_for_class(x509.CRLDistributionPoints)


def test_openssl_finds_the_chain_strictly_right(authority: pki.Authority, tmp_path: Path) -> None:
    chain, _ = pki.issue(tmp_path, authority, dict(SUBJECT), ["mx.hopital.mssante.fr"], now=NOW)
    for purpose in ("sslserver", "sslclient"):
        said = openssl(
            "verify", "-x509_strict", "-crl_check_all", "-purpose", purpose, "-CRLfile", authority.crl_file,
            "-CAfile", authority.ca_file, chain,
        )  # fmt: skip
        assert said.strip().endswith("OK"), said


def test_keys_are_for_their_owner_alone(authority: pki.Authority, tmp_path: Path) -> None:
    _, key = pki.issue(tmp_path, authority, SUBJECT, [], now=NOW)
    for path in (key, authority.directory / "root.key", authority.directory / "intermediate.key"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not list(tmp_path.glob(".*"))


def test_revoking_adds_to_the_list_and_keeps_what_it_held(authority: pki.Authority, tmp_path: Path) -> None:
    issuer = certificates(authority.ca_file)[0].subject
    first, _ = pki.issue(tmp_path, authority, SUBJECT, [], now=NOW, name="first")
    second, _ = pki.issue(tmp_path, authority, SUBJECT, [], now=NOW, name="second")
    before = lists(authority)[issuer]
    for path in (first, second, first):
        pki.revoke(authority, path, now=NOW)
    after = lists(authority)[issuer]
    serials = {certificates(path)[0].serial_number for path in (first, second)}
    assert {entry.serial_number for entry in after} >= serials
    assert len(after) == len(before) + 2
    numbers = [crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number for crl in (before, after)]
    assert numbers[1] == numbers[0] + 3
    assert len(lists(authority)) == 2
    said = openssl("verify", "-crl_check_all", "-CRLfile", authority.crl_file, "-CAfile", authority.ca_file, first)
    assert "certificate revoked" in said


def test_a_stranger_s_leaf_cannot_be_revoked_here(authority: pki.Authority, tmp_path: Path) -> None:
    foreign = pki.make_authority(tmp_path / "foreign", now=NOW, name="ETRANGERE")
    chain, _ = pki.issue(tmp_path, foreign, SUBJECT, [], now=NOW)
    with pytest.raises(Misconfigured, match="was not issued by"):
        pki.revoke(authority, chain, now=NOW)


def test_an_expired_leaf_began_before_it_ended(authority: pki.Authority, tmp_path: Path) -> None:
    leaf = certificates(pki.issue(tmp_path, authority, SUBJECT, [], now=NOW, days=-2)[0])[0]
    assert leaf.not_valid_before_utc < leaf.not_valid_after_utc < NOW - timedelta(days=1)


def test_an_authority_is_never_overwritten(authority: pki.Authority) -> None:
    before = authority.ca_file.read_bytes()
    with pytest.raises(Misconfigured, match="already holds an authority"):
        pki.make_authority(authority.directory, now=NOW)
    assert authority.ca_file.read_bytes() == before


def test_an_authority_is_loaded_whole_or_not(authority: pki.Authority, tmp_path: Path) -> None:
    assert pki.load_authority(authority.directory) == authority
    pki.publish(authority, tmp_path)
    assert (tmp_path / "ca.pem").read_bytes() == authority.ca_file.read_bytes()
    assert (tmp_path / "crl.pem").read_bytes() == authority.crl_file.read_bytes()
    with pytest.raises(Misconfigured, match=r"root\.pem is missing"):
        pki.load_authority(tmp_path)


def test_an_unknown_attribute_of_the_subject_is_named(authority: pki.Authority, tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="not TITLE"):
        pki.issue(tmp_path, authority, {"TITLE": "x"}, [], now=NOW)


def make_script() -> ModuleType:
    path = Path(__file__).parents[2] / "certs" / "make.py"
    spec = importlib.util.spec_from_file_location("certs_make", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_script_makes_an_authority_once_and_a_leaf_each_time(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main = make_script().main
    assert main([str(tmp_path / "out"), "mx.a.example", "--name", "a"]) == 0
    assert main([str(tmp_path / "out"), "mx.b.example", "--name", "b"]) == 0
    leaves = [certificates(tmp_path / "out" / name / "operator.pem")[0] for name in "ab"]
    assert leaves[0].issuer == leaves[1].issuer
    assert str(tmp_path / "out" / "b" / "operator.key") in capsys.readouterr().out
    (tmp_path / "out" / "root.key").unlink()
    assert main([str(tmp_path / "out"), "mx.c.example"]) == 1
    assert "root.key is missing" in capsys.readouterr().err
