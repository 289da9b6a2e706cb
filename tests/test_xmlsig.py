"""The signature of a list: only the named signer's, over the whole document, and only what was signed is read."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree
from signxml import methods
from signxml.algorithms import DigestAlgorithm, SignatureConstructionMethod, SignatureMethod
from signxml.signer import XMLSigner

from mss import xmlsig
from mss.directory import trustlist
from mss.errors import Malformed
from mss.model.address import Domain
from mss.model.peer import DN, TrustList
from tests.certs.world import NOW

CHU, GIP = DN.parse("CN=mx.chu.example,O=CHU,C=FR"), DN.parse("CN=mx.gip.example,O=GIP,C=FR")
LIST = trustlist.render(TrustList(NOW - timedelta(hours=1), {Domain("chu.mssante.fr"): frozenset({CHU})}, NOW))
EVIL = trustlist.render(TrustList(NOW - timedelta(hours=1), {Domain("chu.mssante.fr"): frozenset({GIP})}, NOW))


@dataclass(frozen=True)
class Signer:
    certificate: x509.Certificate
    key: Any

    def sign(self, octets: bytes, **more: Any) -> bytes:
        pem = self.certificate.public_bytes(serialization.Encoding.PEM).decode()
        private = self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        default = "ecdsa-sha256" if isinstance(self.key, ec.EllipticCurvePrivateKey) else "rsa-sha256"
        signer = XMLSigner(signature_algorithm=more.pop("signature_algorithm", default), **more)
        return bytes(etree.tostring(signer.sign(etree.fromstring(octets), key=private, cert=pem)))


def make_signer(kind: str = "rsa", *, begins: datetime = NOW - timedelta(days=1), days: int = 30) -> Signer:
    key: Any = rsa.generate_private_key(65537, 2048) if kind == "rsa" else ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "cachet")])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(7).not_valid_before(begins).not_valid_after(begins + timedelta(days=days))
    return Signer(builder.sign(key, hashes.SHA256()), key)


@pytest.fixture(scope="module")
def signer() -> Signer:
    return make_signer()


def read(octets: bytes, *signers: Signer, now: datetime = NOW) -> TrustList:
    certificates = [one.certificate for one in signers]
    return trustlist.parse(octets, fetched_at=now, max_octets=1_000_000, signers=certificates)


@pytest.mark.parametrize("kind", ["rsa", "curve"])
def test_a_list_of_the_named_signer_is_read(kind: str) -> None:
    own, next_one = make_signer(kind), make_signer(kind)
    assert read(own.sign(LIST), own).domains == {Domain("chu.mssante.fr"): {CHU}}
    assert read(own.sign(LIST), next_one, own).domains == {Domain("chu.mssante.fr"): {CHU}}


def test_without_a_named_signer_a_signature_is_passed_over(signer: Signer) -> None:
    assert read(signer.sign(LIST)).domains == read(LIST).domains


def refused(octets: bytes, *signers: Signer, now: datetime = NOW, reason: str = "not of a certificate") -> None:
    with pytest.raises(Malformed, match=f"the trust list is not signed as it must be: .*{reason}"):
        read(octets, *signers, now=now)


def test_an_unsigned_list_is_refused(signer: Signer) -> None:
    refused(LIST, signer)


def test_a_stranger_s_signature_is_refused(signer: Signer) -> None:
    refused(make_signer().sign(LIST), signer)


def test_a_changed_list_is_refused(signer: Signer) -> None:
    octets = signer.sign(LIST)
    assert octets.count(b"mx.chu.example") == 1
    refused(octets.replace(b"mx.chu.example", b"mx.gip.example"), signer)


@pytest.mark.parametrize(
    ("begins", "fine"), [(timedelta(0), True), (timedelta(seconds=1), False), (timedelta(days=-30, seconds=1), True),
                         (timedelta(days=-30, seconds=-1), False)],
)  # fmt: skip
def test_a_signer_has_dates(begins: timedelta, fine: bool) -> None:
    now = NOW.replace(microsecond=0)
    own = make_signer(begins=now + begins)
    if fine:
        assert len(read(own.sign(LIST), own, now=now).domains) == 1
    else:
        refused(own.sign(LIST), own, now=now, reason="outside its dates")


def detached(signer: Signer) -> bytes:
    """A signature that holds the honest list, inside a document that says something else."""
    honest = signer.sign(LIST)
    signature = re.search(rb"<ds:Signature.*</ds:Signature>", honest, re.DOTALL)
    assert signature
    return EVIL.replace(b"</ListeBlancheMSSante>", signature.group() + b"</ListeBlancheMSSante>")


def wrapped(signer: Signer) -> bytes:
    """The honest, signed list inside another element, beside entries that nobody signed."""
    honest = signer.sign(LIST).split(b"?>", 1)[-1]
    return EVIL.replace(b"</ListeDomaines>", b"</ListeDomaines><Autre>" + honest + b"</Autre>")


def enveloping(signer: Signer) -> bytes:
    """A signature around the honest list, whose root is the signature."""
    return signer.sign(LIST, method=methods.enveloping)


def by_id(signer: Signer) -> bytes:
    """A signature about one entry only."""
    tree = etree.fromstring(EVIL)
    entry = tree.find(".//{*}Domaine")
    assert entry is not None
    entry.set("Id", "one")
    pem = signer.certificate.public_bytes(serialization.Encoding.PEM).decode()
    private = signer.key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return bytes(etree.tostring(XMLSigner().sign(tree, key=private, cert=pem, reference_uri="#one")))


@pytest.mark.parametrize("make", [detached, wrapped, enveloping, by_id])
def test_a_signature_about_something_else_is_refused(signer: Signer, make: Callable[[Signer], bytes]) -> None:
    octets = make(signer)
    with pytest.raises(Malformed):
        read(octets, signer)


def test_two_lists_in_one_are_refused(signer: Signer) -> None:
    twice = signer.sign(LIST).replace(b"</ListeDomaines>", b"</ListeDomaines><ListeDomaines/>", 1)
    with pytest.raises(Malformed):
        read(twice, signer)


def test_comments_cannot_cut_a_signed_text(signer: Signer) -> None:
    octets = signer.sign(LIST)
    commented = octets.replace(b"mx.chu.example", b"mx.chu<!-- x -->.example")
    assert read(commented, signer).domains == {Domain("chu.mssante.fr"): {CHU}}


def test_only_sound_methods_count() -> None:
    names = {method.name for method in xmlsig._METHODS}
    assert not [name for name in names if "SHA1" in name or "HMAC" in name or name.startswith("DSA_")]
    assert {one.name for one in xmlsig._DIGESTS} == {"SHA256", "SHA384", "SHA512"}


@pytest.mark.parametrize(
    ("more", "fine"),
    [
        ({"signature_algorithm": SignatureMethod.RSA_SHA512, "digest_algorithm": DigestAlgorithm.SHA512}, True),
        ({"signature_algorithm": SignatureMethod.SHA256_RSA_MGF1}, True),
        ({"signature_algorithm": SignatureMethod.RSA_SHA224}, False),
        ({"digest_algorithm": DigestAlgorithm.SHA224}, False),
    ],
)
def test_methods(signer: Signer, more: dict[str, Any], fine: bool) -> None:
    octets = signer.sign(LIST, **more)
    if fine:
        assert len(read(octets, signer).domains) == 1
    else:
        refused(octets, signer)


@pytest.fixture(scope="module")
def signed_once(signer: Signer) -> bytes:
    return signer.sign(LIST)


@given(place=st.integers(0, 10_000), octets=st.binary(max_size=4))
def test_a_damaged_list_is_malformed_or_the_same(signer: Signer, signed_once: bytes, place: int, octets: bytes) -> None:
    whole = signed_once
    at = place % len(whole)
    try:
        found = read(whole[:at] + octets + whole[at + len(octets) :], signer)
    except Malformed:
        return
    assert found.domains == {Domain("chu.mssante.fr"): {CHU}}


def test_the_namespace_of_signatures() -> None:
    assert SignatureConstructionMethod.enveloped.value.startswith(xmlsig.NAMESPACE)
    assert Path(xmlsig.__file__).name == "xmlsig.py"
