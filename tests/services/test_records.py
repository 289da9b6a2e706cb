"""What a patient's account does with letters, drafts and documents; who sees what; what is written down."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date
from typing import Any

import pytest

from mss.errors import Malformed
from mss.model.account import Account, AccountKind, Box, Delegation, DelegationKind
from mss.model.delivery import DeliveryState
from mss.model.document import Confidentiality, DocumentFormat, FiledBy
from mss.model.mailbox import INBOX
from mss.policy import rules
from mss.services import accesses, accounts, filing, mailbox, outbound, records
from mss.services.accesses import Look, Sight
from mss.services.deliver import keep_document
from mss.services.filing import FilingWish, OwnFile
from mss.services.house import Hosted
from mss.services.mailbox import Columns
from mss.services.records import Draft
from mss.services.submit import Attachment
from mss.store.store import Store
from tests.services.services_world import (
    DOCTOR,
    HOSTED,
    archive,
    arrive,
    document,
    letter,
    open_thread,
    with_limits,
)
from tests.store.store_world import NOW, OTHER_MATRICULE, account_for, clinic_box, later, patient_box

PDF = b"%PDF-1.4\n1 0 obj\n<<>>\nendobj\ntrailer\n<<>>\n%%EOF\n"
WISH = FilingWish("Mon compte rendu", date(2026, 3, 14), "Suivi", "CPT_REND")


@dataclass
class Patient:
    """A patient with an account, and the accounts of others who may look."""

    store: Store
    box: Box
    account: Account

    async def another(self, kind: DelegationKind, ends: Any = None) -> Account:
        """Return somebody else's account that may act for this patient."""
        number = len(await self.store.read(lambda uow: uow.accounts.all()))
        account = await self.store.write(
            accounts.create_account, f"{kind}{number}", AccountKind.PATIENT, "Somebody", "hash", "cli", NOW
        )
        delegation = Delegation(account.id, self.box.id, kind, ends)
        await self.store.write(accounts.delegate, delegation, "cli", NOW)
        return account

    async def documents(self, account: Account | None = None) -> set[str]:
        who = account or self.account
        found = await self.store.read(records.documents, who.id, self.box.id, NOW)
        return {one.entry.unique_id for one in found}

    async def actions(self, prefix: str) -> list[str]:
        found = await self.store.read(lambda uow: uow.journal.newest(1000, prefix))
        return [one.event.action for one in found]


@pytest.fixture
async def patient(store: Store) -> Patient:
    box = await patient_box(store)
    return Patient(store, box, await account_for(store, box))


async def conversation(patient: Patient) -> int:
    found = await patient.store.read(records.conversations, patient.account.id, patient.box.id, 0, 1, NOW)
    return found[0].id


# -- lists -------------------------------------------------------------------------------------------------------------


async def test_conversations_are_listed_newest_first_in_pages(patient: Patient) -> None:
    for number in range(5):
        await arrive(patient.store, letter(f"Lettre {number}"), now=later(minutes=number))
    listed = await patient.store.read(records.conversations, patient.account.id, patient.box.id, 0, 3, NOW)
    assert [one.subject for one in listed] == ["Lettre 4", "Lettre 3", "Lettre 2"]
    rest = await patient.store.read(records.conversations, patient.account.id, patient.box.id, 3, 3, NOW)
    assert [one.subject for one in rest] == ["Lettre 1", "Lettre 0"]
    assert {(one.letters, one.unread, one.names, one.has_attachment) for one in listed} == {
        (1, 1, ("Dr Jean MARTIN",), False)
    }
    assert await patient.store.read(records.unread, patient.account.id, patient.box.id, NOW) == 5
    other = await patient_box(patient.store, OTHER_MATRICULE)
    assert await patient.store.read(records.conversations, patient.account.id, other.id, 0, 3, NOW) == ()
    assert await patient.store.read(records.unread, patient.account.id, other.id, NOW) == 0


# -- reading -----------------------------------------------------------------------------------------------------------


async def test_reading_sets_seen_once_and_is_written_down(patient: Patient) -> None:
    first = letter("Bilan")
    await arrive(patient.store, first)
    await arrive(patient.store, letter("Re: Bilan", references=(first.message_id,)), now=later(seconds=1))
    args = (HOSTED, patient.account.id, patient.box.id, await conversation(patient), NOW)
    assert await patient.store.write(records.mark_read, *args) == 2
    where = await patient.store.read(mailbox.find, patient.box.id, INBOX, NOW)
    rows = await patient.store.read(mailbox.rows, where.id, ((1, 9),), Columns.PLAIN, NOW)
    assert [mailbox.flag_names(where.keywords, row.flags) for row in rows] == [("\\Seen",)] * 2
    assert await patient.store.read(records.unread, patient.account.id, patient.box.id, NOW) == 0
    thread = await open_thread(patient.store, patient.account, patient.box)
    assert [one.unread for one in thread.letters] == [False, False]
    assert await patient.store.write(records.mark_read, *args) == 0
    after = await patient.store.read(mailbox.find, patient.box.id, INBOX, NOW)
    assert after.modseq == where.modseq
    assert await patient.actions("conversation.read") == ["conversation.read"] * 2, "also when it is read again"


