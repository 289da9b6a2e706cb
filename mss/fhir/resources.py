"""Our nouns as FHIR R4 resources: DocumentReference, Binary, List, AuditEvent, Consent, Bundle.

Addresses of professionals are in none of them, nor is a patient's matricule: `subject` refers to the opaque id.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from mss.dossier.categories import category_of
from mss.fhir import codes
from mss.fhir.outcome import Json
from mss.model.document import Author, Confidentiality, Document
from mss.model.rights import Grant, GrantKind, Rights, Switch
from mss.services.accesses import Access

_LEVELS: Final = (Confidentiality.VERY_RESTRICTED, Confidentiality.RESTRICTED, Confidentiality.NORMAL)


@dataclass(frozen=True, slots=True)
class Names:
    """The ids of a document outside: its own, its patient's, those of the lists it stands in."""

    document: str
    patient: str
    submission: str = ""
    folder: str = ""
    replaces: str = ""


def instant(moment: datetime) -> str:
    """Return an instant as FHIR writes it."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def document_reference(document: Document, names: Names) -> Json:
    """Return the record of a document."""
    entry = document.entry
    authors = entry.authors or (Author(entry.custodian or "?"),)
    contained = [_author(f"author{number}", one) for number, one in enumerate(authors, 1)]
    resource: Json = {
        "resourceType": "DocumentReference",
        "id": names.document,
        "meta": {"profile": [codes.DOCUMENT_PROFILE], "lastUpdated": instant(document.filed_at)},
        "contained": contained,
        "masterIdentifier": {"system": codes.URI, "value": f"urn:oid:{entry.unique_id}"},
        "identifier": [{"system": codes.URI, "value": f"urn:uuid:{_uuid(document.entry_id)}"}],
        "status": "superseded" if document.replaced_by is not None else "current",
        "category": _categories(document),
        "subject": {"reference": f"Patient/{names.patient}"},
        "date": instant(document.filed_at),
        "author": [{"reference": f"#{one['id']}"} for one in contained],
        "securityLabel": _labels(document),
        "content": [{"attachment": _attachment(document, names)}],
        "context": {"sourcePatientInfo": {"reference": f"Patient/{names.patient}"}},
    }
    if entry.type_code:
        resource["type"] = {
            "coding": [_coding(codes.type_system(entry.type_system), entry.type_code, entry.type_label)]
        }
    if entry.format_code:
        resource["content"][0]["format"] = _coding(codes.FORMATS, entry.format_code)
    if entry.created_at is not None:
        resource["context"]["period"] = {"start": instant(entry.created_at)}
    if entry.custodian:
        resource["custodian"] = {"display": entry.custodian}
    if entry.replaces:
        target: Json = {"identifier": {"system": codes.URI, "value": f"urn:oid:{entry.replaces}"}}
        target |= {"reference": f"DocumentReference/{names.replaces}"} if names.replaces else {}
        resource["relatesTo"] = [{"code": "replaces", "target": target}]
    return resource


def _uuid(hexadecimal: str) -> str:
    h = hexadecimal
    return f"{h[:8]}-{h[8:12]}-{h[12:16]}-{h[16:20]}-{h[20:]}"


def _coding(system: str, code: str, display: str = "") -> Json:
    return {"system": system, "code": code, **({"display": display} if display else {})}


def _categories(document: Document) -> list[Json]:
    entry = document.entry
    found = [{"coding": [_coding(codes.CLASSES, entry.class_code)]}] if entry.class_code else []
    shelf = document.category or category_of(entry.type_code)
    return [*found, {"coding": [_coding(codes.SHELVES, shelf)]}]


def _labels(document: Document) -> list[Json]:
    """Return one level, and the marks of those whom a document is hidden from."""
    marks = document.entry.confidentiality
    level = next((one for one in _LEVELS if one in marks), Confidentiality.NORMAL)
    hidden = sorted(mark.value for mark in marks if mark not in _LEVELS)
    if document.masked and Confidentiality.MASKED_FOR_PROFESSIONALS.value not in hidden:
        hidden.append(Confidentiality.MASKED_FOR_PROFESSIONALS.value)
    labels = [_coding(codes.CONFIDENTIALITY, level.value)] + [_coding(codes.VISIBILITY, one) for one in hidden]
    return [{"coding": [one]} for one in labels]


def _attachment(document: Document, names: Names) -> Json:
    entry = document.entry
    found: Json = {
        "contentType": entry.mime_type or "application/octet-stream",
        "language": entry.language or "fr-FR",
        "url": f"Binary/{names.document}",
        "size": document.size_octets,
        "title": entry.title or entry.type_label or "Document",
    }
    return found | ({"creation": instant(entry.created_at)} if entry.created_at else {})


def _author(name: str, author: Author) -> Json:
    if not author.person_id and not author.name:
        organisation = {"resourceType": "Organization", "id": name, "name": author.organisation or "?"}
        return organisation | _identifier(codes.STRUCTURE, author.organisation_id)
    person = {"resourceType": "Practitioner", "id": name, "name": [{"text": author.name or "?"}]}
    return person | _identifier(codes.PERSON, author.person_id)


def _identifier(system: str, value: str) -> Json:
    return {"identifier": [{"system": system, "value": value}]} if value else {}


def binary(name: str, mime_type: str, octets: bytes) -> Json:
    """Return a document's octets as a resource."""
    data = base64.b64encode(octets).decode()
    return {"resourceType": "Binary", "id": name, "contentType": mime_type, "data": data}


