"""Clinical documents, the submission set they came in, and a patient's dossier (IHE XDS/XDM, CDA R2)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from mss.model.ins import Traits


class DocumentFormat(StrEnum):
    """How the octets of a document are read."""

    CDA = "cda"
    PDF = "pdf"
    IMAGE = "image"
    TEXT = "text"


class Confidentiality(StrEnum):
    """JDV_J08."""

    NORMAL = "N"
    RESTRICTED = "R"
    VERY_RESTRICTED = "V"
    MASKED_FOR_PROFESSIONALS = "MASQUE_PS"
    INVISIBLE_PATIENT = "INVISIBLE_PATIENT"
    INVISIBLE_REPRESENTATIVES = "INVISIBLE_REPRESENTANTS_LEGAUX"


@dataclass(frozen=True, slots=True)
class Author:
    """Who wrote a document: names as printed, id as IdNat_PS, the organisation's as root^extension."""

    name: str = ""
    person_id: str = ""
    profession_code: str = ""
    organisation: str = ""
    organisation_id: str = ""


@dataclass(frozen=True, slots=True)
class PatientIdentity:
    """The patient that a document names: all (matricule, OID) pairs given, and the traits.

    Nothing here is checked: `matricule` is as written. `birth_name` in upper case as written.
    """

    identifiers: tuple[tuple[str, str], ...] = ()
    traits: Traits = Traits()


@dataclass(frozen=True, slots=True)
class DocumentEntry:
    """The header facts of one document, as read from its CDA header or from an XDM's metadata.

    `class_code` and, but for level 1, `format_code` stand in metadata only (XDSDocumentEntry.classCode, formatCode).
    """

    unique_id: str
    format: DocumentFormat
    title: str = ""
    type_code: str = ""
    type_system: str = ""
    type_label: str = ""
    created_at: datetime | None = None
    confidentiality: frozenset[Confidentiality] = frozenset({Confidentiality.NORMAL})
    patient: PatientIdentity = PatientIdentity()
    authors: tuple[Author, ...] = ()
    custodian: str = ""
    set_id: str = ""
    version: int = 1
    replaces: str = ""
    appends: str = ""
    mime_type: str = ""
    language: str = ""
    has_body_pdf: bool = False
    class_code: str = ""
    format_code: str = ""
    custodian_id: str = ""


@dataclass(frozen=True, slots=True)
class AttachedDocument:
    """A document found in a letter: its facts and its octets; `companion_pdf` is the readable twin.

    `defect` names a problem because of which it must not be filed (its size or hash is not what the XDM says).
    """

    entry: DocumentEntry
    octets: bytes
    companion_pdf: bytes | None = None
    defect: str = ""


@dataclass(frozen=True, slots=True)
class Submission:
    """What one letter brought for filing; `source_id` and `unique_id` of the XDM submission set."""

    documents: tuple[AttachedDocument, ...] = ()
    unique_id: str = ""
    problems: tuple[str, ...] = ()


class FiledBy(StrEnum):
    """Whose act put the document there."""

    LETTER = "letter"
    PATIENT = "patient"


@dataclass(frozen=True, slots=True)
class Document:
    """A document in a dossier. Three identifiers are kept: `unique_id` (the CDA's), `entry_id` (new at each
    change of metadata), `logical_id` (new at each version). `submission`: the unique id of the submission set in which
    software provided it; what a letter brought came in the set of that letter."""

    id: int
    box_id: int
    entry: DocumentEntry
    entry_id: str
    logical_id: str
    object_id: int
    size_octets: int
    filed_at: datetime
    filed_by: FiledBy
    category: str = ""
    folder: str = ""
    masked: bool = False
    replaced_by: int | None = None
    email_id: int | None = None
    companion_object_id: int | None = None
    submission: str = ""
