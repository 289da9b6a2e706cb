"""Invitations: a code handed over, an end, an answer given once; what caregivers may not; rights given back."""

from __future__ import annotations

from datetime import timedelta
from email import message_from_bytes

import pytest

from mss.model.account import Account, Box, DelegationKind
from mss.model.ins import Traits
from mss.model.rights import InvitationState, NoticeKind
from mss.services import accounts, delegations, records, submit
from mss.services.submit import PatientReply
from mss.store.store import Store
from tests.services.services_world import HOSTED, OUTSIDE, House, arrive, letter
from tests.store.store_world import NOW, OTHER_MATRICULE, account_for, later, patient_box

WEEK = timedelta(days=7)
CAREGIVER, PARENT = DelegationKind.CAREGIVER, DelegationKind.LEGAL_REPRESENTATIVE


class Family:
    """A patient, and somebody who will help."""

    def __init__(self, store: Store, box: Box, owner: Account, helper: Account) -> None:
        self.store, self.box, self.owner, self.helper = store, box, owner, helper

    async def invites(self, kind: DelegationKind = CAREGIVER, name: str = "Aline") -> tuple[str, str]:
        decision, code = await self.store.write(delegations.invite, self.owner.id, self.box.id, kind, name, WEEK, NOW)
        return decision.rule.name, code

    async def answers(self, code: str, accepts: bool = True, who: Account | None = None, **more: float) -> str:
        account = who or self.helper
        decision = await self.store.write(delegations.answer, account.id, code, accepts, later(**more))
        return decision.rule.name

    async def acts(self) -> list[int]:
        found = await self.store.read(accounts.boxes_of, self.helper.id, NOW)
        return [one.box.id for one in found]

    async def states(self) -> list[InvitationState]:
        found = await self.store.read(delegations.of_box, self.owner.id, self.box.id, NOW)
        assert found is not None
        return [one.state for one in found.invited]


@pytest.fixture
async def family(store: Store) -> Family:
    box, other = await patient_box(store), await patient_box(store, OTHER_MATRICULE)
    return Family(store, box, await account_for(store, box), await account_for(store, other))


async def test_an_invitation_is_looked_at_and_accepted_once(family: Family) -> None:
    rule, code = await family.invites()
    assert rule == "invitation.offered"
    decision, offer = await family.store.read(
        delegations.look_at, family.helper.id, code.lower().replace("-", " "), NOW
    )
    assert decision.accepted
    assert offer is not None
    assert (offer.box.id, offer.kind) == (family.box.id, CAREGIVER)
    assert await family.answers(code) == "invitation.offered"
    assert family.box.id in await family.acts()
    assert await family.answers(code) == "invitation.unknown"
    assert await family.states() == [InvitationState.ACCEPTED]
    notices = await family.store.read(lambda uow: uow.rights.notices(family.box.id, 10))
    assert [(one.kind, one.name) for one in notices] == [(NoticeKind.DELEGATION_ACCEPTED, "Aline")]


async def test_the_attestation_of_a_caregiver_is_filed_with_the_helped_person(family: Family) -> None:
    for accepts in (False, True):
        _, code = await family.invites()
        assert await family.answers(code, accepts) == "invitation.offered"
    [found] = await family.store.read(records.documents, family.owner.id, family.box.id, NOW)
    assert (found.entry.title, found.entry.mime_type, found.category) == (
        "Attestation d’aidant",
        "application/pdf",
        "DOC_ADM",
    )
    opened = await family.store.read(records.open_document, family.owner.id, family.box.id, found.id, NOW)
    assert opened is not None
    written = opened.octets.decode("cp1252")
    assert f"{family.box.display_name} a invité {family.helper.display_name} à être son aidant" in written
    assert "22/11/2026" in written
    assert "ne peut pas" in written


