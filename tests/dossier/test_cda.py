"""CDA headers: ours, the published examples where there are any, and what is refused."""

from __future__ import annotations

import base64
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mss.config import Limits
from mss.dossier import cda, xdm
from mss.dossier.make import make_cda, make_pdf
from mss.errors import Malformed
from mss.model.document import AttachedDocument, Author, Confidentiality, DocumentFormat, PatientIdentity, Submission
from mss.model.ins import Traits
from mss.xml import GUARDED_DEPTH

AT = datetime(2026, 3, 14, 15, 9, 26, tzinfo=timezone(timedelta(hours=1)))
PATIENT = PatientIdentity(
    (("255081416802538", "1.2.250.1.213.1.4.8"), ("IPP42", "1.2.3.4")), Traits("DUPONT", "ÉLODIE", "19550815", "F")
)


def sample(**changes: object) -> bytes:
    facts: dict[str, object] = {
        "patient": PATIENT,
        "unique_id": "1.2.250.1.999^42",
        "title": "Lettre <de> liaison & suite",
        "created_at": AT,
        "author": Author("Anne MARTIN", "810000000001", "G15_10/SM26", "Clinique d'essai"),
        "type_code": "11490-0",
        "type_label": "Lettre de liaison",
        "confidentiality": Confidentiality.RESTRICTED,
        "custodian": "Groupe d'essai",
        "set_id": "1.2.250.1.999^40",
        "version": 3,
        "replaces": "1.2.250.1.999^41",
        "appends": "1.2.250.1.999^39",
    }
    return make_cda(**{**facts, **changes})  # type: ignore[arg-type]


def edited(pattern: str, replacement: str, octets: bytes | None = None) -> bytes:
    text = (sample() if octets is None else octets).decode()
    result, count = re.subn(pattern, replacement, text, flags=re.DOTALL)
    assert count, "the pattern found nothing to replace"
    return result.encode()


def test_all_header_facts_are_read(limits: Limits) -> None:
    entry = cda.read(sample(), limits)
    assert entry.unique_id == "1.2.250.1.999^42"
    assert entry.format is DocumentFormat.CDA
    assert entry.title == "Lettre <de> liaison & suite"
    assert (entry.type_code, entry.type_system) == ("11490-0", "2.16.840.1.113883.6.1")
    assert entry.type_label == "Lettre de liaison"
    assert entry.created_at == AT
    assert entry.created_at is not None
    assert entry.created_at.utcoffset() == timedelta(hours=1)
    assert entry.confidentiality == {Confidentiality.RESTRICTED}
    assert entry.patient == PATIENT
    assert entry.authors == (Author("Anne MARTIN", "810000000001", "G15_10/SM26", "Clinique d'essai"),)
    assert entry.custodian == "Groupe d'essai"
    assert (entry.set_id, entry.version) == ("1.2.250.1.999^40", 3)
    assert (entry.replaces, entry.appends) == ("1.2.250.1.999^41", "1.2.250.1.999^39")
    assert (entry.mime_type, entry.language, entry.has_body_pdf) == ("text/xml", "fr-FR", True)


def test_the_same_facts_give_the_same_octets() -> None:
    assert sample() == sample()
    assert sample(pdf=make_pdf(["a"])) != sample()


@pytest.mark.parametrize("code", ["PRESC-BIO", "11490-0"])
def test_the_type_names_its_system(code: str, limits: Limits) -> None:
    system = cda.read(sample(type_code=code), limits).type_system
    assert system == {"PRESC-BIO": "1.2.250.1.213.1.1.4.12", "11490-0": "2.16.840.1.113883.6.1"}[code]


@pytest.mark.parametrize("level", list(Confidentiality))
def test_every_confidentiality_is_carried(level: Confidentiality, limits: Limits) -> None:
    octets = sample(confidentiality=level)
    assert cda.read(octets, limits).confidentiality == {level}
    assert (b'codeSystem="1.2.250.1.213.1.1.4.13"' in octets) is (len(level) > 1)


