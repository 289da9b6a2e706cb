"""Parameters of MIME fields, read as RFC 2045 and RFC 2231 mean them and as people write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mss.mail import parameters
from mss.mail.fields import encode_parameter
from mss.mail.parameters import RawParameter


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"text/plain", ()),
        (b"text/plain; charset=utf-8", (("charset", "utf-8"),)),
        (b"text/plain; Charset=UTF-8 ; Format = flowed", (("charset", "UTF-8"), ("format", "flowed"))),
        (b"text/plain; charset=us-ascii (Plain text)", (("charset", "us-ascii"),)),
        (b'a/b; x="a;b\\"c\\\\"', (("x", 'a;b"c\\'),)),
        (b'a/b; x="open', (("x", "open"),)),
        (b'a/b; x="fol\r\n ded"', (("x", "fol ded"),)),
        (b"a/b; ; x=1;; y", (("x", "1"),)),
        (b"a/b; x=", (("x", ""),)),
        (b"a/b; name=my file (1).pdf; x=1", (("name", "my file (1).pdf"), ("x", "1"))),
        # RFC 2231 §3, §4, §4.1
        (
            b'message/external-body; access-type=URL; URL*0="ftp://";\r\n URL*1="cs.utk.edu/pub/moore/x.tar"',
            (("access-type", "URL"), ("url", "ftp://cs.utk.edu/pub/moore/x.tar")),
        ),
        (
            b"application/x-stuff; title*=us-ascii'en-us'This%20is%20%2A%2A%2Afun%2A%2A%2A",
            (("title", "This is ***fun***"),),
        ),
        (
            b"application/x-stuff; title*0*=us-ascii'en'This%20is%20even%20more%20;\r\n"
            b' title*1*=%2A%2A%2Afun%2A%2A%2A%20;\r\n title*2="isn\'t it!"',
            (("title", "This is even more ***fun*** isn't it!"),),
        ),
        (b"a/b; x*1=b; x*0=a", (("x", "ab"),)),
        (b"a/b; x*1=b; x*2=c", (("x", "bc"),)),
        (b"a/b; x*0=a; x*2=c", (("x", "a"),)),
        (b"a/b; x*0=a; x*0=z", (("x", "a"),)),
        (b"a/b; x*0=100%; x*1*=%41", (("x", "100%A"),)),
        (b"a/b; x*=no-quotes%41", (("x", "no-quotesA"),)),
        (b"a/b; x*=''%E9", (("x", "é"),)),
        (b"a/b; x*=nonsense''%C3%A9", (("x", "é"),)),
        (b"a/b; x*=\xff''%C3%A9", (("x", "é"),)),
        (b"a/b; filename=plain; filename*=utf-8''better", (("filename", "better"),)),
        (b"a/b; filename*=utf-8''better; filename=plain", (("filename", "better"),)),
        (b"a/b; *=x; *0=y; x*y=z", (("*", "x"), ("*0", "y"), ("x*y", "z"))),
        (b"a/b; x*01=a", (("x*01", "a"),)),
        (b"a/b; x*99999=a", (("x*99999", "a"),)),
        (b'a/b; name="=?utf-8?q?=C3=A9?= =?utf-8?q?=C3=A8?="', (("name", "éè"),)),
        (b'a/b; name="\xc3\xa9"', (("name", "é"),)),
        (b'a/b; name="\xe9"', (("name", "é"),)),
        (b"a/b; name*=utf-8''a%0D%0Ab%00%E2%80%AEgpj.exe", (("name", "a bgpj.exe"),)),
    ],
)
def test_reading(value: bytes, expected: tuple[tuple[str, str], ...]) -> None:
    raw, cut = parameters.read_raw(value, 100)
    assert parameters.decode(raw) == expected
    assert not cut


def test_raw_parameters_stay_as_written() -> None:
    raw, _ = parameters.read_raw(b"a/b; Name*0*=utf-8''%C3%A9a; name*1=b%c; name*2*=%20", 100)
    assert raw == (RawParameter(b"Name", b"utf-8''%C3%A9ab%25c%20", extended=True),)


@pytest.mark.parametrize("size", [-1, 0, 1])
def test_limit_of_the_value(size: int) -> None:
    head = b"a/b; x=1; y="
    value = head + b"v" * (parameters.VALUE_MAX_OCTETS - len(head) + size)
    raw, cut = parameters.read_raw(value, 100)
    assert cut == (size > 0)
    assert [parameter.name for parameter in raw] == [b"x", b"y"]


def test_octets_of_a_parameter() -> None:
    raw, _ = parameters.read_raw(b"a/b; boundary*=us-ascii''x%20y; z=1", 100)
    assert parameters.octets_of(raw, b"boundary") == b"x y"
    assert parameters.octets_of(raw, b"z") == b"1"
    assert parameters.octets_of(raw, b"none") is None


@given(st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cf", "Cs", "Zl", "Zp"]), max_size=200))
def test_what_is_written_is_read_again(text: str) -> None:
    raw, _ = parameters.read_raw(b"attachment; " + encode_parameter("filename", text), 100)
    [(name, value)] = parameters.decode(raw)
    assert name == "filename"
    assert value.strip() == text.strip()
