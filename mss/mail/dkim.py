"""DKIM signatures by dkimpy (RFC 6376); the only module that names it.

Inside the trust space DKIM is advice: mutual TLS and the trust list decide. A call costs from a millisecond to a fifth
of a second: make it off the loop. What dkimpy says in its errors holds content and is dropped.
"""

from __future__ import annotations

import base64
import binascii
import logging
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import dkim
from dkim.asn1 import ASN1FormatError
from dkim.crypto import UnparsableKeyError, parse_public_key

from mss.errors import Malformed, Misconfigured, Unavailable

# Looks up the TXT record of a name: its octets, None without one; raises Unavailable when it cannot tell.
TxtLookup = Callable[[str], bytes | None]

SIGNATURES_MAX: Final = 3
KEY_BITS_MIN: Final = 1024
KEY_BITS_MAX: Final = 4096
RECORD_MAX_OCTETS: Final = 2048
_EXPONENT_BITS_MAX: Final = 33
_CANONICALIZATION: Final = (b"relaxed", b"relaxed")
_SIGNATURE: Final = re.compile(rb"^dkim-signature[ \t]*:((?:[^\r\n]|\r\n[ \t])*)", re.IGNORECASE | re.MULTILINE)
_NAME: Final = re.compile(rb"[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,251}[A-Za-z0-9_])?\Z")
_KEY: Final = re.compile(rb"(?:^|;)\s*p\s*=([^;]*)")
# dkimpy's logger is replaced by one that says nothing: its lines hold header fields.
_SILENT: Final = logging.Logger("mss.dkim", level=logging.CRITICAL + 1)


@dataclass(frozen=True, slots=True)
class Verdict:
    """A result of RFC 8601 §2.7.1 (none, pass, fail, policy, temperror, permerror) and who signed."""

    result: str
    domain: str = ""
    selector: str = ""


def sign(octets: bytes, selector: str, domain: str, key_pem: bytes) -> bytes:
    """Return the DKIM-Signature field, with its line end, to put before the letter (RSA key in PEM)."""
    try:
        return dkim.DKIM(octets, logger=_SILENT).sign(
            selector.encode("ascii"), domain.encode("ascii"), key_pem, canonicalize=_CANONICALIZATION
        )
    except dkim.KeyFormatError as error:
        raise Misconfigured("the DKIM key is no RSA private key in PEM") from error
    except (dkim.DKIMException, LookupError) as error:
        raise Malformed("the letter's header cannot be signed") from error


def key_names(octets: bytes) -> tuple[str, ...]:
    """Return the names whose TXT records `verify` will ask for: those of the first signatures, each once."""
    found: dict[str, None] = {}
    for number, match in enumerate(_SIGNATURE.finditer(_head(octets))):
        if number == SIGNATURES_MAX:
            break
        tags = dict(_tag(piece) for piece in match[1].split(b";"))
        domain, selector = tags.get(b"d", b""), tags.get(b"s", b"")
        if _NAME.match(domain) and _NAME.match(selector):
            found[f"{selector.decode()}._domainkey.{domain.decode()}".lower()] = None
    return tuple(found)


def is_signed(octets: bytes) -> bool:
    """Whether the letter has a signature, readable or not."""
    return _SIGNATURE.search(_head(octets)) is not None


def _head(octets: bytes) -> bytes:
    end = octets.find(b"\r\n\r\n")
    return octets if end < 0 else octets[: end + 2]


def _tag(piece: bytes) -> tuple[bytes, bytes]:
    name, _, value = piece.partition(b"=")
    return name.strip(), value.strip()


def verify(octets: bytes, look_up: TxtLookup) -> Verdict:
    """Return the verdict on the first signatures: the first that passes, else the first one's."""
    verdicts = verify_each(octets, look_up)
    return next((one for one in verdicts if one.result == "pass"), verdicts[0])


def verify_each(octets: bytes, look_up: TxtLookup) -> tuple[Verdict, ...]:
    """Return the verdicts on the first signatures in their order, up to one that passes; `none` without any."""
    verdicts: list[Verdict] = []
    for position in range(SIGNATURES_MAX):
        verdict = _verify_one(octets, position, look_up)
        if verdict.result == "none":
            break
        verdicts.append(verdict)
        if verdict.result == "pass":
            break
    return tuple(verdicts) or (Verdict("none"),)


def _verify_one(octets: bytes, position: int, look_up: TxtLookup) -> Verdict:
    unusable: list[str] = []

    def txt(name: bytes, timeout: float = 5) -> bytes | None:
        del timeout  # The caller's look-up has its own.
        record = look_up(name.decode("ascii", "replace").rstrip(".").lower())
        if record and not is_weak_or_huge(record):
            return record
        unusable.append("policy" if record else "permerror")
        return None

    try:
        letter = dkim.DKIM(octets, logger=_SILENT, minkey=KEY_BITS_MIN)
        if sum(name.lower() == b"dkim-signature" for name, _ in letter.headers) <= position:
            return Verdict("none")
        passed = letter.verify(position, dnsfunc=txt)
    except Unavailable:
        return Verdict("temperror")
    except (dkim.DKIMException, ASN1FormatError, ValueError, LookupError, TypeError, AttributeError, AssertionError):
        return Verdict("permerror")
    return Verdict(unusable[0] if unusable else _result(letter, passed), *_signer(letter))


def is_weak_or_huge(record: bytes) -> bool:
    """Whether a record's RSA key is one that we do not work with: too short to trust, or so long that it costs."""
    if len(record) > RECORD_MAX_OCTETS:
        return True
    match = _KEY.search(record)
    try:
        key = parse_public_key(base64.b64decode(match[1] if match else b""))
    except (UnparsableKeyError, ASN1FormatError, binascii.Error, LookupError, TypeError, AssertionError):
        return False  # No RSA key at all: dkimpy says so itself.
    bits = key["modulus"].bit_length()
    return not KEY_BITS_MIN <= bits <= KEY_BITS_MAX or key["publicExponent"].bit_length() > _EXPONENT_BITS_MAX


def _result(letter: dkim.DKIM, passed: bool) -> str:
    if not passed:
        return "fail"
    # A signature over the first octets only lets anybody append to the body; SHA-1 proves nothing (RFC 8301).
    weak = b"l" in letter.signature_fields or letter.signature_fields.get(b"a") == b"rsa-sha1"
    return "policy" if weak else "pass"


def _signer(letter: dkim.DKIM) -> tuple[str, str]:
    return (letter.domain or b"").decode("ascii", "replace").lower(), (letter.selector or b"").decode(
        "ascii", "replace"
    )
