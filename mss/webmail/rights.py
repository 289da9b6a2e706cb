"""Who may see my documents: blocks, care team, consents, emergency switches, masks; and whether I take messages at all.

The pages show and pass on; what may be set is decided in the unit that writes.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from mss.dossier.categories import CATEGORIES
from mss.model.account import BoxState
from mss.model.rights import Grantee, GrantKind, NoticeKind, Switch
from mss.policy.decision import Decision
from mss.services import accounts, governing
from mss.services.accesses import Look, Sight
from mss.services.governing import Choices, Wish
from mss.services.operators import DirectoryQuery
from mss.web.forms import Form
from mss.web.pages import mark
from mss.webmail import reasons
from mss.webmail.categories import CATEGORY_NAMES
from mss.webmail.conversations import Problem
from mss.webmail.looking import seen
from mss.webmail.room import Guest, Room, go, number

QUERY_MAX_CHARACTERS: Final = 100
FOUND_MAX: Final = 20
KINDS: Final[Mapping[str, str]] = MappingProxyType(
    {
        GrantKind.BLOCK.value: mark("Block: this professional sees nothing"),
        GrantKind.CARE_TEAM.value: mark("Care team: may see my documents until I take it back"),
        GrantKind.EACH_TIME.value: mark("This time only: may see my documents for a short while"),
    }
)
SWITCHES: Final[Mapping[str, str]] = MappingProxyType(
    {
        Switch.REGULATION.value: mark("The emergency medical service (SAMU, 15) may see my documents"),
        Switch.BREAK_GLASS.value: mark("Other professionals may see my documents in an emergency"),
        Switch.MASKED.value: mark("In an emergency, masked documents may be seen too"),
    }
)
NOTICES: Final[Mapping[str, str]] = MappingProxyType(
    {
        NoticeKind.EMERGENCY_ACCESS.value: mark("%(name)s opened your documents in an emergency."),
        NoticeKind.FIRST_ACCESS.value: mark("%(name)s opened your documents for the first time."),
        NoticeKind.DELEGATION_ACCEPTED.value: mark("%(name)s accepted your invitation and can act for you."),
    }
)


def query_of(values: Mapping[str, str]) -> DirectoryQuery | None:
    """Return what is searched for in the directory; None when nothing is, or too much."""
    texts = tuple(values.get(name, "").strip() for name in ("name", "profession", "town"))
    if not any(texts) or max(map(len, texts)) > QUERY_MAX_CHARACTERS:
        return None
    return DirectoryQuery(*texts)


async def rights(room: Room, request: Request, guest: Guest) -> Response:
    """Show who may see the documents, and change it."""
    if request.method == "POST":
        form = await room.form(request, guest)
        return await _change(room, request, guest, form)
    return await _page(room, request, guest, query_of(request.query_params))


async def _page(
    room: Room,
    request: Request,
    guest: Guest,
    query: DirectoryQuery | None,
    status: int = 200,
    problems: tuple[Problem, ...] = (),
) -> Response:
    asked = await room.store.read(governing.page, room.book, guest.account_id, guest.box.id, room.clock())
    page = await seen(room, guest, Look(Sight.RIGHTS), asked)
    found = () if query is None else await room.store.read(
        governing.marked, guest.box.id, query, FOUND_MAX, room.clock()
    )  # fmt: skip
    return await room.page(
        request, guest, "rights.html", status, rights=page.rights, known=page.known, found=found, query=query,
        kinds=KINDS, switches=SWITCHES, categories=CATEGORIES, names=CATEGORY_NAMES, problems=problems,
        asks_again=page.asks_again, max_characters=QUERY_MAX_CHARACTERS, veil=room.veil(guest),
        consent_hours=room.config.policy.consent_hours,
    )  # fmt: skip


async def _change(room: Room, request: Request, guest: Guest, form: Form) -> Response:
    action, _, value = form.get("do").partition(":")
    where = (guest.account_id, guest.box.id)
    match action:
        case "withdraw":
            decision = await room.store.write(governing.withdraw, *where, number(value), room.clock())
            return await _answer(room, request, guest, decision, "withdrawn")
        case "choose":
            permits = frozenset(switch for switch in Switch if switch.value in form.all("permits"))
            choices = Choices(permits, form.get("default_mask") == "yes", form.get("notify") == "yes")
            decision = await room.store.write(governing.choose, *where, choices, room.clock())
            return await _answer(room, request, guest, decision, "chosen")
        case "name":
            return await _name(room, request, guest, form)
        case _:
            raise HTTPException(400)


async def _name(room: Room, request: Request, guest: Guest, form: Form) -> Response:
    """Block a professional, or let them see documents."""
    query = query_of(dict(form.fields))
    grantee = await _grantee(room, guest, form.get("who"), query)
    if grantee is None:
        sentence = mark("Choose a professional.")
        return await _page(room, request, guest, query, 422, (Problem("who", sentence, {}),))
    if form.get("kind") not in KINDS:
        sentence = mark("Choose what this professional may do.")
        return await _page(room, request, guest, query, 422, (Problem("kind", sentence, {}),))
    categories = frozenset(one for one in form.all("category") if one in CATEGORIES)
    wish = Wish(GrantKind(form.get("kind")), grantee, categories)
    decision = await room.store.write(
        governing.set_grant, room.book, guest.account_id, guest.box.id, wish, room.clock()
    )
    return await _answer(room, request, guest, decision, "named")


async def _grantee(room: Room, guest: Guest, who: str, query: DirectoryQuery | None) -> Grantee | None:
    """Return whom the form names: somebody who wrote (a number), or an entry of the search (a mark)."""
    kind, _, value = who.partition(":")
    if kind == "contact":
        return await room.store.read(governing.contact_named, guest.box.id, number(value))
    if kind != "entry" or query is None:
        return None
    party = await room.store.read(governing.picked, guest.box.id, query, value, FOUND_MAX, room.clock())
    return None if party is None else governing.grantee_of(party)


async def _answer(room: Room, request: Request, guest: Guest, decision: Decision, done: str) -> Response:
    if decision.accepted:
        return go("/rights", done)
    problem = Problem("rights", reasons.why(decision).headline, {})
    return await _page(room, request, guest, None, 422, (problem,))


async def mask(room: Room, request: Request, guest: Guest) -> Response:
    """Mask a document from professionals, or show it again."""
    form = await room.form(request, guest)
    document_id = number(request.path_params["document"])
    masked = form.get("do") == "mask"
    decision = await room.store.write(governing.mask, guest.account_id, guest.box.id, document_id, masked, room.clock())
    if not decision.accepted:
        raise HTTPException(404)
    return go(f"/documents/{document_id}", "masked" if masked else "unmasked")


async def mailbox(room: Room, request: Request, guest: Guest) -> Response:
    """Say that no messages are wanted any more, or that they are again."""
    if request.method == "POST":
        form = await room.form(request, guest)
        wanted = BoxState.OPEN if form.get("do") == "reopen" else BoxState.OPPOSED
        decision = await room.store.write(
            accounts.oppose_or_reopen, guest.account_id, guest.box.id, wanted, room.clock()
        )
        if not decision.accepted:
            problem = Problem("oppose", reasons.why(decision).headline, {})
            return await room.page(request, guest, "mailbox.html", 422, problems=(problem,))
        return go("/mailbox", "reopened" if wanted is BoxState.OPEN else "opposed")
    return await room.page(request, guest, "mailbox.html")
