"""The four errors and the incident numbers."""

from __future__ import annotations

import re

import pytest

from mss.errors import Conflict, Malformed, Misconfigured, MssError, Unavailable, incident_number


@pytest.mark.parametrize("error", [Malformed, Conflict, Unavailable, Misconfigured])
def test_every_error_of_the_house_has_a_meaning_of_its_own(error: type[MssError]) -> None:
    assert issubclass(error, MssError)
    assert not any(
        issubclass(error, other) for other in (Malformed, Conflict, Unavailable, Misconfigured) if other is not error
    )
    assert str(error("why")) == "why"


def test_a_surprise_is_no_error_of_the_house() -> None:
    assert not issubclass(ValueError, MssError)
    assert not issubclass(MssError, (OSError, ValueError))


def test_incident_numbers_are_short_and_differ() -> None:
    numbers = {incident_number() for _ in range(100)}
    assert len(numbers) == 100
    assert all(re.fullmatch(r"[0-9a-f]{8}", number) for number in numbers)
