"""The enveloped XML signature of a whole document (XML Signature 1.1). The only module that names signxml.

It returns the octets that were signed, and only those are to be read. Who may sign is the caller's: the certificates
in the document itself are never believed. The octets must have passed `mss.xml.parse`, which bounds them.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature as BadSignature
from cryptography.exceptions import UnsupportedAlgorithm
from signxml.algorithms import DigestAlgorithm, SignatureMethod
from signxml.exceptions import SignXMLException
from signxml.verifier import SignatureConfiguration, VerifyResult, XMLVerifier

from mss.errors import Malformed
from mss.xml import TreeError

NAMESPACE: Final = "http://www.w3.org/2000/09/xmldsig#"
_METHODS: Final = frozenset(
    {
        SignatureMethod.RSA_SHA256,
        SignatureMethod.RSA_SHA384,
        SignatureMethod.RSA_SHA512,
        SignatureMethod.SHA256_RSA_MGF1,
        SignatureMethod.SHA384_RSA_MGF1,
        SignatureMethod.SHA512_RSA_MGF1,
        SignatureMethod.ECDSA_SHA256,
        SignatureMethod.ECDSA_SHA384,
        SignatureMethod.ECDSA_SHA512,
    }
)
_TRIPPED: Final = (ValueError, TypeError, AttributeError, AssertionError, UnsupportedAlgorithm)
_DIGESTS: Final = frozenset({DigestAlgorithm.SHA256, DigestAlgorithm.SHA384, DigestAlgorithm.SHA512})


def signed_octets(octets: bytes, signers: Iterable[x509.Certificate], now: datetime) -> bytes:
    """Return the canonical octets of the document that one of the signers signed; Malformed when none did.

    Exactly one reference to the whole document counts, in a signature directly below its root, of a signer within its
    dates.
    """
    config = SignatureConfiguration(
        location="./",
        expect_references=1,
        signature_methods=_METHODS,
        digest_algorithms=_DIGESTS,
        ignore_ambiguous_key_info=True,
        verification_time=now,
    )
    reason = "its signature is not of a certificate that may sign it"
    for signer in signers:
        if not signer.not_valid_before_utc <= now <= signer.not_valid_after_utc:
            reason = "the certificate that may sign it is outside its dates"
            continue
        try:
            found = XMLVerifier().verify(octets, x509_cert=signer, expect_config=config)
        except (SignXMLException, BadSignature, TreeError, SyntaxError, LookupError, *_TRIPPED):
            # What a hostile signature makes the library trip over is no signature either.
            continue
        if isinstance(found, VerifyResult) and found.signed_xml is not None:
            return found.signed_data
    raise Malformed(reason)
