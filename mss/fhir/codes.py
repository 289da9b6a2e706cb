"""Names of code systems, identifiers and profiles (FHIR R4; IHE MHD; PDSM of the ANS; JDV and TRE of the NOS).

The canonical names of the PDSM profiles are those of its guide's examples; the guide is under construction.
"""

from __future__ import annotations

from typing import Final

FHIR_VERSION: Final = "4.0.1"
JSON: Final = "application/fhir+json"
PDSM: Final = "https://interop.esante.gouv.fr/ig/fhir/pdsm/StructureDefinition/"
DOCUMENT_PROFILE: Final = PDSM + "pdsm-comprehensive-document-reference"
SIMPLIFIED_PROFILE: Final = PDSM + "pdsm-simplified-publish"
PROVIDE_PROFILE: Final = PDSM + "pdsm-comprehensive-provide-document-bundle"
SUBMISSION_PROFILE: Final = PDSM + "pdsm-submission-set-comprehensive"
FOLDER_PROFILE: Final = PDSM + "pdsm-folder-comprehensive"

URI: Final = "urn:ietf:rfc:3986"
LIST_TYPES: Final = "https://profiles.ihe.net/ITI/MHD/CodeSystem/MHDlistTypes"
PERSON: Final = "urn:oid:1.2.250.1.71.4.2.1"
STRUCTURE: Final = "urn:oid:1.2.250.1.71.4.2.2"
LOINC: Final = "http://loinc.org"
LOINC_OID: Final = "2.16.840.1.113883.6.1"
TYPES_OID: Final = "1.2.250.1.213.1.1.4.12"
TYPES: Final = f"urn:oid:{TYPES_OID}"
CLASSES: Final = "urn:oid:1.2.250.1.213.1.1.4.1"
FORMATS: Final = "urn:oid:1.2.250.1.213.1.1.4.2.282"
CONFIDENTIALITY: Final = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality"
VISIBILITY: Final = "urn:oid:1.2.250.1.213.1.1.4.13"
REASON: Final = "http://terminology.hl7.org/CodeSystem/v3-ActReason"
CONSENT_SCOPE: Final = "http://terminology.hl7.org/CodeSystem/consentscope"
# Ours: the shelf of a document, the kind of a grant, the word of the journal.
SHELVES: Final = "urn:mss:category"
GRANTS: Final = "urn:mss:grant"
ACTIONS: Final = "urn:mss:action"
EXTENSION_AUDIT: Final = "http://terminology.hl7.org/CodeSystem/audit-event-type"
EXTENSION_DICOM: Final = "http://dicom.nema.org/resources/ontology/DCM"


def oid_of(system: str) -> str:
    """Return the OID of an identifier's system; empty when it is none."""
    return system.removeprefix("urn:oid:") if system.startswith("urn:oid:") else ""


def type_system(oid: str) -> str:
    """Return the code system of a document type, as FHIR names it."""
    if oid in ("", LOINC_OID):
        return LOINC
    return f"urn:oid:{oid}"
