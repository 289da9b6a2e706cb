"""The header facts of a clinical document, and the PDF inside an unstructured one.

It does not judge the content: no schema, no schematron, and identities are taken as written.
HL7 CDA Release 2; the French header (CI-SIS, volet Structuration minimale); INS in recordTarget.
"""

from __future__ import annotations

import base64
import binascii
import re
from datetime import UTC, datetime, timedelta, timezone
from typing import Final

from mss.config import Limits
from mss.errors import Malformed
from mss.model.document import Author, Confidentiality, DocumentEntry, DocumentFormat, PatientIdentity
from mss.model.ins import Traits
from mss.xml import Element, parse, parse_without

HL7: Final = "urn:hl7-org:v3"
XSLT: Final = "http://www.w3.org/1999/XSL/Transform"
OID_PERSON: Final = "1.2.250.1.71.4.2.1"
MIME_TYPE: Final = "text/xml"
FORMAT_WITH_PDF: Final = "urn:ihe:iti:xds-sd:pdf:2008"

UNIQUE_ID_MAX: Final = 256
TEXT_MAX: Final = 1000
_REPEATS_MAX: Final = 50
_CUSTODIAN: Final = "custodian/assignedCustodian/representedCustodianOrganization"

_TIME = re.compile(r"(\d{4})(\d\d)?(\d\d)?(\d\d)?(\d\d)?(\d\d)?(?:\.\d{1,6})?([+-]\d{4})?\Z", re.ASCII)
_SEXES: Final = {"M": "M", "F": "F", "UN": "U", "U": "U"}


def read(octets: bytes, limits: Limits) -> DocumentEntry:
    """Return the header facts; Malformed, with a constant that says what is wrong."""
    return _entry(_header(octets, limits) or _document(octets, limits))


def read_whole(octets: bytes, limits: Limits) -> tuple[DocumentEntry, bytes | None]:
    """Return the header facts and the embedded PDF, from one parse."""
    root = _header(octets, limits) or _document(octets, limits)
    return _entry(root), _pdf(root)


def embedded_pdf(octets: bytes, limits: Limits | None = None) -> bytes | None:
    """Return the PDF that stands as the body of a level 1 document; None without (or when it is none)."""
    return _pdf(_document(octets, limits or Limits()))


def looks_like_cda(octets: bytes) -> bool:
    """Return whether the octets are worth reading as a CDA: cheap, and wrong in one direction only."""
    return b"ClinicalDocument" in octets and HL7.encode() in octets


def _header(octets: bytes, limits: Limits) -> Element | None:
    """Return the ClinicalDocument without its structured body, which is large and not read here; None for others."""
    if b"nonXMLBody" in octets:
        return None
    root = parse_without(octets, "component", max_octets=limits.cda_max_octets, depth_max=limits.xml_depth_max)
    return root if root and (root.namespace, root.name) == (HL7, "ClinicalDocument") else None


def _document(octets: bytes, limits: Limits) -> Element:
    """Return the ClinicalDocument: the root, or the only one inside a style sheet that presents itself."""
    root = parse(octets, max_octets=limits.cda_max_octets, depth_max=limits.xml_depth_max)
    if (root.namespace, root.name) == (HL7, "ClinicalDocument"):
        return root
    inside = list(root.descendants("ClinicalDocument", HL7)) if root.namespace == XSLT else []
    if len(inside) != 1:
        raise Malformed("not a CDA: the root is not a ClinicalDocument")
    return inside[0]


def _entry(root: Element) -> DocumentEntry:
    code = root.find("code")
    with_pdf = _pdf_text(root) is not None
    return DocumentEntry(
        unique_id=_unique_id(root),
        format=DocumentFormat.CDA,
        title=_short(root.text_at("title")),
        type_code=_short(code.attribute("code")) if code else "",
        type_system=_short(code.attribute("codeSystem")) if code else "",
        type_label=_short(code.attribute("displayName")) if code else "",
        created_at=parse_time(root.attribute_at("effectiveTime", "value")),
        confidentiality=_confidentiality(root),
        patient=_patient(root),
        authors=tuple(_author(author) for author in root.find_all("author/assignedAuthor")[:_REPEATS_MAX]),
        custodian=_short(root.text_at(f"{_CUSTODIAN}/name")),
        custodian_id=_short(_identifier(root.find(f"{_CUSTODIAN}/id"))),
        set_id=_identifier(root.find("setId")),
        version=_version(root.attribute_at("versionNumber", "value")),
        replaces=_related(root, "RPLC"),
        appends=_related(root, "APND"),
        mime_type=MIME_TYPE,
        language=_short(root.attribute_at("languageCode", "code")),
        has_body_pdf=with_pdf,
        # What content model a structured document follows is not in its header: metadata say it.
        format_code=FORMAT_WITH_PDF if with_pdf else "",
    )


def _unique_id(root: Element) -> str:
    unique_id = _identifier(root.find("id"))
    if not unique_id:
        raise Malformed("a CDA without a unique id")
    if len(unique_id) > UNIQUE_ID_MAX:
        raise Malformed("a CDA whose unique id is too long")
    return unique_id


