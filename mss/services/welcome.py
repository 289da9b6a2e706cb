"""The structured first letter to a patient: IHE_XDM.zip, readable twins and marks (MSSANTE.md §2.C, ECO.2.1.1–2.4.3).

It only composes: the policy decides whether the letter may go, when it is handed to `submit.accept`.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from mss.config import Limits
from mss.dossier import cda, xdm
from mss.errors import Malformed
from mss.mail.compose import Attachment, Correspondent, Draft, compose, message_id
from mss.mail.markers import XDM_PREFIX, header_fields
from mss.model.address import Address
from mss.model.document import AttachedDocument, PatientIdentity
from mss.model.ins import INS, Traits

LABEL_MAX_CHARACTERS: Final = 40
ARCHIVE: Final = "IHE_XDM.ZIP"
# The patient reads French; `text` replaces it.
TEXT: Final = (
    "Bonjour,\n\n"
    "Vous trouverez ci-joint un ou plusieurs documents concernant votre santé.\n"
    "Ils sont aussi rangés dans vos documents.\n"
)
TEXT_ANSWERABLE: Final = "\nVous pouvez répondre à ce message.\n"
TEXT_NOT_ANSWERABLE: Final = "\nCe message n’autorise pas la réponse.\n"

_NOT_IN_A_NAME = re.compile(r"[^A-Za-z0-9.-]+")
_NOT_IN_A_LABEL = re.compile(r"[\x00-\x1f\x7f]+")


@dataclass(frozen=True, slots=True)
class Welcome:
    """What to write: from whom, to which patient's address, about which CDAs (octets), in order.

    `twins` are readable PDFs, one for each document or none at all; without them the PDF inside a level 1 CDA is
    taken. `software` is the sender's product number (X-MSS-NIL). `unique` is a word that was never used before.
    """

    sender: Correspondent
    to: Address
    documents: tuple[bytes, ...]
    unique: str
    text: str = ""
    twins: tuple[bytes, ...] = ()
    cc: tuple[Correspondent, ...] = ()
    reply_to: tuple[Correspondent, ...] = ()
    answerable: bool = True
    software: str = ""


def compose_welcome(wish: Welcome, limits: Limits, now: datetime) -> bytes:
    """Return the letter; the same wish at the same time gives the same octets. Malformed says what does not fit."""
    attached = read_documents(wish, limits)
    patient = attached[0].entry.patient
    draft = Draft(
        sender=wish.sender,
        to=(Correspondent(wish.to, shown_name(patient.traits)),),
        cc=wish.cc,
        reply_to=wish.reply_to,
        subject=subject(attached),
        date=now,
        message_id=message_id(wish.unique, wish.sender.address.domain),
        text=wish.text or TEXT + (TEXT_ANSWERABLE if wish.answerable else TEXT_NOT_ANSWERABLE),
        attachments=structured(attached, wish.sender.address.domain, wish.unique, now),
        extra=marks(attached, answerable=wish.answerable, software=wish.software),
    )
    return compose(draft)


def structured(attached: Sequence[AttachedDocument], source: str, unique: str, now: datetime) -> tuple[Attachment, ...]:
    """Return the archive with the documents, and their readable twins beside it; `source` names who submits them."""
    archive = xdm.build(attached, unique_id=_oid(unique), source_id=_oid(source), submitted_at=now)
    return (Attachment(ARCHIVE, "application/zip", archive), *_twins(attached))


def marks(
    attached: Sequence[AttachedDocument], *, answerable: bool = True, software: str = ""
) -> tuple[tuple[str, str], ...]:
    """Return the X-MSS fields of a letter with these documents."""
    return header_fields(
        answerable=answerable,
        software=software,
        ins_qualified=is_qualified(attached[0].entry.patient),
        document_codes=tuple(one.entry.type_code for one in attached if one.entry.type_code),
    )


def read_documents(wish: Welcome, limits: Limits) -> tuple[AttachedDocument, ...]:
    """Read the CDAs; Malformed when there is none, one cannot be read, or two name different patients."""
    if not wish.documents:
        raise Malformed("a structured letter needs at least one document")
    if wish.twins and len(wish.twins) != len(wish.documents):
        raise Malformed("give one readable PDF for each document, in their order, or none at all")
    if not all(twin.startswith(b"%PDF-") for twin in wish.twins):
        raise Malformed("a readable twin must be a PDF")
    attached = []
    for number, octets in enumerate(wish.documents):
        entry, embedded = cda.read_whole(octets, limits)
        attached.append(AttachedDocument(entry, octets, wish.twins[number] if wish.twins else embedded))
    if len({one.entry.patient.identifiers for one in attached}) > 1:
        raise Malformed("the documents name different patients: one letter concerns one patient")
    if len({one.entry.unique_id for one in attached}) != len(attached):
        raise Malformed("two documents have the same unique id")
    return tuple(attached)


def subject(attached: Sequence[AttachedDocument]) -> str:
    """Return the subject of ECO.2.1.3: prefix, label, birth name, first name and birth date."""
    traits = attached[0].entry.patient.traits
    parts = (_label(attached), _upper(traits.birth_name), _upper(traits.first_name), _date(traits.birth_date))
    return XDM_PREFIX + " ".join(filter(None, parts))


def is_qualified(patient: PatientIdentity) -> bool:
    """Say whether a document carries a valid matricule with its OID and the four traits (ECO.2.4.2)."""
    traits = patient.traits
    whole = all((traits.birth_name, traits.first_name, traits.birth_date, traits.sex))
    return whole and any(_is_ins(matricule, oid) for matricule, oid in patient.identifiers)


def _is_ins(matricule: str, oid: str) -> bool:
    try:
        INS.parse(matricule, oid)
    except Malformed:
        return False
    return True


def _label(attached: Sequence[AttachedDocument]) -> str:
    if len(attached) > 1:
        return f"{len(attached)} documents"
    return _document_label(attached[0])


def _document_label(document: AttachedDocument) -> str:
    entry = document.entry
    label = entry.type_label or entry.title or "Document"
    return _NOT_IN_A_LABEL.sub(" ", label)[:LABEL_MAX_CHARACTERS].strip()


def _upper(name: str) -> str:
    """Return a name in upper case without accents."""
    return _NOT_IN_A_LABEL.sub(" ", _bare(name)).upper().strip()


def _bare(text: str) -> str:
    return "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))


def _date(yyyymmdd: str) -> str:
    whole = len(yyyymmdd) == 8 and yyyymmdd.isdigit()
    return f"{yyyymmdd[6:]}/{yyyymmdd[4:6]}/{yyyymmdd[:4]}" if whole else ""


def shown_name(traits: Traits) -> str:
    """Return what a patient is called in a letter's header."""
    return " ".join(filter(None, (traits.first_name.title(), traits.birth_name.upper())))


def _twins(attached: Sequence[AttachedDocument]) -> tuple[Attachment, ...]:
    return tuple(
        Attachment(_twin_name(document, number), "application/pdf", document.companion_pdf)
        for number, document in enumerate(attached, 1)
        if document.companion_pdf is not None
    )


def _twin_name(document: AttachedDocument, number: int) -> str:
    """Return the file name of ECO.2.1.6: date of the act, type, name, first name and number."""
    entry = document.entry
    day = entry.created_at.strftime("%Y%m%d") if entry.created_at else ""
    traits = entry.patient.traits
    words = (day, _document_label(document), _upper(traits.birth_name), _upper(traits.first_name), str(number))
    return "_".join(filter(None, map(_file_word, words))) + ".pdf"


def _file_word(text: str) -> str:
    return _NOT_IN_A_NAME.sub("-", _bare(text)).strip("-")


def _oid(word: str) -> str:
    """Return the OID under 2.25 that belongs to a word (RFC 9562 §5.5, §5.8)."""
    return f"2.25.{int.from_bytes(hashlib.sha256(word.encode()).digest()[:16], 'big')}"
