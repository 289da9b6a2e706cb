"""`mss operator` and `mss directory`: taken whole or refused with a reason; searched; shown."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from mss.clock import system_clock
from mss.directory import trustlist
from mss.directory.trustlist import written_dn
from mss.model.address import Domain
from mss.model.peer import DN, TrustList
from tests.cli.cli_world import Desk

NOW = system_clock()
GIP = DN.parse("CN=mx.gip.example,OU=3183,O=GIP ESSAI,C=FR")
CHU = DN.parse("CN=mx.chu.example,OU=1330,O=CHU ESSAI,C=FR")
COLUMNS = (
    "Type de BAL|Adresse BAL|Identification nationale PP|Identification Structure|Service de rattachement|"
    "Civilité d'exercice|Nom d'exercice|Prénom d'exercice|Code Profession|Libellé Profession|Libellé savoir-faire|"
    "Raison Sociale structure BAL|Enseigne commerciale structure BAL|Code postal structure BAL|"
    "L6LIGNEACHEMINEMENT structure BAL"
)
ROWS = (
    "PER|marie.durand@chu.example|899|||Dr|DURAND|Marie|10|Médecin|Cardiologie|CHU Essai||33000|33000 BORDEAUX",
    "ORG|labo@gip.example||3183|Biologie||||||| GIP Essai||31000|31000 TOULOUSE CEDEX 3",
    "PER|paul.martin@gip.example|898|||Dr|MARTIN|Paul|21|Pharmacien||Officine||31000|31000 TOULOUSE",
)


def write_list(path: Path, domains: dict[str, set[DN]], *, days_ago: int = 0) -> Path:
    listed = {Domain(name): frozenset(subjects) for name, subjects in domains.items()}
    path.write_bytes(trustlist.render(TrustList(NOW - timedelta(days=days_ago), listed, NOW)))
    return path


@pytest.fixture
def file(tmp_path: Path) -> Path:
    names = {
        "hopital.example",
        "patient.example",
        "gip.example",
        "autre-gip.example",
        "third.example",
        "fourth.example",
    }
    return write_list(tmp_path / "liste.xml", {**{name: {GIP} for name in names}, "chu.example": {CHU, GIP}})


def test_a_good_list_is_used_at_once(desk: Desk, file: Path) -> None:
    assert "Version 2 is in use: 7 domains" in desk.does("operator", "read", str(file))
    assert desk.does("operator", "show", "gip.example") == f"{written_dn(GIP)}\n"
    assert desk.does("operator", "show", "CHU.example").splitlines() == [written_dn(CHU), written_dn(GIP)]


def test_operators_are_listed_with_their_domains(desk: Desk, file: Path) -> None:
    desk.does("operator", "read", str(file))
    lines = desk.does("operator", "list").splitlines()
    assert len(lines) == 4
    assert any(line.startswith(f"{written_dn(GIP)}  7 ") and "autre-gip.example, chu.example" in line for line in lines)
    assert lines[-1].startswith("Version 2 of ")
    assert len(desk.does("operator", "list", "1330", "ESSAI").splitlines()) == 3
    assert desk.does("operator", "list", "nobody").splitlines()[0] == "No operator has these words."


def test_a_domain_outside_is_said_to_be(desk: Desk) -> None:
    assert "not in the trust list" in desk.fails("operator", "show", "inconnu.example")
    assert "not a domain name" in desk.fails("operator", "show", "a b")


def test_a_damaged_list_is_refused_and_the_last_good_one_stays(desk: Desk, file: Path) -> None:
    desk.does("operator", "read", str(file))
    file.write_bytes(file.read_bytes().replace(b"</ListeBlancheMSSante>", b""))
    line = desk.fails("operator", "read", str(file))
    assert "refused and the one in use stays" in line
    assert "closing tag" in line
    assert "Version 2 of " in desk.does("operator", "list")


def test_an_older_list_is_refused(desk: Desk, file: Path, tmp_path: Path) -> None:
    desk.does("operator", "read", str(file))
    older = write_list(tmp_path / "older.xml", {"gip.example": {GIP}}, days_ago=2)
    assert "is older than" in desk.fails("operator", "read", str(older))


def test_a_list_that_shrinks_is_taken_only_on_demand(desk: Desk, file: Path, tmp_path: Path) -> None:
    desk.does("operator", "read", str(file))
    small = write_list(tmp_path / "small.xml", {"gip.example": {GIP}})
    assert "--accept-loss" in desk.fails("operator", "read", str(small))
    assert "1 domains" in desk.does("operator", "read", str(small), "--accept-loss")


def test_a_missing_list_is_named(desk: Desk, tmp_path: Path) -> None:
    assert "missing.xml" in desk.fails("operator", "read", str(tmp_path / "missing.xml"), code=2)


# Directory --------------------------------------------------------------------------------------------------------


@pytest.fixture
def extraction(tmp_path: Path) -> Path:
    path = tmp_path / "extraction.txt"
    path.write_text("\n".join((COLUMNS, *ROWS, "PER|broken")) + "\n", encoding="utf-8")
    return path


def names(desk: Desk, *words: str) -> list[str]:
    lines = desk.does("directory", "search", *words).splitlines()
    return [line.split("  ")[0] for line in lines[1:]]


def test_a_directory_is_imported_and_searched(desk: Desk, extraction: Path) -> None:
    printed = desk.does("directory", "import", str(extraction))
    assert printed == "Imported 3 entries; 1 lines could not be read and were left out.\n"
    assert names(desk, "durand") == ["Dr Marie DURAND CHU Essai"] or names(desk, "durand") == ["Dr Marie DURAND"]
    assert len(names(desk, "--town", "toulouse")) == 2
    assert len(names(desk, "--profession", "pharmacien")) == 1
    assert len(names(desk, "--address", "gip.example")) == 2
    assert len(names(desk, "dur", "mar")) == 1
    assert len(names(desk, "--town", "toulouse", "--limit", "1")) == 1


def test_nobody_is_found_in_words(desk: Desk) -> None:
    assert desk.does("directory", "search", "durand").startswith("Nobody was found")


def test_a_search_needs_a_word(desk: Desk) -> None:
    assert "say what to search for" in desk.fails("directory", "search")


def test_a_wrong_header_is_refused_and_the_directory_stays(desk: Desk, extraction: Path) -> None:
    desk.does("directory", "import", str(extraction))
    extraction.write_text("Type de BAL|Adresse BAL\n", encoding="utf-8")
    assert "the column “" in desk.fails("directory", "import", str(extraction))
    assert len(names(desk, "--town", "toulouse")) == 2


def test_a_missing_extraction_is_named(desk: Desk, tmp_path: Path) -> None:
    assert "missing.txt" in desk.fails("directory", "import", str(tmp_path / "missing.txt"), code=2)
