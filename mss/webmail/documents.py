"""The patient's documents: the list, one of them, and who saw or changed what."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from mss.dossier.categories import CATEGORIES
from mss.model.audit import AuditRecord
from mss.model.document import Document, DocumentFormat
from mss.services import records
from mss.services.records import OpenedDocument
from mss.web.pages import mark
from mss.webmail.categories import CATEGORY_NAMES
from mss.webmail.letters import give, narrative_frame
from mss.webmail.room import Guest, Room, number

ACCESSES_SHOWN_MAX: Final = 200


async def _all(room: Room, guest: Guest) -> tuple[Document, ...]:
    return await room.store.read(records.documents, guest.account_id, guest.box.id, room.clock())


async def listing(room: Room, request: Request, guest: Guest) -> Response:
    """Show the documents, newest first, all or of one category."""
    documents = await _all(room, guest)
    present = {document.category for document in documents}
    category = request.query_params.get("category", "")
    shown = [d for d in documents if d.category == category] if category in CATEGORIES else list(documents)
    return await room.page(
        request, guest, "documents.html", documents=shown, category=category, total=len(documents),
        categories=[c for c in CATEGORIES if c in present], names=CATEGORY_NAMES,
    )  # fmt: skip


async def one(room: Room, request: Request, guest: Guest) -> Response:
    """Show a document's facts, and its content where a page can."""
    document = await _known(room, request, guest)
    return await room.page(request, guest, "document.html", document=document, names=CATEGORY_NAMES)


async def _known(room: Room, request: Request, guest: Guest) -> Document:
    document_id = number(request.path_params["document"])
    document = next((d for d in await _all(room, guest) if d.id == document_id), None)
    if document is None:
        raise HTTPException(404)
    return document


async def _opened(room: Room, request: Request, guest: Guest) -> OpenedDocument:
    """Open a document: the access is written down in the same unit of work."""
    document_id = number(request.path_params["document"])
    opened = await room.store.write(records.open_document, guest.account_id, guest.box.id, document_id, room.clock())
    if opened is None:
        raise HTTPException(404)
    return opened


async def page(room: Room, request: Request, guest: Guest) -> Response:
    """Give a clinical document's narrative, for a frame."""
    opened = await _opened(room, request, guest)
    if opened.document.entry.format is not DocumentFormat.CDA:
        raise HTTPException(404)
    return await narrative_frame(room, request, guest, opened.octets)


async def content(room: Room, request: Request, guest: Guest) -> Response:
    """Show a document in the browser where that is safe: its readable twin when it has one."""
    opened = await _opened(room, request, guest)
    return give(_name(opened, twin=True), opened.companion_pdf or opened.octets, inline=True)


async def original(room: Room, request: Request, guest: Guest) -> Response:
    """Give a document to be saved, as it was filed."""
    opened = await _opened(room, request, guest)
    return give(_name(opened, twin=False), opened.octets, inline=False)


def _name(opened: OpenedDocument, *, twin: bool) -> str:
    title = opened.document.entry.title or "document"
    if twin and opened.companion_pdf is not None:
        return f"{title}.pdf"
    return f"{title}.xml" if opened.document.entry.format is DocumentFormat.CDA else title


# What the journal's words mean to a patient; other words are told as what they are: work of the service.
ACTIONS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "letter.accept": mark("Message received"),
        "letter.refuse": mark("Message that was not delivered"),
        "conversation.read": mark("Messages opened"),
        "conversation.answer": mark("Message sent"),
        "delivery.attempt": mark("Message passed on to its recipient’s operator"),
        "document.file": mark("Document filed"),
        "document.known": mark("Document received again"),
        "document.unfiled": mark("Document left out of the documents"),
        "document.read": mark("Document opened"),
        "box.create": mark("Mailbox created"),
        "box.state": mark("Mailbox opened, closed or opposed"),
        "box.delegate": mark("Somebody was allowed to act for this mailbox"),
        "report.send": mark("Report sent"),
    }
)
# What only repeats another entry in the words of the store.
_REPEATED: Final = frozenset({"conversation.letter", "letter.flags"})
OTHER_ACTION: Final = mark("Work of the service on this mailbox")


def who(record: AuditRecord, account_id: int) -> tuple[str, str]:
    """Return who acted: a sentence to translate, and a name to go with it."""
    kind, _, name = record.event.actor.partition(":")
    match kind:
        case "account":
            return (mark("You"), "") if name == str(account_id) else (mark("Another person of this mailbox"), "")
        case "peer":
            return mark("The messaging operator %(name)s"), name
        case "system":
            return mark("The service, automatically"), ""
        case _:
            return mark("The operator of this service"), ""


async def accesses(room: Room, request: Request, guest: Guest) -> Response:
    """Show who did what in this mailbox and its documents."""
    found = await room.store.read(records.accesses, guest.box.id, ACCESSES_SHOWN_MAX, room.clock())
    titles = {f"document:{d.id}": d.entry.title for d in await _all(room, guest)}
    rows = [
        (record, who(record, guest.account_id), titles.get(record.event.target, ""))
        for record in found
        if record.event.action not in _REPEATED
    ]
    return await room.page(
        request, guest, "accesses.html", rows=rows, actions=ACTIONS, other=OTHER_ACTION, shown_max=ACCESSES_SHOWN_MAX
    )
