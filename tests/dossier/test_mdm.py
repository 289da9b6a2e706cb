"""What HL7 orders ask for: each listed combination, and an error for every other one; and their acknowledgement."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mss.config import Limits
from mss.dossier import er7, mdm
from mss.dossier.acknowledgement import Fault, acknowledge, fault_of
from mss.dossier.make import make_pdf
from mss.dossier.mdm import Act, Order, Refused, Wrong
from mss.errors import Malformed
from mss.model.document import Confidentiality, PatientIdentity
from tests.support.mdm import AT, MATRICULE, PATIENT, document, encapsulated, order, published, text

DOMAINS = frozenset({"patient.mssante.fr"})
BOTH = {"DESTMSSANTEPS": "Y", "DESTMSSANTEPAT": "Y"}
PATIENT_ONLY = {"DESTMSSANTEPS": "N", "DESTMSSANTEPAT": "Y"}


def read(octets: bytes, *, test: bool = False) -> Order:
    limits = Limits()
    return mdm.read(er7.parse(octets, limits), limits, DOMAINS, test_identities=test)


def refused(octets: bytes) -> Wrong:
    with pytest.raises(Refused) as caught:
        read(octets)
    assert str(caught.value) == caught.value.wrong.value
    return caught.value.wrong


def test_a_first_transmission_to_professionals() -> None:
    found = read(order(to=("a@chu.mssante.fr", "b@chu.mssante.fr", "a@chu.mssante.fr"), reply_to="c@chu.mssante.fr"))
    assert (found.act, found.event, found.control_id) == (Act.SEND, "T02", "015")
    assert [one.spec for one in found.professionals] == ["a@chu.mssante.fr", "b@chu.mssante.fr"]
    assert found.reply_to is not None
    assert found.reply_to.spec == "c@chu.mssante.fr"
    assert (found.to_patient, found.final) == ("", False)
    assert found.documents[0].octets == document()
    assert found.documents[0].companion_pdf is not None


def test_to_the_patient_and_to_professionals() -> None:
    meta = {**BOTH, "ACK_RECEPTION": "Y", "ACK_LECTURE_MSS": "Y", "DESTDMP": "N", "MODIF_CONF_CODE": "N"}
    extra = (text("CORPSMAIL_PS", "Cher confrère|ami"), text("CORPSMAIL_PATIENT", "Bonjour"), "NTE|1|||FIN")
    found = read(order(meta=meta, extra=extra))
    assert (found.to_patient, found.final) == (MATRICULE, True)
    assert (found.text_for_professionals, found.text_for_patient) == ("Cher confrère|ami", "Bonjour")
    assert (found.delivery_receipt, found.read_receipt) == (True, True)


def test_to_the_patient_alone() -> None:
    found = read(order(meta=PATIENT_ONLY, to=(), extra=("NTE|1|||",)))
    assert (found.professionals, found.to_patient, found.final) == ((), MATRICULE, False)


@pytest.mark.parametrize(("event", "act"), [("T04", Act.WITHDRAW), ("T11", Act.WITHDRAW), ("T10", Act.REPLACE)])
def test_replacement_and_withdrawal(event: str, act: Act) -> None:
    assert read(order(event, parent="1.2.250.1.999.0")).act is act


def test_marks_of_the_message_are_added_to_the_documents() -> None:
    meta = {"MASQUE_PS": "Y", "INVISIBLE_PATIENT": "Y", "INVISIBLE_REP_LEGAUX": "N"}
    (found,) = read(order(meta=meta)).documents
    assert found.entry.confidentiality == {
        Confidentiality.NORMAL,
        Confidentiality.MASKED_FOR_PROFESSIONALS,
        Confidentiality.INVISIBLE_PATIENT,
    }


def test_a_pdf_is_the_twin_of_the_document_before_it() -> None:
    pdf = make_pdf(["lisible"])
    (found,) = read(order(documents=[document(), pdf])).documents
    assert found.companion_pdf == pdf


def test_base64_without_padding_is_forgiven() -> None:
    octets = document() + b" " * (-len(document()) % 3 + 1)
    assert read(order(documents=[octets]).replace(b"==|", b"|")).documents[0].octets == octets


def test_an_encapsulated_body_is_read() -> None:
    found = read(order(extra=(encapsulated(2, "CORPSMAIL_PS^x", "Bonjour à vous".encode(), "F"),)))
    assert found.text_for_professionals == "Bonjour à vous"


def test_an_extension_may_be_left_out_of_the_identifier() -> None:
    octets = order(documents=[document("1.2.3^4")], identifier="1.2.3")
    assert read(octets).documents[0].entry.unique_id == "1.2.3^4"


STRANGER = PatientIdentity((("279035121518989", "1.2.250.1.213.1.4.8"),), PATIENT.traits)
NOBODY = PatientIdentity((), PATIENT.traits)
SECOND = encapsulated(2, "18748-4", document("1.2.250.1.999.2", patient=STRANGER), "F")


@pytest.mark.parametrize(
    ("octets", "wrong"),
    [
        (order("T01"), Wrong.EVENT),
        (order().replace(b"|MDM^", b"|ORU^"), Wrong.EVENT),
        (order().replace(b"|P|2.6", b"|P|2.5"), Wrong.VERSION),
        (order(control_id=""), Wrong.CONTROL_ID),
        (order().replace(b"ORC|NW", b"ORC|RO"), Wrong.ORDER_CONTROL),
        (order().replace(b"ORC|NW|\r", b""), Wrong.ORDER_CONTROL),
        (order(extra=("ORC|CA|",)), Wrong.ORDER_CONTROL),
        (order(documents=(), extra=(encapsulated(1, "x", document(), "D"),)), Wrong.STATUS),
        (order(meta={"MASQUE_PS": "O"}), Wrong.META_VALUE),
        (order(meta={"MASQUE_PS": ""}), Wrong.META_VALUE),
        (order(meta={"MASQUE_PS": "N"}, extra=("OBX|1|CWE|MASQUE_PS||N",)), Wrong.META_TWICE),
        (order(extra=(text("CORPSMAIL_PS", "a"), text("CORPSMAIL_PS", "b"))), Wrong.META_TWICE),
        (order(meta={"SURPRISE": "Y"}), Wrong.META_UNKNOWN),
        (order(meta={"DESTDMP": "Y"}), Wrong.DMP),
        (order(to=()), Wrong.NOBODY),
        (order(to=(), meta={"DESTMSSANTEPS": "Y"}), Wrong.NO_ADDRESS),
        (order(meta={"DESTMSSANTEPS": "N"}), Wrong.ADDRESS_UNUSED),
        (order(to=("nobody",)), Wrong.ADDRESS),
        (order(reply_to="x"), Wrong.ADDRESS),
        (order(reply_to="a@chu.mssante.fr~^^^b@chu.mssante.fr"), Wrong.ADDRESS),
        (order(to=(f"{MATRICULE}@patient.mssante.fr",)), Wrong.PATIENT_ADDRESS),
        (order(reply_to=f"{MATRICULE}@patient.mssante.fr"), Wrong.PATIENT_ADDRESS),
        (order(meta={**BOTH, "INVISIBLE_PATIENT": "Y"}), Wrong.PATIENT_INVISIBLE),
        (
            order(meta=BOTH, documents=[document(confidentiality=Confidentiality.INVISIBLE_PATIENT)]),
            Wrong.PATIENT_INVISIBLE,
        ),
        (order(meta={**BOTH, "CONNEXION_SECRETE": "Y"}), Wrong.PATIENT_SECRET),
        (order(meta=BOTH, status="PROV"), Wrong.NO_INS),
        (
            order(meta=BOTH, patient=("288091234567823", "1.2.250.1.213.1.4.8"), documents=[
                document(patient=PatientIdentity((("288091234567823", "1.2.250.1.213.1.4.8"),), PATIENT.traits))
            ]),
            Wrong.NO_INS,
        ),
        (order(meta=BOTH, patient=("IPP42", "1.2.3"), documents=[document(patient=NOBODY)]), Wrong.NO_INS),
        (order(documents=[document(patient=STRANGER)]), Wrong.OTHER_PATIENT),
        (order(extra=(SECOND,)), Wrong.OTHER_PATIENT),
        (order(documents=[document(patient=NOBODY)]), Wrong.OTHER_PATIENT),
        (order(patient=("IPP42", "1.2.3")), Wrong.OTHER_PATIENT),
        (order(documents=()), Wrong.NO_DOCUMENT),
        (order(documents=[b"%PDF-1.4"]), Wrong.DOCUMENT),
        (order(documents=[b"<a/>"]), Wrong.DOCUMENT),
        (order().replace(b"^Base64^", b"^Hex^"), Wrong.DOCUMENT),
        (order().replace(b"^Base64^", b"^Base64^!"), Wrong.DOCUMENT),
        (order(identifier="1.2.3"), Wrong.IDENTIFIER),
        (order().replace(b"TXA|", b"ZXA|"), Wrong.IDENTIFIER),
        (order("T10"), Wrong.NO_PARENT),
        (order("T10", parent="1.2.4", documents=[document(replaces="1.2.5")]), Wrong.NO_PARENT),
        (order(extra=("NTE|1|||FIN",)), Wrong.NOTE),
        (order(meta=BOTH, extra=("NTE|1|||SUITE",)), Wrong.NOTE),
    ],
)  # fmt: skip
def test_every_other_combination_is_an_error(octets: bytes, wrong: Wrong) -> None:
    assert refused(octets) is wrong


def test_a_message_without_a_patient_is_of_nobody() -> None:
    octets = order(documents=[document(patient=NOBODY)]).replace(b"PID|||", b"ZID|||")
    assert read(octets).professionals
    assert refused(order(meta=BOTH, documents=[document(patient=NOBODY)]).replace(b"PID|||", b"ZID|||")) is Wrong.NO_INS


def test_a_document_above_the_limit_is_refused() -> None:
    limits = replace(Limits(), cda_max_octets=len(document()))
    message = er7.parse(order(), limits)
    assert mdm.read(message, limits, DOMAINS, test_identities=False).documents
    with pytest.raises(Refused):
        mdm.read(message, replace(limits, cda_max_octets=len(document()) - 1), DOMAINS, test_identities=False)


@pytest.mark.parametrize("test", [True, False])
def test_a_test_identity_is_written_to_in_test_mode_only(test: bool) -> None:
    pair = ("279035121518989", "1.2.250.1.213.1.4.10")
    octets = order(meta=BOTH, patient=pair, documents=[document(patient=PatientIdentity((pair,), PATIENT.traits))])
    if test:
        assert read(octets, test=True).to_patient == pair[0]
    else:
        assert refused(octets) is Wrong.NO_INS


def test_every_reason_has_a_sentence_in_plain_ascii() -> None:
    assert all(wrong.sentence.isascii() and wrong.sentence.endswith(".") for wrong in Wrong)


# -- acknowledgements --------------------------------------------------------------------------------------------------


def test_an_acknowledgement_turns_sender_and_receiver_round() -> None:
    message = er7.parse(order(), Limits())
    found = acknowledge(message, None, "016", datetime(2021, 6, 6, 9, 32, tzinfo=UTC))
    assert found.decode().split("\r") == [
        r"MSH|^~\&|PFI|Organisation-Y|DPI|Organisation-Y|20210606093200||ACK^T02^ACK|016|P|2.6|||||FRA|UNICODE UTF-8",
        "MSA|AA|015",
        "",
    ]


@pytest.mark.parametrize(
    ("wrong", "code", "error"),
    [
        (Wrong.EVENT, "AR", "200^Unsupported message type^HL70357"),
        (Wrong.VERSION, "AR", "203^Unsupported version id^HL70357"),
        (Wrong.NO_ADDRESS, "AE", "101^Required field missing^HL70357"),
        (Wrong.PATIENT_INVISIBLE, "AE", "207^Application internal error^HL70357"),
    ],
)
def test_a_refusal_says_why_and_where(wrong: Wrong, code: str, error: str) -> None:
    message = er7.parse(order(), Limits())
    found = er7.parse(acknowledge(message, fault_of(wrong, "OBX"), "016", AT), Limits())
    msa, err = found.first("MSA"), found.first("ERR")
    assert msa is not None
    assert err is not None
    assert (msa.component(1), msa.component(2)) == (code, "015")
    assert (err.component(2), err.field(3), err.component(4)) == ("OBX", error, "E")
    assert (err.component(5), err.component(8)) == (f"hl7.{wrong.value}", wrong.sentence)


def test_what_cannot_be_read_is_answered_too() -> None:
    fault = Fault("100", "hl7.unreadable", "The message cannot be read.")
    found = er7.parse(acknowledge(None, fault, "016", AT), Limits())
    assert found.header.component(9) == "ACK"
    assert found.segments[1].component(1) == "AE"


@pytest.mark.parametrize("path", [None, *published()], ids=lambda path: path.name if path else "made")
def test_the_published_orders_are_read(path: Path | None) -> None:
    if path is None:
        assert read(order()).documents
        return
    octets = path.read_bytes()
    if len(octets) < 10_000:
        # Its document is a sentence that stands for one.
        assert refused(octets) is Wrong.DOCUMENT
        return
    found = read(octets)
    acts = {"Transmission_initiale_MDM": Act.SEND, "Remplacement_MDM": Act.REPLACE, "Suppression_MDM": Act.WITHDRAW}
    assert found.act is acts[path.parent.name]
    assert [one.spec for one in found.professionals] == ["dpi@hopitala.mssante.fr"]
    assert found.text_for_professionals == "Corps du courriel"
    sample = er7.parse((path.parent / "ack.er7").read_bytes(), Limits())
    ours = er7.parse(acknowledge(er7.parse(octets, Limits()), None, "016", AT), Limits())
    for number in (3, 4, 5, 9, 10, 11, 12, 17, 18):
        if not (number == 4 and path.name.endswith("Base64.er7")):
            assert ours.header.field(number) == sample.header.field(number)
    assert ours.segments[1].field(1) == sample.segments[1].field(1) == "AA"


@given(st.data())
def test_a_damaged_order_is_refused_or_whole(data: st.DataObject) -> None:
    octets = bytearray(SMALL)
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(octets) - 1))
        octets[place : place + data.draw(st.integers(0, 20))] = data.draw(
            st.sampled_from([b"", b"|", b"\r", b"^", b"Y"])
        )
    limits = Limits()
    try:
        found = mdm.read(er7.parse(bytes(octets), limits), limits, DOMAINS, test_identities=False)
    except Malformed:
        return
    assert found.professionals or found.to_patient
    assert not (found.to_patient and Confidentiality.INVISIBLE_PATIENT in found.documents[0].entry.confidentiality)


SMALL = order(meta=BOTH, documents=[document(pdf=b"%PDF-")], extra=(text("CORPSMAIL_PATIENT", "Bonjour"),))
