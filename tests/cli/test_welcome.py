"""The structured first letter: subject, marks, archive and twins as MSSANTE.md §2.C wants them; and `mss welcome`."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from mss.clock import system_clock
from mss.config import Limits
from mss.dossier import filing
from mss.errors import Malformed
from mss.mail import content, headers, markers, mime
from mss.mail.compose import Correspondent
from mss.model.address import Address
from mss.model.document import PatientIdentity
from mss.model.ins import INS, OID_NIR_TEST, Traits
from mss.model.message import Message
from mss.services import records
from mss.services.accounts import box_by_address
from mss.services.welcome import Welcome, compose_welcome, is_qualified, read_documents, subject
from tests.cli.cli_world import MATRICULE, OTHER_MATRICULE, PATIENT, RECEPTION, TRAITS, Desk, cda

LIMITS = Limits()
NOW = datetime(2026, 3, 6, 8, 0, tzinfo=UTC)
SENDER = Correspondent(Address.parse(RECEPTION), "Accueil de l'hôpital")
PDF = b"%PDF-1.4\nanother twin\n%%EOF\n"


def wish(*documents: bytes, twins: tuple[bytes, ...] = (), **changes: object) -> Welcome:
    fields = {"sender": SENDER, "to": Address.parse(PATIENT), "unique": "w1", "software": "DEV935997", **changes}
    return Welcome(documents=documents or (cda(),), twins=twins, **fields)  # type: ignore[arg-type]


def letter(order: Welcome) -> Message:
    return mime.index(compose_welcome(order, LIMITS, NOW), LIMITS)


def subject_of(*documents: bytes) -> str:
    return subject(read_documents(wish(*documents), LIMITS))


def files(message: Message) -> dict[str, bytes]:
    parts = message.structure.root.walk()
    return {part.filename: content.decoded(message, part) for part in parts if part.filename}


@pytest.mark.parametrize(
    ("label", "traits", "written"),
    [
        ("CR de biologie", TRAITS, "XDM/1.0/DDM+CR de biologie PAT-TROIS DOMINIQUE 28/03/1979"),
        ("L" * 41, TRAITS, f"XDM/1.0/DDM+{'L' * 40} PAT-TROIS DOMINIQUE 28/03/1979"),
        ("CR", Traits("Lefèvre", "Zoë", "19781126", "F"), "XDM/1.0/DDM+CR LEFEVRE ZOE 26/11/1978"),
        ("CR", Traits("VIAL", "Paul", "", "M"), "XDM/1.0/DDM+CR VIAL PAUL"),
    ],
)
def test_the_subject_names_document_and_patient(label: str, traits: Traits, written: str) -> None:
    assert subject_of(cda(label=label, traits=traits)) == written


def test_the_subject_counts_several_documents() -> None:
    assert subject_of(cda("2.25.1"), cda("2.25.2")).startswith("XDM/1.0/DDM+2 documents PAT-TROIS")


def test_the_marks_are_there() -> None:
    marks = markers.read(letter(wish(cda("2.25.1"), cda("2.25.2"))))
    assert marks.xdm
    assert marks.answerable
    assert marks.ins_qualified is True
    assert marks.software == "DEV935997"
    # Repeats are kept: one code for each document (ECO.2.4.1).
    assert marks.document_codes == ("11502-2", "11502-2")


def test_an_answer_may_be_forbidden() -> None:
    message = letter(wish(answerable=False))
    assert not markers.read(message).answerable
    assert "n’autorise pas la réponse" in content.text(message, next(message.structure.root.walk()).children[0])


def test_names_are_shown_and_replies_go_where_they_should() -> None:
    reply_to = Correspondent(Address.parse("suites@hopital.example"), "Suites")
    message = letter(wish(reply_to=(reply_to,), text="Voici.\n"))
    assert headers.addresses(message.header("from") or b"", LIMITS) == [("Accueil de l'hôpital", RECEPTION)]
    assert headers.addresses(message.header("to") or b"", LIMITS) == [("Dominique PAT-TROIS", PATIENT)]
    assert headers.addresses(message.header("reply-to") or b"", LIMITS) == [("Suites", "suites@hopital.example")]
    assert headers.message_ids(message.header("message-id") or b"") == ["<w1@hopital.example>"]


def test_the_documents_can_be_filed_and_read() -> None:
    message = letter(wish(cda("2.25.1"), cda("2.25.2", label="CR d'imagerie")))
    submission = filing.read(message, LIMITS)
    assert submission.problems == ()
    assert [one.entry.unique_id for one in submission.documents] == ["2.25.1", "2.25.2"]
    verdict = filing.match(INS(MATRICULE, OID_NIR_TEST), TRAITS, submission, test_identities=True)
    assert set(verdict.filed) == {"2.25.1", "2.25.2"}
    found = files(message)
    assert list(found) == [
        "IHE_XDM.ZIP",
        "20260305_CR-de-biologie_PAT-TROIS_DOMINIQUE_1.pdf",
        "20260305_CR-d-imagerie_PAT-TROIS_DOMINIQUE_2.pdf",
    ]
    assert all(octets.startswith(b"%PDF-") for name, octets in found.items() if name.endswith(".pdf"))


def test_a_given_twin_goes_before_the_embedded_one() -> None:
    message = letter(wish(cda(), twins=(PDF,)))
    assert PDF in files(message).values()
    assert filing.read(message, LIMITS).documents[0].companion_pdf == PDF


def test_the_same_wish_gives_the_same_octets() -> None:
    assert compose_welcome(wish(), LIMITS, NOW) == compose_welcome(wish(), LIMITS, NOW)
    assert compose_welcome(wish(), LIMITS, NOW) != compose_welcome(wish(unique="w2"), LIMITS, NOW)


@pytest.mark.parametrize(
    ("order", "said"),
    [
        (Welcome(SENDER, Address.parse(PATIENT), (), "w1"), "at least one document"),
        (wish(b"<html/>"), "not a CDA"),
        (wish(cda(), cda("2.25.2", matricule=OTHER_MATRICULE)), "different patients"),
        (wish(cda(), cda()), "same unique id"),
        (wish(cda(), twins=(PDF, PDF)), "one readable PDF for each"),
        (wish(cda(), twins=(b"GIF89a",)), "must be a PDF"),
        (wish(unique="not a word"), "not a unique word"),
    ],
)
def test_what_does_not_fit_is_refused(order: Welcome, said: str) -> None:
    with pytest.raises(Malformed, match=said):
        compose_welcome(order, LIMITS, NOW)


@pytest.mark.parametrize(
    ("identifiers", "traits", "qualified"),
    [
        (((MATRICULE, OID_NIR_TEST),), TRAITS, True),
        (((MATRICULE, "1.2.3"),), TRAITS, False),
        ((("279035121518988", OID_NIR_TEST),), TRAITS, False),
        ((), TRAITS, False),
        (((MATRICULE, OID_NIR_TEST),), Traits("A", "B", "19790328", ""), False),
        (((MATRICULE, OID_NIR_TEST),), Traits("A", "", "19790328", "F"), False),
    ],
)
def test_an_ins_is_qualified_with_its_authority_and_four_traits(
    identifiers: tuple[tuple[str, str], ...], traits: Traits, qualified: bool
) -> None:
    assert is_qualified(PatientIdentity(identifiers, traits)) is qualified


# The command ------------------------------------------------------------------------------------------------------


@pytest.fixture
def document(tmp_path: Path) -> Path:
    path = tmp_path / "cda.xml"
    path.write_bytes(cda())
    return path


def order(document: Path, to: str = MATRICULE, sender: str = RECEPTION) -> tuple[str, ...]:
    return ("welcome", "--from", sender, "--to", to, "--document", str(document))


def test_a_patient_of_ours_gets_letter_and_document(staffed: Desk, document: Path) -> None:
    printed = staffed.does(*order(document))
    assert "✓ box.receives" in printed
    assert MATRICULE not in printed
    now = system_clock()
    box = staffed.in_store(lambda store: store.read(box_by_address, Address.parse(PATIENT), now))
    assert box is not None
    account_id = staffed.in_store(lambda store: store.read(lambda uow: uow.accounts.by_login("dominique")))
    assert account_id is not None
    asked = (account_id.id, box.id, 0, 10, now)
    (conversation,) = staffed.in_store(lambda store: store.read(records.conversations, *asked))
    assert conversation.subject == "CR de biologie PAT-TROIS DOMINIQUE 28/03/1979"
    assert conversation.names == ("Accueil de l'hôpital",)
    (filed,) = staffed.in_store(lambda store: store.read(records.documents, account_id.id, box.id, now))
    assert filed.entry.unique_id == "2.25.1"


def test_the_receipt_is_found_in_the_journal(staffed: Desk, document: Path) -> None:
    printed = staffed.does(*order(document))
    number = printed.splitlines()[-1].removeprefix("Receipt ")
    assert "letter.accept" in staffed.does("audit", "receipt", number)


def test_a_patient_elsewhere_gets_it_through_the_queue(staffed: Desk, document: Path) -> None:
    printed = staffed.does(*order(document, f"{MATRICULE}@patient.mssante.fr"), "--no-answer", "--software", "X1")
    assert "✓ recipient.relayed" in printed
    assert "patient.mssante.fr" in staffed.does("queue", "list")


def test_a_bare_matricule_lives_elsewhere_when_we_host_no_patients(staffed: Desk, document: Path) -> None:
    staffed.change('name = "patient.example"\nkind = "patient"', 'name = "patient.example"\nkind = "professional"')
    staffed.does(*order(document))
    assert "patient.mssante.fr" in staffed.does("queue", "list")


def test_a_document_about_another_patient_is_refused_with_its_rule(staffed: Desk, document: Path) -> None:
    document.write_bytes(cda(matricule=OTHER_MATRICULE))
    result = staffed.run(*order(document))
    assert result.exit_code == 1
    assert "✗ document.other-patient: 904 INS mismatch" in result.stdout


@pytest.mark.parametrize(
    ("to", "sender", "said"),
    [
        (MATRICULE, "nobody@hopital.example", "professional box of ours"),
        (MATRICULE, PATIENT, "professional box of ours"),
        (MATRICULE, "nobody", "--from is no mail address"),
        ("123", RECEPTION, "not a matricule INS"),
        ("a b@patient.example", RECEPTION, "--to is no mail address"),
    ],
)
def test_what_does_not_fit_is_one_line(staffed: Desk, document: Path, to: str, sender: str, said: str) -> None:
    assert said in staffed.fails(*order(document, to, sender))


def test_a_missing_document_is_named(staffed: Desk, tmp_path: Path) -> None:
    assert "missing.xml" in staffed.fails(*order(tmp_path / "missing.xml"), code=2)


def test_twins_and_reply_boxes_are_taken(staffed: Desk, document: Path, tmp_path: Path) -> None:
    twin = tmp_path / "twin.pdf"
    twin.write_bytes(PDF)
    staffed.does(
        *order(document), "--twin", str(twin), "--reply-to", "marie.durand@hopital.example", "--text", "Bonjour"
    )


def test_a_structured_document_needs_a_twin_to_be_read(staffed: Desk, document: Path, tmp_path: Path) -> None:
    octets = cda()
    start, end = octets.index(b"<nonXMLBody>"), octets.index(b"</nonXMLBody>") + len(b"</nonXMLBody>")
    document.write_bytes(octets[:start] + b"<structuredBody/>" + octets[end:])
    assert "1 documents came without a readable PDF" in staffed.does(*order(document))
    twin = tmp_path / "twin.pdf"
    twin.write_bytes(PDF)
    assert "readable PDF" not in staffed.does(*order(document), "--twin", str(twin))
