"""Whether the documents of a letter belong to the patient whose box it reaches, and what was odd about them.

The values are stable tokens, fit for logs and metric labels. Codes are those of the error message that
goes back to the sender (MSSANTE.md §3.6): 903 no INS, 904 another patient, 905 incomplete, 906 other.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Problem(StrEnum):
    """What was odd or wrong in the archive or the documents of a letter."""

    ARCHIVE_UNREADABLE = "archive-unreadable"
    ARCHIVE_ENCRYPTED = "archive-encrypted"
    ARCHIVE_TOO_MANY_ENTRIES = "archive-too-many-entries"
    ARCHIVE_TOO_LARGE = "archive-too-large"
    ARCHIVE_RATIO = "archive-ratio"
    ARCHIVE_TOO_DEEP = "archive-too-deep"
    ARCHIVE_BAD_NAME = "archive-bad-name"
    ARCHIVE_DUPLICATE_NAME = "archive-duplicate-name"
    ARCHIVE_LYING_HEADER = "archive-lying-header"
    ARCHIVE_OVERLAP = "archive-overlap"
    ARCHIVE_METHOD = "archive-compression-method"
    ARCHIVES_TOO_MANY = "archives-too-many"
    METADATA_MISSING = "metadata-missing"
    METADATA_UNREADABLE = "metadata-unreadable"
    DOCUMENT_MISSING = "document-missing"
    DOCUMENT_UNLISTED = "document-unlisted"
    DOCUMENT_TOO_LARGE = "document-too-large"
    DOCUMENT_UNREADABLE = "document-unreadable"
    DOCUMENT_TWICE = "document-twice"
    SIZE_DIFFERS = "size-differs"
    HASH_DIFFERS = "hash-differs"
    UNIQUE_ID_DIFFERS = "unique-id-differs"
    NO_DOCUMENT = "no-document"


class FilingReason(StrEnum):
    """Why a document is filed or not under one patient."""

    MATCHES = "matches"
    NO_INS = "no-ins"
    TEST_IDENTITY = "test-identity"
    BAD_MATRICULE = "bad-matricule"
    OTHER_PATIENT = "other-patient"
    SEVERAL_PATIENTS = "several-patients"
    OID_DIFFERS = "oid-differs"
    TRAITS_INCOMPLETE = "traits-incomplete"
    TRAITS_DIFFER = "traits-differ"
    DAMAGED = "damaged"

    @property
    def code(self) -> int:
        """The error code for the sender; 0 when the document is filed."""
        return _CODES.get(self, 906)

    @property
    def sentence(self) -> str:
        """A public sentence in English, which names nobody."""
        return _SENTENCES[self]


_CODES: Final = {
    FilingReason.MATCHES: 0,
    FilingReason.NO_INS: 903,
    FilingReason.OTHER_PATIENT: 904,
    FilingReason.TRAITS_INCOMPLETE: 905,
}
_SENTENCES: Final = {
    FilingReason.MATCHES: "The document names this patient.",
    FilingReason.NO_INS: "The document carries no INS.",
    FilingReason.TEST_IDENTITY: "The document carries a test identity.",
    FilingReason.BAD_MATRICULE: "The document's matricule INS is malformed or its key is wrong.",
    FilingReason.OTHER_PATIENT: "The document names another patient.",
    FilingReason.SEVERAL_PATIENTS: "The document names several patients.",
    FilingReason.OID_DIFFERS: "The OID of the document's INS differs from the patient's.",
    FilingReason.TRAITS_INCOMPLETE: "The document lacks identity traits.",
    FilingReason.TRAITS_DIFFER: "The document's identity traits differ from the patient's.",
    FilingReason.DAMAGED: "The document is not what the archive's metadata announce.",
}


@dataclass(frozen=True, slots=True)
class DocumentVerdict:
    """One document against one patient."""

    unique_id: str
    reason: FilingReason

    @property
    def filed(self) -> bool:
        """Whether the document goes into this patient's dossier."""
        return self.reason is FilingReason.MATCHES

    @property
    def code(self) -> int:
        """The error code for the sender; 0 when the document is filed."""
        return self.reason.code


@dataclass(frozen=True, slots=True)
class FilingVerdict:
    """All documents of a letter against one patient, in the letter's order.

    `refused`: every document names another valid matricule, so this patient's copy is refused (904).
    `invisible_to_patient`: a document must not be mailed to the patient, whoever it names.
    """

    documents: tuple[DocumentVerdict, ...] = ()
    refused: bool = False
    invisible_to_patient: bool = False
    invisible_to_representatives: bool = False

    @property
    def filed(self) -> frozenset[str]:
        """The unique ids of the documents to file."""
        return frozenset(verdict.unique_id for verdict in self.documents if verdict.filed)

    @property
    def code(self) -> int:
        """The first error code among the documents; 0 when all are filed."""
        return next((verdict.code for verdict in self.documents if verdict.code), 0)
