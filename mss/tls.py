"""TLS contexts, the peer behind a certificate, revocation lists, and their reload without restart.

It does not say who may speak for a domain: the trust list and `mss.policy.admission` do. RFC 5280, RFC 8446,
and MSSANTE.md ECO.1.1.1 to ECO.1.1.10.

Rules of this file:
1. A handshake proves chain, dates and possession of the key; revocation is judged after it, so that the peer
   gets an SMTP reply that says why instead of a TLS alert.
2. A resumed session proves nothing about today: chain and dates are verified again each time.
3. What cannot be used (a mismatched key, a list with a bad signature, an older list) never replaces what works.
"""

from __future__ import annotations

import hashlib
import re
import ssl
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal, TypeVar

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from OpenSSL import crypto

from mss.config import Config
from mss.errors import Malformed, Misconfigured, Unavailable
from mss.model.address import Domain
from mss.model.peer import DN, Peer, TrustList

# ECO.1.1.3 allows the four RSA suites; the ECDSA ones have the same key exchange, cipher and digest, and serve
# certificates on elliptic curves, which the development PKI issues. TLS 1.3 brings its own suites.
_TLS12_SUITES = (
    "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:"
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:"
    "ECDHE-ECDSA-AES256-SHA384:ECDHE-RSA-AES256-SHA384:"
    "ECDHE-ECDSA-AES128-SHA256:ECDHE-RSA-AES128-SHA256"
)
_SESSIONS_MAX = 1000
_VERDICTS_MAX = 10_000
# X509_V_FLAG_NO_CHECK_TIME of OpenSSL's x509_vfy.h, which pyOpenSSL does not name.
_NO_CHECK_TIME = 0x200000
# X509_V_ERR_* of the same file.
_NOT_YET_VALID, _HAS_EXPIRED, _REVOKED = 9, 10, 23
_CRL_BLOCK = re.compile(rb"-----BEGIN X509 CRL-----.+?-----END X509 CRL-----", re.DOTALL)

Verdict = Literal["good", "revoked", "unknown", "stale"]
_Context = TypeVar("_Context", bound=ssl.SSLContext)
_Extension = TypeVar("_Extension", bound=x509.ExtensionType)
_ListKey = tuple[bytes, bytes]  # Digest of the signer's key, scope (issuing distribution point).


# Contexts ------------------------------------------------------------------------------------------------------


def mx_server_context(config: Config) -> ssl.SSLContext:
    """Return the MX's context: a client certificate that chains to `ca_file` is required (mutual TLS).

    TLS 1.2 offers the suites of ECO.1.1.3 and their ECDHE-ECDSA equivalents only. Sessions resume.
    """
    context = _own(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), *_own_files(config))
    context.verify_mode = ssl.CERT_REQUIRED
    _trust(context, config.path(config.tls.ca_file))
    return context


def client_facing_context(config: Config) -> ssl.SSLContext:
    """Return the context of submission, IMAP and webmail: no client certificate is asked for."""
    return _own(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), *_client_facing_files(config))


def mx_client_context(config: Config) -> OutgoingContext:
    """Return the relay's context: shows our certificate, verifies chain and host name of the other operator."""
    context = OutgoingContext(ssl.PROTOCOL_TLS_CLIENT)
    _own(context, *_own_files(config))
    _trust(context, config.path(config.tls.ca_file))
    return context


class OutgoingContext(ssl.SSLContext):
    """A client context that resumes the last session with each host name.

    asyncio has no word for resumption: whoever closes a connection calls `remember` first (TLS 1.3 sends its
    tickets after the handshake), and the next connection to that host name takes it up.
    """

    def __init__(self, _protocol: int) -> None:
        super().__init__()
        self._kept: OrderedDict[str, ssl.SSLSession] = OrderedDict()

    def remember(self, connection: ssl.SSLObject | ssl.SSLSocket) -> None:
        """Keep the session for the next connection to its host name; the oldest host goes when there are too many."""
        name, session = connection.server_hostname, connection.session
        if name and session is not None:
            self._kept[name] = session
            self._kept.move_to_end(name)
            while len(self._kept) > _SESSIONS_MAX:
                self._kept.popitem(last=False)

    def wrap_bio(
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = False,
        server_hostname: str | bytes | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLObject:
        """Wrap as SSLContext does, with the remembered session of the host name."""
        session = session or self._kept.get(str(server_hostname))
        return super().wrap_bio(incoming, outgoing, server_side, server_hostname, session)


def _own_files(config: Config) -> tuple[Path, Path]:
    return config.path(config.tls.certificate_file), config.path(config.tls.key_file)


def _client_facing_files(config: Config) -> tuple[Path, Path]:
    tls = config.tls
    certificate = tls.client_facing_certificate_file or tls.certificate_file
    return config.path(certificate), config.path(tls.client_facing_key_file or tls.key_file)


def _own(context: _Context, certificate: Path, key: Path) -> _Context:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_TLS12_SUITES)
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION | ssl.OP_CIPHER_SERVER_PREFERENCE
    _load_pair(context, certificate, key)
    return context


