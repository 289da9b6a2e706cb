"""Letters that come in: accepted once for each recipient, refused by a named rule, filed under the right patient."""

from __future__ import annotations

import asyncio
import email
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from mss.config import Config
from mss.mail.compose import Attachment
from mss.model.account import Box, BoxState
from mss.model.address import Address
from mss.model.delivery import DeliveryState
from mss.model.document import Confidentiality
from mss.model.envelope import Notify
from mss.model.ins import OID_NIA, OID_NIR_TEST, Traits
from mss.model.mailbox import INBOX
from mss.policy import rules
from mss.services import accounts, mailbox, outbound, receive, records
from mss.services.mailbox import Columns
from mss.services.reading import Reading
from mss.store.engine import sqlite_path
from mss.store.store import Store, Uow
from tests.services.services_world import (
    DOCTOR,
    HOSTED,
    ORIGIN,
    PATIENT,
    REGIONAL,
    archive,
    arrive,
    document,
    letter,
    raw,
    with_policy,
)
from tests.store.store_world import (
    CLINIC,
    HOSPITAL,
    MATRICULE,
    NOW,
    OTHER_MATRICULE,
    OTHER_TRAITS,
    PATIENTS,
    TRAITS,
    account_for,
    clinic_box,
    config_in,
    copy_template,
    driver,
    later,
    patient_box,
)

CLINICIAN = Address("doctor", CLINIC)
OTHER_PATIENT = Address(OTHER_MATRICULE, PATIENTS)


@dataclass
class House:
    """A patient, a professional, and what came to them."""

    store: Store
    patient: Box
    clinician: Box

    async def inbox(self, box: Box) -> list[bytes]:
        where = await self.store.read(mailbox.find, box.id, INBOX, NOW)
        rows = await self.store.read(mailbox.rows, where.id, ((1, 999),), Columns.PLAIN, NOW)
        return [await self.store.read(mailbox.octets, where.id, row.object_id, 0, None, NOW) for row in rows]

    async def queued(self) -> list[tuple[str, bytes]]:
        """Return (recipient, octets) of what waits to go out."""
        some = await self.store.read(lambda uow: uow.queue.list(frozenset(DeliveryState), 100))
        return [(one.recipient.spec, await self.store.read(outbound.octets, one.id, NOW)) for one in some]

    async def count(self, table: str) -> int:
        def number(uow: Uow) -> int:
            return int(uow._connection.execute(text(f"SELECT count(*) FROM {table}")).scalar() or 0)

        return await self.store.read(number)

    async def rules(self) -> list[str]:
        """Return the rules of the decisions in the journal, oldest first."""
        found = await self.store.read(lambda uow: uow.journal.newest(1000, "letter"))
        return sorted(one.event.rule for one in found)


@pytest.fixture
async def house(store: Store) -> House:
    return House(store, await patient_box(store), await clinic_box(store))


# -- acceptance ------------------------------------------------------------------------------------------------------


async def test_an_accepted_letter_is_in_the_mailbox_whole(house: House) -> None:
    reading = letter("Résultats", to=[CLINICIAN])
    ear = house.store.subscribe("mailbox", house.clinician.id)
    receipt = await arrive(house.store, reading, CLINICIAN)
    assert (receipt.accepted, receipt.duplicate) == (True, False)
    assert [(one.decision.rule.name, one.box_id) for one in receipt.outcomes] == [("box.receives", house.clinician.id)]
    assert await house.inbox(house.clinician) == [reading.octets]
    assert await ear.wait(5)
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
        origin = replace(ORIGIN, digest=os.urandom(32))
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


async def refused(house: House, *to: Address, reading: Reading | None = None, **more: Any) -> receive.Receipt:
    before = [await house.count(table) for table in ("objects", "holdings", "messages", "arrivals", "letters")]
    receipt = await arrive(house.store, reading or letter(), *to, **more)
    assert not receipt.accepted
    after = [await house.count(table) for table in ("objects", "holdings", "messages", "arrivals", "letters")]
    assert after == before, "a refused letter is kept"
    assert await house.queued() == [], "a refusal is answered at once, not reported"
    return receipt


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
    hosted = replace(HOSTED, message_max_octets=len(reading.octets) - more)
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


# -- documents (promise 7) -------------------------------------------------------------------------------------------


async def documents_of(house: House, box: Box) -> list[str]:
    account = await account_for(house.store, box, login=f"reader{await house.count('accounts')}")
    found = await house.store.read(records.documents, account.id, box.id, NOW)
    return sorted(one.entry.unique_id for one in found)


async def test_a_document_is_filed_once_under_the_patient_it_names(house: House) -> None:
    found = document()
    await arrive(house.store, letter(attachments=(archive(found),)))
    await arrive(house.store, letter(attachments=(archive(found),)))
    assert await documents_of(house, house.patient) == [found.entry.unique_id]
    actions = [one.event.action for one in await house.store.read(lambda uow: uow.journal.newest(100, "document"))]
    assert sorted(actions) == ["document.file", "document.known"]
    assert await house.queued() == []