def test_an_unknown_confidentiality_counts_as_restricted(limits: Limits) -> None:
    assert cda.read(edited('code="R"', 'code="Z"'), limits).confidentiality == {Confidentiality.RESTRICTED}


def test_without_confidentiality_a_document_is_normal(limits: Limits) -> None:
    octets = edited("<confidentialityCode[^>]*>", '<confidentialityCode nullFlavor="UNK"/>')
    assert cda.read(octets, limits).confidentiality == {Confidentiality.NORMAL}


def test_several_confidentiality_codes_are_all_read(limits: Limits) -> None:
    octets = edited("(<confidentialityCode[^>]*>)", r'\1<confidentialityCode code="MASQUE_PS"/>')
    levels = {Confidentiality.RESTRICTED, Confidentiality.MASKED_FOR_PROFESSIONALS}
    assert cda.read(octets, limits).confidentiality == levels


def test_several_patients_are_all_named(limits: Limits) -> None:
    second = '<recordTarget><patientRole><id extension="X" root="1.9"/></patientRole></recordTarget>'
    entry = cda.read(edited("<author>", second + "<author>"), limits)
    assert entry.patient.identifiers == (*PATIENT.identifiers, ("X", "1.9"))
    assert entry.patient.traits == PATIENT.traits


def test_only_the_traits_of_the_birth_certificate_count(limits: Limits) -> None:
    octets = edited(
        '<family qualifier="BR">DUPONT</family>', '<family>USED</family><family qualifier="CL">OTHER</family>'
    )
    assert cda.read(octets, limits).patient.traits == replace(PATIENT.traits, birth_name="")


@pytest.mark.parametrize(
    ("pattern", "replacement", "traits"),
    [
        ('value="19550815"', 'value="195508151200"', PATIENT.traits),
        ('value="19550815"', 'value="1955"', replace(PATIENT.traits, birth_date="")),
        ('value="19550815"', 'nullFlavor="UNK"', replace(PATIENT.traits, birth_date="")),
        ('<administrativeGenderCode code="F"', '<administrativeGenderCode code="UN"', replace(PATIENT.traits, sex="U")),
        ('<administrativeGenderCode code="F"', '<administrativeGenderCode code="x"', replace(PATIENT.traits, sex="")),
        ("<recordTarget>.*</recordTarget>", "", Traits()),
    ],
)
def test_odd_traits(pattern: str, replacement: str, traits: Traits, limits: Limits) -> None:
    assert cda.read(edited(pattern, replacement), limits).patient.traits == traits


def test_unknown_traits_are_written_as_unknown(limits: Limits) -> None:
    nobody = PatientIdentity((), Traits())
    octets = sample(patient=nobody)
    assert cda.read(octets, limits).patient == nobody
    assert octets.count(b'nullFlavor="UNK"') >= 2
    assert cda.read(sample(patient=replace(PATIENT, traits=Traits(sex="U"))), limits).patient.traits.sex == "U"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("<name><prefix>M</prefix><given>Paul</given><family>NOIR</family></name>", "M Paul NOIR"),
        ("<name><prefix>M</prefix><suffix>DR</suffix><family>NOIR</family></name>", "DR NOIR"),
        ("<name>Docteur Noir</name>", "Docteur Noir"),
        ("<name/>", ""),
    ],
)
def test_names_as_printed(name: str, expected: str, limits: Limits) -> None:
    octets = edited("<assignedPerson>.*</assignedPerson>", f"<assignedPerson>{name}</assignedPerson>")
    assert cda.read(octets, limits).authors[0].name == expected


def test_a_device_may_be_the_author(limits: Limits) -> None:
    device = (
        "<assignedAuthoringDevice><manufacturerModelName>M</manufacturerModelName>"
        "<softwareName>{}</softwareName></assignedAuthoringDevice>"
    )
    octets = edited("<assignedPerson>.*</assignedPerson>", device.format("Logiciel"))
    assert cda.read(octets, limits).authors[0].name == "Logiciel"
    octets = edited("<assignedPerson>.*</assignedPerson>", device.format(""))
    assert cda.read(octets, limits).authors[0].name == "M"


