"""DocumentReference, Binary and List: read, searched, and provided (PDSM flows 1, 3, 5, 7 and 9)."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import datetime
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from mss.fhir import codes, providing, resources, searching
from mss.fhir.outcome import Json, Refusal, not_found, outcome, refused
from mss.fhir.parameters import Query
from mss.fhir.providing import Provision
from mss.fhir.reading import each, text
from mss.fhir.room import Room, answer
from mss.model.document import Confidentiality, Document
from mss.policy import rules
from mss.policy.access import Action
from mss.policy.decision import Decision
from mss.services import accesses, governing, software
from mss.services.house import Hosted
from mss.services.records import OpenedDocument
from mss.services.software import Caller, Deposit, Provided
from mss.store import Uow

SEARCHED: Final = frozenset({"patient", "patient.identifier", "type", "category", "author", "date", "status", "_count"})
LISTS_SEARCHED: Final = frozenset({"patient", "patient.identifier", "code", "_count"})
_NUMBER_MAX: Final = 12


async def read_record(room: Room, request: Request) -> Response:
    """Return the record of a document."""
    caller = await room.who(request)
    document = await _known(room, request)
    await _noted(room, caller, document)
    names = await room.store.read(searching.names_of, document)
    return answer(resources.document_reference(document, names))


async def update_record(room: Room, request: Request) -> Response:
    """Mask a document from professionals, or show it again, as its patient wants (PDSM flow 2): the label MASQUE_PS.

    All else in a record is its author's, or ours: what differs in it is refused, never dropped in silence.
    """
    caller = await room.who(request)
    document = await _known(room, request)
    record = await room.resource(request)
    seen = await room.store.write(software.note, room.book, caller, document, room.clock())
    decision = await room.store.read(_may_mask, caller, document, room.clock())
    for one in (decision, seen):
        if not one.accepted:
            raise refused(one)
    masked = await room.store.read(_mask_wanted, document, record)
    if masked is not document.masked:
        where = (caller.account.id, document.box_id, document.id, masked, room.clock())
        decision = await room.store.write(governing.mask, *where)
    if not decision.accepted:
        raise refused(decision)
    changed = await _known(room, request)
    names = await room.store.read(searching.names_of, changed)
    return answer(resources.document_reference(changed, names))


def _may_mask(uow: Uow, caller: Caller, document: Document, now: datetime) -> Decision:
    box = uow.accounts.box_by_id(document.box_id)
    return accesses.may(uow, caller.account.id, box, Action.CHANGE_CONFIDENTIALITY, now)


def _mask_wanted(uow: Uow, document: Document, record: Json) -> bool:
    """Return whether a record says that the document is masked; Refusal when it says anything else that is new."""
    known = resources.document_reference(document, searching.names_of(uow, document))
    wanted, labels = _labels(record), _labels(known)
    # What its author masked stays so: the label is in the document.
    fixed = labels if MASKED in document.entry.confidentiality else labels - {MASKED}
    if not fixed <= wanted <= labels | {MASKED} or _written(record) != _written(known):
        raise Refusal(422, "not-supported", "Of a record only the label MASQUE_PS is changed here.")
    return document.masked if MASKED in document.entry.confidentiality else MASKED in wanted


MASKED: Final = Confidentiality.MASKED_FOR_PROFESSIONALS
# What this house writes anew at each change, or what stands elsewhere in the record.
_OURS: Final = frozenset({"meta", "text", "identifier", "securityLabel"})


def _labels(record: Json) -> frozenset[str]:
    given = (text(coding, "code") for label in each(record, "securityLabel") for coding in each(label, "coding"))
    return frozenset(given)


def _written(record: Json) -> Json:
    return {name: value for name, value in record.items() if name not in _OURS}


async def read_binary(room: Room, request: Request) -> Response:
    """Return the octets of a document, as they are or as a resource."""
    caller = await room.who(request)
    async with room.transfers:
        document = await _known(room, request)
        opened = await room.store.read(software.read, room.book, caller, document, room.clock())
        await _noted(room, caller, document)
        if opened is None:
            raise not_found()
        return _octets(request, opened)


def _octets(request: Request, opened: OpenedDocument) -> Response:
    entry = opened.document.entry
    mime_type = entry.mime_type or "application/octet-stream"
    if codes.JSON in request.headers.get("accept", ""):
        return answer(resources.binary(software.document_id(opened.document), mime_type, opened.octets))
    headers = {"Content-Disposition": "attachment", "Content-Security-Policy": "sandbox"}
    return Response(opened.octets, headers=headers, media_type=mime_type)


async def _known(room: Room, request: Request) -> Document:
    document = await room.store.read(software.document_of_id, request.path_params["id"])
    if document is None:
        raise not_found()
    return document


async def _noted(room: Room, caller: Caller, document: Document) -> None:
    decision = await room.store.write(software.note, room.book, caller, document, room.clock())
    if not decision.accepted:
        raise refused(decision)


async def search_records(room: Room, request: Request) -> Response:
    """Search a dossier's documents."""
    caller = await room.who(request)
    query, box_id = await searching.query_of(room, request, caller, "DocumentReference", SEARCHED)
    if box_id is None:
        box_id = await room.store.read(searching.box_asked, room.hosted, query)
    hits = searching.Hits()
    if box_id is not None:
        where = (room.book, caller, box_id, query, room.limits, room.clock())
        hits = await room.store.read(searching.documents_found, *where)
    decision = await room.store.write(software.note_search, room.book, caller, box_id, room.clock())
    return await searching.told(room, request, caller, "DocumentReference", query, hits, decision)


