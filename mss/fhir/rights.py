"""AuditEvent and Consent: who saw what, and what a patient lets others do (MSSANTE.md §4.7).

A patient and those who may act for one read and write them here as in the webmail; professionals do not.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from mss.dossier.categories import CATEGORIES
from mss.fhir import codes, resources, searching
from mss.fhir.outcome import Json, Refusal, invalid, not_found, outcome, refused
from mss.fhir.parameters import Query
from mss.fhir.reading import at, each, few, moment, text
from mss.fhir.room import Room, answer
from mss.fhir.searching import Hits
from mss.model.rights import Grantee, GrantKind, Switch
from mss.policy.access import Action
from mss.policy.decision import Decision
from mss.services import accesses, governing, software
from mss.services.accesses import Look, Sight
from mss.services.governing import Choices, Wish
from mss.services.rights import Book, rights_of
from mss.services.software import Caller
from mss.store import Uow

SEARCHED: Final = frozenset({"patient", "patient.identifier", "_count"})
TRACES_SEARCHED: Final = SEARCHED | {"date"}
_CHOICES: Final = "choices"


# -- AuditEvent ------------------------------------------------------------------------------------------------------


async def search_traces(room: Room, request: Request) -> Response:
    """Search who did what in a dossier, newest first."""
    caller = await room.who(request)
    query, box_id = await searching.query_of(room, request, caller, "AuditEvent", TRACES_SEARCHED)
    if box_id is None:
        box_id = await room.store.read(searching.box_asked, room.hosted, query)
    hits = Hits()
    if box_id is not None:
        hits = await room.store.read(_traces, caller, box_id, query, room.clock())
    decision = await _noted(room, caller, box_id, Sight.ACCESSES)
    return await searching.told(room, request, caller, "AuditEvent", query, hits, decision)


def _traces(uow: Uow, caller: Caller, box_id: int, query: Query, now: datetime) -> Hits:
    days, count = query.wanted.days, query.count + 1
    found = accesses.accesses(uow, caller.account.id, box_id, query.offset, count, now, days=days)
    patient = software.patient_id(uow, box_id)
    own = (caller.actor, caller.account.display_name)
    shown = tuple(resources.audit_event(one, patient, own) for one in found[: query.count])
    return Hits(shown, query.offset + query.count if len(found) > query.count else None, box_id, patient)


async def _noted(room: Room, caller: Caller, box_id: int | None, sight: Sight) -> Decision:
    """Write a look down that only a patient's account may take."""
    if box_id is None:
        return await room.store.write(software.note_search, room.book, caller, None, room.clock())
    return await room.store.write(accesses.note, caller.account.id, box_id, Look(sight), True, room.clock())


# -- Consent ---------------------------------------------------------------------------------------------------------


async def search_consents(room: Room, request: Request) -> Response:
    """Return all that a patient set: blocks, care team, consents, emergency switches."""
    caller = await room.who(request)
    query, box_id = await searching.query_of(room, request, caller, "Consent", SEARCHED)
    if box_id is None:
        box_id = await room.store.read(searching.box_asked, room.hosted, query)
    hits = Hits()
    if box_id is not None:
        found = await room.store.read(_consents, room.book, caller, box_id, room.clock())
        end = query.offset + query.count
        hits = Hits(found[query.offset : end], end if len(found) > end else None, box_id)
    decision = await _noted(room, caller, box_id, Sight.RIGHTS)
    return await searching.told(room, request, caller, "Consent", query, hits, decision)


def _consents(uow: Uow, book: Book, caller: Caller, box_id: int, now: datetime) -> tuple[Json, ...]:
    box = uow.accounts.box_by_id(box_id)
    if not accesses.may(uow, caller.account.id, box, Action.MANAGE_RIGHTS, now).accepted:
        return ()
    rights, patient = rights_of(uow, book, box_id, now), software.patient_id(uow, box_id)
    grants = tuple(resources.consent(one, patient) for one in rights.grants if one.holds(now))
    return (resources.choices(rights, patient), *grants)


async def read_consent(room: Room, request: Request) -> Response:
    """Return one thing that a patient set."""
    caller = await room.who(request)
    box_id, _ = await _named(room, request.path_params["id"])
    found = await room.store.read(_consents, room.book, caller, box_id, room.clock())
    await _allowed(room, caller, box_id)
    name = request.path_params["id"]
    consent = next((one for one in found if one["id"] == name), None)
    if consent is None:
        raise not_found()
    return answer(consent)


async def create_consent(room: Room, request: Request) -> Response:
    """Block a professional, take one into the care team, or consent for a short while."""
    caller = await room.who(request)
    consent = await room.resource(request)
    patient = text(consent, "patient", "reference").removeprefix("Patient/")
    box = await room.store.read(software.box_of_id, patient)
    if box is None:
        raise Refusal(422, "not-found", "Consent.patient names nobody who has a dossier here.")
    await _allowed(room, caller, box.id)
    wish = wish_of(consent)
    where = (room.book, caller.account.id, box.id, wish, room.clock())
    number, decision = await room.store.write(_grant, *where)
    if not decision.accepted:
        raise refused(decision)
    place = f"{room.base(request)}/Consent/{patient}.g{number}"
    return answer(outcome("information", "informational", "The consent is kept."), 201, Location=place)


