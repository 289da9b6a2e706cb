"""What a certificate's responder says of it today (OCSP, RFC 6960), bounded in time and remembered until it ends.

It adds a no to the revocation lists, never a yes, and it decides nothing: `mss.tls` joins the two. An answer counts
when the issuer signed it, or a responder that the issuer named for it (section 4.2.2.2) and that no list revokes.
No nonce is sent, because most responders sign ahead (RFC 5019): the dates of an answer bound its replay.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final, Literal
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID

from mss.errors import Malformed, MssError
from mss.fetch import fetch, is_fetchable
from mss.log import get_logger

if TYPE_CHECKING:
    import ssl

Status = Literal["good", "revoked", "unknown"]

# Clocks differ by so much without anybody being wrong.
SKEW: Final = timedelta(minutes=5)
# An answer without an end says that a newer one is always to be had: it is good for one conversation.
_ENDLESS: Final = timedelta(minutes=5)
_LONGEST: Final = timedelta(days=7)
_SILENCE: Final = timedelta(minutes=1)
_AT_ONCE: Final = 16
_HASHES: Final = (hashes.SHA1, hashes.SHA256, hashes.SHA384, hashes.SHA512)
_STATUSES: Final[dict[ocsp.OCSPCertStatus, Status]] = {
    ocsp.OCSPCertStatus.GOOD: "good",
    ocsp.OCSPCertStatus.REVOKED: "revoked",
    ocsp.OCSPCertStatus.UNKNOWN: "unknown",
}

_log = get_logger("revocation")


@dataclass(frozen=True, slots=True)
class Answer:
    """What a responder says, and until when that counts."""

    status: Status
    until: datetime


def responder_of(leaf: x509.Certificate) -> str | None:
    """Return the URL of the responder that a certificate names."""
    try:
        access = leaf.extensions.get_extension_for_class(x509.AuthorityInformationAccess).value
    except x509.ExtensionNotFound:
        return None
    places = (one.access_location for one in access if one.access_method == AuthorityInformationAccessOID.OCSP)
    urls = (str(place.value) for place in places if isinstance(place, x509.UniformResourceIdentifier))
    return next((url for url in urls if is_fetchable(url)), None)


def question(leaf: x509.Certificate, issuer: x509.Certificate) -> bytes:
    """Return the request about one certificate. SHA-1 names it, as every responder understands; it protects nothing."""
    made = ocsp.OCSPRequestBuilder().add_certificate(leaf, issuer, hashes.SHA1()).build()  # noqa: S303
    return made.public_bytes(Encoding.DER)


def read(
    octets: bytes,
    leaf: x509.Certificate,
    issuer: x509.Certificate,
    now: datetime,
    is_revoked: Callable[[x509.Certificate], bool] = lambda _: False,
) -> Answer:
    """Return what a response says of the leaf; Malformed when it says nothing that counts.

    `is_revoked` is asked about a responder that the issuer named, unless it is exempted (ocsp-nocheck).
    """
    try:
        response = ocsp.load_der_ocsp_response(octets)
        if response.response_status is not ocsp.OCSPResponseStatus.SUCCESSFUL:
            raise Malformed(f"the responder says {response.response_status.name.lower().replace('_', ' ')}")
        _check_signature(response, issuer, now, is_revoked)
        single = next((one for one in response.responses if _is_about(one, leaf, issuer)), None)
    except (ValueError, TypeError, x509.DuplicateExtension, UnsupportedAlgorithm) as error:
        raise Malformed("the response cannot be read") from error
    if single is None:
        raise Malformed("the response is about another certificate")
    begins, ends = single.this_update_utc, single.next_update_utc
    if begins > now + SKEW:
        raise Malformed("the response is not valid yet")
    if ends is not None and ends + SKEW < now:
        raise Malformed("the response is out of date")
    if ends is None and begins + _LONGEST < now:
        raise Malformed("the response is out of date")
    until = min(ends or now + _ENDLESS, now + _LONGEST)
    return Answer(_STATUSES[single.certificate_status], until)


def _is_about(single: ocsp.OCSPSingleResponse, leaf: x509.Certificate, issuer: x509.Certificate) -> bool:
    if single.serial_number != leaf.serial_number or not isinstance(single.hash_algorithm, _HASHES):
        return False
    wanted = ocsp.OCSPRequestBuilder().add_certificate(leaf, issuer, single.hash_algorithm).build()
    return (single.issuer_name_hash, single.issuer_key_hash) == (wanted.issuer_name_hash, wanted.issuer_key_hash)


def _check_signature(
    response: ocsp.OCSPResponse,
    issuer: x509.Certificate,
    now: datetime,
    is_revoked: Callable[[x509.Certificate], bool],
) -> None:
    """Raise Malformed unless the issuer signed, or a responder that it named."""
    signers = [issuer, *(one for one in response.certificates if _is_named(one, issuer, now))]
    for signer in signers:
        if _signed_by(response, signer):
            if signer is not issuer and not _is_exempted(signer) and is_revoked(signer):
                raise Malformed("the responder's own certificate is revoked")
            return
    raise Malformed("the response is not signed by the issuer or a responder of its")


def _is_named(signer: x509.Certificate, issuer: x509.Certificate, now: datetime) -> bool:
    """Whether the issuer gave this certificate the right to answer for it."""
    try:
        signer.verify_directly_issued_by(issuer)
        usage = signer.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm, x509.ExtensionNotFound):
        return False
    dated = signer.not_valid_before_utc <= now + SKEW and now - SKEW <= signer.not_valid_after_utc
    return dated and ExtendedKeyUsageOID.OCSP_SIGNING in usage


def _is_exempted(signer: x509.Certificate) -> bool:
    try:
        signer.extensions.get_extension_for_class(x509.OCSPNoCheck)
    except x509.ExtensionNotFound:
        return False
    return True


def _signed_by(response: ocsp.OCSPResponse, signer: x509.Certificate) -> bool:
    key, algorithm = signer.public_key(), response.signature_hash_algorithm
    if algorithm is None or isinstance(algorithm, hashes.SHA1 | hashes.MD5):
        return False
    try:
        if isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(response.signature, response.tbs_response_bytes, ec.ECDSA(algorithm))
        elif isinstance(key, rsa.RSAPublicKey):
            key.verify(response.signature, response.tbs_response_bytes, padding.PKCS1v15(), algorithm)
        else:
            return False
    except InvalidSignature:
        return False
    return True


@dataclass(frozen=True, slots=True)
class Bounds:
    """What asking may cost, and how many answers are remembered."""

    timeout_s: float
    max_octets: int
    cached_max: int


class Responders:
    """The answers of all responders, as one process knows them.

    A certificate is asked about once, whoever waits; a responder that was silent is left alone for a minute, so that
    a dead one costs one wait and not one for each connection.
    """

    def __init__(self, bounds: Bounds, count: Callable[[str], None] = lambda _: None) -> None:
        self._bounds = bounds
        self._count = count
        self._answers: OrderedDict[bytes, Answer] = OrderedDict()
        self._asking: dict[bytes, asyncio.Task[Answer | None]] = {}
        self._silent_since: OrderedDict[str | bytes, datetime] = OrderedDict()
        self._slots = asyncio.Semaphore(_AT_ONCE)

    def known(self, fingerprint: bytes, now: datetime) -> Answer | None:
        """Return an answer that still counts."""
        answer = self._answers.get(fingerprint)
        return answer if answer is not None and now <= answer.until else None

    async def ask(
        self,
        leaf: x509.Certificate,
        issuer: x509.Certificate,
        tls: ssl.SSLContext,
        now: datetime,
        is_revoked: Callable[[x509.Certificate], bool],
    ) -> Answer | None:
        """Return what the leaf's responder says, from memory or anew; None when it says nothing that counts."""
        fingerprint = leaf.fingerprint(hashes.SHA256())
        url = responder_of(leaf)
        answer = self.known(fingerprint, now)
        if answer is not None or url is None:
            return answer
        host = urlsplit(url).netloc
        if self._is_silent(host, now) or self._is_silent(fingerprint, now):
            self._count("silent")
            return None
        task = self._asking.get(fingerprint)
        if task is None:
            task = asyncio.ensure_future(self._ask(url, host, leaf, issuer, tls, now, is_revoked))
            self._asking[fingerprint] = task
            task.add_done_callback(lambda _: self._asking.pop(fingerprint, None))
        return await asyncio.shield(task)

    def _is_silent(self, who: str | bytes, now: datetime) -> bool:
        since = self._silent_since.get(who)
        return since is not None and timedelta(0) <= now - since < _SILENCE

    async def _ask(
        self,
        url: str,
        host: str,
        leaf: x509.Certificate,
        issuer: x509.Certificate,
        tls: ssl.SSLContext,
        now: datetime,
        is_revoked: Callable[[x509.Certificate], bool],
    ) -> Answer | None:
        bounds, fingerprint = self._bounds, leaf.fingerprint(hashes.SHA256())
        try:
            async with asyncio.timeout(bounds.timeout_s), self._slots:
                octets = await fetch(
                    url,
                    tls,
                    max_octets=bounds.max_octets,
                    timeout_s=bounds.timeout_s,
                    body=question(leaf, issuer),
                    content_type="application/ocsp-request",
                )
            answer = read(octets, leaf, issuer, now, is_revoked)
        except (MssError, TimeoutError) as error:
            # An answer that does not count concerns one certificate: its holder must not silence the responder of all.
            self._note_silence(fingerprint if isinstance(error, Malformed) else host, now)
            self._count("silent")
            _log.warning("ocsp.no_answer", host=host, reason=str(error) or f"no answer within {bounds.timeout_s:g} s")
            return None
        self._silent_since.pop(host, None)
        self._count(answer.status)
        self._remember(fingerprint, answer)
        return answer

    def _note_silence(self, who: str | bytes, now: datetime) -> None:
        self._silent_since[who] = now
        self._silent_since.move_to_end(who)
        while len(self._silent_since) > self._bounds.cached_max:
            self._silent_since.popitem(last=False)

    def _remember(self, fingerprint: bytes, answer: Answer) -> None:
        self._answers[fingerprint] = answer
        self._answers.move_to_end(fingerprint)
        while len(self._answers) > self._bounds.cached_max:
            self._answers.popitem(last=False)
