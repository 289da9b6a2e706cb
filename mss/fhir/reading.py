"""JSON from outside, read within limits; and what its members say (RFC 8259, FHIR R4 json.html).

It judges no resource as a whole: what is not asked for is not looked at.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import Any, Final, NoReturn

from mss.config import Limits
from mss.fhir.outcome import Json, Refusal, invalid

_TEXT_MAX_CHARACTERS: Final = 1000
_FEW_MAX: Final = 50
# What is between the quotes of a text is no bracket. One that never ends is taken to the end at once: to begin again
# behind each of its quotes would cost the square of its length.
_TOKENS: Final = re.compile(rb'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)|[\[\]{}]', re.DOTALL)
_DATE: Final = re.compile(r"(\d{4})(?:-(\d\d)(?:-(\d\d))?)?\Z", re.ASCII)
_NUMBER_MAX_DIGITS: Final = 30


def parse(octets: bytes, limits: Limits) -> Json:
    """Return the object that a body holds; Refusal when it is none, or too deep."""
    if _depth(octets, limits.fhir_nesting_max) > limits.fhir_nesting_max:
        raise Refusal(400, "too-costly", "The values stand too deep inside one another.")
    try:
        text = octets.decode("utf-8")
        value = json.loads(text, object_pairs_hook=_object, parse_constant=_no_number, parse_int=_integer)
        if "\\u" in text:
            # Half of a surrogate pair is no text: it could be written nowhere.
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except (ValueError, RecursionError):
        raise invalid("it is not JSON in UTF-8, or a name stands twice") from None
    if not isinstance(value, dict):
        raise invalid("it is no resource")
    return value


def _depth(octets: bytes, enough: int) -> int:
    depth = deepest = 0
    for token in _TOKENS.finditer(octets):
        match octets[token.start()]:
            case 0x5B | 0x7B:
                depth += 1
                deepest = max(deepest, depth)
                if deepest > enough:
                    return deepest
            case 0x5D | 0x7D:
                depth -= 1
    return deepest


def _object(pairs: list[tuple[str, Any]]) -> Json:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands twice")
    return found


def _no_number(_text: str) -> NoReturn:
    raise ValueError("not a number")


def _integer(text: str) -> int:
    if len(text) > _NUMBER_MAX_DIGITS:
        raise ValueError("too long a number")
    return int(text)


def at(value: object, *path: str | int) -> Any:
    """Return what stands at a path; None when something on the way is missing or of another kind."""
    for step in path:
        if isinstance(step, str) and isinstance(value, dict):
            value = value.get(step)
        elif isinstance(step, int) and isinstance(value, list) and step < len(value):
            value = value[step]
        else:
            return None
    return value


def text(value: object, *path: str | int) -> str:
    """Return the text at a path; empty when there is none. Refusal when it is no text, or too long."""
    found = at(value, *path)
    if found is None:
        return ""
    if not isinstance(found, str) or len(found) > _TEXT_MAX_CHARACTERS:
        raise invalid("an element is no text, or too long")
    line = " ".join(found.split())
    if any(character < " " or character == "\x7f" for character in line):
        raise invalid("a text holds control characters")
    return line


def each(value: object, *path: str | int) -> Iterator[Json]:
    """Yield the objects of the list at a path."""
    found = at(value, *path)
    yield from (one for one in found if isinstance(one, dict)) if isinstance(found, list) else ()


def few(value: object, *path: str | int) -> list[Json]:
    """Return the objects of a list that is short in any honest resource; Refusal when it is long."""
    found = list(each(value, *path))
    if len(found) > _FEW_MAX:
        raise Refusal(413, "too-long", "A list of a resource is too long.")
    return found


def octets_of(value: object) -> bytes:
    """Return the octets of a base64Binary; Refusal when it is none."""
    if not isinstance(value, str) or not value:
        raise invalid("the data of a document are missing")
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        raise invalid("the data of a document are not base64") from None


def moment(written: str) -> datetime | None:
    """Return the instant of a dateTime (a day: its midnight in UTC); None when it is empty. Refusal when it is none."""
    if not written:
        return None
    day = _DATE.match(written)
    try:
        if day is not None:
            year, month, number = (int(part or 1) for part in day.groups())
            return datetime(year, month, number, tzinfo=UTC)
        found = datetime.fromisoformat(written)
    except ValueError:
        raise invalid("a date is none") from None
    if found.tzinfo is None:
        raise invalid("an instant has no zone")
    return found


def day_of(written: str) -> date:
    """Return a day; Refusal when it is none."""
    try:
        return date.fromisoformat(written) if len(written) == len("2026-01-31") else _never()
    except ValueError:
        raise invalid("a date must be a day, such as 2026-01-31") from None


def _never() -> NoReturn:
    raise ValueError