@pytest.mark.parametrize(
    ("more", "receipts"),
    [
        ({}, 0),
        ({"extra": (("Disposition-Notification-To", DOCTOR.spec), ("Return-Path", f"<{DOCTOR.spec}>"))}, 1),
        ({"extra": (("Disposition-Notification-To", "x@y.test"), ("Return-Path", f"<{DOCTOR.spec}>"))}, 0),
        (
            {
                "extra": (("Disposition-Notification-To", DOCTOR.spec), ("Return-Path", f"<{DOCTOR.spec}>")),
                "auto_submitted": "auto-replied",
            },
            0,
        ),
    ],
)
async def test_the_receipt_that_was_asked_for_is_sent_once(
    patient: Patient, more: dict[str, Any], receipts: int
) -> None:
    await arrive(patient.store, letter("Bilan", **more))
    for _ in range(2):
        await patient.store.write(
            records.mark_read, HOSTED, patient.account.id, patient.box.id, await conversation(patient), NOW
        )
    queued = await patient.store.read(lambda uow: uow.queue.list(frozenset(DeliveryState), 9))
    assert [(one.recipient, one.reverse_path) for one in queued] == [(DOCTOR, None)] * receipts
    for one in queued:
        octets = await patient.store.read(outbound.octets, one.id, NOW)
        assert b"disposition-notification" in octets
        assert b"displayed" in octets
        assert b"error" not in octets.lower()


async def test_a_letter_whose_documents_were_reported_on_gets_no_second_report(patient: Patient) -> None:
    """RFC 8098 §2.1: one disposition report for each recipient; the first said that a document names no INS."""
    asked = (("Disposition-Notification-To", DOCTOR.spec), ("Return-Path", f"<{DOCTOR.spec}>"))
    await arrive(patient.store, letter(attachments=(archive(document(matricule="")),), extra=asked))
    number = await conversation(patient)
    assert await patient.store.write(records.mark_read, HOSTED, patient.account.id, patient.box.id, number, NOW) == 1
    [only] = await patient.store.read(lambda uow: uow.queue.list(frozenset(DeliveryState), 9))
    assert b"processed/error" in await patient.store.read(outbound.octets, only.id, NOW)


async def test_others_mark_nothing_as_read(patient: Patient) -> None:
    await arrive(patient.store, letter())
    stranger = await account_for(patient.store, await patient_box(patient.store, OTHER_MATRICULE))
    clinician = await account_for(patient.store, await clinic_box(patient.store))
    ended = await patient.another(DelegationKind.CAREGIVER, later(seconds=-1))
    number = await conversation(patient)
    for account_id in (stranger.id, clinician.id, ended.id, 999):
        args = (account_id, patient.box.id, number, NOW)
        assert await patient.store.write(records.mark_read, HOSTED, *args) == 0
        assert await patient.store.read(records.letter_octets, account_id, patient.box.id, 1, NOW) is None
        assert await patient.store.read(records.thread, HOSTED, *args) is None
    assert await patient.store.read(records.unread, patient.account.id, patient.box.id, NOW) == 1
    helper = await patient.another(DelegationKind.CAREGIVER, later(hours=1))
    assert await patient.store.write(records.mark_read, HOSTED, helper.id, patient.box.id, number, NOW) == 1


async def test_a_letter_is_given_out_to_its_box_only(patient: Patient) -> None:
    reading = letter()
    await arrive(patient.store, reading)
    [found] = await patient.store.read(lambda uow: uow.conversations.letters_of(patient.box.id, 1))
    args = (patient.account.id, patient.box.id)
    held = await patient.store.read(records.letter_octets, *args, found.email_id, NOW)
    assert held is not None
    assert (held.octets, held.conversation_id) == (reading.octets, 1)
    assert await patient.store.read(records.letter_octets, *args, 999, NOW) is None
    other = await patient_box(patient.store, OTHER_MATRICULE)
    theirs = await account_for(patient.store, other, login="other")
    assert await patient.store.read(records.letter_octets, theirs.id, other.id, found.email_id, NOW) is None


