"""Binary parts become base64, and nothing else of a letter changes."""

from __future__ import annotations

import pytest

from mss.config import Limits
from mss.mail import content, mime, sections
from mss.mail.transcode import without_nul

PLAIN = b"Subject: a\r\n\r\nx\r\n"
MIXED = (
    b'Content-Type: multipart/mixed; boundary="b"\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\nbonjour\r\n'
    b"--b\r\nContent-Type: application/pdf\r\nContent-transfer-ENCODING:\r\n binary\r\nX-Kept: 1\r\n\r\n%b\r\n--b--\r\n"
)
INNER = b"Content-Type: message/rfc822\r\n\r\nSubject: dedans\r\nContent-Type: application/pdf\r\n\r\na\0b"
OCTETS = bytes(range(256)) * 3


def result(octets: bytes) -> bytes | None:
    return without_nul(mime.index(octets, Limits()))


def test_a_letter_without_nul_stays_as_it_is() -> None:
    assert result(PLAIN) is PLAIN
    assert result(MIXED % b"abc") == MIXED % b"abc"


@pytest.mark.parametrize("body", [b"\0", b"\0" * 58, OCTETS])
def test_a_binary_part_keeps_its_content(body: bytes) -> None:
    made = result(MIXED % body)
    assert made is not None
    message = mime.index(made, Limits())
    part = sections.part(message, (2,))
    assert part is not None
    assert (part.encoding, content.decoded(message, part)) == ("base64", body)
    assert made.count(b"X-Kept: 1\r\n") == 1
    assert b"binary" not in made
    assert made.startswith(MIXED.partition(b"--b\r\nContent-Type: application")[0])
    assert max(map(len, made.split(b"\r\n"))) <= 80


def test_a_part_inside_an_embedded_letter_is_found() -> None:
    made = result(INNER)
    assert made is not None
    assert made.endswith(b"Content-Type: application/pdf\r\nContent-Transfer-Encoding: base64\r\n\r\nYQBi")


def test_a_letter_without_fields_gets_one() -> None:
    assert result(b"\r\na\0b") == b"Content-Transfer-Encoding: base64\r\n\r\nYQBi"


def test_nul_in_a_header_cannot_be_helped() -> None:
    assert result(b"Subject: a\0b\r\n\r\nx") is None
