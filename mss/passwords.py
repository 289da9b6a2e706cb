"""Passwords at rest: Argon2id (RFC 9106) with OWASP's first parameters; about 15 ms and 19 MiB each.

It does not choose threads, count failures or know accounts: `mss.signin` does. The functions block; call them in a
thread. Only this module knows PyNaCl, whose libsodium takes half the time of the reference library.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import cache
from typing import Final

from nacl.exceptions import InvalidkeyError
from nacl.pwhash import argon2id

from mss.errors import Malformed

PASSWORD_MIN_CHARACTERS = 12
PASSWORD_MAX_OCTETS = 1024

# A PHC string of ours: version, KiB of memory, passes, lanes, salt and hash.
_ENCODED: Final = re.compile(
    r"\$argon2id\$v=19\$m=(\d{1,7}),t=(\d{1,3}),p=1\$[A-Za-z0-9+/]{11,64}\$[A-Za-z0-9+/]{22,86}", re.ASCII
)


@dataclass(frozen=True, slots=True)
class Hasher:
    """Argon2id with some cost: passes over so many KiB of memory."""

    passes: int
    memory_kib: int

    def hash(self, octets: bytes) -> str:
        """Return the PHC string of octets, with a new salt."""
        return argon2id.str(octets, opslimit=self.passes, memlimit=self.memory_kib * 1024).decode("ascii")

    def is_current(self, encoded: str) -> bool:
        """Say whether a PHC string was made at this cost."""
        found = _ENCODED.fullmatch(encoded)
        return found is not None and (int(found[1]), int(found[2])) == (self.memory_kib, self.passes)


_HASHER = Hasher(passes=2, memory_kib=19 * 1024)


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
    if len(prepared) > PASSWORD_MAX_OCTETS or not _ENCODED.fullmatch(encoded):
        return verify_nothing()
    return _matches(encoded, prepared)


def _matches(encoded: str, prepared: bytes) -> bool:
    try:
        return argon2id.verify(encoded.encode("ascii"), prepared)
    except InvalidkeyError:
        return False


def verify_nothing() -> bool:
    """Take as long as a verification and say no: for logins that nobody has."""
    if _matches(_nobody(), b"\x00"):
        raise AssertionError("the hash of nobody has no password")
    return False


@cache
def _nobody() -> str:
    return _HASHER.hash(b"nobody's password, which nobody gives")


def needs_rehash(encoded: str) -> bool:
    """Say whether the hash was made with other parameters than today's."""
    return not _HASHER.is_current(encoded)
