"""The directory extraction: rows, bad rows, headers, limits, repetitions; and search keys."""

from __future__ import annotations

import io
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mss.directory import extraction
from mss.directory.extraction import BadRow
from mss.errors import Malformed
from mss.model.party import BoxKind, Party

# The 31 columns as published.
COLUMNS = [
    "Type de BAL", "Adresse BAL", "Type Identifiant PP", "Identifiant PP", "Identification nationale PP",
    "Type identifiant structure", "Identification Structure", "Service de rattachement", "Civilité d'exercice",
    "Nom d'exercice", "Prénom d'exercice", "Catégorie profession", "Libellé de catégorie profession",
    "Code Profession", "Libellé Profession", "Code savoir-faire", "Libellé savoir-faire", "Dématérialisation",
    "Raison Sociale structure BAL", "Enseigne commerciale structure BAL", "L2COMPLEMENTLOCALISATION structure BAL",
    "L3COMPLEMENTDISTRIBUTION structure BAL", "L4NUMEROVOIE structure BAL", "L4COMPLEMENTNUMEROVOIE structure BAL",
    "NL4TYPEVOIE structure BAL", "L4LIBELLEVOIE structure BAL", "L5LIEUDITMENTION structure BAL",
    "L6LIGNEACHEMINEMENT structure BAL", "Code postal structure BAL", "Département structure BAL",
    "Pays structure BAL",
]  # fmt: skip
HEADER = ("|".join(COLUMNS) + "\n").encode()
DOCTOR = {
    "Type de BAL": "PER",
    "Adresse BAL": "helene.oeuvre@medecin.formation.mssante.fr",
    "Identification nationale PP": "899700000001",
    "Identification Structure": "1330000001",
    "Civilité d'exercice": "DR",
    "Nom d'exercice": "ŒUVRÉ",
    "Prénom d'exercice": "Hélène",
    "Code Profession": "10",
    "Libellé Profession": "Médecin",
    "Libellé savoir-faire": "Médecine générale",
    "Raison Sociale structure BAL": "CABINET D'ESSAI",
    "Enseigne commerciale structure BAL": "L'ESSAI",
    "L6LIGNEACHEMINEMENT structure BAL": "33076 BORDEAUX CEDEX 2",
    "Code postal structure BAL": "33076",
}


def row(end: str = "\n", **changes: str) -> bytes:
    """Write the doctor's row; keyword `address` and the like change it."""
    named = {"address": "Adresse BAL", "kind": "Type de BAL", "name": "Nom d'exercice", "routing": COLUMNS[27]}
    values = DOCTOR | {named.get(key, key): value for key, value in changes.items()}
    return ("|".join(values.get(column, "") for column in COLUMNS) + end).encode()


def only(lines: Iterable[bytes]) -> Party | BadRow:
    (found,) = extraction.rows(lines)
    return found


def party(line: bytes) -> Party:
    found = only([HEADER, line])
    assert isinstance(found, Party)
    return found


def test_a_doctor() -> None:
    found = party(row())
    assert found.address.spec == DOCTOR["Adresse BAL"]
    assert found.kind is BoxKind.PER
    assert (found.name, found.first_name, found.title, found.person_id) == ("ŒUVRÉ", "Hélène", "DR", "899700000001")
    assert (found.profession_code, found.profession, found.speciality) == ("10", "Médecin", "Médecine générale")
    assert (found.structure_id, found.structure, found.service) == ("1330000001", "CABINET D'ESSAI", "")
    assert (found.postal_code, found.town, found.red_list) == ("33076", "BORDEAUX", False)
    assert found.display_name.startswith("DR Hélène ŒUVRÉ")


def test_a_structure_without_a_name_goes_by_its_sign() -> None:
    line = row(
        kind="ORG",
        name="",
        **{"Raison Sociale structure BAL": "", "Prénom d'exercice": "", "Service de rattachement": "URGENCES"},
    )
    found = party(line)
    assert (found.kind, found.structure, found.service) == (BoxKind.ORG, "L'ESSAI", "URGENCES")


@pytest.mark.parametrize(
    ("kind", "read"),
    [("PER", BoxKind.PER), ("ORG", BoxKind.ORG), ("APP", BoxKind.APP), ("CAB", BoxKind.CAB), (" per ", BoxKind.PER)],
)
def test_kinds_of_boxes(kind: str, read: BoxKind) -> None:
    assert party(row(kind=kind)).kind is read


