"""The certificates that robots of ours sign in with: who is asked for one, and what it says (RFC 5280, RFC 4422).

Chain and dates are proven by the handshake, revocation is judged here; which account a certificate means is
`services.proofs`'.
"""

from __future__ import annotations

import hashlib
import ssl
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256

from mss.config import Config
from mss.errors import Malformed, Misconfigured
from mss.model.peer import DN, ClientCertificate
from mss.revocation import Revocation


def dn_of(certificate: x509.Certificate) -> DN:
    """Return a certificate's subject as a comparable name."""
    return DN.of([(attribute.oid.dotted_string, str(attribute.value)) for attribute in certificate.subject])


def fingerprint_of(certificate: x509.Certificate) -> str:
    """Return a certificate's SHA-256 fingerprint in hexadecimal."""
    return certificate.fingerprint(SHA256()).hex()


class Robots:
    """The authorities of robots' certificates and their revocation lists, read again when their files change."""

    def __init__(self, config: Config) -> None:
        """Read everything; Misconfigured says which file to mend."""
        self._config = config
        self._revocation: Revocation | None = None
        problems = self.reload()
        if problems:
            raise Misconfigured("; ".join(problems))

    @property
    def files(self) -> set[Path]:
        """What is read."""
        tls = self._config.tls
        return {self._config.path(path) for path in (tls.client_ca_file, *tls.client_crl_files) if path}

    def reload(self) -> list[str]:
        """Read the files again; return what is wrong with lists that were left out."""
        config, tls = self._config, self._config.tls
        if tls.client_ca_file is None:
            return []
        lists, grace = [config.path(path) for path in tls.client_crl_files], timedelta(seconds=tls.crl_grace_s)
        self._revocation, problems = Revocation.load(
            config.path(tls.client_ca_file), lists, grace, kept=self._revocation
        )
        return problems

    def shown(self, end: object, now: datetime) -> ClientCertificate | None:
        """Return the certificate that a client showed in its session; None when it showed none, or none is asked for.

        Malformed: it is outside its dates by now. Unavailable: its chain is no longer known.
        """
        der = end.getpeercert(binary_form=True) if isinstance(end, ssl.SSLObject | ssl.SSLSocket) else None
        if not der or self._revocation is None:
            return None
        try:
            leaf = x509.load_der_x509_certificate(der)
            subject = dn_of(leaf)
        except (ValueError, x509.InvalidVersion) as error:
            raise Malformed("the client's certificate cannot be read") from error
        return ClientCertificate(subject, hashlib.sha256(der).hexdigest(), self._revocation.judge(leaf, now))


def ask(context: ssl.SSLContext, config: Config) -> ssl.SSLContext:
    """Let clients show a certificate that chains to `client_ca_file`; without that setting none is asked for.

    A certificate that does not chain, or is outside its dates, ends the handshake; none at all does not.
    """
    if config.tls.client_ca_file:
        path = config.path(config.tls.client_ca_file)
        context.verify_mode = ssl.CERT_OPTIONAL
        try:
            context.load_verify_locations(path)
        except OSError as error:  # SSLError is one.
            raise Misconfigured(f"cannot use {path} as the authorities of robots") from error
    return context