async def test_a_new_version_replaces_the_old_one(house: House) -> None:
    first = document("1.2.250.1.999.1")
    await arrive(house.store, letter(attachments=(archive(first),)))
    await arrive(house.store, letter(attachments=(archive(document("1.2.250.1.999.2", replaces="1.2.250.1.999.1")),)))
    found = await house.store.read(lambda uow: uow.dossiers.list(house.patient.id))
    by_id = {one.entry.unique_id: one for one in found}
    assert by_id["1.2.250.1.999.1"].replaced_by == by_id["1.2.250.1.999.2"].id
    assert by_id["1.2.250.1.999.2"].replaced_by is None


async def test_documents_of_another_patient_refuse_that_copy(house: House) -> None:
    other = document(matricule=OTHER_MATRICULE, traits=OTHER_TRAITS)
    receipt = await refused(house, PATIENT, reading=letter(attachments=(archive(other),)))
    assert receipt.outcomes[0].decision.rule is rules.DOCUMENT_OTHER_PATIENT
    assert await documents_of(house, house.patient) == []


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"traits": Traits("AUTRE", "DOMINIQUE", "19790328", "F")}, b"906"),
        ({"oid": OID_NIA}, b"906"),
        ({"traits": Traits("PAT-TROIS", "", "", "")}, b"905"),
        ({"matricule": ""}, b"903"),
    ],
)
async def test_differing_identities_are_delivered_unfiled_with_the_reason_to_both_sides(
    house: House, changes: dict[str, Any], code: bytes
) -> None:
    receipt = await arrive(house.store, letter(attachments=(archive(document(**changes)),)))
    assert receipt.accepted
    assert len(await house.inbox(house.patient)) == 1
    assert await documents_of(house, house.patient) == []
    [(to, octets)] = await house.queued()
    assert to == DOCTOR.spec
    assert b"disposition-notification" in octets
    assert b"processed/error" in octets
    assert b"Error: " + code in octets
    assert TRAITS.birth_name.encode() not in octets.partition(b"Content-Type: message/rfc822")[0]
    conversation = (await house.store.read(lambda uow: uow.conversations.letters_of_box(house.patient.id)))[0]
    assert [reason for _, reason in conversation.filing] != ["matches"]


async def test_no_notice_about_an_automatic_letter(house: House) -> None:
    found = archive(document(oid=OID_NIA))
    await arrive(house.store, letter(attachments=(found,), auto_submitted="auto-replied"))
    await arrive(house.store, letter(attachments=(found,)), sender=None)
    assert await house.queued() == []


async def test_invisible_documents_do_not_reach_the_patient(house: House) -> None:
    hidden = document(confidentiality=Confidentiality.INVISIBLE_PATIENT)
    receipt = await refused(house, PATIENT, reading=letter(attachments=(archive(hidden),)))
    assert receipt.outcomes[0].decision.rule is rules.DOCUMENT_INVISIBLE_TO_PATIENT


async def test_a_large_letter_with_documents_is_read_back_from_its_files(house: House, config: Config) -> None:
    report = os.urandom(60_000)
    reading = letter(
        attachments=(archive(document(pdf=b"%PDF-1.4\n" + report)), Attachment("x.pdf", "application/pdf", report))
    )
    await arrive(house.store, reading)
    assert await house.inbox(house.patient) == [reading.octets]
    files = [path for path in config.path(config.store.blobs_dir).rglob("*") if path.is_file()]
    assert len(files) >= 2
    account = await account_for(house.store, house.patient)
    [found] = await house.store.read(records.documents, account.id, house.patient.id, NOW)
    opened = await house.store.write(records.open_document, account.id, house.patient.id, found.id, NOW)
    assert opened is not None
    assert reading.submission is not None
    assert opened.octets == reading.submission.documents[0].octets


# -- at rest ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [10, 12_000])
async def test_nothing_at_rest_can_be_read(sqlite_config: Config, size: int) -> None:
    store = Store(sqlite_config)
    await store.start()
    house = House(store, await patient_box(store), await clinic_box(store))
    marker, subject = "the-marker-of-the-text", "Subject-of-the-letter"
    found = document(title="Title-of-the-document")
    body = marker + "\n" + "x" * size
    await arrive(
        store,
        letter(subject, attachments=(archive(found),), text=body, to=[PATIENT], cc=[CLINICIAN]),
        PATIENT,
        CLINICIAN,
    )
    account = await account_for(store, house.patient, login="a.login")
    draft = records.Draft("text-of-the-draft", (), (), NOW)
    await store.write(records.save_draft, account.id, house.patient.id, 1, draft, NOW)
    paths = [
        sqlite_path(sqlite_config.sqlite_url(url)) for url in (sqlite_config.store.url, sqlite_config.store.keys_url)
    ]
    folders = {path.parent for path in paths} | {sqlite_config.path(sqlite_config.store.blobs_dir)}
    files = [file for folder in folders for file in folder.rglob("*") if file.is_file()]
    everything = b"".join(file.read_bytes() for file in files)
    secrets = [marker, subject, "Title-of-the-document", "text-of-the-draft", "Jean MARTIN", DOCTOR.spec, "PAT-TROIS"]
    assert [one for one in secrets if one.encode() in everything] == []
    assert b"letter.accept" in everything, "the files that were looked into are the right ones"
    assert len(await house.inbox(house.patient)) == 1
    await store.close()


