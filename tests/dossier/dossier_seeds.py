"""What the fuzzers of the dossier begin with: documents and archives of our own making, and words of their grammars."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Final

from mss.config import Limits
from mss.dossier import cda, metadata, xdm
from mss.dossier.make import make_cda, make_pdf
from mss.dossier.metadata import Written
from mss.model.document import AttachedDocument, Author, Confidentiality, PatientIdentity
from mss.model.ins import Traits

AT: Final = datetime(2026, 3, 14, 15, 9, 26, tzinfo=UTC)
PATIENT: Final = PatientIdentity(
    (("255081416802538", "1.2.250.1.213.1.4.8"),), Traits("DUPONT", "ÉLODIE", "19550815", "F")
)
BODY: Final = (
    b"<component><structuredBody><component><section><text>x</text></section></component></structuredBody></component>"
)


def documents() -> list[bytes]:
    """Return clinical documents: with a PDF, structured, replacing, inside a style sheet, in another encoding."""

    def made(**changes: object) -> bytes:
        facts: dict[str, object] = {
            "patient": PATIENT, "unique_id": "1.2.250.1.999^42", "title": "Bilan", "created_at": AT,
            "author": Author("Anne MARTIN", "810000000001", "G15_10/SM26", "Clinique"), "type_code": "11502-2",
        }  # fmt: skip
        return make_cda(**facts | changes)  # type: ignore[arg-type]

    plain = made(pdf=make_pdf(["Bilan"]))
    structured = re.sub(rb"<component>.*</component>", BODY, plain, flags=re.DOTALL)
    replacing = made(replaces="1.2.3", confidentiality=Confidentiality.INVISIBLE_PATIENT, set_id="1.9", version=2)
    inside = structured.partition(b"?>")[2]
    sheet = b'<x:stylesheet xmlns:x="http://www.w3.org/1999/XSL/Transform">' + inside + b"</x:stylesheet>"
    return [plain, structured, replacing, sheet, structured.decode().replace("UTF-8", "utf-16").encode("utf-16")]


def described() -> bytes:
    """Return the METADATA.XML of two documents, the second in the first one's place."""
    first, second = (cda.read(octets, Limits()) for octets in documents()[1:3])
    written = [Written(first, "DOC00001.XML", 10, "0" * 40), Written(second, "DOC00002.XML", 10, "1" * 40)]
    return metadata.write(written, unique_id="1.9", source_id="1.8", submitted_at=AT)


def archives() -> list[bytes]:
    """Return archives with one and with several documents."""
    attached = [_read(octets) for octets in documents()]
    chosen = (attached[:1], attached[1:2], attached)
    return [xdm.build(some, unique_id="1.9", source_id="1.8", submitted_at=AT) for some in chosen]


def _read(octets: bytes) -> AttachedDocument:
    entry, pdf = cda.read_whole(octets, Limits())
    return AttachedDocument(entry, octets, pdf)


WORDS: Final = (
    b"<component>", b"</component>", b"<component ", b"<structuredBody>", b"<nonXMLBody>", b"<recordTarget>", b"<!--",
    b"</recordTarget>", b"<patientRole>", b'<id root="1.2.250.1.213.1.4.8" extension="255081416802538"/>', b"-->",
    b"<![CDATA[", b"]]>", b"<!DOCTYPE x [", b"<!ENTITY a 'b'>", b"&a;", b"&#0;", b"&#x10ffff;", b"</ClinicalDocument>",
    b' xmlns="urn:hl7-org:v3"', b' xmlns:x="urn:hl7-org:v3"', b"<x:component>", b"<?x?>", b'encoding="utf-16"',
    b"\xff\xfe", b'<rim:Slot name="size">', b"<rim:Value>", b"<rim:ExtrinsicObject ", b"<rim:Association ", b"1|",
    b"2|", b"^^^&", b"&ISO", b"../", b"PK\x01\x02", b"PK\x03\x04", b"PK\x05\x06", b"IHE_XDM/SUBSET01/", b"METADATA.XML",
    b"DOC00001.XML",
)  # fmt: skip
