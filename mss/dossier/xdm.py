"""An IHE_XDM archive: its documents with what the metadata say of them, and the making of one.

A merely odd archive gives what can be read and a list of problems; a hostile one is Malformed. It does not
decide whose documents these are. IHE ITI TF-1 §16, TF-2 §3.32; MSSANTE.md §3.5.

Rules:
1. Only the metadata, the documents that they list, and XML and PDF files beside them are ever inflated.
2. The CDA header rules. Metadata add levels of confidentiality and the patient that they name: a second
   patient there makes the document name two.
3. A PDF with the name of a CDA's file is its readable twin; without one, the PDF inside a level 1 CDA is.
"""

from __future__ import annotations

import hashlib
import posixpath
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from mss.config import Limits
from mss.dossier import cda, metadata
from mss.dossier.archive import Archive, open_archive, pack, read_entry
from mss.dossier.metadata import Listed, SubmissionSet, Written
from mss.errors import Malformed
from mss.model.document import AttachedDocument, DocumentEntry, DocumentFormat, PatientIdentity, Submission
from mss.model.filing import Problem
from mss.xml import parse

_METADATA = re.compile(r"(?:.*/)?IHE_XDM/[^/]+/METADATA\.XML\Z", re.IGNORECASE)
_INSIDE = re.compile(r"(?:.*/)?IHE_XDM/[^/]+/[^/]+\.(XML|PDF)\Z", re.IGNORECASE)
_PDF: Final = "application/pdf"
_SUBSET: Final = "IHE_XDM/SUBSET01"


@dataclass(frozen=True, slots=True)
class _Found:
    """A file of the archive that may be a document, with what the metadata say of it."""

    name: str
    listed: Listed | None
    octets: bytes
    problems: tuple[Problem, ...] = ()

    @property
    def stem(self) -> str:
        return self.name.rpartition(".")[0].casefold()

    @property
    def is_pdf(self) -> bool:
        return b"%PDF-" in self.octets[:1024]


def read(octets: bytes, limits: Limits) -> Submission:
    """Return the archive's documents; Malformed with a Problem when the archive is damaged or hostile."""
    archive = open_archive(octets, limits)
    subsets, problems = _subsets(archive, limits)
    found, more = _files(archive, subsets, limits)
    documents, last = _documents(found, limits)
    problems += more + last
    if not documents:
        problems.append(Problem.NO_DOCUMENT)
    unique_id = next((subset.unique_id for subset in subsets.values()), "")
    return Submission(tuple(documents), unique_id, tuple(dict.fromkeys(problems)))


def _subsets(archive: Archive, limits: Limits) -> tuple[dict[str, SubmissionSet], list[str]]:
    """Return folder → what its METADATA.XML says."""
    subsets: dict[str, SubmissionSet] = {}
    problems: list[str] = []
    for name in filter(_METADATA.match, archive.entries):
        if archive.entries[name].file_size > limits.cda_max_octets:
            problems.append(Problem.METADATA_UNREADABLE)
            continue
        octets = read_entry(archive, name)
        try:
            root = parse(octets, max_octets=limits.cda_max_octets, depth_max=limits.xml_depth_max)
        except Malformed:
            problems.append(Problem.METADATA_UNREADABLE)
            continue
        subsets[posixpath.dirname(name)] = metadata.read(root)
    if not subsets and not problems:
        problems.append(Problem.METADATA_MISSING)
    return subsets, problems


def _files(archive: Archive, subsets: dict[str, SubmissionSet], limits: Limits) -> tuple[list[_Found], list[str]]:
    """Return the listed files, then the XML and PDF files beside them that no metadata list."""
    by_name = {name.casefold(): name for name in archive.entries}
    found: dict[str, _Found] = {}
    problems: list[str] = []
    for folder, subset in subsets.items():
        for listed in subset.listed:
            name = by_name.get(_path(folder, listed.uri).casefold())
            if name is None or name in found:
                problems.append(Problem.DOCUMENT_MISSING if name is None else Problem.DOCUMENT_TWICE)
            elif archive.entries[name].file_size > limits.cda_max_octets:
                problems.append(Problem.DOCUMENT_TOO_LARGE)
            else:
                found[name] = _checked(name, listed, read_entry(archive, name))
    for name in _unlisted(archive, found):
        if archive.entries[name].file_size > limits.cda_max_octets:
            problems.append(Problem.DOCUMENT_TOO_LARGE)
        else:
            found[name] = _Found(name, None, read_entry(archive, name))
    return list(found.values()), problems


def _path(folder: str, uri: str) -> str:
    """Return the name of the entry that a URI names: it counts from the folder of its METADATA.XML."""
    return posixpath.normpath(posixpath.join(folder, uri.replace("\\", "/")))


def _unlisted(archive: Archive, found: dict[str, _Found]) -> Iterator[str]:
    for name in archive.entries:
        if name not in found and _INSIDE.match(name) and not _METADATA.match(name):
            yield name


def _checked(name: str, listed: Listed, octets: bytes) -> _Found:
    problems = []
    if listed.size_octets is not None and listed.size_octets != len(octets):
        problems.append(Problem.SIZE_DIFFERS)
    # IHE fixes SHA-1 here; it guards against damage, not against forgery.
    if listed.hash_hex and listed.hash_hex != hashlib.sha1(octets, usedforsecurity=False).hexdigest():
        problems.append(Problem.HASH_DIFFERS)
    return _Found(name, listed, octets, tuple(problems))


