"""What surrounds a conversation: lost references, first letters, pharmacies, oppositions, boxes never opened."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mss.model.account import BoxState, DelegationKind
from mss.model.address import Address
from mss.model.document import Confidentiality
from mss.model.party import BoxKind, Party
from mss.services import accounts, records, replying, submit
from mss.services.house import Hosted
from mss.services.submit import PatientReply
from mss.store.store import Store
from tests.services.services_world import (
    CLINICIAN,
    COLLEAGUE,
    DESK,
    DOCTOR,
    HOSTED,
    ORIGIN,
    OUTSIDE,
    REGIONAL,
    House,
    archive,
    arrive,
    document,
    letter,
    with_limits,
    with_policy,
)
from tests.services.test_rights import listed
from tests.store.store_world import HOSPITAL, NOW, account_for, later

CONTACT = with_policy(profile="contact")
PHARMACY = Address("pharmacie.centre", HOSPITAL)


async def _subjects(house: House) -> list[tuple[str, int]]:
    found = await house.store.read(lambda uow: uow.conversations.list(house.patient.id, 0, 50))
    return sorted((one.subject, one.letters) for one in found)


async def test_an_answer_without_references_joins_its_thread(house: House) -> None:
    await arrive(house.store, letter("Résultats"))
    await arrive(house.store, letter("RE: Résultats"), now=later(days=3))
    assert await _subjects(house) == [("Résultats", 2)]


@pytest.mark.parametrize(
    ("subject", "sender", "days"),
    [
        ("Résultats", DOCTOR, 1),
        ("Re: Autre", DOCTOR, 1),
        ("Re: Résultats", COLLEAGUE, 1),
        ("Re: Résultats", DOCTOR, 91),
    ],
)
async def test_what_only_looks_like_an_answer_stays_apart(
    house: House, subject: str, sender: Address, days: int
) -> None:
    await arrive(house.store, letter("Résultats"))
    origin = REGIONAL if sender is COLLEAGUE else ORIGIN
    await arrive(house.store, letter(subject, sender=sender), sender=sender, now=later(days=days), origin=origin)
    assert await _subjects(house) == sorted([("Résultats", 1), (subject, 1)])


async def test_a_box_that_stands_for_the_author_answers_into_the_thread(house: House) -> None:
    await arrive(house.store, letter("Résultats", reply_to=[DESK]))
    await arrive(house.store, letter("Re: Résultats", sender=DESK), sender=DESK)
    assert await _subjects(house) == [("Résultats", 2)]


# -- first letters ---------------------------------------------------------------------------------------------------


class Writer:
    """A patient who begins conversations."""

    def __init__(self, house: House, account_id: int) -> None:
        self.house, self.account_id = house, account_id

    async def begins(self, *numbers: int, hosted: Hosted = CONTACT) -> str:
        answer = PatientReply(0, "Bonjour", numbers, (), "Une question")
        where = (OUTSIDE, self.account_id, self.house.patient.id)
        decision, receipt = await self.house.store.write(submit.reply, hosted, *where, answer, NOW)
        assert (receipt is not None) is decision.accepted
        return decision.rule.name

    async def choices(self, hosted: Hosted = CONTACT) -> dict[str, int]:
        where = (hosted, self.account_id, self.house.patient.id)
        found = await self.house.store.read(records.beginning, *where, NOW)
        assert found is not None
        return {one.name: one.number for one in found.choices}


@pytest.fixture
async def writer(house: House) -> Writer:
    account = await account_for(house.store, house.patient)
    return Writer(house, account.id)


async def test_a_new_thread_is_begun_with_somebody_who_wrote_where_the_profile_lets(writer: Writer) -> None:
    await arrive(writer.house.store, letter())
    assert await writer.choices(HOSTED) == {}
    [number] = (await writer.choices()).values()
    assert await writer.begins(number, hosted=HOSTED) == "conversation.new-thread"
    assert await writer.begins(number) == "conversation.contact-open"
    [(recipient, octets)] = await writer.house.queued()
    assert recipient == DOCTOR.spec
    assert b"Subject: Une question\r\n" in octets
    assert ("Une question", 1) in await _subjects(writer.house)


async def test_nobody_is_written_to_who_ended_or_never_wrote(writer: Writer) -> None:
    await arrive(writer.house.store, letter())
    [number] = (await writer.choices()).values()
    await arrive(writer.house.store, letter("[FIN]"))
    assert await writer.choices() == {}
    assert await writer.begins(number) == "conversation.ended"
    assert await writer.begins(999) == "conversation.never-opened"
    assert await writer.begins() == "conversation.never-opened"
    assert await writer.house.queued() == []


async def test_a_pharmacy_of_the_directory_is_written_to_first(writer: Writer) -> None:
    store, box = writer.house.store, writer.house.patient
    party = Party(PHARMACY, BoxKind.ORG, structure="PHARMACIE DU CENTRE")
    await listed(store, party, Party(DESK, BoxKind.ORG, structure="CHU"))
    where = (writer.account_id, box.id)
    desk = Party(DESK, BoxKind.ORG, structure="CHU")
    assert await store.write(replying.choose_pharmacy, CONTACT, *where, desk, NOW) is None
    assert await store.write(replying.choose_pharmacy, HOSTED, *where, party, NOW) is None
    number = await store.write(replying.choose_pharmacy, CONTACT, *where, party, NOW)
    assert number is not None
    assert await writer.choices() == {"PHARMACIE DU CENTRE": number}
    assert await writer.begins(number, hosted=HOSTED) == "conversation.never-opened"
    assert await writer.begins(number) == "conversation.contact-open"
    await arrive(store, letter("[FIN]", sender=PHARMACY, name="Pharmacie"), sender=PHARMACY)
    assert await writer.begins(number) == "conversation.ended"


async def test_a_pharmacy_that_left_the_directory_is_nobody(writer: Writer) -> None:
    store, party = writer.house.store, Party(PHARMACY, BoxKind.ORG, structure="PHARMACIE DU CENTRE")
    await listed(store, party)
    where = (writer.account_id, writer.house.patient.id)
    number = await store.write(replying.choose_pharmacy, CONTACT, *where, party, NOW)
    assert number is not None
    await listed(store)
    assert await writer.begins(number) == "conversation.never-opened"


# -- oppositions -----------------------------------------------------------------------------------------------------


async def test_a_professional_who_takes_no_letters_from_patients(writer: Writer) -> None:
    store, clinician = writer.house.store, writer.house.clinician
    await arrive(
        store,
        letter(sender=CLINICIAN, name="Dr Doctor"),
        sender=CLINICIAN,
        origin=replace(REGIONAL, domains=frozenset({CLINICIAN.domain})),
    )
    [number] = (await writer.choices()).values()
    await store.write(accounts.oppose_patients, clinician.id, True, "cli", NOW)
    assert await writer.choices() == {}
    assert await writer.begins(number) == "box.opposed-to-patients"
    judged = await store.read(
        lambda uow: submit.judge(uow, HOSTED, OUTSIDE, writer.house.patient.address, CLINICIAN, 1, NOW)
    )
    assert judged.rule.name == "box.opposed-to-patients"
    await store.write(accounts.oppose_patients, clinician.id, False, "cli", NOW)
    assert await writer.begins(number) == "conversation.contact-open"


async def test_a_patient_opposes_and_changes_their_mind(writer: Writer) -> None:
    store, box = writer.house.store, writer.house.patient
    where = (writer.account_id, box.id)
    assert (await store.write(accounts.oppose_or_reopen, *where, BoxState.OPPOSED, NOW)).accepted
    receipt = await arrive(store, letter())
    assert [one.decision.rule.name for one in receipt.outcomes] == ["patient.opposed"]
    assert (await store.write(accounts.oppose_or_reopen, *where, BoxState.OPEN, NOW)).accepted
    assert (await arrive(store, letter())).accepted
    await store.write(accounts.set_box_state, box.id, BoxState.CLOSED, "cli", NOW)
    assert not (await store.write(accounts.oppose_or_reopen, *where, BoxState.OPEN, NOW)).accepted
    helper = await account_for(store, box, DelegationKind.CAREGIVER)
    assert not (await store.write(accounts.oppose_or_reopen, helper.id, box.id, BoxState.OPPOSED, NOW)).accepted
    assert not (await store.write(accounts.oppose_or_reopen, 999, box.id, BoxState.OPPOSED, NOW)).accepted


# -- boxes never opened ----------------------------------------------------------------------------------------------

TELLING = with_policy(unopened_notice=True)


async def _unopened(store: Store, house: House) -> None:
    await store.write(accounts.set_box_state, house.patient.id, BoxState.UNOPENED, "cli", NOW)


async def test_the_sender_of_a_letter_into_a_box_never_opened_is_told_once(house: House) -> None:
    await _unopened(house.store, house)
    assert (await arrive(house.store, letter(), hosted=TELLING)).accepted
    [(recipient, octets)] = await house.queued()
    assert recipient == DOCTOR.spec
    assert b"Auto-Submitted: auto-replied\r\n" in octets
    assert house.patient.display_name.encode() not in octets
    await arrive(house.store, letter(), hosted=TELLING)
    assert len(await house.queued()) == 1
    await arrive(house.store, letter(sender=DESK), sender=DESK, hosted=TELLING)
    assert len(await house.queued()) == 2


@pytest.mark.parametrize(("most", "told"), [(0, 0), (1, 1), (2, 2), (3, 2)])
async def test_so_many_are_told_in_an_hour(house: House, most: int, told: int) -> None:
    hosted = replace(with_limits(unopened_notices_per_hour_max=most), policy=TELLING.policy)
    await _unopened(house.store, house)
    for sender in (DOCTOR, DESK):
        await arrive(house.store, letter(sender=sender), sender=sender, hosted=hosted)
    assert len(await house.queued()) == told


async def test_nobody_is_told_unless_configured_nor_in_answer_to_what_is_automatic(house: House) -> None:
    await arrive(house.store, letter(), hosted=TELLING)
    await _unopened(house.store, house)
    await arrive(house.store, letter())
    await arrive(house.store, letter(auto_submitted="auto-replied"), hosted=TELLING)
    await arrive(house.store, letter(), sender=None, hosted=TELLING)
    assert await house.queued() == []


# -- hidden from representatives -------------------------------------------------------------------------------------


async def test_a_letter_with_what_is_hidden_from_representatives_is_hidden_from_them_whole(house: House) -> None:
    hidden = document(confidentiality=Confidentiality.INVISIBLE_REPRESENTATIVES)
    await arrive(house.store, letter())
    await arrive(house.store, letter("Re: Compte rendu", attachments=(archive(hidden),)))
    owner = await account_for(house.store, house.patient)
    # The right begins after the letter came: before, it would have been refused.
    parent = await account_for(house.store, house.patient, DelegationKind.LEGAL_REPRESENTATIVE, "parent")
    seen = {}
    for who in (owner, parent):
        thread = await house.store.read(records.thread, HOSTED, who.id, house.patient.id, 1, NOW)
        assert thread is not None
        seen[who.id] = len(thread.letters)
        newest = 2 if len(thread.letters) == 2 else 1
        assert thread.older == 0, newest
    assert seen == {owner.id: 2, parent.id: 1}
    letters = await house.store.read(lambda uow: uow.conversations.letters_of(house.patient.id, 1))
    for who, found in ((owner, True), (parent, False)):
        held = await house.store.read(records.letter_octets, who.id, house.patient.id, letters[1].email_id, NOW)
        assert (held is not None) is found