def _identifier(element: Element | None) -> str:
    """Return an instance identifier as root^extension, the form that XDS gives it."""
    if element is None:
        return ""
    root, extension = element.attribute("root"), element.attribute("extension")
    return f"{root}^{extension}" if root and extension else root


def _related(root: Element, kind: str) -> str:
    for related in root.find_all("relatedDocument"):
        if related.attribute("typeCode") == kind:
            return _identifier(related.find("parentDocument/id"))[:UNIQUE_ID_MAX]
    return ""


def _version(text: str) -> int:
    return int(text) if re.fullmatch(r"\d{1,9}", text, re.ASCII) else 1


def parse_time(text: str) -> datetime | None:
    """Return an HL7 time (a date, to any precision); without a zone it counts as UTC; None when it is none."""
    match = _TIME.match(text)
    if not match:
        return None
    year, month, day, hour, minute, second, zone = match.groups()
    try:
        return datetime(
            int(year), int(month or 1), int(day or 1), int(hour or 0), int(minute or 0), int(second or 0),
            tzinfo=_zone(zone),
        )  # fmt: skip
    except ValueError:
        return None


def _zone(text: str | None) -> timezone:
    if not text:
        return UTC
    minutes = int(text[1:3]) * 60 + int(text[3:5])
    return timezone(timedelta(minutes=-minutes if text[0] == "-" else minutes))


def _confidentiality(root: Element) -> frozenset[Confidentiality]:
    codes = (element.attribute("code") for element in root.find_all("confidentialityCode"))
    return confidentiality_of([code for code in codes if code])


def confidentiality_of(codes: list[str]) -> frozenset[Confidentiality]:
    """Return the levels that the codes name; a code that we do not know counts as restricted."""
    levels = {_level(code) for code in codes}
    return frozenset(levels or {Confidentiality.NORMAL})


def _level(code: str) -> Confidentiality:
    try:
        return Confidentiality(code)
    except ValueError:
        return Confidentiality.RESTRICTED


def _patient(root: Element) -> PatientIdentity:
    """Return all identifiers of all patients that the header names, and the first one's traits."""
    roles = root.find_all("recordTarget/patientRole")
    pairs = [(i.attribute("extension"), i.attribute("root")) for role in roles for i in role.find_all("id")]
    identifiers = tuple(dict.fromkeys((_short(value), _short(oid)) for value, oid in pairs if value))
    return PatientIdentity(identifiers[:_REPEATS_MAX], _traits(roles[0]) if roles else Traits())


def _traits(role: Element) -> Traits:
    birth_date = role.attribute_at("patient/birthTime", "value")[:8]
    return Traits(
        birth_name=_at_birth(role, "family"),
        first_name=_at_birth(role, "given"),
        birth_date=birth_date if re.fullmatch(r"\d{8}", birth_date, re.ASCII) else "",
        sex=_SEXES.get(role.attribute_at("patient/administrativeGenderCode", "code"), ""),
    )


def _at_birth(role: Element, part: str) -> str:
    """Return the name part with the qualifier BR: only that one is of the birth certificate."""
    for element in role.find_all(f"patient/name/{part}"):
        if "BR" in element.attribute("qualifier").split():
            return _short(element.text)
    return ""


def _author(assigned: Element) -> Author:
    ids = assigned.find_all("id")
    return Author(
        name=_person(assigned) or _device(assigned),
        person_id=next((_short(i.attribute("extension")) for i in ids if i.attribute("root") == OID_PERSON), ""),
        profession_code=_short(assigned.attribute_at("code", "code")),
        organisation=_short(assigned.text_at("representedOrganization/name")),
        organisation_id=_short(_identifier(assigned.find("representedOrganization/id"))),
    )


def _person(assigned: Element) -> str:
    """Return the name as printed: title (or civility), given names, family name."""
    name = assigned.find("assignedPerson/name")
    if name is None:
        return ""
    title = name.text_at("suffix") or name.text_at("prefix")
    parts = [title, *(e.text for e in name.find_all("given")), *(e.text for e in name.find_all("family"))]
    return _short(" ".join(filter(None, parts)) or name.text)


def _device(assigned: Element) -> str:
    path = "assignedAuthoringDevice"
    return _short(assigned.text_at(f"{path}/softwareName") or assigned.text_at(f"{path}/manufacturerModelName"))


def _short(text: str) -> str:
    return text[:TEXT_MAX]


def _pdf_text(root: Element) -> Element | None:
    text = root.find("component/nonXMLBody/text")
    if text is None or text.attribute("mediaType").lower() != "application/pdf":
        return None
    return text if text.attribute("representation").upper() == "B64" and not text.attribute("compression") else None


def _pdf(root: Element) -> bytes | None:
    text = _pdf_text(root)
    if text is None:
        return None
    try:
        pdf = base64.b64decode("".join(text.content.split()), validate=True)
    except (binascii.Error, ValueError):
        return None
    return pdf if b"%PDF-" in pdf[:1024] else None
