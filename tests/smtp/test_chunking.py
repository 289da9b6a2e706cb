"""Chunks: any split of a letter over chunks and blocks gives the same letter, and never more than its octets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mss.mail import scan
from mss.smtp import chunking, reply
from mss.smtp.chunking import Chunk, ChunkReader
from mss.smtp.reply import Reply


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ("0", Chunk(0)),
        ("0 LAST", Chunk(0, last=True)),
        ("86 last", Chunk(86, last=True)),
        ("7   LAST", Chunk(7, last=True)),
        ("999999999999", Chunk(999_999_999_999)),
        ("", reply.BAD_CHUNK),
        ("LAST", reply.BAD_CHUNK),
        ("-1", reply.BAD_CHUNK),
        ("+1", reply.BAD_CHUNK),
        ("0x10", reply.BAD_CHUNK),
        ("1_000", reply.BAD_CHUNK),
        ("1LAST", reply.BAD_CHUNK),
        ("1 FIRST", reply.BAD_CHUNK),
        ("1 LAST LAST", reply.BAD_CHUNK),
        ("1000000000000", reply.BAD_CHUNK),
        ("١", reply.BAD_CHUNK),
    ],
)
def test_arguments(argument: str, expected: Chunk | Reply) -> None:
    assert chunking.parse_bdat(argument) == expected


@given(st.text(max_size=20))
def test_any_argument_is_a_chunk_or_refused(argument: str) -> None:
    read = chunking.parse_bdat(argument)
    assert read == reply.BAD_CHUNK or (isinstance(read, Chunk) and read.size_octets >= 0)


_octets = st.lists(st.sampled_from([b"\r", b"\n", b"\r\n", b".", b"\r\n.\r\n", b"\0", b"x", b"BDAT 3\r\n"])).map(
    b"".join
)


@given(_octets, st.lists(st.integers(0, 9), max_size=8), st.integers(1, 7))
def test_any_split_gives_the_same_letter(letter: bytes, cuts: list[int], block: int) -> None:
    reader, at = ChunkReader(1000), 0
    for size in (*cuts, len(letter)):
        chunk = letter[at : at + size]
        at += len(chunk)
        reader.begin(len(chunk))
        stream, rest = chunk + b"QUIT\r\n", reader.feed(b"")
        while rest is None:
            rest, stream = reader.feed(stream[:block]), stream[block:]
        assert rest + stream == b"QUIT\r\n"
    assert reader.size_octets == reader.wire_octets == len(letter)
    assert reader.bad == (scan.smtp_safe(letter) is not None)
    assert reader.octets() in (letter, letter + b"\r\n")


@pytest.mark.parametrize(
    ("chunks", "bad"),
    [
        ((b"a\r", b"\nb\r\n"), False),
        ((b"a\r", b"b\n"), True),
        ((b"a\r", b""), True),
        ((b"\n",), True),
        ((b"a\r", b"\r\n"), True),
        ((b"a\0",), True),
        ((b"no end",), False),
    ],
)
def test_a_line_end_may_stand_on_the_border(chunks: tuple[bytes, ...], bad: bool) -> None:
    reader = ChunkReader(100)
    for chunk in chunks:
        reader.begin(len(chunk))
        assert reader.feed(chunk) == b""
    assert reader.bad is bad


def test_the_last_line_has_its_end() -> None:
    reader = ChunkReader(100)
    assert reader.octets() == b""
    reader.begin(6)
    reader.feed(b"no end")
    assert reader.octets() == b"no end\r\n"


@pytest.mark.parametrize(("size", "too_large"), [(9, False), (10, False), (11, True)])
def test_the_limit_is_on_the_letter_not_the_chunk(size: int, too_large: bool) -> None:
    reader = ChunkReader(10)
    reader.begin(5)
    reader.feed(b"x" * 5)
    reader.begin(size - 5)
    reader.feed(b"x" * (size - 5))
    assert (reader.too_large, reader.discarded) == (too_large, too_large)
    assert reader.octets() == (b"" if too_large else b"x" * size + b"\r\n")
