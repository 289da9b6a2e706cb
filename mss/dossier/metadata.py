"""METADATA.XML of an XDM archive: what it says of each document, read and written.

It knows nothing of zip, nor of the documents' content. ebXML RegRep 3.0 as IHE ITI TF-3 §4.2 profiles it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from mss.dossier.cda import TEXT_MAX, UNIQUE_ID_MAX, confidentiality_of, parse_time
from mss.dossier.make import confidentiality_system, hl7_time, type_system
from mss.model.document import Confidentiality, DocumentEntry, PatientIdentity
from mss.model.ins import INS_OIDS, Traits
from mss.xml import Element, Tag, serialise, tag

RIM: Final = "urn:oasis:names:tc:ebxml-regrep:xsd:rim:3.0"
LCM: Final = "urn:oasis:names:tc:ebxml-regrep:xsd:lcm:3.0"

DOCUMENT_ENTRY: Final = "urn:uuid:7edca82f-054d-47f2-a032-9b2a5b5186c1"
SUBMISSION_SET: Final = "urn:uuid:a54d6aa5-d40d-43f9-88c5-b4d840d42bd9"
ENTRY_PATIENT_ID: Final = "urn:uuid:58a6f841-87b3-4a3e-92fd-a8ffeff98427"
ENTRY_UNIQUE_ID: Final = "urn:uuid:2e82c1f6-a085-4c72-9da3-8640a32e42ab"
ENTRY_CLASS: Final = "urn:uuid:41a5887f-8865-4c09-adf7-e362475b143a"
ENTRY_FORMAT: Final = "urn:uuid:a09d5840-386c-46f2-b5ad-9c3699a4309d"
ENTRY_TYPE: Final = "urn:uuid:f0306f51-975f-434e-a61c-c59651d33983"
ENTRY_CONFIDENTIALITY: Final = "urn:uuid:f4f85eac-e6cb-4883-b524-f2705394840f"
SET_PATIENT_ID: Final = "urn:uuid:6b5aea1a-874d-4603-a4bc-96a0a7b38446"
SET_SOURCE_ID: Final = "urn:uuid:554ac39e-e3fe-47fe-b233-965d2a147832"
SET_UNIQUE_ID: Final = "urn:uuid:96fdda7c-d067-4183-912e-bf5ee74998a8"
REPLACES: Final = "urn:ihe:iti:2007:associationtype:rplc"
APPENDS: Final = "urn:ihe:iti:2007:associationtype:apnd"
HAS_MEMBER: Final = "urn:oasis:names:tc:ebxml-regrep:AssociationType:HasMember"

OID_CLASSES: Final = "1.2.250.1.213.1.1.4.1"
OID_FORMATS: Final = "1.3.6.1.4.1.19376.1.2.3"

_CX = re.compile(r"([^^]*)\^\^\^[^&^]*&([0-9.]+)&ISO")
_ORDERED = re.compile(r"\d{1,9}\|", re.ASCII)


@dataclass(frozen=True, slots=True)
class Listed:
    """What the metadata say of one document; `size_octets` is None and `hash_hex` empty when not said."""

    uri: str
    unique_id: str
    mime_type: str
    hash_hex: str
    size_octets: int | None
    title: str
    type_code: str
    type_system: str
    type_label: str
    created_at: datetime | None
    language: str
    confidentiality: frozenset[Confidentiality]
    patient: PatientIdentity
    class_code: str = ""
    format_code: str = ""
    replaces: str = ""
    appends: str = ""


@dataclass(frozen=True, slots=True)
class SubmissionSet:
    """The identifiers of the set and its documents, in order."""

    unique_id: str
    source_id: str
    listed: tuple[Listed, ...]


def read(root: Element) -> SubmissionSet:
    """Return what the metadata say; missing facts are empty, nothing is refused here."""
    package = next(root.descendants("RegistryPackage", RIM), None)
    entries = list(root.descendants("ExtrinsicObject", RIM))
    related = _related(root, {entry.attribute("id"): _external(entry, ENTRY_UNIQUE_ID) for entry in entries})
    return SubmissionSet(
        unique_id=_external(package, SET_UNIQUE_ID) if package else "",
        source_id=_external(package, SET_SOURCE_ID) if package else "",
        listed=tuple(_listed(entry, related) for entry in entries),
    )


def _related(root: Element, unique_ids: dict[str, str]) -> dict[tuple[str, str], str]:
    """Return (kind, id of the newer entry) → uniqueId of the one that it replaces or appends.

    The older one is an entry of the same set, or named by its OID; a registry's own name for it says nothing here.
    """
    found: dict[tuple[str, str], str] = {}
    for association in root.descendants("Association", RIM):
        kind, target = association.attribute("associationType").lower(), association.attribute("targetObject")
        older = unique_ids.get(target) or (target[8:] if target.lower().startswith("urn:oid:") else "")
        if kind in (REPLACES, APPENDS) and older:
            found.setdefault((kind, association.attribute("sourceObject")), older[:UNIQUE_ID_MAX])
    return found


def _listed(entry: Element, related: dict[tuple[str, str], str]) -> Listed:
    types, slots = _classifications(entry, ENTRY_TYPE), _slots(entry)
    size = _first(slots, "size")
    return Listed(
        uri=_uri(slots.get("URI", [])),
        unique_id=_external(entry, ENTRY_UNIQUE_ID),
        mime_type=entry.attribute("mimeType").lower(),
        hash_hex=_first(slots, "hash").lower(),
        size_octets=int(size) if re.fullmatch(r"\d{1,12}", size, re.ASCII) else None,
        title=_localised(entry),
        type_code=types[0].attribute("nodeRepresentation")[:TEXT_MAX] if types else "",
        type_system=_first(_slots(types[0]), "codingScheme") if types else "",
        type_label=_localised(types[0]) if types else "",
        created_at=parse_time(_first(slots, "creationTime")),
        language=_first(slots, "languageCode"),
        confidentiality=_confidentiality(entry),
        patient=_patient(entry, slots.get("sourcePatientInfo", [])),
        class_code=_code(entry, ENTRY_CLASS),
        format_code=_code(entry, ENTRY_FORMAT),
        replaces=related.get((REPLACES, entry.attribute("id")), ""),
        appends=related.get((APPENDS, entry.attribute("id")), ""),
    )


def _code(entry: Element, scheme: str) -> str:
    found = _classifications(entry, scheme)
    return found[0].attribute("nodeRepresentation")[:TEXT_MAX] if found else ""


def _confidentiality(entry: Element) -> frozenset[Confidentiality]:
    found = _classifications(entry, ENTRY_CONFIDENTIALITY)
    return confidentiality_of([c.attribute("nodeRepresentation") for c in found if c.attribute("nodeRepresentation")])


def _patient(entry: Element, told: list[str]) -> PatientIdentity:
    """Return the identity of patientId, with the traits of sourcePatientInfo (PID-5, 7 and 8)."""
    match = _CX.match(_external(entry, ENTRY_PATIENT_ID))
    identifiers = ((match.group(1), match.group(2)),) if match and match.group(1) else ()
    info = dict(value.split("|", 1) for value in told if "|" in value)
    name = [*info.get("PID-5", "").split("^"), ""]
    birth_date = info.get("PID-7", "")[:8]
    return PatientIdentity(
        identifiers,
        Traits(name[0], name[1], birth_date if birth_date.isdigit() else "", info.get("PID-8", "")[:1]),
    )


def _uri(values: list[str]) -> str:
    """Return the URI, whose long form is cut into values numbered "1|…", "2|…" (ITI TF-3 §4.2.3.2.27)."""
    numbered = sorted(values, key=lambda value: int(value.split("|", 1)[0]) if _ORDERED.match(value) else 0)
    return "".join(_ORDERED.sub("", value, count=1) for value in numbered)


def _slots(element: Element) -> dict[str, list[str]]:
    """Return the values of all slots by their names; of two with one name the first counts."""
    found: dict[str, list[str]] = {}
    for slot in element.find_all("Slot"):
        name = slot.attribute("name")
        if name not in found:
            found[name] = [value.text[:TEXT_MAX] for value in slot.find_all("ValueList/Value")]
    return found


def _first(slots: dict[str, list[str]], name: str) -> str:
    return next(iter(slots.get(name, [])), "")


def _localised(element: Element) -> str:
    return element.attribute_at("Name/LocalizedString", "value")[:TEXT_MAX]


def _classifications(element: Element, scheme: str) -> list[Element]:
    return [c for c in element.find_all("Classification") if c.attribute("classificationScheme").lower() == scheme]


def _external(element: Element, scheme: str) -> str:
    for identifier in element.find_all("ExternalIdentifier"):
        if identifier.attribute("identificationScheme").lower() == scheme:
            return identifier.attribute("value")[:UNIQUE_ID_MAX]
    return ""


@dataclass(frozen=True, slots=True)
class Written:
    """One document to be described: its facts, file name, size and SHA-1 in hexadecimal digits."""

    entry: DocumentEntry
    uri: str
    size_octets: int
    hash_hex: str


def write(documents: Sequence[Written], *, unique_id: str, source_id: str, submitted_at: datetime) -> bytes:
    """Return a METADATA.XML of one submission set; the patient's INS is its patientId."""
    patient = documents[0].entry.patient if documents else PatientIdentity()
    objects = [_object(document, f"Document{n:05}") for n, document in enumerate(documents, 1)]
    members = [_member(f"Document{n:05}") for n in range(1, len(documents) + 1)]
    members += _associations(documents)
    package = _package(patient, unique_id, source_id, submitted_at)
    return serialise(
        tag(
            "lcm:SubmitObjectsRequest",
            {"xmlns:lcm": LCM, "xmlns:rim": RIM},
            tag("rim:RegistryObjectList", None, *objects, package, _is_set(), *members),
        )
    )


