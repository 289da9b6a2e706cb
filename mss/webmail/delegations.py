"""Children and caregivers: who acts for a mailbox, invitations given and received, rights taken and given back."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from types import MappingProxyType
from typing import Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from mss.model.account import DelegationKind
from mss.policy.decision import Decision
from mss.services import delegations
from mss.services.accesses import Look, Sight
from mss.services.delegations import NAME_MAX_CHARACTERS, Offer
from mss.web.forms import Form
from mss.web.pages import mark
from mss.webmail import reasons
from mss.webmail.conversations import Problem
from mss.webmail.looking import seen
from mss.webmail.room import Guest, Room, go, number

KINDS: Final[Mapping[str, str]] = MappingProxyType(
    {
        DelegationKind.CAREGIVER.value: mark("Caregiver"),
        DelegationKind.LEGAL_REPRESENTATIVE.value: mark("Legal representative"),
        DelegationKind.OWNER.value: mark("Owner"),
    }
)
STATES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "pending": mark("Waiting for an answer"),
        "accepted": mark("Accepted"),
        "refused": mark("Refused"),
        "withdrawn": mark("Taken back"),
        "expired": mark("Expired"),
    }
)
_CODE_MAX_CHARACTERS: Final = 40


async def page(room: Room, request: Request, guest: Guest) -> Response:
    """Show who acts for this mailbox and what was offered; invite, answer, take back."""
    if request.method == "POST":
        return await _change(room, request, guest, await room.form(request, guest))
    return await _draw(room, request, guest)


async def _draw(
    room: Room,
    request: Request,
    guest: Guest,
    status: int = 200,
    *,
    problems: tuple[Problem, ...] = (),
    code: str = "",
    offer: Offer | None = None,
    offered: str = "",
    whom: str = "",
) -> Response:
    found = await room.store.read(delegations.of_box, guest.account_id, guest.box.id, room.clock())
    if found is not None:
        await seen(room, guest, Look(Sight.DELEGATIONS), found)
    return await room.page(
        request, guest, "delegations.html", status, found=found, problems=problems, code=code, offer=offer,
        offered=offered, whom=whom, kinds=KINDS, states=STATES, now=room.clock(), name_max=NAME_MAX_CHARACTERS,
        code_max=_CODE_MAX_CHARACTERS, invitation_days=room.config.policy.invitation_days,
    )  # fmt: skip


async def _change(room: Room, request: Request, guest: Guest, form: Form) -> Response:
    action, _, value = form.get("do").partition(":")
    where, now = (guest.account_id, guest.box.id), room.clock()
    match action:
        case "invite":
            return await _invite(room, request, guest, form)
        case "look":
            decision, offer = await room.store.read(delegations.look_at, guest.account_id, _code(form), now)
            problems = () if offer is not None else (_problem("code", decision),)
            status = 200 if offer is not None else 422
            return await _draw(room, request, guest, status, problems=problems, offer=offer, offered=_code(form))
        case "accept" | "refuse":
            accepts = action == "accept"
            decision = await room.store.write(delegations.answer, guest.account_id, _code(form), accepts, now)
            return await _answer(room, request, guest, decision, "code", "accepted" if accepts else "refused")
        case "withdraw":
            decision = await room.store.write(delegations.withdraw, *where, number(value), now)
            return await _answer(room, request, guest, decision, "invite", "withdrawn")
        case "end":
            decision = await room.store.write(delegations.end, *where, number(value), now)
            return await _answer(room, request, guest, decision, "invite", "withdrawn")
        case "leave":
            decision = await room.store.write(delegations.end, guest.account_id, number(value), guest.account_id, now)
            return await _answer(room, request, guest, decision, "code", "left")
        case _:
            raise HTTPException(400)


async def _invite(room: Room, request: Request, guest: Guest, form: Form) -> Response:
    """Make an invitation and show its code, once."""
    name, kind = " ".join(form.get("name").split())[:NAME_MAX_CHARACTERS], form.get("kind")
    if not name or "@" in name:
        sentence = mark("Write the name of the person whom you invite.")
        return await _draw(room, request, guest, 422, problems=(Problem("name", sentence, {}),))
    if kind not in KINDS:
        raise HTTPException(400)
    lasts = timedelta(days=room.config.policy.invitation_days)
    decision, code = await room.store.write(
        delegations.invite, guest.account_id, guest.box.id, DelegationKind(kind), name, lasts, room.clock()
    )
    if not decision.accepted:
        return await _draw(room, request, guest, 422, problems=(_problem("name", decision),))
    return await _draw(room, request, guest, code=code, whom=name)


def _code(form: Form) -> str:
    return form.get("code")[:_CODE_MAX_CHARACTERS]


def _problem(field: str, decision: Decision) -> Problem:
    return Problem(field, reasons.why(decision).headline, {})


async def _answer(room: Room, request: Request, guest: Guest, decision: Decision, field: str, done: str) -> Response:
    if decision.accepted:
        return go("/delegations", done)
    return await _draw(room, request, guest, 422, problems=(_problem(field, decision),))