async def test_a_parent_s_invitation_leaves_no_attestation(store: Store, family: Family) -> None:
    child = await patient_box(store, "284052A32102552", traits=Traits("X", "Y", "20150101", "F"))
    parent = await account_for(store, child, PARENT)
    other = Family(store, child, parent, family.helper)
    _, code = await other.invites(PARENT)
    assert await other.answers(code) == "invitation.offered"
    assert await store.read(records.documents, parent.id, child.id, NOW) == ()


async def test_an_invitation_is_refused_withdrawn_or_too_late(family: Family) -> None:
    _, code = await family.invites()
    assert await family.answers(code, accepts=False) == "invitation.offered"
    assert await family.answers(code) == "invitation.unknown"
    _, code = await family.invites()
    [newest, _] = await family.store.read(lambda uow: uow.rights.invitations(family.box.id, 10))
    await family.store.write(delegations.withdraw, family.owner.id, family.box.id, newest.id, NOW)
    assert await family.answers(code) == "invitation.unknown"
    _, code = await family.invites()
    assert await family.answers(code, days=7) == "invitation.expired"
    assert await family.answers("NO-SUCH-CODE") == "invitation.unknown"
    assert await family.answers(code, who=family.owner) == "invitation.own"
    assert family.box.id not in await family.acts()


async def test_three_caregivers_and_no_more(family: Family) -> None:
    assert [(await family.invites())[0] for _ in range(4)] == ["invitation.offered"] * 3 + ["invitation.caregivers-max"]


async def test_only_a_childs_parent_invites_another(store: Store, family: Family) -> None:
    assert (await family.invites(PARENT))[0] == "invitation.no-child"
    child = await patient_box(store, "284052A32102552", traits=Traits("X", "Y", "20150101", "F"))
    await account_for(store, child, PARENT)
    other = Family(store, child, await account_for(store, child, PARENT, "second"), family.helper)
    assert (await other.invites(PARENT))[0] == "invitation.representatives-max"


async def test_caregivers_invite_nobody_and_leave_when_they_will(family: Family) -> None:
    _, code = await family.invites()
    await family.answers(code)
    where = (family.helper.id, family.box.id)
    decision, code = await family.store.write(delegations.invite, *where, CAREGIVER, "x", WEEK, NOW)
    assert (decision.rule.name, code) == ("access.caregiver-restricted", "")
    assert await family.store.read(delegations.of_box, *where, NOW) is None
    owner = family.owner.id
    assert not (await family.store.write(delegations.end, *where, owner, NOW)).accepted
    assert not (await family.store.write(delegations.withdraw, *where, 1, NOW)).accepted
    assert (await family.store.write(delegations.end, *where, family.helper.id, NOW)).accepted
    assert family.box.id not in await family.acts()


async def test_an_owner_takes_a_right_back_and_keeps_the_own(family: Family) -> None:
    _, code = await family.invites()
    await family.answers(code)
    where = (family.owner.id, family.box.id)
    assert (await family.store.write(delegations.end, *where, family.helper.id, NOW)).accepted
    assert family.box.id not in await family.acts()
    await family.store.write(delegations.end, *where, family.owner.id, NOW)
    assert [one.box.id for one in await family.store.read(accounts.boxes_of, family.owner.id, NOW)] == [family.box.id]


async def test_what_a_caregiver_writes_says_so_on_every_way(house: House) -> None:
    helper = await account_for(house.store, house.patient, CAREGIVER)
    await arrive(house.store, letter())
    [conversation] = await house.store.read(records.conversations, helper.id, house.patient.id, 0, 10, NOW)
    answer = PatientReply(conversation.id, "Bonjour")
    decision, _ = await house.store.write(submit.reply, HOSTED, OUTSIDE, helper.id, house.patient.id, answer, NOW)
    assert decision.accepted
    [(_, octets)] = await house.queued()
    body = message_from_bytes(octets).get_payload(decode=True)
    assert isinstance(body, bytes)
    assert "l’aidant de Dominique PAT-TROIS" in body.decode()
