"""Octets in a named charset become text, whatever the name is worth."""

from __future__ import annotations

import encodings
import pkgutil

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mss.mail import charsets


@pytest.mark.parametrize(
    ("octets", "charset", "text"),
    [
        (b"abc", None, "abc"),
        (b"\xc3\xa9", None, "é"),
        (b"\xc3\xa9", "utf-8", "é"),
        (b"\xc3\xa9", "us-ascii", "é"),
        (b"\xe9", None, "é"),
        (b"\xe9", "iso-8859-1", "é"),
        (b"\x80 \x9c", "iso-8859-1", "€ œ"),
        (b"\xe9", "utf-8", "é"),
        (b"\xa4", "iso-8859-15", "€"),
        (b"\xe9", "no-such-charset", "é"),
        (b"\xe9", "", "é"),
        (b"+AOk-", "utf-7", "é"),
        (b"abc", "rot13", "abc"),
        (b"abc", "base64", "abc"),
        (b"\\xe9", "unicode_escape", "\\xe9"),
        (b"xn--9ca", "idna", "xn--9ca"),
        (b"9ca", "punycode", "9ca"),
        (b"\x00", "undefined", "\x00"),
        (b"abc", "utf-8\x00", "abc"),
        (b"abc", "x" * 41, "abc"),
        (b"a\x00b\x00", "utf-16-le", "ab"),
        (b"a\x00b", "utf-16-le", "a�"),
        (b"\x81", None, "�"),
    ],
)
def test_decoding(octets: bytes, charset: str | None, text: str) -> None:
    assert charsets.decode(octets, charset) == text


def test_a_broken_character_does_not_spoil_a_text_that_is_plainly_utf8() -> None:
    octets = "élève déçu à l’hôpital".encode() + b"\xc3"
    assert charsets.decode(octets, "utf-8") == "élève déçu à l’hôpital�"


PYTHONS = sorted(module.name for module in pkgutil.iter_modules(encodings.__path__))


@given(st.binary(max_size=60), st.none() | st.sampled_from(PYTHONS))
@example(b"+2AA-", "utf-7")
def test_no_octets_raise_and_the_text_can_be_written_again(octets: bytes, charset: str | None) -> None:
    assert charsets.decode(octets, charset).encode() is not None


@given(st.text(max_size=40))
def test_utf8_is_read_as_written(text: str) -> None:
    octets = text.encode("utf-8", "replace")
    assert charsets.decode(octets, "UTF-8").encode() == octets