def _grant(uow: Uow, book: Book, account_id: int, box_id: int, wish: Wish, now: datetime) -> tuple[int, Decision]:
    decision = governing.set_grant(uow, book, account_id, box_id, wish, now)
    return max((one.id for one in uow.rights.grants(box_id)), default=0), decision


async def update_consent(room: Room, request: Request) -> Response:
    """Set the emergency switches. What was granted is withdrawn and granted anew, never changed."""
    caller = await room.who(request)
    box_id, kind = await _named(room, request.path_params["id"])
    consent = await room.resource(request)
    await _allowed(room, caller, box_id)
    if kind != _CHOICES:
        raise Refusal(405, "not-supported", "A grant is withdrawn and given anew.")
    permits = permits_of(consent)
    decision = await room.store.write(_choose, caller.account.id, box_id, permits, room.book, room.clock())
    if not decision.accepted:
        raise refused(decision)
    return answer(outcome("information", "informational", "The choice is kept."))


def _choose(uow: Uow, account_id: int, box_id: int, permits: frozenset[Switch], book: Book, now: datetime) -> Decision:
    known = rights_of(uow, book, box_id, now)
    return governing.choose(uow, account_id, box_id, Choices(permits, known.default_mask, known.notify), now)


async def delete_consent(room: Room, request: Request) -> Response:
    """Withdraw a block, a place in the care team, or a consent."""
    caller = await room.who(request)
    box_id, kind = await _named(room, request.path_params["id"])
    await _allowed(room, caller, box_id)
    if kind == _CHOICES or not kind[1:].isdecimal():
        raise Refusal(405, "not-supported", "The emergency switches are set, not withdrawn.")
    where = (caller.account.id, box_id, int(kind[1:]), room.clock())
    decision = await room.store.write(governing.withdraw, *where)
    if not decision.accepted:
        raise refused(decision)
    return Response(status_code=204)


async def _named(room: Room, name: str) -> tuple[int, str]:
    patient, dot, kind = name.partition(".")
    box = await room.store.read(software.box_of_id, patient)
    if box is None or not dot or len(kind) > 20 or not kind.isascii():
        raise not_found()
    return box.id, kind


async def _allowed(room: Room, caller: Caller, box_id: int) -> None:
    decision = await _noted(room, caller, box_id, Sight.RIGHTS)
    if not decision.accepted:
        raise refused(decision)


def wish_of(consent: Json) -> Wish:
    """Return what a Consent asks to be granted or blocked; Refusal says what is wrong with it."""
    if consent.get("resourceType") != "Consent" or text(consent, "status") != "active":
        raise invalid("an active Consent is expected", 422)
    provision = at(consent, "provision")
    given = [text(coding, "code") for one in each(consent, "category") for coding in each(one, "coding")]
    kind = next((one for one in GrantKind if one.value in given), None)
    denies = text(provision, "type") == "deny"
    if kind is None or (kind is GrantKind.BLOCK) is not denies:
        kinds = ", ".join(one.value for one in GrantKind)
        raise Refusal(
            422, "code-invalid", f"category is one of {kinds} ({codes.GRANTS}); a block denies, others permit."
        )
    actors = list(each(provision, "actor"))
    if len(actors) != 1:
        raise invalid("a Consent names one actor", 422)
    categories = frozenset(text(one, "code") for one in few(provision, "class"))
    if categories - set(CATEGORIES):
        raise Refusal(422, "code-invalid", f"provision.class holds categories of the dossier ({codes.SHELVES}).")
    return Wish(kind, _grantee(at(actors[0], "reference")), categories, moment(text(provision, "period", "end")))


def _grantee(reference: object) -> Grantee:
    system, value = text(reference, "identifier", "system"), text(reference, "identifier", "value")
    if not value or system not in (codes.PERSON, codes.STRUCTURE):
        raise Refusal(422, "required", f"The actor is named by an identifier of {codes.PERSON} or {codes.STRUCTURE}.")
    name = text(reference, "display")[:200]
    return Grantee(name, person_id=value) if system == codes.PERSON else Grantee(name, structure_id=value)


def permits_of(consent: Json) -> frozenset[Switch]:
    """Return the emergency switches that a Consent permits; Refusal unless it says something of each."""
    said: dict[str, str] = {}
    for one in each(consent, "provision", "provision"):
        said[text(one, "purpose", 0, "code")] = text(one, "type")
    if set(said) != {one.value for one in Switch} or not set(said.values()) <= {"permit", "deny"}:
        raise invalid("each of ETREAT, BTG and MASKED is permitted or denied", 422)
    return frozenset(Switch(code) for code, kind in said.items() if kind == "permit")