def _object(document: Written, name: str) -> Tag:
    entry = document.entry
    created = [_slot_tag("creationTime", hl7_time(entry.created_at))] if entry.created_at else []
    levels = sorted(entry.confidentiality)
    return tag(
        "rim:ExtrinsicObject",
        {"id": name, "mimeType": entry.mime_type, "objectType": DOCUMENT_ENTRY},
        *created,
        _slot_tag("hash", document.hash_hex),
        _slot_tag("languageCode", entry.language or "fr-FR"),
        _slot_tag("size", str(document.size_octets)),
        _slot_tag("sourcePatientId", _cx(entry.patient)),
        _slot_tag("sourcePatientInfo", *_patient_info(entry.patient)),
        _slot_tag("URI", document.uri),
        _name_tag(entry.title),
        _coded(name, ENTRY_TYPE, entry.type_code, entry.type_system or type_system(entry.type_code), entry.type_label),
        *_coded_if_known(name, ENTRY_CLASS, entry.class_code, OID_CLASSES),
        *_coded_if_known(name, ENTRY_FORMAT, entry.format_code, OID_FORMATS),
        *(_coded(name, ENTRY_CONFIDENTIALITY, level, confidentiality_system(level), level) for level in levels),
        _identifier(name, ENTRY_PATIENT_ID, _cx(entry.patient), "XDSDocumentEntry.patientId"),
        _identifier(name, ENTRY_UNIQUE_ID, entry.unique_id, "XDSDocumentEntry.uniqueId"),
    )