def _load_pair(context: ssl.SSLContext, certificate: Path, key: Path) -> None:
    try:
        # The empty password keeps OpenSSL from asking the terminal for one when the key is encrypted.
        context.load_cert_chain(certificate, key, password="")
    except OSError as error:  # SSLError is one.
        raise Misconfigured(f"cannot use {certificate} with {key}: {_why(error)}") from error


def _trust(context: ssl.SSLContext, ca_file: Path) -> None:
    try:
        context.load_verify_locations(ca_file)
    except OSError as error:
        raise Misconfigured(f"cannot use {ca_file} as trusted authorities: {_why(error)}") from error


def _why(error: OSError) -> str:
    if isinstance(error, ssl.SSLError):
        return error.reason or "not the PEM files that TLS needs, or an encrypted key"
    return error.strerror or "unreadable"


# The peer ------------------------------------------------------------------------------------------------------


def peer_of(
    end: bytes | ssl.SSLObject | ssl.SSLSocket | None, revocation: Revocation, *, ip: str, now: datetime
) -> Peer:
    """Return who holds the certificate of a session: of its SSL object, or of the leaf's DER octets.

    Malformed: no certificate, or one outside its dates (a resumed session may outlive it). Unavailable: `ca_file`
    lacks an authority of the chain. Revocation is a fact of the Peer, not an error.
    """
    der = end if isinstance(end, bytes) or end is None else end.getpeercert(binary_form=True)
    if not der:
        raise Malformed("the peer shows no certificate")
    try:
        leaf = x509.load_der_x509_certificate(der)
        subject = dn_of(leaf)
    except (ValueError, x509.InvalidVersion) as error:
        raise Malformed("the peer's certificate cannot be read") from error
    verdict = revocation.judge(leaf, now)
    common_name = next((value for kind, value in subject.attributes if kind == "CN"), "")
    return Peer(subject, common_name, format(leaf.serial_number, "x"), ip, verdict)


def dn_of(certificate: x509.Certificate) -> DN:
    """Return a certificate's subject as a comparable name."""
    return DN.of([(attribute.oid.dotted_string, str(attribute.value)) for attribute in certificate.subject])


def pin(peer: Peer, domain: Domain, trust_list: TrustList) -> str | None:
    """Return why a letter for the domain must not be given to this peer (a rule's name), or None when it may."""
    if peer.subject not in trust_list.subjects_of(domain):
        return "peer-not-listed"
    return None if peer.revocation == "good" else f"peer-revocation-{peer.revocation}"


def certificate_expiry(path: Path) -> datetime:
    """Return when the first certificate of a PEM file ends; Misconfigured when there is none."""
    return _read_certificates(path)[0].not_valid_after_utc


# Revocation ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Revocation:
    """Authorities and their newest revocation lists, at one moment; `judge` asks it.

    `crls` maps the key that signed a list, and its scope, to the list. The verdict of the lists on a certificate
    does not depend on time and is remembered; the dates of certificates and lists are compared each time.
    """

    authorities: tuple[x509.Certificate, ...]
    crls: Mapping[_ListKey, x509.CertificateRevocationList]
    grace: timedelta
    _store: crypto.X509Store = field(repr=False, compare=False)
    _verdicts: dict[bytes, Verdict] = field(default_factory=dict, repr=False, compare=False)

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
        authorities = _read_certificates(ca_file)
        read, problems = _read_lists(crl_files)
        held, _ = signed_lists(kept.crls.values() if kept else (), authorities, {})
        crls, more = signed_lists(read, authorities, held)
        return cls.of(authorities, crls, grace), problems + more

    def judge(self, leaf: x509.Certificate, now: datetime) -> Verdict:
        """Return what the lists say of a leaf whose chain and dates are verified first; errors as `peer_of`'s."""
        chain = self._chain(leaf, now)
        match self._listed(leaf):
            case "good":
                return self._freshness(chain, now)
            case verdict:
                return verdict

    @property
    def next_update(self) -> datetime | None:
        """When the first of the lists is due to be replaced; None without lists."""
        return min((crl.next_update_utc for crl in self.crls.values() if crl.next_update_utc), default=None)

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
        digest = hashlib.sha256(leaf.public_bytes(Encoding.DER)).digest()
        if digest not in self._verdicts:
            if len(self._verdicts) >= _VERDICTS_MAX:
                self._verdicts.clear()
            self._verdicts[digest] = self._ask(leaf)
        return self._verdicts[digest]

    def _ask(self, leaf: x509.Certificate) -> Verdict:
        context = crypto.X509StoreContext(self._store, crypto.X509.from_cryptography(leaf))
        try:
            context.verify_certificate()
        except crypto.X509StoreContextError as error:
            return "revoked" if error.errors[0] == _REVOKED else "unknown"
        return "good"

    def _freshness(self, chain: list[x509.Certificate], now: datetime) -> Verdict:
        for issuer in chain[1:]:
            crls = [crl for (key, _), crl in self.crls.items() if key == _key_digest(issuer)]
            if not crls or any(crl.last_update_utc > now for crl in crls):
                return "unknown"
            if any(crl.next_update_utc is None or crl.next_update_utc + self.grace < now for crl in crls):
                return "stale"
        return "good"


