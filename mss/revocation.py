"""Revocation lists: which count, what they say of a certificate, and how old they may be (RFC 5280 section 6.3).

It shakes no hands and fetches nothing: lists are files (MSSANTE.md ECO.1.1.6, ECO.1.1.7, ECO.1.1.10), which `mss.crl`
may have fetched. OpenSSL builds the chains and searches the lists; dates of lists are compared here, because it knows
no grace.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal, TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from OpenSSL import crypto

from mss.errors import Malformed, Misconfigured, Unavailable

Certificate = x509.Certificate

_LEAVES_MAX = 10_000
# X509_V_FLAG_NO_CHECK_TIME of OpenSSL's x509_vfy.h, which pyOpenSSL does not name.
_NO_CHECK_TIME = 0x200000
# X509_V_ERR_* of the same file.
_NOT_YET_VALID, _HAS_EXPIRED, _REVOKED = 9, 10, 23
_CRL_BLOCK = re.compile(rb"-----BEGIN X509 CRL-----.+?-----END X509 CRL-----", re.DOTALL)

_NEVER = datetime.max.replace(tzinfo=UTC)
_LONG_AGO = datetime.min.replace(tzinfo=UTC)

Verdict = Literal["good", "revoked", "unknown", "stale", "expired"]
_Extension = TypeVar("_Extension", bound=x509.ExtensionType)
_ListKey = tuple[bytes, bytes]  # Digest of the signer's key, scope (issuing distribution point).


@dataclass(frozen=True, slots=True)
class _Found:
    """What holds of a leaf whatever the time: the lists' verdict, its chain's dates, the keys of its issuers."""

    listed: Verdict
    begins: datetime
    ends: datetime
    issuers: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Revocation:
    """Authorities and their newest revocation lists, as read at one moment.

    `crls` maps the key that signed a list, and its scope, to the list. What does not depend on time is found once
    for each leaf and remembered; the dates of its chain and of the lists are compared each time.
    """

    authorities: tuple[x509.Certificate, ...]
    crls: Mapping[_ListKey, x509.CertificateRevocationList]
    grace: timedelta
    _store: crypto.X509Store = field(repr=False, compare=False)
    _found: dict[bytes, _Found] = field(default_factory=dict, repr=False, compare=False)
    _fresh: dict[bytes, tuple[datetime, datetime]] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def of(
        cls,
        authorities: Iterable[x509.Certificate],
        crls: Mapping[_ListKey, x509.CertificateRevocationList],
        grace: timedelta = timedelta(0),
    ) -> Revocation:
        """Take authorities and the lists that `signed_lists` let through."""
        known = tuple(authorities)
        store = _store_of(known)
        store.set_flags(crypto.X509StoreFlags.CRL_CHECK | crypto.X509StoreFlags.CRL_CHECK_ALL | _NO_CHECK_TIME)
        for crl in crls.values():
            store.add_crl(crl)
        return cls(known, crls, grace, store)

    @classmethod
    def load(
        cls, ca_file: Path, crl_files: Iterable[Path], grace: timedelta, *, kept: Revocation | None = None
    ) -> tuple[Revocation, list[str]]:
        """Read the files; return also what is wrong with lists that were left out.

        A list counts when an authority of `ca_file` signed it and when it is not older than the one `kept`. Lists
        of `kept` stay where no newer one is found. Misconfigured when there is no authority.
        """
        authorities = read_certificates(ca_file)
        read, problems = _read_lists(crl_files)
        held, _ = signed_lists(kept.crls.values() if kept else (), authorities, {})
        crls, more = signed_lists(read, authorities, held)
        return cls.of(authorities, crls, grace), problems + more

    def judge(self, leaf: x509.Certificate, now: datetime) -> Verdict:
        """Return what the lists say of a leaf whose chain and dates hold.

        Malformed: outside the dates of the chain. Unavailable: an authority of the chain is not known.
        """
        digest = leaf.fingerprint(SHA256())
        known = self.judge_known(digest, now)
        if known is not None:
            return known
        found = self._find(leaf, now)
        if len(self._found) >= _LEAVES_MAX:
            self._found.clear()
        self._found[digest] = found
        return self._freshness(found.issuers, now) if found.listed == "good" else found.listed

    def judge_known(self, fingerprint: bytes, now: datetime) -> Verdict | None:
        """Return `judge` of a leaf that it was asked about before, by its SHA-256; None when it must be asked."""
        found = self._found.get(fingerprint)
        if found is None or not found.begins <= now <= found.ends:
            return None
        return self._freshness(found.issuers, now) if found.listed == "good" else found.listed

    def issuer_of(self, leaf: x509.Certificate) -> x509.Certificate | None:
        """Return the authority that signed a leaf."""
        return next((known for known in self.authorities if _issued(known, leaf)), None)

    def objection(self, octets: bytes) -> str | None:
        """Return why the lists in these octets must not be kept beside those in use; None when they may."""
        try:
            crls = _parse_lists(octets)
        except (ValueError, x509.DuplicateExtension):
            return "it is no revocation list that can be read"
        _, problems = signed_lists(crls, self.authorities, self.crls)
        return problems[0] if problems else None

    @property
    def points(self) -> frozenset[str]:
        """Where the authorities' own certificates say that lists are to be had."""
        return frozenset(url for known in self.authorities for url in points_of(known))

    @property
    def next_update(self) -> datetime | None:
        """When the first of the lists is due to be replaced; None without lists."""
        return min((crl.next_update_utc for crl in self.crls.values() if crl.next_update_utc), default=None)

    def _find(self, leaf: x509.Certificate, now: datetime) -> _Found:
        chain = self._chain(leaf, now)
        return _Found(
            listed=self._listed(leaf),
            begins=max(certificate.not_valid_before_utc for certificate in chain),
            ends=min(certificate.not_valid_after_utc for certificate in chain),
            issuers=tuple(_key_digest(issuer) for issuer in chain[1:]),
        )

    def _chain(self, leaf: x509.Certificate, now: datetime) -> list[x509.Certificate]:
        store = _store_of(self.authorities)
        store.set_time(now)
        context = crypto.X509StoreContext(store, crypto.X509.from_cryptography(leaf))
        try:
            chain = context.get_verified_chain()
        except crypto.X509StoreContextError as error:
            if error.errors[0] in (_NOT_YET_VALID, _HAS_EXPIRED):
                raise Malformed("the peer's certificate, or one of its authorities', is outside its dates") from error
            raise Unavailable("the peer's chain cannot be built from ca_file") from error
        return [certificate.to_cryptography() for certificate in chain]

    def _listed(self, leaf: x509.Certificate) -> Verdict:
        context = crypto.X509StoreContext(self._store, crypto.X509.from_cryptography(leaf))
        try:
            context.verify_certificate()
        except crypto.X509StoreContextError as error:
            return "revoked" if error.errors[0] == _REVOKED else "unknown"
        return "good"

    def _freshness(self, issuers: tuple[bytes, ...], now: datetime) -> Verdict:
        for issuer in issuers:
            begins, ends = self._fresh_between(issuer)
            if now < begins:
                return "unknown"
            if now > ends:
                return "stale"
        return "good"

    def _fresh_between(self, issuer: bytes) -> tuple[datetime, datetime]:
        """Return from when to when an authority's lists count, the grace included; without lists, never."""
        known = self._fresh.get(issuer)
        if known is None:
            crls = [crl for (key, _), crl in self.crls.items() if key == issuer]
            begins = max((crl.last_update_utc for crl in crls), default=_NEVER)
            ends = min((self._end_of(crl) for crl in crls), default=_NEVER)
            known = self._fresh[issuer] = (begins, ends)
        return known

    def _end_of(self, crl: x509.CertificateRevocationList) -> datetime:
        end = crl.next_update_utc
        return _LONG_AGO if end is None else end + self.grace


