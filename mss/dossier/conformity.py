"""How well a submitted letter keeps to what the agency asks of its software (ECO.2.1.1 to ECO.2.4.3, MSSANTE.md §2.C).

It only measures: no result is ever a reason to lose a letter. The results are stable words without content, fit for
metric labels and the journal.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from enum import StrEnum

from mss.mail import markers
from mss.mail.headers import decode_text
from mss.model.document import AttachedDocument, DocumentFormat, Submission
from mss.model.ins import INS_OIDS
from mss.model.message import Message


class Check(StrEnum):
    """What is looked at."""

    SOFTWARE = "software"
    INS = "ins"
    CODES = "codecda"
    SUBJECT = "subject"
    PAIRING = "pairing"
    ARCHIVE = "archive"
    ONE_PATIENT = "one-patient"


class Result(StrEnum):
    """`none`: rightly absent, for there is no document; `needless`: there without a document."""

    GOOD = "good"
    MISSING = "missing"
    WRONG = "wrong"
    NEEDLESS = "needless"
    NONE = "none"


def measure(message: Message, submission: Submission) -> Mapping[Check, Result]:
    """Return a result for each check; the documents are what `filing.read` found."""
    marks = markers.read(message)
    cdas = [one for one in submission.documents if one.entry.format is DocumentFormat.CDA]
    return {
        Check.SOFTWARE: Result.GOOD if marks.software else Result.MISSING,
        Check.INS: _mark(message, "x-mss-ins", cdas, good=marks.ins_qualified is all(map(_qualified, cdas))),
        Check.CODES: _mark(message, "x-mss-codecda", cdas, good=_codes(marks, cdas)),
        Check.SUBJECT: _subject(message, marks, cdas),
        Check.PAIRING: _pairing(cdas),
        Check.ARCHIVE: _archive(submission),
        Check.ONE_PATIENT: _one_patient(cdas),
    }


def _mark(message: Message, name: str, cdas: list[AttachedDocument], *, good: bool) -> Result:
    there = message.header(name) is not None
    if not cdas:
        return Result.NEEDLESS if there else Result.NONE
    if not there:
        return Result.MISSING
    return Result.GOOD if good else Result.WRONG


def _codes(marks: markers.Markers, cdas: list[AttachedDocument]) -> bool:
    """Whether every document's code is named, repeats kept; the order of an archive is not the sender's."""
    return Counter(marks.document_codes) == Counter(one.entry.type_code for one in cdas)


def _qualified(document: AttachedDocument) -> bool:
    """Whether a document names matricule, authority and the four traits."""
    patient = document.entry.patient
    traits = patient.traits
    named = any(value.strip() and oid in INS_OIDS for value, oid in patient.identifiers)
    return named and all((traits.birth_name, traits.first_name, traits.birth_date, traits.sex))


def _subject(message: Message, marks: markers.Markers, cdas: list[AttachedDocument]) -> Result:
    exact = decode_text(message.header("subject") or b"").startswith(markers.XDM_PREFIX)
    if not cdas:
        return Result.NEEDLESS if marks.xdm else Result.NONE
    if exact:
        return Result.GOOD
    return Result.WRONG if marks.xdm else Result.MISSING


def _pairing(cdas: list[AttachedDocument]) -> Result:
    """Judge whether every document comes with its readable twin."""
    twins = sum(one.companion_pdf is not None for one in cdas)
    if not cdas:
        return Result.NONE
    if twins == len(cdas):
        return Result.GOOD
    return Result.WRONG if twins else Result.MISSING


def _archive(submission: Submission) -> Result:
    if submission.problems or any(one.defect for one in submission.documents):
        return Result.WRONG
    return Result.GOOD if submission.documents else Result.NONE


def _one_patient(cdas: list[AttachedDocument]) -> Result:
    """Judge whether all documents name one patient."""
    if not cdas:
        return Result.NONE
    named = [
        {value.strip() for value, oid in one.entry.patient.identifiers if oid in INS_OIDS and value.strip()}
        for one in cdas
    ]
    if not all(named):
        return Result.MISSING
    return Result.GOOD if len(set().union(*named)) == 1 else Result.WRONG
