"""What hangs on a letter: its laid-out form, its files, the clinical documents in it.

A letter as it came is never given: its headers hold professional addresses.
"""

from __future__ import annotations

import asyncio
from typing import Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from mss.errors import Malformed
from mss.model.document import AttachedDocument
from mss.services import records
from mss.services.accesses import Look, Sight
from mss.services.records import HeldLetter
from mss.webmail import files, markup, narrative, viewer
from mss.webmail.files import Kind
from mss.webmail.looking import seen
from mss.webmail.room import Guest, Room, number
from mss.webmail.viewer import FileView

# A page in a frame: no scripts, no forms, no other place asked; links open beside, without telling where from.
FRAME_POLICY: Final = (
    "sandbox allow-popups allow-popups-to-escape-sandbox; default-src 'none'; img-src data:; style-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
)
# A file alone: the browser's own viewer needs its styles; the octets are of a kind that runs nothing.
FILE_POLICY: Final = "default-src 'none'; img-src 'self'; object-src 'self'; style-src 'unsafe-inline'; sandbox"
PDF_POLICY: Final = FILE_POLICY.removesuffix("; sandbox")


async def _letter(room: Room, request: Request, guest: Guest) -> tuple[int, HeldLetter]:
    """Return a letter to look into; who calls notes what was looked at."""
    email_id = number(request.path_params["letter"])
    held = await room.store.read(records.letter_octets, guest.account_id, guest.box.id, email_id, room.clock())
    if held is None:
        # It may be refused, not missing: that is noted.
        await seen(room, guest, Look(Sight.ATTACHMENT, email_id), held)
        raise HTTPException(404)
    return email_id, held


async def layout(room: Room, request: Request, guest: Guest) -> Response:
    """Give a letter's laid-out form, harmless, for a frame."""
    _, held = await _letter(room, request, guest)
    safe = await asyncio.to_thread(_harmless, held.octets, room, guest)
    # A part of the conversation's page: the same look.
    body, asks = await seen(room, guest, Look(Sight.CONVERSATION, held.conversation_id), safe)
    return frame(room, request, guest, body, notice=asks)


def _harmless(octets: bytes, room: Room, guest: Guest) -> tuple[str, bool] | None:
    found = viewer.layout_of(octets, room.limits)
    if found is None:
        return None
    written, pictures = found
    return room.veil(guest)(markup.harmless(written, pictures)), markup.asks_outside(written)


def frame(room: Room, request: Request, guest: Guest, body: str, *, notice: bool = False) -> Response:
    """Return a page for a sandboxed frame."""
    response = room.draw(request, "frame.html", guest.locale, body=body, notice=notice)
    response.headers.update(
        {"Content-Security-Policy": FRAME_POLICY, "X-Frame-Options": "SAMEORIGIN", "Referrer-Policy": "no-referrer"}
    )
    return response


async def file_of(room: Room, request: Request, guest: Guest) -> tuple[int, FileView, bytes]:
    """Return a letter's number, one of its files, and the file's octets; the look is noted."""
    email_id, held = await _letter(room, request, guest)
    asked = (held.octets, request.path_params["part"])
    found = await asyncio.to_thread(viewer.file_of, *asked, room.limits, room.veil(guest))
    look = Look(Sight.ATTACHMENT, email_id, found[0].number if found else "")
    return email_id, *await seen(room, guest, look, found)


async def view_file(room: Room, request: Request, guest: Guest) -> Response:
    """Show a file in the browser where that is safe, else give it to be saved."""
    _, file, octets = await file_of(room, request, guest)
    return give(file.name, octets, inline=True)


async def download_file(room: Room, request: Request, guest: Guest) -> Response:
    """Give a file to be saved, as it came."""
    _, file, octets = await file_of(room, request, guest)
    return give(file.name, octets, inline=False)


def give(name: str, octets: bytes, *, inline: bool) -> Response:
    """Return octets under the type that they are of; shown inside the browser only when that can do no harm."""
    kind = files.kind_of(octets)
    inline = inline and kind is not None and kind.in_browser
    mime_type = kind.value if kind else "application/octet-stream"
    headers = {
        "Content-Disposition": files.content_disposition(files.safe_name(name), inline=inline),
        "Content-Security-Policy": PDF_POLICY if kind is Kind.PDF else FILE_POLICY,
        "Content-Type": f"{mime_type}; charset={_charset(octets)}" if kind is Kind.TEXT else mime_type,
    }
    return Response(octets, headers=headers)


def _charset(octets: bytes) -> str:
    try:
        octets.decode("utf-8")
    except UnicodeDecodeError:
        return "windows-1252"
    return "utf-8"


async def _document(room: Room, request: Request, guest: Guest) -> AttachedDocument:
    return (await document_of(room, request, guest))[2]


async def document_of(room: Room, request: Request, guest: Guest) -> tuple[int, HeldLetter, AttachedDocument]:
    """Return a letter's number, the letter, and one of its clinical documents; the look is noted."""
    email_id, held = await _letter(room, request, guest)
    documents = await asyncio.to_thread(viewer.clinical_documents, held.octets, room.limits)
    index = number(request.path_params["index"])
    found = documents[index] if index < len(documents) else None
    look = Look(Sight.ATTACHMENT, email_id, f"document-{index}" if found else "")
    return email_id, held, await seen(room, guest, look, found)


async def view_document(room: Room, request: Request, guest: Guest) -> Response:
    """Show a clinical document of a letter as a page."""
    document = await _document(room, request, guest)
    base = request.url.path
    return await room.page(
        request, guest, "clinical.html", entry=document.entry, frame=f"{base}/page", download=f"{base}/original",
        pdf=f"{base}/pdf" if document.companion_pdf else "", conversation=came_from(request),
        problem=document.defect,
    )  # fmt: skip


def came_from(request: Request) -> str:
    """Return the number of the conversation to go back to; empty without one."""
    text = request.query_params.get("conversation", "")
    return text if text.isascii() and text.isdecimal() else ""


async def document_page(room: Room, request: Request, guest: Guest) -> Response:
    """Give the narrative of a clinical document, for a frame."""
    document = await _document(room, request, guest)
    return await narrative_frame(room, request, guest, document.octets)


async def narrative_frame(room: Room, request: Request, guest: Guest, octets: bytes) -> Response:
    """Return a CDA's narrative as a page for a frame; a sentence when there is none."""
    try:
        body = await asyncio.to_thread(narrative.sections_html, octets, room.limits)
    except Malformed:
        body = ""
    return frame(room, request, guest, body)


async def document_original(room: Room, request: Request, guest: Guest) -> Response:
    """Give a clinical document to be saved, as it came."""
    document = await _document(room, request, guest)
    return give(f"{document.entry.title or 'document'}.xml", document.octets, inline=False)


async def document_pdf(room: Room, request: Request, guest: Guest) -> Response:
    """Show the readable twin of a clinical document."""
    document = await _document(room, request, guest)
    if document.companion_pdf is None:
        raise HTTPException(404)
    return give(f"{document.entry.title or 'document'}.pdf", document.companion_pdf, inline=True)
