"""Header fields written: folded, seven bits, closed against injection."""

from __future__ import annotations

import email
import email.header
import email.policy
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mss.errors import Malformed
from mss.mail import fields

PRINTABLE = st.characters(codec="utf-8", exclude_categories=["Cc", "Cf", "Cs", "Zl", "Zp"])


@pytest.mark.parametrize(
    ("value", "field"),
    [
        (b"short", b"X: short\r\n"),
        (b"", b"X: \r\n"),
        (b"a\r\n b", b"X: a\r\n b\r\n"),
        (b"w" * 40 + b" " + b"x" * 40, b"X: " + b"w" * 40 + b"\r\n " + b"x" * 40 + b"\r\n"),
        (b"w" * 200, b"X: " + b"w" * 200 + b"\r\n"),
        (b"w" * 995, b"X: " + b"w" * 995 + b"\r\n"),
    ],
)
def test_folding(value: bytes, field: bytes) -> None:
    assert fields.field("X", value) == field


@pytest.mark.parametrize(
    "value",
    [b"a\r\nBcc: x", b"a\nb", b"a\rb", b"a\r\n", b"a\r", b"a\n", b"a\x00b", b"a\r\n \r\n b", b"a\r\n ", b"a\x1bb",
     b"w" * 996],
)  # fmt: skip
def test_a_value_cannot_break_out(value: bytes) -> None:
    with pytest.raises(Malformed):
        fields.field("X", value)


@pytest.mark.parametrize("name", ["", "a b", "a:", "é", "a\r\nb", "x" * 201])
def test_field_names(name: str) -> None:
    with pytest.raises(Malformed):
        fields.field(name, b"x")


@pytest.mark.parametrize(
    ("text", "encoded"),
    [
        ("plain", b"plain"),
        ("", b""),
        ("é", b"=?utf-8?b?w6k=?="),
        ("Résultat de l'examen", b"=?utf-8?q?R=C3=A9sultat_de_l=27examen?="),
        ("日本", b"=?utf-8?b?5pel5pys?="),
        ("a =?x?= b", b"=?utf-8?b?YSA9P3g/PSBi?="),
        ("x" * 200, b"\r\n ".join([b"=?utf-8?q?" + b"x" * 63 + b"?="] * 3 + [b"=?utf-8?q?" + b"x" * 11 + b"?="])),
    ],
)
def test_texts(text: str, encoded: bytes) -> None:
    assert fields.encode_text(text) == encoded


@pytest.mark.parametrize("text", ["a\r\nb", "a\nb", "a\rb", "a\x00", "a\x1b[", "a\x85b", "a\u2028b"])
def test_controls_are_refused(text: str) -> None:
    for write in (fields.encode_text, fields.encode_phrase, lambda t: fields.encode_parameter("x", t)):
        with pytest.raises(Malformed):
            write(text)


@pytest.mark.parametrize(
    ("name", "encoded"),
    [
        ("Joe Doe", b"Joe Doe"),
        ("Dr. Joe", b'"Dr. Joe"'),
        ("Joe, MD", b'"Joe, MD"'),
        ('J "Q" \\', b'"J \\"Q\\" \\\\"'),
        ("two  spaces", b'"two  spaces"'),
        ("René", b"=?utf-8?b?UmVuw6k=?="),
        ("=?x", b"=?utf-8?b?PT94?="),
    ],
)
def test_phrases(name: str, encoded: bytes) -> None:
    assert fields.encode_phrase(name) == encoded


@pytest.mark.parametrize(
    ("value", "encoded"),
    [
        ("a.pdf", b"filename=a.pdf"),
        ("a b.pdf", b'filename="a b.pdf"'),
        ('a"b\\', b'filename="a\\"b\\\\"'),
        ("é.pdf", b"filename*=utf-8''%C3%A9.pdf"),
        ("=?utf-8?q?x?=", b"filename*=utf-8''%3D%3Futf-8%3Fq%3Fx%3F%3D"),
        ("", b'filename=""'),
    ],
)
def test_parameters(value: str, encoded: bytes) -> None:
    assert fields.encode_parameter("filename", value) == encoded


def test_long_parameters_are_continued_and_no_escape_is_torn() -> None:
    encoded = fields.encode_parameter("filename", "é" * 60 + "x")
    lines = encoded.split(b";\r\n ")
    assert len(lines) > 2
    assert all(len(line) <= 78 for line in lines)
    assert all(re.fullmatch(rb"filename\*\d\*=(?:%[0-9A-F]{2}|[a-z'-8x])+", line) for line in lines)


@pytest.mark.parametrize("name", ["", "a b", "a*", "é"])
def test_parameter_names(name: str) -> None:
    with pytest.raises(Malformed):
        fields.encode_parameter(name, "x")


def test_a_first_word_that_is_no_token_is_refused() -> None:
    assert fields.parameters("text/plain", [("charset", "utf-8")]) == b"text/plain;\r\n charset=utf-8"
    with pytest.raises(Malformed):
        fields.parameters("text/plain; x", [])


@given(st.text(PRINTABLE, max_size=300))
def test_any_text_makes_one_seven_bit_field_of_short_lines(text: str) -> None:
    field = fields.text_field("Subject", text)
    assert field.isascii()
    assert field.endswith(b"\r\n")
    lines = field[:-2].split(b"\r\n")
    assert all(len(line) <= 210 for line in lines)
    assert all(line.startswith(b" ") and line.strip() for line in lines[1:])
    parsed = email.message_from_bytes(field + b"\r\n", policy=email.policy.compat32)
    assert parsed.keys() == ["Subject"]


@given(st.text(PRINTABLE, min_size=1, max_size=120).filter(lambda text: text.strip() == text))
def test_the_standard_library_reads_our_words(text: str) -> None:
    decoded = email.header.decode_header(fields.encode_text(text).decode())
    joined = "".join(part if isinstance(part, str) else part.decode(charset or "ascii") for part, charset in decoded)
    assert joined == text


@pytest.mark.parametrize("count", [14, 15, 16, 100])
def test_long_texts_are_split_between_characters(count: int) -> None:
    text = "\u65e5" * count
    words = fields.encode_text(text).split()
    assert all(len(word) <= 75 and word.startswith(b"=?utf-8?b?") for word in words)
    assert len(words) == -(-count // 15)
    assert str(email.header.make_header(email.header.decode_header(b" ".join(words).decode()))) == text
