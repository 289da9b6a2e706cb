"""What the operator certifies is signed with the operator's own key: ECDSA or RSA, with SHA-256."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from mss.errors import Misconfigured


def signer(key_file: Path) -> Callable[[bytes], dict[str, str]]:
    """Return what signs octets with the operator's key (ECDSA or RSA, SHA-256); Misconfigured when it cannot."""
    try:
        key = load_pem_private_key(key_file.read_bytes(), None)
    except (OSError, ValueError, TypeError) as error:
        raise Misconfigured(f"the operator's key {key_file} cannot be read") from error

    def sign(octets: bytes) -> dict[str, str]:
        if isinstance(key, ec.EllipticCurvePrivateKey):
            signature, algorithm = key.sign(octets, ec.ECDSA(hashes.SHA256())), "ECDSA-SHA256"
        elif isinstance(key, rsa.RSAPrivateKey):
            signature, algorithm = key.sign(octets, padding.PKCS1v15(), hashes.SHA256()), "RSA-SHA256"
        else:
            raise Misconfigured("the operator's key is of a kind that signs no certificate of erasure")
        digest = hashlib.sha256(octets).hexdigest()
        return {"sha256": digest, "algorithm": algorithm, "signature": b64encode(signature).decode()}

    return sign
