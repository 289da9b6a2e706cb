"""MLLP: any split of the stream gives the same messages; what is no frame is refused, limits hold."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mss.errors import Malformed
from mss.hl7.framing import START, Frames, framed

MESSAGES = st.lists(st.binary(max_size=30), max_size=4)


@given(MESSAGES, st.data())
def test_any_split_gives_the_same_messages(messages: list[bytes], data: st.DataObject) -> None:
    messages = [one.replace(b"\x1c", b"") for one in messages]
    stream = b"".join(framed(one) + data.draw(st.sampled_from([b"", b"\r\n", b"\n"])) for one in messages)
    frames, found = Frames(30), list[bytes]()
    while stream:
        cut = data.draw(st.integers(1, len(stream)))
        found += frames.feed(stream[:cut])
        stream = stream[cut:]
    assert found == messages


@pytest.mark.parametrize("octets", [b"MSH|", b"\r\nGET / HTTP/1.1", b"\x1c\r", b"\x16\x03\x01"])
def test_what_is_no_frame_is_refused(octets: bytes) -> None:
    with pytest.raises(Malformed, match="not MLLP"):
        Frames(100).feed(octets)


def test_a_message_up_to_the_limit() -> None:
    assert Frames(10).feed(framed(b"x" * 10)) == [b"x" * 10]
    with pytest.raises(Malformed, match="larger than the limit"):
        Frames(10).feed(framed(b"x" * 11))
    with pytest.raises(Malformed, match="larger than the limit"):
        Frames(10).feed(START + b"x" * 12)
    frames = Frames(10)
    assert frames.feed(framed(b"x" * 10)[:-1]) == []
    assert frames.feed(b"\r") == [b"x" * 10]
