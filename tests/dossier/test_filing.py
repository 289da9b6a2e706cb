"""Letters and their documents, and whose dossier a document belongs into: exactly the patient it names, or none."""

from __future__ import annotations

import io
import pickle
import zipfile
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from email.message import EmailMessage
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mss.config import Limits
from mss.dossier import filing, xdm
from mss.dossier.make import make_pdf
from mss.mail import mime
from mss.model.document import (
    AttachedDocument,
    Confidentiality,
    DocumentEntry,
    DocumentFormat,
    PatientIdentity,
    Submission,
)
from mss.model.filing import DocumentVerdict, FilingReason, FilingVerdict, Problem
from mss.model.ins import INS, OID_NIA, OID_NIR, OID_NIR_DEMO, OID_NIR_TEST, Traits
from mss.model.message import Message

AT = datetime(2026, 3, 14, tzinfo=UTC)
ZIP: Final = "application/zip"
MakeDocument = Callable[..., AttachedDocument]
MakeLetter = Callable[..., Message]

ME, OTHER, THIRD = "255081416802538", "294037512000591", "153124500723160"
BROKEN = "255081416802539"
TRAITS = Traits("DUPONT-MOREL", "ÉLODIE", "19550815", "F")
BOX = INS.parse(ME)


def build(*documents: AttachedDocument) -> bytes:
    return xdm.build(documents, unique_id="1.9", source_id="1.8", submitted_at=AT)


def naming(*identifiers: tuple[str, str], traits: Traits = TRAITS, number: int = 1, **more: object) -> AttachedDocument:
    identity = PatientIdentity(identifiers, traits)
    entry = DocumentEntry(f"1.2.{number}", DocumentFormat.CDA, patient=identity)
    return replace(AttachedDocument(entry, b""), **more)  # type: ignore[arg-type]


def judged(
    *documents: AttachedDocument, box: INS = BOX, traits: Traits | None = TRAITS, test: bool = False
) -> FilingVerdict:
    return filing.match(box, traits, Submission(documents), test_identities=test)


def reason(*identifiers: tuple[str, str], test: bool = False, box: INS = BOX) -> FilingReason:
    return judged(naming(*identifiers), test=test, box=box).documents[0].reason


# Reading letters.


@pytest.mark.parametrize(
    ("name", "content_type"),
    [
        ("IHE_XDM.ZIP", ZIP),
        ("ihe_xdm.zip", "application/octet-stream"),
        ("Ihe_Xdm.Zip", "image/png"),
        ("documents.zip", "application/x-zip-compressed"),
        ("", ZIP),
        ("resultats", "application/octet-stream"),
    ],
)
def test_archives_are_found_by_name_or_content(
    name: str, content_type: str, make_document: MakeDocument, make_letter: MakeLetter, limits: Limits
) -> None:
    document = make_document()
    submission = filing.read(make_letter((name, content_type, build(document))), limits)
    assert submission == Submission((document,), "1.9", ())


@pytest.mark.parametrize("encoding", ["base64", "8bit", "binary"])
def test_transfer_encodings(
    encoding: str, make_document: MakeDocument, make_letter: MakeLetter, limits: Limits
) -> None:
    submission = filing.read(make_letter(("IHE_XDM.ZIP", ZIP, build(make_document()), encoding)), limits)
    assert submission.documents == (make_document(),)


def test_a_letter_as_another_program_writes_it(make_document: MakeDocument, limits: Limits) -> None:
    document = make_document()
    letter = EmailMessage()
    letter["Subject"] = "XDM/1.0/DDM+Compte rendu"
    letter.set_content("Veuillez trouver ci-joint votre compte rendu.")
    letter.add_attachment(build(document), maintype="application", subtype="zip", filename="IHE_XDM.ZIP")
    letter.add_attachment(document.companion_pdf, maintype="application", subtype="pdf", filename="é à.pdf")
    message = mime.index(letter.as_bytes(policy=letter.policy.clone(linesep="\r\n")), limits)
    assert filing.read(message, limits) == Submission((document,), "1.9", ())


