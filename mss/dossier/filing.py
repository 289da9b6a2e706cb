"""What documents a letter carries, and whether they belong to the patient whose box it reaches.

No letter makes it fail: what cannot be read becomes a problem with a name. It files nothing itself. One letter
concerns one patient (ECO.2.1.1, MSSANTE.md §2.C); identities are compared as the INS référentiel asks, matricule
and OID exactly, traits without accents, case, hyphens and spaces.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from mss.config import Limits
from mss.dossier import cda, xdm
from mss.dossier.categories import CATEGORIES, DEPOSIT_TYPES, category_of
from mss.dossier.deposit import Unfileable, fileable_by_patient
from mss.errors import Malformed
from mss.mail.content import decoded
from mss.model.document import AttachedDocument, Confidentiality, PatientIdentity, Submission
from mss.model.filing import DocumentVerdict, FilingReason, FilingVerdict, Problem
from mss.model.ins import INS, INS_OIDS, TEST_OIDS, Traits, parse_matricule
from mss.model.message import Message, Part

__all__ = (
    "CATEGORIES", "DEPOSIT_TYPES", "Unfileable", "category_of", "fileable_by_patient", "match", "read",
)  # fmt: skip

_ARCHIVE: Final = "IHE_XDM.ZIP"
# A letter carries one archive; a few more are read, in case a sender did not know.
ARCHIVES_MAX: Final = 4
_XML_TYPES: Final = frozenset({"text/xml", "application/xml", "application/hl7-cda+xml", "application/cda+xml"})


@dataclass(frozen=True, slots=True)
class _Attachments:
    """The decoded attachments that matter, by what their octets are."""

    archives: tuple[bytes, ...]
    clinical: tuple[bytes, ...]
    pdfs: tuple[bytes, ...]


def read(message: Message, limits: Limits) -> Submission:
    """Return the documents of a letter: those of its XDM archives, then bare CDAs; each unique id once.

    A CDA without a readable twin gets an attached PDF as one when only one can be meant. All archives share
    one bound on inflated octets.
    """
    attached = _attachments(message)
    documents: list[AttachedDocument] = []
    problems: list[str] = [Problem.ARCHIVES_TOO_MANY] if len(attached.archives) > ARCHIVES_MAX else []
    unique_id = ""
    left = limits.zip_uncompressed_max_octets
    for archive in attached.archives[:ARCHIVES_MAX]:
        try:
            submission = xdm.read(archive, replace(limits, zip_uncompressed_max_octets=left))
        except Malformed as error:
            problems.append(str(error))
            continue
        left -= sum(len(d.octets) + len(d.companion_pdf or b"") for d in submission.documents)
        documents += submission.documents
        problems += submission.problems
        unique_id = unique_id or submission.unique_id
    for octets in attached.clinical:
        try:
            entry, pdf = cda.read_whole(octets, limits)
        except Malformed:
            problems.append(Problem.DOCUMENT_UNREADABLE)
            continue
        documents.append(AttachedDocument(entry, octets, pdf))
    once = _once(documents, problems)
    return Submission(_paired(once, attached.pdfs), unique_id, tuple(dict.fromkeys(problems)))


def _once(documents: list[AttachedDocument], problems: list[str]) -> list[AttachedDocument]:
    """Return each document once; two contents under one unique id are a problem, and neither can be trusted."""
    kept: dict[str, AttachedDocument] = {}
    for document in documents:
        unique_id = document.entry.unique_id
        first = kept.setdefault(unique_id, document)
        if first.octets != document.octets:
            problems.append(Problem.DOCUMENT_TWICE)
            kept[unique_id] = replace(first, defect=Problem.DOCUMENT_TWICE)
    return list(kept.values())


def _paired(documents: list[AttachedDocument], pdfs: tuple[bytes, ...]) -> tuple[AttachedDocument, ...]:
    alone = [d for d in documents if d.companion_pdf is None and d.entry.mime_type == cda.MIME_TYPE]
    taken = {d.companion_pdf for d in documents}
    free = [pdf for pdf in dict.fromkeys(pdfs) if pdf not in taken]
    if len(alone) != 1 or len(free) != 1:
        return tuple(documents)
    return tuple(replace(d, companion_pdf=free[0]) if d is alone[0] else d for d in documents)


def _attachments(message: Message) -> _Attachments:
    archives, clinical, pdfs = [], [], []
    for part in _leaves(message.structure.root):
        octets = _candidate(message, part)
        if octets is None:
            continue
        if octets.startswith(b"%PDF-"):
            pdfs.append(octets)
        elif _is_archive(octets, part):
            archives.append(octets)
        elif cda.looks_like_cda(octets):
            clinical.append(octets)
    return _Attachments(tuple(archives), tuple(clinical), tuple(pdfs))


def _leaves(root: Part) -> Iterator[Part]:
    """Yield the parts with content of their own; letters inside the letter are not looked into."""
    return (part for part in root.walk() if not part.children and part.embedded is None)


def _candidate(message: Message, part: Part) -> bytes | None:
    """Return the decoded octets of a part that may be an archive, a CDA or a PDF; None for all others."""
    name = (part.filename or "").upper()
    if not name and part.content_type.startswith("text/") and part.content_type not in _XML_TYPES:
        return None
    if part.content_type.startswith(("image/", "audio/", "video/")) and not name.endswith((".ZIP", ".XML", ".PDF")):
        return None
    return decoded(message, part)


def _is_archive(octets: bytes, part: Part) -> bool:
    if (part.filename or "").strip().upper() == _ARCHIVE:
        return True
    return octets.startswith(b"PK") and b"IHE_XDM" in octets.upper()


def match(box_ins: INS, box_traits: Traits | None, submission: Submission, *, test_identities: bool) -> FilingVerdict:
    """Say of each document whether it belongs into this patient's dossier, and of the letter whether to refuse it.

    `box_traits` are what we know of the patient, None or empty fields when we do not: those are not compared.
    The letter is refused when every document names another valid matricule (a test one counts in test mode only).
    """
    verdicts = tuple(_judge(box_ins, box_traits, document, test_identities) for document in submission.documents)
    levels = [document.entry.confidentiality for document in submission.documents]
    return FilingVerdict(
        verdicts,
        refused=bool(verdicts) and all(v.reason is FilingReason.OTHER_PATIENT for v in verdicts),
        invisible_to_patient=any(Confidentiality.INVISIBLE_PATIENT in level for level in levels),
        invisible_to_representatives=any(Confidentiality.INVISIBLE_REPRESENTATIVES in level for level in levels),
    )


def _judge(
    box_ins: INS, box_traits: Traits | None, document: AttachedDocument, test_identities: bool
) -> DocumentVerdict:
    patient = document.entry.patient
    reason = _identity(box_ins, patient, test_identities)
    if reason is FilingReason.MATCHES:
        reason = FilingReason.DAMAGED if document.defect else _traits(box_traits, patient.traits)
    return DocumentVerdict(document.entry.unique_id, reason)


def _identity(box_ins: INS, patient: PatientIdentity, test_identities: bool) -> FilingReason:
    """Compare the identifiers that are INS ones; the others (a hospital's own number) say nothing here."""
    named = {(value, oid) for value, oid in patient.identifiers if oid in INS_OIDS and value.strip()}
    if not named:
        return FilingReason.NO_INS
    counted = {(value, oid) for value, oid in named if test_identities or oid not in TEST_OIDS}
    try:
        matricules = {parse_matricule(value) for value, _ in counted}
    except Malformed:
        return FilingReason.BAD_MATRICULE
    if matricules and box_ins.matricule not in matricules:
        return FilingReason.OTHER_PATIENT
    if counted != named:
        return FilingReason.TEST_IDENTITY
    if len(matricules) > 1:
        return FilingReason.SEVERAL_PATIENTS
    return FilingReason.MATCHES if {oid for _, oid in named} == {box_ins.oid} else FilingReason.OID_DIFFERS


def _traits(box: Traits | None, document: Traits) -> FilingReason:
    written = [_plain(value) for value in _values(document)]
    if not all(written):
        return FilingReason.TRAITS_INCOMPLETE
    known = [_plain(value) for value in _values(box or Traits())]
    same = all(ours in ("", theirs) for ours, theirs in zip(known, written, strict=True))
    return FilingReason.MATCHES if same else FilingReason.TRAITS_DIFFER


def _values(traits: Traits) -> tuple[str, ...]:
    return (traits.birth_name, traits.first_name, traits.birth_date, traits.sex)


_LIGATURES: Final = str.maketrans({"Œ": "OE", "Æ": "AE", "ẞ": "SS"})


def _plain(value: str) -> str:
    """Return the letters and digits of a trait in upper case, without accents."""
    apart = unicodedata.normalize("NFKD", value.upper().translate(_LIGATURES))
    return "".join(character for character in apart if character.isalnum())
