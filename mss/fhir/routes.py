"""The interactions that are offered, in one table; the CapabilityStatement and OpenAPI description are made from it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from mss.fhir import codes, documents, rights
from mss.fhir.outcome import Json
from mss.fhir.room import PURPOSE, Room

Handler = Callable[[Room, Request], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Interaction:
    """What may be done: FHIR's name of it, on which resource (empty: the system), how, and by which parameters."""

    code: str
    resource: str
    method: str
    path: str
    handler: Handler
    parameters: frozenset[str] = frozenset()


def _searches(resource: str, handler: Handler, parameters: frozenset[str]) -> tuple[Interaction, ...]:
    return (
        Interaction("search-type", resource, "GET", f"/{resource}", handler, parameters),
        Interaction("search-type", resource, "POST", f"/{resource}/_search", handler, parameters),
    )


INTERACTIONS: Final = (
    Interaction("transaction", "", "POST", "/", documents.transaction),
    *_searches("DocumentReference", documents.search_records, documents.SEARCHED),
    Interaction("create", "DocumentReference", "POST", "/DocumentReference", documents.create_record),
    Interaction("read", "DocumentReference", "GET", "/DocumentReference/{id}", documents.read_record),
    Interaction("update", "DocumentReference", "PUT", "/DocumentReference/{id}", documents.update_record),
    Interaction("read", "Binary", "GET", "/Binary/{id}", documents.read_binary),
    *_searches("List", documents.search_lists, documents.LISTS_SEARCHED),
    Interaction("read", "List", "GET", "/List/{id}", documents.read_list),
    *_searches("AuditEvent", rights.search_traces, rights.TRACES_SEARCHED),
    *_searches("Consent", rights.search_consents, rights.SEARCHED),
    Interaction("create", "Consent", "POST", "/Consent", rights.create_consent),
    Interaction("read", "Consent", "GET", "/Consent/{id}", rights.read_consent),
    Interaction("update", "Consent", "PUT", "/Consent/{id}", rights.update_consent),
    Interaction("delete", "Consent", "DELETE", "/Consent/{id}", rights.delete_consent),
)

_PROFILES: Final = {
    "DocumentReference": [codes.DOCUMENT_PROFILE, codes.SIMPLIFIED_PROFILE],
    "List": [codes.SUBMISSION_PROFILE, codes.FOLDER_PROFILE],
}
_KINDS: Final = {
    "patient": "reference", "patient.identifier": "token", "date": "date", "author": "token", "_count": "number",
}  # fmt: skip


def capability_statement(base: str, version: str, since: str) -> Json:
    """Return what this server can do (FHIR R4 CapabilityStatement)."""
    named = dict.fromkeys(one.resource for one in INTERACTIONS if one.resource)
    rest: Json = {
        "mode": "server",
        "security": {
            "description": "Bearer tokens of the configured issuer (RFC 6750), or a client certificate (RFC 8446)."
        },
        "resource": [_resource(name) for name in named],
        "interaction": [{"code": one.code} for one in INTERACTIONS if not one.resource],
    }
    return {
        "resourceType": "CapabilityStatement",
        "status": "active",
        "date": since,
        "kind": "instance",
        "software": {"name": "mss", "version": version},
        "implementation": {"description": "Interface for software of an MSSanté operator", "url": base},
        "fhirVersion": codes.FHIR_VERSION,
        "format": ["json"],
        "rest": [rest],
    }


def _resource(name: str) -> Json:
    mine = [one for one in INTERACTIONS if one.resource == name]
    found: Json = {"type": name, "interaction": [{"code": one} for one in dict.fromkeys(one.code for one in mine)]}
    if name in _PROFILES:
        found["supportedProfile"] = _PROFILES[name]
    known = sorted({parameter for one in mine for parameter in one.parameters} - {"_count"})
    if known:
        found["searchParam"] = [{"name": one, "type": _KINDS.get(one, "token")} for one in known]
    return found


def openapi(base: str, version: str) -> Json:
    """Return the description of all requests (OpenAPI 3.1)."""
    paths: dict[str, Any] = {}
    for one in INTERACTIONS:
        paths.setdefault(one.path, {})[one.method.lower()] = _operation(one)
    public = {"security": [], "responses": {"200": _content("What this server can do.")}}
    paths["/metadata"] = {"get": public | {"operationId": "capabilities"}}
    described = {"description": "This description.", "content": {"application/json": {"schema": {"type": "object"}}}}
    paths["/openapi.json"] = {"get": public | {"operationId": "description", "responses": {"200": described}}}
    return {
        "openapi": "3.1.0",
        "info": {"title": "mss: the interface for software (FHIR R4)", "version": version},
        "servers": [{"url": base}],
        "paths": paths,
        "security": [{"token": []}, {"certificate": []}],
        "components": {
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer"},
                "certificate": {"type": "mutualTLS"},
            },
        },
    }


def _content(description: str) -> Json:
    schema = {"type": "object", "required": ["resourceType"], "properties": {"resourceType": {"type": "string"}}}
    return {"description": description, "content": {codes.JSON: {"schema": schema}}}


def _operation(one: Interaction) -> Json:
    where = "-".join(filter(None, (one.code, one.resource.lower(), "post" if one.path.endswith("_search") else "")))
    purposes = {"type": "string", "enum": ["TREAT", "ETREAT", "BTG"]}
    schema: Json
    parameters: list[Json] = [{"name": PURPOSE, "in": "header", "required": False, "schema": purposes}]
    if "{id}" in one.path:
        schema = {"type": "string", "pattern": r"^[A-Za-z0-9.\-]{1,64}$"}
        parameters.append({"name": "id", "in": "path", "required": True, "schema": schema})
    text: Json = {"type": "string"}
    if one.method == "GET":
        inside = sorted(one.parameters - {"patient.identifier"})
        parameters += [{"name": name, "in": "query", "required": False, "schema": text} for name in inside]
    operation: Json = {"operationId": where, "parameters": parameters, "responses": _answers(one)}
    if one.code == "search-type" and one.method == "POST":
        schema = {"type": "object", "properties": dict.fromkeys(sorted(one.parameters), text)}
        operation["requestBody"] = {"content": {"application/x-www-form-urlencoded": {"schema": schema}}}
    elif one.method in ("POST", "PUT"):
        operation["requestBody"] = {"required": True, "content": {codes.JSON: {"schema": {"type": "object"}}}}
    return operation


_STATUSES: Final = {"create": ("200", "201"), "delete": ("204",)}


def _answers(one: Interaction) -> Json:
    done = {status: _content("Done.") for status in _STATUSES.get(one.code, ("200",))}
    if one.code == "delete":
        done = {"204": {"description": "Withdrawn."}}
    if one.resource == "Binary":
        done["200"]["content"]["*/*"] = {}
    return done | {"default": _content("An OperationOutcome says why not.")}
