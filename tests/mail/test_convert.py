"""Letters for peers that take seven bits: every part says the same as before, and signed ones are left alone."""

from __future__ import annotations

import email
import email.policy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mss.mail import convert, mime, scan
from mss.mail.convert import CannotError, Reason
from mss.model.message import Message, Part
from tests.mail.letters import LIMITS, index, mixed, outline

E = "é".encode()
TEXT = b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\nR\xc3\xa9sultat.\r\n"
IMAGE = b"Content-Type: image/png\r\nContent-Transfer-Encoding: binary\r\n\r\n\x89PNG\xff\xfe"
SIGNED = mixed(TEXT, b"Content-Type: application/pkcs7-signature\r\n\r\nMII=", subtype="signed", boundary="s")
PLAIN_SIGNED = mixed(
    b"\r\nplain", b"Content-Type: application/pkcs7-signature\r\n\r\nMII=", subtype="signed", boundary="s"
)


def letter(entity: bytes, head: bytes = b"Subject: x\r\nMIME-Version: 1.0\r\n") -> Message:
    return mime.index(head + entity, LIMITS)


def converted(message: Message) -> Message:
    octets = convert.seven_bit(message)
    assert octets.isascii()
    assert scan.smtp_safe(octets) is None
    assert convert.seven_bit(message) == octets, "a copy is recognised by its octets"
    return mime.index(octets, LIMITS)


def contents(message: Message, part: Part | None = None) -> list[tuple[str, bytes]]:
    """Return type and decoded octets of all leaves, those of embedded letters too."""
    found = []
    for one in (part or message.structure.root).walk():
        if one.embedded is not None:
            found += contents(message, one.embedded)
        elif not one.children:
            found.append((one.content_type, mime.decoded(message, one)))
    return found


@pytest.mark.parametrize(
    "entity",
    [
        TEXT,
        IMAGE,
        mixed(TEXT, IMAGE),
        mixed(TEXT, mixed(TEXT, IMAGE, boundary="inner", subtype="alternative")),
        mixed(TEXT, PLAIN_SIGNED),
        mixed(b"\r\n" + E, IMAGE),
        mixed(b"Content-Type: message/rfc822\r\nContent-Transfer-Encoding: 8bit\r\n\r\nSubject: inner\r\n" + TEXT),
        mixed(TEXT, closed=False),
        b"Content-Transfer-Encoding: quoted-printable\r\n\r\nr=C3=A9el " + E + b"\r\n",
        b"Content-Type: application/pdf\r\nContent-Transfer-Encoding: base64\r\n\r\nJVBERi0\xe9x\r\n",
        b"Content-Type: text/plain; charset=utf-8\r\n\r\n" + "гласные\r\n".encode() * 40,
        b"Content-Transfer-Encoding: 8bit\r\n\r\n.\r\n..x " + E + b" \r\n\t\r\nFrom you\r\n",
        b"Content-Transfer-Encoding: 8bit\r\n\r\n" + b"x" * 71 + b" --b" + E + b"\r\n--b--\r\n",
    ],
)
def test_each_part_says_what_it_said(entity: bytes) -> None:
    before = letter(entity)
    after = converted(before)
    assert contents(after) == contents(before)
    assert outline(after.structure.root) == outline(before.structure.root)
    assert after.header("subject") == before.header("subject")


def test_a_seven_bit_letter_is_returned_as_it_is() -> None:
    message = letter(PLAIN_SIGNED)
    assert convert.seven_bit(message) is message.octets


def test_the_header_says_how_it_is_encoded_now() -> None:
    after = converted(letter(mixed(TEXT, IMAGE), b"MIME-Version: 1.0\r\nContent-Transfer-Encoding: 8bit\r\n"))
    text, image = after.structure.root.children
    assert [part.encoding for part in (after.structure.root, text, image)] == ["7bit", "quoted-printable", "base64"]
    assert after.octets.count(b"Content-Transfer-Encoding") == 3


def test_a_letter_without_mime_becomes_one() -> None:
    after = converted(index(b"Subject: x", body=b"caf\xe9\r\n"))
    assert after.octets == (
        b"Subject: x\r\nMIME-Version: 1.0\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\ncaf=E9\r\n"
    )