def _documents(found: Sequence[_Found], limits: Limits) -> tuple[list[AttachedDocument], list[str]]:
    """Return the clinical documents, each with its readable twin, then the PDFs that stand for themselves."""
    documents: list[AttachedDocument] = []
    problems: list[str] = [problem for file in found for problem in file.problems]
    pdfs = {file.stem: file for file in found if file.is_pdf}
    for file in found:
        if file.is_pdf:
            continue
        try:
            document, more = _clinical(file, pdfs.get(file.stem), limits)
        except Malformed:
            problems.append(Problem.DOCUMENT_UNREADABLE)
            continue
        documents.append(document)
        problems += more
        pdfs.pop(file.stem, None)
    for file in pdfs.values():
        alone = _alone(file)
        documents += [alone] if alone else []
        problems += [] if alone else [Problem.DOCUMENT_UNLISTED]
    return documents, problems


def _clinical(file: _Found, twin: _Found | None, limits: Limits) -> tuple[AttachedDocument, list[str]]:
    entry, embedded = cda.read_whole(file.octets, limits)
    problems: list[str] = []
    if file.listed is None:
        problems.append(Problem.DOCUMENT_UNLISTED)
    else:
        if file.listed.unique_id not in ("", entry.unique_id):
            problems.append(Problem.UNIQUE_ID_DIFFERS)
        entry = _merged(entry, file.listed)
    pdf = twin.octets if twin and not twin.problems else embedded
    return AttachedDocument(entry, file.octets, pdf, defect=_defect(file)), problems


def _merged(entry: DocumentEntry, listed: Listed) -> DocumentEntry:
    identifiers = tuple(dict.fromkeys(entry.patient.identifiers + listed.patient.identifiers))
    return replace(
        entry,
        title=entry.title or listed.title,
        type_label=entry.type_label or listed.type_label,
        confidentiality=entry.confidentiality | listed.confidentiality,
        patient=PatientIdentity(identifiers, entry.patient.traits),
        class_code=listed.class_code,
        format_code=listed.format_code or entry.format_code,
        replaces=entry.replaces or listed.replaces,
        appends=entry.appends or listed.appends,
    )


def _alone(file: _Found) -> AttachedDocument | None:
    """Return a PDF that the metadata list as a document in its own right; None without identifier there."""
    listed = file.listed
    if listed is None or not listed.unique_id or listed.mime_type not in ("", _PDF):
        return None
    entry = DocumentEntry(
        unique_id=listed.unique_id,
        format=DocumentFormat.PDF,
        title=listed.title,
        type_code=listed.type_code,
        type_system=listed.type_system,
        type_label=listed.type_label,
        created_at=listed.created_at,
        confidentiality=listed.confidentiality,
        patient=listed.patient,
        mime_type=_PDF,
        language=listed.language,
        class_code=listed.class_code,
        format_code=listed.format_code,
        replaces=listed.replaces,
        appends=listed.appends,
    )
    return AttachedDocument(entry, file.octets, defect=_defect(file))


def _defect(file: _Found) -> str:
    return next(iter(file.problems), "")


def build(documents: Sequence[AttachedDocument], *, unique_id: str, source_id: str, submitted_at: datetime) -> bytes:
    """Return an archive with these documents and their twins, which `read` reads back: same input, same octets."""
    files: list[tuple[str, bytes]] = []
    written = []
    for number, document in enumerate(documents, 1):
        name = file_name(number, document.entry)
        files.append((place(name), document.octets))
        if document.companion_pdf is not None:
            files.append((place(f"DOC{number:05}.PDF"), document.companion_pdf))
        digest = hashlib.sha1(document.octets, usedforsecurity=False).hexdigest()
        written.append(Written(document.entry, name, len(document.octets), digest))
    first = head(written, unique_id=unique_id, source_id=source_id, submitted_at=submitted_at)
    return pack([*first, *files], submitted_at)


def file_name(number: int, entry: DocumentEntry) -> str:
    """Return the name of a document's file in an archive (8.3, as IHE wants it)."""
    suffix = _SUFFIXES.get(entry.mime_type, "PDF" if entry.format is DocumentFormat.PDF else "XML")
    return f"DOC{number:05}.{suffix}"


def place(name: str) -> str:
    """Return where a file of a document stands in an archive."""
    return f"{_SUBSET}/{name}"


def head(
    written: Sequence[Written], *, unique_id: str, source_id: str, submitted_at: datetime
) -> list[tuple[str, bytes]]:
    """Return the files that describe documents: for whoever writes an archive too large to hold at once."""
    described = metadata.write(written, unique_id=unique_id, source_id=source_id, submitted_at=submitted_at)
    return [
        ("INDEX.HTM", _index([one.uri for one in written])),
        ("README.TXT", _README.encode()),
        (place("METADATA.XML"), described),
    ]


# What patients file by hand besides PDF.
_SUFFIXES: Final = {
    "image/jpeg": "JPG",
    "image/png": "PNG",
    "image/tiff": "TIF",
    "application/rtf": "RTF",
    "text/plain": "TXT",
}
_README: Final = (
    "This archive follows IHE XDM (Cross-Enterprise Document Media Interchange).\r\n"
    "The documents and their METADATA.XML stand in IHE_XDM/SUBSET01.\r\n"
)


def _index(names: Sequence[str]) -> bytes:
    """Return the page that a person opens; names of files only, nothing of the patient."""
    items = "".join(f'<li><a href="{_SUBSET}/{name}">{name}</a></li>\r\n' for name in names)
    page = (
        '<!DOCTYPE html>\r\n<html lang="fr"><head><meta charset="utf-8"><title>Documents</title></head>\r\n'
        f'<body><h1>Documents</h1>\r\n<ul>\r\n{items}</ul>\r\n<p><a href="README.TXT">README</a></p></body></html>\r\n'
    )
    return page.encode()