def signed_lists(
    crls: Iterable[x509.CertificateRevocationList],
    authorities: Iterable[x509.Certificate],
    held: Mapping[_ListKey, x509.CertificateRevocationList],
) -> tuple[dict[_ListKey, x509.CertificateRevocationList], list[str]]:
    """Return `held` with the lists that an authority signed and that are no older, and why others were left out.

    Of several lists with one signer and scope the newest counts, whatever the order.
    """
    known = list(authorities)
    given: dict[_ListKey, x509.CertificateRevocationList] = {}
    problems = []
    for crl in crls:
        signer = next((ca for ca in known if _is_signed(crl, ca)), None)
        if signer is None:
            problems.append("a revocation list is signed by no authority of ca_file")
        elif _extension(crl, x509.DeltaCRLIndicator) is not None:
            problems.append("a revocation list is a delta: complete lists are needed")
        else:
            key = (_key_digest(signer), _scope(crl))
            if key not in given or not _is_newer(given[key], crl):
                given[key] = crl
    older = [key for key, crl in given.items() if key in held and _is_newer(held[key], crl)]
    problems += ["a revocation list is older than the one in use" for _ in older]
    return {**held, **{key: crl for key, crl in given.items() if key not in older}}, problems


def points_of(certificate: x509.Certificate) -> tuple[str, ...]:
    """Return the distribution points of complete lists that a certificate names, as URLs of any scheme."""
    found = _extension(certificate, x509.CRLDistributionPoints)
    return tuple(
        str(name.value)
        for point in found or ()
        if point.reasons is None and point.crl_issuer is None
        for name in point.full_name or ()
        if isinstance(name, x509.UniformResourceIdentifier)
    )


