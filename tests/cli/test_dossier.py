"""`mss dossier`, `mss account oppose`, `mss policy rules`: what an operator asks, and what is written down."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.cli_world import DOCTOR, MATRICULE, PATIENT, RECEPTION, Desk, cda


@pytest.fixture
def filed(staffed: Desk, tmp_path: Path) -> Desk:
    """An operator whose patient has a document."""
    path = tmp_path / "cda.xml"
    path.write_bytes(cda())
    staffed.does("welcome", "--from", RECEPTION, "--to", MATRICULE, "--document", str(path))
    return staffed


def test_a_dossier_is_listed_with_what_each_rule_decided(filed: Desk) -> None:
    printed = filed.does("dossier", "list", PATIENT, "--as", DOCTOR)
    assert "This professional may read no document." in printed
    assert "1 by document.matrix-unknown" in printed
    assert filed.does("dossier", "list", PATIENT, "--as", DOCTOR, "--json") == ""


def test_a_refused_document_is_explained_and_written_down(filed: Desk) -> None:
    result = filed.run("dossier", "show", PATIENT, "1", "--as", DOCTOR, "--purpose", "BTG")
    assert result.exit_code == 1
    assert "later: defer by document.matrix-unknown" in result.stdout
    assert "would change with: the matrix" in result.stdout
    explained = filed.does("policy", "explain", "--document", "1", "--to", PATIENT, "--as", DOCTOR)
    assert "document.matrix-unknown" in explained
    assert "dossier.read" in filed.does("audit", "list")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("list", PATIENT, "--as", "nobody@hopital.example"), "--as names no professional's account"),
        (("list", RECEPTION, "--as", DOCTOR), "there is no such patient's box"),
    ],
)
def test_who_is_not_there_is_said(filed: Desk, words: tuple[str, ...], told: str) -> None:
    assert told in filed.fails("dossier", *words)


def test_oppositions_are_noted_and_taken_back(filed: Desk) -> None:
    assert "takes no letters from patients" in filed.does("account", "oppose", DOCTOR)
    assert "letters from patients again" in filed.does("account", "oppose", DOCTOR, "--lift")
    assert "is now opposed" in filed.does("account", "oppose", PATIENT)


def test_all_rules_are_listed_for_programs(filed: Desk) -> None:
    from tests.cli.cli_world import typed

    lines = [json.loads(line) for line in typed("policy", "rules", "--json").stdout.splitlines()]
    assert len(lines) > 100
    assert all(one["english"] and one["french"] for one in lines)
