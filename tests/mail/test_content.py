"""What letters say and carry: encodings broken and whole, the best text, attachments."""

from __future__ import annotations

import base64
import quopri
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mss.mail import content, mime
from tests.mail.letters import LIMITS, index, mixed


def decoded(encoding: bytes, body: bytes) -> bytes:
    message = index(b"Content-Transfer-Encoding: " + encoding, body=body)
    return content.decoded(message, message.structure.root)


@pytest.mark.parametrize(
    ("encoding", "body", "octets"),
    [
        (b"base64", b"aGVs\r\nbG8=\r\n", b"hello"),
        (b"BASE64", b"aGVsbG8", b"hello"),
        (b"base64", b"aGVsbG8=garbage", b"hello"),
        (b"base64", b"aGV*sb G8", b"hello"),
        (b"base64", b"aGVsbG8x\xff\x00Y", b"hello1"),
        (b"base64", b"a", b""),
        (b"base64", b"", b""),
        (b"base64", b"=", b""),
        (b"quoted-printable", b"caf=C3=A9=\r\n!\r\n", b"caf\xc3\xa9!\r\n"),
        (b"quoted-printable", b"a=ZZ=", b"a=ZZ"),
        (b"8bit", b"caf\xc3\xa9", b"caf\xc3\xa9"),
        (b"binary", b"\x00\xff", b"\x00\xff"),
        (b"x-unknown", b"abc", b"abc"),
    ],
)
def test_transfer_encodings(encoding: bytes, body: bytes, octets: bytes) -> None:
    assert decoded(encoding, body) == octets


@given(st.binary(max_size=300))
def test_what_the_standard_library_encodes_is_decoded(octets: bytes) -> None:
    assert decoded(b"base64", base64.encodebytes(octets)) == octets
    assert decoded(b"base64", base64.encodebytes(octets).replace(b"\n", b"\r\n")) == octets
    assert decoded(b"quoted-printable", quopri.encodestring(octets)) == octets


@given(st.binary(max_size=60))
def test_any_octets_are_decoded(body: bytes) -> None:
    decoded(b"base64", body)
    decoded(b"quoted-printable", body)


PLAIN = b"Content-Type: text/plain\r\n\r\nplain"
HTML = b"Content-Type: text/html\r\n\r\n<p>rich &amp; bold</p>"
FILE = b"Content-Type: application/pdf; name=x.pdf\r\n\r\n%PDF"
IMAGE = b"Content-Type: image/png\r\nContent-ID: <1>\r\n\r\nPNG"
NOTES = b"Content-Type: text/plain\r\nContent-Disposition: attachment; filename=notes.txt\r\n\r\nnotes"
NAMED = b"Content-Type: text/plain; name=named.txt\r\n\r\nnamed"
FORWARDED = b"Content-Type: message/rfc822\r\n\r\nSubject: x\r\n\r\ninner"


@pytest.mark.parametrize(
    ("octets", "text", "html", "attached"),
    [
        (PLAIN, "plain", None, []),
        (HTML, "rich & bold", "<p>rich &amp; bold</p>", []),
        (FILE, "", None, [""]),
        (NAMED, "named", None, []),
        (NOTES, "", None, [""]),
        (mixed(PLAIN, FILE, NOTES, NAMED), "plain", None, ["2", "3", "4"]),
        (mixed(PLAIN, HTML, subtype="alternative"), "plain", "<p>rich &amp; bold</p>", []),
        (
            mixed(mixed(PLAIN, HTML, subtype="alternative", boundary="c"), FILE),
            "plain",
            "<p>rich &amp; bold</p>",
            ["2"],
        ),
        (mixed(HTML, IMAGE, subtype="related"), "rich & bold", "<p>rich &amp; bold</p>", ["2"]),
        (mixed(subtype="related"), "", None, []),
        (mixed(PLAIN, HTML), "plain\nrich & bold", "<p>plain</p>\n<p>rich &amp; bold</p>", []),
        (mixed(PLAIN, PLAIN), "plain\nplain", None, []),
        (mixed(FILE, IMAGE), "", None, ["1", "2"]),
        (mixed(PLAIN, FORWARDED), "plain", None, ["2"]),
        (mixed(FILE, subtype="alternative"), "", None, ["1"]),
    ],
)
def test_best_texts_and_attachments(octets: bytes, text: str, html: str | None, attached: list[str]) -> None:
    message = mime.index(octets, LIMITS)
    assert mime.text_of(message) == (text, html)
    assert [part.number for part in mime.attachments(message)] == attached


@pytest.mark.parametrize(
    ("headers", "body", "text"),
    [
        (b"Content-Type: text/plain; charset=iso-8859-1", b"\xe9\r\nx\ry", "é\nx\ny"),
        (b"Content-Type: text/plain; charset=nonsense", b"\xc3\xa9", "é"),
        (b"Content-Type: text/plain; charset=utf-16\r\nContent-Transfer-Encoding: base64",
         base64.b64encode("é".encode("utf-16")), "é"),
    ],
)  # fmt: skip
def test_texts_are_read_in_their_charset(headers: bytes, body: bytes, text: str) -> None:
    assert mime.text_of(index(headers, body=body))[0] == text


@pytest.mark.parametrize(
    ("markup", "text"),
    [
        ("a<br>b<BR/>c", "a\nb\nc"),
        ("<p>a</p><p>b</p>", "a\nb"),
        ("<p>a</p>\n \n\n<p>b</p>", "a\n\nb"),
        ("<style>x{}</style>a<script>alert(1)</script >b", "ab"),
        ("<title>t</title><head>no</head>yes", "yes"),
        ("a<script>never ends", "a"),
        ("a<script>x</script", "a"),
        ("&eacute;&lt;b&gt;", "é<b>"),
        ("1 < 2", "1 < 2"),
        ("<!-- x -->a", "a"),
        ("<header>kept</header>", "kept"),
    ],
)
def test_plain_text_of_html(markup: str, text: str) -> None:
    assert content.from_html(markup) == text


def test_plain_text_as_html() -> None:
    assert content.as_html("\na<b>\nc\n") == "<p>a&lt;b&gt;<br>\nc</p>"


@pytest.mark.parametrize("markup", ["<" * 10**6, "<script" * 10**5, "<script>" * 10**5, "\n " * 10**5, "&" * 10**6])
def test_hostile_html_costs_little(markup: str) -> None:
    start = time.process_time()
    content.from_html(markup)
    assert time.process_time() - start < 10


@pytest.mark.parametrize(
    ("octets_max", "read"),
    [(16, "first\nsecond\n"), (15, "first\nsecond\n"), (14, "first\n"), (7, "first\n"), (5, "first"), (3, "fir")],
)
def test_the_beginning_of_a_text_ends_with_a_line_where_it_can(octets_max: int, read: str) -> None:
    message = index(b"Content-Type: text/plain", body=b"first\r\nsecond\r\n")
    assert content.beginning(message, message.structure.root, octets_max) == read


def test_the_beginning_is_decoded() -> None:
    body = base64.encodebytes("été ".encode() * 100)
    message = index(b"Content-Type: text/plain; charset=utf-8", b"Content-Transfer-Encoding: base64", body=body)
    beginning = content.beginning(message, message.structure.root, 100)
    assert 1 < len(beginning) < 100
    assert ("été " * 100).startswith(beginning.rstrip("\ufffd"))
