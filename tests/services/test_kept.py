"""What is kept of letters: documents under their patient, octets that nobody can read at rest, garbage as it came."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mss.config import Config
from mss.mail.compose import Attachment
from mss.mail.content import decoded
from mss.model.account import Box
from mss.model.address import Address
from mss.model.document import Confidentiality
from mss.model.envelope import Notify
from mss.model.ins import OID_NIA, Traits
from mss.policy import rules
from mss.services import records
from mss.services.reading import read_letter
from mss.store.engine import sqlite_path
from mss.store.store import Store
from tests.services.services_world import (
    CLINICIAN,
    DOCTOR,
    LIMITS,
    PATIENT,
    House,
    archive,
    arrive,
    document,
    letter,
    raw,
    refused,
)
from tests.store.store_world import (
    HOSPITAL,
    NOW,
    OTHER_MATRICULE,
    OTHER_TRAITS,
    TRAITS,
    account_for,
    clinic_box,
    config_in,
    copy_template,
    driver,
    patient_box,
)

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


@pytest.mark.parametrize("order", [(1, 2, 3), (3, 2, 1), (2, 3, 1), (3, 1, 2), (2, 1, 3), (1, 3, 2)])
async def test_versions_are_linked_whichever_comes_first(house: House, order: tuple[int, ...]) -> None:
    for version in order:
        older = f"1.2.250.1.999.{version - 1}" if version > 1 else ""
        found = document(f"1.2.250.1.999.{version}", replaces=older)
        await arrive(house.store, letter(attachments=(archive(found),)))
    kept = await house.store.read(lambda uow: uow.dossiers.list(house.patient.id))
    first, second, third = sorted(kept, key=lambda one: one.entry.unique_id)
    assert [one.replaced_by for one in (first, second, third)] == [second.id, third.id, None]
    # Nobody waits any more.
    last = kept[0].entry.unique_id
    assert await house.store.read(lambda uow: uow.dossiers.expected(house.patient.id, last)) == ()


async def test_of_two_that_replace_the_same_the_last_one_counts_as_it_does_in_order(house: House) -> None:
    for unique_id, older in (("1.2.8", "1.2.7"), ("1.2.9", "1.2.7"), ("1.2.7", "1.2.7")):
        await arrive(house.store, letter(attachments=(archive(document(unique_id, replaces=older)),)))
    by_id = {
        one.entry.unique_id: one for one in await house.store.read(lambda uow: uow.dossiers.list(house.patient.id))
    }
    assert by_id["1.2.7"].replaced_by == by_id["1.2.9"].id


async def test_documents_of_another_patient_refuse_that_copy(house: House) -> None:
    other = document(matricule=OTHER_MATRICULE, traits=OTHER_TRAITS)
    receipt = await refused(house, PATIENT, reading=letter(attachments=(archive(other),)))
    assert receipt.outcomes[0].decision.rule is rules.DOCUMENT_OTHER_PATIENT
    assert await documents_of(house, house.patient) == []


@pytest.mark.parametrize("asked", [(), (("Disposition-Notification-To", "somebody@else.test"),)])
async def test_who_asked_for_no_report_gets_the_reason_as_a_letter(
    house: House, asked: tuple[tuple[str, str], ...]
) -> None:
    """A disposition report goes to whoever asked for one, at the letter's own reverse path; all others get a letter."""
    reading = letter(attachments=(archive(document(matricule="")),), extra=asked)
    await arrive(house.store, reading)
    [(to, octets)] = await house.queued()
    assert to == DOCTOR.spec
    notice = read_letter(octets, LIMITS, documents=False)
    root = notice.message.structure.root
    assert root.content_type == "multipart/mixed"
    assert [part.content_type for part in root.children] == ["text/plain", "message/rfc822"]
    assert notice.subject.startswith("[KO Intégration système !][903]")
    assert notice.automatic
    assert notice.references == (reading.message_id,)
    assert notice.message.slice(root.children[1].body) == reading.octets
    text = decoded(notice.message, root.children[0]).decode()
    assert "903^INS absente^applicationErrorCondition|E^Error^errorSeverity" in text
    assert TRAITS.birth_name not in text


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
    asked = (("Disposition-Notification-To", DOCTOR.spec),)
    receipt = await arrive(house.store, letter(attachments=(archive(document(**changes)),), extra=asked))
    assert receipt.accepted
    assert len(await house.inbox(house.patient)) == 1
    assert await documents_of(house, house.patient) == []
    [(to, octets)] = await house.queued()
    assert to == DOCTOR.spec
    assert b"disposition-notification" in octets
    assert b"processed/error" in octets
    assert b"Error: " + code in octets
    assert b"Content-Type: message/rfc822" in octets
    assert TRAITS.birth_name.encode() not in octets.partition(b"Content-Type: message/rfc822")[0]
    conversation = (await house.store.read(lambda uow: uow.conversations.letters_of(house.patient.id, 1)))[0]
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
    opened = await house.store.read(records.open_document, account.id, house.patient.id, found.id, NOW)
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


@pytest.mark.slow
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


@pytest.mark.parametrize(("to", "most"), [(CLINICIAN, 14), (PATIENT, 17)])
async def test_an_acceptance_takes_few_statements(sqlite_config: Config, to: Address, most: int) -> None:
    store = Store(sqlite_config)
    house = House(store, await patient_box(store), await clinic_box(store))
    await arrive(store, letter(to=[to]), to)
    said: list[str] = []
    await store.write(lambda uow: driver(uow).set_trace_callback(said.append))
    said.clear()
    await arrive(store, letter(to=[to]), to)
    # What a trigger does is told as a comment.
    around = ("BEGIN", "COMMIT", "SAVEPOINT", "RELEASE", "--")
    assert len([one for one in said if not one.startswith(around)]) <= most
    assert [one for one in said if one.startswith(("BEGIN", "COMMIT"))] == ["BEGIN IMMEDIATE", "COMMIT"]
    assert len(await house.inbox(house.patient if to is PATIENT else house.clinician)) == 2
    await store.close()