def _issued(authority: x509.Certificate, leaf: x509.Certificate) -> bool:
    try:
        leaf.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def _store_of(authorities: Iterable[x509.Certificate]) -> crypto.X509Store:
    store = crypto.X509Store()
    for certificate in authorities:
        store.add_cert(crypto.X509.from_cryptography(certificate))
    return store


def _is_newer(crl: x509.CertificateRevocationList, other: x509.CertificateRevocationList) -> bool:
    return (_number(crl), crl.last_update_utc) > (_number(other), other.last_update_utc)


def _number(crl: x509.CertificateRevocationList) -> int:
    number = _extension(crl, x509.CRLNumber)
    return number.crl_number if number else 0


def _scope(crl: x509.CertificateRevocationList) -> bytes:
    point = _extension(crl, x509.IssuingDistributionPoint)
    return point.public_bytes() if point else b""


def _extension(crl: x509.CertificateRevocationList | x509.Certificate, kind: type[_Extension]) -> _Extension | None:
    try:
        return crl.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def _is_signed(crl: x509.CertificateRevocationList, authority: x509.Certificate) -> bool:
    key = authority.public_key()
    if crl.issuer != authority.subject or not isinstance(key, ec.EllipticCurvePublicKey | rsa.RSAPublicKey):
        return False
    try:
        return crl.is_signature_valid(key)
    except UnsupportedAlgorithm:
        return False


def _key_digest(authority: x509.Certificate) -> bytes:
    key = authority.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(key).digest()


def read_certificates(path: Path) -> list[x509.Certificate]:
    """Return the certificates of a PEM file, at least one; Misconfigured otherwise."""
    try:
        return x509.load_pem_x509_certificates(path.read_bytes())
    except OSError as error:
        raise Misconfigured(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise Misconfigured(f"{path} holds no PEM certificate that can be read") from error


def _read_lists(paths: Iterable[Path]) -> tuple[list[x509.CertificateRevocationList], list[str]]:
    crls: list[x509.CertificateRevocationList] = []
    problems: list[str] = []
    for path in paths:
        try:
            crls += _parse_lists(path.read_bytes())
        except OSError as error:
            problems.append(f"cannot read the revocation list {path}: {error.strerror}")
        except (ValueError, x509.DuplicateExtension):
            problems.append(f"{path} holds no revocation list that can be read")
    return crls, problems


def _parse_lists(octets: bytes) -> list[x509.CertificateRevocationList]:
    # IGC-Santé publishes DER, the development PKI writes PEM.
    blocks = _CRL_BLOCK.findall(octets)
    crls = [x509.load_pem_x509_crl(block) for block in blocks] if blocks else [x509.load_der_x509_crl(octets)]
    for crl in crls:
        _ = crl.extensions  # Parsed on first use: what is wrong shows here.
    return crls
