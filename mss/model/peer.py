"""The authenticated other side: distinguished names, peers, operators and the trust list.

DNs compare attribute by attribute (RFC 4514): order of attributes, spacing and letter case of the
attribute types do not matter; values compare without case and with single spaces.
"""

from __future__ import annotations

import re
import unicodedata
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from mss.errors import Malformed
from mss.model.address import Domain

_PAIR = re.compile(r"\s*([A-Za-z][A-Za-z0-9-]*|(?:[Oo][Ii][Dd]\.)?\d+(?:\.\d+)*)\s*=\s*", re.ASCII)
_NAMES = {
    "2.5.4.3": "CN", "2.5.4.11": "OU", "2.5.4.10": "O", "2.5.4.8": "ST", "2.5.4.6": "C", "2.5.4.7": "L",
    "S": "ST", "2.5.4.5": "SERIALNUMBER", "0.9.2342.19200300.100.1.25": "DC", "2.5.4.97": "ORGANIZATIONIDENTIFIER",
    "2.5.4.4": "SN", "2.5.4.42": "GN", "2.5.4.12": "TITLE", "2.5.4.9": "STREET", "2.5.4.17": "POSTALCODE",
    "1.2.840.113549.1.9.1": "EMAILADDRESS", "E": "EMAILADDRESS", "SURNAME": "SN", "GIVENNAME": "GN",
    "STREETADDRESS": "STREET", "DOMAINCOMPONENT": "DC", "USERID": "UID",
    "0.9.2342.19200300.100.1.1": "UID", "COMMONNAME": "CN", "ORGANIZATIONNAME": "O",
    "ORGANIZATIONALUNITNAME": "OU", "STATEORPROVINCENAME": "ST", "COUNTRYNAME": "C", "LOCALITYNAME": "L",
}  # fmt: skip
_HEX = re.compile(r"#(?:[0-9A-Fa-f]{2})+\Z", re.ASCII)
# UTF8String, PrintableString, TeletexString, IA5String, BMPString. None of a name is longer than 127 octets.
_STRINGS = {0x0C: "utf-8", 0x13: "ascii", 0x14: "latin-1", 0x16: "ascii", 0x1E: "utf-16-be"}
_SPECIAL = re.compile(r'[,;+"\\<>=#]')
_ESCAPED = re.compile(rb"\\([0-9A-Fa-f]{2}|.)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class DN:
    """A distinguished name as a sorted tuple of (attribute type in upper case, normalised value)."""

    attributes: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, pairs: list[tuple[str, str]]) -> DN:
        """Make a DN of (type or dotted OID, value) pairs in any order."""
        return cls(tuple(sorted((_type_name(kind), _normal(value)) for kind, value in pairs)))

    @classmethod
    def parse(cls, text: str) -> DN:
        """Read the string form of RFC 4514 (`+` joins are taken as further attributes)."""
        pairs = [_read_pair(piece) for piece in _split_unescaped(text)]
        if not pairs:
            raise Malformed("an empty distinguished name")
        return cls.of(pairs)

    def __str__(self) -> str:
        return ",".join(f"{kind}={_SPECIAL.sub(_escape, value)}" for kind, value in self.attributes)


def _type_name(kind: str) -> str:
    upper = kind.strip().upper().removeprefix("OID.")
    return _NAMES.get(upper, upper)


def _normal(value: str) -> str:
    # The same accented letter has two spellings, and certificates and the list need not agree (RFC 4518): NFKC. Twice,
    # because folding can undo composition and composing can undo folding.
    for _ in range(2):
        value = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", value).casefold())
    return " ".join(value.split())


def _escape(special: re.Match[str]) -> str:
    return "\\" + special.group()


def _split_unescaped(text: str) -> list[str]:
    """Split at `,`, `;` and `+` that are neither escaped nor inside quotes."""
    pieces, start, quoted, i = [], 0, False, 0
    while i < len(text):
        if text[i] == "\\":
            i += 1
        elif text[i] == '"':
            quoted = not quoted
        elif text[i] in ",;+" and not quoted:
            pieces.append(text[start:i])
            start = i + 1
        i += 1
    pieces.append(text[start:])
    return [piece for piece in pieces if piece.strip()]


def _read_pair(piece: str) -> tuple[str, str]:
    match = _PAIR.match(piece)
    if not match:
        raise Malformed("not a distinguished name")
    # Spaces at the ends go later (`_normal`): stripping here would leave the backslash of an escaped one.
    value = piece[match.end() :]
    quoted = value.strip()
    if len(quoted) >= 2 and quoted[0] == quoted[-1] == '"':
        value = quoted[1:-1]
    elif _HEX.match(quoted):
        return match.group(1), _encoded(bytes.fromhex(quoted[1:])) or quoted
    return match.group(1), _unescape(value)


