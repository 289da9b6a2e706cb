"""The matrix of professions and document types, as data."""

from __future__ import annotations

from pathlib import Path

import pytest

from mss.dossier.habilitation import Matrix, load, parse
from mss.errors import Misconfigured

SHIPPED = Path(__file__).resolve().parents[2] / "config" / "habilitations.csv"
HEADER = "code,label,10,21-biologiste,21-officine,60|69,91\n"
TEXT = HEADER + "A,Un type,X,X,,x,\nB,Autre,X,X,X,,\n\n"


@pytest.fixture
def matrix() -> Matrix:
    return parse(TEXT)


@pytest.mark.parametrize(
    ("profession", "document_type", "allowed"),
    [
        ("10", "A", True),
        (" 10 ", "A", True),
        ("G15_10", "A", True),
        ("G15_10/SM26", "A", True),
        ("10-SM26", "A", True),
        ("60", "A", True),
        ("69", "A", True),
        ("60", "B", False),
        ("91", "A", False),
        ("21-biologiste", "A", True),
        ("21-officine", "A", False),
        ("G15_21/G", "A", True),
        ("G15_21/A", "A", False),
        ("G15_21/D", "B", True),
        ("21", "A", False),
        ("21", "B", True),
        ("G15_21/B", "A", False),
        ("G15_21/B", "B", True),
        ("10", "C", None),
        ("28", "A", None),
        ("", "A", None),
        ("médecin", "A", None),
        ("1", "A", None),
        ("101", "A", None),
        ("٢٨", "A", None),
    ],
)
def test_who_may_read_what(matrix: Matrix, profession: str, document_type: str, allowed: bool | None) -> None:
    assert matrix.allows(profession, document_type) is allowed


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "line 1: the header"),
        ("code,label\n", "line 1: the header"),
        ("type,label,10\n", "line 1: the header"),
        ("code,label,doctor\n", "line 1: “doctor” is no profession"),
        ("code,label,10|\n", "line 1: “10|” is no profession"),
        (HEADER + "A,Un,X,X,X,X\n", "line 2: a row holds"),
        (HEADER + "A,Un,X,X,X,X,X,X\n", "line 2: a row holds"),
        (HEADER + "A,Un,X,X,X,X,oui\n", "line 2: a row holds"),
        (HEADER + "A\n", "line 2: a row holds"),
        (HEADER + ",Un,,,,,\n", "line 2: the code is empty"),
        (HEADER + "A,Un,,,,,\nA,Un,,,,,\n", "line 3: the code is empty or stands twice"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(text: str, complaint: str) -> None:
    with pytest.raises(Misconfigured) as caught:
        parse(text, name="m.csv")
    assert complaint in str(caught.value)


def test_the_shipped_matrix() -> None:
    matrix = load(SHIPPED)
    assert len(matrix.allowed) == 7
    assert matrix.allows("G15_10/SM26", "15508-5") is True
    assert matrix.allows("91", "15508-5") is False
    assert matrix.allows("28", "DOCPAT03") is False
    assert matrix.allows("26", "DOCPAT03") is False
    assert matrix.allows("96", "11505-5") is True
    assert matrix.allows("10", "34112-3") is None


def test_a_file_with_a_mark_is_read(tmp_path: Path) -> None:
    file = tmp_path / "m.csv"
    file.write_text(TEXT, encoding="utf-8-sig")
    assert load(file) == parse(TEXT)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="cannot read the matrix"):
        load(tmp_path / "none.csv")
    (tmp_path / "latin.csv").write_bytes(TEXT.replace("Un", "é").encode("latin-1"))
    with pytest.raises(Misconfigured, match="cannot read the matrix"):
        load(tmp_path / "latin.csv")
