"""Who acts for a patient's box: invitations with a code and an end, accepted or refused; rights taken back (§4.5).

The code is shown once, to the person who invites, and handed over by them: nobody is looked up by name or login. What
may be is said by `policy.delegating`.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from mss.model.account import Account, Box, Delegation, DelegationKind
from mss.model.audit import AuditEvent
from mss.model.rights import InvitationState, NoticeKind
from mss.policy import access, delegating, rules
from mss.policy.access import Action
from mss.policy.decision import Decision, reject
from mss.policy.delegating import Invited
from mss.services import accounts, attesting
from mss.services.accesses import may
from mss.store import Uow
from mss.store.rights import Invitation

# Without letters and digits that look alike: somebody reads it out. 60 bits.
_ALPHABET: Final = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"
_GROUPS, _GROUP = 3, 4
_SHOWN_MAX: Final = 50
NAME_MAX_CHARACTERS: Final = 100


@dataclass(frozen=True, slots=True)
class Acting:
    """Somebody who acts for a box, and until when."""

    account: Account
    kind: DelegationKind
    ends_at: datetime | None


@dataclass(frozen=True, slots=True)
class Delegations:
    """Who acts for a box now, and who was asked."""

    acting: tuple[Acting, ...]
    invited: tuple[Invitation, ...]


def of_box(uow: Uow, account_id: int, box_id: int, now: datetime) -> Delegations | None:
    """Return who acts for a box besides its owner, and the newest invitations; None when the account may not know."""
    box = uow.accounts.box_by_id(box_id)
    if box is None or not may(uow, account_id, box, Action.MANAGE_DELEGATIONS, now).accepted:
        return None
    acting = tuple(
        Acting(account, right.kind, access.ends_at(right, box.traits))
        for account, right in uow.accounts.delegations_on(box_id)
        if right.kind is not DelegationKind.OWNER and access.in_force(right, box.traits, now)
    )
    return Delegations(acting, uow.rights.invitations(box_id, _SHOWN_MAX))


def invite(
    uow: Uow, account_id: int, box_id: int, kind: DelegationKind, name: str, lasts: timedelta, now: datetime
) -> tuple[Decision, str]:
    """Invite somebody, known to the one who invites by a name; returns the code to hand over (empty when refused)."""
    box = uow.accounts.box_by_id(box_id)
    decision = may(uow, account_id, box, Action.MANAGE_DELEGATIONS, now)
    if box is None or not decision.accepted:
        return decision, ""
    acting = [right for _, right in uow.accounts.delegations_on(box_id)]
    decision = delegating.may_invite(box, kind, acting, map(_invited, uow.rights.invitations(box_id, _SHOWN_MAX)), now)
    if not decision.accepted:
        return decision, ""
    code = "-".join("".join(secrets.choice(_ALPHABET) for _ in range(_GROUP)) for _ in range(_GROUPS))
    number = uow.rights.invite(box_id, kind, name[:NAME_MAX_CHARACTERS], _plain(code), now, now + lasts)
    _note(uow, account_id, box_id, "invitation.offer", number, decision, kind, now)
    return decision, code


def _plain(code: str) -> str:
    """Return a code as it is kept: people write it with and without hyphens, large and small."""
    return "".join(c for c in code.upper() if c in _ALPHABET)[: _GROUPS * _GROUP + 1]


def _invited(invitation: Invitation) -> Invited:
    return Invited(invitation.kind, invitation.state, invitation.expires_at)


@dataclass(frozen=True, slots=True)
class Offer:
    """An invitation as the one invited sees it: on whose behalf they would act, and as what."""

    box: Box
    kind: DelegationKind
    expires_at: datetime


def look_at(uow: Uow, account_id: int, code: str, now: datetime) -> tuple[Decision, Offer | None]:
    """Return what an invitation offers to an account; None with the rule that forbids it."""
    decision, box, found = _judged(uow, account_id, code, now)
    if box is None or found is None or not decision.accepted:
        return decision, None
    return decision, Offer(box, found.kind, found.expires_at)


def _judged(uow: Uow, account_id: int, code: str, now: datetime) -> tuple[Decision, Box | None, Invitation | None]:
    found = uow.rights.invitation(_plain(code))
    box = uow.accounts.box_by_id(found.box_id) if found is not None else None
    if found is None or box is None:
        return reject(rules.INVITATION_UNKNOWN), None, None
    acting = [right for _, right in uow.accounts.delegations_on(box.id)]
    return delegating.may_accept(box, _invited(found), account_id, acting, now), box, found


def answer(uow: Uow, account_id: int, code: str, accepts: bool, now: datetime) -> Decision:
    """Accept or refuse an invitation, once; the person who invited is told in the webmail."""
    decision, box, found = _judged(uow, account_id, code, now)
    if box is None or found is None or not decision.accepted:
        return decision
    state = InvitationState.ACCEPTED if accepts else InvitationState.REFUSED
    uow.rights.answer(box.id, found.id, state, account_id, now)
    if accepts:
        actor = f"account:{account_id}"
        accounts.delegate(uow, Delegation(account_id, box.id, found.kind, None, now), actor, now)
        if found.kind is DelegationKind.CAREGIVER:
            attesting.attest(uow, box, account_id, found, now)
        uow.rights.notify(box.id, NoticeKind.DELEGATION_ACCEPTED, found.name, now, hook=False)
    _note(
        uow, account_id, box.id, "invitation.accept" if accepts else "invitation.refuse", found.id, decision, None, now
    )
    return decision


def withdraw(uow: Uow, account_id: int, box_id: int, invitation_id: int, now: datetime) -> Decision:
    """Take an invitation back that was not answered yet."""
    decision = may(uow, account_id, uow.accounts.box_by_id(box_id), Action.MANAGE_DELEGATIONS, now)
    if decision.accepted and uow.rights.answer(box_id, invitation_id, InvitationState.WITHDRAWN, None, now):
        _note(uow, account_id, box_id, "invitation.withdraw", invitation_id, decision, None, now)
    return decision


def end(uow: Uow, account_id: int, box_id: int, other_id: int, now: datetime) -> Decision:
    """Take somebody's right to act for a box back; anybody may give their own right back."""
    box = uow.accounts.box_by_id(box_id)
    own = account_id == other_id
    decision = may(uow, account_id, box, Action.READ_LETTERS if own else Action.MANAGE_DELEGATIONS, now)
    kinds = {right.kind for right in uow.accounts.delegations_to(other_id, box_id)}
    if decision.accepted and kinds and DelegationKind.OWNER not in kinds:
        accounts.end_delegation(uow, other_id, box_id, f"account:{account_id}", now)
    return decision


def _note(
    uow: Uow,
    account_id: int,
    box_id: int,
    action: str,
    number: int,
    decision: Decision,
    kind: DelegationKind | None,
    now: datetime,
) -> None:
    facts = {} if kind is None else {"kind": kind.value}
    verdict, rule = decision.verdict.value, decision.rule.name
    event = AuditEvent(f"account:{account_id}", action, f"invitation:{number}", verdict, rule, box_id, facts)
    uow.journal.write(event, now)
