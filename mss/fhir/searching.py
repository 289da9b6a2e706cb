"""A search of documents, submission sets and folders, and its pages by links that only we can read.

A page that holds fewer than `_count`, with a link to the next one, looked through all that one request may.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from mss.config import Limits
from mss.fhir import parameters, resources
from mss.fhir.outcome import Json, Refusal, outcome
from mss.fhir.parameters import PATIENT_IDENTIFIER, Query
from mss.fhir.resources import Names
from mss.fhir.room import Room, answer
from mss.model.document import Document
from mss.model.party import BoxKind
from mss.policy import rules
from mss.policy.decision import Decision
from mss.services import software
from mss.services.house import Hosted
from mss.services.rights import Book
from mss.services.software import Caller
from mss.store import Uow

PAGE: Final = "_page"
_PAGE_MAX_CHARACTERS: Final = 8000
_NOTHING: Final = "There is nothing here that you may read for this purpose."
# Rules that speak of the dossier, or of who asks. The others would tell of a document that is hidden.
_TOLD: Final = frozenset({
    rules.ACCESS_NONE.name, rules.ACCESS_WRONG_KIND.name, rules.ACCESS_EXPIRED.name, rules.ACCESS_BOX_CLOSED.name,
    rules.ACCESS_MAJORITY.name, rules.ACCESS_CAREGIVER.name, rules.DOCUMENT_BLOCKED.name,
    rules.DOCUMENT_MATRIX_UNKNOWN.name, rules.DOCUMENT_NO_CONSENT.name, rules.DOCUMENT_EMERGENCY_REFUSED.name,
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Hits:
    """What a search found: resources, where the search goes on, and whose dossier it was."""

    found: tuple[Json, ...] = ()
    next_offset: int | None = None
    box_id: int | None = None
    patient: str = ""


async def query_of(
    room: Room, request: Request, caller: Caller, resource: str, known: frozenset[str]
) -> tuple[Query, int | None]:
    """Return the search that was asked for, and the box when a link to a next page says it."""
    posted = request.method == "POST"
    pairs = parameters.pairs_of(await room.form(request) if posted else request.url.query, room.limits)
    names = {name for name, _ in pairs}
    if posted and request.url.query:
        raise Refusal(400, "invalid", "The parameters of a POST stand in its body.")
    if not posted and PATIENT_IDENTIFIER in names:
        raise Refusal(400, "security", "A matricule never stands in a URL: POST it to _search, in the body.")
    if PAGE in names:
        if posted or len(pairs) != 1:
            raise Refusal(400, "invalid", "A link to a page is followed as it is.")
        return await _go_on(room, caller, resource, pairs[0][1])
    query = parameters.read(pairs, known, room.limits)
    if bool(query.patient) == (query.ins is not None):
        raise Refusal(400, "required", "Say whose dossier: patient, or patient.identifier in the body of POST _search.")
    return query, None


async def _go_on(room: Room, caller: Caller, resource: str, written: str) -> tuple[Query, int | None]:
    facts = await room.store.read(_unsealed, written)
    now = room.clock().timestamp()
    if facts is None or facts["resource"] != resource or facts["account"] != caller.account.id or now > facts["until"]:
        raise Refusal(410, "expired", "This link does not work or no longer does: begin the search again.")
    return parameters.load(facts["query"]), facts["box"]


def _unsealed(uow: Uow, written: str) -> dict[str, Any] | None:
    try:
        if len(written) > _PAGE_MAX_CHARACTERS or not written.isascii():
            return None
        sealed = base64.urlsafe_b64decode(written + "=" * (-len(written) % 4))
    except (binascii.Error, ValueError):
        return None
    return software.unseal_page(uow, sealed)


def _sealed(uow: Uow, facts: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(software.seal_page(uow, facts)).rstrip(b"=").decode()


def box_asked(uow: Uow, hosted: Hosted, query: Query) -> int | None:
    """Return the box of the patient whom a search names; None when we have no such."""
    if query.ins is not None:
        box = software.box_of_ins(uow, hosted, query.ins)
    else:
        box = software.box_of_id(uow, query.patient)
    return box.id if box is not None and box.kind is BoxKind.PATIENT else None


# -- in one unit of work ---------------------------------------------------------------------------------------------


def names_of(uow: Uow, document: Document) -> Names:
    """Return the ids under which software knows a document and what it belongs to."""
    older = uow.dossiers.by_unique_id(document.box_id, document.entry.replaces) if document.entry.replaces else None
    return Names(
        software.document_id(document),
        software.patient_id(uow, document.box_id),
        software.set_id(uow, document),
        software.folder_id(uow, document),
        software.document_id(older) if older is not None and not older.masked else "",
    )


def documents_found(
    uow: Uow, book: Book, caller: Caller, box_id: int, query: Query, limits: Limits, now: datetime
) -> Hits:
    """Return a page of DocumentReferences."""
    page = (query.offset, query.count)
    found = software.search(uow, book, caller, box_id, query.wanted, page, limits, now)
    shown = tuple(resources.document_reference(one, names_of(uow, one)) for one in found.documents)
    return Hits(shown, found.next_offset, box_id, software.patient_id(uow, box_id))


def lists_found(
    uow: Uow, book: Book, caller: Caller, box_id: int, query: Query, limits: Limits, now: datetime, only: str = ""
) -> Hits:
    """Return the submission sets and folders of the newest documents that the caller may read; `only` one of them.

    Folders are the patient's own words: professionals are shown the sets alone.
    """
    page = (0, limits.fhir_looked_through_max)
    readable = software.search(uow, book, caller, box_id, query.wanted, page, limits, now).documents
    lists: dict[str, list[tuple[Document, str]]] = {}
    for document in readable:
        sets = software.set_id(uow, document)
        folder = "" if caller.professional is not None else software.folder_id(uow, document)
        for name in filter(
            None, (sets if query.kind != "folder" else "", folder if query.kind != "submissionset" else "")
        ):
            lists.setdefault(name, []).append((document, software.document_id(document)))
    patient = software.patient_id(uow, box_id)
    chosen = [name for name in lists if not only or name == only]
    end = query.offset + query.count
    shown = tuple(resources.list_of(name, patient, lists[name]) for name in chosen[query.offset : end])
    return Hits(shown, end if len(chosen) > end else None, box_id, patient)


# -- answers ---------------------------------------------------------------------------------------------------------


async def told(
    room: Room, request: Request, caller: Caller, resource: str, query: Query, hits: Hits, decision: Decision
) -> Response:
    """Answer a search whose look is on disk; nothing found is explained as far as that tells of nothing hidden."""
    base = room.base(request)
    found: Sequence[Json] = hits.found if decision.accepted else ()
    said = None
    if not found:
        name = decision.rule.name if not decision.accepted and decision.rule.name in _TOLD else ""
        text = decision.rule.text if name else ""
        said = outcome("information" if decision.accepted else "warning", "suppressed", text or _NOTHING, name)
    links = {"self": f"{base}/{resource}"}
    if decision.accepted and hits.next_offset is not None:
        going_on = replace(query, offset=hits.next_offset)
        until = room.clock().timestamp() + room.limits.fhir_page_valid_s
        facts = {
            "resource": resource, "account": caller.account.id, "box": hits.box_id, "until": until,
            "query": parameters.dump(going_on),
        }  # fmt: skip
        links["next"] = f"{base}/{resource}?{PAGE}={await room.store.read(_sealed, facts)}"
    return answer(resources.searchset(base, found, links, said))
