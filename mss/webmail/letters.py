"""What hangs on a letter: its laid-out form, its files, the clinical documents in it, and filing one of them.

A letter as it came is never given: its headers hold professional addresses.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import date
from typing import Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from mss.dossier.categories import DEPOSIT_TYPES
from mss.errors import Malformed
from mss.model.document import AttachedDocument
from mss.services import records
from mss.services.records import FilingWish
from mss.web.pages import mark
from mss.webmail import files, markup, narrative, reasons, viewer
from mss.webmail.categories import CATEGORY_NAMES
from mss.webmail.conversations import Problem
from mss.webmail.files import Kind
from mss.webmail.room import Guest, Room, go, number
from mss.webmail.viewer import FileView

TITLE_MAX_CHARACTERS: Final = 150
FOLDER_MAX_CHARACTERS: Final = 60
EARLIEST: Final = date(1900, 1, 1)

# A page in a frame: no scripts, no forms, no other place asked; links open beside, without telling where from.
FRAME_POLICY: Final = (
    "sandbox allow-popups allow-popups-to-escape-sandbox; default-src 'none'; img-src data:; style-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
)
# A file alone: the browser's own viewer needs its styles; the octets are of a kind that runs nothing.
FILE_POLICY: Final = "default-src 'none'; img-src 'self'; object-src 'self'; style-src 'unsafe-inline'; sandbox"
PDF_POLICY: Final = FILE_POLICY.removesuffix("; sandbox")


async def _octets(room: Room, request: Request, guest: Guest) -> tuple[int, bytes]:
    email_id = number(request.path_params["letter"])
    octets = await room.store.read(records.letter_octets, guest.account_id, guest.box.id, email_id, room.clock())
    if octets is None:
        raise HTTPException(404)
    return email_id, octets


async def layout(room: Room, request: Request, guest: Guest) -> Response:
    """Give a letter's laid-out form, harmless, for a frame."""
    _, octets = await _octets(room, request, guest)
    safe = await asyncio.to_thread(_harmless, octets, room, guest)
    if safe is None:
        raise HTTPException(404)
    body, asks = safe
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


async def _file(room: Room, request: Request, guest: Guest) -> tuple[int, FileView, bytes]:
    email_id, octets = await _octets(room, request, guest)
    found = await asyncio.to_thread(viewer.file_of, octets, request.path_params["part"], room.limits, room.veil(guest))
    if found is None:
        raise HTTPException(404)
    return email_id, *found


async def view_file(room: Room, request: Request, guest: Guest) -> Response:
    """Show a file in the browser where that is safe, else give it to be saved."""
    _, file, octets = await _file(room, request, guest)
    return give(file.name, octets, inline=True)


async def download_file(room: Room, request: Request, guest: Guest) -> Response:
    """Give a file to be saved, as it came."""
    _, file, octets = await _file(room, request, guest)
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
    _, octets = await _octets(room, request, guest)
    documents = await asyncio.to_thread(viewer.clinical_documents, octets, room.limits)
    index = number(request.path_params["index"])
    if index >= len(documents):
        raise HTTPException(404)
    return documents[index]


async def view_document(room: Room, request: Request, guest: Guest) -> Response:
    """Show a clinical document of a letter as a page."""
    document = await _document(room, request, guest)
    base = request.url.path
    return await room.page(
        request, guest, "clinical.html", entry=document.entry, frame=f"{base}/page", download=f"{base}/original",
        pdf=f"{base}/pdf" if document.companion_pdf else "", conversation=_came_from(request),
        problem=document.defect,
    )  # fmt: skip


def _came_from(request: Request) -> str:
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


@dataclass(frozen=True, slots=True)
class Wish:
    """The fields of the filing form, as typed."""

    title: str
    day: str
    folder: str
    category: str


async def file_away(room: Room, request: Request, guest: Guest) -> Response:
    """Ask for title, date, folder and category of a file, then put it among the documents."""
    email_id, file, octets = await _file(room, request, guest)
    if request.method != "POST":
        stem = file.name.rpartition(".")[0] or file.name
        wish = Wish(stem[:TITLE_MAX_CHARACTERS], room.today().isoformat(), "", "")
        return await _filing_page(room, request, guest, file, octets, wish)
    form = await room.form(request, guest)
    typed = Wish(form.get("title").strip(), form.get("date").strip(), form.get("folder").strip(), form.get("category"))
    wish_or_problems = _read_wish(typed, room.today())
    if isinstance(wish_or_problems, tuple):
        return await _filing_page(room, request, guest, file, octets, typed, wish_or_problems)
    decision, document = await room.store.write(
        records.file_attachment, room.hosted, guest.account_id, guest.box.id, email_id, file.number, octets,
        file.name, wish_or_problems, room.clock(),
    )  # fmt: skip
    if document is None:
        why = Problem("title", reasons.why(decision).headline, {})
        return await _filing_page(room, request, guest, file, octets, typed, (why,))
    return go(f"/documents/{document.id}", "filed")


async def _filing_page(
    room: Room,
    request: Request,
    guest: Guest,
    file: FileView,
    octets: bytes,
    wish: Wish,
    problems: tuple[Problem, ...] = (),
) -> Response:
    too_large = len(octets) > room.limits.filing_max_octets
    unfit = too_large or files.kind_of(octets) is None
    documents = await room.store.read(records.documents, guest.account_id, guest.box.id, room.clock())
    folders = sorted({document.folder for document in documents if document.folder})
    return await room.page(
        request, guest, "file.html", 422 if problems else 200, file=file, wish=wish, problems=problems, unfit=unfit,
        categories=tuple(DEPOSIT_TYPES), names=CATEGORY_NAMES, folders=folders[:100], conversation=_came_from(request),
        max_octets=room.limits.filing_max_octets, today=room.today().isoformat(), title_max=TITLE_MAX_CHARACTERS,
        folder_max=FOLDER_MAX_CHARACTERS, size_octets=len(octets),
    )  # fmt: skip


def _read_wish(typed: Wish, today: date) -> FilingWish | tuple[Problem, ...]:
    problems = []
    if not typed.title:
        problems.append(Problem("title", mark("Give the document a title."), {}))
    if len(typed.title) > TITLE_MAX_CHARACTERS or not typed.title.isprintable():
        problems.append(Problem("title", mark("The title is too long."), {}))
    day = _day(typed.day)
    if day is None or not EARLIEST <= day <= today:
        problems.append(Problem("date", mark("Give the document's date: a day in the past, or today."), {}))
    if len(typed.folder) > FOLDER_MAX_CHARACTERS or not typed.folder.isprintable():
        problems.append(Problem("folder", mark("The folder's name is too long."), {}))
    if typed.category not in DEPOSIT_TYPES:
        problems.append(Problem("category", mark("Choose a category."), {}))
    if problems or day is None:
        return tuple(problems)
    return FilingWish(typed.title, day, typed.folder, typed.category)


def _day(text: str) -> date | None:
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None