def test_an_author_without_id_or_profession(limits: Limits) -> None:
    author = Author("Anne MARTIN", organisation="Clinique")
    assert cda.read(sample(author=author), limits).authors == (author,)


@pytest.mark.parametrize("count", [1, 50, 51])
def test_authors_up_to_the_limit(count: int, limits: Limits) -> None:
    octets = edited("(<author>.*</author>)", r"\1" * count)
    assert len(cda.read(octets, limits).authors) == min(count, 50)


@pytest.mark.parametrize("length", [999, 1000, 1001])
def test_texts_are_cut_at_the_limit(length: int, limits: Limits) -> None:
    assert len(cda.read(sample(title="x" * length), limits).title) == min(length, 1000)


@pytest.mark.parametrize("length", [255, 256])
def test_unique_ids_up_to_the_limit(length: int, limits: Limits) -> None:
    assert len(cda.read(sample(unique_id="1" * length), limits).unique_id) == length


def test_a_unique_id_above_the_limit(limits: Limits) -> None:
    with pytest.raises(Malformed, match="unique id is too long"):
        cda.read(sample(unique_id="1" * 257), limits)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026", datetime(2026, 1, 1, tzinfo=UTC)),
        ("202603", datetime(2026, 3, 1, tzinfo=UTC)),
        ("20260314", datetime(2026, 3, 14, tzinfo=UTC)),
        ("202603141509", datetime(2026, 3, 14, 15, 9, tzinfo=UTC)),
        ("20260314150926", datetime(2026, 3, 14, 15, 9, 26, tzinfo=UTC)),
        ("20260314150926.123+0100", datetime(2026, 3, 14, 14, 9, 26, tzinfo=UTC)),
        ("202603141509-0330", datetime(2026, 3, 14, 18, 39, tzinfo=UTC)),
        ("20261314", None),
        ("20260314150926+9900", None),
        ("0000", None),
        ("hier", None),
        ("", None),
        ("2026031", None),
        ("٢٠٢٦", None),
    ],
)
def test_times(text: str, expected: datetime | None) -> None:
    assert cda.parse_time(text) == expected


@pytest.mark.parametrize(
    ("pattern", "replacement", "reason"),
    [
        ("ClinicalDocument", "Document", "not a CDA"),
        ("urn:hl7-org:v3", "urn:other", "not a CDA"),
        ('<id root="1.2.250.1.999" extension="42"/>', "", "without a unique id"),
        ('<id root="1.2.250.1.999" extension="42"/>', '<id nullFlavor="UNK"/>', "without a unique id"),
        ('<id root="1.2.250.1.999" extension="42"/>', '<id extension="42"/>', "without a unique id"),
        (r"<\?xml.*?\?>", "<!DOCTYPE ClinicalDocument [<!ENTITY x 'y'>]>", "document type declaration"),
        ("</title>", "", "not well-formed XML at line "),
    ],
)
def test_what_is_no_cda(pattern: str, replacement: str, reason: str, limits: Limits) -> None:
    with pytest.raises(Malformed, match=reason):
        cda.read(edited(pattern, replacement), limits)


def test_missing_facts_are_empty(limits: Limits) -> None:
    entry = cda.read(b'<ClinicalDocument xmlns="urn:hl7-org:v3"><id root="1.2"/></ClinicalDocument>', limits)
    assert (entry.unique_id, entry.title, entry.type_code, entry.type_system, entry.type_label) == (
        "1.2",
        "",
        "",
        "",
        "",
    )
    assert (entry.created_at, entry.version, entry.set_id, entry.replaces) == (None, 1, "", "")
    assert (entry.patient, entry.authors, entry.has_body_pdf) == (PatientIdentity(), (), False)