@given(st.binary(max_size=300))
def test_no_letter_makes_it_fail(tail: bytes) -> None:
    head = b"Content-Type: application/zip; name=IHE_XDM.ZIP\r\n\r\nPK\x03\x04IHE_XDM"
    submission = filing.read(mime.index(head + tail, Limits()), Limits())
    assert submission == Submission((), "", (Problem.ARCHIVE_UNREADABLE,))


@pytest.mark.parametrize(
    ("name", "kind"), [("a.xml", "text/xml"), ("", "application/xml"), ("a", "application/octet-stream")]
)
def test_bare_cdas_are_found(
    name: str, kind: str, make_document: MakeDocument, make_letter: MakeLetter, limits: Limits
) -> None:
    document = make_document()
    assert filing.read(make_letter((name, kind, document.octets)), limits) == Submission((document,))


def test_a_bare_cda_that_cannot_be_read_is_a_problem(
    make_document: MakeDocument, make_letter: MakeLetter, limits: Limits
) -> None:
    hostile = b"<!DOCTYPE a [<!ENTITY x SYSTEM 'file:///etc/passwd'>]>" + make_document().octets[39:]
    submission = filing.read(make_letter(("a.xml", "text/xml", hostile)), limits)
    assert submission == Submission((), "", (Problem.DOCUMENT_UNREADABLE,))


def test_ordinary_attachments_are_no_documents(make_letter: MakeLetter, limits: Limits) -> None:
    letter = make_letter(
        ("photo.jpg", "image/jpeg", b"\xff\xd8\xff"),
        ("", "text/plain", b"Bonjour ClinicalDocument urn:hl7-org:v3", "7bit"),
        ("note.pdf", "application/pdf", make_pdf(["note"])),
        ("data.zip", ZIP, b"PK\x03\x04 something else"),
        ("page.xml", "text/xml", b"<html/>"),
    )
    assert filing.read(letter, limits) == Submission()


def test_letters_inside_the_letter_are_not_looked_into(
    make_document: MakeDocument, make_letter: MakeLetter, limits: Limits
) -> None:
    letter = make_letter(("IHE_XDM.ZIP", ZIP, build(make_document())))
    root = letter.structure.root
    inside = replace(root.children[0], embedded=root, content_type="message/rfc822")
    outer = replace(letter, structure=replace(letter.structure, root=replace(root, children=(inside,))))
    assert filing.read(outer, limits) == Submission()


def test_an_archive_that_is_hostile_is_a_problem_and_nothing_else(make_letter: MakeLetter, limits: Limits) -> None:
    submission = filing.read(make_letter(("IHE_XDM.ZIP", ZIP, b"PK\x03\x04 no archive")), limits)
    assert submission == Submission((), "", (Problem.ARCHIVE_UNREADABLE,))


def test_the_same_document_twice_is_one(make_document: MakeDocument, make_letter: MakeLetter, limits: Limits) -> None:
    document = make_document()
    letter = make_letter(("IHE_XDM.ZIP", ZIP, build(document)), ("a.xml", "text/xml", document.octets))
    assert filing.read(letter, limits) == Submission((document,), "1.9", ())


def test_two_contents_under_one_id_are_filed_nowhere(
    make_document: MakeDocument, make_letter: MakeLetter, limits: Limits, ins: INS, traits: Traits
) -> None:
    one, two = make_document("1.2.1"), make_document("1.2.1", title="Autre")
    letter = make_letter(("IHE_XDM.ZIP", ZIP, build(one)), ("a.xml", "text/xml", two.octets))
    submission = filing.read(letter, limits)
    assert submission.problems == (Problem.DOCUMENT_TWICE,)
    assert submission.documents == (replace(one, defect=Problem.DOCUMENT_TWICE),)
    verdict = filing.match(ins, traits, submission, test_identities=False)
    assert verdict.documents == (DocumentVerdict("1.2.1", FilingReason.DAMAGED),)


def structured(document: AttachedDocument) -> AttachedDocument:
    """Return the document as a level 3 one, which embeds no PDF."""
    start, end = document.octets.index(b"<nonXMLBody>"), document.octets.index(b"</nonXMLBody>") + 13
    octets = document.octets[:start] + b"<structuredBody/>" + document.octets[end:]
    return AttachedDocument(replace(document.entry, has_body_pdf=False, format_code=""), octets)


