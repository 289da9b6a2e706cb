"""The marks of MSSanté: closing, no answer, XDM subjects, the sending software."""

from __future__ import annotations

import pytest

from mss.errors import Malformed
from mss.mail import markers, mime
from tests.mail.letters import LIMITS, index, xdm_letter


def test_the_shape_that_health_software_sends() -> None:
    marks = markers.read(mime.index(xdm_letter(), LIMITS))
    assert marks == markers.Markers(
        subject="CR d'examens biologiques PAT-TROIS Dominique 03/12/1979",
        xdm=True,
        software="DEV935997",
        ins_qualified=True,
        document_codes=("11502-2", "11502-2"),
    )


def test_a_letter_without_marks() -> None:
    assert markers.read(index(b"To: a@b")) == markers.Markers()


@pytest.mark.parametrize(
    ("subject", "closing"),
    [
        (b"[FIN]", True),
        (b"  [FIN] \t", True),
        (b"\r\n [FIN]", True),
        (b"=?utf-8?q?=5BFIN=5D?=", True),
        (b"[fin]", False),
        (b"[FIN] merci", False),
        (b"Re: [FIN]", False),
        (b"[ FIN ]", False),
        (b"FIN", False),
    ],
)
def test_closing(subject: bytes, closing: bool) -> None:
    assert markers.read(index(b"Subject: " + subject)).closing is closing


@pytest.mark.parametrize(
    ("lines", "answerable"),
    [
        ([b"X-MSS-MES: FIN"], False),
        ([b"x-mss-mes:fin "], False),
        ([b"X-MSS-MES: x", b"X-MSS-MES: FIN"], False),
        ([b"X-MSS-MES: FINI"], True),
        ([b"X-MSS-MES:"], True),
        ([], True),
    ],
)
def test_answerable(lines: list[bytes], answerable: bool) -> None:
    assert markers.read(index(*lines)).answerable is answerable


@pytest.mark.parametrize(
    ("subject", "shown", "xdm"),
    [
        ("XDM/1.0/DDM+CR d'examens VIAL Paul", "CR d'examens VIAL Paul", True),
        ("XDM/1.0/DDM +CR", "CR", True),
        ("xdm/1.0/ddm+CR", "CR", True),
        ("XDM/1.0/DDM", "", True),
        ("Re: XDM/1.0/DDM+CR", "Re: CR", True),
        ("RE : TR: XDM/1.0/DDM+CR", "RE : TR: CR", True),
        ("About XDM/1.0/DDM+CR", "About XDM/1.0/DDM+CR", False),
        ("XDM/1.0/DDM+XDM/1.0/DDM+CR", "XDM/1.0/DDM+CR", True),
        ("Re: hello", "Re: hello", False),
        ("", "", False),
    ],
)
def test_xdm_subjects(subject: str, shown: str, xdm: bool) -> None:
    assert markers.display_subject(subject) == shown
    assert markers.read(index(b"Subject: " + subject.encode())).xdm is xdm


@pytest.mark.parametrize(("value", "qualified"), [(b"O", True), (b" n", False), (b"X", None), (b"", None)])
def test_ins(value: bytes, qualified: bool | None) -> None:
    assert markers.read(index(b"X-MSS-INS: " + value)).ins_qualified is qualified


@pytest.mark.parametrize(
    ("value", "codes"),
    [
        (b"34112-3", ("34112-3",)),
        (b"34112-3 , SYNTH,34112-3", ("34112-3", "SYNTH", "34112-3")),
        (b",, a b, <x>", ()),
        (b",".join([b"1"] * 101), ("1",) * 100),
        (b"x" * 65, ()),
        (b"x" * 64, ("x" * 64,)),
    ],
)
def test_document_codes(value: bytes, codes: tuple[str, ...]) -> None:
    assert markers.read(index(b"X-MSS-CODECDA: " + value)).document_codes == codes


def test_the_software_is_cut_where_it_is_too_long() -> None:
    assert markers.read(index(b"X-MSS-NIL: " + b"x" * 500)).software == "x" * 200
    assert markers.read(index(b"X-MSS-NIL:")).software is None


def test_making_the_fields() -> None:
    assert markers.header_fields() == ()
    made = markers.header_fields(answerable=False, software="DEV1", ins_qualified=False, document_codes=("a", "a"))
    assert made == (("X-MSS-MES", "FIN"), ("X-MSS-NIL", "DEV1"), ("X-MSS-INS", "N"), ("X-MSS-CODECDA", "a,a"))
    lines = [f"{name}: {value}".encode() for name, value in made]
    marks = markers.read(index(*lines))
    assert (marks.answerable, marks.software, marks.ins_qualified, marks.document_codes) == (
        False, "DEV1", False, ("a", "a"),
    )  # fmt: skip
    with pytest.raises(Malformed):
        markers.header_fields(document_codes=("a,b",))