def signed_lists(
    crls: Iterable[x509.CertificateRevocationList],
    authorities: Iterable[x509.Certificate],
    held: Mapping[_ListKey, x509.CertificateRevocationList],
) -> tuple[dict[_ListKey, x509.CertificateRevocationList], list[str]]:
    """Return `held` with the lists that an authority signed and that are no older, and why others were left out."""
    known = list(authorities)
    kept, problems = dict(held), []
    for crl in crls:
        signer = next((ca for ca in known if _is_signed(crl, ca)), None)
        if signer is None:
            problems.append("a revocation list is signed by no authority of ca_file")
        elif _extension(crl, x509.DeltaCRLIndicator) is not None:
            problems.append("a revocation list is a delta: complete lists are needed")
        else:
            key = (_key_digest(signer), _scope(crl))
            if key in kept and _is_newer(kept[key], crl):
                problems.append("a revocation list is older than the one in use")
            else:
                kept[key] = crl
    return kept, problems


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


def _extension(crl: x509.CertificateRevocationList, kind: type[_Extension]) -> _Extension | None:
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


def _read_certificates(path: Path) -> list[x509.Certificate]:
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


# Reload --------------------------------------------------------------------------------------------------------


class TlsMaterial:
    """All contexts and lists of an operator, read again when their files change.

    Doors take `mx_server` and `mx_client` anew for each connection: a reload replaces them. `client_facing` is one
    object for the operator's life, which listening sockets may hold: a reload gives it the new certificate.
    """

    def __init__(self, config: Config) -> None:
        """Read everything; Misconfigured says which file to mend."""
        self._config = config
        self._stamps = self._stamp()
        self._revocation, problems = self._load_revocation(None)
        if problems:
            raise Misconfigured("; ".join(problems))
        self._mx_server, self._mx_client = mx_server_context(config), mx_client_context(config)
        self.client_facing = client_facing_context(config)
        """The context of submission, IMAP and webmail."""

    @property
    def mx_server(self) -> ssl.SSLContext:
        """The MX's context."""
        return self._mx_server

    @property
    def mx_client(self) -> OutgoingContext:
        """The relay's context."""
        return self._mx_client

    @property
    def revocation(self) -> Revocation:
        """What `peer_of` judges by."""
        return self._revocation

    def peer(self, end: bytes | ssl.SSLObject | ssl.SSLSocket | None, *, ip: str, now: datetime) -> Peer:
        """Return `peer_of` with the lists in use."""
        return peer_of(end, self.revocation, ip=ip, now=now)

    def reload(self) -> list[str] | None:
        """Read the files again when one changed; return the problems, or None when nothing changed.

        What cannot be used is reported once, and what worked stays in use: a renewal that goes wrong does not keep
        a new revocation list out. It reads files: not on the loop.
        """
        stamps = self._stamp()
        if stamps == self._stamps:
            return None
        self._stamps = stamps
        problems: list[str] = []
        for part in (self._reload_revocation, self._reload_mx, self._reload_client_facing):
            try:
                problems += part()
            except Misconfigured as error:
                problems.append(str(error))
        return list(dict.fromkeys(problems))

    def _reload_revocation(self) -> list[str]:
        self._revocation, problems = self._load_revocation(self._revocation)
        return problems

    def _reload_mx(self) -> list[str]:
        self._mx_server, self._mx_client = mx_server_context(self._config), mx_client_context(self._config)
        return []

    def _reload_client_facing(self) -> list[str]:
        _replace_pair(self.client_facing, *_client_facing_files(self._config))
        return []

    def _load_revocation(self, kept: Revocation | None) -> tuple[Revocation, list[str]]:
        config, tls = self._config, self._config.tls
        return Revocation.load(
            config.path(tls.ca_file),
            [config.path(path) for path in tls.crl_files],
            timedelta(seconds=tls.crl_grace_s),
            kept=kept,
        )

    def _stamp(self) -> tuple[tuple[int, int, int], ...]:
        tls = self._config.tls
        paths = {*_own_files(self._config), *_client_facing_files(self._config)}
        paths |= {self._config.path(path) for path in (tls.ca_file, *tls.crl_files)}
        return tuple(_stamp_of(path) for path in sorted(paths))


def _replace_pair(context: ssl.SSLContext, certificate: Path, key: Path) -> None:
    # Tried aside first: a certificate without its key would stay in the context otherwise.
    _load_pair(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), certificate, key)
    _load_pair(context, certificate, key)


def _stamp_of(path: Path) -> tuple[int, int, int]:
    try:
        status = path.stat()
    except OSError:
        return (0, 0, 0)
    return (status.st_mtime_ns, status.st_size, status.st_ino)