def test_the_only_pdf_of_the_letter_is_the_twin(
    make_document: MakeDocument, make_letter: MakeLetter, limits: Limits
) -> None:
    document, pdf = structured(make_document()), make_pdf(["lisible"])
    letter = make_letter(("a.xml", "text/xml", document.octets), ("a.pdf", "application/pdf", pdf))
    assert filing.read(letter, limits).documents == (replace(document, companion_pdf=pdf),)


def test_no_twin_is_guessed_among_several(make_document: MakeDocument, make_letter: MakeLetter, limits: Limits) -> None:
    document = structured(make_document())
    pdfs = [(f"{n}.pdf", "application/pdf", make_pdf([str(n)])) for n in range(2)]
    assert filing.read(make_letter(("a.xml", "text/xml", document.octets), *pdfs), limits).documents == (document,)
    other = structured(make_document("1.2.2"))
    letter = make_letter(("a.xml", "text/xml", document.octets), ("b.xml", "text/xml", other.octets), pdfs[0])
    assert filing.read(letter, limits).documents == (document, other)


def test_a_pdf_that_is_somebodys_twin_already_is_not_given_twice(
    make_document: MakeDocument, make_letter: MakeLetter, limits: Limits
) -> None:
    level_1, level_3 = make_document("1.2.1"), structured(make_document("1.2.2"))
    assert level_1.companion_pdf is not None
    letter = make_letter(
        ("a.xml", "text/xml", level_1.octets),
        ("b.xml", "text/xml", level_3.octets),
        ("a.pdf", "application/pdf", level_1.companion_pdf),
    )
    assert filing.read(letter, limits).documents == (level_1, level_3)


@pytest.mark.parametrize(("count", "read", "problems"), [(4, 4, ()), (5, 4, (Problem.ARCHIVES_TOO_MANY,))])
def test_archives_up_to_the_limit(
    count: int,
    read: int,
    problems: tuple[str, ...],
    make_document: MakeDocument,
    make_letter: MakeLetter,
    limits: Limits,
) -> None:
    letter = make_letter(*(("IHE_XDM.ZIP", ZIP, build(make_document(f"1.2.{n}"))) for n in range(count)))
    submission = filing.read(letter, limits)
    assert (len(submission.documents), submission.problems) == (read, problems)


def test_archives_share_one_bound(make_document: MakeDocument, make_letter: MakeLetter, limits: Limits) -> None:
    archives = [build(make_document(f"1.2.{n}")) for n in range(2)]
    with zipfile.ZipFile(io.BytesIO(archives[0])) as opened:
        total = sum(info.file_size for info in opened.infolist())
    letter = make_letter(*(("IHE_XDM.ZIP", ZIP, archive) for archive in archives))
    tight = replace(limits, zip_uncompressed_max_octets=total + 100)
    submission = filing.read(letter, tight)
    assert [d.entry.unique_id for d in submission.documents] == ["1.2.0"]
    assert submission.problems == (Problem.ARCHIVE_TOO_LARGE,)


def test_what_was_read_travels_between_processes(
    make_document: MakeDocument, make_letter: MakeLetter, limits: Limits
) -> None:
    submission = filing.read(make_letter(("IHE_XDM.ZIP", ZIP, build(make_document()))), limits)
    assert pickle.loads(pickle.dumps(submission)) == submission


def test_from_letter_to_dossier(
    make_document: MakeDocument, make_letter: MakeLetter, limits: Limits, ins: INS, traits: Traits
) -> None:
    letter = make_letter(("IHE_XDM.ZIP", ZIP, build(make_document("1.2.1"), make_document("1.2.2"))))
    verdict = filing.match(ins, traits, filing.read(letter, limits), test_identities=False)
    assert verdict.filed == {"1.2.1", "1.2.2"}
    assert (verdict.refused, verdict.code, verdict.invisible_to_patient) == (False, 0, False)


# Whose documents.

NIR, NIA, TEST, DEMO, INSC, LOCAL = OID_NIR, OID_NIA, OID_NIR_TEST, OID_NIR_DEMO, "1.2.250.1.213.1.4.2", "1.2.3.4"