def _coded_if_known(owner: str, scheme: str, code: str, system: str) -> list[Tag]:
    return [_coded(owner, scheme, code, system, code)] if code else []


def _associations(documents: Sequence[Written]) -> list[Tag]:
    """Return what replaces or appends what, within the set: elsewhere a registry's names would be needed."""
    names = {document.entry.unique_id: f"Document{n:05}" for n, document in enumerate(documents, 1)}
    return [
        tag(
            "rim:Association",
            {"id": f"{kind}-{source}", "associationType": uri, "sourceObject": source, "targetObject": names[older]},
        )
        for document in documents
        for kind, uri, older in (
            ("Replaces", REPLACES.replace("associationtype:rplc", "AssociationType:RPLC"), document.entry.replaces),
            ("Appends", APPENDS.replace("associationtype:apnd", "AssociationType:APND"), document.entry.appends),
        )
        if older in names and (source := names[document.entry.unique_id])
    ]


def _package(patient: PatientIdentity, unique_id: str, source_id: str, submitted_at: datetime) -> Tag:
    return tag(
        "rim:RegistryPackage",
        {"id": "SubmissionSet01"},
        _slot_tag("submissionTime", hl7_time(submitted_at)),
        _identifier("SubmissionSet01", SET_PATIENT_ID, _cx(patient), "XDSSubmissionSet.patientId"),
        _identifier("SubmissionSet01", SET_SOURCE_ID, source_id, "XDSSubmissionSet.sourceId"),
        _identifier("SubmissionSet01", SET_UNIQUE_ID, unique_id, "XDSSubmissionSet.uniqueId"),
    )


def _is_set() -> Tag:
    return tag(
        "rim:Classification",
        {"id": "SubmissionSet01-kind", "classifiedObject": "SubmissionSet01", "classificationNode": SUBMISSION_SET},
    )


def _member(name: str) -> Tag:
    return tag(
        "rim:Association",
        {
            "id": f"Member-{name}",
            "associationType": HAS_MEMBER,
            "sourceObject": "SubmissionSet01",
            "targetObject": name,
        },
        _slot_tag("SubmissionSetStatus", "Original"),
    )


def _slot_tag(name: str, *values: str) -> Tag:
    listed = [tag("rim:Value", None, value) for value in values]
    return tag("rim:Slot", {"name": name}, tag("rim:ValueList", None, *listed))


def _name_tag(text: str) -> Tag:
    return tag("rim:Name", None, tag("rim:LocalizedString", {"value": text, "xml:lang": "FR"}))


def _coded(owner: str, scheme: str, code: str, system: str, label: str) -> Tag:
    return tag(
        "rim:Classification",
        {
            "id": f"{owner}-{scheme[-4:]}-{code}",
            "classificationScheme": scheme,
            "classifiedObject": owner,
            "nodeRepresentation": code,
        },
        _slot_tag("codingScheme", system),
        _name_tag(label),
    )


def _identifier(owner: str, scheme: str, value: str, label: str) -> Tag:
    return tag(
        "rim:ExternalIdentifier",
        {"id": f"{owner}-{scheme[-4:]}", "identificationScheme": scheme, "registryObject": owner, "value": value},
        _name_tag(label),
    )


def _cx(patient: PatientIdentity) -> str:
    """Return the patient's INS as patientId has it; another identifier when there is none."""
    ins = [pair for pair in patient.identifiers if pair[1] in INS_OIDS]
    value, oid = next(iter(ins or patient.identifiers), ("", ""))
    return f"{value}^^^&{oid}&ISO^NH" if value else ""


def _patient_info(patient: PatientIdentity) -> tuple[str, ...]:
    traits = patient.traits
    return (
        f"PID-5|{traits.birth_name}^{traits.first_name}^^^^^L",
        f"PID-7|{traits.birth_date}",
        f"PID-8|{traits.sex}",
    )
