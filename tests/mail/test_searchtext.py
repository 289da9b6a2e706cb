"""What SEARCH looks into, and what is too long to be prepared."""

from __future__ import annotations

import pytest

from mss.config import Limits
from mss.mail import mime
from mss.mail.searchtext import fold, prepare, prepare_short
from mss.model.message import Message

NESTED = (
    b"Subject: =?utf-8?q?R=C3=A9sum=C3=A9?=\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\npreamble\r\n"
    b"--b\r\nContent-Type: text/html; charset=iso-8859-1\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
    b"<p>=C9cho</p>\r\n--b\r\nContent-Type: message/rfc822\r\n\r\nSubject: dedans\r\n\r\nCACH\xc3\x89\r\n"
    b"--b\r\nContent-Type: application/pdf\r\n\r\nsecret\r\n--b--\r\n"
)


def index(octets: bytes) -> Message:
    return mime.index(octets, Limits())


def test_header_and_texts_are_read_as_people_read_them() -> None:
    header, _, body = prepare(index(NESTED)).partition(b"\0")
    assert header.decode().startswith("subject: résumé")
    assert body.decode() == "<p>écho</p>\ncaché"
    assert prepare(index(b"")) == b"\0"


def test_what_is_looked_for_has_the_same_form() -> None:
    assert fold("ÉCHO") in prepare(index(NESTED))
    assert fold("secret") not in prepare(index(NESTED))
    assert fold("\ud800") == b"\xed\xa0\x80"


@pytest.mark.parametrize(("limit", "is_prepared"), [(3, False), (6, False), (7, True), (8, True)])
def test_a_long_text_is_not_prepared(limit: int, is_prepared: bool) -> None:
    message = index(b"A: b\r\n\r\nab")
    assert prepare(message) == b"a: b\0ab"
    assert prepare_short(message, limit) == (b"a: b\0ab" if is_prepared else b"")


def test_a_text_that_is_surely_too_long_is_not_even_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mss.mail.content.text", lambda *_: pytest.fail("decoded"))
    assert prepare_short(index(b"\r\n" + b"x" * 11), 10) == b""