@pytest.mark.parametrize(
    ("routing", "town"),
    [
        ("33076 BORDEAUX CEDEX 2", "BORDEAUX"),
        ("75015 PARIS", "PARIS"),
        ("75015 Paris Cedex", "Paris"),
        ("2A004 AJACCIO", "AJACCIO"),
        ("F-67000 STRASBOURG", "STRASBOURG"),
        ("SAINT ETIENNE CEDEX 1", "SAINT ETIENNE"),
        ("LA CEDEXIERE", "LA CEDEXIERE"),
        ("97400 ST DENIS", "ST DENIS"),
        ("", ""),
    ],
)
def test_towns(routing: str, town: str) -> None:
    assert party(row(routing=routing)).town == town


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("  DE   LA\tTOUR ", "DE LA TOUR"),
        ("A\u00a0B", "A B"),
        ("A\u202eB\u200b", "AB"),
        ("A\x00B", "AB"),
        ("\x07", ""),
        ("É", "É"),
    ],
)
def test_what_does_not_print_is_dropped(written: str, read: str) -> None:
    assert party(row(name=written)).name == read


@pytest.mark.parametrize("end", ["\n", "\r\n", ""])
def test_line_ends(end: str) -> None:
    assert party(row(end)).postal_code == "33076"
    assert party(row(end)).address.spec == DOCTOR["Adresse BAL"]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        pytest.param(row(kind="patient"), "not a type of box that is published", id="patient"),
        pytest.param(row(kind=""), "not a type of box that is published", id="no kind"),
        pytest.param(row(address="nobody"), "not a mail address", id="no at sign"),
        pytest.param(row(address=""), "not a mail address", id="no address"),
        pytest.param(row(address="a b@c.fr"), "not a mail address", id="space in the address"),
        pytest.param(row("|\n"), "32 fields instead of 31", id="a field more"),
        pytest.param(b"PER|a@b.fr\n", "2 fields instead of 31", id="cut"),
        pytest.param(row().replace("É".encode(), b"\xc9"), "not UTF-8", id="Latin-1"),
        pytest.param(b"\xff\xfe\n", "not UTF-8", id="garbage"),
    ],
)
def test_a_bad_row_is_reported_and_the_others_are_read(line: bytes, reason: str) -> None:
    found = list(extraction.rows([HEADER, row(), line, row()]))
    assert found == [party(row()), BadRow(3, reason), party(row())]


def test_reasons_repeat_nothing_of_the_row() -> None:
    found = only([HEADER, row(address="secret", name="secret")])
    assert isinstance(found, BadRow)
    assert "secret" not in found.reason


def test_empty_lines_count_as_lines_only() -> None:
    assert list(extraction.rows([HEADER, b"\n", b"x\n", b"\r\n"])) == [BadRow(3, "1 fields instead of 31")]


# Headers


def test_columns_are_found_by_name_wherever_they_stand() -> None:
    names = [*reversed(COLUMNS), "Nouvelle colonne"]
    values = [DOCTOR.get(column, "") for column in names]
    lines = ["|".join(names) + "\n", "|".join(values) + "\n"]
    assert only(line.encode() for line in lines) == party(row())


@pytest.mark.parametrize(
    "header",
    [
        pytest.param(b"\xef\xbb\xbf" + HEADER, id="byte order mark"),
        pytest.param(HEADER.replace(b"'", "’".encode()), id="typographic apostrophes"),
        pytest.param(HEADER.decode().upper().encode(), id="upper case"),
        pytest.param(HEADER.replace("é".encode(), b"e"), id="no accents"),
        pytest.param(HEADER.replace(b" structure BAL", b""), id="short names"),
        pytest.param(HEADER.replace(b"|", b" | "), id="spaces"),
        pytest.param(HEADER.rstrip() + b"\r\n", id="CRLF"),
    ],
)
def test_headers_that_say_the_same(header: bytes) -> None:
    assert only([header, row()]) == party(row())


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        pytest.param(b"", "the column “Type de BAL” is not in the header", id="empty"),
        pytest.param(HEADER.replace(b"Adresse BAL", b"Adresse"), "the column “Adresse BAL” is not in", id="missing"),
        pytest.param(HEADER.rstrip() + b"|Adresse BAL\n", "the column “Adresse BAL” is twice in", id="twice"),
        pytest.param(HEADER.replace(b"|", b";"), "the column “Type de BAL” is not in", id="another separator"),
        pytest.param(HEADER.decode().encode("latin-1"), "not UTF-8", id="Latin-1"),
        pytest.param(b"x" * 9000, "longer than a row may be", id="too long"),
        pytest.param(row(), "the column “Type de BAL” is not in", id="no header"),
    ],
)
def test_a_wrong_header_refuses_the_file(header: bytes, reason: str) -> None:
    with pytest.raises(Malformed, match="header of the directory extraction") as refused:
        next(extraction.rows([header, row()]))
    assert reason in str(refused.value)


@pytest.mark.parametrize(("more", "refused"), [(32, False), (33, False), (34, True)])
def test_the_number_of_columns_is_limited(more: int, refused: bool) -> None:
    header = HEADER.rstrip() + b"|x" * more + b"\n"
    if refused:
        with pytest.raises(Malformed, match="too many columns"):
            list(extraction.rows([header]))
    else:
        assert list(extraction.rows([header])) == []


