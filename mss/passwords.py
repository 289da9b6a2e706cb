"""Passwords at rest: Argon2id (RFC 9106) with OWASP's first parameters; about 20 ms and 19 MiB each.

It does not choose threads, count failures or know accounts: `mss.signin` does. The functions block; call them in a
thread. Only this module knows argon2-cffi.
"""

from __future__ import annotations

import unicodedata
from functools import cache

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from mss.errors import Malformed

PASSWORD_MIN_CHARACTERS = 12
PASSWORD_MAX_OCTETS = 1024

_HASHER = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)


def _prepared(password: str) -> bytes:
    """Return the octets to hash: normalised (NFC), so that every keyboard's accents are the same (RFC 8265 §4.2)."""
    return unicodedata.normalize("NFC", password).encode("utf-8", "surrogatepass")


def check_strength(password: str) -> None:
    """Refuse a new password that is too short, too long or one repeated character; Malformed says which."""
    if len(password) < PASSWORD_MIN_CHARACTERS:
        raise Malformed(f"a password needs at least {PASSWORD_MIN_CHARACTERS} characters")
    if len(_prepared(password)) > PASSWORD_MAX_OCTETS:
        raise Malformed(f"a password has at most {PASSWORD_MAX_OCTETS} octets")
    if len(set(password)) == 1:
        raise Malformed("a password needs different characters")


def hash_password(password: str) -> str:
    """Return the encoded hash (PHC string) of a password, with a new salt."""
    return _HASHER.hash(_prepared(password))


def verify(encoded: str, password: str) -> bool:
    """Say whether a password belongs to an encoded hash; an unreadable hash or an endless password is simply wrong."""
    prepared = _prepared(password)
    if len(prepared) > PASSWORD_MAX_OCTETS:
        return verify_nothing()
    try:
        return _HASHER.verify(encoded, prepared)
    except InvalidHashError:
        return verify_nothing()
    except VerificationError:
        return False


def verify_nothing() -> bool:
    """Take as long as a verification and say no: for logins that nobody has."""
    try:
        _HASHER.verify(_nobody(), b"\x00")
    except VerificationError:
        return False
    raise AssertionError("the hash of nobody has no password")


@cache
def _nobody() -> str:
    return _HASHER.hash(b"nobody's password, which nobody gives")


def needs_rehash(encoded: str) -> bool:
    """Say whether the hash was made with other parameters than today's."""
    try:
        return _HASHER.check_needs_rehash(encoded)
    except InvalidHashError:
        return True
