"""The framing of octets: lines, literals, refusals, limits, and that no split changes anything."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mss.config import Limits
from mss.imap.wire import Event, Frame, GoAhead, Reason, Refused, Wire, WireLimits

LIMITS = Limits(imap_line_max_octets=100, imap_literal_before_login_max_octets=20, message_max_octets=5000)
AFTER = WireLimits.after_login(LIMITS)
BEFORE = WireLimits.before_login(LIMITS)


def events(octets: bytes, limits: WireLimits = AFTER, cuts: tuple[int, ...] = ()) -> list[Event]:
    """Feed octets in pieces and return all events."""
    wire = Wire(limits)
    edges = [0, *sorted(cuts), len(octets)]
    found: list[Event] = []
    for start, end in pairwise(edges):
        wire.feed(octets[start:end])
        while (event := wire.next()) is not None:
            found.append(event)
    return found


BIG = b"x" * 4096
TABLE: list[tuple[bytes, list[Event]]] = [
    (b"a NOOP\r\n", [Frame(b"a NOOP")]),
    (b"\r\n", [Frame(b"")]),
    (b"a NOOP\r\nb NOOP\r\n", [Frame(b"a NOOP"), Frame(b"b NOOP")]),
    (b"a NOOP", []),
    (b"a X {3}\r\nabc\r\n", [GoAhead(3), Frame(b"a X {3}\r\n", (b"abc",))]),
    (b"a X {0}\r\n\r\n", [GoAhead(0), Frame(b"a X {0}\r\n", (b"",))]),
    (b"a X {3+}\r\nabc {2+}\r\nde z\r\n", [Frame(b"a X {3+}\r\n {2+}\r\n z", (b"abc", b"de"))]),
    (b"a X {6+}\r\n\r\nb Y\n\r\n", [Frame(b"a X {6+}\r\n", (b"\r\nb Y\n",))]),
    # What is refused is swallowed with its literal, and the next command is read.
    (
        b"a X\0 {3+}\r\nabc\r\nb NOOP\r\n",
        [Refused("a", Reason.SYNTAX, "Lines end with CR LF and hold neither CR, LF nor NUL"), Frame(b"b NOOP")],
    ),
    (b"a X {3+}\r\na\0c\r\nb N\r\n", [Refused("a", Reason.SYNTAX, "A literal holds a NUL"), Frame(b"b N")]),
    (
        b"a NOOP\nb NOOP\r\n",
        [Refused("a", Reason.SYNTAX, "Lines end with CR LF and hold neither CR, LF nor NUL"), Frame(b"b NOOP")],
    ),
    (b"a X {101}\r\nb NOOP\r\n", [Refused("a", Reason.TOO_BIG, "Literal too large"), Frame(b"b NOOP")]),
    # LITERAL+ after login: of any size that fits, and a large one is told before it is read.
    (
        b"a APPEND x {4096+}\r\n" + BIG + b"\r\nb NOOP\r\n",
        [Frame(b"a APPEND x {4096+}\r\n", (BIG,)), Frame(b"b NOOP")],
    ),
    (
        b"a APPEND x {4097+}\r\n" + BIG + b"y\r\nb NOOP\r\n",
        [GoAhead(4097, waits=False), Frame(b"a APPEND x {4097+}\r\n", (BIG + b"y",)), Frame(b"b NOOP")],
    ),
    (
        b"a X {101+}\r\n" + b"x" * 101 + b" {1+}\r\nz\r\nb NOOP\r\n",
        [Refused("a", Reason.TOO_BIG, "Literal too large"), Frame(b"b NOOP")],
    ),
    # A literal8 may hold NUL, in REPLACE it may be as large as in APPEND.
    (b"a APPEND x ~{3+}\r\na\0c\r\n", [Frame(b"a APPEND x ~{3+}\r\n", (b"a\0c",))]),
    (b"a APPEND x ~{3}\r\na\0c\r\n", [GoAhead(3), Frame(b"a APPEND x ~{3}\r\n", (b"a\0c",))]),
    (b"a UID REPLACE 1 x {4999}\r\n", [GoAhead(4999)]),
    (b"a REPLACE 1 x {5001}\r\n", [Refused("a", Reason.TOO_BIG, "Literal too large")]),
    # Octets of which we cannot know the end close the connection.
    (b"a X {5001+}\r\nb NOOP\r\n", [Refused("a", Reason.TOO_BIG, "Literal too large", fatal=True)]),
    (b"a X {" + b"9" * 40 + b"+}\r\nb N\r\n", [Refused("a", Reason.TOO_BIG, "Literal too large", fatal=True)]),
    (b"( {1001}\r\n", [Refused("*", Reason.TOO_BIG, "Literal too large")]),
]


@pytest.mark.parametrize(("octets", "expected"), TABLE)
def test_octets_become_events(octets: bytes, expected: list[Event]) -> None:
    assert events(octets) == expected


@pytest.mark.parametrize(("octets", "expected"), TABLE)
def test_octet_by_octet_the_events_are_the_same(octets: bytes, expected: list[Event]) -> None:
    assert events(octets, cuts=tuple(range(len(octets)))) == expected


PIECE = st.sampled_from(
    [
        b"a NOOP\r\n",
        b"a X ",
        b"{3}\r\n",
        b"{3+}\r\n",
        b"{4+}\r\nabcd",
        b"\r\n",
        b"\n",
        b"\r",
        b"\0",
        b"{200+}\r\n",
        b"{7",
        b"x" * 120,
        b"}",
        b"+}",
        b"(",
        b'"q"',
        b"a APPEND i {4000}\r\n",
        b"a APPEND i {4500+}\r\n",
        b"a APPEND i ~{2+}\r\n\0\0",
        b"~{1}",
        b"z" * 1000,
        b"{99999999999999999999+}\r\n",
    ]
)


@given(st.lists(PIECE, max_size=12), st.lists(st.integers(0, 5000), max_size=8), st.sampled_from([AFTER, BEFORE]))
def test_any_split_of_the_stream_gives_the_same_events(
    pieces: list[bytes], cuts: list[int], limits: WireLimits
) -> None:
    octets = b"".join(pieces)
    within = tuple(min(cut, len(octets)) for cut in cuts)
    assert events(octets, limits, within) == events(octets, limits)


@pytest.mark.parametrize("space", [99, 100, 101])
def test_the_tag_of_a_line_that_is_too_long_is_the_same_however_it_comes(space: int) -> None:
    octets = b"t" * space + b" NOOP " + b"x" * 100 + b"\r\n"
    whole = events(octets)
    assert [event.tag for event in whole if isinstance(event, Refused)] == ["t" * 99 if space == 99 else "*"]
    for cut in range(95, 120):
        assert events(octets, AFTER, (cut,)) == whole


@given(st.lists(PIECE, max_size=30), st.sampled_from([AFTER, BEFORE]))
def test_memory_is_bounded_whatever_comes(pieces: list[bytes], limits: WireLimits) -> None:
    wire = Wire(limits)
    for piece in pieces:
        wire.feed(piece)
        while wire.next() is not None:
            pass
        assert wire.pending <= limits.append_max_octets + limits.line_max_octets + len(piece)


@pytest.mark.parametrize(("length", "refused"), [(99, False), (100, False), (101, True)])
def test_a_line_is_limited_with_its_end(length: int, refused: bool) -> None:
    octets = b"a " + b"x" * (length - 4) + b"\r\n"
    found = events(octets)
    assert [isinstance(event, Refused) for event in found] == [refused]
    assert events(octets + b"b N\r\n")[1:] == [Frame(b"b N")]


@pytest.mark.parametrize(("size", "taken"), [(19, True), (20, True), (21, False)])
def test_a_literal_before_login_is_limited(size: int, taken: bool) -> None:
    found = events(b"a LOGIN {%d}\r\n" % size, BEFORE)
    assert found == ([GoAhead(size)] if taken else [Refused("a", Reason.TOO_BIG, "Literal too large", fatal=True)])


@pytest.mark.parametrize(("size", "taken"), [(4999, True), (5000, True), (5001, False)])
def test_an_appended_letter_is_limited(size: int, taken: bool) -> None:
    found = events(b"a append inbox {%d}\r\n" % size)
    assert found == ([GoAhead(size)] if taken else [Refused("a", Reason.TOO_BIG, "Literal too large")])


def test_all_literals_of_a_command_count_together() -> None:
    assert events(b"a X {60+}\r\n" + b"y" * 60 + b" {41}\r\n") == [Refused("a", Reason.TOO_BIG, "Literal too large")]
    assert events(b"a X {60+}\r\n" + b"y" * 60 + b" {40}\r\n") == [GoAhead(40)]


def test_before_login_a_refusal_ends_the_connection() -> None:
    found = events(b"a X\n" + b"b NOOP\r\n", BEFORE)
    assert found == [Refused("a", Reason.SYNTAX, "Lines end with CR LF and hold neither CR, LF nor NUL", fatal=True)]


def test_after_a_fatal_refusal_nothing_is_kept() -> None:
    wire = Wire(BEFORE)
    wire.feed(b"a X\nb")
    assert wire.next() is not None
    wire.feed(b"c NOOP\r\n")
    assert (wire.next(), wire.pending) == (None, 0)


def test_oversized_literal_octets_are_never_read_as_commands() -> None:
    """A large non-synchronising literal is swallowed whole, or the connection ends (the attack of stalwart #2768)."""
    letter = b"a1 LOGOUT\r\n" * 400
    found = events(b"a SEARCH TEXT {%d+}\r\n" % len(letter) + letter + b"\r\nb NOOP\r\n")
    assert [type(event) for event in found] == [Refused, Frame]
    assert found[1] == Frame(b"b NOOP")
    letter *= 2
    found = events(b"a APPEND INBOX {%d+}\r\n" % len(letter) + letter + b"\r\nb NOOP\r\n")
    assert found == [Refused("a", Reason.TOO_BIG, "Literal too large", fatal=True)]


@pytest.mark.parametrize("tail", [b"", b" {5+}\r\nabcde", b" (x {300+}\r\n" + b"y" * 300 + b")"])
def test_what_comes_after_a_declined_literal_is_swallowed_with_it(tail: bytes) -> None:
    wire = Wire(AFTER)
    wire.feed(b"a APPEND INBOX {4097+}\r\n" + BIG + b"y" + tail + b"\r\nb NOOP\r\n")
    assert wire.next() == GoAhead(4097, waits=False)
    assert wire.decline() == "a"
    assert (wire.next(), wire.next(), wire.pending) == (Frame(b"b NOOP"), None, 0)


def test_a_declined_command_without_end_ends_the_connection() -> None:
    wire = Wire(AFTER)
    wire.feed(b"a APPEND INBOX {4097+}\r\n" + BIG + b"y {4000+}\r\n")
    assert wire.next() == GoAhead(4097, waits=False)
    wire.decline()
    assert wire.next() is None
    wire.feed(b"b NOOP\r\n")
    assert (wire.next(), wire.pending) == (None, 0)


def test_endless_line_before_login_ends_the_connection() -> None:
    wire = Wire(BEFORE)
    for _ in range(20):
        wire.feed(b"a" * 50)
        event = wire.next()
        if event is not None:
            break
    assert isinstance(event, Refused)
    assert event.fatal


def test_limits_may_be_lifted_between_two_events() -> None:
    wire = Wire(BEFORE)
    wire.feed(b"a LOGIN u p\r\nb APPEND INBOX {4000}\r\n")
    assert wire.next() == Frame(b"a LOGIN u p")
    wire.limits = AFTER
    assert wire.next() == GoAhead(4000)
