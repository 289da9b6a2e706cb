"""The parameters of a search, from a URL or the body of a POST (FHIR R4, search.html).

What we do not know is refused: a filter that is dropped in silence shows more than was asked for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final
from urllib.parse import parse_qsl

from mss.config import Limits
from mss.errors import Malformed
from mss.fhir.codes import oid_of
from mss.fhir.outcome import Refusal, invalid
from mss.fhir.reading import day_of
from mss.model.ins import INS
from mss.services.software import COMPARISONS, Wanted

COUNT: Final = 20
PATIENT_IDENTIFIER: Final = "patient.identifier"
_STATES: Final = frozenset({"current", "superseded"})


@dataclass(frozen=True, slots=True)
class Query:
    """A search: whose dossier (by opaque id or INS), what of it, which page."""

    patient: str = ""
    ins: INS | None = None
    wanted: Wanted = field(default_factory=Wanted)
    kind: str = ""
    count: int = COUNT
    offset: int = 0


def pairs_of(text: str, limits: Limits) -> list[tuple[str, str]]:
    """Return the parameters of a query or a form; Refusal when they are too many or none."""
    try:
        return parse_qsl(
            text, keep_blank_values=True, strict_parsing=bool(text), errors="strict",
            max_num_fields=limits.fhir_parameters_max,
        )  # fmt: skip
    except ValueError:
        raise invalid("the parameters of the search") from None


def read(pairs: Sequence[tuple[str, str]], known: frozenset[str], limits: Limits) -> Query:
    """Return a search; `known` are the names that this resource takes. Refusal names nothing of what was given."""
    names = [name for name, _ in pairs]
    if unknown := set(names) - known - {"_format"}:
        raise Refusal(
            400, "not-supported", f"{len(unknown)} of the search parameters are not known here: see /metadata."
        )
    single = {name: value for name, value in pairs if name != "date"}
    if len(single) + names.count("date") != len(pairs):
        raise invalid("only date may be given twice")
    given = {name: frozenset(filter(None, value.split(","))) for name, value in single.items()}
    wanted = Wanted(
        types=_codes(given, "type"),
        categories=_codes(given, "category"),
        authors=_codes(given, "author"),
        states=given.get("status", frozenset()),
        days=tuple(_day(value) for name, value in pairs if name == "date"),
    )
    if wanted.states - _STATES:
        raise invalid("status is current or superseded")
    return Query(
        patient=single.get("patient", "").removeprefix("Patient/"),
        ins=_ins(single[PATIENT_IDENTIFIER]) if PATIENT_IDENTIFIER in single else None,
        wanted=wanted,
        kind=next(iter(_codes(given, "code")), ""),
        count=_count(single.get("_count", str(COUNT)), limits),
    )


def _codes(given: Mapping[str, frozenset[str]], name: str) -> frozenset[str]:
    """Return the codes of tokens such as `http://loinc.org|11488-4`; the system is not compared."""
    return frozenset(one.rpartition("|")[2] for one in given.get(name, ()))


def _day(value: str) -> tuple[str, Any]:
    how = value[:2] if value[:2] in COMPARISONS else ""
    return how or "eq", day_of(value.removeprefix(how))


def _ins(token: str) -> INS:
    system, _, value = token.rpartition("|")
    try:
        return INS.parse(value, oid_of(system))
    except Malformed:
        raise invalid("patient.identifier is no INS: urn:oid:<authority>|<matricule>") from None


def _count(text: str, limits: Limits) -> int:
    if not (text.isascii() and text.isdigit()) or len(text) > 6 or int(text) < 1:
        raise invalid("_count is a number from 1")
    return min(int(text), limits.fhir_count_max)


def dump(query: Query) -> dict[str, Any]:
    """Return a search as JSON, for the link to its next page; whose dossier it is stands beside."""
    wanted = asdict(query.wanted)
    sets = {name: sorted(value) for name, value in wanted.items() if name != "days"}
    days = [[how, day.isoformat()] for how, day in query.wanted.days]
    return {"wanted": sets, "days": days, "kind": query.kind, "count": query.count, "offset": query.offset}


def load(facts: Mapping[str, Any]) -> Query:
    """Return the search that `dump` wrote."""
    sets = {name: frozenset(value) for name, value in facts["wanted"].items()}
    days = tuple((how, day_of(day)) for how, day in facts["days"])
    return Query(wanted=Wanted(**sets, days=days), kind=facts["kind"], count=facts["count"], offset=facts["offset"])
