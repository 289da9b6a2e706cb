"""TLS contexts, the peer behind a certificate, and reload without restart.

It does not say who may speak for a domain: the trust list and `mss.policy.admission` do. RFC 5280, RFC 8446,
and MSSANTE.md ECO.1.1.1 to ECO.1.1.10.

Rules of this file:
1. A handshake proves chain, dates and possession of the key; revocation is judged after it, so that the peer
   gets an SMTP reply that says why instead of a TLS alert.
2. A resumed session proves nothing about today, nor does an old connection: chain, dates and revocation are verified
   again for each session, and again for each letter.
3. What cannot be used (a mismatched key, a list with a bad signature, an older list) never replaces what works.
"""

from __future__ import annotations

import hashlib
import ssl
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

from mss import crl, ocsp, robots
from mss.config import Config
from mss.errors import Malformed, Misconfigured, MssError, Unavailable
from mss.log import get_logger
from mss.model.address import Domain
from mss.model.peer import Peer, TrustList
from mss.revocation import Revocation, points_of, read_certificates
from mss.robots import dn_of as dn_of

# The four suites of ECO.1.1.3, and no other, for TLS 1.2; TLS 1.3 brings its own.
_TLS12_SUITES = (
    "ECDHE-RSA-AES256-GCM-SHA384:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-RSA-AES256-SHA384:ECDHE-RSA-AES128-SHA256"
)
# Who holds a key on an elliptic curve, which IGC-Santé does not issue and the development PKI does, could speak no TLS
# 1.2 with these alone: the same key exchange, ciphers and digests are added.
_TLS12_SUITES_OF_CURVES = _TLS12_SUITES.replace("RSA", "ECDSA")
_SESSIONS_MAX = 1000
_SAID_EVERY = timedelta(minutes=1)

_log = get_logger("tls")

_Context = TypeVar("_Context", bound=ssl.SSLContext)


# Contexts ------------------------------------------------------------------------------------------------------


def mx_server_context(config: Config) -> ssl.SSLContext:
    """Return the MX's context: a client certificate that chains to `ca_file` is required (mutual TLS).

    TLS 1.2 offers the suites of ECO.1.1.3 only (docs/decisions/suites.md). Sessions resume.
    """
    context = _own(TellingContext(ssl.PROTOCOL_TLS_SERVER), *_own_files(config))
    context.verify_mode = ssl.CERT_REQUIRED
    _trust(context, config.path(config.tls.ca_file))
    return context


def client_facing_context(config: Config) -> ssl.SSLContext:
    """Return the context of the webmail: no client certificate is asked for."""
    return _own(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), *_client_facing_files(config))


def mail_client_context(config: Config) -> ssl.SSLContext:
    """Return the context of submission and IMAP: robots may show a certificate, if the settings say whose."""
    return robots.ask(client_facing_context(config), config)


def mx_client_context(config: Config) -> OutgoingContext:
    """Return the relay's context: shows our certificate, verifies chain and host name of the other operator."""
    context = OutgoingContext(ssl.PROTOCOL_TLS_CLIENT)
    _own(context, *_own_files(config))
    _trust(context, config.path(config.tls.ca_file))
    return context


def fetching_context(config: Config) -> ssl.SSLContext:
    """Return the context for fetching revocation lists and answers by https: the machine's authorities count, and ours.

    They carry their own signatures: the connection proves nothing.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_default_certs()
    _trust(context, config.path(config.tls.ca_file))
    return context


def list_context(config: Config) -> ssl.SSLContext:
    """Return the context for fetching the trust list: only the authorities that the settings name count."""
    listed = config.trust_list
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    _trust(context, config.path(listed.url_ca_file or config.tls.ca_file))
    if listed.url_certificate:
        _load_pair(context, *_own_files(config))
    return context


def inspecting_context(config: Config) -> ssl.SSLContext:
    """Return the relay's context without its judgement, to look at a certificate that it refuses. Never for letters."""
    context = mx_client_context(config)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def why_not(error: BaseException) -> str:
    """Return in a few words why a handshake failed, from the error of whatever library made it."""
    message = getattr(error, "verify_message", None) or getattr(error, "reason", None)
    return str(message or type(error).__name__)


class _TellingObject(ssl.SSLObject):
    """An end of a handshake that keeps the alert for the peer when the handshake fails."""

    outgoing: ssl.MemoryBIO

    def do_handshake(self) -> None:
        """Shake hands as SSLObject does; `alert` of the error holds the octets that were not sent."""
        try:
            super().do_handshake()
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise
        except ssl.SSLError as error:
            error.alert = self.outgoing.read()  # type: ignore[attr-defined]
            raise