# Limits


@pytest.mark.parametrize(("length", "bad"), [(299, False), (300, False), (301, True)])
def test_the_length_of_a_field_is_limited(length: int, bad: bool) -> None:
    found = only([HEADER, row(name="é" * length)])
    assert isinstance(found, BadRow) is bad
    assert not isinstance(found, BadRow) or found.reason == "a field longer than it may be"


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
@pytest.mark.parametrize(("octets", "bad"), [(-1, False), (0, False), (1, True), (50_000, True)])
def test_the_length_of_a_row_is_limited(octets: int, bad: bool, end: str) -> None:
    unused = extraction.ROW_MAX_OCTETS + octets - len(row(""))
    line = row(end, **{"Pays structure BAL": "x" * unused})
    found = list(extraction.read(io.BytesIO(HEADER + row(address="b@c.fr") + line), max_octets=100_000))
    assert len(found) == 2
    assert isinstance(found[1], BadRow) is bad
    assert not isinstance(found[1], BadRow) or found[1] == BadRow(3, "longer than a row may be")


def test_after_a_row_that_is_too_long_the_next_is_read() -> None:
    octets = HEADER + b"x" * 30_000 + b"\n" + row()
    assert list(extraction.read(io.BytesIO(octets), max_octets=100_000)) == [
        BadRow(2, "longer than a row may be"),
        party(row()),
    ]


@pytest.mark.parametrize(("octets", "refused"), [(1, False), (0, False), (-1, True)])
@pytest.mark.parametrize("last", [row(), row(""), b"x" * 30_000])
def test_the_size_of_a_file_is_limited(octets: int, refused: bool, last: bytes) -> None:
    content = HEADER + row() + last
    reading = extraction.read(io.BytesIO(content), max_octets=len(content) + octets)
    if refused:
        with pytest.raises(Malformed, match="larger than the limit"):
            list(reading)
    else:
        assert list(reading)


# Repetitions


def test_of_several_rows_for_one_address_the_last_counts() -> None:
    lines = [
        HEADER, row(address="a@x.fr", name="FIRST"), row(address="b@x.fr"), row(address="A@X.FR", name="SECOND"),
        b"bad\n", row(address="a@x.fr", name="THIRD"), row(address="c@x.fr"),
    ]  # fmt: skip
    found = list(extraction.read(io.BytesIO(b"".join(lines)), max_octets=100_000))
    assert [(p.address.key, p.name) if isinstance(p, Party) else p.line for p in found] == [
        ("b@x.fr", "ŒUVRÉ"), 5, ("a@x.fr", "THIRD"), ("c@x.fr", "ŒUVRÉ"),
    ]  # fmt: skip


def test_a_bad_row_does_not_take_the_place_of_a_good_one() -> None:
    octets = HEADER + row(address="a@x.fr") + row(address="a@x.fr", kind="?")
    found = list(extraction.read(io.BytesIO(octets), max_octets=100_000))
    assert [type(item) for item in found] == [Party, BadRow]


def test_a_stream_of_rows_keeps_repetitions() -> None:
    assert len(list(extraction.rows([HEADER, row(), row()]))) == 2


def test_spellings_of_one_address_are_one() -> None:
    spellings = ["a@café.fr", '"a"@CAFÉ.fr', "A@xn--caf-dma.fr", "a@xn--caf-dma.fr."]
    octets = HEADER + b"".join(row(address=spelling, name=spelling) for spelling in spellings)
    found = list(extraction.read(io.BytesIO(octets), max_octets=100_000))
    assert [p.name for p in found if isinstance(p, Party)] == spellings[-1:]


@given(st.lists(st.sampled_from("abc"), max_size=8))
def test_each_address_comes_once_and_is_the_last(locals_: list[str]) -> None:
    lines = [row(address=f"{local}@x.fr", name=str(number)) for number, local in enumerate(locals_)]
    found = list(extraction.read(io.BytesIO(HEADER + b"".join(lines)), max_octets=100_000))
    last = {local: str(number) for number, local in enumerate(locals_)}
    assert {p.address.local: p.name for p in found if isinstance(p, Party)} == last
    assert len(found) == len(last)


@given(st.binary(max_size=400))
def test_garbage_is_bad_rows_and_nothing_else(garbage: bytes) -> None:
    found = list(extraction.read(io.BytesIO(HEADER + garbage + b"\n" + row()), max_octets=100_000))
    assert found[-1] == party(row())
    assert all(isinstance(item, BadRow) for item in found[:-1])


@given(st.binary(max_size=200))
def test_a_garbage_header_is_malformed(garbage: bytes) -> None:
    with pytest.raises(Malformed):
        list(extraction.read(io.BytesIO(garbage), max_octets=100_000))
