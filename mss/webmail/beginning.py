"""A message that begins a conversation: to somebody who wrote before, or to a pharmacy (profile `contact`).

Whether it may be sent is decided in the unit that writes. What was typed is kept as a draft until it is sent.
"""

from __future__ import annotations

from typing import Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from mss.services import governing, records, replying, submit
from mss.services.accesses import Look, Sight
from mss.services.records import Beginning, Draft
from mss.services.submit import PatientReply
from mss.web.forms import Form
from mss.web.pages import mark
from mss.webmail import conversations, files, reasons
from mss.webmail.conversations import Problem
from mss.webmail.looking import seen
from mss.webmail.rights import FOUND_MAX, QUERY_MAX_CHARACTERS, query_of
from mss.webmail.room import Guest, Room, go, number

SUBJECT_MAX_CHARACTERS: Final = 200
PATH: Final = "/conversations/new"


async def begin(room: Room, request: Request, guest: Guest) -> Response:
    """Show the form of a new message; keep, drop or send it; choose a pharmacy."""
    if request.method == "POST":
        async with room.uploads:
            form = await room.form(
                request, guest, max_octets=room.body_max_octets, files_max=conversations.FILES_READ_MAX
            )
            return await _change(room, request, guest, form)
    return await _page(room, request, guest)


async def _beginning(room: Room, guest: Guest) -> Beginning:
    asked = await room.store.read(records.beginning, room.hosted, guest.account_id, guest.box.id, room.clock())
    return await seen(room, guest, Look(Sight.CONVERSATIONS), asked)


async def _page(
    room: Room, request: Request, guest: Guest, status: int = 200, problems: tuple[Problem, ...] = ()
) -> Response:
    found = await _beginning(room, guest)
    query = query_of(request.query_params) if request.method == "GET" else None
    searched = () if query is None else await room.store.read(
        governing.marked, guest.box.id, query, FOUND_MAX, room.clock()
    )  # fmt: skip
    chosen = set(found.draft.participants) if found.draft else set()
    chosen |= {int(n) for n in request.query_params.getlist("to") if n.isdecimal() and len(n) < 9}
    return await room.page(
        request, guest, "begin.html", status, found=found, problems=problems, query=query, chosen=chosen,
        pharmacies=[(key, party) for key, party in searched if replying.is_pharmacy(party)],
        reason=None if found.reply.accepted else reasons.why(found.reply), accept=files.ACCEPT,
        subject_max=SUBJECT_MAX_CHARACTERS, text_max=conversations.TEXT_MAX_CHARACTERS, files_max=files.FILES_MAX,
        total_max_octets=room.files_max_octets, max_characters=QUERY_MAX_CHARACTERS,
    )  # fmt: skip


async def _change(room: Room, request: Request, guest: Guest, form: Form) -> Response:
    action, _, value = form.get("do").partition(":")
    match action:
        case "choose":
            return await _choose(room, guest, form, value)
        case "drop":
            await room.store.write(records.drop_draft, guest.account_id, guest.box.id, 0, room.clock())
            return go(PATH, "dropped")
        case "save" | "send" | "remove":
            return await _write(room, request, guest, form, action, value)
        case _:
            raise HTTPException(400)


async def _choose(room: Room, guest: Guest, form: Form, key: str) -> Response:
    """Give a pharmacy of the search a place among those who may be written to."""
    query, now = query_of(dict(form.fields)), room.clock()
    party = None
    if query is not None:
        party = await room.store.read(governing.picked, guest.box.id, query, key, FOUND_MAX, now)
    if party is None:
        raise HTTPException(404)
    chosen = await room.store.write(replying.choose_pharmacy, room.hosted, guest.account_id, guest.box.id, party, now)
    if chosen is None:
        raise HTTPException(404)
    return go(f"{PATH}?to={chosen}", fragment="answer")


async def _write(room: Room, request: Request, guest: Guest, form: Form, action: str, index: str) -> Response:
    found = await _beginning(room, guest)
    kept = list(found.draft.attachments) if found.draft else []
    if action == "remove" and number(index) < len(kept):
        del kept[number(index)]
    attachments, problems = conversations.attached(kept, form.uploads, room.files_max_octets)
    attachments, harmful = await conversations.screened(room, kept, attachments)
    problems += harmful
    numbers = {choice.number for choice in found.choices}
    participants = tuple(sorted({int(n) for n in form.all("to") if n.isdecimal() and len(n) < 9} & numbers))
    text = conversations.clean(form.get("text"))
    subject = " ".join(conversations.clean(form.get("subject")).split())[:SUBJECT_MAX_CHARACTERS]
    draft = Draft(text[: conversations.TEXT_MAX_CHARACTERS], participants, tuple(attachments), room.clock(), subject)
    if action == "send":
        problems += conversations.unfit(draft)
        problems += [] if subject else [Problem("subject", mark("Say in a few words what it is about."), {})]
    if action == "send" and not problems:
        return await _send(room, request, guest, draft)
    await room.store.write(records.save_draft, guest.account_id, guest.box.id, 0, draft, room.clock())
    if problems:
        return await _page(room, request, guest, 422, tuple(problems))
    return go(PATH, "removed" if action == "remove" else "saved")


async def _send(room: Room, request: Request, guest: Guest, draft: Draft) -> Response:
    key = (guest.account_id, guest.box.id, 0, conversations.fingerprint(draft))
    if not room.sent.first(*key):
        return go("/conversations", "sent")
    letter = PatientReply(0, draft.text, draft.participants, draft.attachments, draft.subject)
    try:
        decision, _ = await room.store.write(
            submit.reply, room.hosted, room.outside(), guest.account_id, guest.box.id, letter, room.clock()
        )
    except BaseException:
        room.sent.forget(*key)
        raise
    if decision.accepted:
        return go("/conversations", "sent")
    room.sent.forget(*key)
    await room.store.write(records.save_draft, guest.account_id, guest.box.id, 0, draft, room.clock())
    return await _page(room, request, guest, 422, (Problem("answer", reasons.why(decision).headline, {}),))
