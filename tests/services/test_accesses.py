"""Every look at a patient's data is in the journal, allowed or refused, and the patient can read who saw what."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mss.model.account import AccountKind, BoxState, Delegation, DelegationKind
from mss.model.audit import AuditEvent
from mss.model.document import Confidentiality
from mss.policy import rules
from mss.services import accesses, accounts, records
from mss.services.accesses import Look, Sight
from mss.services.deliver import keep_document
from mss.store.store import Store
from tests.services.services_world import archive, arrive, document, letter
from tests.store.store_world import NOW, OTHER_MATRICULE, account_for, clinic_box, later, patient_box

LOOKS = (
    (Look(Sight.CONVERSATIONS), "box:1"),
    (Look(Sight.CONVERSATION, 1), "conversation:1"),
    (Look(Sight.ATTACHMENT, 1, "2"), "letter:1"),
    (Look(Sight.DOCUMENTS), "box:1"),
    (Look(Sight.DOCUMENT, 1), "document:1"),
    (Look(Sight.ACCESSES), "box:1"),
)


async def written(store: Store, box_id: int = 1) -> list[AuditEvent]:
    """Return what the journal says of looks at a box, oldest first."""
    found = await store.read(lambda uow: uow.journal.about_box(box_id, 1000))
    sights = {sight.value for sight in Sight}
    return [one.event for one in reversed(found) if one.event.action in sights]


@pytest.mark.parametrize(("look", "target"), LOOKS)
async def test_a_look_is_written_down_with_who_what_and_the_rule(store: Store, look: Look, target: str) -> None:
    box = await patient_box(store)
    owner = await account_for(store, box)
    await arrive(store, letter(attachments=(archive(document()),)))
    assert (await store.write(accesses.note, owner.id, box.id, look, True, NOW)).accepted
    [event] = await written(store)
    assert (event.actor, event.action, event.target) == (f"account:{owner.id}", look.sight.value, target)
    rule = "document.own" if look.sight is Sight.DOCUMENT else "access.granted"
    assert (event.decision, event.rule, event.subject_box_id) == ("accept", rule, box.id)
    assert event.facts == {"kind": "owner"} | ({"part": look.part} if look.part else {})


@pytest.mark.parametrize(("look", "target"), LOOKS)
async def test_a_refused_look_is_written_down_too(store: Store, look: Look, target: str) -> None:
    box = await patient_box(store)
    stranger = await account_for(store, await patient_box(store, OTHER_MATRICULE))
    clinician = await account_for(store, await clinic_box(store))
    decisions = [
        await store.write(accesses.note, account_id, box.id, look, False, NOW)
        for account_id in (stranger.id, clinician.id, 999)
    ]
    assert [one.rule for one in decisions] == [rules.ACCESS_NONE, rules.ACCESS_WRONG_KIND, rules.ACCESS_NONE]
    assert [(one.decision, one.rule, one.target) for one in await written(store)] == [
        ("reject", one.rule.name, target) for one in decisions
    ]


async def test_a_right_that_has_ended_is_refused_with_its_rule(store: Store) -> None:
    box = await patient_box(store)
    made = await store.write(accounts.create_account, "x", AccountKind.PATIENT, "X", "hash", "cli", NOW)
    right = Delegation(made.id, box.id, DelegationKind.CAREGIVER, later(seconds=-1))
    await store.write(accounts.delegate, right, "cli", NOW)
    assert (await store.write(accesses.note, made.id, box.id, Look(Sight.CONVERSATIONS), True, NOW)).accepted is False
    [event] = await written(store)
    assert event.rule == "access.expired"


async def test_what_is_not_there_leaves_no_trace(store: Store) -> None:
    box = await patient_box(store)
    owner = await account_for(store, box)
    assert (await store.write(accesses.note, owner.id, box.id, Look(Sight.CONVERSATION, 9), False, NOW)).accepted
    assert not (await store.write(accesses.note, owner.id, 999, Look(Sight.CONVERSATION, 9), False, NOW)).accepted
    assert await written(store) == []


async def test_a_hidden_document_is_refused_with_its_rule(store: Store) -> None:
    box = await patient_box(store)
    owner = await account_for(store, box)
    await arrive(store, letter(attachments=(archive(document()),)))
    [seen] = await store.read(lambda uow: uow.dossiers.list(box.id))
    entry = replace(seen.entry, unique_id="1.2.9", confidentiality=frozenset({Confidentiality.INVISIBLE_PATIENT}))
    hidden = await store.write(keep_document, replace(seen, entry=entry), "test", NOW)
    assert hidden is not None
    decision = await store.write(accesses.note, owner.id, box.id, Look(Sight.DOCUMENT, hidden), False, NOW)
    assert decision.rule is rules.DOCUMENT_INVISIBLE_TO_PATIENT
    [event] = await written(store)
    assert (event.decision, event.rule) == ("reject", "document.invisible-to-patient")
    listed = await store.read(accesses.accesses, owner.id, box.id, 0, 10, NOW)
    assert [one.title for one in listed if one.record.event.target == f"document:{hidden}"] == ["", ""]


async def test_a_closed_box_is_still_its_holders_archive(store: Store) -> None:
    box = await patient_box(store)
    owner = await account_for(store, box)
    await store.write(accounts.set_box_state, box.id, BoxState.CLOSED, "cli", NOW)
    for look, _ in LOOKS:
        assert (await store.write(accesses.note, owner.id, box.id, look, True, NOW)).accepted


# -- what the patient reads ------------------------------------------------------------------------------------------


async def test_the_patient_reads_who_saw_what_in_pages(store: Store) -> None:
    box = await patient_box(store)
    owner = await account_for(store, box)
    helper = await account_for(store, box, DelegationKind.CAREGIVER, "helper")
    for number in range(1, 4):
        for account in (owner, helper):
            look = Look(Sight.CONVERSATION, number)
            await store.write(accesses.note, account.id, box.id, look, True, later(minutes=number))
    listed = await store.read(accesses.accesses, owner.id, box.id, 0, 4, NOW)
    assert [one.record.event.target for one in listed] == ["conversation:3"] * 2 + ["conversation:2"] * 2
    assert {one.name for one in listed} == {"", helper.display_name}
    rest = await store.read(accesses.accesses, owner.id, box.id, 4, 2, NOW)
    assert [one.record.event.target for one in rest] == ["conversation:1"] * 2
    others = await store.read(accesses.accesses, owner.id, box.id, 0, 3, NOW, others=True)
    assert {one.record.event.actor for one in others} == {f"account:{helper.id}"}


async def test_what_the_store_says_twice_is_shown_once(store: Store) -> None:
    box = await patient_box(store)
    owner = await account_for(store, box)
    await arrive(store, letter())
    shown = {one.record.event.action for one in await store.read(accesses.accesses, owner.id, box.id, 0, 50, NOW)}
    assert "letter.accept" in shown
    assert "conversation.letter" not in shown
    kept = await store.read(lambda uow: uow.journal.about_box(box.id, 50))
    assert "conversation.letter" in {one.event.action for one in kept}


async def test_nobody_else_reads_it(store: Store) -> None:
    box = await patient_box(store)
    stranger = await account_for(store, await patient_box(store, OTHER_MATRICULE))
    await arrive(store, letter())
    for account_id in (stranger.id, 999):
        assert await store.read(accesses.accesses, account_id, box.id, 0, 50, NOW) == ()
        assert await store.read(records.conversations, account_id, box.id, 0, 50, NOW) == ()
        assert await store.read(records.unread, account_id, box.id, NOW) == 0
        assert await store.read(records.shelves, account_id, box.id, NOW) == {}
        assert await store.read(records.folders, account_id, box.id, NOW) == ()
