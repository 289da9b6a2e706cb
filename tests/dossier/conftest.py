"""What the tests of this room share: invented patients, documents and letters."""

from __future__ import annotations

import base64
import struct
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from mss.config import Limits
from mss.dossier.cda import read_whole
from mss.dossier.make import make_cda
from mss.model.document import AttachedDocument, Author, Confidentiality, PatientIdentity
from mss.model.ins import INS, Traits
from mss.model.message import HeaderField, Message, Part, Span, Structure

AT = datetime(2026, 3, 14, 15, 9, 26, tzinfo=UTC)
MakeDocument = Callable[..., AttachedDocument]
MakeLetter = Callable[..., Message]


@pytest.fixture
def limits() -> Limits:
    return Limits()


@pytest.fixture
def ins() -> INS:
    return INS.parse("255081416802538")


@pytest.fixture
def traits() -> Traits:
    return Traits("DUPONT-MOREL", "ÉLODIE", "19550815", "F")


@pytest.fixture
def patient(ins: INS, traits: Traits) -> PatientIdentity:
    return PatientIdentity(((ins.matricule, ins.oid),), traits)


@pytest.fixture
def make_document(patient: PatientIdentity, limits: Limits) -> MakeDocument:
    """Make a document: keywords replace those of make_cda; `twin` says whether it gets its PDF along."""

    def make(unique_id: str = "1.2.250.1.999.1", *, twin: bool = True, **changes: object) -> AttachedDocument:
        facts: dict[str, object] = {
            "patient": patient,
            "title": "Compte rendu d'essai",
            "created_at": AT,
            "author": Author("Anne MARTIN", "810000000001", "G15_10/SM26", "Clinique d'essai"),
            "confidentiality": Confidentiality.NORMAL,
        }
        octets = make_cda(unique_id=unique_id, **{**facts, **changes})  # type: ignore[arg-type]
        entry, pdf = read_whole(octets, limits)
        return AttachedDocument(entry, octets, pdf if twin else None)

    return make


@pytest.fixture
def make_letter() -> MakeLetter:
    """Make an indexed letter of attachments (name, content type, octets[, encoding])."""

    def make(*attachments: tuple[object, ...]) -> Message:
        octets = bytearray(b"Subject: essai\r\n\r\n")
        children = []
        for number, attachment in enumerate(attachments, 1):
            name, content_type, content = attachment[:3]
            encoding = attachment[3] if len(attachment) > 3 else "base64"
            assert isinstance(content, bytes)
            start = len(octets)
            octets += base64.encodebytes(content) if encoding == "base64" else content
            children.append(
                Part(
                    str(number),
                    Span(start, start),
                    Span(start, len(octets)),
                    (),
                    str(content_type),
                    ("", ""),
                    encoding=str(encoding),
                    disposition="attachment",
                    disposition_parameters=(("filename", str(name)),) if name else (),
                )
            )
        field = HeaderField("subject", 0, 16, 8, 14)
        root = Part(
            "", Span(0, 18), Span(18, len(octets)), (field,), "multipart/mixed", ("", ""), children=tuple(children)
        )
        return Message(bytes(octets), Structure(root))

    return make


def central_field(archive: bytes, offset: int, fmt: str, value: int, *, local_offset: int | None = None) -> bytes:
    """Return the archive with a field of its first entry's directory record (and local header) replaced."""
    out = bytearray(archive)
    struct.pack_into(fmt, out, archive.index(b"PK\x01\x02") + offset, value)
    if local_offset is not None:
        struct.pack_into(fmt, out, archive.index(b"PK\x03\x04") + local_offset, value)
    return bytes(out)


@pytest.fixture
def patched() -> Callable[..., bytes]:
    return central_field
