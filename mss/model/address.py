"""Mail addresses and domains (RFC 5321, RFC 5322, RFC 6531, IDNA as far as 2003 and 2008 agree).

`Address.parse` is tolerant, for what peers may send; `Address.own` is strict, for addresses that we
create. Printing an address shows nothing: use `.spec` where the octets must go out.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, NewType

from email_validator import EmailNotValidError, validate_email

from mss.errors import Malformed

Domain = NewType("Domain", str)

LOCAL_MAX_OCTETS = 64
DOMAIN_MAX_OCTETS = 255
_SPEC_MAX: Final = LOCAL_MAX_OCTETS + 1 + DOMAIN_MAX_OCTETS
# IDNA 2003 maps these to something else, IDNA 2008 keeps them: the same text would name two domains.
_DEVIATIONS: Final = frozenset("ßς\u200c\u200d")
_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)\Z")
_ATOM = re.compile(
    r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~\x80-\U0010ffff-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~\x80-\U0010ffff-]+)*\Z"
)
_QUOTED = re.compile(r'"((?:[\x20\x21\x23-\x5b\x5d-\x7e\x80-\U0010ffff]|\\[\x20-\x7e])*)"\Z')


def parse_domain(text: str) -> Domain:
    """Return the domain in lower case, as A-labels; Malformed when it is no host name."""
    return _known_domain(text) if len(text) <= DOMAIN_MAX_OCTETS else _parse_domain(text)


def _parse_domain(text: str) -> Domain:
    name = text.strip().rstrip(".").lower()
    if not name.isascii():
        name = _to_ascii(name)
    if not name or len(name) > DOMAIN_MAX_OCTETS or not all(_LABEL.match(label) for label in name.split(".")):
        raise Malformed("not a domain name")
    return Domain(name)


# A letter names the same few domains many times.
_known_domain = lru_cache(maxsize=4096)(_parse_domain)


def _to_ascii(name: str) -> str:
    if _DEVIATIONS & set(name):
        raise Malformed("a domain name that IDNA 2003 and 2008 read differently")
    try:
        return name.encode("idna").decode("ascii").lower()
    except UnicodeError as error:
        raise Malformed("not a domain name") from error


@dataclass(frozen=True, slots=True, repr=False)
class Address:
    """A normalised addr-spec: the local part as written, the domain in lower-case A-labels."""

    local: str
    domain: Domain

    def __repr__(self) -> str:
        return f"Address(…@{self.domain})"

    __str__ = __repr__

    @property
    def spec(self) -> str:
        """The addr-spec as it goes on the wire, the local part quoted when it must be."""
        if _ATOM.match(self.local):
            return f"{self.local}@{self.domain}"
        escaped = self.local.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{escaped}"@{self.domain}'

    @property
    def key(self) -> str:
        """What two spellings of one mailbox have in common: all in lower case."""
        return f"{self.local.lower()}@{self.domain}"

    @property
    def digest(self) -> str:
        """A short digest, for joining log lines without naming anybody."""
        return hashlib.sha256(self.key.encode()).hexdigest()[:12]

    @property
    def is_ascii(self) -> bool:
        """Whether the address travels without SMTPUTF8."""
        return self.local.isascii()

    @classmethod
    def parse(cls, text: str) -> Address:
        """Return the address that a peer wrote; Malformed when it is none (empty local parts too)."""
        return _known_address(text) if len(text) <= _SPEC_MAX else _parse_address(text)

    @classmethod
    def own(cls, text: str) -> Address:
        """Return an address that we are about to create; Malformed with the reason when unfit."""
        try:
            valid = validate_email(text, check_deliverability=False, test_environment=True)
        except EmailNotValidError as error:
            raise Malformed("not a valid address") from error
        return cls(_parse_local(valid.local_part), parse_domain(valid.ascii_domain))


def _parse_address(text: str) -> Address:
    local, at, domain = text.strip().rpartition("@")
    if not at:
        raise Malformed("an address needs an @")
    return Address(_parse_local(local), parse_domain(domain))


# A letter names its sender and its recipients twice, and most letters the same ones.
_known_address = lru_cache(maxsize=4096)(_parse_address)


def _parse_local(local: str) -> str:
    quoted = _QUOTED.match(local)
    plain = re.sub(r"\\(.)", r"\1", quoted.group(1)) if quoted else local
    try:
        size_octets = len(plain.encode())
    except UnicodeEncodeError as error:
        raise Malformed("the local part is not UTF-8") from error
    if not 0 < size_octets <= LOCAL_MAX_OCTETS:
        raise Malformed("the local part is empty or too long")
    if not quoted and not _ATOM.match(local):
        raise Malformed("the local part has characters that need quotes")
    return plain