@pytest.mark.parametrize(
    ("identifiers", "in_production", "in_test"),
    [
        ([(ME, NIR)], "matches", "matches"),
        ([(ME, NIR), ("IPP42", LOCAL), ("221042545611404", INSC)], "matches", "matches"),
        ([("2 55 08 14 168 025 38", NIR)], "matches", "matches"),
        ([], "no-ins", "no-ins"),
        ([("IPP42", LOCAL)], "no-ins", "no-ins"),
        ([(" ", NIR)], "no-ins", "no-ins"),
        ([(ME, LOCAL)], "no-ins", "no-ins"),
        ([(OTHER, NIR)], "other-patient", "other-patient"),
        ([(OTHER, NIA)], "other-patient", "other-patient"),
        ([(OTHER, NIR), (THIRD, NIR)], "other-patient", "other-patient"),
        ([(ME, NIR), (OTHER, NIR)], "several-patients", "several-patients"),
        ([(ME, NIA)], "oid-differs", "oid-differs"),
        ([(ME, NIR), (ME, NIA)], "oid-differs", "oid-differs"),
        ([(BROKEN, NIR)], "bad-matricule", "bad-matricule"),
        ([("123456789012345", NIR)], "bad-matricule", "bad-matricule"),
        ([("12345", NIR)], "bad-matricule", "bad-matricule"),
        ([(ME, NIR), (BROKEN, NIR)], "bad-matricule", "bad-matricule"),
        ([(ME, TEST)], "test-identity", "oid-differs"),
        ([(OTHER, TEST)], "test-identity", "other-patient"),
        ([(OTHER, DEMO)], "test-identity", "other-patient"),
        ([(BROKEN, TEST)], "test-identity", "bad-matricule"),
        ([(ME, NIR), (OTHER, TEST)], "test-identity", "several-patients"),
        ([(OTHER, NIR), (ME, TEST)], "other-patient", "several-patients"),
    ],
)
def test_identities(identifiers: list[tuple[str, str]], in_production: str, in_test: str) -> None:
    assert reason(*identifiers) == in_production
    assert reason(*identifiers, test=True) == in_test


def test_a_box_under_a_test_authority() -> None:
    box = INS.parse(ME, OID_NIR_TEST)
    assert reason((ME, TEST), box=box, test=True) == "matches"
    assert reason((ME, TEST), box=box) == "test-identity"
    assert reason((ME, NIR), box=box, test=True) == "oid-differs"


def test_corsican_letters_compare_in_any_case() -> None:
    box = INS.parse("284052A32102552")
    assert reason(("284052a32102552", NIR), box=box) == "matches"


@pytest.mark.parametrize(
    ("ours", "theirs", "same"),
    [
        (TRAITS, TRAITS, True),
        (TRAITS, Traits("Dupont Morel", "elodie", "19550815", "F"), True),
        (TRAITS, Traits("DUPONTMOREL", "Élodie", "19550815", "F"), True),
        (Traits("L'HŒST", "ANNE-LISE", "19550815", "F"), Traits("L HOEST", "ANNE LISE", "19550815", "F"), True),
        (Traits("STRAẞE", "Æ", "19550815", "F"), Traits("strasse", "ae", "19550815", "F"), True),
        (TRAITS, Traits("DUPONT", "ÉLODIE", "19550815", "F"), False),
        (TRAITS, Traits("DUPONT-MOREL", "ÉLISE", "19550815", "F"), False),
        (TRAITS, Traits("DUPONT-MOREL", "ÉLODIE", "19550816", "F"), False),
        (TRAITS, Traits("DUPONT-MOREL", "ÉLODIE", "19550815", "M"), False),
        (Traits("", "", "", ""), Traits("X", "Y", "19000101", "M"), True),
        (Traits("DUPONT", "", "", ""), Traits("DUPONT", "Y", "19000101", "M"), True),
        (None, TRAITS, True),
    ],
)
def test_traits(ours: Traits | None, theirs: Traits, same: bool) -> None:
    verdict = judged(naming((ME, NIR), traits=theirs), traits=ours)
    assert verdict.documents[0].reason is (FilingReason.MATCHES if same else FilingReason.TRAITS_DIFFER)
    assert verdict.code == (0 if same else 906)
    assert not verdict.refused


