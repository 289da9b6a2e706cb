"""XDM archives: ours read back, odd ones give what they hold with a list of problems, hostile ones nothing."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mss.config import Limits
from mss.dossier import xdm
from mss.dossier.cda import read_whole
from mss.dossier.make import make_cda, make_pdf
from mss.dossier.metadata import ENTRY_UNIQUE_ID
from mss.errors import Malformed
from mss.model.document import (
    AttachedDocument,
    Author,
    Confidentiality,
    DocumentEntry,
    DocumentFormat,
    PatientIdentity,
    Submission,
)
from mss.model.filing import Problem

AT = datetime(2026, 3, 14, 15, 9, 26, tzinfo=UTC)
SUBSET = "IHE_XDM/SUBSET01/"
MakeDocument = Callable[..., AttachedDocument]


def build(*documents: AttachedDocument) -> bytes:
    return xdm.build(documents, unique_id="1.2.250.1.999.9", source_id="1.2.250.1.999", submitted_at=AT)


def files(archive: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        return {name: opened.read(name) for name in opened.namelist()}


def zipped(entries: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as opened:
        for name, octets in entries.items():
            opened.writestr(name, octets)
    return out.getvalue()


def changed(archive: bytes, name: str, change: Callable[[bytes], bytes] | None) -> bytes:
    """Return the archive with one file changed, or dropped."""
    entries = files(archive)
    octets = entries.pop(name)
    return zipped({**entries, name: change(octets)} if change else entries)


def metadata(archive: bytes, old: str, new: str) -> bytes:
    def change(octets: bytes) -> bytes:
        assert old.encode() in octets
        return octets.replace(old.encode(), new.encode())

    return changed(archive, SUBSET + "METADATA.XML", change)


def hash_of(octets: bytes) -> str:
    return hashlib.sha1(octets).hexdigest()


def test_an_archive_of_ours_reads_back(make_document: MakeDocument, limits: Limits) -> None:
    documents = (make_document("1.2.1"), make_document("1.2.2", type_code="PRESC-BIO", title="Ordonnance"))
    octets = build(*documents)
    assert xdm.read(octets, limits) == Submission(documents, "1.2.250.1.999.9", ())
    assert octets == build(*documents)
    assert list(files(octets)) == [
        "INDEX.HTM",
        "README.TXT",
        SUBSET + "METADATA.XML",
        SUBSET + "DOC00001.XML",
        SUBSET + "DOC00001.PDF",
        SUBSET + "DOC00002.XML",
        SUBSET + "DOC00002.PDF",
    ]


def test_the_page_and_the_note_name_nobody(make_document: MakeDocument) -> None:
    entries = files(build(make_document()))
    for name in ("INDEX.HTM", "README.TXT"):
        assert b"DUPONT" not in entries[name]
        assert b"255081416802538" not in entries[name]


def test_the_metadata_tell_what_the_standard_wants(make_document: MakeDocument) -> None:
    document = make_document("1.2.1^7", confidentiality=Confidentiality.MASKED_FOR_PROFESSIONALS)
    text = files(build(document))[SUBSET + "METADATA.XML"].decode()
    assert f"<rim:Value>{hash_of(document.octets)}</rim:Value>" in text
    assert f"<rim:Value>{len(document.octets)}</rim:Value>" in text
    assert 'value="255081416802538^^^&amp;1.2.250.1.213.1.4.8&amp;ISO^NH"' in text
    assert 'value="1.2.1^7"' in text
    assert 'nodeRepresentation="MASQUE_PS"' in text
    assert "PID-5|DUPONT-MOREL^ÉLODIE^^^^^L" in text
    assert 'objectType="urn:uuid:7edca82f-054d-47f2-a032-9b2a5b5186c1"' in text


@pytest.mark.parametrize(
    ("identifiers", "patient_id"),
    [
        (
            (("IPP", "1.2.3"), ("255081416802538", "1.2.250.1.213.1.4.8")),
            "255081416802538^^^&amp;1.2.250.1.213.1.4.8&amp;ISO^NH",
        ),
        ((("IPP", "1.2.3"),), "IPP^^^&amp;1.2.3&amp;ISO^NH"),
        ((), ""),
    ],
)
def test_the_patient_id_is_the_ins_where_there_is_one(
    identifiers: tuple[tuple[str, str], ...], patient_id: str, make_document: MakeDocument
) -> None:
    document = make_document(patient=PatientIdentity(identifiers))
    text = files(build(document))[SUBSET + "METADATA.XML"].decode()
    assert text.count(f'value="{patient_id}"') >= 2


def test_an_archive_without_documents(limits: Limits) -> None:
    submission = xdm.read(build(), limits)
    assert submission == Submission((), "1.2.250.1.999.9", (Problem.NO_DOCUMENT,))


def test_without_a_file_of_its_own_the_twin_is_the_embedded_pdf(make_document: MakeDocument, limits: Limits) -> None:
    pdf = make_pdf(["dedans"])
    octets = build(make_document(pdf=pdf, twin=False))
    assert xdm.read(octets, limits).documents[0].companion_pdf == pdf


def test_the_file_beside_goes_before_the_embedded_pdf(make_document: MakeDocument, limits: Limits) -> None:
    pdf = make_pdf(["à côté"])
    octets = build(replace(make_document(), companion_pdf=pdf))
    assert xdm.read(octets, limits).documents[0].companion_pdf == pdf


def test_a_document_in_its_own_right_may_be_a_pdf(patient: PatientIdentity, limits: Limits) -> None:
    entry = DocumentEntry(
        unique_id="1.2.3",
        format=DocumentFormat.PDF,
        title="Radio",
        type_code="18748-4",
        type_system="2.16.840.1.113883.6.1",
        type_label="CR d'imagerie",
        created_at=AT,
        confidentiality=frozenset({Confidentiality.NORMAL, Confidentiality.INVISIBLE_PATIENT}),
        patient=patient,
        mime_type="application/pdf",
        language="fr-FR",
    )
    document = AttachedDocument(entry, make_pdf(["radio"]))
    assert xdm.read(build(document), limits) == Submission((document,), "1.2.250.1.999.9", ())


def test_a_pdf_without_identifier_is_no_document(make_document: MakeDocument, limits: Limits) -> None:
    octets = changed(build(make_document()), SUBSET + "DOC00001.XML", None)
    submission = xdm.read(octets, limits)
    assert submission.documents == ()
    assert set(submission.problems) == {Problem.DOCUMENT_MISSING, Problem.DOCUMENT_UNLISTED, Problem.NO_DOCUMENT}


def test_a_wrong_hash_marks_the_document(make_document: MakeDocument, limits: Limits) -> None:
    document = make_document()
    octets = metadata(build(document), hash_of(document.octets), hash_of(b"other"))
    submission = xdm.read(octets, limits)
    assert submission.documents == (replace(document, defect=Problem.HASH_DIFFERS),)
    assert submission.problems == (Problem.HASH_DIFFERS,)


def test_a_hash_in_capitals_is_the_same(make_document: MakeDocument, limits: Limits) -> None:
    document = make_document()
    octets = metadata(build(document), hash_of(document.octets), hash_of(document.octets).upper())
    assert xdm.read(octets, limits).problems == ()


def test_a_wrong_size_marks_the_document(make_document: MakeDocument, limits: Limits) -> None:
    document = make_document()
    octets = metadata(build(document), f"<rim:Value>{len(document.octets)}<", "<rim:Value>12<")
    assert xdm.read(octets, limits).documents == (replace(document, defect=Problem.SIZE_DIFFERS),)


@pytest.mark.parametrize("said", ["", "beaucoup", "-1", "9" * 13])
def test_a_size_that_is_none_counts_as_not_said(said: str, make_document: MakeDocument, limits: Limits) -> None:
    document = make_document()
    octets = metadata(build(document), f"<rim:Value>{len(document.octets)}<", f"<rim:Value>{said}<")
    assert xdm.read(octets, limits).documents == (document,)


def test_without_hash_and_size_the_document_is_taken(make_document: MakeDocument, limits: Limits) -> None:
    octets = build(make_document())
    for slot in ("hash", "size"):
        octets = metadata(octets, f'<rim:Slot name="{slot}">', '<rim:Slot name="x">')
    assert xdm.read(octets, limits) == Submission((make_document(),), "1.2.250.1.999.9", ())


def test_another_patient_in_the_metadata_is_named_too(make_document: MakeDocument, limits: Limits) -> None:
    octets = metadata(build(make_document()), 'value="255081416802538^', 'value="294037512000591^')
    identifiers = xdm.read(octets, limits).documents[0].entry.patient.identifiers
    assert [value for value, _ in identifiers] == ["255081416802538", "294037512000591"]


@pytest.mark.parametrize("value", ["", "255081416802538", "^^^&1.2&ISO", "no^cx^at&all"])
def test_a_patient_id_that_is_none_says_nothing(value: str, make_document: MakeDocument, limits: Limits) -> None:
    document = make_document()
    written = "255081416802538^^^&amp;1.2.250.1.213.1.4.8&amp;ISO^NH"
    octets = metadata(build(document), f'value="{written}"', f'value="{value.replace("&", "&amp;")}"')
    assert xdm.read(octets, limits).documents == (document,)


def test_metadata_add_confidentiality(make_document: MakeDocument, limits: Limits) -> None:
    octets = metadata(build(make_document()), 'nodeRepresentation="N"', 'nodeRepresentation="INVISIBLE_PATIENT"')
    levels = {Confidentiality.NORMAL, Confidentiality.INVISIBLE_PATIENT}
    assert xdm.read(octets, limits).documents[0].entry.confidentiality == levels


def test_metadata_fill_an_empty_title(make_document: MakeDocument, limits: Limits) -> None:
    document = make_document(title="", type_label="")
    octets = metadata(build(document), '<rim:LocalizedString value=""', '<rim:LocalizedString value="Titre"')
    entry = xdm.read(octets, limits).documents[0].entry
    assert (entry.title, entry.type_label) == ("Titre", "Titre")


def test_another_unique_id_in_the_metadata_is_a_problem(make_document: MakeDocument, limits: Limits) -> None:
    submission = xdm.read(metadata(build(make_document("1.2.1")), 'value="1.2.1"', 'value="1.2.9"'), limits)
    assert submission.problems == (Problem.UNIQUE_ID_DIFFERS,)
    assert submission.documents[0].entry.unique_id == "1.2.1"


@pytest.mark.parametrize(
    "uri", ["doc00001.xml", "./DOC00001.XML", "../SUBSET01/DOC00001.XML", "..\\SUBSET01\\DOC00001.XML"]
)
def test_uris_count_from_the_folder(uri: str, make_document: MakeDocument, limits: Limits) -> None:
    octets = metadata(build(make_document()), "<rim:Value>DOC00001.XML<", f"<rim:Value>{uri}<")
    assert xdm.read(octets, limits).documents == (make_document(),)


def test_long_uris_come_in_numbered_pieces(make_document: MakeDocument, limits: Limits) -> None:
    pieces = "<rim:Value>2|0001.XML</rim:Value><rim:Value>1|DOC0<"
    octets = metadata(build(make_document()), "<rim:Value>DOC00001.XML<", pieces)
    assert xdm.read(octets, limits).problems == ()


@pytest.mark.parametrize(
    "uri", ["", "DOC00009.XML", "/etc/passwd", "../../../../etc/passwd", "http://example.org/DOC00001.XML"]
)
def test_uris_that_lead_nowhere(uri: str, make_document: MakeDocument, limits: Limits) -> None:
    octets = metadata(build(make_document()), "<rim:Value>DOC00001.XML<", f"<rim:Value>{uri}<")
    submission = xdm.read(octets, limits)
    assert Problem.DOCUMENT_MISSING in submission.problems
    assert Problem.DOCUMENT_UNLISTED in submission.problems
    assert [d.entry.unique_id for d in submission.documents] == ["1.2.250.1.999.1"]


def test_a_document_listed_twice_comes_once(make_document: MakeDocument, limits: Limits) -> None:
    octets = metadata(
        build(make_document("1.2.1"), make_document("1.2.2")), "<rim:Value>DOC00002.XML<", "<rim:Value>DOC00001.XML<"
    )
    submission = xdm.read(octets, limits)
    assert Problem.DOCUMENT_TWICE in submission.problems
    assert sorted(d.entry.unique_id for d in submission.documents) == ["1.2.1", "1.2.2"]


def test_without_metadata_the_documents_are_still_found(make_document: MakeDocument, limits: Limits) -> None:
    submission = xdm.read(changed(build(make_document()), SUBSET + "METADATA.XML", None), limits)
    assert submission.documents == (make_document(),)
    assert submission.problems == (Problem.METADATA_MISSING, Problem.DOCUMENT_UNLISTED)


@pytest.mark.parametrize("octets", [b"", b"<a>", b"<!DOCTYPE a [<!ENTITY x 'y'>]><a>&x;</a>"])
def test_metadata_that_cannot_be_read(octets: bytes, make_document: MakeDocument, limits: Limits) -> None:
    archive = changed(build(make_document()), SUBSET + "METADATA.XML", lambda _: octets)
    submission = xdm.read(archive, limits)
    assert submission.documents == (make_document(),)
    assert submission.problems == (Problem.METADATA_UNREADABLE, Problem.DOCUMENT_UNLISTED)


def test_metadata_of_another_kind_list_nothing(make_document: MakeDocument, limits: Limits) -> None:
    submission = xdm.read(changed(build(make_document()), SUBSET + "METADATA.XML", lambda _: b"<a/>"), limits)
    assert (submission.unique_id, submission.problems) == ("", (Problem.DOCUMENT_UNLISTED,))


@pytest.mark.parametrize("octets", [b"<a/>", b"not xml", b"<!DOCTYPE ClinicalDocument><ClinicalDocument/>"])
def test_a_document_that_cannot_be_read_spares_the_others(
    octets: bytes, make_document: MakeDocument, limits: Limits
) -> None:
    archive = changed(build(make_document("1.2.1"), make_document("1.2.2")), SUBSET + "DOC00001.XML", lambda _: octets)
    submission = xdm.read(archive, limits)
    assert [d.entry.unique_id for d in submission.documents] == ["1.2.2"]
    assert Problem.DOCUMENT_UNREADABLE in submission.problems


def test_documents_at_and_above_the_size_limit(make_document: MakeDocument, limits: Limits) -> None:
    octets = build(make_document(pdf=make_pdf(["x"] * 400), twin=False))
    largest = max(len(content) for content in files(octets).values())
    assert len(xdm.read(octets, replace(limits, cda_max_octets=largest)).documents) == 1
    submission = xdm.read(octets, replace(limits, cda_max_octets=largest - 1))
    assert submission.documents == ()
    assert submission.problems == (Problem.DOCUMENT_TOO_LARGE, Problem.NO_DOCUMENT)


def test_unlisted_files_and_metadata_above_the_size_limit(make_document: MakeDocument, limits: Limits) -> None:
    submission = xdm.read(build(make_document()), replace(limits, cda_max_octets=100))
    assert submission.documents == ()
    assert submission.problems == (Problem.METADATA_UNREADABLE, Problem.DOCUMENT_TOO_LARGE, Problem.NO_DOCUMENT)


def test_two_subsets_and_a_folder_around(make_document: MakeDocument, limits: Limits) -> None:
    one, two = files(build(make_document("1.2.1"))), files(build(make_document("1.2.2")))
    entries = {f"EXPORT/{name}": octets for name, octets in one.items()}
    entries |= {f"EXPORT/{name}".replace("SUBSET01", "SUBSET02"): octets for name, octets in two.items() if "/" in name}
    submission = xdm.read(zipped(entries), limits)
    assert [d.entry.unique_id for d in submission.documents] == ["1.2.1", "1.2.2"]
    assert submission.problems == ()


def test_an_archive_inside_is_not_opened(make_document: MakeDocument, limits: Limits) -> None:
    inner = build(make_document("1.2.9"))
    entries = files(build(make_document("1.2.1"))) | {SUBSET + "INNER.ZIP": inner, "IHE_XDM.ZIP": inner}
    submission = xdm.read(zipped(entries), limits)
    assert [d.entry.unique_id for d in submission.documents] == ["1.2.1"]
    assert submission.problems == ()


@pytest.mark.parametrize("name", ["../x", "/x", "a/../x"])
def test_hostile_archives_are_malformed(name: str, make_document: MakeDocument, limits: Limits) -> None:
    with pytest.raises(Malformed, match=Problem.ARCHIVE_BAD_NAME):
        xdm.read(zipped(files(build(make_document())) | {name: b""}), limits)


def test_a_truncated_archive_is_malformed(make_document: MakeDocument, limits: Limits) -> None:
    octets = build(make_document())
    for cut in (1, 20, len(octets) // 2, len(octets) - 4):
        with pytest.raises(Malformed, match=Problem.ARCHIVE_UNREADABLE):
            xdm.read(octets[:-cut], limits)


def test_problems_name_nobody(make_document: MakeDocument, limits: Limits) -> None:
    archive = changed(build(make_document()), SUBSET + "METADATA.XML", lambda octets: octets[: len(octets) // 2])
    assert all(problem in list(Problem) for problem in xdm.read(archive, limits).problems)


def test_an_entry_without_its_identifier_is_known_by_the_document_itself(
    make_document: MakeDocument, limits: Limits
) -> None:
    document = make_document("1.2.1")
    archive = metadata(build(document), ENTRY_UNIQUE_ID, "urn:uuid:00000000-0000-0000-0000-000000000000")
    (found,) = xdm.read(archive, limits).documents
    assert found.entry.unique_id == "1.2.1"


LINES = st.sampled_from([
    "<rim:Slot", "Value", "Slot", "name", "size", "URI", "hash", "ExternalIdentifier", "^", "&amp;", "|", "value",
    '"', "DOC00001", "PID-5", "-",
])  # fmt: skip


@given(old=LINES, new=LINES)
@settings(max_examples=60)
def test_odd_metadata_never_lose_the_document(old: str, new: str) -> None:
    archive = changed(ONE, SUBSET + "METADATA.XML", lambda octets: octets.replace(old.encode(), new.encode()))
    submission = xdm.read(archive, Limits())
    assert [d.entry.unique_id for d in submission.documents] == ["1.2.250.1.999.1"]
    assert all(problem in list(Problem) for problem in submission.problems)


def one() -> bytes:
    cda = make_cda(
        patient=PatientIdentity((("255081416802538", "1.2.250.1.213.1.4.8"),)),
        unique_id="1.2.250.1.999.1",
        title="Essai",
        created_at=AT,
        author=Author("Anne MARTIN"),
    )
    entry, pdf = read_whole(cda, Limits())
    return build(AttachedDocument(entry, cda, pdf))


ONE = one()


def test_class_and_format_travel_in_the_metadata(make_document: MakeDocument, limits: Limits) -> None:
    first = make_document()
    first = replace(first, entry=replace(first.entry, class_code="10", format_code="urn:ihe:iti:xds-sd:text:2008"))
    assert xdm.read(build(first), limits).documents == (first,)


def relate(kind: str, target: str) -> Callable[[bytes], bytes]:
    """Return what adds an association to the metadata: Document00001 replaces or appends the target."""
    line = (
        f'<rim:Association associationType="urn:ihe:iti:2007:AssociationType:{kind}" sourceObject="Document00001" '
        f'targetObject="{target}"/></rim:RegistryObjectList>'
    )
    return lambda octets: octets.replace(b"</rim:RegistryObjectList>", line.encode())


def test_relations_inside_a_set_are_written_and_read(make_document: MakeDocument, limits: Limits) -> None:
    old, newer, more = (
        make_document("1.2.1"),
        make_document("1.2.2", replaces="1.2.1"),
        make_document("1.2.3", appends="1.2.1"),
    )
    archive = build(old, newer, more)
    text = files(archive)[SUBSET + "METADATA.XML"].decode()
    assert text.count("AssociationType:RPLC") == text.count("AssociationType:APND") == 1
    found = {one.entry.unique_id: one.entry for one in xdm.read(archive, limits).documents}
    assert (found["1.2.2"].replaces, found["1.2.3"].appends) == ("1.2.1", "1.2.1")


@pytest.mark.parametrize(
    ("kind", "target", "replaces", "appends"),
    [
        ("RPLC", "urn:oid:1.2.9", "1.2.9", ""),
        ("APND", "urn:oid:1.2.9", "", "1.2.9"),
        ("RPLC", "urn:uuid:0a1b", "", ""),
        ("XFRM", "urn:oid:1.2.9", "", ""),
    ],
)
def test_relations_of_the_metadata_count_where_the_document_says_nothing(
    kind: str, target: str, replaces: str, appends: str, make_document: MakeDocument, limits: Limits
) -> None:
    archive = changed(build(make_document()), SUBSET + "METADATA.XML", relate(kind, target))
    (document,) = xdm.read(archive, limits).documents
    assert (document.entry.replaces, document.entry.appends) == (replaces, appends)
