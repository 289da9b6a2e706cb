"""Which profession may read which type of document: the published matrix as data (arrêté of 26 October 2023).

It decides nothing by itself: blocks, masks and consent come before it, in `policy.access`. The file is a CSV
whose header names professions: `10`, `60|69` (either), `21-officine` (a profession and a way of exercising it).
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mss.errors import Misconfigured

# Sections of the order of pharmacists, as the author codes of a CDA give them (G15_21/G): biologists or dispensing.
_SECTIONS: Final = {
    "A": "officine", "D": "officine", "E": "officine", "H": "officine", "G": "biologiste",
}  # fmt: skip
_CODE = re.compile(r"(?:G15_)?(\d{2})(?:[/-](\w+))?\Z", re.ASCII)
_COLUMN = re.compile(r"\d{2}(?:-\w+)?(?:\|\d{2}(?:-\w+)?)*\Z", re.ASCII)


@dataclass(frozen=True, slots=True)
class Matrix:
    """Type code → professions that may read it; `professions` are all that have a column."""

    professions: frozenset[str]
    allowed: Mapping[str, frozenset[str]]

    def allows(self, profession_code: str, type_code: str) -> bool | None:
        """Say whether a profession may read a type; None when the matrix knows one of the two not at all.

        A code is the directory's (`10`), that of a column (`21-officine`) or that of a CDA author
        (`G15_21/G`). A profession with several columns, without saying which, may read what all of them may.
        """
        professions = self._columns(profession_code)
        allowed = self.allowed.get(type_code)
        return None if allowed is None or not professions else professions <= allowed

    def _columns(self, profession_code: str) -> frozenset[str]:
        match = _CODE.match(profession_code.strip())
        if not match:
            return frozenset()
        profession, way = match.groups()
        exact = {profession, f"{profession}-{way}", f"{profession}-{_SECTIONS.get(way or '', '')}"} & self.professions
        return frozenset(exact) or frozenset(c for c in self.professions if c.startswith(f"{profession}-"))


def load(path: Path) -> Matrix:
    """Read the matrix from a file; Misconfigured names the file and the line to mend."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise Misconfigured(f"cannot read the matrix {path}") from error
    return parse(text, name=str(path))


def parse(text: str, *, name: str = "habilitations.csv") -> Matrix:
    """Read the matrix from CSV text: code, label, then a column per profession with X where it may read."""
    rows = csv.reader(io.StringIO(text))
    header = next(rows, [])
    if [cell.strip().lower() for cell in header[:2]] != ["code", "label"] or len(header) < 3:
        raise Misconfigured(f"{name}, line 1: the header must be code,label and one column per profession")
    columns = [_column(cell, name) for cell in header[2:]]
    allowed: dict[str, frozenset[str]] = {}
    for row in rows:
        if not row:
            continue
        where = f"{name}, line {rows.line_num}"
        code, cells = row[0].strip(), [cell.strip().upper() for cell in row[2:]]
        if len(cells) != len(columns) or set(cells) - {"X", ""}:
            raise Misconfigured(f"{where}: a row holds code, label and an X or nothing for each profession")
        if not code or code in allowed:
            raise Misconfigured(f"{where}: the code is empty or stands twice")
        allowed[code] = frozenset().union(*(c for c, cell in zip(columns, cells, strict=True) if cell))
    return Matrix(frozenset().union(*columns), allowed)


def _column(cell: str, name: str) -> frozenset[str]:
    if not _COLUMN.match(cell.strip()):
        raise Misconfigured(f"{name}, line 1: “{cell}” is no profession code")
    return frozenset(cell.strip().split("|"))
