"""Conversations: the list, one of them, and the answer with its draft.

Whether an answer may be sent is decided by the policy in the unit that writes; here it is shown before anybody types.
"""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass
from typing import Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from mss.model.conversation import Which
from mss.policy.decision import Decision
from mss.services import records, submit
from mss.services.accesses import Look, Sight
from mss.services.records import Draft, Thread, ThreadLetter
from mss.services.submit import Attachment, PatientReply
from mss.web.forms import Form, TooLarge, Upload
from mss.web.pages import mark, size
from mss.webmail import files, reasons, viewer
from mss.webmail.looking import key_of, seen
from mss.webmail.room import Guest, Room, go, number
from mss.webmail.veil import Veil
from mss.webmail.viewer import LetterView

PER_PAGE: Final = 50
PAGES_MAX: Final = 5000
SKIP_MAX: Final = 1_000_000
TEXT_MAX_CHARACTERS: Final = 20_000
# More files than may be sent are read, so that it can be said which ones were left out.
FILES_READ_MAX: Final = 100


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with a field: the id of the field, and a sentence with its values."""

    field: str
    sentence: str
    values: dict[str, str | int]


async def listing(room: Room, request: Request, guest: Guest) -> Response:
    """Show a page of the conversations, newest first."""
    page = max(1, min(number(request.query_params.get("page", "1")), PAGES_MAX))
    show = request.query_params.get("show", "")
    which = Which(show) if show in tuple(Which) else Which.ALL
    where = (guest.account_id, guest.box.id, (page - 1) * PER_PAGE, PER_PAGE + 1)
    asked = await room.store.read(records.conversations, *where, room.clock(), which)
    found = await seen(room, guest, Look(Sight.CONVERSATIONS), asked)
    return await room.page(
        request, guest, "conversations.html", conversations=found[:PER_PAGE], number=page, more=len(found) > PER_PAGE,
        which=which.value, veil=room.veil(guest), begins=room.config.policy.profile == "contact",
    )  # fmt: skip


async def one(room: Room, request: Request, guest: Guest) -> Response:
    """Show a conversation and mark its letters as read."""
    fetched_ahead = "prefetch" in request.headers.get("sec-purpose", "")
    thread = await _thread(room, request, guest, opens=not fetched_ahead)
    return await _page(room, request, guest, thread)


async def _thread(room: Room, request: Request, guest: Guest, *, opens: bool = False) -> Thread:
    """Return the conversation and note that it was looked at; when it `opens`, its letters on the page become read."""
    conversation_id = number(request.path_params["conversation"])
    skip = min(number(request.query_params.get("skip", "0")), SKIP_MAX)
    where = (room.hosted, guest.account_id, guest.box.id, conversation_id)
    thread = await room.store.read(records.thread, *where, room.clock(), skip)
    look = Look(Sight.CONVERSATION, conversation_id)
    fresh = [letter.email_id for letter in thread.letters if letter.unread] if thread is not None else []
    marked = await room.store.write(records.mark_read, *where, room.clock(), fresh) if opens and fresh else 0
    if marked:
        room.noted.add(key_of(guest, look))
    return await seen(room, guest, look, thread)


async def _page(
    room: Room,
    request: Request,
    guest: Guest,
    thread: Thread,
    status: int = 200,
    problems: tuple[Problem, ...] = (),
) -> Response:
    veil = room.veil(guest)
    letters = await asyncio.to_thread(_looked_at, thread.letters, room, veil)
    draft = thread.draft
    chosen = set(draft.participants) if draft else {choice.number for choice in thread.choices if choice.default}
    first_unread = next((letter.email_id for letter, _ in letters if letter.unread), None)
    return await room.page(
        request, guest, "thread.html", status, thread=thread, letters=letters, draft=draft, chosen=chosen,
        unfiled=reasons.UNFILED, remedy=reasons.remedy, reason=reasons.why_no_answer(thread), problems=problems,
        veil=veil, total_max_octets=room.files_max_octets, accept=files.ACCEPT, text_max=TEXT_MAX_CHARACTERS,
        files_max=files.FILES_MAX, first_unread=first_unread, idle_minutes=room.config.webmail.session_idle_s // 60,
        subject=veil(thread.conversation.subject), skipped=thread.newer,
    )  # fmt: skip


def _looked_at(letters: tuple[ThreadLetter, ...], room: Room, veil: Veil) -> list[tuple[ThreadLetter, LetterView]]:
    return [(letter, viewer.look(letter.octets, room.limits, veil)) for letter in letters]


async def answer(room: Room, request: Request, guest: Guest) -> Response:
    """Keep, change, drop or send the draft of a conversation: the buttons of one form."""
    async with room.uploads:
        try:
            form = await room.form(request, guest, max_octets=room.body_max_octets, files_max=FILES_READ_MAX)
        except TooLarge as error:
            if not any(name == "text" for name, _ in error.form.fields):
                raise
            return await _too_large(room, request, guest, error.form)
        thread = await _thread(room, request, guest)
        action, _, index = form.get("do").partition(":")
        match action:
            case "drop":
                await room.store.write(
                    records.drop_draft, guest.account_id, guest.box.id, thread.conversation.id, room.clock()
                )
                return go(_path(thread), "dropped")
            case "remove" | "save" | "send":
                return await _write(room, request, guest, thread, form, action, index)
            case _:
                raise HTTPException(400)


async def _too_large(room: Room, request: Request, guest: Guest, form: Form) -> Response:
    """Keep what was typed, and say that the files did not come along."""
    thread = await _thread(room, request, guest)
    draft, problems = _draft_of(room, thread, form, list(thread.draft.attachments) if thread.draft else [])
    await _keep(room, guest, thread, draft)
    values: dict[str, str | int] = {"size": size(room.files_max_octets, guest.locale)}
    problems.append(Problem("files", mark("The files were not added: together they are larger than %(size)s."), values))
    return await _page(room, request, guest, await _thread(room, request, guest), 413, tuple(problems))


def _draft_of(room: Room, thread: Thread, form: Form, attachments: list[Attachment]) -> tuple[Draft, list[Problem]]:
    """Return what was typed and chosen as a draft, and what is wrong with it."""
    numbers = {choice.number for choice in thread.choices}
    participants = tuple(sorted({int(n) for n in form.all("to") if n.isdecimal() and len(n) < 9} & numbers))
    text = clean(form.get("text"))
    draft = Draft(text[:TEXT_MAX_CHARACTERS], participants, tuple(attachments), room.clock())
    if len(text) <= TEXT_MAX_CHARACTERS:
        return draft, []
    too_long = mark("The message is longer than %(max)s characters.")
    return draft, [Problem("text", too_long, {"max": TEXT_MAX_CHARACTERS})]


async def _write(
    room: Room, request: Request, guest: Guest, thread: Thread, form: Form, action: str, index: str
) -> Response:
    kept = list(thread.draft.attachments) if thread.draft else []
    if action == "remove" and number(index) < len(kept):
        del kept[number(index)]
    attachments, problems = attached(kept, form.uploads, room.files_max_octets)
    attachments, harmful = await screened(room, kept, attachments)
    problems += harmful
    draft, too_long = _draft_of(room, thread, form, attachments)
    problems += too_long
    if action == "send":
        problems += unfit(draft)
    if action == "send" and not problems:
        return await _send(room, request, guest, thread, draft)
    await _keep(room, guest, thread, draft)
    if problems:
        return await _page(room, request, guest, await _thread(room, request, guest), 422, tuple(problems))
    return go(_path(thread), "removed" if action == "remove" else "saved", "answer")


def unfit(draft: Draft) -> list[Problem]:
    """Return what is missing in a draft that is to be sent."""
    problems = []
    if not draft.participants:
        problems.append(Problem("to", mark("Choose at least one person to write to."), {}))
    if not draft.text.strip() and not draft.attachments:
        problems.append(Problem("text", mark("Write a message, or attach a file."), {}))
    return problems


async def _keep(room: Room, guest: Guest, thread: Thread, draft: Draft) -> None:
    await room.store.write(
        records.save_draft, guest.account_id, guest.box.id, thread.conversation.id, draft, room.clock()
    )


async def _send(room: Room, request: Request, guest: Guest, thread: Thread, draft: Draft) -> Response:
    """Send the draft once; when it is refused, keep it and show why."""
    key = (guest.account_id, guest.box.id, thread.conversation.id, fingerprint(draft))
    if not room.sent.first(*key):
        return go(_path(thread), "sent")
    reply = PatientReply(thread.conversation.id, draft.text, draft.participants, draft.attachments)
    try:
        decision, _ = await room.store.write(
            submit.reply, room.hosted, room.outside(), guest.account_id, guest.box.id, reply, room.clock()
        )
    except BaseException:
        room.sent.forget(*key)
        raise
    if decision.accepted:
        return go(_path(thread), "sent")
    room.sent.forget(*key)
    await _keep(room, guest, thread, draft)
    problems = _refused(thread, decision)
    return await _page(room, request, guest, await _thread(room, request, guest), 422, problems)


def _refused(thread: Thread, decision: Decision) -> tuple[Problem, ...]:
    """Say who cannot be written to, when it is one of those chosen, and why."""
    names = [choice.name for choice in thread.choices if choice.number == decision.facts.get("participant")]
    field = "to" if names else "answer"
    whom = mark("Nothing was sent: %(name)s cannot be written to now.")
    return (
        *(Problem(field, whom, {"name": name}) for name in names),
        Problem(field, reasons.why(decision).headline, {}),
    )


def attached(
    kept: list[Attachment], uploads: tuple[Upload, ...], total_max_octets: int
) -> tuple[list[Attachment], list[Problem]]:
    """Return the draft's files with the new ones that may go, and what is wrong with the others."""
    attachments, problems = list(kept), []
    for upload in uploads:
        problem = _wrong_with(upload, attachments, total_max_octets)
        if problem is None:
            kind = files.kind_of(upload.octets)
            assert kind is not None
            attachments.append(Attachment(files.safe_name(upload.name, kind), kind.value, upload.octets))
        else:
            values: dict[str, str | int] = {"file": files.safe_name(upload.name), "max": files.FILES_MAX}
            problems.append(Problem("files", problem, values))
    return attachments, problems