@pytest.mark.parametrize(("text", "version"), [("7", 7), ("", 1), ("x", 1), ("-1", 1), ("1" * 10, 1), ("٣", 1)])
def test_versions(text: str, version: int, limits: Limits) -> None:
    assert cda.read(edited('versionNumber value="3"', f'versionNumber value="{text}"'), limits).version == version


def wrapped(octets: bytes, count: int) -> bytes:
    inside = octets.split(b"?>", 1)[1]
    head = b'<xsl:stylesheet version="1.0" xmlns:xsl="http://www.w3.org/1999/XSL/Transform"><data>'
    return head + inside * count + b"</data></xsl:stylesheet>"


def test_a_document_that_presents_itself_is_read(limits: Limits) -> None:
    assert cda.read(wrapped(sample(), 1), limits) == cda.read(sample(), limits)


@pytest.mark.parametrize("count", [0, 2])
def test_a_style_sheet_with_any_other_number_is_none(count: int, limits: Limits) -> None:
    with pytest.raises(Malformed, match="not a CDA"):
        cda.read(wrapped(sample(), count), limits)


def test_the_embedded_pdf_comes_out_whole(limits: Limits) -> None:
    pdf = make_pdf(["Bonjour (à tous) \\ fin"] * 120)
    assert cda.embedded_pdf(sample(pdf=pdf)) == pdf
    assert cda.read_whole(sample(pdf=pdf), limits) == (cda.read(sample(pdf=pdf), limits), pdf)


@pytest.mark.parametrize(
    ("pattern", "replacement", "has"),
    [
        ("<component>.*</component>", "<component><structuredBody/></component>", False),
        ('mediaType="application/pdf"', 'mediaType="text/rtf"', False),
        ('representation="B64"', 'representation="TXT"', False),
        ('representation="B64"', 'representation="B64" compression="DF"', False),
        ('(B64">).*(</text>)', r"\1%%%%\2", True),
        ('(B64">).*(</text>)', r"\1QUJD\2", True),
        ('(B64">).*(</text>)', r"\1éé\2", True),
    ],
)
def test_bodies_without_a_readable_pdf(pattern: str, replacement: str, has: bool, limits: Limits) -> None:
    octets = edited(pattern, replacement)
    assert cda.embedded_pdf(octets) is None
    assert cda.read(octets, limits).has_body_pdf is has


def test_size_at_and_above_the_limit(limits: Limits) -> None:
    octets = sample()
    assert cda.read(octets, replace(limits, cda_max_octets=len(octets))).version == 3
    with pytest.raises(Malformed, match="larger than the limit"):
        cda.read(octets, replace(limits, cda_max_octets=len(octets) - 1))


def test_depth_at_and_above_the_limit(limits: Limits) -> None:
    # ClinicalDocument / recordTarget / patientRole / patient / name / family.
    assert cda.read(sample(), replace(limits, xml_depth_max=6)).version == 3
    with pytest.raises(Malformed, match="nested deeper"):
        cda.read(sample(), replace(limits, xml_depth_max=5))


def test_what_looks_like_a_cda() -> None:
    assert cda.looks_like_cda(sample())
    assert not cda.looks_like_cda(b"<html/>")


def published() -> list[Path]:
    """Return the real documents of a folder `shared` beside the repository, if there is one."""
    for parent in Path(__file__).resolve().parents:
        data = parent / "shared" / "data"
        if data.is_dir():
            return sorted(
                p
                for p in data.rglob("*")
                if p.suffix.lower() == ".xml" and p.parts[len(data.parts)] in ("cda", "hl7v2")
            )
    return []