# -- drafts ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [10, 20_000])
async def test_a_conversation_has_one_draft_the_newest(patient: Patient, size: int) -> None:
    await arrive(patient.store, letter("Un"))
    await arrive(patient.store, letter("Deux"), now=later(seconds=1))
    numbers = [
        one.id for one in await patient.store.read(records.conversations, patient.account.id, patient.box.id, 0, 9, NOW)
    ]
    file = Attachment("scan.pdf", "application/pdf", PDF + b"x" * size)
    args = (patient.account.id, patient.box.id)
    first, second = Draft("un", (1,), (), NOW), Draft("deux é", (2, 3), (file, replace(file, name="b.pdf")), NOW)
    await patient.store.write(records.save_draft, *args, numbers[0], first, NOW)
    await patient.store.write(records.save_draft, *args, numbers[0], second, NOW)
    await patient.store.write(records.save_draft, *args, numbers[1], first, NOW)
    assert (await open_thread(patient.store, patient.account, patient.box, 0)).draft == second
    assert (await open_thread(patient.store, patient.account, patient.box, 1)).draft == first
    listed = await patient.store.read(records.conversations, patient.account.id, patient.box.id, 0, 9, NOW)
    assert [one.has_draft for one in listed] == [True, True]
    await patient.store.write(records.drop_draft, *args, numbers[0], NOW)
    await patient.store.write(records.drop_draft, *args, numbers[0], NOW)
    assert (await open_thread(patient.store, patient.account, patient.box, 0)).draft is None
    assert (await open_thread(patient.store, patient.account, patient.box, 1)).draft == first


async def test_drafts_are_written_by_those_who_may_send_only(patient: Patient) -> None:
    await arrive(patient.store, letter())
    mine = await conversation(patient)
    other = await patient_box(patient.store, OTHER_MATRICULE)
    theirs = await account_for(patient.store, other, login="other")
    draft = Draft("texte", (), (), NOW)
    for account_id, box_id, number in (
        (theirs.id, patient.box.id, mine),
        (theirs.id, other.id, mine),
        (patient.account.id, patient.box.id, 999),
        (999, patient.box.id, mine),
    ):
        with pytest.raises(Malformed):
            await patient.store.write(records.save_draft, account_id, box_id, number, draft, NOW)
        with pytest.raises(Malformed):
            await patient.store.write(records.drop_draft, account_id, box_id, number, NOW)
    assert (await open_thread(patient.store, patient.account, patient.box)).draft is None


# -- documents ---------------------------------------------------------------------------------------------------------


async def _file(patient: Patient, *found: Any) -> None:
    """Put documents into the dossier as if they had been visible once."""
    for number, one in enumerate(found):
        await arrive(patient.store, letter(attachments=(archive(one),)), now=later(seconds=number))


async def test_documents_are_seen_by_those_whom_they_are_not_hidden_from(patient: Patient) -> None:
    await _file(
        patient,
        document("1.2.250.1.1"),
        document("1.2.250.1.2", confidentiality=Confidentiality.INVISIBLE_REPRESENTATIVES),
        document("1.2.250.1.3", confidentiality=Confidentiality.MASKED_FOR_PROFESSIONALS),
    )
    [seen, *_] = await patient.store.read(lambda uow: uow.dossiers.list(patient.box.id))
    entry = replace(seen.entry, unique_id="1.2.250.1.4", confidentiality=frozenset({Confidentiality.INVISIBLE_PATIENT}))
    hidden = await patient.store.write(keep_document, replace(seen, entry=entry), "test", NOW)
    assert hidden
    representative = await patient.another(DelegationKind.LEGAL_REPRESENTATIVE)
    helper = await patient.another(DelegationKind.CAREGIVER)
    stranger = await account_for(patient.store, await clinic_box(patient.store))
    own = {"1.2.250.1.1", "1.2.250.1.2", "1.2.250.1.3"}
    assert await patient.documents() == own
    assert await patient.documents(representative) == own - {"1.2.250.1.2"}
    assert await patient.documents(helper) == own - {"1.2.250.1.2"}
    assert await patient.documents(stranger) == set()
    by_id = {
        one.entry.unique_id: one.id for one in await patient.store.read(lambda uow: uow.dossiers.list(patient.box.id))
    }
    for account_id, document_id in (
        (patient.account.id, hidden),
        (helper.id, by_id["1.2.250.1.2"]),
        (stranger.id, by_id["1.2.250.1.1"]),
        (patient.account.id, 999),
    ):
        assert await patient.store.read(records.open_document, account_id, patient.box.id, document_id, NOW) is None
    assert await patient.actions("document.read") == []


