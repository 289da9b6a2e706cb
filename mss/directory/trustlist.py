"""The liste blanche: which certificates may carry letters for which domain (MSSANTE.md §3.1).

It neither fetches nor keeps the list, and it does not decide about letters: `mss.policy.admission` does. A list is
taken whole or refused whole: whoever calls keeps the last good copy and watches its age.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from mss import xml, xmlsig
from mss.errors import Malformed
from mss.model.address import Domain, parse_domain
from mss.model.peer import DN, TrustList

if TYPE_CHECKING:
    from mss.revocation import Certificate

NAMESPACE = "https://listeblanche.mssante.fr/schema"
_ROOT = "ListeBlancheMSSante"
_NEEDED = frozenset({"Nom", "DNCertificatOperateur", "DateMAJ"})
_KNOWN = _NEEDED | {"Description", "ResponsableContact", "SupportContact"}
_DATE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,6})?(?:Z|[+-]\d\d:\d\d)\Z", re.ASCII)
_OPENED = re.compile(rb"<(?:[\w.-]+:)?ListeBlancheMSSante[\s>]")
_CLOSED = re.compile(rb"</(?:[\w.-]+:)?ListeBlancheMSSante\s*>")
_DEPTH_MAX = 8
# A list dated ahead would make every later one look older: clocks may differ by no more.
_AHEAD_MAX = timedelta(days=1)
# As in `mss.policy.admission`, where such a list defers every peer.
_AHEAD_OF_READING_MAX = timedelta(seconds=300)
# The order that certificates are written in; a DN itself keeps none.
_DN_ORDER = ("CN", "OU", "O", "L", "ST", "C")
_DN_SPECIAL = re.compile(r'[,+"\\<>;=]|\A#')
_DN_UNWRITABLE = re.compile("[\x00-\x1f\x7f\ufffe\uffff]")


def parse(octets: bytes, *, fetched_at: datetime, max_octets: int, signers: Sequence[Certificate] = ()) -> TrustList:
    """Read the list; Malformed says what is wrong and where, and then nothing of it counts.

    With `signers`, one of them must have signed it, and only what was signed is read. Without, a signature is passed
    over.
    """
    root = _root(octets, max_octets)
    if signers:
        root = _root(_signed(octets, signers, fetched_at), max_octets)
    _expect(root, _ROOT, "the document")
    fields = _fields(root, frozenset({"DateDeGeneration", "ListeDomaines"}), frozenset(), f"<{_ROOT}>", signed=True)
    generated_at = _date(fields["DateDeGeneration"], "<DateDeGeneration>")
    if generated_at > fetched_at + _AHEAD_MAX:
        raise Malformed("the trust list is dated in the future")
    domains: dict[Domain, set[DN]] = {}
    for domain, subject in _entries(fields["ListeDomaines"]):
        domains.setdefault(domain, set()).add(subject)
    if not domains:
        raise Malformed("the trust list names no domain")
    frozen = {domain: frozenset(subjects) for domain, subjects in domains.items()}
    return TrustList(generated_at=generated_at, domains=frozen, fetched_at=fetched_at)


def check_replacement(
    old: TrustList | None, new: TrustList, shrink_max_share: float, *, clock_is_right: bool = False
) -> str | None:
    """Return why the new list must not replace the old one, or None when it may.

    `shrink_max_share` is the share of the old list's domains that may be gone at once. A reading before the last one
    says that the clock went back; somebody may say that it is right now.
    """
    if old is None:
        return None
    if old.fetched_at - new.fetched_at > _AHEAD_OF_READING_MAX and not clock_is_right:
        return f"the clock went back: the list in use was read at {old.fetched_at:%Y-%m-%d %H:%M}"
    if new.generated_at < old.generated_at:
        return f"the list of {new.generated_at:%Y-%m-%d %H:%M} is older than that of {old.generated_at:%Y-%m-%d %H:%M}"
    gone = len(old.domains.keys() - new.domains.keys())
    if gone > len(old.domains) * shrink_max_share:
        return f"{gone} of {len(old.domains)} domains would be gone at once, more than {shrink_max_share:.0%}"
    return None


def render(trust_list: TrustList) -> bytes:
    """Write a list that `parse` reads back the same: one entry per domain and name, in their order."""
    stamp = _written_date(trust_list.generated_at)
    entries = [
        xml.tag(
            "Domaine",
            None,
            xml.tag("Nom", None, domain),
            xml.tag("DNCertificatOperateur", None, written_dn(subject)),
            xml.tag("DateMAJ", None, stamp),
        )
        for domain in sorted(trust_list.domains)
        for subject in sorted(trust_list.domains[domain], key=str)
    ]
    generated = xml.tag("DateDeGeneration", None, stamp)
    return xml.serialise(xml.tag(_ROOT, {"xmlns": NAMESPACE}, generated, xml.tag("ListeDomaines", None, *entries)))


def written_dn(subject: DN) -> str:
    """Return the string form of RFC 4514, in the order of certificates, with what must be escaped escaped."""
    known = {kind: place for place, kind in enumerate(_DN_ORDER)}
    pairs = sorted(subject.attributes, key=lambda pair: known.get(pair[0], len(known)))
    return ",".join(f"{kind}={_written_value(value)}" for kind, value in pairs)


def _written_value(value: str) -> str:
    escaped = _DN_SPECIAL.sub(lambda match: "\\" + match.group(), value)
    return _DN_UNWRITABLE.sub(lambda match: "".join(f"\\{octet:02X}" for octet in match.group().encode()), escaped)


def _root(octets: bytes, max_octets: int) -> xml.Element:
    try:
        return xml.parse(octets, max_octets=max_octets, depth_max=_DEPTH_MAX)
    except Malformed as error:
        if len(octets) <= max_octets and _OPENED.search(octets) and not _CLOSED.search(octets):
            raise Malformed(f"the trust list is cut short: its closing tag </{_ROOT}> is missing") from error
        raise Malformed(f"the trust list cannot be read: {error}") from error


def _expect(element: xml.Element, name: str, where: str) -> None:
    if element.namespace != NAMESPACE:
        raise Malformed(f"<{element.name[:40]}> in {where} is not in the namespace {NAMESPACE}")
    if element.name != name:
        raise Malformed(f"unexpected <{element.name[:40]}> in {where}, instead of <{name}>")


def _signed(octets: bytes, signers: Sequence[Certificate], now: datetime) -> bytes:
    try:
        return xmlsig.signed_octets(octets, signers, now)
    except Malformed as error:
        raise Malformed(f"the trust list is not signed as it must be: {error}") from error


def _fields(
    parent: xml.Element, needed: frozenset[str], optional: frozenset[str], where: str, *, signed: bool = False
) -> dict[str, xml.Element]:
    """Return the children by name: all that are needed, each once, no stranger; a signature only where one may be."""
    found: dict[str, xml.Element] = {}
    for child in parent.children():
        if signed and (child.namespace, child.name) == (xmlsig.NAMESPACE, "Signature"):
            continue
        if child.namespace != NAMESPACE or child.name not in needed | optional:
            raise Malformed(f"unexpected <{child.name[:40]}> in {where}")
        if child.name in found:
            raise Malformed(f"<{child.name}> stands twice in {where}")
        found[child.name] = child
    for name in sorted(needed - found.keys()):
        raise Malformed(f"<{name}> is missing in {where}")
    return found


def _entries(listed: xml.Element) -> Iterator[tuple[Domain, DN]]:
    for number, entry in enumerate(listed.children(), 1):
        where = f"<Domaine> number {number}"
        _expect(entry, "Domaine", "<ListeDomaines>")
        fields = _fields(entry, _NEEDED, _KNOWN - _NEEDED, where)
        _date(fields["DateMAJ"], f"<DateMAJ> of {where}")
        yield _domain(fields["Nom"], where), _dn(fields["DNCertificatOperateur"], where)


def _text(element: xml.Element, where: str) -> str:
    if next(element.children(), None) is not None:
        raise Malformed(f"{where} holds elements instead of a text")
    return element.text


def _date(element: xml.Element, where: str) -> datetime:
    text = _text(element, where)
    try:
        if not _DATE.match(text):
            raise ValueError
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise Malformed(f"{where} is not a date with its time zone") from error


def _domain(element: xml.Element, where: str) -> Domain:
    try:
        domain = parse_domain(_text(element, f"<Nom> of {where}"))
    except Malformed as error:
        raise Malformed(f"<Nom> of {where} is not a domain name") from error
    if "." not in domain:
        raise Malformed(f"<Nom> of {where} is not a domain name")
    return domain


def _dn(element: xml.Element, where: str) -> DN:
    text = _text(element, f"<DNCertificatOperateur> of {where}")
    try:
        subject = DN.parse(text)
    except Malformed as error:
        raise Malformed(f"<DNCertificatOperateur> of {where} is not a distinguished name") from error
    # A name without CN, or with an empty one, would fit certificates that nobody meant.
    if not any(kind == "CN" for kind, _ in subject.attributes) or not all(value for _, value in subject.attributes):
        raise Malformed(f"<DNCertificatOperateur> of {where} names no certificate")
    return subject


def _written_date(instant: datetime) -> str:
    return instant.astimezone(UTC).isoformat().replace("+00:00", "Z")