# -- garbage ---------------------------------------------------------------------------------------------------------


GARBAGE = [
    b"",
    b"\r\n",
    b"\xff\xfe\xfd",
    b"From: A <a@chu.mssante.test>\r\nMessage-ID: <\xe9\xe8\xff@x>\r\nSubject: \xff\xfe\r\n\r\n\xff",
    b"From: =?utf-8?q?=00=01?= <a@chu.mssante.test>\r\nSubject: =?utf-8?b?AAAA?=\r\n\r\nx",
    b"From: A <a@chu.mssante.test>\r\nReferences: " + b"<x@y> " * 500 + b"\r\n\r\nx",
    b"From: A <\xff@chu.mssante.test>\r\nTo: \xff\xfe <\xff@\xff>\r\n\r\nx",
    b"From: A\x00B <a@chu.mssante.test>\r\nMessage-ID: <a\x00b@x>\r\n\r\n\x00",
    b"From: A <a@chu.mssante.test>\r\nMessage-ID: <" + b"m" * 5000 + b"@x>\r\n\r\nx",
    "From: Ünï <ü@chu.mssante.test>\r\nMessage-ID: <é@ü>\r\nSubject: \ud83d\r\n\r\nx".encode("utf-8", "surrogatepass"),
]


@pytest.mark.parametrize("octets", GARBAGE)
async def test_garbage_is_kept_as_it_is_for_a_professional_and_judged_for_a_patient(
    house: House, octets: bytes
) -> None:
    await arrive(house.store, raw(octets), CLINICIAN)
    assert await house.inbox(house.clinician) == [octets]
    receipt = await arrive(house.store, raw(octets), PATIENT)
    assert len(await house.inbox(house.patient)) == receipt.accepted
    assert (await arrive(house.store, raw(octets), CLINICIAN)).duplicate


_line = st.binary(max_size=60).map(lambda line: line.replace(b"\r", b"").replace(b"\n", b""))
_letter = st.lists(
    st.one_of(
        _line,
        st.tuples(
            st.sampled_from([b"From", b"To", b"Message-ID", b"References", b"Subject", b"Content-Type", b"Reply-To"]),
            st.one_of(_line, st.just(b"A <a@chu.mssante.test>"), st.just(b"multipart/mixed; boundary=x")),
        ).map(b": ".join),
    ),
    max_size=12,
).map(b"\r\n".join)


@given(octets=_letter)
@settings(max_examples=30)
def test_any_octets_are_kept_or_refused(
    octets: bytes, tmp_path_factory: pytest.TempPathFactory, store_template: Path
) -> None:
    folder = copy_template(store_template, tmp_path_factory.mktemp("any"))

    async def receive_it() -> None:
        store = Store(config_in(folder))
        house = House(store, await patient_box(store), await clinic_box(store))
        receipt = await arrive(store, raw(octets), CLINICIAN, PATIENT)
        assert receipt.outcomes[0].decision.accepted
        assert await house.inbox(house.clinician) == [octets]
        assert len(await house.inbox(house.patient)) == receipt.outcomes[1].decision.accepted
        assert (await store.read(lambda uow: uow.journal.verify()))[1] == ()
        await store.close()

    asyncio.run(receive_it())


async def test_deliveries_to_hold_a_letter_of_a_foreign_address(house: House) -> None:
    """A reverse path with odd characters goes through the queue and back."""
    odd = Address('o"d d', HOSPITAL)
    await arrive(house.store, letter(), CLINICIAN, sender=odd, notify=frozenset({Notify.SUCCESS}))
    [(to, _)] = await house.queued()
    assert to == odd.spec


# -- cost ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("to", "most"), [(CLINICIAN, 8), (PATIENT, 14)])
async def test_an_acceptance_takes_few_statements(sqlite_config: Config, to: Address, most: int) -> None:
    store = Store(sqlite_config)
    house = House(store, await patient_box(store), await clinic_box(store))
    await arrive(store, letter(to=[to]), to)
    said: list[str] = []
    await store.write(lambda uow: driver(uow).set_trace_callback(said.append))
    said.clear()
    await arrive(store, letter(to=[to]), to)
    around = ("BEGIN", "COMMIT", "SAVEPOINT", "RELEASE")
    assert len([one for one in said if not one.startswith(around)]) <= most
    assert [one for one in said if one.startswith(("BEGIN", "COMMIT"))] == ["BEGIN IMMEDIATE", "COMMIT"]
    assert len(await house.inbox(house.patient if to is PATIENT else house.clinician)) == 2
    await store.close()