async def screened(
    room: Room, kept: list[Attachment], attachments: list[Attachment]
) -> tuple[list[Attachment], list[Problem]]:
    """Return the files that may be kept, and why new ones may not: the antivirus looks before anything is stored."""
    good, problems = list(kept), []
    for one in attachments[len(kept) :]:
        decision = await room.screen.judge(one.octets)
        if decision.accepted:
            good.append(one)
        else:
            problems.append(Problem("files", reasons.why(decision).headline, {}))
    return good, problems


def _wrong_with(upload: Upload, attachments: list[Attachment], total_max_octets: int) -> str | None:
    if not upload.octets:
        return mark("“%(file)s” is empty.")
    if files.kind_of(upload.octets) is None:
        return mark("“%(file)s” is of a kind that cannot be sent.")
    if len(attachments) >= files.FILES_MAX:
        return mark("“%(file)s” was not added: %(max)s files are the most.")
    if sum(len(one.octets) for one in attachments) + len(upload.octets) > total_max_octets:
        return mark("“%(file)s” was not added: together the files would be too large.")
    return None


def clean(text: str) -> str:
    """Return a text as typed, with plain line ends and without control characters."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return "".join(c for c in text if c in "\n\t" or c.isprintable() or c in "\u200c\u200d\ufe0f").rstrip()


def fingerprint(draft: Draft) -> str:
    """Return what makes two drafts the same."""
    digest = hashlib.sha256(draft.text.encode("utf-8", "surrogatepass"))
    for attachment in draft.attachments:
        digest.update(hashlib.sha256(attachment.octets).digest())
    return digest.hexdigest()


def _path(thread: Thread) -> str:
    return f"/conversations/{thread.conversation.id}"
