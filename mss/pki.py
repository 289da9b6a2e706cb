"""The development PKI: three levels like IGC-Santé's, revocation lists, leaves for operators (RFC 5280).

It does not belong in production, where IGC-Santé issues the certificates, and it checks nobody: `mss.tls` does.
Keys are ECDSA P-256 (a leaf may have RSA), unencrypted, readable by their owner alone, made where they are asked for
and never committed.

An authority is a folder: root.pem, root.key, intermediate.pem, intermediate.key, ca.pem (both certificates)
and crl.pem (both lists). The lists are also the authority's only memory of what it revoked.
"""

from __future__ import annotations

import ipaddress
import os
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID, NameOID

from mss.errors import Misconfigured

AUTHORITY_DAYS = 3650
LEAF_DAYS = 825
CRL_DAYS = 365
_BACKDATED = timedelta(hours=1)
_CRL_BLOCK = re.compile(rb"-----BEGIN X509 CRL-----.+?-----END X509 CRL-----\n?", re.DOTALL)
_OIDS = {
    "CN": NameOID.COMMON_NAME,
    "OU": NameOID.ORGANIZATIONAL_UNIT_NAME,
    "O": NameOID.ORGANIZATION_NAME,
    "ST": NameOID.STATE_OR_PROVINCE_NAME,
    "L": NameOID.LOCALITY_NAME,
    "C": NameOID.COUNTRY_NAME,
}

Subject = Mapping[str, str] | Sequence[tuple[str, str]]
_Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


@dataclass(frozen=True, slots=True)
class Authority:
    """A folder with a root, an intermediate and their revocation lists."""

    directory: Path

    @property
    def ca_file(self) -> Path:
        """Both certificates, for `[tls] ca_file`."""
        return self.directory / "ca.pem"

    @property
    def crl_file(self) -> Path:
        """Both revocation lists, for `[tls] crl_files`."""
        return self.directory / "crl.pem"


@dataclass(frozen=True, slots=True)
class _Issuer:
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey


def make_authority(directory: Path, *, now: datetime, name: str = "MSS DEVELOPPEMENT") -> Authority:
    """Make a root, an intermediate and two empty revocation lists; Misconfigured when one is there already."""
    if (directory / "root.pem").exists():
        raise Misconfigured(f"{directory} already holds an authority: remove the folder to make another")
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    root = _make_ca(directory, "root", f"AC RACINE {name}", name, now, None)
    intermediate = _make_ca(directory, "intermediate", f"AC {name} ORGANISATIONS", name, now, root)
    authority = Authority(directory)
    _write(authority.ca_file, _pem(intermediate.certificate) + _pem(root.certificate))
    make_crl(authority, now=now)
    return authority


def load_authority(directory: Path) -> Authority:
    """Return the authority of a folder; Misconfigured when a file is missing."""
    for name in ("root.pem", "root.key", "intermediate.pem", "intermediate.key", "ca.pem", "crl.pem"):
        if not (directory / name).is_file():
            raise Misconfigured(f"{directory} holds no complete authority: {name} is missing")
    return Authority(directory)


def issue(
    directory: Path,
    authority: Authority,
    subject: Subject,
    hostnames: Sequence[str],
    *,
    now: datetime,
    days: int = LEAF_DAYS,
    name: str = "operator",
    key_kind: Literal["curve", "rsa"] = "curve",
    crl_url: str = "",
    ocsp_url: str = "",
) -> tuple[Path, Path]:
    """Make a server and client leaf; return the paths of its chain (leaf, intermediate) and of its key.

    `subject` goes in the order given. `hostnames` may hold IP addresses; localhost and 127.0.0.1 are added.
    Negative `days` make a leaf that expired so many days ago. `crl_url` and `ocsp_url` are named in it when given.
    """
    issuer = _load(authority, "intermediate")
    key = rsa.generate_private_key(65537, 2048) if key_kind == "rsa" else ec.generate_private_key(ec.SECP256R1())
    end = now + timedelta(days=days)
    builder = _builder(_name(subject), issuer.certificate.subject, key, min(now, end) - _BACKDATED, end)
    for extension, critical in _leaf_extensions(issuer, key, hostnames):
        builder = builder.add_extension(extension, critical)
    for extension in _places(crl_url, ocsp_url):
        builder = builder.add_extension(extension, critical=False)
    leaf = builder.sign(issuer.key, hashes.SHA256())
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    chain_path, key_path = directory / f"{name}.pem", directory / f"{name}.key"
    _write(key_path, _private_pem(key), mode=0o600)
    _write(chain_path, _pem(leaf) + _pem(issuer.certificate))
    return chain_path, key_path


def revoke(authority: Authority, certificate: Path, *, now: datetime, days: int = CRL_DAYS) -> None:
    """Put a leaf that the authority issued on its revocation list; again is the same."""
    leaf = x509.load_pem_x509_certificates(certificate.read_bytes())[0]
    if leaf.issuer != _load(authority, "intermediate").certificate.subject:
        raise Misconfigured(f"{certificate} was not issued by the authority in {authority.directory}")
    make_crl(authority, now=now, days=days, also=(leaf.serial_number,))


