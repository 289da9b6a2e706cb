"""The author's name, where a letter lacks it: which fields are completed, and which are left alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mss.config import Limits
from mss.mail import completion, mime

LIMITS = Limits()
NAMES = {"a@chu.example": "Dr Anne-Lise DÉ", "b@chu.example": "Accueil, étage 2", "plain@chu.example": "Dr Jean DUPONT"}


def completed(header: bytes, names: dict[str, str] = NAMES) -> bytes:
    octets = header + b"\r\nTo: x@y.example\r\n\r\nFrom: body\r\n"
    made = completion.name_author(mime.index(octets, LIMITS), names, LIMITS)
    assert made.endswith(b"\r\nTo: x@y.example\r\n\r\nFrom: body\r\n")
    return made.removesuffix(b"\r\nTo: x@y.example\r\n\r\nFrom: body\r\n")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"From: plain@chu.example", b"From: Dr Jean DUPONT <plain@chu.example>"),
        (b"From: <plain@chu.example>", b"From: Dr Jean DUPONT <plain@chu.example>"),
        (b'From: "" <plain@chu.example>', b"From: Dr Jean DUPONT <plain@chu.example>"),
        (b"FROM:\r\n PLAIN@CHU.example ", b"From: Dr Jean DUPONT <PLAIN@chu.example>"),
        (b'From: "plain@chu.example" <plain@chu.example>', b"From: Dr Jean DUPONT <plain@chu.example>"),
        (b"From: a@chu.example", b"From: =?utf-8?q?Dr_Anne-Lise_D=C3=89?= <a@chu.example>"),
    ],
)
def test_a_missing_name_is_completed(before: bytes, after: bytes) -> None:
    assert completed(before) == after


@pytest.mark.parametrize(
    "header",
    [
        b"From: Dr Somebody <plain@chu.example>",
        b"From: =?utf-8?q?D=C3=A9?= <plain@chu.example>",
        b"From: plain@chu.example (Jean)",
        b"From: stranger@chu.example",
        b"From: plain@chu.example, a@chu.example",
        b"From: plain@chu.example\r\nFrom: plain@chu.example",
        b"From: group: plain@chu.example, a@chu.example;",
        b"From: undisclosed:;",
        b"From:",
        b"From: garbage",
        b"Sender: plain@chu.example",
    ],
)
def test_what_is_there_or_unclear_is_left_alone(header: bytes) -> None:
    assert completed(header) == header


@pytest.mark.parametrize("name", ["", "plain@chu.example", "two\r\nlines", "x\x00y"])
def test_a_name_that_would_not_do_is_not_written(name: str) -> None:
    assert completed(b"From: plain@chu.example", {"plain@chu.example": name}) == b"From: plain@chu.example"


@given(st.binary(max_size=80), st.text(max_size=30))
def test_no_letter_and_no_name_breaks_it(value: bytes, name: str) -> None:
    octets = b"From: " + value + b"\r\n\r\nbody\r\n"
    made = completion.name_author(mime.index(octets, LIMITS), {"plain@chu.example": name}, LIMITS)
    assert made.endswith(b"\r\n\r\nbody\r\n") or made == octets