@pytest.mark.parametrize("path", [None, *published()], ids=lambda path: path.name if path else "made")
def test_every_example_is_read_whole(path: Path | None, limits: Limits) -> None:
    octets = path.read_bytes() if path else sample()
    entry, pdf = cda.read_whole(octets, limits)
    text = octets.decode()
    root, _, extension = entry.unique_id.partition("^")
    assert f'"{root}"' in text
    assert f'"{extension}"' in text or not extension
    assert entry.created_at is not None
    assert entry.title
    assert entry.type_code
    assert entry.type_system
    assert all((entry.patient.traits.birth_name, entry.patient.traits.first_name, entry.patient.traits.sex))
    assert len(entry.patient.traits.birth_date) == 8
    matricules = [value for value, oid in entry.patient.identifiers if oid.startswith("1.2.250.1.213.1.4.")]
    assert matricules
    assert len(matricules[0]) == 15
    assert entry.authors
    assert entry.authors[0].name
    assert entry.authors[0].person_id or "assignedAuthoringDevice" in text
    assert entry.custodian
    assert entry.language == "fr-FR"
    assert bool(entry.replaces) is ('typeCode="RPLC"' in text)
    assert entry.has_body_pdf is ("<nonXMLBody>" in text)
    # What is read without building the tree of a structured body is what the whole tree says.
    assert entry == cda.read(octets, replace(limits, xml_depth_max=GUARDED_DEPTH - 1))
    assert (pdf is not None) is entry.has_body_pdf
    if pdf is not None:
        assert pdf.startswith(b"%PDF-")
        assert base64.b64encode(pdf[:30])[:40] in octets


@given(
    title=st.text(max_size=40),
    matricule=st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=20),
    name=st.text(st.characters(exclude_categories=["Cs", "Cc", "Zs", "Zl", "Zp"]), min_size=1, max_size=20),
)
def test_nothing_in_a_value_escapes_its_place(title: str, matricule: str, name: str) -> None:
    identity = PatientIdentity(((matricule.strip() or "x", "1.2.3"),), Traits(name, name, "19550815", "M"))
    entry = cda.read(sample(title=title, patient=identity), Limits())
    assert entry.unique_id == "1.2.250.1.999^42"
    assert len(entry.patient.identifiers) == 1
    assert entry.authors[0].person_id == "810000000001"


@given(st.data())
def test_a_damaged_document_is_malformed_or_read(data: st.DataObject) -> None:
    octets = bytearray(SMALL)
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(octets) - 1))
        octets[place : place + data.draw(st.integers(0, 30))] = data.draw(st.sampled_from(DAMAGE))
    try:
        entry = cda.read(bytes(octets), Limits())
    except Malformed:
        return
    assert entry.unique_id


@given(st.data())
def test_a_damaged_structured_document_says_what_its_whole_tree_says(data: st.DataObject) -> None:
    octets = bytearray(STRUCTURED)
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(octets) - 1))
        octets[place : place + data.draw(st.integers(0, 30))] = data.draw(st.sampled_from([*DAMAGE, *PIECES]))
    limits = [Limits(xml_depth_max=depth) for depth in (GUARDED_DEPTH, GUARDED_DEPTH - 1)]
    try:
        whole = cda.read_whole(bytes(octets), limits[1])
    except Malformed as error:
        with pytest.raises(Malformed, match=str(error)):
            cda.read_whole(bytes(octets), limits[0])
        return
    assert cda.read_whole(bytes(octets), limits[0]) == whole


SMALL = sample(pdf=b"%PDF-")
BODY = (
    "<component><structuredBody><component><section><title>é</title></section></component></structuredBody></component>"
)
STRUCTURED = re.sub(rb"<component>.*</component>", BODY.encode(), sample(), flags=re.DOTALL)
PIECES = [b"<component>", b"</component>", b"<nonXMLBody>", b"<recordTarget>", b"</recordTarget>", b"<!--", b"-->"]
DAMAGE = [b"", b"<", b">", b"&", b'"', b"\0", b"]]>", b"\xff"]


@pytest.mark.parametrize("path", [None, *published()], ids=lambda path: path.name if path else "made")
def test_every_example_travels_in_an_archive(path: Path | None, limits: Limits) -> None:
    octets = path.read_bytes() if path else sample()
    entry, pdf = cda.read_whole(octets, limits)
    document = AttachedDocument(entry, octets, pdf)
    archive = xdm.build([document], unique_id="1.9", source_id="1.8", submitted_at=AT)
    assert xdm.read(archive, limits) == Submission((document,), "1.9", ())
