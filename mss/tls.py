"""TLS contexts, the peer behind a certificate, and reload without restart.

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
import ssl
from collections import OrderedDict
from datetime import datetime, timedelta
from pathlib import Path
from typing import TypeVar

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256

from mss.config import Config
from mss.errors import Malformed, Misconfigured
from mss.model.address import Domain
from mss.model.peer import DN, ClientCertificate, Peer, TrustList
from mss.revocation import Revocation, read_certificates

# ECO.1.1.3 allows the four RSA suites; the ECDSA ones have the same key exchange, cipher and digest, and serve
# certificates on elliptic curves, which the development PKI issues. TLS 1.3 brings its own suites.
_TLS12_SUITES = (
    "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:"
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:"
    "ECDHE-ECDSA-AES256-SHA384:ECDHE-RSA-AES256-SHA384:"
    "ECDHE-ECDSA-AES128-SHA256:ECDHE-RSA-AES128-SHA256"
)
_SESSIONS_MAX = 1000

_Context = TypeVar("_Context", bound=ssl.SSLContext)


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
    """Return the context of the webmail: no client certificate is asked for."""
    return _own(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), *_client_facing_files(config))


def mail_client_context(config: Config) -> ssl.SSLContext:
    """Return the context of submission and IMAP: a client may show a certificate that chains to `client_ca_file`.

    Without that setting none is asked for. A certificate that does not chain, or is outside its dates, ends the
    handshake; none at all does not.
    """
    context = client_facing_context(config)
    if config.tls.client_ca_file:
        context.verify_mode = ssl.CERT_OPTIONAL
        _trust(context, config.path(config.tls.client_ca_file))
    return context


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


def client_of(end: object, revocation: Revocation, *, now: datetime) -> ClientCertificate | None:
    """Return the certificate that a client of ours showed in its session; None when it showed none.

    Malformed: it is outside its dates by now. Unavailable: its chain is no longer known.
    """
    der = end.getpeercert(binary_form=True) if isinstance(end, ssl.SSLObject | ssl.SSLSocket) else None
    if not der:
        return None
    peer = peer_of(der, revocation, ip="", now=now)
    return ClientCertificate(peer.subject, hashlib.sha256(der).hexdigest(), peer.revocation)


def fingerprint_of(certificate: x509.Certificate) -> str:
    """Return a certificate's SHA-256 fingerprint in hexadecimal."""
    return certificate.fingerprint(SHA256()).hex()


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
    return read_certificates(path)[0].not_valid_after_utc


# Reload --------------------------------------------------------------------------------------------------------


class TlsMaterial:
    """All contexts and lists of an operator, read again when their files change.

    Doors take `mx_server`, `mx_client` and `mail_clients` anew for each connection: a reload replaces them.
    `client_facing` is one object for the operator's life, which listening sockets may hold: a reload gives it the new
    certificate.
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
        """The context of the webmail: browsers are not asked for certificates."""
        self._client_revocation, problems = self._load_client_revocation(None)
        if problems:
            raise Misconfigured("; ".join(problems))
        self._mail_clients = mail_client_context(config)

    @property
    def mx_server(self) -> ssl.SSLContext:
        """The MX's context."""
        return self._mx_server

    @property
    def mx_client(self) -> OutgoingContext:
        """The relay's context."""
        return self._mx_client

    @property
    def mail_clients(self) -> ssl.SSLContext:
        """The context of submission and IMAP."""
        return self._mail_clients

    def client(self, end: object, now: datetime) -> ClientCertificate | None:
        """Return `client_of` with the lists in use; None where no certificate is asked for."""
        revocation = self._client_revocation
        return None if revocation is None else client_of(end, revocation, now=now)

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
        for part in (self._reload_revocation, self._reload_mx, self._reload_client_facing, self._reload_mail):
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

    def _reload_mail(self) -> list[str]:
        self._client_revocation, problems = self._load_client_revocation(self._client_revocation)
        self._mail_clients = mail_client_context(self._config)
        return problems

    def _load_client_revocation(self, kept: Revocation | None) -> tuple[Revocation | None, list[str]]:
        config, tls = self._config, self._config.tls
        if tls.client_ca_file is None:
            return None, []
        lists = [config.path(path) for path in tls.client_crl_files]
        return Revocation.load(config.path(tls.client_ca_file), lists, timedelta(seconds=tls.crl_grace_s), kept=kept)

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
        paths |= {self._config.path(path) for path in (tls.ca_file, *tls.crl_files, *tls.client_crl_files)}
        paths |= {self._config.path(tls.client_ca_file)} if tls.client_ca_file else set()
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
