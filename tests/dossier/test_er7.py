"""HL7 version 2 messages: separators, escapes, encodings, limits; garbage is Malformed or read, never more."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mss.config import Limits
from mss.dossier import er7
from mss.errors import Malformed
from tests.support.mdm import order

MSH = rb"MSH|^~\&|A|B|C|D|20210606||MDM^T02|1|P|2.6"


def field(written: str, limits: Limits, number: int = 1, component: int = 1, subcomponent: int = 1) -> str:
    message = er7.parse(MSH + b"||||||UNICODE UTF-8\rZZZ|" + written.encode() + b"\r", limits)
    segment = message.first("ZZZ")
    assert segment is not None
    return segment.component(number, component, subcomponent)


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("plain", "plain"),
        (r"a\F\b\S\c\R\d\T\e\E\f", r"a|b^c~d&e\f"),
        (r"caf\XC3A9\ ", "café"),
        (r"bad\XC3\ ", "bad\ufffd"),
        (r"one\.br\two\.sp\three", "one\ntwo\nthree"),
        (r"\H\bold\N\ ", "bold"),
        (r"\XZZ\lost", "lost"),
        (r"half\ ", "half\\"),
        (r"a\F\b\half", r"a|b\half"),
        (" spaces ", "spaces"),
    ],
)
def test_escapes_are_undone(written: str, read: str, limits: Limits) -> None:
    assert field(written, limits) == read


def test_fields_components_and_repetitions(limits: Limits) -> None:
    assert field("a^b&c~d|e", limits, 1, 2, 2) == "c"
    assert field("a^b&c~d|e", limits, 2) == "e"
    assert field("a", limits, 7, 3, 2) == ""
    message = er7.parse(MSH + b"\rZZZ|a~b^c\r", limits)
    segment = message.segments[1]
    assert [segment.part(one, 2) for one in segment.repetitions(1)] == ["", "c"]
    assert segment.raw(1, 2) == "c"
    assert (message.header.field(1), message.header.field(2), message.header.component(9, 2)) == ("|", r"^~\&", "T02")
    assert message.first("PID") is None


@pytest.mark.parametrize("end", [b"\r", b"\n", b"\r\n"])
def test_every_line_end_ends_a_segment(end: bytes, limits: Limits) -> None:
    assert len(er7.parse(MSH + end + b"PID|1" + end + b"PV1" + end, limits).segments) == 3


@pytest.mark.parametrize(
    ("named", "octets", "text"),
    [
        (b"UNICODE UTF-8", "é".encode(), "é"),
        (b"8859/1", b"\xe9", "é"),
        (b"8859/15", b"\xa4", "€"),
        (b"ASCII", b"e", "e"),
        (b"", "é".encode(), "é"),
    ],
)
def test_encodings(named: bytes, octets: bytes, text: str, limits: Limits) -> None:
    message = er7.parse(MSH + b"||||||" + named + b"\rZZZ|" + octets + b"\r", limits)
    assert message.segments[1].component(1) == text


def test_other_separators_are_taken(limits: Limits) -> None:
    message = er7.parse(b"MSH$*!?%$A$B\rZZZ$a*b%c!d?F?\r", limits)
    assert message.segments[1].component(1, 2, 2) == "c"
    assert message.segments[1].part(message.segments[1].repetitions(1)[1], 1) == "d$"


@pytest.mark.parametrize(
    ("octets", "reason"),
    [
        (b"", "does not begin with MSH"),
        (b"PID|1\r" + MSH, "does not begin with MSH"),
        (b"MSH|^~\\", "bad separators"),
        (b"MSH|^^\\&|A", "bad separators"),
        (b"MSH|^~\\&A|", "bad separators"),
        (b"MSHaX~\\&a", "bad separators"),
        (MSH + b"||||||UTF-7", "encoding that is not accepted"),
        (MSH + b"||||||ASCII\rZZZ|\xe9", "not in the encoding it names"),
        (MSH + b"\rZZZ|a\0b", "NUL"),
        (MSH + b"\rno segment|a", "segment without a name"),
    ],
)
def test_what_is_refused(octets: bytes, reason: str, limits: Limits) -> None:
    with pytest.raises(Malformed, match=reason):
        er7.parse(octets, limits)


def test_limits_at_and_above(limits: Limits) -> None:
    octets = MSH + b"\rZZZ|" + b"|" * 18 + b"\r"
    for name, at in (
        ("hl7_message_max_octets", len(octets)),
        ("hl7_segments_max", 2),
        ("hl7_fields_max", 20),
    ):
        er7.parse(octets, replace(limits, **{name: at}))
        with pytest.raises(Malformed, match="than the limit"):
            er7.parse(octets, replace(limits, **{name: at - 1}))


@given(st.text(max_size=60))
def test_what_is_escaped_comes_back(words: str) -> None:
    shown = "".join(one if one.isprintable() else " " for one in words).strip()
    assert field(er7.escaped(words), Limits()) == shown


@given(st.data())
def test_a_damaged_message_is_malformed_or_read(data: st.DataObject) -> None:
    octets = bytearray(SMALL)
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(octets) - 1))
        octets[place : place + data.draw(st.integers(0, 30))] = data.draw(st.sampled_from(DAMAGE))
    try:
        message = er7.parse(bytes(octets), Limits())
    except Malformed:
        return
    assert all(segment.component(n) == segment.component(n) for segment in message.segments for n in range(5))


SMALL = order(documents=[b"<ClinicalDocument/>"])
DAMAGE = [b"", b"|", b"^", b"~", b"\\", b"&", b"\r", b"\0", b"\xff", b"MSH", b"\\X"]


def test_a_message_is_written(limits: Limits) -> None:
    octets = er7.render(("MSH", "^~\\&", "A", "", ""), ("MSA", "AA", "1", ""))
    assert octets == b"MSH|^~\\&|A\rMSA|AA|1\r"
