"""How well letters keep to the rules for software: each check in each of its results, and never a failure."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mss.config import Limits
from mss.dossier import conformity, filing
from mss.dossier.conformity import Check, Result
from mss.mail import mime
from mss.model.document import AttachedDocument, DocumentEntry, DocumentFormat, PatientIdentity, Submission
from mss.model.ins import OID_NIR, Traits

LIMITS = Limits()
TRAITS = Traits("DUPONT", "ÉLODIE", "19550815", "F")
ME, OTHER = "255081416802538", "294037512000591"
QUALIFIED = PatientIdentity(((ME, OID_NIR),), TRAITS)


def cda(code: str = "11502-2", patient: PatientIdentity = QUALIFIED, *, twin: bool = True) -> AttachedDocument:
    entry = DocumentEntry(f"1.2.{code}", DocumentFormat.CDA, type_code=code, patient=patient)
    return AttachedDocument(entry, b"<x/>", b"%PDF-" if twin else None)


def measured(header: str, *documents: AttachedDocument, problems: tuple[str, ...] = ()) -> dict[Check, Result]:
    message = mime.index(header.encode() + b"\r\n\r\nBonjour\r\n", LIMITS)
    return dict(conformity.measure(message, Submission(documents, problems=problems)))


def test_a_letter_that_keeps_to_everything() -> None:
    marks = "X-MSS-NIL: DEV935997\r\nX-MSS-INS: O\r\nX-MSS-CODECDA: 11502-2,11488-4"
    header = "Subject: XDM/1.0/DDM+CR DUPONT Elodie\r\n" + marks
    assert measured(header, cda(), cda("11488-4")) == dict.fromkeys(Check, Result.GOOD)


def test_a_plain_letter_lacks_nothing_but_its_software() -> None:
    found = measured("Subject: Bonjour")
    assert found.pop(Check.SOFTWARE) is Result.MISSING
    assert set(found.values()) == {Result.NONE}


@pytest.mark.parametrize(
    ("header", "documents", "check", "result"),
    [
        ("X-MSS-NIL: DEV935997", (), Check.SOFTWARE, Result.GOOD),
        ("X-MSS-NIL:", (), Check.SOFTWARE, Result.MISSING),
        ("X-MSS-INS: O", (), Check.INS, Result.NEEDLESS),
        ("X-A: b", (cda(),), Check.INS, Result.MISSING),
        ("X-MSS-INS: N", (cda(),), Check.INS, Result.WRONG),
        ("X-MSS-INS: maybe", (cda(),), Check.INS, Result.WRONG),
        ("X-MSS-INS: O", (cda(patient=PatientIdentity((("7", "1.2.3"),), TRAITS)),), Check.INS, Result.WRONG),
        ("X-MSS-INS: N", (cda(patient=PatientIdentity((("7", "1.2.3"),), TRAITS)),), Check.INS, Result.GOOD),
        ("X-MSS-INS: N", (cda(patient=replace(QUALIFIED, traits=replace(TRAITS, sex=""))),), Check.INS, Result.GOOD),
        ("X-MSS-CODECDA: 11502-2", (), Check.CODES, Result.NEEDLESS),
        ("X-A: b", (cda(),), Check.CODES, Result.MISSING),
        ("X-MSS-CODECDA: 11502-2", (cda(), cda()), Check.CODES, Result.WRONG),
        ("X-MSS-CODECDA: 11502-2, 11502-2", (cda(), cda()), Check.CODES, Result.GOOD),
        ("X-MSS-CODECDA: 11488-4,11502-2", (cda(), cda("11488-4")), Check.CODES, Result.GOOD),
        ("Subject: XDM/1.0/DDM+x", (), Check.SUBJECT, Result.NEEDLESS),
        ("Subject: CR", (cda(),), Check.SUBJECT, Result.MISSING),
        ("Subject: Re: XDM/1.0/DDM+x", (cda(),), Check.SUBJECT, Result.WRONG),
        ("Subject: XDM/1.0/DDM x", (cda(),), Check.SUBJECT, Result.WRONG),
        ("X-A: b", (cda(twin=False),), Check.PAIRING, Result.MISSING),
        ("X-A: b", (cda(twin=False), cda("11488-4")), Check.PAIRING, Result.WRONG),
        ("X-A: b", (replace(cda(), defect="hash-differs"),), Check.ARCHIVE, Result.WRONG),
        ("X-A: b", (cda(patient=PatientIdentity()),), Check.ONE_PATIENT, Result.MISSING),
        (
            "X-A: b",
            (cda(), cda("2", PatientIdentity(((OTHER, OID_NIR),), TRAITS))),
            Check.ONE_PATIENT,
            Result.WRONG,
        ),
    ],
)
def test_each_check(header: str, documents: tuple[AttachedDocument, ...], check: Check, result: Result) -> None:
    assert measured(header, *documents)[check] is result


def test_an_archive_that_cannot_be_read_is_wrong() -> None:
    assert measured("X-A: b", problems=("archive-unreadable",))[Check.ARCHIVE] is Result.WRONG


@given(st.binary(max_size=300))
def test_garbage_is_measured_too(octets: bytes) -> None:
    message = mime.index(b"Subject: =?utf-8?q?XDM/1.0/DDM+?=\r\nX-MSS-CODECDA: ,,\xff\r\n" + octets, LIMITS)
    found = conformity.measure(message, filing.read(message, LIMITS))
    assert set(found) == set(Check)
