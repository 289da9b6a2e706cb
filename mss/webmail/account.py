"""The account's own pages: open sessions, another mailbox, the directory of professionals."""

from __future__ import annotations

from typing import Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from mss.model.party import Party
from mss.services import accounts, operators
from mss.services.accounts import WebSession
from mss.services.operators import DirectoryQuery
from mss.webmail.room import Guest, Room, go, number

QUERY_MAX_CHARACTERS: Final = 100
_MARK_CHARACTERS: Final = 16


def session_mark(session: WebSession) -> str:
    """Return what stands for a session in a form: too short a piece of the hash to be worth anything."""
    return session.token_hash[:_MARK_CHARACTERS]


async def sessions(room: Room, request: Request, guest: Guest) -> Response:
    """Show the open sessions of the account; close one, or all others."""
    own = guest.visit.session
    live = await room.store.read(accounts.sessions, guest.account_id, room.clock())
    if request.method != "POST":
        return await room.page(
            request, guest, "sessions.html", sessions=live, own=own, mark=session_mark,
            idle_minutes=room.config.webmail.session_idle_s // 60,
        )  # fmt: skip
    form = await room.form(request, guest)
    others = [session for session in live if session.token_hash != own.token_hash]
    wanted = form.get("session")
    closing = others if wanted == "others" else [s for s in others if session_mark(s) == wanted]
    for session in closing:
        await room.store.write(accounts.close_session, session.token_hash, room.clock())
    return go("/sessions", "others-closed" if wanted == "others" else "closed" if closing else "")


async def change_box(room: Room, request: Request, guest: Guest) -> Response:
    """Look at another mailbox that the account may act for."""
    form = await room.form(request, guest)
    box_id = number(form.get("other"))
    if all(access.box.id != box_id for access in guest.visit.boxes):
        raise HTTPException(404)
    response = go("/conversations", "box")
    await room.sessions.renew(response, guest.visit.session, box_id=box_id, second_factor_done=True)
    return response


async def directory(room: Room, request: Request, guest: Guest) -> Response:
    """Search professionals by name, profession and town; their addresses are not shown."""
    query = DirectoryQuery(*(request.query_params.get(name, "").strip() for name in ("name", "profession", "town")))
    asked = any((query.text, query.profession, query.town))
    too_long = max(len(query.text), len(query.profession), len(query.town)) > QUERY_MAX_CHARACTERS
    found: tuple[Party, ...] = ()
    if asked and not too_long:
        limit = room.limits.search_results_max
        found = await room.store.read(operators.search, query, limit + 1, room.clock())
    return await room.page(
        request, guest, "directory.html", 422 if too_long else 200, query=query, asked=asked, too_long=too_long,
        found=found[: room.limits.search_results_max], more=len(found) > room.limits.search_results_max,
        max_characters=QUERY_MAX_CHARACTERS,
    )  # fmt: skip
