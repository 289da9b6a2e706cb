"""What software provides: a transaction of submission set, records and octets, or one record with its octets inside.

IHE MHD ITI-65 and ITI-105 as PDSM profiles them (flows 1 and 9). A CDA speaks for itself: of its record only the unique
id is compared. Other formats are described by their record, the patient's identity included.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from mss.config import Limits
from mss.dossier import cda
from mss.dossier.categories import category_of
from mss.dossier.deposit import sniff
from mss.dossier.filing import Unfileable, fileable_by_patient
from mss.errors import Malformed
from mss.fhir import codes
from mss.fhir.outcome import Json, Refusal, invalid
from mss.fhir.reading import at, each, few, moment, octets_of, text
from mss.model.document import AttachedDocument, Author, Confidentiality, DocumentEntry, PatientIdentity
from mss.model.ins import INS, INS_OIDS, Traits

_SEXES: Final = {"male": "M", "female": "F", "other": "U", "unknown": "U", "": ""}
_LEVELS: Final = {one.value for one in Confidentiality}


@dataclass(frozen=True, slots=True)
class Provision:
    """What is to be filed, for whom: by INS, or by the opaque id of the dossier."""

    documents: tuple[AttachedDocument, ...]
    submission: str
    ins: INS | None
    patient_id: str = ""


def read_bundle(bundle: Json, limits: Limits) -> Provision:
    """Return what a transaction provides; Refusal says what is wrong with it."""
    if text(bundle, "type") != "transaction":
        raise Refusal(400, "not-supported", "Only Bundles of the type transaction are taken here.")
    entries = list(each(bundle, "entry"))
    if len(entries) > 4 * limits.fhir_documents_max:
        raise Refusal(413, "too-long", "The transaction has too many entries.")
    known = {
        text(entry, "fullUrl"): resource for entry in entries if isinstance(resource := at(entry, "resource"), dict)
    }
    if len(known) != len(entries) or "" in known:
        raise invalid("each entry needs a fullUrl of its own and a resource", 422)
    records = [one for one in known.values() if one.get("resourceType") == "DocumentReference"]
    lists = [one for one in known.values() if one.get("resourceType") == "List"]
    submissions = [one for one in lists if _list_kind(one) == "submissionset"]
    if len(submissions) != 1 or not records:
        raise invalid("a transaction has one submission set and at least one DocumentReference", 422)
    if len(submissions) != len(lists):
        raise Refusal(422, "not-supported", "Folders cannot be provided: patients make them.")
    if len(records) > limits.fhir_documents_max:
        raise Refusal(413, "too-long", "The transaction has too many documents.")
    for entry in entries:
        _check_request(entry)
    _check_listed(submissions[0], known)
    return _provision([(one, _data(one, known)) for one in records], known, _unique_id(submissions[0]), limits)


def read_record(record: Json, limits: Limits) -> Provision:
    """Return what one DocumentReference with its octets inside provides."""
    data = octets_of(at(record, "content", 0, "attachment", "data"))
    return _provision([(record, data)], {}, "", limits)


def _list_kind(resource: Json) -> str:
    return text(resource, "code", "coding", 0, "code")


def _check_request(entry: Json) -> None:
    method, url = text(entry, "request", "method"), text(entry, "request", "url")
    if method != "POST" or url != text(entry, "resource", "resourceType"):
        raise Refusal(422, "not-supported", "Each entry must be a POST to the type of its resource.")


def _check_listed(submission: Json, known: Mapping[str, Json]) -> None:
    listed = {text(one, "item", "reference") for one in each(submission, "entry")}
    records = {url for url, one in known.items() if one.get("resourceType") == "DocumentReference"}
    if not records <= listed:
        raise invalid("the submission set must list each DocumentReference", 422)


def _data(record: Json, known: Mapping[str, Json]) -> bytes:
    attachment = at(record, "content", 0, "attachment")
    if at(attachment, "data") is not None:
        return octets_of(at(attachment, "data"))
    binary = known.get(text(attachment, "url"), {})
    if binary.get("resourceType") != "Binary":
        raise invalid("attachment.url must name a Binary of the transaction", 422)
    return octets_of(binary.get("data"))


def _provision(
    records: list[tuple[Json, bytes]], known: Mapping[str, Json], submission: str, limits: Limits
) -> Provision:
    documents = tuple(_document(record, octets, known, limits) for record, octets in records)
    references = {text(record, "subject", "reference") for record, _ in records}
    local = {one.removeprefix("Patient/") for one in references if one.startswith("Patient/") and one not in known}
    if local and len(references) > 1:
        raise invalid("the documents of one submission are about one patient", 422)
    if len({one.entry.unique_id for one in documents}) != len(documents):
        raise invalid("a unique id stands twice", 422)
    named = {pair for one in documents for pair in one.entry.patient.identifiers if pair[1] in INS_OIDS}
    return Provision(documents, submission, _ins(named), next(iter(local), ""))


def _ins(named: Iterable[tuple[str, str]]) -> INS | None:
    """Return the one INS that the documents name; None when they name none, or several: filing says which."""
    try:
        found = {INS.parse(value, oid) for value, oid in named}
    except Malformed:
        return None
    return found.pop() if len(found) == 1 else None


def _document(record: Json, octets: bytes, known: Mapping[str, Json], limits: Limits) -> AttachedDocument:
    if record.get("resourceType") != "DocumentReference":
        raise invalid("it is no DocumentReference")
    if text(record, "status") not in ("", "current"):
        raise invalid("the status of what is provided is current", 422)
    if len(at(record, "content") or ()) != 1:
        raise invalid("a DocumentReference has one content here", 422)
    size = at(record, "content", 0, "attachment", "size")
    if size is not None and size != len(octets):
        raise Refusal(422, "invalid", "The size of a document is not the announced one.")
    unique_id = _unique_id(record)
    if cda.looks_like_cda(octets):
        return _clinical(octets, unique_id, limits)
    fileable = fileable_by_patient(octets, "document.txt", limits)
    if isinstance(fileable, Unfileable):
        sentence = "Only CDA, PDF, JPEG, PNG, TIFF, RTF and plain text up to the size limit can be provided."
        raise Refusal(422, "not-supported", sentence)
    return AttachedDocument(_entry(record, unique_id, fileable[0], sniff(octets) or fileable[1], known), octets)


def _clinical(octets: bytes, unique_id: str, limits: Limits) -> AttachedDocument:
    try:
        entry, twin = cda.read_whole(octets, limits)
    except Malformed:
        raise Refusal(422, "structure", "The CDA document cannot be read.") from None
    if entry.unique_id != unique_id:
        raise Refusal(422, "conflict", "The masterIdentifier is not the unique id of the CDA document.")
    return AttachedDocument(entry, octets, twin)


def _unique_id(resource: Json) -> str:
    """Return the unique id of a record or submission set, without what says that it is an OID or a UUID."""
    given = text(resource, "masterIdentifier", "value") or text(resource, "identifier", 0, "value")
    unique_id = given.removeprefix("urn:oid:")
    if not unique_id or len(unique_id) > cda.UNIQUE_ID_MAX:
        raise invalid("a masterIdentifier (or the identifier of the submission set) is missing", 422)
    return unique_id


def _entry(record: Json, unique_id: str, kind: object, mime_type: str, known: Mapping[str, Json]) -> DocumentEntry:
    type_code = text(record, "type", "coding", 0, "code")
    if not type_code:
        raise Refusal(422, "required", "The type of a document is missing.")
    created = text(record, "content", 0, "attachment", "creation") or text(record, "date")
    system = text(record, "type", "coding", 0, "system")
    return DocumentEntry(
        unique_id=unique_id,
        format=kind,  # type: ignore[arg-type]
        title=text(record, "content", 0, "attachment", "title") or text(record, "description"),
        type_code=type_code,
        type_system=codes.LOINC_OID if system == codes.LOINC else codes.oid_of(system),
        type_label=text(record, "type", "coding", 0, "display"),
        created_at=moment(created),
        confidentiality=_confidentiality(record),
        patient=_patient(_resolved(record, text(record, "subject", "reference"), known), record),
        authors=tuple(_author(one, record, known) for one in few(record, "author")),
        replaces=_replaces(record),
        mime_type=mime_type,
        language=text(record, "content", 0, "attachment", "language"),
        class_code=text(record, "category", 0, "coding", 0, "code") or category_of(type_code),
        format_code=text(record, "content", 0, "format", "code"),
    )


def _confidentiality(record: Json) -> frozenset[Confidentiality]:
    given = {text(coding, "code") for label in each(record, "securityLabel") for coding in each(label, "coding")}
    if given - _LEVELS:
        # A mark that is not understood hides the document from somebody: to drop it would show it.
        raise Refusal(422, "code-invalid", "A securityLabel is not of JDV_J08 or v3-ConfidentialityClassification.")
    return frozenset(map(Confidentiality, given)) or frozenset({Confidentiality.NORMAL})


def _resolved(record: Json, reference: str, known: Mapping[str, Json]) -> Json:
    """Return a resource that is contained in a record, or stands in the transaction; empty when it is elsewhere."""
    if reference.startswith("#"):
        return next((one for one in each(record, "contained") if one.get("id") == reference[1:]), {})
    return known.get(reference, {})


def _patient(patient: Json, record: Json) -> PatientIdentity:
    given = few(patient, "identifier")
    direct = at(record, "subject", "identifier")
    given += [direct] if isinstance(direct, dict) else []
    identifiers = tuple((text(one, "value"), codes.oid_of(text(one, "system"))) for one in given)
    name = next((one for one in each(patient, "name") if one.get("use") == "official"), at(patient, "name", 0))
    sex = _SEXES.get(text(patient, "gender"), "")
    born = text(patient, "birthDate").replace("-", "")
    return PatientIdentity(identifiers, Traits(text(name, "family"), text(name, "given", 0), born, sex))


def _author(reference: Json, record: Json, known: Mapping[str, Json]) -> Author:
    found = _resolved(record, text(reference, "reference"), known)
    given = few(found, "identifier")
    person = next((text(one, "value") for one in given if text(one, "system") == codes.PERSON), "")
    if found.get("resourceType") == "Organization":
        return Author(organisation=text(found, "name"), organisation_id=text(found, "identifier", 0, "value"))
    family, first = text(found, "name", 0, "family"), text(found, "name", 0, "given", 0)
    name = text(found, "name", 0, "text") or f"{first} {family}".strip()
    return Author(name or text(reference, "display"), person)


def _replaces(record: Json) -> str:
    relations = list(each(record, "relatesTo"))
    if not relations:
        return ""
    target = text(relations[0], "target", "identifier", "value").removeprefix("urn:oid:")
    if len(relations) > 1 or text(relations[0], "code") != "replaces" or not target:
        sentence = "relatesTo is taken once, as replaces, with the unique id in target.identifier."
        raise Refusal(422, "not-supported", sentence)
    return target
