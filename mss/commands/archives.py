"""XDM archives from the command line: made of documents on disk, and explained. No store, no settings, no network."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from mss.config import Limits
from mss.dossier import cda, xdm
from mss.dossier.categories import category_of
from mss.dossier.make import make_cda
from mss.errors import Malformed, Misconfigured
from mss.mail.compose import Correspondent
from mss.model.address import Address, parse_domain
from mss.model.document import AttachedDocument, Author, PatientIdentity, Submission
from mss.model.ins import INS, Traits
from mss.services import welcome
from mss.services.welcome import Welcome

_PDF: Final = b"%PDF-"
# A file on somebody's own disk belongs to no operator: it is read under the limits that every operator begins with.
_LIMITS: Limits = Limits()


@dataclass(frozen=True, slots=True)
class About:
    """What a PDF does not say of itself, as somebody typed it; needed for PDFs alone."""

    ins: str = ""
    oid: str = ""
    birth_name: str = ""
    first_name: str = ""
    birth_date: str = ""
    sex: str = ""
    title: str = ""
    type_code: str = ""
    type_label: str = ""
    author: str = ""
    organisation: str = ""


@dataclass(frozen=True, slots=True)
class Built:
    """An archive, and what the letter that carries it has to have: subject, X-MSS fields, files beside it."""

    octets: bytes
    subject: str
    fields: tuple[tuple[str, str], ...]
    beside: Mapping[str, bytes]


def build(
    documents: Sequence[Path], twins: Sequence[Path], about: About, source: str, software: str, now: datetime
) -> Built:
    """Make an archive of CDAs; a PDF becomes a level 1 CDA with what `about` says of it."""
    limits, unique = _LIMITS, secrets.token_hex(16)
    octets = tuple(_clinical(_octets(path), about, now) for path in documents)
    wish = Welcome(_nobody(source), _nobody(source).address, octets, unique, twins=tuple(map(_octets, twins)))
    attached = welcome.read_documents(wish, limits)
    archive, *beside = welcome.structured(attached, source, unique, now)
    found = xdm.read(archive.octets, limits)
    if found.problems or len(found.documents) != len(attached):
        raise Malformed(f"the archive would not be read back: {', '.join(found.problems)}")
    fields = welcome.marks(attached, software=software)
    return Built(archive.octets, welcome.subject(attached), fields, {one.name: one.octets for one in beside})


def _nobody(source: str) -> Correspondent:
    return Correspondent(Address("postmaster", parse_domain(source)))


def _clinical(octets: bytes, about: About, now: datetime) -> bytes:
    if not octets.startswith(_PDF):
        return octets
    lacking = [name for name, value in asdict(about).items() if not value and name not in ("oid", "organisation")]
    if lacking:
        options = ", ".join(f"--{name.replace('_', '-')}" for name in lacking)
        raise Malformed(f"a PDF does not say whom it is about: give {options}")
    ins = INS.parse(about.ins, about.oid) if about.oid else INS.parse(about.ins)
    traits = Traits(about.birth_name, about.first_name, about.birth_date, about.sex)
    return make_cda(
        patient=PatientIdentity(((ins.matricule, ins.oid),), traits),
        unique_id=f"2.25.{secrets.randbits(127)}",
        title=about.title,
        created_at=now,
        author=Author(about.author, organisation=about.organisation),
        type_code=about.type_code,
        type_label=about.type_label,
        pdf=octets,
        custodian=about.organisation,
    )


def _octets(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise Misconfigured(f"cannot read {path}: {error.strerror}") from error


def read(path: Path) -> Submission:
    """Return what an archive, or a CDA alone, holds; Malformed says what is wrong with it."""
    octets, limits = _octets(path), _LIMITS
    if octets.startswith(b"PK"):
        return xdm.read(octets, limits)
    entry, pdf = cda.read_whole(octets, limits)
    return Submission((AttachedDocument(entry, octets, pdf),))


def facts(document: AttachedDocument) -> dict[str, str]:
    """Return what there is to know of a document, as a person reads it; empty facts are left out."""
    entry = document.entry
    traits = entry.patient.traits
    found = {
        "document": entry.unique_id,
        "format": f"{entry.format.value}{', level 1' if entry.has_body_pdf else ''}",
        "title": entry.title,
        "type": " ".join(filter(None, (entry.type_code, entry.type_label))),
        "category": category_of(entry.type_code),
        "class": entry.class_code,
        "content model": entry.format_code,
        "written": entry.created_at.isoformat() if entry.created_at else "",
        "patient": ", ".join(f"{value} ({oid})" for value, oid in entry.patient.identifiers),
        "traits": " ".join(filter(None, (traits.birth_name, traits.first_name, traits.birth_date, traits.sex))),
        "INS qualified": "yes" if welcome.is_qualified(entry.patient) else "no",
        "authors": ", ".join(filter(None, (" ".join(filter(None, (a.name, a.person_id))) for a in entry.authors))),
        "custodian": entry.custodian,
        "confidentiality": " ".join(sorted(entry.confidentiality)),
        "version": f"{entry.version}{f' of {entry.set_id}' if entry.set_id else ''}",
        "replaces": entry.replaces,
        "appends": entry.appends,
        "language": entry.language,
        "octets": str(len(document.octets)),
        "readable PDF": str(len(document.companion_pdf)) if document.companion_pdf else "none",
        "not to be filed": document.defect,
    }
    return {name: value for name, value in found.items() if value}