def _encoded(ber: bytes) -> str | None:
    """Return the text of a BER-encoded string (RFC 4514 section 2.4); None for what is no short, whole one."""
    codec = _STRINGS.get(ber[0])
    if codec is None or len(ber) < 2 or ber[1] != len(ber) - 2:
        return None
    try:
        return ber[2:].decode(codec)
    except UnicodeDecodeError:
        return None


def _unescape(value: str) -> str:
    octets = _ESCAPED.sub(lambda m: _escaped_octet(m.group(1)), value.encode("utf-8", "replace"))
    return octets.decode("utf-8", "replace")


def _escaped_octet(escaped: bytes) -> bytes:
    return bytes([int(escaped, 16)]) if len(escaped) == 2 else escaped


@dataclass(frozen=True, slots=True)
class Peer:
    """Who is at the other end of a mutual TLS session whose chain and dates were verified.

    `revocation` is "good", "revoked", "unknown" (no usable CRL), "stale" (a CRL past its nextUpdate and past the
    configured grace) or "expired" (the certificate ended while the session lasted). `certificate` (DER), its SHA-256
    `fingerprint` and the `responder` that it names are for judging it again.
    """

    subject: DN
    common_name: str
    serial: str
    ip: str
    revocation: str = "good"
    certificate: bytes = field(default=b"", repr=False, compare=False)
    fingerprint: bytes = field(default=b"", repr=False, compare=False)
    responder: str = field(default="", repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class ClientCertificate:
    """What a robot of ours showed in a handshake that verified its chain and dates; `fingerprint` is SHA-256 in
    hexadecimal, `revocation` as a Peer's."""

    subject: DN
    fingerprint: str
    revocation: str = "good"

    @property
    def thumbprint(self) -> str:
        """The fingerprint as tokens write it (x5t#S256 of RFC 8705)."""
        return urlsafe_b64encode(bytes.fromhex(self.fingerprint)).rstrip(b"=").decode()


@dataclass(frozen=True, slots=True)
class Operator:
    """An organisation that carries letters for some domains of the trust space."""

    domain: Domain
    description: str
    subjects: frozenset[DN]


@dataclass(frozen=True, slots=True)
class TrustList:
    """The liste blanche: which subject DNs may speak for which domain."""

    generated_at: datetime
    domains: Mapping[Domain, frozenset[DN]]
    fetched_at: datetime
    version: int = 0
    # The same turned round: admission asks it for every letter, and the real list has thousands of domains.
    _by_subject: Mapping[DN, frozenset[Domain]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        turned: dict[DN, set[Domain]] = {}
        for domain, subjects in self.domains.items():
            for subject in subjects:
                turned.setdefault(subject, set()).add(domain)
        object.__setattr__(self, "_by_subject", {dn: frozenset(names) for dn, names in turned.items()})

    def subjects_of(self, domain: Domain) -> frozenset[DN]:
        """Return the DNs listed for a domain: none for a stranger's."""
        return self.domains.get(domain, frozenset())

    def domains_of(self, subject: DN) -> frozenset[Domain]:
        """Return all domains that list the DN."""
        return self._by_subject.get(subject, frozenset())


@dataclass(frozen=True, slots=True)
class ListReading:
    """One reading of the trust list, as remembered: equal readings in a row are one, with how often they came.

    `source` is "file", "url" or "command"; `verdict` "taken", "refused" or "unreachable". `digest` is the SHA-256 of
    the octets in hexadecimal, which the published checksum can be held against; empty when there were none.
    """

    source: str
    verdict: str
    first_at: datetime
    last_at: datetime
    digest: str = ""
    reason: str = ""
    generated_at: datetime | None = None
    domains: int = 0
    version: int | None = None
    times: int = 1


@dataclass(frozen=True, slots=True)
class ListChange:
    """What became of one domain between two trust lists; a domain that came or went lacks the other side."""

    domain: Domain
    gone: frozenset[DN]
    come: frozenset[DN]


def changes(old: TrustList, new: TrustList) -> tuple[ListChange, ...]:
    """Return the domains whose subjects differ, in order."""
    both = sorted(old.domains.keys() | new.domains.keys())
    pairs = ((domain, old.subjects_of(domain), new.subjects_of(domain)) for domain in both)
    return tuple(ListChange(domain, was - now, now - was) for domain, was, now in pairs if was != now)
