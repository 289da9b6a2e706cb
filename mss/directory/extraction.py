"""The national directory's open extraction, row by row: UTF-8, `|` between fields, names in line 1 (MSSANTE.md §3.3).

It neither fetches nor stores it, and it does not conclude that a box missing from it is closed. Columns are found
by their names; others may come, go and move. A bad row is reported and skipped, a bad header refuses the file.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import BinaryIO

from mss.errors import Malformed
from mss.model.address import Address
from mss.model.party import BoxKind, Party
from mss.model.search import search_key

ROW_MAX_OCTETS = 8192
COLUMNS_MAX = 64
FIELD_MAX_CHARACTERS = 300

# A published name may go on with "structure BAL".
_COLUMNS = {
    "kind": "Type de BAL",
    "address": "Adresse BAL",
    "person_id": "Identification nationale PP",
    "structure_id": "Identification Structure",
    "service": "Service de rattachement",
    "title": "Civilité d'exercice",
    "name": "Nom d'exercice",
    "first_name": "Prénom d'exercice",
    "profession_code": "Code Profession",
    "profession": "Libellé Profession",
    "speciality": "Libellé savoir-faire",
    "structure": "Raison Sociale",
    "trade_name": "Enseigne commerciale",
    "postal_code": "Code postal",
    "routing": "L6LIGNEACHEMINEMENT",
}
_KINDS = {"PER": BoxKind.PER, "ORG": BoxKind.ORG, "APP": BoxKind.APP, "CAB": BoxKind.CAB}
_PLAIN = re.compile(rb"[a-z0-9_-]+(?:\.[a-z0-9_-]+)*@[a-z0-9-]+(?:\.[a-z0-9-]+)*")
_ROUTING = re.compile(r"(?:(?:F-)?\d[\dAB]\d{3}\s+)?(.*?)(?:\s+CEDEX(?:\s+\d+)?)?\Z", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that was skipped: its line number (the header is line 1) and a reason without personal data."""

    line: int
    reason: str


@dataclass(frozen=True, slots=True)
class _Header:
    places: Mapping[str, int]
    width: int


def read(file: BinaryIO, *, max_octets: int) -> Iterator[Party | BadRow]:
    """Yield the parties of a seekable file, one for each address: of several rows for one, the last.

    The file is read twice. Malformed: a wrong header, or more than `max_octets`; what was yielded before then does
    not count either.
    """
    file.seek(0)
    repeated = _repeated(bounded_lines(file, max_octets))
    file.seek(0)
    yield from rows(bounded_lines(file, max_octets), skip=repeated)


def rows(lines: Iterable[bytes], *, skip: frozenset[int] = frozenset()) -> Iterator[Party | BadRow]:
    """Yield what each line says, in order and with repetitions, except for the line numbers to `skip`.

    Malformed on a wrong header only, at the first step.
    """
    for number, party in _numbered(lines):
        if number not in skip:
            yield party


def bounded_lines(file: BinaryIO, max_octets: int) -> Iterator[bytes]:
    """Yield lines; of an overlong one the beginning, still longer than a row may be. Malformed past `max_octets`."""
    total = 0
    while line := file.readline(ROW_MAX_OCTETS + 2):
        yield line
        total += len(line)
        while not line.endswith(b"\n") and (line := file.readline(ROW_MAX_OCTETS)):
            total += len(line)
            if total > max_octets:
                break
        if total > max_octets:
            raise Malformed("the directory extraction is larger than the limit")


def _numbered(lines: Iterable[bytes]) -> Iterator[tuple[int, Party | BadRow]]:
    numbered = enumerate(lines, 1)
    header = _header(next(numbered, (1, b""))[1])
    for number, line in numbered:
        if line.strip():
            yield number, _party_or_bad(header, number, line)


def _party_or_bad(header: _Header, number: int, line: bytes) -> Party | BadRow:
    try:
        return _party(header, _fields(line))
    except Malformed as error:
        return BadRow(number, str(error))


def _repeated(lines: Iterable[bytes]) -> frozenset[int]:
    """Return the numbers of the lines whose address comes again in a good row further down."""
    numbered = enumerate(lines, 1)
    header = _header(next(numbered, (1, b""))[1])
    last: dict[bytes, int] = {}
    repeated: set[int] = set()
    for number, line in numbered:
        key = _key(header, line)
        if key in last:
            if isinstance(_party_or_bad(header, number, line), BadRow):
                continue
            repeated.add(last[key])
        if key:
            last[key] = number
    return frozenset(repeated)


def _key(header: _Header, line: bytes) -> bytes:
    """Return what the spellings of an address have in common, cheaply where it is plain; empty for a bad one."""
    place = header.places["address"]
    written = line.split(b"|", place + 1)[place : place + 1]
    plain = written[0].lower() if written else b""
    if _PLAIN.fullmatch(plain):
        return plain
    try:
        return Address.parse(plain.decode()).key.encode()
    except (Malformed, UnicodeError):
        return b""


def _header(line: bytes) -> _Header:
    try:
        names = [search_key(name) for name in _fields(line.removeprefix(b"\xef\xbb\xbf"))]
    except Malformed as error:
        raise Malformed(f"the header of the directory extraction: {error}") from error
    if len(names) > COLUMNS_MAX:
        raise Malformed("the header of the directory extraction has too many columns")
    return _Header({field: _place(names, title) for field, title in _COLUMNS.items()}, len(names))


def _place(names: list[str], title: str) -> int:
    wanted = search_key(title)
    found = [place for place, name in enumerate(names) if name == wanted or name == f"{wanted} structure bal"]
    if len(found) != 1:
        what = "twice" if found else "not"
        raise Malformed(f"the column “{title}” is {what} in the header of the directory extraction")
    return found[0]


def _fields(line: bytes) -> list[str]:
    row = line.rstrip(b"\r\n")
    if len(row) > ROW_MAX_OCTETS:
        raise Malformed("longer than a row may be")
    try:
        return row.decode().split("|")
    except UnicodeDecodeError as error:
        raise Malformed("not UTF-8") from error


def _party(header: _Header, fields: list[str]) -> Party:
    if len(fields) != header.width:
        raise Malformed(f"{len(fields)} fields instead of {header.width}")
    values = {field: _clean(fields[place]) for field, place in header.places.items()}
    if any(len(value) > FIELD_MAX_CHARACTERS for value in values.values()):
        raise Malformed("a field longer than it may be")
    kind = _KINDS.get(values["kind"].upper())
    if kind is None:
        raise Malformed("not a type of box that is published")
    return Party(
        address=_address(values["address"]),
        kind=kind,
        name=values["name"],
        first_name=values["first_name"],
        title=values["title"],
        person_id=values["person_id"],
        profession_code=values["profession_code"],
        profession=values["profession"],
        speciality=values["speciality"],
        structure_id=values["structure_id"],
        structure=values["structure"] or values["trade_name"],
        service=values["service"],
        postal_code=values["postal_code"],
        town=_town(values["routing"]),
    )


def _clean(text: str) -> str:
    """Return the text with single spaces and without what does not print: controls, marks of direction."""
    if text.isascii() and text.isprintable() and "  " not in text:
        return text.strip()
    spaced = " ".join(text.split())
    return spaced if spaced.isprintable() else "".join(c for c in spaced if c.isprintable()).strip()


def _address(text: str) -> Address:
    try:
        return Address.parse(text)
    except Malformed as error:
        raise Malformed("not a mail address") from error


def _town(routing: str) -> str:
    """Return the town of a routing line ("33076 BORDEAUX CEDEX 2"); empty without."""
    match = _ROUTING.match(routing)
    return match.group(1) if match else routing