def make_crl(authority: Authority, *, now: datetime, days: float = CRL_DAYS, also: Sequence[int] = ()) -> Path:
    """Issue both lists anew: what they held, and the serials `also` from the intermediate; valid for `days`."""
    old = _old_lists(authority)
    octets = b""
    for name, added in (("intermediate", also), ("root", ())):
        issuer = _load(authority, name)
        octets += _signed_list(issuer, old.get(issuer.certificate.subject), added, now, now + timedelta(days=days))
    _write(authority.crl_file, octets)
    return authority.crl_file


def publish(authority: Authority, directory: Path) -> None:
    """Copy ca.pem and crl.pem to a folder, as an operator that fetches them would."""
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    for path in (authority.ca_file, authority.crl_file):
        _write(directory / path.name, path.read_bytes())


def _make_ca(directory: Path, file: str, cn: str, organisation: str, now: datetime, parent: _Issuer | None) -> _Issuer:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = _name([("C", "FR"), ("O", organisation), ("OU", "0002 000000000"), ("CN", cn)])
    issuer = parent.certificate.subject if parent else subject
    builder = _builder(subject, issuer, key, now - _BACKDATED, now + timedelta(days=AUTHORITY_DAYS))
    signer = parent.key if parent else key
    certificate = (
        builder.add_extension(x509.BasicConstraints(ca=True, path_length=0 if parent else 1), critical=True)
        .add_extension(_key_usage(authority=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
        .sign(signer, hashes.SHA256())
    )
    _write(directory / f"{file}.key", _private_pem(key), mode=0o600)
    _write(directory / f"{file}.pem", _pem(certificate))
    return _Issuer(certificate, key)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: _Key, start: datetime, end: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(end)
    )


def _leaf_extensions(issuer: _Issuer, key: _Key, hostnames: Sequence[str]) -> list[tuple[x509.ExtensionType, bool]]:
    names = dict.fromkeys([*hostnames, "localhost", "127.0.0.1"])
    return [
        (x509.BasicConstraints(ca=False, path_length=None), True),
        (_key_usage(authority=False), True),
        (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]), False),
        (x509.SubjectAlternativeName([_general_name(name) for name in names]), False),
        (x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False),
        (x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key()), False),
    ]


def _places(crl_url: str, ocsp_url: str) -> list[x509.ExtensionType]:
    """Return where the leaf's lists and its responder are."""
    found: list[x509.ExtensionType] = []
    if crl_url:
        point = x509.DistributionPoint([x509.UniformResourceIdentifier(crl_url)], None, None, None)
        found.append(x509.CRLDistributionPoints([point]))
    if ocsp_url:
        place = x509.UniformResourceIdentifier(ocsp_url)
        found.append(
            x509.AuthorityInformationAccess([x509.AccessDescription(AuthorityInformationAccessOID.OCSP, place)])
        )
    return found


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _key_usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=authority,
        crl_sign=authority,
        encipher_only=False,
        decipher_only=False,
    )


def _name(subject: Subject) -> x509.Name:
    pairs = subject.items() if isinstance(subject, Mapping) else subject
    unknown = [kind for kind, _ in pairs if kind not in _OIDS]
    if unknown:
        raise Misconfigured(f"a subject takes {', '.join(_OIDS)}, not {', '.join(unknown)}")
    return x509.Name([x509.NameAttribute(_OIDS[kind], value) for kind, value in pairs])


def _old_lists(authority: Authority) -> dict[x509.Name, x509.CertificateRevocationList]:
    if not authority.crl_file.exists():
        return {}
    blocks = _CRL_BLOCK.findall(authority.crl_file.read_bytes())
    return {crl.issuer: crl for crl in map(x509.load_pem_x509_crl, blocks)}


def _signed_list(
    issuer: _Issuer,
    old: x509.CertificateRevocationList | None,
    added: Sequence[int],
    now: datetime,
    next_update: datetime,
) -> bytes:
    # The number says which of two lists is newer: their dates may be the same.
    number = 1 if old is None else 1 + old.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.certificate.subject)
        .last_update(min(now, next_update) - _BACKDATED)
        .next_update(next_update)
        .add_extension(x509.CRLNumber(number), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key()), critical=False)
    )
    known = {entry.serial_number: entry.revocation_date_utc for entry in old} if old is not None else {}
    for serial, date in (dict.fromkeys(added, now) | known).items():
        entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(date).build()
        builder = builder.add_revoked_certificate(entry)
    return builder.sign(issuer.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def _load(authority: Authority, name: str) -> _Issuer:
    certificate = x509.load_pem_x509_certificate((authority.directory / f"{name}.pem").read_bytes())
    key = serialization.load_pem_private_key((authority.directory / f"{name}.key").read_bytes(), password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise Misconfigured(f"{name}.key is not an elliptic curve key")
    return _Issuer(certificate, key)


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _private_pem(key: _Key) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _write(path: Path, octets: bytes, *, mode: int = 0o644) -> None:
    """Replace the file at once, so that a reader sees the old octets or the new ones."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(octets)
    draft.replace(path)
