"""Letters that come in: accepted once for each recipient, refused by a named rule, filed under the right patient."""

from __future__ import annotations

import asyncio
import email
import os
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from mss.config import Config
from mss.model.account import AccountKind, BoxState, Delegation, DelegationKind
from mss.model.address import Address
from mss.model.delivery import DeliveryState
from mss.model.document import Confidentiality
from mss.model.envelope import Notify, Ret
from mss.model.ins import OID_NIR_TEST
from mss.model.mailbox import INBOX
from mss.policy import rules
from mss.services import accounts, mailbox, receive
from mss.services.mailbox import Columns
from mss.services.reading import read_letter
from mss.store.store import Store
from tests.services.services_world import (
    CLINICIAN,
    DOCTOR,
    HOSTED,
    LIMITS,
    ORIGIN,
    PATIENT,
    REGIONAL,
    House,
    archive,
    arrive,
    document,
    envelope,
    letter,
    raw,
    refused,
    with_limits,
    with_policy,
)
from tests.store.store_world import (
    CLINIC,
    HOSPITAL,
    MATRICULE,
    NOW,
    OTHER_MATRICULE,
    PATIENTS,
    clinic_box,
    later,
    patient_box,
)

OTHER_PATIENT = Address(OTHER_MATRICULE, PATIENTS)


# -- acceptance ------------------------------------------------------------------------------------------------------


async def test_an_accepted_letter_is_in_the_mailbox_whole(house: House) -> None:
    reading = letter("Résultats", to=[CLINICIAN])
    ear = house.store.subscribe("mailbox", house.clinician.id)
    receipt = await arrive(house.store, reading, CLINICIAN)
    assert (receipt.accepted, receipt.duplicate) == (True, False)
    assert [(one.decision.rule.name, one.box_id) for one in receipt.outcomes] == [("box.receives", house.clinician.id)]
    assert await house.inbox(house.clinician) == [reading.octets]
    assert await ear.wait(30)
    where = await house.store.read(mailbox.find, house.clinician.id, INBOX, NOW)
    [row] = await house.store.read(mailbox.rows, where.id, ((1, 9),), Columns.ENVELOPE | Columns.BODYSTRUCTURE, NOW)
    assert (row.flags, row.envelope, row.bodystructure) == (0, reading.envelope, reading.bodystructure)
    [record] = await house.store.read(lambda uow: uow.journal.of_receipt(receipt.number))
    assert (record.event.action, record.event.subject_box_id) == ("letter.accept", house.clinician.id)
    assert not {"résultats", "martin", "doctor@"} & set(str(record.event).lower().split())


async def test_one_letter_for_two_boxes_is_kept_once(house: House) -> None:
    await clinic_box(house.store, "nurse")
    receipt = await arrive(house.store, letter(), CLINICIAN, Address("nurse", CLINIC))
    assert [one.decision.accepted for one in receipt.outcomes] == [True, True]
    assert (await house.count("objects"), await house.count("holdings"), await house.count("messages")) == (1, 2, 2)


async def test_the_same_recipient_named_twice_gets_one_copy(house: House) -> None:
    upper = Address("DOCTOR", CLINIC)
    receipt = await arrive(house.store, letter(), CLINICIAN, upper, CLINICIAN, notify=frozenset({Notify.SUCCESS}))
    assert [one.recipient.address for one in receipt.outcomes] == [CLINICIAN, upper, CLINICIAN]
    assert (receipt.accepted, receipt.duplicate) == (True, False)
    assert len(await house.inbox(house.clinician)) == 1
    assert len(await house.queued()) == 1


# -- duplicates (promise 1) ------------------------------------------------------------------------------------------


async def test_the_same_letter_again_gets_the_same_receipt_and_is_not_there_twice(house: House) -> None:
    reading = letter()
    first = await arrive(house.store, reading, CLINICIAN)
    again = await arrive(house.store, reading, CLINICIAN, now=later(minutes=10))
    assert (again.number, again.duplicate, again.accepted) == (first.number, True, True)
    assert len(await house.inbox(house.clinician)) == 1