async def search_lists(room: Room, request: Request) -> Response:
    """Search a dossier's submission sets and folders."""
    caller = await room.who(request)
    query, box_id = await searching.query_of(room, request, caller, "List", LISTS_SEARCHED)
    if box_id is None:
        box_id = await room.store.read(searching.box_asked, room.hosted, query)
    hits = searching.Hits()
    if box_id is not None:
        where = (room.book, caller, box_id, query, room.limits, room.clock())
        hits = await room.store.read(searching.lists_found, *where)
    decision = await room.store.write(software.note_search, room.book, caller, box_id, room.clock())
    return await searching.told(room, request, caller, "List", query, hits, decision)


async def read_list(room: Room, request: Request) -> Response:
    """Return a submission set or folder, with what of it the caller may read."""
    caller = await room.who(request)
    name = request.path_params["id"]
    box_id = await room.store.read(_box_of_list, name)
    if box_id is None:
        raise not_found()
    where = (room.book, caller, box_id, Query(), room.limits, room.clock(), name)
    hits = await room.store.read(searching.lists_found, *where)
    decision = await room.store.write(software.note_search, room.book, caller, box_id, room.clock())
    if not hits.found or not decision.accepted:
        raise not_found()
    return answer(hits.found[0])


def _box_of_list(uow: Uow, name: str) -> int | None:
    number, dash, rest = name.partition("-")
    try:
        box_id = int(number, 16) if dash and rest and len(number) <= _NUMBER_MAX else 0
    except ValueError:
        return None
    return box_id if box_id and uow.accounts.box_by_id(box_id) is not None else None


# -- providing -------------------------------------------------------------------------------------------------------


async def transaction(room: Room, request: Request) -> Response:
    """File the documents of a transaction, all of them or none."""
    caller = await _provider(room, request)
    bundle = await room.resource(request)
    if bundle.get("resourceType") != "Bundle":
        raise Refusal(400, "invalid", "What is posted here is a Bundle.")
    async with room.transfers:
        provision = await asyncio.to_thread(providing.read_bundle, bundle, room.limits)
        provided = await _provide(room, caller, provision)
    return answer(_transaction_response(bundle, provided))


async def create_record(room: Room, request: Request) -> Response:
    """File one document whose octets stand in its record."""
    caller = await _provider(room, request)
    record = await room.resource(request)
    async with room.transfers:
        provision = await asyncio.to_thread(providing.read_record, record, room.limits)
        [(document, new)] = (await _provide(room, caller, provision)).documents
    place = f"{room.base(request)}/DocumentReference/{software.document_id(document)}"
    said = outcome(
        "information", "informational", "The document is filed." if new else "The document was filed before."
    )
    return answer(said, 201 if new else 200, Location=place)


async def _provider(room: Room, request: Request) -> Caller:
    """Return who provides, before a large body is read from anybody else."""
    caller = await room.who(request)
    decision = await room.store.read(software.may_provide, caller, room.clock())
    if not decision.accepted:
        await room.store.write(software.provide, room.hosted, caller, Deposit(0, (), ""), room.clock())
        raise refused(decision)
    return caller


async def _provide(room: Room, caller: Caller, provision: Provision) -> Provided:
    box_id = await room.store.read(_box_of, room.hosted, provision) or 0
    deposit = Deposit(box_id, provision.documents, provision.submission)
    for octets in deposit.heavy():
        screened = await room.screen.judge(octets)
        if not screened.accepted:
            # Nothing of what is refused is kept, so nothing heavy goes with the note.
            await room.store.write(
                software.note_refused, caller, replace(deposit, documents=()), screened, room.clock()
            )
            raise refused(screened)
    provided = await room.store.write(software.provide, room.hosted, caller, deposit, room.clock())
    if provided.decision.accepted:
        return provided
    if provided.known_otherwise:
        raise Refusal(
            409, "duplicate", "Another document has this unique id in the dossier.", provided.decision.rule.name
        )
    if provided.reason is not None:
        sentence = f"{provided.reason.code}: {provided.reason.sentence}"
        raise Refusal(422, "business-rule", sentence, provided.decision.rule.name)
    if provided.decision.rule is rules.ACCESS_NONE:
        raise Refusal(
            422, "not-found", "903: the documents name no patient who has a dossier here.", rules.ACCESS_NONE.name
        )
    raise refused(provided.decision)


def _box_of(uow: Uow, hosted: Hosted, provision: Provision) -> int | None:
    if provision.patient_id:
        box = software.box_of_id(uow, provision.patient_id)
    else:
        box = software.box_of_ins(uow, hosted, provision.ins) if provision.ins is not None else None
    return box.id if box is not None else None


def _transaction_response(bundle: Json, provided: Provided) -> Json:
    """Return one answer for each entry, in their order."""
    left = iter(provided.documents)
    entries = []
    for entry in bundle["entry"]:
        kind = entry["resource"]["resourceType"]
        if kind == "DocumentReference":
            document, new = next(left)
            place = f"DocumentReference/{software.document_id(document)}"
            entries.append({"response": {"status": "201 Created" if new else "200 OK", "location": place}})
        else:
            # What only describes or carries the documents gets no address of its own.
            entries.append({"response": {"status": "200 OK"}})
    return {"resourceType": "Bundle", "type": "transaction-response", "entry": entries}
