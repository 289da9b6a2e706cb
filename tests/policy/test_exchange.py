"""Which letters a box takes at RCPT, and what a letter may contain after DATA."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from mss.model.account import BoxState
from mss.model.address import Address
from mss.model.conversation import Role
from mss.model.document import Confidentiality, DocumentEntry, PatientIdentity
from mss.model.ins import INS, OID_NIA, OID_NIR, OID_NIR_DEMO, OID_NIR_TEST
from mss.model.party import BoxKind
from mss.policy.decision import Verdict
from mss.policy.exchange import (
    PATIENT_LETTER_MAX_OCTETS,
    RecipientFacts,
    is_automatic,
    is_patient,
    may_contain,
    may_deliver,
    shown_name,
)
from tests.policy.facts import (
    CORSICAN,
    DESK,
    DOCTOR,
    MATRICULE,
    NURSE,
    OTHER_MATRICULE,
    OTHER_PATIENT,
    PATIENT,
    PATIENT_DOMAINS,
    address,
    box,
    document,
    letter,
    named,
    names_nobody,
)

MAX = PATIENT_LETTER_MAX_OCTETS


def _facts(recipient: Address = PATIENT, **more: Any) -> RecipientFacts:
    more.setdefault("sender", DOCTOR)
    more.setdefault("box", box())
    return RecipientFacts(recipient=recipient, patient_domains=PATIENT_DOMAINS, **more)


def _for_doctor(**more: Any) -> RecipientFacts:
    more.setdefault("box", box(BoxKind.PER))
    return _facts(DOCTOR, **more)


@pytest.mark.parametrize(
    ("facts", "rule"),
    [
        (_facts(), "box.receives"),
        (_facts(box=box(state=BoxState.UNOPENED)), "box.unopened"),
        (_facts(sender=None), "box.receives"),
        (_facts(box=box(red_list=True)), "box.receives"),
        (_facts(address(f"{CORSICAN}@patient")), "box.receives"),
        (_facts(address(f"{CORSICAN.lower()}@patient")), "box.receives"),
        (_facts(box=None), "patient.unknown"),
        (_facts(box=box(state=BoxState.OPPOSED)), "patient.opposed"),
        (_facts(box=box(state=BoxState.CLOSED)), "patient.closed"),
        # Malformed: no digits, key wrong by one, a digit short, a digit more, spaces, nothing that was ever given.
        (_facts(address("jean.dupont@patient")), "ins.malformed"),
        (_facts(address("279035121518988@patient")), "ins.malformed"),
        (_facts(address("27903512151898@patient")), "ins.malformed"),
        (_facts(address("2790351215189890@patient")), "ins.malformed"),
        (_facts(address("2 79 03 51 215 189 89@patient")), "ins.malformed"),
        (_facts(address("979035121518989@patient")), "ins.malformed"),
        (_facts(address("jean.dupont@patient"), box=None), "ins.malformed"),
        # Patients never write to patients, and learn nothing by trying.
        (_facts(sender=OTHER_PATIENT), "patient.to-patient"),
        (_facts(sender=PATIENT), "patient.to-patient"),
        (_facts(sender=OTHER_PATIENT, box=None), "patient.to-patient"),
        (_facts(sender=OTHER_PATIENT, box=box(state=BoxState.OPPOSED)), "patient.to-patient"),
        (_facts(sender=address("someone@patient")), "patient.to-patient"),
        (_facts(sender=address("postmaster@patient")), "box.receives"),
        # A full box makes the sender wait; what is refused anyway is refused.
        (_facts(has_room=False), "box.full"),
        (_for_doctor(has_room=False), "box.full"),
        (_facts(has_room=False, box=box(state=BoxState.CLOSED)), "patient.closed"),
        (_facts(has_room=False, box=None, hosted=False), "recipient.relayed"),
        # Test identities live where they are configured.
        (_facts(box=box(ins=INS(MATRICULE, OID_NIR_TEST))), "ins.test-identity"),
        (_facts(box=box(ins=INS(MATRICULE, OID_NIR_DEMO))), "ins.test-identity"),
        (_facts(box=box(ins=INS(MATRICULE, OID_NIR_DEMO)), test_identities=True), "box.receives"),
        (_facts(box=box(ins=INS(MATRICULE, OID_NIA))), "box.receives"),
        (_facts(box=box(ins=None)), "box.receives"),
        # SIZE: strict 25 MiB for patients, whatever the server takes.
        (_facts(size_octets=MAX), "box.receives"),
        (_facts(size_octets=MAX + 1), "letter.too-large"),
        (_facts(size_octets=MAX + 1, size_max_octets=4 * MAX), "letter.too-large"),
        (_facts(size_octets=1000, size_max_octets=1000), "box.receives"),
        (_facts(size_octets=1001, size_max_octets=1000), "letter.too-large"),
        (_facts(size_octets=0), "box.receives"),
        (_facts(size_octets=MAX + 1, box=box(state=BoxState.OPPOSED)), "patient.opposed"),
        # A patient of another operator.
        (_facts(box=None, hosted=False), "recipient.relayed"),
        (_facts(address("jean@patient"), box=None, hosted=False), "ins.malformed"),
        (_facts(box=None, hosted=False, sender=OTHER_PATIENT), "patient.to-patient"),
        (_facts(box=None, hosted=False, size_octets=MAX + 1), "letter.too-large"),
        # Professional boxes.
        (_for_doctor(), "box.receives"),
        (_for_doctor(sender=PATIENT), "box.receives"),
        (_for_doctor(sender=PATIENT, box=box(BoxKind.PER, patients_opposed=True)), "box.opposed-to-patients"),
        (_for_doctor(box=box(BoxKind.PER, patients_opposed=True)), "box.receives"),
        (_for_doctor(sender=None, box=box(BoxKind.PER, patients_opposed=True)), "box.receives"),
        (_for_doctor(sender=None), "box.receives"),
        (_for_doctor(box=box(BoxKind.ORG)), "box.receives"),
        (_for_doctor(box=box(BoxKind.PER, red_list=True)), "box.receives"),
        (_for_doctor(box=box(BoxKind.APP, BoxState.UNOPENED)), "box.receives"),
        (_for_doctor(box=None), "recipient.unknown"),
        (_for_doctor(box=None, hosted=False), "recipient.relayed"),
        (_for_doctor(box=box(BoxKind.PER, BoxState.CLOSED)), "box.closed"),
        (_for_doctor(box=box(BoxKind.PER, BoxState.OPPOSED)), "box.closed"),
        (_for_doctor(size_octets=MAX + 1, size_max_octets=4 * MAX), "box.receives"),
        (_for_doctor(size_octets=4 * MAX + 1, size_max_octets=4 * MAX), "letter.too-large"),
        # postmaster of the patient domain is a box like a professional's (RFC 5321 §4.5.1).
        (_facts(address("Postmaster@patient"), box=box(BoxKind.ORG)), "box.receives"),
        (_facts(address("postmaster@patient"), box=None), "recipient.unknown"),
    ],
)
def test_a_box_takes_a_letter_or_says_why_not(facts: RecipientFacts, rule: str) -> None:
    decision = may_deliver(facts)
    assert decision.rule.name == rule
    taken = dict.fromkeys(("box.receives", "box.unopened", "recipient.relayed"), Verdict.ACCEPT) | {
        "box.full": Verdict.DEFER
    }
    assert decision.verdict is taken.get(rule, Verdict.REJECT)
    assert names_nobody(decision)


def test_the_five_reasons_of_a_patient_box_have_five_rules_and_sentences() -> None:
    facts = [
        _facts(address("x@patient")),
        _facts(box=None),
        _facts(box=box(state=BoxState.OPPOSED)),
        _facts(box=box(state=BoxState.CLOSED)),
        _facts(sender=OTHER_PATIENT),
    ]
    refused = [may_deliver(one).rule for one in facts]
    assert len({rule.name for rule in refused}) == len({rule.text for rule in refused}) == 5


@pytest.mark.parametrize(
    ("facts", "rule"),
    [
        (letter(), "letter.sound"),
        (letter(to=[], cc=[PATIENT]), "letter.sound"),
        (letter(to=[address(f"{MATRICULE}@patient"), PATIENT, NURSE]), "letter.sound"),
        # One letter, one patient: envelope, To and Cc count alike, and letter case does not.
        (letter(to=[PATIENT, OTHER_PATIENT]), "letter.several-patients"),
        (letter(cc=[OTHER_PATIENT]), "letter.several-patients"),
        (letter(envelope=(PATIENT, OTHER_PATIENT)), "letter.several-patients"),
        (letter(to=[OTHER_PATIENT]), "letter.several-patients"),
        (letter(to=[NURSE], envelope=(DESK,), recipient=DESK), "letter.sound"),
        (letter(to=[PATIENT, OTHER_PATIENT], envelope=(DESK,), recipient=DESK), "letter.several-patients"),
        (letter(to=[PATIENT], envelope=(DESK,), recipient=DESK), "letter.sound"),
        (letter(to=[PATIENT], cc=[address("jean@patient")]), "letter.several-patients"),
        (letter(to=[PATIENT], cc=[address("postmaster@patient")]), "letter.sound"),
        (
            letter(
                to=[address(f"{CORSICAN}@patient"), address(f"{CORSICAN.lower()}@patient")],
                envelope=(address(f"{CORSICAN.lower()}@patient"),),
                recipient=address(f"{CORSICAN.lower()}@patient"),
            ),
            "letter.sound",
        ),
        # Size, once known.
        (letter(size_octets=MAX), "letter.sound"),
        (letter(size_octets=MAX + 1), "letter.too-large"),
        (letter(size_octets=MAX + 1, size_max_octets=2 * MAX), "letter.too-large"),
        (
            letter(to=[DESK], recipient=DESK, envelope=(DESK,), size_octets=MAX + 1, size_max_octets=2 * MAX),
            "letter.sound",
        ),
        (
            letter(to=[DESK], recipient=DESK, envelope=(DESK,), size_octets=2 * MAX + 1, size_max_octets=2 * MAX),
            "letter.too-large",
        ),
        # The author as a patient would see it.
        (letter(participants=(named(DOCTOR, name=""),)), "author.unnamed"),
        (letter(participants=(named(DOCTOR, name="  \t"),)), "author.unnamed"),
        (letter(participants=(named(DOCTOR, name="doctor@chu.mssante.test"),)), "author.unnamed"),
        (letter(participants=(named(DOCTOR, name="Dr Martin"),)), "letter.sound"),
        (letter(participants=()), "author.missing"),
        (letter(participants=(named(DOCTOR), named(NURSE))), "author.several"),
        (letter(participants=(named(DOCTOR), named(DOCTOR))), "letter.sound"),
        (letter(author=OTHER_PATIENT), "patient.to-patient"),
        (letter(author=OTHER_PATIENT, reverse_path=DOCTOR), "patient.to-patient"),
        (letter(author=OTHER_PATIENT, reverse_path=None), "patient.to-patient"),
        # Reports need no name; professionals' copies neither.
        (letter(participants=(named(DOCTOR, name=""),), reverse_path=None), "letter.sound"),
        (letter(participants=(), reverse_path=None), "letter.sound"),
        (letter(participants=(named(DOCTOR, name=""),), recipient=DESK, envelope=(DESK,)), "letter.sound"),
        (letter(author=PATIENT, to=[DOCTOR], recipient=DOCTOR, envelope=(DOCTOR,)), "letter.sound"),
    ],
)
def test_a_letter_concerns_one_patient_and_names_its_author(facts: Any, rule: str) -> None:
    decision = may_contain(facts)
    assert decision.rule.name == rule
    assert decision.accepted is (rule == "letter.sound")
    assert names_nobody(decision)


_INVISIBLE = Confidentiality.INVISIBLE_PATIENT
_NOT_REPRESENTATIVES = Confidentiality.INVISIBLE_REPRESENTATIVES
_MASKED = Confidentiality.MASKED_FOR_PROFESSIONALS


def _several(*identifiers: tuple[str, str]) -> DocumentEntry:
    return replace(document(), patient=PatientIdentity(identifiers))


@pytest.mark.parametrize(
    ("documents", "more", "rule"),
    [
        ((), {}, "letter.sound"),
        ((document(),), {}, "letter.sound"),
        ((document(OTHER_MATRICULE),), {}, "document.other-patient"),
        ((document(OTHER_MATRICULE, OID_NIR_TEST),), {}, "letter.sound"),
        ((document(OTHER_MATRICULE, OID_NIR_TEST),), {"test_identities": True}, "document.other-patient"),
        ((document(OTHER_MATRICULE), document(CORSICAN)), {}, "document.other-patient"),
        # Not all of them: delivered, and the dossier files what names this patient.
        ((document(OTHER_MATRICULE), document()), {}, "letter.sound"),
        ((document(OTHER_MATRICULE), document("")), {}, "letter.sound"),
        # What names nobody validly refuses nothing: another authority, a wrong key, no identifier.
        ((document(OTHER_MATRICULE, "1.2.250.1.999"),), {}, "letter.sound"),
        ((document("279035121518988"),), {}, "letter.sound"),
        ((document(""),), {}, "letter.sound"),
        # The same matricule under another authority is not another patient (delivered, unfiled).
        ((document(MATRICULE, OID_NIA),), {}, "letter.sound"),
        ((document(MATRICULE, "1.2.250.1.999"),), {}, "letter.sound"),
        ((_several((OTHER_MATRICULE, OID_NIR), (MATRICULE, OID_NIR)),), {}, "letter.sound"),
        ((_several((OTHER_MATRICULE, OID_NIR), ("IPP-42", "1.2.250.1.999")),), {}, "document.other-patient"),
        ((document("2 79 03 51 215 189 89"),), {}, "letter.sound"),
        # Marks.
        ((document(MATRICULE, OID_NIR, _INVISIBLE),), {}, "document.invisible-to-patient"),
        ((document(), document(MATRICULE, OID_NIR, _INVISIBLE)), {}, "document.invisible-to-patient"),
        ((document(MATRICULE, OID_NIR, _MASKED),), {}, "letter.sound"),
        ((document(MATRICULE, OID_NIR, _NOT_REPRESENTATIVES),), {}, "letter.sound"),
        (
            (document(MATRICULE, OID_NIR, _NOT_REPRESENTATIVES),),
            {"represented": True},
            "document.invisible-to-representatives",
        ),
        ((document(),), {"represented": True}, "letter.sound"),
        # A professional's copy may hold all of these.
        ((document(OTHER_MATRICULE),), {"recipient": DESK, "envelope": (DESK,)}, "letter.sound"),
        ((document(MATRICULE, OID_NIR, _INVISIBLE),), {"recipient": DESK, "envelope": (DESK,)}, "letter.sound"),
    ],
)
def test_documents_refuse_the_patients_copy_only(
    documents: tuple[DocumentEntry, ...], more: dict[str, Any], rule: str
) -> None:
    assert may_contain(letter(documents=documents, **more)).rule.name == rule


def test_a_corsican_patient_is_the_same_in_lower_case() -> None:
    small = address(f"{CORSICAN.lower()}@patient")
    facts = letter(to=[small], recipient=small, envelope=(small,), documents=(document(CORSICAN),))
    assert may_contain(facts).accepted
    named_small = letter(to=[small], recipient=small, envelope=(small,), documents=(document(CORSICAN.lower()),))
    assert may_contain(named_small).accepted


@pytest.mark.parametrize(
    ("content_type", "auto_submitted", "is_reply", "automatic"),
    [
        ("text/plain", "", False, False),
        ("text/plain", "", True, False),
        ("text/plain", "no", True, False),
        ("text/plain", "No; x=1", True, False),
        ("multipart/mixed", "auto-generated", False, False),
        ("multipart/mixed", "auto-generated", True, True),
        ("multipart/mixed", "something-new", True, True),
        ("multipart/mixed", "something-new", False, False),
        ("text/plain", "auto-replied", False, True),
        ("text/plain", "Auto-Replied (vacation)", False, True),
        ("text/plain", " AUTO-REPLIED ; owner=a", False, True),
        ("text/plain", "auto-notified", False, True),
        ("multipart/report", "", False, True),
        ("Multipart/Report", "no", False, True),
        ("message/disposition-notification", "", False, True),
        ("message/delivery-status", "", False, True),
        ("message/rfc822", "", False, False),
    ],
)
def test_receipts_reports_and_automatic_replies_are_recognised(
    content_type: str, auto_submitted: str, is_reply: bool, automatic: bool
) -> None:
    assert is_automatic(content_type, [auto_submitted] if auto_submitted else [], is_reply=is_reply) is automatic


@pytest.mark.parametrize(
    ("auto_submitted", "precedence", "is_reply", "automatic"),
    [
        ((), (), True, False),
        (("no", "auto-replied"), (), False, True),
        (("no", "no"), (), True, False),
        (("",), (), True, False),
        ((), ("auto_reply",), False, True),
        ((), ("AUTO_REPLY (absence)",), False, True),
        ((), ("bulk",), False, False),
        ((), ("bulk",), True, True),
        ((), ("first-class", "Junk"), True, True),
        ((), ("list",), True, True),
        ((), ("first-class",), True, False),
        ((), ("",), True, False),
    ],
)
def test_all_fields_of_a_name_count_and_bulk_is_no_answer(
    auto_submitted: tuple[str, ...], precedence: tuple[str, ...], is_reply: bool, automatic: bool
) -> None:
    assert is_automatic("text/plain", auto_submitted, precedence, is_reply=is_reply) is automatic


@pytest.mark.parametrize(
    ("name", "shown"),
    [("Dr Martin", "Dr Martin"), (" Dr Martin ", "Dr Martin"), ("", ""), ("a@b.test", ""), ("Dr <a@b.test>", ""),
     ("doctor＠chu.test", "")],
)  # fmt: skip
def test_a_patient_sees_names_never_addresses(name: str, shown: str) -> None:
    assert shown_name(name) == shown


def test_who_is_a_patient_goes_by_the_domain() -> None:
    assert is_patient(PATIENT, PATIENT_DOMAINS)
    assert is_patient(address("anything@patient"), PATIENT_DOMAINS)
    assert not is_patient(DOCTOR, PATIENT_DOMAINS)
    assert not is_patient(address("PostMaster@patient"), PATIENT_DOMAINS)
    assert not is_patient(PATIENT, frozenset())


def test_participants_are_found_by_role() -> None:
    facts = letter(reply_to=[DESK], to=[PATIENT, NURSE], cc=[DESK])
    assert [one.address for one in facts.having(Role.TO, Role.CC)] == [PATIENT, NURSE, DESK]
    assert [one.address for one in facts.having(Role.REPLY_TO)] == [DESK]