async def test_opening_a_document_gives_its_octets_and_is_written_down(patient: Patient) -> None:
    found = document()
    await _file(patient, found)
    helper = await patient.another(DelegationKind.CAREGIVER)
    [filed] = await patient.store.read(records.documents, helper.id, patient.box.id, NOW)
    assert (filed.filed_by, filed.size_octets) == (FiledBy.LETTER, len(found.octets))
    opened = await patient.store.read(records.open_document, helper.id, patient.box.id, filed.id, later(seconds=9))
    assert opened is not None
    assert (opened.octets, opened.companion_pdf) == (found.octets, found.companion_pdf)
    look = Look(Sight.DOCUMENT, filed.id)
    assert (await patient.store.write(accesses.note, helper.id, patient.box.id, look, True, later(seconds=9))).accepted
    [access, *_] = await patient.store.read(accesses.accesses, patient.account.id, patient.box.id, 0, 10, NOW)
    event = access.record.event
    assert (event.actor, event.action, event.target) == (
        f"account:{helper.id}",
        "document.read",
        f"document:{filed.id}",
    )
    assert (event.decision, event.rule, event.facts) == ("accept", "document.own", {"kind": "caregiver"})
    assert (access.name, access.title) == ("Somebody", filed.entry.title)


async def _attach(
    patient: Patient, octets: bytes, name: str, account: int = 0, email_id: int = 1, hosted: Hosted = HOSTED
) -> Any:
    own = OwnFile(email_id, octets, name, WISH)
    args = (hosted, account or patient.account.id, patient.box.id, own)
    return await patient.store.write(filing.file_attachment, *args, NOW)


@pytest.mark.parametrize(("octets", "filed"), [(99, True), (100, True), (101, False)])
async def test_how_large_a_filed_attachment_may_be_is_configured(patient: Patient, octets: int, filed: bool) -> None:
    await arrive(patient.store, letter())
    strict = with_limits(filing_max_octets=100)
    decision, document = await _attach(patient, b"x" * octets, "note.txt", hosted=strict)
    assert (decision.accepted, document is not None) == (filed, filed)


async def test_an_attachment_is_filed_by_hand_once(patient: Patient) -> None:
    await arrive(patient.store, letter())
    decision, first = await _attach(patient, PDF, "scan.pdf")
    assert decision.accepted
    assert (first.entry.title, first.folder, first.category) == ("Mon compte rendu", "Suivi", "CPT_REND")
    assert (first.entry.format, first.entry.mime_type) == (DocumentFormat.PDF, "application/pdf")
    assert (first.filed_by, first.email_id, first.masked) == (FiledBy.PATIENT, 1, False)
    again_decision, again = await _attach(patient, PDF, "other.pdf")
    assert again_decision.accepted
    assert (again.id, again.entry.title) == (first.id, first.entry.title)
    _, other = await _attach(patient, PDF + b"\n", "scan.pdf")
    assert other.id != first.id
    assert len(await patient.documents()) == 2
    opened = await patient.store.read(records.open_document, patient.account.id, patient.box.id, first.id, NOW)
    assert opened is not None
    assert (opened.octets, opened.companion_pdf) == (PDF, None)


@pytest.mark.parametrize(
    ("octets", "name"),
    [
        (b"MZ\x90\x00", "virus.pdf"),
        (b"<html>", "page.html"),
        (PDF + b"x" * 5_000_000, "big.pdf"),
        (b"", "a.pdf"),
    ],
)
async def test_what_cannot_be_filed_is_refused(patient: Patient, octets: bytes, name: str) -> None:
    await arrive(patient.store, letter())
    decision, filed = await _attach(patient, octets, name)
    assert (decision.rule, filed) == (rules.ATTACHMENT_NOT_FILEABLE, None)
    assert await patient.documents() == set()


async def test_only_those_who_may_file(patient: Patient) -> None:
    await arrive(patient.store, letter())
    stranger = await account_for(patient.store, await clinic_box(patient.store))
    for account_id, email_id, rule in (
        (stranger.id, 1, rules.ACCESS_WRONG_KIND),
        (999, 1, rules.ACCESS_NONE),
        (patient.account.id, 999, rules.ACCESS_NONE),
    ):
        decision, filed = await _attach(patient, PDF, "a.pdf", account_id, email_id)
        assert (decision.rule, filed) == (rule, None)
    helper = await patient.another(DelegationKind.CAREGIVER)
    assert (await _attach(patient, PDF, "a.pdf", helper.id))[0].accepted
