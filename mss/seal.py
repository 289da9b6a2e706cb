"""The operator's signature on a file of ours: a detached CMS one, by the key of its certificate (RFC 5652).

Anybody verifies it without us: openssl cms -verify -inform DER -in FILE.p7s -content FILE -CAfile ca.pem -purpose any.
"""

from __future__ import annotations

from collections.abc import Callable

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from cryptography.hazmat.primitives.serialization.pkcs7 import PKCS7Options, PKCS7SignatureBuilder

from mss.config import Config
from mss.errors import Misconfigured


def seal_of(config: Config) -> Callable[[bytes], bytes]:
    """Return what signs octets in the operator's name; Misconfigured when its certificate or key cannot be used."""
    try:
        chain = x509.load_pem_x509_certificates(config.path(config.tls.certificate_file).read_bytes())
        key = load_pem_private_key(config.path(config.tls.key_file).read_bytes(), None)
    except (OSError, ValueError, TypeError) as error:
        raise Misconfigured("the operator's certificate or key cannot be read for signing") from error
    if not isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
        raise Misconfigured("the operator's key signs nothing: use RSA or an elliptic curve")
    options = [PKCS7Options.DetachedSignature, PKCS7Options.Binary, PKCS7Options.NoCapabilities]

    def seal(octets: bytes) -> bytes:
        builder = PKCS7SignatureBuilder().set_data(octets).add_signer(chain[0], key, SHA256())
        for authority in chain[1:]:
            builder = builder.add_certificate(authority)
        return builder.sign(Encoding.DER, options)

    return seal
