"""Framing: whatever the blocks' borders, the same lines and the same letters; ends are CRLF and nothing else."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mss.mail import scan
from mss.smtp.wire import Fault, LetterReader, Lines

BIG = 10**6

# The grammar of what can go wrong with an end: dots, line ends and their halves, NUL, and some letters.
_PIECES = st.sampled_from([b"\r\n", b"\r", b"\n", b".", b"..", b"\r\n.", b"x", b"\0", b"abc", b"\r\n..\r\n", b"\r\r\n"])
wild = st.lists(_PIECES, max_size=30).map(b"".join)
clean_letters = st.lists(st.sampled_from([b"", b".", b"..", b".x", b"text", b"x" * 70]), max_size=12).map(
    lambda lines: b"".join(line + b"\r\n" for line in lines)
)


def split(octets: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted(min(cut, len(octets)) for cut in cuts), len(octets)]
    return [octets[start:end] for start, end in pairwise(edges)]


def read_all(reader: LetterReader, blocks: list[bytes]) -> bytes | None:
    """Feed the blocks; returns what came after the letter, or None when it did not end."""
    for number, block in enumerate(blocks):
        rest = reader.feed(block)
        if rest is not None:
            return rest + b"".join(blocks[number + 1 :])
    return None


def reference(octets: bytes) -> tuple[bytes, bytes] | None:
    """Return (letter, rest) by the slow and obvious way."""
    whole = b"\r\n" + octets
    end = whole.find(b"\r\n.\r\n")
    if end < 0:
        return None
    return scan.dot_unstuff(whole[2 : end + 2]), whole[end + 5 :]


@given(wild, st.lists(st.integers(0, 80), max_size=8))
def test_any_split_gives_the_same_letter_as_the_obvious_way(octets: bytes, cuts: list[int]) -> None:
    reader = LetterReader(BIG)
    rest = read_all(reader, split(octets, cuts))
    expected = reference(octets)
    assert (rest is None) == (expected is None)
    if expected:
        letter, after = expected
        assert (reader.octets(), rest) == (letter, after)
        assert reader.size_octets == len(letter)


@given(clean_letters, st.lists(st.integers(0, 400), max_size=8), st.binary(max_size=20))
def test_a_stuffed_letter_comes_back_and_is_good(letter: bytes, cuts: list[int], after: bytes) -> None:
    reader = LetterReader(BIG)
    rest = read_all(reader, split(scan.dot_stuff(letter) + b".\r\n" + after, cuts))
    assert (reader.octets(), rest, reader.bad) == (letter, after, False)


@given(wild, st.lists(st.integers(0, 80), max_size=8))
def test_bad_means_what_may_not_travel(octets: bytes, cuts: list[int]) -> None:
    reader = LetterReader(BIG)
    rest = read_all(reader, split(octets, cuts))
    if rest is not None:
        raw = octets[: len(octets) - len(rest)]
        assert reader.bad == (scan.smtp_safe(raw) is not None)


def test_octet_by_octet() -> None:
    reader = LetterReader(BIG)
    octets = b"a\r\n..b\r\n.\r\nQUIT"
    rests = [reader.feed(octets[i : i + 1]) for i in range(11)]
    assert rests == [None] * 10 + [b""]
    assert reader.octets() == b"a\r\n.b\r\n"


def test_the_empty_letter() -> None:
    reader = LetterReader(BIG)
    assert reader.feed(b".\r\nRSET\r\n") == b"RSET\r\n"
    assert (reader.octets(), reader.bad) == (b"", False)


# The forms that some server somewhere takes for the end of a letter.
SMUGGLING = [
    b"\n.\n",
    b"\n.\r\n",
    b"\r\n.\n",
    b"\r.\r",
    b"\r.\r\n",
    b"\r\n.\r",
    b"\r.\n",
    b"\n.\r",
    b"\r\n.\r\r\n",
    b"\r\r\n.\r\r\n",
    b"\r\n\0.\r\n",
]


@pytest.mark.parametrize("form", SMUGGLING, ids=repr)
def test_a_smuggling_form_ends_nothing_and_makes_the_letter_bad(form: bytes) -> None:
    reader = LetterReader(BIG)
    inner = b"MAIL FROM:<evil@chu.example>\r\n"
    assert reader.feed(b"text" + form + inner) is None
    assert reader.feed(b".\r\nNOOP\r\n") == b"NOOP\r\n"
    assert reader.bad
    assert inner in reader.octets()


def test_crcrlf_before_a_true_end_is_bad_too() -> None:
    reader = LetterReader(BIG)
    assert reader.feed(b"text\r\r\n.\r\nNOOP\r\n") == b"NOOP\r\n"
    assert reader.bad


@pytest.mark.parametrize(("size", "too_large"), [(99, False), (100, False), (101, True)])
def test_size_below_at_and_above_the_limit(size: int, too_large: bool) -> None:
    reader = LetterReader(100)
    letter = b"." * (size - 2) + b"\r\n"
    assert reader.feed(scan.dot_stuff(letter) + b".\r\nNOOP\r\n") == b"NOOP\r\n"
    assert (reader.too_large, reader.discarded) == (too_large, too_large)
    assert reader.octets() == (b"" if too_large else letter)


def test_the_limit_counts_octets_after_unstuffing() -> None:
    reader = LetterReader(40)
    letter = b".\r\n" * 13
    assert reader.feed(scan.dot_stuff(letter) + b".\r\n") == b""
    assert reader.octets() == letter


def test_an_endless_letter_is_read_and_not_kept() -> None:
    reader = LetterReader(1000)
    for _ in range(100):
        assert reader.feed(b"x" * 1000) is None
    assert reader.octets() == b""
    assert reader.wire_octets == 100_000
    assert reader.feed(b"\r\n.\r\nNOOP") == b"NOOP"


# Lines ---------------------------------------------------------------------------------------------------------


def lines_of(blocks: list[bytes], length_max: int) -> list[bytes | Fault]:
    lines = Lines()
    found: list[bytes | Fault] = []
    for block in blocks:
        lines.feed(block)
        while (line := lines.next(length_max)) is not None:
            found.append(line)
    return found


@given(wild, st.lists(st.integers(0, 80), max_size=8), st.integers(2, 20))
def test_any_split_gives_the_same_lines(octets: bytes, cuts: list[int], length_max: int) -> None:
    assert lines_of(split(octets, cuts), length_max) == lines_of([octets], length_max)


@pytest.mark.parametrize(
    ("octets", "expected"),
    [
        (b"NOOP\r\nQUIT\r\n", [b"NOOP", b"QUIT"]),
        (b"NOOP\r\nQU", [b"NOOP"]),
        (b"\r\n", [b""]),
        (b"NOOP\n", [Fault.BARE]),
        (b"NO\rOP\r\n", [Fault.BARE]),
        (b"NOOP\r\r\n", [Fault.BARE]),
        (b"NO\0OP\r\n", [Fault.BARE]),
        (b"x" * 18 + b"\r\n", [b"x" * 18]),
        (b"x" * 19 + b"\r\nNOOP\r\n", [Fault.TOO_LONG, b"NOOP"]),
        (b"x" * 500 + b"\r\nNOOP\r\n", [Fault.TOO_LONG, b"NOOP"]),
    ],
)
def test_lines(octets: bytes, expected: list[bytes | Fault]) -> None:
    assert lines_of([octets], 20) == expected
    assert lines_of([octets[i : i + 1] for i in range(len(octets))], 20) == expected


def test_an_endless_line_is_not_kept() -> None:
    lines = Lines()
    for _ in range(50):
        lines.feed(b"x" * 1000)
        assert lines.next(2048) is None
        assert len(lines) <= 2048
    assert lines.skipped_octets > 40_000


def test_take_and_clear_forget() -> None:
    lines = Lines()
    lines.feed(b"DATA\r\nhello")
    assert lines.next(100) == b"DATA"
    assert lines.take() == b"hello"
    lines.feed(b"MAIL")
    assert lines.clear() == 4
    assert len(lines) == 0
