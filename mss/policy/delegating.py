"""Whom a patient may invite to act for their box, and who may accept (MSSANTE.md §4.5).

Up to three caregivers, and a second legal representative for a child. Invitations end by themselves; each is answered
once, by somebody with an account. It keeps nothing: who acts already comes as facts.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from mss.model.account import Box, Delegation, DelegationKind
from mss.model.rights import InvitationState
from mss.policy import access, rules
from mss.policy.decision import Decision, accept, reject

CAREGIVERS_MAX: Final = 3
REPRESENTATIVES_MAX: Final = 2
INVITABLE: Final = frozenset({DelegationKind.CAREGIVER, DelegationKind.LEGAL_REPRESENTATIVE})


@dataclass(frozen=True, slots=True)
class Invited:
    """An invitation as a decision needs it."""

    kind: DelegationKind
    state: InvitationState
    expires_at: datetime

    def pending(self, now: datetime) -> bool:
        """Say whether it waits for an answer still."""
        return self.state is InvitationState.PENDING and now < self.expires_at


def may_invite(
    box: Box, kind: DelegationKind, acting: Iterable[Delegation], invited: Iterable[Invited], now: datetime
) -> Decision:
    """Say whether one more may be invited: those who act and those who were asked count alike."""
    places = sum(one.kind is kind and access.in_force(one, box.traits, now) for one in acting)
    places += sum(one.kind is kind and one.pending(now) for one in invited)
    return _places(box, kind, places, now)


def may_accept(
    box: Box, invitation: Invited | None, account_id: int, acting: Iterable[Delegation], now: datetime
) -> Decision:
    """Say whether an account may accept (or refuse) an invitation."""
    if invitation is None or invitation.state is not InvitationState.PENDING:
        return reject(rules.INVITATION_UNKNOWN)
    if now >= invitation.expires_at:
        return reject(rules.INVITATION_EXPIRED, box=box.id)
    acting = [one for one in acting if access.in_force(one, box.traits, now)]
    if any(one.account_id == account_id for one in acting):
        return reject(rules.INVITATION_OWN, box=box.id)
    return _places(box, invitation.kind, sum(one.kind is invitation.kind for one in acting), now)


def _places(box: Box, kind: DelegationKind, taken: int, now: datetime) -> Decision:
    """Say whether one more place of a kind is free when so many are taken."""
    if kind is DelegationKind.CAREGIVER:
        if taken >= CAREGIVERS_MAX:
            return reject(rules.INVITATION_CAREGIVERS_MAX, box=box.id, taken=taken)
        return accept(rules.INVITATION_OFFERED, box=box.id, kind=kind.value, taken=taken)
    majority = access.of_age_at(box.traits)
    if kind is not DelegationKind.LEGAL_REPRESENTATIVE or majority is None or now >= majority:
        return reject(rules.INVITATION_NO_CHILD, box=box.id)
    if taken >= REPRESENTATIVES_MAX:
        return reject(rules.INVITATION_REPRESENTATIVES_MAX, box=box.id, taken=taken)
    return accept(rules.INVITATION_OFFERED, box=box.id, kind=kind.value, taken=taken)