def list_of(name: str, patient: str, documents: Sequence[tuple[Document, str]]) -> Json:
    """Return a submission set or folder with those of its documents that the reader may see."""
    is_folder = name.rpartition("-")[2].startswith("f")
    first = documents[0][0]
    newest = max(document.filed_at for document, _ in documents)
    resource: Json = {
        "resourceType": "List",
        "id": name,
        "meta": {"profile": [codes.FOLDER_PROFILE if is_folder else codes.SUBMISSION_PROFILE]},
        "status": "current",
        "mode": "working",
        "code": {"coding": [_coding(codes.LIST_TYPES, "folder" if is_folder else "submissionset")]},
        "subject": {"reference": f"Patient/{patient}"},
        "date": instant(newest),
        "entry": [{"item": {"reference": f"DocumentReference/{one}"}} for _, one in documents],
    }
    if is_folder:
        resource["title"] = first.folder
    elif first.submission:
        resource["identifier"] = [{"use": "usual", "system": codes.URI, "value": first.submission}]
    return resource


def audit_event(access: Access, patient: str, own: tuple[str, str]) -> Json:
    """Return an entry of the journal as its patient reads it; `own` is the reader's own actor and name."""
    record, event = access.record, access.record.event
    name = own[1] if event.actor == own[0] else access.name or event.actor.partition(":")[0]
    agent: Json = {"requestor": True, "who": {"display": name}}
    resource: Json = {
        "resourceType": "AuditEvent",
        "id": record.hash[:32],
        "type": _coding(codes.EXTENSION_AUDIT, "rest", "RESTful Operation"),
        "subtype": [_coding(codes.ACTIONS, event.action)],
        "recorded": instant(record.at),
        "outcome": "4" if event.decision in ("reject", "defer") else "0",
        "agent": [agent],
        "source": {"observer": {"display": "mss"}},
        "entity": [{"what": {"reference": f"Patient/{patient}"}}],
    }
    if event.rule:
        resource["outcomeDesc"] = event.rule
    if purpose := event.facts.get("purpose"):
        resource["purposeOfEvent"] = [{"coding": [_coding(codes.REASON, str(purpose))]}]
    if access.title:
        resource["entity"].append({"name": access.title})
    return resource


def consent(grant: Grant, patient: str) -> Json:
    """Return a block, a place in the care team, or a consent for a short while."""
    permits = grant.kind is not GrantKind.BLOCK
    who: Json = {"display": grant.grantee.name} if grant.grantee.name else {}
    if grant.grantee.person_id:
        who["identifier"] = {"system": codes.PERSON, "value": grant.grantee.person_id}
    elif grant.grantee.structure_id:
        who["identifier"] = {"system": codes.STRUCTURE, "value": grant.grantee.structure_id}
    period: Json = {"start": instant(grant.since)}
    period |= {"end": instant(grant.ends_at)} if grant.ends_at else {}
    role = {"coding": [_coding("http://terminology.hl7.org/CodeSystem/v3-ParticipationType", "IRCP")]}
    provision: Json = {
        "type": "permit" if permits else "deny",
        "period": period,
        "actor": [{"role": role, "reference": who}],
    }
    if grant.categories:
        provision["class"] = [_coding(codes.SHELVES, one) for one in sorted(grant.categories)]
    return _consent(f"{patient}.g{grant.id}", patient, grant.kind.value, instant(grant.since)) | {
        "provision": provision
    }


def choices(rights: Rights, patient: str) -> Json:
    """Return the three emergency switches of a patient."""
    inner = [
        {
            "type": "permit" if one in rights.permits else "deny",
            "purpose": [_coding(codes.REASON if one is not Switch.MASKED else codes.GRANTS, one.value)],
        }
        for one in Switch
    ]
    return _consent(f"{patient}.choices", patient, "choices", "") | {"provision": {"provision": inner}}


def _consent(name: str, patient: str, kind: str, since: str) -> Json:
    return {
        "resourceType": "Consent",
        "id": name,
        "status": "active",
        "scope": {"coding": [_coding(codes.CONSENT_SCOPE, "patient-privacy")]},
        "category": [{"coding": [_coding(codes.GRANTS, kind)]}],
        "patient": {"reference": f"Patient/{patient}"},
        **({"dateTime": since} if since else {}),
        "policyRule": {"text": "Code de la santé publique, L1110-4 et L1111-13 et suivants"},
    }


def searchset(base: str, found: Iterable[Json], links: dict[str, str], told: Json | None = None) -> Json:
    """Return a page of a search; `told` is what the reader should know about it."""
    entries: list[dict[str, Any]] = [
        {"fullUrl": f"{base}/{one['resourceType']}/{one['id']}", "resource": one, "search": {"mode": "match"}}
        for one in found
    ]
    if told is not None:
        entries.append({"resource": told, "search": {"mode": "outcome"}})
    bundle: Json = {"resourceType": "Bundle", "type": "searchset"}
    bundle["link"] = [{"relation": relation, "url": url} for relation, url in links.items()]
    return bundle | ({"entry": entries} if entries else {})
