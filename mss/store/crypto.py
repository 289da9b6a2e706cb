"""Sealing: AES-256-GCM for small values and, in segments of 64 KiB, for octets (NIST SP 800-38D).

Segments follow the STREAM construction: the nonce holds the segment's number and whether it is the last, so that
segments can be neither moved nor cut off, and a range costs a range. It keeps no keys: see `keys`.
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Iterator
from functools import lru_cache

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from mss.errors import MssError

KEY_OCTETS = 32
SEGMENT_OCTETS = 64 * 1024
_NONCE_OCTETS = 12
TAG_OCTETS = 16


class Damaged(MssError):
    """Sealed octets do not open: wrong key or changed octets."""


def new_key() -> bytes:
    """Return a fresh random key."""
    return os.urandom(KEY_OCTETS)


def derive(master: bytes, purpose: str) -> bytes:
    """Return the key for one purpose, derived from the master key (RFC 5869)."""
    return HKDF(algorithm=hashes.SHA256(), length=KEY_OCTETS, salt=None, info=purpose.encode()).derive(master)


def keyed_digest(key: bytes, *values: bytes) -> bytes:
    """Return a digest (32 octets) of several values that nobody without the key can compute or test."""
    framed = [part for value in values for part in (len(value).to_bytes(8, "big"), value)]
    if sum(map(len, values)) <= SEGMENT_OCTETS:  # At once costs less; large octets must not stand in memory twice.
        return hmac.digest(key, b"".join(framed), "sha256")
    digest = hmac.new(key, digestmod="sha256")
    for part in framed:
        digest.update(part)
    return digest.digest()


@lru_cache(maxsize=4096)
def _cipher(key: bytes) -> AESGCM:
    return AESGCM(key)


def seal(key: bytes, plain: bytes, purpose: bytes) -> bytes:
    """Seal a small value; it opens only for the same purpose."""
    return seal_with(_cipher(key), plain, purpose)


def opened(key: bytes) -> AESGCM:
    """Open a key that seals many values, or a few and is then forgotten."""
    return AESGCM(key)


def seal_with(cipher: AESGCM, plain: bytes, purpose: bytes) -> bytes:
    """Seal a small value with a key that is open already; `unseal` opens it."""
    nonce = os.urandom(_NONCE_OCTETS)
    return nonce + cipher.encrypt(nonce, plain, purpose)


def unseal(key: bytes, sealed: bytes, purpose: bytes) -> bytes:
    """Open a sealed value; Damaged when key, purpose or octets are wrong."""
    try:
        return _cipher(key).decrypt(sealed[:_NONCE_OCTETS], sealed[_NONCE_OCTETS:], purpose)
    except (InvalidTag, ValueError) as error:
        raise Damaged("a sealed value does not open") from error


def _nonce(number: int, *, last: bool) -> bytes:
    return bytes((1 if last else 0,)) + number.to_bytes(_NONCE_OCTETS - 1, "big")


def segments(size: int) -> int:
    """Return how many segments octets of that size take (at least one)."""
    return max(1, -(-size // SEGMENT_OCTETS))


def seal_octets(key: bytes, plain: bytes) -> bytes:
    """Seal octets in segments under a key that is used for nothing else."""
    return b"".join(sealed_segments(key, plain))


def sealed_segments(key: bytes, plain: bytes) -> Iterator[bytes]:
    """Yield what `seal_octets` returns, segment by segment: large octets then never stand in memory twice."""
    cipher, count = AESGCM(key), segments(len(plain))
    view = memoryview(plain)
    for i in range(count):
        yield cipher.encrypt(_nonce(i, last=i == count - 1), view[i * SEGMENT_OCTETS : (i + 1) * SEGMENT_OCTETS], None)


def sealed_range(size: int, start: int, end: int) -> tuple[int, int, int]:
    """Return (first segment, sealed offset from, sealed offset to) that octets [start, end) need."""
    first = min(start // SEGMENT_OCTETS, segments(size) - 1)
    last = min(max(start, end - 1) // SEGMENT_OCTETS, segments(size) - 1)
    step = SEGMENT_OCTETS + TAG_OCTETS
    return first, first * step, min((last + 1) * step, size + segments(size) * TAG_OCTETS)


def open_segments(key: bytes, sealed: bytes, size: int, first: int) -> bytes:
    """Open whole segments from number `first` on; `size` is that of all the plain octets."""
    cipher, count, step = AESGCM(key), segments(size), SEGMENT_OCTETS + TAG_OCTETS
    view = memoryview(sealed)
    try:
        return b"".join(
            cipher.decrypt(_nonce(first + i, last=first + i == count - 1), view[i * step : (i + 1) * step], None)
            for i in range(-(-len(sealed) // step))
        )
    except (InvalidTag, ValueError) as error:
        raise Damaged("sealed octets do not open") from error
