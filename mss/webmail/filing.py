"""The pages on which a patient files by hand: a file of a letter, or a clinical document that did not file itself.

Whether a document may be filed is decided by `services.filing`, in the unit that writes; here it is shown before.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from mss.dossier.categories import DEPOSIT_TYPES, category_of
from mss.model.document import AttachedDocument
from mss.model.filing import FilingReason
from mss.policy.decision import Decision
from mss.services import filing, records
from mss.services.filing import Accepted, FilingWish, OwnFile
from mss.web.forms import Form
from mss.web.pages import mark
from mss.webmail import files, reasons
from mss.webmail.categories import CATEGORY_NAMES
from mss.webmail.conversations import Problem
from mss.webmail.letters import came_from, document_of, file_of
from mss.webmail.reasons import Remedy
from mss.webmail.room import Guest, Room, go

TITLE_MAX_CHARACTERS: Final = 150
FOLDER_MAX_CHARACTERS: Final = 60
EARLIEST: Final = date(1900, 1, 1)


@dataclass(frozen=True, slots=True)
class Wish:
    """The fields of the filing form, as typed."""

    title: str
    day: str
    folder: str
    category: str


@dataclass(frozen=True, slots=True)
class _Source:
    """A file to be filed: where it comes from, and what its form is filled with at first."""

    email_id: int
    name: str
    octets: bytes
    first: Wish


async def file_away(room: Room, request: Request, guest: Guest) -> Response:
    """Ask for title, date, folder and category of a file, then put it among the documents."""
    email_id, file, octets = await file_of(room, request, guest)
    stem = file.name.rpartition(".")[0] or file.name
    first = Wish(stem[:TITLE_MAX_CHARACTERS], room.today().isoformat(), "", "")
    return await _file_away(room, request, guest, _Source(email_id, file.name, octets, first))


async def _file_away(room: Room, request: Request, guest: Guest, source: _Source) -> Response:
    if request.method != "POST":
        return await _filing_page(room, request, guest, source, source.first)
    typed = _typed(await room.form(request, guest))
    wish_or_problems = read_wish(typed, room.today())
    if isinstance(wish_or_problems, tuple):
        return await _filing_page(room, request, guest, source, typed, wish_or_problems)
    screened = await room.screen.judge(source.octets)
    if not screened.accepted:
        return await _filing_page(room, request, guest, source, typed, _refused(screened, "title"))
    own = OwnFile(source.email_id, source.octets, source.name, wish_or_problems)
    where = (room.hosted, guest.account_id, guest.box.id)
    decision, document = await room.store.write(filing.file_attachment, *where, own, room.clock())
    if document is None:
        return await _filing_page(room, request, guest, source, typed, _refused(decision, "title"))
    return go(f"/documents/{document.id}", "filed")


def _typed(form: Form) -> Wish:
    return Wish(form.get("title").strip(), form.get("date").strip(), form.get("folder").strip(), form.get("category"))


def _refused(decision: Decision, field: str) -> tuple[Problem, ...]:
    return (Problem(field, reasons.why(decision).headline, {}),)


async def _filing_page(
    room: Room,
    request: Request,
    guest: Guest,
    source: _Source,
    wish: Wish,
    problems: tuple[Problem, ...] = (),
) -> Response:
    too_large = len(source.octets) > room.limits.filing_max_octets
    unfit = too_large or files.kind_of(source.octets) is None
    folders = await room.store.read(records.folders, guest.account_id, guest.box.id, room.clock())
    return await room.page(
        request, guest, "file.html", 422 if problems else 200, file_name=source.name, wish=wish, problems=problems,
        unfit=unfit, categories=tuple(DEPOSIT_TYPES), names=CATEGORY_NAMES, folders=folders,
        conversation=came_from(request), max_octets=room.limits.filing_max_octets, today=room.today().isoformat(),
        title_max=TITLE_MAX_CHARACTERS, folder_max=FOLDER_MAX_CHARACTERS, size_octets=len(source.octets),
    )  # fmt: skip


def read_wish(typed: Wish, today: date) -> FilingWish | tuple[Problem, ...]:
    """Return what was typed as a wish, or what is wrong with it."""
    problems = []
    if not typed.title:
        problems.append(Problem("title", mark("Give the document a title."), {}))
    if len(typed.title) > TITLE_MAX_CHARACTERS or not typed.title.isprintable():
        problems.append(Problem("title", mark("The title is too long."), {}))
    day = _day(typed.day)
    if day is None or not EARLIEST <= day <= today:
        problems.append(Problem("date", mark("Give the document's date: a day in the past, or today."), {}))
    problems += _misplaced(typed)
    if problems or day is None:
        return tuple(problems)
    return FilingWish(typed.title, day, typed.folder, typed.category)


def _misplaced(typed: Wish) -> list[Problem]:
    """Say what is wrong with the folder and the category."""
    problems = []
    if len(typed.folder) > FOLDER_MAX_CHARACTERS or not typed.folder.isprintable():
        problems.append(Problem("folder", mark("The folder's name is too long."), {}))
    if typed.category not in DEPOSIT_TYPES:
        problems.append(Problem("category", mark("Choose a category."), {}))
    return problems


def _day(text: str) -> date | None:
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None


# -- clinical documents ----------------------------------------------------------------------------------------------


async def file_document(room: Room, request: Request, guest: Guest) -> Response:
    """File a clinical document that did not file itself: accepted as it came, or its readable twin as a file."""
    email_id, held, document = await document_of(room, request, guest)
    reason = held.filing.get(document.entry.unique_id, FilingReason.DAMAGED)
    remedy = reasons.remedy(reason, document)
    twin = document.companion_pdf
    if remedy is Remedy.TWIN and twin is not None:
        return await _file_away(room, request, guest, _twin(room, email_id, document, twin))
    if remedy is not Remedy.ACCEPT or request.method != "POST":
        return await _accepting_page(room, request, guest, document, reason, _first_wish(room, document))
    typed = _typed(await room.form(request, guest))
    problems = tuple(_misplaced(typed))
    if problems:
        return await _accepting_page(room, request, guest, document, reason, typed, problems)
    accepted = Accepted(email_id, document, typed.folder, typed.category)
    where = (guest.account_id, guest.box.id)
    decision, filed = await room.store.write(filing.accept_document, *where, accepted, room.clock())
    if filed is None:
        refused = _refused(decision, "category")
        return await _accepting_page(room, request, guest, document, reason, typed, refused)
    return go(f"/documents/{filed.id}", "filed")


def _first_wish(room: Room, document: AttachedDocument) -> Wish:
    entry = document.entry
    day = entry.created_at.astimezone(room.zone).date() if entry.created_at else room.today()
    category = category_of(entry.type_code)
    title = (entry.title or entry.type_label)[:TITLE_MAX_CHARACTERS]
    return Wish(title, min(day, room.today()).isoformat(), "", category if category in DEPOSIT_TYPES else "")


def _twin(room: Room, email_id: int, document: AttachedDocument, octets: bytes) -> _Source:
    first = _first_wish(room, document)
    return _Source(email_id, f"{first.title or 'document'}.pdf", octets, first)


async def _accepting_page(
    room: Room,
    request: Request,
    guest: Guest,
    document: AttachedDocument,
    reason: FilingReason,
    wish: Wish,
    problems: tuple[Problem, ...] = (),
) -> Response:
    folders = await room.store.read(records.folders, guest.account_id, guest.box.id, room.clock())
    return await room.page(
        request, guest, "accept.html", 422 if problems else 200, entry=document.entry, wish=wish, problems=problems,
        unfiled=reasons.UNFILED.get(reason, reasons.UNFILED[FilingReason.DAMAGED]),
        remedy=reasons.remedy(reason, document), categories=tuple(DEPOSIT_TYPES), names=CATEGORY_NAMES,
        folders=folders, conversation=came_from(request), folder_max=FOLDER_MAX_CHARACTERS,
        born=_day(document.entry.patient.traits.birth_date),
    )  # fmt: skip
