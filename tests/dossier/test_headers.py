"""No header fact of a CDA is lost: each is compared with what an independent reading finds.

The other reading is XPath over the whole document, written from the standard and not from our code. The published
examples are read where there are any.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pytest
from lxml import etree

from mss.config import Limits
from mss.dossier import cda
from mss.errors import Malformed
from mss.model.document import DocumentEntry
from tests.dossier.test_cda import published, sample

NS = {"h": "urn:hl7-org:v3"}


def written(found: object) -> str:
    return "".join(map(str, found.itertext())) if isinstance(found, etree._Element) else str(found)


class Header:
    """A document's header, by XPath from its root."""

    def __init__(self, octets: bytes) -> None:
        tree = etree.fromstring(octets, etree.XMLParser(huge_tree=True))
        found = tree.xpath("descendant-or-self::h:ClinicalDocument", namespaces=NS)
        assert isinstance(found, list)
        self.node = found[0]

    def all(self, path: str) -> list[str]:
        found = self.node.xpath(path, namespaces=NS)  # type: ignore[union-attr]
        assert isinstance(found, list)
        return [" ".join(written(one).split()) for one in found]

    def one(self, path: str) -> str:
        return next(iter(self.all(f"({path})[1]")), "")

    def identifier(self, path: str) -> str:
        root, extension = self.one(f"{path}/@root"), self.one(f"{path}/@extension")
        return f"{root}^{extension}" if extension and root else root


ROLE = "h:recordTarget[1]/h:patientRole"
CUSTODIAN = "h:custodian/h:assignedCustodian/h:representedCustodianOrganization"


def compare(entry: DocumentEntry, header: Header) -> None:
    assert entry.unique_id == header.identifier("h:id")
    assert entry.title == header.one("h:title")
    assert entry.type_code == header.one("h:code/@code")
    assert entry.type_system == header.one("h:code/@codeSystem")
    assert entry.type_label == header.one("h:code/@displayName")
    assert entry.language == header.one("h:languageCode/@code")
    assert entry.set_id == header.identifier("h:setId")
    assert str(entry.version) == (header.one("h:versionNumber/@value") or "1")
    assert sorted(entry.confidentiality) == sorted(set(header.all("h:confidentialityCode/@code")) or {"N"})
    assert entry.custodian == header.one(f"{CUSTODIAN}/h:name")
    assert entry.custodian_id == header.identifier(f"{CUSTODIAN}/h:id")
    for kind, ours in (("RPLC", entry.replaces), ("APND", entry.appends)):
        assert ours == header.identifier(f"h:relatedDocument[@typeCode='{kind}']/h:parentDocument/h:id")
    has_pdf = "h:component/h:nonXMLBody/h:text[@mediaType='application/pdf'][@representation='B64']"
    assert entry.has_body_pdf is bool(header.all(has_pdf))
    compare_patient(entry, header)
    compare_authors(entry, header)
    written = header.one("h:effectiveTime/@value")
    assert entry.created_at is not None
    assert entry.created_at.strftime("%Y%m%d%H%M%S").startswith(written[:8])
    assert entry.created_at == at(written)


def at(written: str) -> datetime:
    """Read a whole HL7 time by the library's own reader."""
    moment, sign, zone = written.partition("+") if "+" in written else (written, "+", "0000")
    digits = moment.partition(".")[0]
    return datetime.strptime(
        f"{digits:0<14}{sign}{zone}" if len(digits) > 8 else f"{digits}000000+0000", "%Y%m%d%H%M%S%z"
    )


def compare_patient(entry: DocumentEntry, header: Header) -> None:
    traits = entry.patient.traits
    values, roots = (
        header.all(f"h:recordTarget/h:patientRole/h:id[@extension]/@{name}") for name in ("extension", "root")
    )
    assert list(entry.patient.identifiers) == list(dict.fromkeys(zip(values, roots, strict=True)))
    assert traits.birth_name == header.one(f"{ROLE}/h:patient/h:name/h:family[@qualifier='BR']")
    assert traits.first_name == header.one(f"{ROLE}/h:patient/h:name/h:given[@qualifier='BR']")
    assert traits.birth_date == header.one(f"{ROLE}/h:patient/h:birthTime/@value")[:8]
    assert traits.sex == header.one(f"{ROLE}/h:patient/h:administrativeGenderCode/@code")


def compare_authors(entry: DocumentEntry, header: Header) -> None:
    assert len(entry.authors) == len(header.all("h:author/h:assignedAuthor"))
    for number, author in enumerate(entry.authors, 1):
        path = f"h:author[{number}]/h:assignedAuthor"
        assert author.person_id == header.one(f"{path}/h:id[@root='1.2.250.1.71.4.2.1']/@extension")
        assert author.profession_code == header.one(f"{path}/h:code/@code")
        assert author.organisation == header.one(f"{path}/h:representedOrganization/h:name")
        assert author.organisation_id == header.identifier(f"{path}/h:representedOrganization/h:id")
        for family in header.all(f"{path}/h:assignedPerson/h:name/h:family"):
            assert family in author.name


@pytest.mark.parametrize("path", [None, *published()], ids=lambda path: path.name if path else "made")
def test_no_header_fact_is_lost(path: Path | None, limits: Limits) -> None:
    octets = path.read_bytes() if path else sample()
    compare(cda.read(octets, limits), Header(octets))


@pytest.mark.parametrize(
    ("octets", "reason"),
    [
        (b"<html/>", "not a CDA: the root is not a ClinicalDocument"),
        (b'<ClinicalDocument xmlns="urn:hl7-org:v3"/>', "a CDA without a unique id"),
        (b'<ClinicalDocument xmlns="urn:hl7-org:v3">', "not well-formed XML at line 1"),
        (b"<!DOCTYPE x [<!ENTITY a 'b'>]><x/>", "XML with a document type declaration"),
    ],
)
def test_an_invalid_document_is_refused_with_its_reason(octets: bytes, reason: str, limits: Limits) -> None:
    with pytest.raises(Malformed, match=reason):
        cda.read(octets, limits)
