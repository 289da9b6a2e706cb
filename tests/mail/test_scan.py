"""Octets that may not travel, and the dots of SMTP."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mss.mail import scan

_BYTES = st.lists(st.sampled_from([b"\r\n", b".", b"a", b"\r", b"\n", b"\x00", b"\xc3\xa9"]), max_size=30).map(b"".join)


@pytest.mark.parametrize(
    ("octets", "fault"),
    [
        (b"", None),
        (b"a\r\nb\r\n", None),
        (b"caf\xc3\xa9\r\n", None),
        (b"a\nb", scan.BARE_LF),
        (b"a\rb", scan.BARE_CR),
        (b"\r\r\n", scan.BARE_CR),
        (b"\n\r\n", scan.BARE_LF),
        (b"a\x00b", scan.NUL),
        (b"\n.\n", scan.BARE_LF),
        (b"\r\n.\r", scan.BARE_CR),
    ],
)
def test_faults(octets: bytes, fault: str | None) -> None:
    assert scan.smtp_safe(octets) == fault


@given(_BYTES)
def test_large_letters_are_judged_as_small_ones(octets: bytes) -> None:
    assert scan.smtp_safe(octets + b"x" * (1 << 20)) == scan.smtp_safe(octets + b"x")


@given(_BYTES)
def test_what_was_made_canonical_is_safe(octets: bytes) -> None:
    canonical = scan.canonical(octets)
    assert scan.smtp_safe(canonical) is None
    assert scan.canonical(canonical) == canonical


@pytest.mark.parametrize(
    ("octets", "is_long"),
    [
        (b"", False),
        (b"x" * 998, False),
        (b"x" * 999, True),
        (b"x" * 998 + b"\r\n", False),
        (b"x" * 999 + b"\r\n", True),
        ((b"x" * 998 + b"\r\n") * 5 + b"y", False),
        (b"a\r\n" * 1000 + b"x" * 999, True),
        (b"a\r\n" * 1000 + b"x" * 1001 + b"\r\n" + b"a\r\n" * 1000, True),
    ],
)
def test_long_lines(octets: bytes, is_long: bool) -> None:
    assert scan.has_long_line(octets) is is_long


@given(st.lists(st.integers(0, 1100), max_size=8))
def test_long_lines_wherever_they_are(sizes: list[int]) -> None:
    octets = b"".join(b"x" * size + b"\r\n" for size in sizes)
    assert scan.has_long_line(octets) == any(size > 998 for size in sizes)


def test_seven_bit() -> None:
    assert scan.is_seven_bit(b"a\r\n")
    assert not scan.is_seven_bit(b"\xc3\xa9")


@pytest.mark.parametrize(
    ("octets", "stuffed"),
    [
        (b"", b""),
        (b"a", b"a\r\n"),
        (b".", b"..\r\n"),
        (b".a\r\n.b\r\n", b"..a\r\n..b\r\n"),
        (b"..\r\n", b"...\r\n"),
        (b"a.b\r\n", b"a.b\r\n"),
    ],
)
def test_dots(octets: bytes, stuffed: bytes) -> None:
    assert scan.dot_stuff(octets) == stuffed


@given(_BYTES)
def test_dots_come_out_as_they_went_in(octets: bytes) -> None:
    stuffed = scan.dot_stuff(octets)
    assert b"\r\n.\r\n" not in b"\r\n" + stuffed
    whole = octets if octets.endswith(b"\r\n") or not octets else octets + b"\r\n"
    assert scan.dot_unstuff(stuffed) == whole


def test_a_dot_that_was_not_doubled_is_taken_off() -> None:
    assert scan.dot_unstuff(b".a\r\n.b\r\n") == b"a\r\nb\r\n"


@given(_BYTES, st.integers(1, 9))
def test_dots_are_the_same_wherever_a_piece_ends(octets: bytes, chunk: int) -> None:
    safe = scan.canonical(octets)
    pieces = list(scan.dot_stuffed(safe, chunk))
    assert b"".join(pieces) == scan.dot_stuff(safe)
    assert not any(piece.endswith(b"\r") for piece in pieces)
