"""Reading back stored ENVELOPE and BODYSTRUCTURE octets."""

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mss.config import Limits
from mss.imap import structure
from mss.mail import mime
from mss.mail import structure as mail_structure
from tests.imap.imap_world import LETTER, NESTED

LETTERS = [LETTER, NESTED, b"", b"\r\n\r\nx", NESTED.replace(b"mixed", b"alternative")]


@pytest.mark.parametrize("octets", LETTERS)
def test_body_is_bodystructure_without_its_extensions(octets: bytes) -> None:
    """The mail room renders both from the letter: what is cut here must be what it writes."""
    message = mime.index(octets, Limits())
    cut = structure.without_extensions(mail_structure.bodystructure(message))
    assert cut == mail_structure.body(message)


PART = st.sampled_from(
    [
        b"Content-Type: text/plain\r\n\r\nhello",
        b'Content-Type: text/html; charset="utf-8"; x="a\\"b"\r\nContent-ID: <1>\r\n\r\n<p>',
        b"Content-Type: message/rfc822\r\n\r\nFrom: a@b, c@d\r\nTo: e@f\r\nSubject: (in\r\n\r\nbody",
        b"Content-Type: application/pdf\r\nContent-Disposition: attachment; filename=a.pdf\r\n\r\nx",
        b"Content-Type: image/png\r\nContent-Description: " + b"\xc3\xa9" * 3 + b"\r\n\r\n",
        b"Content-Type: multipart/mixed; boundary=c\r\n\r\n--c\r\n\r\nx\r\n--c\r\n\r\ny\r\n--c--",
    ]
)


@given(st.lists(PART, max_size=4))
def test_body_of_any_multipart(parts: list[bytes]) -> None:
    pieces = b"".join(b"--b\r\n" + part + b"\r\n" for part in parts)
    octets = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + pieces + b"--b--\r\n"
    message = mime.index(octets, Limits())
    stored = mail_structure.bodystructure(message)
    assert structure.without_extensions(stored) == mail_structure.body(message)
    assert structure.write_tree(structure.read_tree(stored)) == stored


@given(st.binary(max_size=60))
def test_garbage_gives_some_tree(octets: bytes) -> None:
    assert structure.without_extensions(octets).startswith(b"(")


def test_fields_of_an_envelope() -> None:
    header = (
        b'Date: Sun, 22 Nov 2026 23:30:00 -0500\r\nSubject: =?utf-8?q?=C3=A9cho?= "x"\r\n'
        b'From: =?utf-8?q?Ren=C3=A9e?= <renee@pro.example>\r\nTo: a@b.c, "d e" <f@g.h>\r\nMessage-ID: <i@j>\r\n\r\n'
    )
    envelope = mail_structure.envelope(mime.index(header, Limits()))
    expected = {
        "subject": 'écho "x"',
        "from": "Renée <renee@pro.example>",
        "sender": "Renée <renee@pro.example>",
        "to": "a@b.c, d e <f@g.h>",
        "cc": None,
        "message-id": "<i@j>",
        "in-reply-to": None,
    }
    assert {name: structure.envelope_field(envelope, name) for name in expected} == expected
    assert structure.sent_day(envelope) == date(2026, 11, 22)


@pytest.mark.parametrize(
    "envelope", [b"", b"()", b"(NIL)", b"NIL", b"((((", b'("no date" NIL NIL NIL NIL NIL NIL NIL NIL NIL)']
)
def test_an_envelope_without_a_date_has_no_day(envelope: bytes) -> None:
    assert structure.sent_day(envelope) is None
    assert structure.envelope_field(envelope, "subject") is None


def test_a_literal_in_an_envelope() -> None:
    envelope = b'(NIL {5}\r\na"(b\xff ((NIL NIL {2}\r\nxy "d.e")) NIL NIL NIL NIL NIL NIL NIL)'
    assert structure.envelope_field(envelope, "from") == "xy@d.e"
    assert (structure.envelope_field(envelope, "subject") or "").startswith('a"(b')