class TellingContext(ssl.SSLContext):
    """A server context whose failed handshakes tell the peer why.

    asyncio and uvloop cut a connection whose handshake failed and drop the alert that OpenSSL wrote for the peer:
    whoever serves takes it from the error (`alert_of`) and sends it.
    """

    sslobject_class = _TellingObject

    def wrap_bio(
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = False,
        server_hostname: str | bytes | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLObject:
        """Wrap as SSLContext does."""
        made = super().wrap_bio(incoming, outgoing, server_side, server_hostname, session)
        if isinstance(made, _TellingObject):
            made.outgoing = outgoing
        return made


def alert_of(error: BaseException) -> bytes:
    """Return the octets that tell the peer why a handshake failed; empty when there are none."""
    return bytes(getattr(error, "alert", b""))


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
    context.set_ciphers(_suites_for(certificate))
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION | ssl.OP_CIPHER_SERVER_PREFERENCE
    _load_pair(context, certificate, key)
    return context


def _suites_for(certificate: Path) -> str:
    """Return the suites of TLS 1.2 for the holder of a certificate."""
    key = read_certificates(certificate)[0].public_key()
    return f"{_TLS12_SUITES_OF_CURVES}:{_TLS12_SUITES}" if isinstance(key, EllipticCurvePublicKey) else _TLS12_SUITES


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
    peer = _holder_of(der)
    verdict = revocation.judge_known(peer.fingerprint, now)
    verdict = verdict or revocation.judge(x509.load_der_x509_certificate(der), now)
    return replace(peer, ip=ip, revocation=verdict)


@lru_cache(maxsize=_SESSIONS_MAX)
def _holder_of(der: bytes) -> Peer:
    """Return what stands in a certificate, and so never changes; whether it still counts is judged each time."""
    try:
        leaf = x509.load_der_x509_certificate(der)
        subject = dn_of(leaf)
    except (ValueError, x509.InvalidVersion) as error:
        raise Malformed("the peer's certificate cannot be read") from error
    common_name = next((value for kind, value in subject.attributes if kind == "CN"), "")
    serial, responder = format(leaf.serial_number, "x"), ocsp.responder_of(leaf) or ""
    return Peer(subject, common_name, serial, "", "unknown", der, hashlib.sha256(der).digest(), responder)


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
    `client_facing` and `software` are objects for the operator's life, which listening sockets may hold: a reload gives
    them the new certificate.
    """

    def __init__(self, config: Config, count: Callable[[str], None] = lambda _: None) -> None:
        """Read everything; Misconfigured says which file to mend. `count` is told what responders said."""
        self._config = config
        self.robots = robots.Robots(config)
        """What robots of ours sign in with."""
        self._stamps = self._stamp()
        self._revocation, problems = self._load_revocation(None, [])
        if problems:
            raise Misconfigured("; ".join(problems))
        self.problems: tuple[str, ...] = ()
        """What is wrong with the files since the last reload: what worked before is in use instead."""
        # What others published must not stop a start: it is left out, and said.
        self._revocation, problems = self._load_revocation(self._revocation, self._fetched())
        self.problems = tuple(problems)
        self._mx_server, self._mx_client = mx_server_context(config), mx_client_context(config)
        self._fetching: ssl.SSLContext | None = None
        self._points: dict[str, None] = {}
        self._said: dict[bytes, datetime] = {}
        tls, limits = config.tls, config.limits
        bounds = ocsp.Bounds(tls.ocsp_timeout_s, limits.ocsp_max_octets, limits.ocsp_cached_max)
        self._responders = ocsp.Responders(bounds, count)
        self.client_facing, self.software = client_facing_context(config), mail_client_context(config)
        """The contexts of the webmail (it asks browsers for no certificates) and of the interface for software."""
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

    @property
    def revocation(self) -> Revocation:
        """What `peer_of` judges by."""
        return self._revocation

    @property
    def fetching(self) -> ssl.SSLContext:
        """The context for fetching lists and answers, made when it is first needed."""
        if self._fetching is None:
            self._fetching = fetching_context(self._config)
        return self._fetching

    @property
    def points(self) -> tuple[str, ...]:
        """Where revocation lists are to be fetched: as configured, and as certificates name the places."""
        tls = self._config.tls
        if not tls.crl_from_certificates:
            return tls.crl_urls
        own = points_of(read_certificates(self._config.path(tls.certificate_file))[0])
        return tuple(dict.fromkeys((*tls.crl_urls, *sorted(self._revocation.points), *own, *self._points)))

    def peer(self, end: bytes | ssl.SSLObject | ssl.SSLSocket | None, *, ip: str, now: datetime) -> Peer:
        """Return `peer_of` with the lists in use."""
        return peer_of(end, self.revocation, ip=ip, now=now)

    async def met(self, end: bytes | ssl.SSLObject | ssl.SSLSocket | None, *, ip: str, now: datetime) -> Peer:
        """Return `peer`, and what its responder says of it (OCSP) when the lists say nothing against it."""
        peer = self.peer(end, ip=ip, now=now)
        self._note_points(peer)
        return await self._responded(peer, now, first=True)

    async def met_again(self, peer: Peer, now: datetime) -> Peer:
        """Judge a peer anew by what is known now: lists, dates, its responder. Cheap while nothing changed."""
        verdict = self._revocation.judge_known(peer.fingerprint, now) or self._judge(peer, now)
        if verdict == peer.revocation and not peer.responder:
            return peer
        return await self._responded(replace(peer, revocation=verdict), now)

    def _judge(self, peer: Peer, now: datetime) -> str:
        try:
            return self._revocation.judge(x509.load_der_x509_certificate(peer.certificate), now)
        except Malformed:
            return "expired"
        except Unavailable:
            return "unknown"  # Its authority was taken away, or is not known yet.

    async def _responded(self, peer: Peer, now: datetime, *, first: bool = False) -> Peer:
        mode = self._config.tls.ocsp
        if peer.revocation != "good" or mode == "off" or not peer.responder:
            return peer
        answer = self._responders.known(peer.fingerprint, now) or await self.ask_responder(peer, now)
        if answer is not None and answer.status != "unknown":
            return replace(peer, revocation=answer.status)
        if mode == "hard":
            return replace(peer, revocation="unknown")
        if first and self._is_news(peer.fingerprint, now):
            _log.warning("ocsp.soft_pass", serial=peer.serial, ip=peer.ip, answered=answer is not None)
        return peer

    def _is_news(self, fingerprint: bytes, now: datetime) -> bool:
        """Whether nothing was said of a certificate for a minute: each letter of a long evening asks again."""
        said = self._said.get(fingerprint)
        if said is not None and timedelta(0) <= now - said < _SAID_EVERY:
            return False
        if len(self._said) >= _SESSIONS_MAX:
            self._said.clear()
        self._said[fingerprint] = now
        return True

    async def ask_responder(self, peer: Peer, now: datetime) -> ocsp.Answer | None:
        """Return what the responder that a peer's certificate names says of it now; None when nothing that counts."""
        leaf, lists = x509.load_der_x509_certificate(peer.certificate), self._revocation
        issuer = lists.issuer_of(leaf)
        if issuer is None:
            return None

        def is_revoked(responder: x509.Certificate) -> bool:
            try:
                return lists.judge(responder, now) == "revoked"
            except MssError:
                return True

        return await self._responders.ask(leaf, issuer, self.fetching, now, is_revoked)

    def _note_points(self, peer: Peer) -> None:
        """Remember where a verified peer's certificate says that lists are; its authority wrote that."""
        if peer.revocation in ("unknown", "stale"):
            for url in points_of(x509.load_der_x509_certificate(peer.certificate)):
                if len(self._points) < self._config.limits.crl_points_max:
                    self._points.setdefault(url)

    def reload(self, *, forced: bool = False) -> list[str] | None:
        """Read the files again when one changed, or when `forced`; return the problems, or None when nothing changed.

        What cannot be used is returned once and stands in `problems`, and what worked stays in use: a renewal that
        goes wrong does not keep a new revocation list out. It reads files: not on the loop.
        """
        stamps = self._stamp()
        if stamps == self._stamps and not forced:
            return None
        self._stamps = stamps
        problems: list[str] = []
        for part in (self._reload_revocation, self._reload_mx, self._reload_client_facing, self._reload_mail):
            try:
                problems += part()
            except Misconfigured as error:
                problems.append(str(error))
        self.problems = tuple(dict.fromkeys(problems))
        return list(self.problems)

    def _reload_revocation(self) -> list[str]:
        self._revocation, problems = self._load_revocation(self._revocation, self._fetched())
        return problems

    def _reload_mx(self) -> list[str]:
        self._fetching = None
        self._mx_server, self._mx_client = mx_server_context(self._config), mx_client_context(self._config)
        return []

    def _reload_client_facing(self) -> list[str]:
        _replace_pair(self.client_facing, *_client_facing_files(self._config))
        _replace_pair(self.software, *_client_facing_files(self._config))
        return []

    def _reload_mail(self) -> list[str]:
        problems = self.robots.reload()
        self._mail_clients = mail_client_context(self._config)
        return problems

    def _load_revocation(self, kept: Revocation | None, fetched: list[Path]) -> tuple[Revocation, list[str]]:
        config, tls = self._config, self._config.tls
        lists = [*(config.path(path) for path in tls.crl_files), *fetched]
        return Revocation.load(config.path(tls.ca_file), lists, timedelta(seconds=tls.crl_grace_s), kept=kept)

    def _fetched(self) -> list[Path]:
        return crl.files_in(self._config.path(self._config.tls.crl_dir))

    def _stamp(self) -> tuple[tuple[int, int, int], ...]:
        tls = self._config.tls
        paths = {*_own_files(self._config), *_client_facing_files(self._config), *self._fetched()}
        paths |= {self._config.path(path) for path in (tls.ca_file, *tls.crl_files)} | self.robots.files
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
