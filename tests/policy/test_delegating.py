"""Whom a patient may invite, and who may accept: three caregivers, a second representative, each asked once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from mss.model.account import Box, Delegation, DelegationKind
from mss.model.ins import Traits
from mss.model.rights import InvitationState
from mss.policy.delegating import Invited, may_accept, may_invite
from tests.policy.facts import NOW, box

CAREGIVER, PARENT = DelegationKind.CAREGIVER, DelegationKind.LEGAL_REPRESENTATIVE
PENDING = InvitationState.PENDING
ADULT, CHILD = box(traits=Traits("X", "Y", "19790328", "F")), box(traits=Traits("X", "Y", "20150328", "F"))
LATER, BEFORE = NOW + timedelta(days=1), NOW - timedelta(seconds=1)


def _acting(count: int, kind: DelegationKind = CAREGIVER, **more: object) -> list[Delegation]:
    return [Delegation(10 + n, 4, kind, **more) for n in range(count)]  # type: ignore[arg-type]


def _asked(count: int, state: InvitationState = PENDING, kind: DelegationKind = CAREGIVER) -> list[Invited]:
    return [Invited(kind, state, LATER)] * count


@pytest.mark.parametrize(
    ("where", "kind", "acting", "asked", "rule"),
    [
        (ADULT, CAREGIVER, [], [], "invitation.offered"),
        (ADULT, CAREGIVER, _acting(2), [], "invitation.offered"),
        (ADULT, CAREGIVER, _acting(3), [], "invitation.caregivers-max"),
        (ADULT, CAREGIVER, _acting(4), [], "invitation.caregivers-max"),
        # Those who were asked hold a place too, until they answer or it is too late.
        (ADULT, CAREGIVER, _acting(2), _asked(1), "invitation.caregivers-max"),
        (ADULT, CAREGIVER, _acting(2), _asked(5, InvitationState.REFUSED), "invitation.offered"),
        (ADULT, CAREGIVER, _acting(2), [Invited(CAREGIVER, PENDING, NOW)], "invitation.offered"),
        (ADULT, CAREGIVER, _acting(2), _asked(1, kind=PARENT), "invitation.offered"),
        (ADULT, CAREGIVER, _acting(3, ends_at=BEFORE), [], "invitation.offered"),
        (ADULT, CAREGIVER, _acting(3, DelegationKind.OWNER), [], "invitation.offered"),
        (CHILD, PARENT, _acting(1, PARENT), [], "invitation.offered"),
        (CHILD, PARENT, _acting(2, PARENT), [], "invitation.representatives-max"),
        (CHILD, PARENT, _acting(1, PARENT), _asked(1, kind=PARENT), "invitation.representatives-max"),
        (ADULT, PARENT, [], [], "invitation.no-child"),
        (box(), PARENT, [], [], "invitation.no-child"),
        (CHILD, DelegationKind.OWNER, [], [], "invitation.no-child"),
        (CHILD, DelegationKind.MEMBER, [], [], "invitation.no-child"),
    ],
)  # fmt: skip
def test_who_may_be_invited(
    where: Box, kind: DelegationKind, acting: list[Delegation], asked: list[Invited], rule: str
) -> None:
    decision = may_invite(where, kind, acting, asked, NOW)
    assert decision.rule.name == rule
    assert decision.accepted is (rule == "invitation.offered")


def test_what_was_counted_is_among_the_facts() -> None:
    known = {"box": 4, "taken": 3}
    assert may_invite(ADULT, CAREGIVER, _acting(3), [], NOW).facts == known
    assert may_invite(ADULT, CAREGIVER, _acting(1), _asked(1), NOW).facts == known | {"taken": 2, "kind": "caregiver"}
    parents = _acting(2, PARENT)
    assert may_invite(CHILD, PARENT, parents, [], NOW).facts == known | {"taken": 2}
    offered = may_invite(CHILD, PARENT, parents[:1], [], NOW)
    assert offered.facts == {"box": 4, "kind": "legal-representative", "taken": 1}
    assert may_invite(ADULT, PARENT, [], [], NOW).facts == {"box": 4}
    pending = Invited(CAREGIVER, PENDING, LATER)
    assert may_accept(ADULT, pending, 7, _acting(2), NOW).facts == known | {"taken": 2, "kind": "caregiver"}
    assert may_accept(ADULT, Invited(CAREGIVER, PENDING, NOW), 7, [], NOW).facts == {"box": 4}
    assert may_accept(ADULT, pending, 10, _acting(1), NOW).facts == {"box": 4}


def test_representatives_whose_child_is_of_age_hold_no_place() -> None:
    grown = box(traits=Traits("X", "Y", "20081122", "F"))
    owner = Delegation(7, 4, PARENT)
    assert may_accept(grown, Invited(CAREGIVER, PENDING, LATER), 7, [owner], NOW).rule.name == "invitation.offered"
    at = datetime(2026, 11, 21, 23, 0, tzinfo=UTC)
    assert may_invite(grown, PARENT, [], [], at).rule.name == "invitation.no-child"
    assert may_invite(grown, PARENT, [], [], at - timedelta(seconds=1)).rule.name == "invitation.offered"


def test_a_child_that_comes_of_age_has_no_representative_any_more() -> None:
    assert box(traits=Traits("X", "Y", "20081122", "F")).traits is not None
    today = box(traits=Traits("X", "Y", "20081122", "F"))
    assert may_invite(today, PARENT, [], [], NOW).rule.name == "invitation.no-child"


@pytest.mark.parametrize(
    ("invitation", "acting", "rule"),
    [
        (Invited(CAREGIVER, PENDING, LATER), [], "invitation.offered"),
        (None, [], "invitation.unknown"),
        *((Invited(CAREGIVER, one, LATER), [], "invitation.unknown") for one in InvitationState if one != PENDING),
        (Invited(CAREGIVER, PENDING, NOW), [], "invitation.expired"),
        (Invited(CAREGIVER, PENDING, LATER), [Delegation(7, 4, DelegationKind.OWNER)], "invitation.own"),
        (Invited(CAREGIVER, PENDING, LATER), [Delegation(7, 4, CAREGIVER)], "invitation.own"),
        (Invited(CAREGIVER, PENDING, LATER), [Delegation(7, 4, CAREGIVER, BEFORE)], "invitation.offered"),
        (Invited(CAREGIVER, PENDING, LATER), _acting(2), "invitation.offered"),
        (Invited(CAREGIVER, PENDING, LATER), _acting(3), "invitation.caregivers-max"),
        (Invited(PARENT, PENDING, LATER), _acting(2, PARENT), "invitation.representatives-max"),
        (Invited(PARENT, PENDING, LATER), _acting(1, PARENT), "invitation.offered"),
    ],
)  # fmt: skip
def test_who_may_accept(invitation: Invited | None, acting: list[Delegation], rule: str) -> None:
    decision = may_accept(CHILD, invitation, 7, acting, NOW)
    assert decision.rule.name == rule
    assert decision.accepted is (rule == "invitation.offered")
