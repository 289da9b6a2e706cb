"""Small clinical documents of our own: a level 1 CDA around a PDF, for demonstrations and tests.

Not a generator for production: the header holds what filing reads and what CDA R2 requires, no more, and
the PDF is a plain one, not PDF/A-1. HL7 CDA R2; CI-SIS, volet Structuration minimale; ISO 32000-1.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from mss.dossier.cda import HL7, OID_PERSON
from mss.model.document import Author, Confidentiality, PatientIdentity
from mss.xml import Tag, serialise, tag

OID_LOINC: Final = "2.16.840.1.113883.6.1"
OID_TYPES: Final = "1.2.250.1.213.1.1.4.12"
OID_CONFIDENTIALITY: Final = "2.16.840.1.113883.5.25"
OID_CONFIDENTIALITY_FR: Final = "1.2.250.1.213.1.1.4.13"
OID_PROFESSIONS: Final = "1.2.250.1.213.1.1.4.5"
OID_SEX: Final = "2.16.840.1.113883.5.1"

_LINES_A_PAGE: Final = 50


def make_pdf(lines: Sequence[str]) -> bytes:
    """Return a PDF of A4 pages with these lines in Helvetica; the same lines always give the same octets."""
    pages = [lines[i : i + _LINES_A_PAGE] for i in range(0, len(lines), _LINES_A_PAGE)] or [[]]
    kids = " ".join(f"{4 + 2 * n} 0 R" for n in range(len(pages)))
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {len(pages)} >>".encode(),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
    ]
    for number, page in enumerate(pages):
        content = b"BT /F1 11 Tf 14 TL 56 786 Td\n" + b"".join(map(_pdf_line, page)) + b"ET"
        objects.append(
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Resources << /Font << /F1 3 0 R >> >> "
            + f"/Contents {5 + 2 * number} 0 R >>".encode()
        )
        objects.append(f"<< /Length {len(content)} >>\nstream\n".encode() + content + b"\nendstream")
    return _pdf_file(objects)


def _pdf_line(line: str) -> bytes:
    octets = re.sub(rb"[\x00-\x1f]", b" ", line.encode("cp1252", "replace"))
    return b"(" + re.sub(rb"([\\()])", rb"\\\1", octets) + b") '\n"


def _pdf_file(objects: list[bytes]) -> bytes:
    out = bytearray(b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n")
    offsets = []
    for number, body in enumerate(objects, 1):
        offsets.append(len(out))
        out += f"{number} 0 obj\n".encode() + body + b"\nendobj\n"
    table = "".join(f"{offset:010} 00000 n \n" for offset in offsets)
    size = len(objects) + 1
    trailer = f"trailer\n<< /Size {size} /Root 1 0 R >>\nstartxref\n{len(out)}\n%%EOF\n"
    return bytes(out) + f"xref\n0 {size}\n0000000000 65535 f \n{table}{trailer}".encode()


def make_cda(
    *,
    patient: PatientIdentity,
    unique_id: str,
    title: str,
    created_at: datetime,
    author: Author,
    type_code: str = "34112-3",
    type_label: str = "CR hospitalier (séjour)",
    pdf: bytes | None = None,
    confidentiality: Confidentiality = Confidentiality.NORMAL,
    custodian: str = "",
    set_id: str = "",
    version: int = 1,
    replaces: str = "",
    appends: str = "",
) -> bytes:
    """Return a CDA R2 level 1 that embeds the PDF (one made of the title, when none is given).

    Identifiers are given as "root" or "root^extension". `created_at` must be aware. The patient's
    identifiers go out as given, valid or not.
    """
    body = make_pdf([title]) if pdf is None else pdf
    organisation = author.organisation or custodian
    root = tag(
        "ClinicalDocument",
        {"xmlns": HL7, "xmlns:xsi": "http://www.w3.org/2001/XMLSchema-instance"},
        tag("realmCode", {"code": "FR"}),
        tag("typeId", {"root": "2.16.840.1.113883.1.3", "extension": "POCD_HD000040"}),
        *(tag("templateId", {"root": oid}) for oid in _TEMPLATES),
        tag("id", _ii(unique_id)),
        tag("code", {"code": type_code, "codeSystem": type_system(type_code), "displayName": type_label}),
        tag("title", None, title),
        tag("effectiveTime", {"value": hl7_time(created_at)}),
        tag("confidentialityCode", {"code": confidentiality, "codeSystem": confidentiality_system(confidentiality)}),
        tag("languageCode", {"code": "fr-FR"}),
        tag("setId", _ii(set_id or unique_id)),
        tag("versionNumber", {"value": str(version)}),
        _record_target(patient),
        _author(author, created_at, organisation),
        _custodian(custodian or organisation),
        *_related("RPLC", replaces),
        *_related("APND", appends),
        tag("component", None, tag("nonXMLBody", None, _body(body))),
    )
    return serialise(root)


_TEMPLATES: Final = ("2.16.840.1.113883.2.8.2.1", "1.2.250.1.213.1.1.1.1", "1.3.6.1.4.1.19376.1.2.20")


def type_system(code: str) -> str:
    """Return the OID of the code's system: LOINC, or the French list of document types (JDV_J07)."""
    return OID_LOINC if re.fullmatch(r"\d+-\d", code) else OID_TYPES


