"""Letters that the tests of this room share."""

from __future__ import annotations

import base64
from datetime import UTC, datetime

from mss.config import Limits
from mss.mail import mime
from mss.model.address import Address
from mss.model.message import Message, Part

LIMITS = Limits()
NOON = datetime(2026, 3, 2, 12, 0, 5, tzinfo=UTC)
DOCTOR = Address.parse("sophie.martin@medecin.mssante.fr")
PATIENT = Address.parse("279035121518989@patient.mssante.fr")


def index(*lines: bytes, body: bytes = b"hi\r\n", limits: Limits = LIMITS) -> Message:
    """Index a letter of header lines and a body."""
    return mime.index(b"".join(line + b"\r\n" for line in lines) + b"\r\n" + body, limits)


def mixed(*parts: bytes, boundary: str = "b", subtype: str = "mixed", closed: bool = True) -> bytes:
    """Return a multipart: its Content-Type line, the empty line and the parts."""
    mark = b"--" + boundary.encode()
    body = b"".join(mark + b"\r\n" + part + b"\r\n" for part in parts)
    head = f"Content-Type: multipart/{subtype}; boundary={boundary}\r\n\r\n".encode()
    return head + body + (mark + b"--\r\n" if closed else b"")


def nested(depth: int) -> bytes:
    """Return multiparts inside one another, `depth` of them, around one text."""
    entity = b"Content-Type: text/plain\r\n\r\ndeep"
    for level in range(depth):
        entity = mixed(entity, boundary=f"b{level}")
    return entity


def forwarded(depth: int) -> bytes:
    """Return letters inside one another, `depth` of them around the last."""
    return b"Content-Type: message/rfc822\r\n\r\n" * depth + b"Subject: last\r\n\r\nend"


def xdm_letter(archive: bytes = b"PK\x03\x04" + bytes(60), pdf: bytes = b"%PDF-1.4 " + bytes(60)) -> bytes:
    """Return a letter of the shape that health software sends: text, IHE_XDM.ZIP, PDF twin."""
    return (
        b"Received: from lps.example ([192.0.2.7])\r\n\tby mx.example with ESMTPS id 1;\r\n"
        b"\tMon, 2 Mar 2026 12:00:00 +0100\r\n"
        b"From: =?utf-8?q?Dr_Sophie_MARTIN?= <sophie.martin@medecin.mssante.fr>\r\n"
        b"To: <279035121518989@patient.mssante.fr>\r\n"
        b"Subject: =?utf-8?q?XDM/1=2E0/DDM+CR_d=27examens_biologiques_PAT-TROIS_Dominique?=\r\n"
        b" =?utf-8?q?_03/12/1979?=\r\n"
        b"Date: Mon, 2 Mar 2026 12:00:00 +0100\r\n"
        b"Message-ID: <1@lps.example>\r\n"
        b"X-MSS-NIL: DEV935997\r\nX-MSS-INS: O\r\nX-MSS-CODECDA: 11502-2, 11502-2\r\n"
        b"MIME-Version: 1.0\r\n"
        + mixed(
            b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
            b"Bonjour, voil=C3=A0.",
            _file(b"application/zip", b"IHE_XDM.ZIP", archive),
            _file(b"application/pdf", b"20260302_CR_PAT-TROIS_DOMINIQUE_1.pdf", pdf),
            boundary="----=_Part_1_2.3",
        ).replace(b"boundary=----=_Part_1_2.3", b'\r\n\tboundary="----=_Part_1_2.3"')
    )


def _file(kind: bytes, name: bytes, octets: bytes) -> bytes:
    encoded = base64.encodebytes(octets).replace(b"\n", b"\r\n").rstrip()
    return (
        b"Content-Type: " + kind + b"; name=" + name + b"\r\nContent-Transfer-Encoding: base64\r\n"
        b"Content-Disposition: attachment; filename=" + name + b"\r\n\r\n" + encoded
    )


def outline(part: Part) -> object:
    """Return the shape of a part: its type, with its children or its embedded letter."""
    if part.embedded is not None:
        return (part.content_type, outline(part.embedded))
    if part.children:
        return (part.content_type, [outline(child) for child in part.children])
    return part.content_type