@pytest.mark.parametrize("missing", ["birth_name", "first_name", "birth_date", "sex"])
@pytest.mark.parametrize("value", ["", " ", "-"])
def test_missing_traits(missing: str, value: str) -> None:
    verdict = judged(naming((ME, NIR), traits=replace(TRAITS, **{missing: value})), traits=None)
    assert verdict.documents == (DocumentVerdict("1.2.1", FilingReason.TRAITS_INCOMPLETE),)
    assert verdict.code == 905


@pytest.mark.parametrize(
    ("one", "two", "refused"),
    [
        ((OTHER, NIR), (OTHER, NIR), True),
        ((OTHER, NIR), (THIRD, NIA), True),
        ((OTHER, NIR), (ME, NIR), False),
        ((OTHER, NIR), (BROKEN, NIR), False),
        ((OTHER, NIR), (OTHER, TEST), False),
        ((OTHER, NIR), ("IPP", LOCAL), False),
        ((BROKEN, NIR), (BROKEN, NIR), False),
        ((ME, NIA), (ME, NIA), False),
    ],
)
def test_a_letter_is_refused_when_all_name_another(one: tuple[str, str], two: tuple[str, str], refused: bool) -> None:
    verdict = judged(naming(one), naming(two, number=2))
    assert verdict.refused is refused
    if refused:
        assert verdict.code == 904


def test_documents_are_judged_one_by_one() -> None:
    verdict = judged(naming((ME, NIR)), naming((OTHER, NIR), number=2), naming((ME, NIA), number=3))
    assert [(v.unique_id, v.filed, v.code) for v in verdict.documents] == [
        ("1.2.1", True, 0),
        ("1.2.2", False, 904),
        ("1.2.3", False, 906),
    ]
    assert verdict.filed == {"1.2.1"}
    assert verdict.code == 904


def test_a_letter_without_documents_is_not_refused() -> None:
    assert judged() == FilingVerdict()
    assert judged().code == 0


def test_a_damaged_document_is_not_filed_but_still_tells_whom_it_names() -> None:
    assert judged(naming((ME, NIR), defect="x")).documents[0].reason is FilingReason.DAMAGED
    assert judged(naming((OTHER, NIR), defect="x")).refused


@pytest.mark.parametrize("level", list(Confidentiality))
def test_invisible_documents_are_told(level: Confidentiality) -> None:
    document = naming((ME, NIR))
    document = replace(
        document, entry=replace(document.entry, confidentiality=frozenset({Confidentiality.NORMAL, level}))
    )
    verdict = judged(document)
    assert verdict.invisible_to_patient is (level is Confidentiality.INVISIBLE_PATIENT)
    assert verdict.invisible_to_representatives is (level is Confidentiality.INVISIBLE_REPRESENTATIVES)


@pytest.mark.parametrize("why", list(FilingReason))
def test_every_reason_has_a_code_and_a_sentence(why: FilingReason) -> None:
    assert (why.code == 0) is (why is FilingReason.MATCHES)
    assert why.code in (0, 903, 904, 905, 906)
    assert why.sentence.endswith(".")


PAIRS = st.lists(
    st.tuples(st.sampled_from([ME, OTHER, THIRD, BROKEN, "IPP"]), st.sampled_from([NIR, NIA, TEST, LOCAL])), max_size=4
)


@given(st.lists(PAIRS, max_size=3), st.booleans())
def test_only_documents_that_name_the_patient_alone_are_filed(letters: list[list[tuple[str, str]]], test: bool) -> None:
    documents = [naming(*pairs, number=n) for n, pairs in enumerate(letters)]
    verdict = judged(*documents, test=test)
    for pairs, judgement in zip(letters, verdict.documents, strict=True):
        ins = {(value, oid) for value, oid in pairs if oid != LOCAL}
        assert judgement.filed is (ins == {(ME, NIR)})
    if verdict.refused:
        assert not any(value == ME and oid in (NIR, NIA) for pairs in letters for value, oid in pairs)
