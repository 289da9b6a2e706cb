"""The patient's documents: the list, one of them, and who saw or changed what."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from mss.dossier.categories import CATEGORIES
from mss.model.account import DelegationKind
from mss.model.document import DocumentFormat
from mss.services import accesses, governing, records
from mss.services.accesses import Access, Look, Sight
from mss.services.records import OpenedDocument
from mss.web.pages import mark
from mss.webmail.categories import CATEGORY_NAMES
from mss.webmail.letters import give, narrative_frame
from mss.webmail.looking import seen
from mss.webmail.rights import NOTICES
from mss.webmail.room import Guest, Room, number

PER_PAGE: Final = 50
PAGES_MAX: Final = 5000


def page_number(request: Request) -> int:
    """Return which page of a list is asked for, from 1 on."""
    return max(1, min(number(request.query_params.get("page", "1")), PAGES_MAX))


async def listing(room: Room, request: Request, guest: Guest) -> Response:
    """Show a page of the documents, newest first, all or of one category."""
    where = (guest.account_id, guest.box.id, room.clock())
    counts = await seen(room, guest, Look(Sight.DOCUMENTS), await room.store.read(records.shelves, *where))
    asked = request.query_params.get("category", "")
    category = asked if asked in CATEGORIES else ""
    page = page_number(request)
    found = await room.store.read(records.documents, *where, category, (page - 1) * PER_PAGE, PER_PAGE + 1)
    return await room.page(
        request, guest, "documents.html", documents=found[:PER_PAGE], category=category, total=sum(counts.values()),
        count=counts.get(category, 0) if category else sum(counts.values()), number=page, more=len(found) > PER_PAGE,
        categories=[c for c in CATEGORIES if c in counts], names=CATEGORY_NAMES,
    )  # fmt: skip


async def one(room: Room, request: Request, guest: Guest) -> Response:
    """Show a document's facts, and its content where a page can."""
    document_id = number(request.path_params["document"])
    found = await room.store.read(records.look_up, guest.account_id, guest.box.id, document_id, room.clock())
    document = await seen(room, guest, Look(Sight.DOCUMENT, document_id), found)
    whose = (guest.account_id, guest.box.id, document)
    earlier = await room.store.read(records.earlier_version, *whose, room.clock())
    caregiver = guest.access.kind is DelegationKind.CAREGIVER
    return await room.page(
        request,
        guest,
        "document.html",
        document=document,
        earlier=earlier,
        names=CATEGORY_NAMES,
        may_mask=not caregiver,
    )


async def _opened(room: Room, request: Request, guest: Guest) -> OpenedDocument:
    document_id = number(request.path_params["document"])
    opened = await room.store.read(records.open_document, guest.account_id, guest.box.id, document_id, room.clock())
    return await seen(room, guest, Look(Sight.DOCUMENT, document_id), opened)


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
        "conversations.list": mark("List of messages looked at"),
        "conversation.read": mark("Messages opened"),
        "conversation.answer": mark("Message sent"),
        "delivery.attempt": mark("Message passed on to its recipient’s operator"),
        "document.file": mark("Document filed"),
        "document.known": mark("Document received again"),
        "document.unfiled": mark("Document left out of the documents"),
        "attachment.read": mark("Attached file opened"),
        "documents.list": mark("List of documents looked at"),
        "document.read": mark("Document opened"),
        "accesses.read": mark("This list looked at"),
        "rights.read": mark("Rights on the documents looked at"),
        "delegations.read": mark("List of those who act for this mailbox looked at"),
        "dossier.list": mark("List of documents looked at by a professional"),
        "dossier.read": mark("Document opened by a professional"),
        "rights.grant": mark("A professional’s right was set"),
        "rights.withdraw": mark("A professional’s right was taken back"),
        "rights.choose": mark("Choices about the documents changed"),
        "document.mask": mark("Document masked from professionals"),
        "document.unmask": mark("Document shown to professionals again"),
        "invitation.offer": mark("Somebody was invited to act for this mailbox"),
        "invitation.accept": mark("An invitation was accepted"),
        "invitation.refuse": mark("An invitation was refused"),
        "invitation.withdraw": mark("An invitation was taken back"),
        "box.delegate-end": mark("Somebody no longer acts for this mailbox"),
        "box.create": mark("Mailbox created"),
        "box.state": mark("Mailbox opened, closed or opposed"),
        "box.delegate": mark("Somebody was allowed to act for this mailbox"),
        "report.send": mark("Report sent"),
    }
)
# What decided, where it says more than that it was allowed or refused.
RULES_TOLD: Final[Mapping[str, str]] = MappingProxyType(
    {
        "document.author": mark("as its author"),
        "document.care-team": mark("as your care team"),
        "document.consent": mark("with your consent"),
        "document.emergency": mark("in an emergency"),
        "document.blocked": mark("blocked by you"),
        "document.masked": mark("masked"),
        "document.matrix": mark("not for this profession"),
        "document.matrix-unknown": mark("profession not known"),
        "document.no-consent": mark("without your consent"),
        "document.emergency-refused": mark("emergency access refused by you"),
    }
)
OTHER_ACTION: Final = mark("Work of the service on this mailbox")


def who(entry: Access, account_id: int) -> tuple[str, str]:
    """Return who acted: a sentence to translate, and a name to go with it."""
    kind, _, name = entry.record.event.actor.partition(":")
    match kind:
        case "account" if name == str(account_id):
            return mark("You"), ""
        case "account" if entry.name and entry.professional:
            return mark("%(name)s, professional"), entry.name
        case "account" if entry.name:
            return mark("%(name)s, for this mailbox"), entry.name
        case "account":
            return mark("Another person of this mailbox"), ""
        case "peer":
            return mark("The messaging operator %(name)s"), name
        case "system":
            return mark("The service, automatically"), ""
        case _:
            return mark("The operator of this service"), ""


async def accesses_page(room: Room, request: Request, guest: Guest) -> Response:
    """Show a page of who did what in this mailbox and its documents, all or what others did."""
    page, others = page_number(request), request.query_params.get("by") == "others"
    where = (guest.account_id, guest.box.id, (page - 1) * PER_PAGE, PER_PAGE + 1, room.clock())
    asked = await room.store.read(accesses.accesses, *where, others=others)
    found = await seen(room, guest, Look(Sight.ACCESSES), asked)
    rows = [(entry, who(entry, guest.account_id)) for entry in found[:PER_PAGE]]
    notices = await room.store.read(governing.notices, guest.account_id, guest.box.id, room.clock())
    if any(not notice.seen for notice in notices):
        await room.store.write(governing.see_notices, guest.account_id, guest.box.id, room.clock())
    return await room.page(
        request, guest, "accesses.html", rows=rows, actions=ACTIONS, other=OTHER_ACTION, others=others, number=page,
        more=len(found) > PER_PAGE, veil=room.veil(guest), notices=[one for one in notices if not one.seen],
        told=NOTICES, rules_told=RULES_TOLD,
    )  # fmt: skip