async def test_a_letter_is_recognised_by_its_octets_as_they_came(house: House, config: Config) -> None:
    """The second copy has another trace field of ours; nothing of it stays behind."""
    for size in (100, 9000):
        body = "\n".join(os.urandom(30).hex() for _ in range(size // 60))
        origin = replace(ORIGIN, known=os.urandom(32))
        first = letter(text=body, message_id=f"<same{size}@chu>")
        second = raw(b"Received: later\r\n" + first.octets)
        await arrive(house.store, first, CLINICIAN, origin=origin)
        before = await house.count("objects")
        files = len([path for path in config.path(config.store.blobs_dir).rglob("*") if path.is_file()])
        assert (await arrive(house.store, second, CLINICIAN, origin=origin)).duplicate
        assert await house.count("objects") == before
        assert len([p for p in config.path(config.store.blobs_dir).rglob("*") if p.is_file()]) == files
    assert len(await house.inbox(house.clinician)) == 2


@pytest.mark.parametrize(
    "change",
    [
        {"origin": REGIONAL},
        {"reading": letter(message_id="<other@chu>", text="same")},
        {"reading": letter(message_id="<same@chu>", text="other")},
        {"to": Address("nurse", CLINIC)},
    ],
)
async def test_another_origin_message_id_text_or_recipient_is_another_letter(
    house: House, change: dict[str, Any]
) -> None:
    await clinic_box(house.store, "nurse")
    await arrive(house.store, letter(message_id="<same@chu>", text="same"), CLINICIAN)
    other = change.get("reading") or letter(message_id="<same@chu>", text="same")
    receipt = await arrive(house.store, other, change.get("to", CLINICIAN), origin=change.get("origin", ORIGIN))
    assert not receipt.duplicate
    assert await house.count("messages") == 2


async def test_duplicates_are_told_apart_per_recipient(house: House) -> None:
    await clinic_box(house.store, "nurse")
    nurse, nobody = Address("nurse", CLINIC), Address("nobody", CLINIC)
    reading = letter()
    await arrive(house.store, reading, CLINICIAN)
    receipt = await arrive(house.store, reading, CLINICIAN, nurse, nobody)
    assert not receipt.duplicate
    assert [one.decision.accepted for one in receipt.outcomes] == [True, True, False]
    assert await house.count("messages") == 2
    assert [to for to, _ in await house.queued()] == [DOCTOR.spec]
    # A third time, everything was there before and everybody was told.
    again = await arrive(house.store, reading, CLINICIAN, nurse, nobody)
    assert again.duplicate
    assert await house.count("messages") == 2
    assert len(await house.queued()) == 1


async def test_a_refusal_is_told_though_the_accepted_copy_was_there_before(house: House) -> None:
    reading = letter()
    await arrive(house.store, reading, CLINICIAN)
    await arrive(house.store, reading, Address("nobody", CLINIC))  # Answered 5xx: its sender knows.
    receipt = await arrive(house.store, reading, CLINICIAN, Address("nobody", CLINIC))
    assert receipt.duplicate
    assert len(await house.queued()) == 1


async def test_duplicates_at_once_are_there_once(house: House) -> None:
    reading = letter()
    receipts = await asyncio.gather(*(arrive(house.store, reading, CLINICIAN, PATIENT) for _ in range(8)))
    assert sum(not one.duplicate for one in receipts) == 1
    assert len({one.number for one in receipts}) == 1
    assert len(await house.inbox(house.clinician)) == len(await house.inbox(house.patient)) == 1


async def test_letters_for_the_same_boxes_in_any_order_all_come_in(house: House) -> None:
    await clinic_box(house.store, "nurse")
    both = (CLINICIAN, Address("nurse", CLINIC))
    receipts = await asyncio.gather(*(arrive(house.store, letter(), *both[:: (-1) ** n]) for n in range(20)))
    assert all(one.accepted and not one.duplicate for one in receipts)
    assert await house.count("messages") == 40


# -- refusals --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("local", "domain", "rule"),
    [
        (OTHER_MATRICULE, PATIENTS, rules.PATIENT_UNKNOWN),
        ("279035121518988", PATIENTS, rules.INS_MALFORMED),
        ("jean.dupont", PATIENTS, rules.INS_MALFORMED),
        ("nobody", CLINIC, rules.RECIPIENT_UNKNOWN),
        ("martin", HOSPITAL, rules.ROUTE_NOT_HERE),
        ("someone", "mail.example", rules.ROUTE_NOT_HERE),
    ],
)
async def test_nobody_there(house: House, local: str, domain: Any, rule: Any) -> None:
    receipt = await refused(house, Address(local, domain))
    assert [one.decision.rule for one in receipt.outcomes] == [rule]
    assert await house.rules() == [rule.name]
    decision, box = await house.store.read(receive.judge, HOSTED, DOCTOR, Address(local, domain), 100, NOW)
    assert (decision.rule, box) == (rule, None)


@pytest.mark.parametrize(
    ("state", "rule"),
    [(BoxState.OPPOSED, rules.PATIENT_OPPOSED), (BoxState.CLOSED, rules.PATIENT_CLOSED)],
)
async def test_opposed_and_closed_patients(house: House, state: BoxState, rule: Any) -> None:
    await house.store.write(accounts.set_box_state, house.patient.id, state, "cli", NOW)
    receipt = await refused(house, PATIENT)
    assert receipt.outcomes[0].decision.rule is rule


async def test_a_patient_who_never_opened_the_box_gets_letters(store: Store) -> None:
    await patient_box(store, state=BoxState.UNOPENED)
    assert (await arrive(store, letter())).accepted


async def test_closed_professionals(house: House) -> None:
    await house.store.write(accounts.set_box_state, house.clinician.id, BoxState.CLOSED, "cli", NOW)
    receipt = await refused(house, CLINICIAN)
    assert receipt.outcomes[0].decision.rule is rules.BOX_CLOSED


async def test_test_identities(store: Store) -> None:
    await patient_box(store, oid=OID_NIR_TEST)
    receipt = await arrive(store, letter())
    assert receipt.outcomes[0].decision.rule is rules.INS_TEST_IDENTITY
    assert (await arrive(store, letter(), hosted=with_policy(test_identities=True))).accepted


async def test_two_patients_in_one_letter(house: House) -> None:
    await patient_box(house.store, OTHER_MATRICULE)
    for reading, to in (
        (letter(to=[PATIENT, OTHER_PATIENT]), (PATIENT,)),
        (letter(cc=[OTHER_PATIENT]), (PATIENT,)),
        (letter(), (PATIENT, OTHER_PATIENT)),
        (letter(cc=[OTHER_PATIENT]), (PATIENT, CLINICIAN)),
    ):
        receipt = await refused(house, *to, reading=reading)
        assert {one.decision.rule for one in receipt.outcomes} == {rules.LETTER_SEVERAL_PATIENTS}


async def test_patients_do_not_write_to_patients(house: House) -> None:
    receipt = await refused(house, PATIENT, sender=OTHER_PATIENT)
    assert receipt.outcomes[0].decision.rule is rules.PATIENT_TO_PATIENT
    receipt = await refused(house, PATIENT, reading=letter(sender=OTHER_PATIENT, name="A patient"))
    assert receipt.outcomes[0].decision.rule is rules.PATIENT_TO_PATIENT


async def test_authors_that_a_patient_could_not_be_shown(house: House) -> None:
    receipt = await refused(house, PATIENT, reading=letter(name="martin@chu.mssante.test"))
    assert receipt.outcomes[0].decision.rule is rules.AUTHOR_UNNAMED
    headless = raw(b"Subject: x\r\n\r\nHello\r\n")
    receipt = await refused(house, PATIENT, reading=headless)
    assert receipt.outcomes[0].decision.rule is rules.AUTHOR_MISSING
    several = raw(b"From: A <a@chu.mssante.test>, B <b@chu.mssante.test>\r\n\r\nHello\r\n")
    receipt = await refused(house, PATIENT, reading=several)
    assert receipt.outcomes[0].decision.rule is rules.AUTHOR_SEVERAL


@pytest.mark.parametrize(("more", "accepted"), [(-1, True), (0, True), (1, False)])
async def test_letters_that_are_too_large(house: House, more: int, accepted: bool) -> None:
    reading = letter(to=[CLINICIAN])
    hosted = with_limits(message_max_octets=len(reading.octets) - more)
    receipt = await arrive(house.store, reading, CLINICIAN, hosted=hosted)
    assert receipt.accepted is accepted
    if not accepted:
        assert receipt.outcomes[0].decision.rule is rules.LETTER_TOO_LARGE


async def test_some_refused_are_reported_and_the_others_get_the_letter(house: House) -> None:
    receipt = await arrive(house.store, letter("Two"), CLINICIAN, Address("nobody", CLINIC), Address(MATRICULE, CLINIC))
    assert [one.decision.accepted for one in receipt.outcomes] == [True, False, False]
    [(to, octets)] = await house.queued()
    assert to == DOCTOR.spec
    report = email.message_from_bytes(octets)
    assert report.get_content_type() == "multipart/report"
    assert octets.count(b"Action: failed") == 2
    assert b"5.1.1" in octets
    assert b"Final-Recipient: rfc822; nobody@clinic" in octets
    [delivery] = await house.store.read(lambda uow: uow.queue.list(frozenset(DeliveryState), 9))
    assert delivery.reverse_path is None


@pytest.mark.parametrize(
    ("notify", "to", "reports"),
    [
        (frozenset(), (CLINICIAN,), 0),
        (frozenset({Notify.SUCCESS}), (CLINICIAN,), 1),
        (frozenset({Notify.FAILURE}), (CLINICIAN,), 0),
        (frozenset({Notify.NEVER}), (CLINICIAN, Address("nobody", CLINIC)), 0),
        (frozenset({Notify.SUCCESS}), (CLINICIAN, Address("nobody", CLINIC)), 1),
        (frozenset({Notify.FAILURE}), (CLINICIAN, Address("nobody", CLINIC)), 1),
    ],
)
async def test_reports_are_made_as_wished(
    house: House, notify: frozenset[Notify], to: tuple[Address, ...], reports: int
) -> None:
    await arrive(house.store, letter(), *to, notify=notify)
    assert len(await house.queued()) == reports


@pytest.mark.parametrize("required", [False, True])
async def test_a_report_is_sent_as_safely_as_the_letter_and_brings_its_body_back_only_then(
    house: House, required: bool
) -> None:
    """RFC 8689 §5: a report about a letter that requires TLS requires it too, and holds the header alone."""
    path = replace(envelope(CLINICIAN, Address("nobody", CLINIC)), ret=Ret.FULL, require_tls=required)
    await house.store.write(receive.accept, HOSTED, ORIGIN, path, letter(text="a secret"), NOW)
    [delivery] = await house.store.read(lambda uow: uow.queue.list(frozenset(DeliveryState), 9))
    assert delivery.require_tls is required
    [(_, octets)] = await house.queued()
    assert (b"a secret" in octets) is not required


async def test_nothing_is_reported_about_a_report(house: House) -> None:
    await arrive(house.store, letter(), CLINICIAN, Address("nobody", CLINIC), sender=None)
    assert await house.queued() == []


async def test_a_report_about_a_local_sender_comes_into_their_box(house: House) -> None:
    nurse = await clinic_box(house.store, "nurse")
    await arrive(house.store, letter(), CLINICIAN, Address("nobody", CLINIC), sender=nurse.address)
    [octets] = await house.inbox(nurse)
    assert b"Action: failed" in octets
    assert await house.queued() == []


async def test_refusals_before_the_letter_are_noted(house: House) -> None:
    decision, _ = await house.store.read(receive.judge, HOSTED, DOCTOR, OTHER_PATIENT, 100, NOW)
    await house.store.write(receive.note_refusal, "peer:mx.chu", "rcpt", decision, later(seconds=1))
    [record] = await house.store.read(lambda uow: uow.journal.newest(1))
    assert (record.event.target, record.event.rule) == ("stage:rcpt", "patient.unknown")


@pytest.mark.parametrize(
    ("kind", "ends", "refused_for_them"),
    [
        (DelegationKind.LEGAL_REPRESENTATIVE, None, True),
        (DelegationKind.LEGAL_REPRESENTATIVE, later(seconds=1), True),
        (DelegationKind.LEGAL_REPRESENTATIVE, NOW, False),
        (DelegationKind.CAREGIVER, None, False),
        (DelegationKind.OWNER, None, False),
    ],
)
async def test_what_is_hidden_from_representatives_is_refused_where_there_are_some(
    house: House, kind: DelegationKind, ends: datetime | None, refused_for_them: bool
) -> None:
    account = await house.store.write(
        accounts.create_account, "somebody", AccountKind.PATIENT, "Somebody", "hash", "cli", NOW
    )
    await house.store.write(accounts.delegate, Delegation(account.id, house.patient.id, kind, ends), "cli", NOW)
    hidden = document(confidentiality=Confidentiality.INVISIBLE_REPRESENTATIVES)
    receipt = await arrive(house.store, letter(attachments=(archive(hidden),)))
    assert receipt.accepted is not refused_for_them
    expected = rules.DOCUMENT_INVISIBLE_TO_REPRESENTATIVES if refused_for_them else rules.BOX_RECEIVES
    assert receipt.outcomes[0].decision.rule is expected
    plain = await arrive(house.store, letter(attachments=(archive(document("1.2.250.1.999.2")),)))
    assert plain.accepted


async def test_a_letter_that_was_signed_again_is_the_same_letter(house: House) -> None:
    """Its sender lost our receipt, and signs at each try: the signature tells the time (RFC 6376 §3.5, t=)."""
    reading = letter()
    receipts = []
    for stamp in (b"1", b"2"):
        signed = b"DKIM-Signature: v=1; t=" + stamp + b";\r\n b=" + stamp * 40 + b"\r\n" + reading.octets
        origin = replace(ORIGIN, known=receive.known_by(signed))
        receipts.append(await arrive(house.store, read_letter(signed, LIMITS, documents=False), origin=origin))
    assert [one.duplicate for one in receipts] == [False, True]
    assert receipts[0].number == receipts[1].number
    assert len(await house.inbox(house.patient)) == 1
    other = replace(ORIGIN, known=receive.known_by(b"DKIM-Signature: v=1\r\n" + reading.octets + b"another end\r\n"))
    assert not (await arrive(house.store, reading, origin=other)).duplicate
