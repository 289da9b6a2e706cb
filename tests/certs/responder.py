"""An OCSP responder of a development authority: says what a test wants, signed by whom the test wants."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from mss import pki
from tests.certs.world import HOUR, NOW

GOOD, REVOKED, UNKNOWN = ocsp.OCSPCertStatus.GOOD, ocsp.OCSPCertStatus.REVOKED, ocsp.OCSPCertStatus.UNKNOWN
Signer = tuple[x509.Certificate, ec.EllipticCurvePrivateKey]


def leaf_of(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificates(path.read_bytes())[0]


def signer_of(authority: pki.Authority, name: str = "intermediate") -> Signer:
    key = serialization.load_pem_private_key((authority.directory / f"{name}.key").read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return leaf_of(authority.directory / f"{name}.pem"), key


def named(issuer: Signer, *extensions: x509.ExtensionType, days: int = 30, now: datetime = NOW) -> Signer:
    """A responder that an issuer named."""
    key = ec.generate_private_key(ec.SECP256R1())
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "responder")]))
        .issuer_name(issuer[0].subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(min(now, now + timedelta(days=days)) - HOUR)
        .not_valid_after(now + timedelta(days=days))
    )
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    return builder.sign(issuer[1], hashes.SHA256()), key


FOR_OCSP = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.OCSP_SIGNING])
FOR_SERVERS = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])


def response(
    leaf: x509.Certificate,
    issuer: x509.Certificate,
    signer: Signer,
    status: ocsp.OCSPCertStatus = GOOD,
    *,
    begins: datetime = NOW - HOUR,
    ends: datetime | None = NOW + HOUR,
    certificates: Sequence[x509.Certificate] = (),
    name_hash: hashes.HashAlgorithm | None = None,
    signed_with: Any = None,
) -> bytes:
    builder = ocsp.OCSPResponseBuilder().add_response(
        leaf,
        issuer,
        name_hash or hashes.SHA1(),
        status,
        begins,
        ends,
        NOW - HOUR if status is REVOKED else None,
        None,
    )
    builder = builder.responder_id(ocsp.OCSPResponderEncoding.HASH, signer[0])
    if certificates:
        builder = builder.certificates(list(certificates))
    made = builder.sign(signer[1], signed_with or hashes.SHA256())
    return made.public_bytes(serialization.Encoding.DER)


@dataclass
class Responder:
    """Answers questions about any leaf of an authority; `revoked` holds serial numbers."""

    authority: pki.Authority
    leaves: list[x509.Certificate]
    revoked: set[int] = field(default_factory=set)
    lasts: timedelta | None = HOUR
    clock: Any = staticmethod(lambda: NOW)

    def __call__(self, question: bytes) -> bytes:
        asked = ocsp.load_der_ocsp_request(question)
        leaf = next(one for one in self.leaves if one.serial_number == asked.serial_number)
        signer = signer_of(self.authority)
        status = REVOKED if leaf.serial_number in self.revoked else GOOD
        now = self.clock()
        ends = now + self.lasts if self.lasts else None
        return response(leaf, signer[0], signer, status, begins=now - timedelta(minutes=1), ends=ends)