def confidentiality_system(level: Confidentiality) -> str:
    """Return the OID of the level's system: HL7's for N, R and V, the French one for the others (JDV_J08)."""
    return OID_CONFIDENTIALITY if len(level) == 1 else OID_CONFIDENTIALITY_FR


def hl7_time(instant: datetime) -> str:
    """Return an aware instant as an HL7 time with its zone."""
    return instant.strftime("%Y%m%d%H%M%S%z")


def _ii(identifier: str) -> dict[str, str]:
    root, _, extension = identifier.partition("^")
    return {"root": root, "extension": extension} if extension else {"root": root}


def _record_target(patient: PatientIdentity) -> Tag:
    traits = patient.traits
    name = [
        *([tag("family", {"qualifier": "BR"}, traits.birth_name)] if traits.birth_name else []),
        *([tag("given", {"qualifier": "BR"}, traits.first_name)] if traits.first_name else []),
    ]
    sex = {"code": "UN" if traits.sex == "U" else traits.sex, "codeSystem": OID_SEX}
    person = tag(
        "patient",
        None,
        tag("name", None, *name),
        tag("administrativeGenderCode", sex if traits.sex else {"nullFlavor": "UNK"}),
        tag("birthTime", {"value": traits.birth_date} if traits.birth_date else {"nullFlavor": "UNK"}),
    )
    ids = [tag("id", {"extension": value, "root": oid}) for value, oid in patient.identifiers]
    return tag("recordTarget", None, tag("patientRole", None, *ids, person))


def _author(author: Author, created_at: datetime, organisation: str) -> Tag:
    identified = {"root": OID_PERSON, "extension": author.person_id} if author.person_id else {"nullFlavor": "UNK"}
    code = {"code": author.profession_code, "codeSystem": OID_PROFESSIONS}
    given, _, family = author.name.rpartition(" ")
    assigned = tag(
        "assignedAuthor",
        None,
        tag("id", identified),
        *([tag("code", code)] if author.profession_code else []),
        tag("assignedPerson", None, tag("name", None, tag("given", None, given), tag("family", None, family))),
        tag("representedOrganization", None, tag("name", None, organisation)),
    )
    return tag("author", None, tag("time", {"value": hl7_time(created_at)}), assigned)


def _custodian(name: str) -> Tag:
    organisation = tag(
        "representedCustodianOrganization", None, tag("id", {"nullFlavor": "UNK"}), tag("name", None, name)
    )
    return tag("custodian", None, tag("assignedCustodian", None, organisation))


def _related(kind: str, identifier: str) -> list[Tag]:
    if not identifier:
        return []
    return [tag("relatedDocument", {"typeCode": kind}, tag("parentDocument", None, tag("id", _ii(identifier))))]


def _body(pdf: bytes) -> Tag:
    encoded = base64.encodebytes(pdf).decode()
    return tag("text", {"mediaType": "application/pdf", "representation": "B64"}, encoded)
