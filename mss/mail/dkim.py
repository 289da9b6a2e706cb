"""DKIM signatures by dkimpy (RFC 6376); the only module that names it.

Inside the trust space DKIM is advice: mutual TLS and the trust list decide. Both calls cost tens of
milliseconds on large letters: call them off the loop. What dkimpy says in its errors holds content and is dropped.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import dkim

from mss.errors import Malformed, Misconfigured, Unavailable

# Looks up the TXT record of a name: its octets, None without one; raises Unavailable when it cannot tell.
TxtLookup = Callable[[str], bytes | None]

SIGNATURES_MAX: Final = 3
_KEY_BITS_MIN: Final = 1024
_CANONICALIZATION: Final = (b"relaxed", b"relaxed")
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


def verify(octets: bytes, look_up: TxtLookup) -> Verdict:
    """Return the verdict on the first signatures: the first that passes, else the first one's."""
    verdicts: list[Verdict] = []
    for position in range(SIGNATURES_MAX):
        verdict = _verify_one(octets, position, look_up)
        if verdict.result in ("pass", "none"):
            return verdicts[0] if verdict.result == "none" and verdicts else verdict
        verdicts.append(verdict)
    return verdicts[0]


def _verify_one(octets: bytes, position: int, look_up: TxtLookup) -> Verdict:
    missing: list[str] = []

    def txt(name: bytes, timeout: float = 5) -> bytes | None:
        del timeout  # The caller's look-up has its own.
        record = look_up(name.decode("ascii", "replace").rstrip("."))
        if not record:
            missing.append("key")
        return record

    try:
        letter = dkim.DKIM(octets, logger=_SILENT, minkey=_KEY_BITS_MIN)
        if sum(name.lower() == b"dkim-signature" for name, _ in letter.headers) <= position:
            return Verdict("none")
        passed = letter.verify(position, dnsfunc=txt)
    except Unavailable:
        return Verdict("temperror")
    except (dkim.DKIMException, ValueError, LookupError, TypeError, AttributeError):
        return Verdict("permerror")
    return Verdict(_result(letter, passed, bool(missing)), *_signer(letter))


def _result(letter: dkim.DKIM, passed: bool, key_missing: bool) -> str:
    if key_missing:
        return "permerror"
    if not passed:
        return "fail"
    # A signature over the first octets only lets anybody append to the body.
    return "policy" if b"l" in letter.signature_fields else "pass"


def _signer(letter: dkim.DKIM) -> tuple[str, str]:
    return (letter.domain or b"").decode("ascii", "replace").lower(), (letter.selector or b"").decode(
        "ascii", "replace"
    )
