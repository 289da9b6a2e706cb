"""`mss account import`: lines become boxes, once; what cannot be one is named by its line and hurts no other."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mss.commands import importing
from mss.errors import Malformed
from mss.store import store as stores
from tests.store.store_world import NOW, config_in

PEOPLE = [
    {"address": "279035121518989", "kind": "patient", "birth_name": "PAT-TROIS", "first_name": "DOMINIQUE"},
    {"address": "277076322082910@patient.mssante.test", "kind": "PATIENT", "name": "Ange", "red_list": "yes"},
    {"address": "dr@clinic.mssante.test", "kind": "per", "name": "Dr A"},
]
BAD = [
    {"address": "dr@elsewhere.test", "kind": "per", "name": "Dr B"},
    {"address": "123", "kind": "patient", "name": "C"},
    {"address": "dr2@clinic.mssante.test", "kind": "wizard", "name": "D"},
    {"kind": "per"},
]


def written(folder: Path, kind: str, rows: list[dict[str, str]]) -> Path:
    file = folder / f"boxes.{kind}"
    if kind == "jsonl":
        file.write_text("\n".join(json.dumps(row) for row in rows) + "\n{\n[]\n")
        return file
    columns = sorted({name for row in rows for name in row})
    lines = [",".join(row.get(name, "") for name in columns) for row in rows]
    file.write_text("\n".join([",".join(columns), *lines, "", ""]))
    return file


@pytest.mark.parametrize(("kind", "more"), [("csv", 0), ("jsonl", 2)])
def test_lines_become_boxes_once(tmp_path: Path, kind: str, more: int) -> None:
    config = config_in(tmp_path)
    stores.create(config, lambda: NOW)
    file = written(tmp_path, kind, PEOPLE + BAD)
    first = importing.run(config, lambda: NOW, file)
    assert (first.made, first.there, first.left_out) == (3, 0, len(BAD) + more)
    again = importing.run(config, lambda: NOW, file)
    assert (again.made, again.there) == (0, 3)
    offset = 2 if kind == "csv" else 1
    assert [number for number, _ in first.bad][: len(BAD)] == [len(PEOPLE) + offset + n for n in range(len(BAD))]


def test_a_file_without_the_columns_is_none(tmp_path: Path) -> None:
    config = config_in(tmp_path)
    stores.create(config, lambda: NOW)
    (tmp_path / "x.csv").write_text("name,kind\nA,per\n")
    with pytest.raises(Malformed, match="no column address"):
        importing.run(config, lambda: NOW, tmp_path / "x.csv")


def test_more_than_a_slice_is_made_in_slices(tmp_path: Path) -> None:
    config = config_in(tmp_path)
    stores.create(config, lambda: NOW)
    rows = [{"address": f"dr{n}@clinic.mssante.test", "kind": "per", "name": f"Dr {n}"} for n in range(901)]
    assert importing.run(config, lambda: NOW, written(tmp_path, "csv", rows)).made == 901