def test_an_encoding_named_twice_is_named_once() -> None:
    head = b"MIME-Version: 1.0\r\nContent-Transfer-Encoding: 8bit\r\nContent-Transfer-Encoding: binary\r\n"
    after = converted(letter(b"\r\n" + E, head))
    assert after.headers("content-transfer-encoding") == [b" quoted-printable"]


def test_what_stands_between_the_parts_is_made_readable() -> None:
    entity = mixed(TEXT).replace(b"\r\n\r\n--b", b"\r\n\r\npr\xc3\xa9ambule\r\n--b", 1) + b"\xc3\xa9pilogue\r\n"
    after = converted(letter(entity))
    assert b"pr??ambule" in after.octets
    assert after.octets.endswith(b"??pilogue\r\n")


def test_other_libraries_read_the_same() -> None:
    before = letter(mixed(TEXT, IMAGE))
    found: list[list[Any]] = [
        [part.get_payload(decode=True) for part in email.message_from_bytes(octets, policy=email.policy.SMTP).walk()]
        for octets in (before.octets, convert.seven_bit(before))
    ]
    assert found[0] == found[1]


@pytest.mark.parametrize(
    ("entity", "reason"),
    [
        (SIGNED, Reason.SIGNED),
        (mixed(TEXT, SIGNED), Reason.SIGNED),
        (b"Subject: \xc3\xa9\r\n" + TEXT, Reason.HEADER),
        (mixed(b'Content-Disposition: attachment; filename="\xc3\xa9"\r\n\r\nx'), Reason.HEADER),
        (b"Content-Type: message/rfc822\r\n\r\nSubject: \xc3\xa9\r\n\r\nx\r\n", Reason.HEADER),
        (b"Content-Type: message/partial; id=1\r\n\r\n" + E, Reason.OPAQUE),
        (b"Content-Type: multipart/mixed\r\n\r\n" + E, Reason.OPAQUE),
        (b"Content-Transfer-Encoding: x-zip\r\n\r\n" + E, Reason.OPAQUE),
    ],
)
def test_what_must_not_be_touched(entity: bytes, reason: Reason) -> None:
    with pytest.raises(CannotError) as caught:
        convert.seven_bit(letter(entity))
    assert caught.value.reason is reason


def test_a_letter_that_was_not_read_to_its_end_is_not_touched() -> None:
    deep = TEXT
    for level in range(60):
        deep = mixed(deep, boundary=f"b{level}")
    with pytest.raises(CannotError) as caught:
        convert.seven_bit(letter(deep))
    assert caught.value.reason is Reason.OPAQUE


@pytest.mark.parametrize(
    ("message", "needs"),
    [
        (letter(TEXT), False),
        (letter(mixed(TEXT, IMAGE)), False),
        (index(b"Subject: \xc3\xa9"), True),
        (letter(mixed(b'Content-Disposition: attachment; filename="\xc3\xa9"\r\n\r\nx')), True),
        (letter(b"Content-Type: message/rfc822\r\n\r\nSubject: \xc3\xa9\r\n\r\nx\r\n"), True),
        (letter(PLAIN_SIGNED), False),
    ],
)
def test_which_letters_need_smtputf8(message: Message, needs: bool) -> None:
    assert convert.needs_utf8(message) is needs


_BODIES = st.lists(st.sampled_from([b"\r\n", b" ", b"\t", b".", b"--b", b"=", b"x" * 70, E, b"\xff", b"From "])).map(
    b"".join
)
_PARTS = st.tuples(st.sampled_from(["text/plain", "text/html", "application/pdf"]), _BODIES).map(
    lambda made: f"Content-Type: {made[0]}\r\nContent-Transfer-Encoding: 8bit\r\n\r\n".encode() + made[1]
)
_ENTITIES = st.recursive(
    _PARTS,
    lambda inner: st.one_of(
        st.tuples(st.lists(inner, min_size=1, max_size=3), st.sampled_from("bcd")).map(
            lambda made: mixed(*made[0], boundary=made[1])
        ),
        inner.map(lambda entity: b"Content-Type: message/rfc822\r\n\r\nSubject: x\r\n" + entity),
    ),
    max_leaves=5,
)


@given(_ENTITIES)
def test_any_letter_says_what_it_said_or_stays_as_it_is(entity: bytes) -> None:
    before = letter(entity)
    try:
        after = converted(before)
    except CannotError:
        return
    assert contents(after) == contents(before)
