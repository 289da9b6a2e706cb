"""Letters made here: what goes in comes out, in seven bits, the same each time."""

from __future__ import annotations

import email
import email.policy
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mss.errors import Malformed
from mss.mail import compose, headers, mime, scan, structure
from mss.mail.compose import Attachment, Correspondent, Draft
from mss.model.address import Address, Domain
from tests.mail.letters import DOCTOR, LIMITS, NOON, PATIENT

DRAFT = Draft(
    sender=Correspondent(DOCTOR, "Dr Sophie MARTIN – Hôpital"),
    to=(Correspondent(PATIENT),),
    subject="Résultat de l'examen",
    date=NOON,
    message_id="<1@medecin.mssante.fr>",
    text="Bonjour,\nvoilà.\n",
)
PDF = Attachment("Compte rendu d’été.pdf", "application/pdf", b"%PDF-1.4\r\n\x00\xff" * 30)


def test_a_letter_of_text() -> None:
    assert compose.compose(DRAFT) == (
        b"Date: Mon, 02 Mar 2026 12:00:05 +0000\r\n"
        b"From: =?utf-8?b?RHIgU29waGllIE1BUlRJTiDigJMgSMO0cGl0YWw=?=\r\n <sophie.martin@medecin.mssante.fr>\r\n"
        b"To: 279035121518989@patient.mssante.fr\r\n"
        b"Subject: =?utf-8?q?R=C3=A9sultat_de_l=27examen?=\r\n"
        b"Message-ID: <1@medecin.mssante.fr>\r\n"
        b"MIME-Version: 1.0\r\n"
        b"Content-Type: text/plain;\r\n charset=utf-8\r\n"
        b"Content-Transfer-Encoding: quoted-printable\r\n"
        b"\r\n"
        b"Bonjour,\r\nvoil=C3=A0.\r\n"
    )


def test_everything_that_a_draft_can_say() -> None:
    draft = replace(
        DRAFT,
        cc=(Correspondent(Address.parse("c@x.fr"), "C, D"),),
        reply_to=(Correspondent(Address.parse("box@x.fr")),),
        in_reply_to="<0@x>",
        references=("<a@x>", "<0@x>"),
        attachments=(PDF, Attachment("IHE_XDM.ZIP", "application/zip", b"PK")),
        html="<p>voilà</p>",
        auto_submitted="auto-generated",
        extra=(("X-MSS-NIL", "DEV1"), ("Disposition-Notification-To", "a@x.fr")),
    )
    octets = compose.compose(draft)
    message = mime.index(octets, LIMITS)
    root = message.structure.root
    assert [field.name for field in root.fields] == [
        "date", "from", "reply-to", "to", "cc", "subject", "message-id", "in-reply-to", "references",
        "auto-submitted", "x-mss-nil", "disposition-notification-to", "mime-version", "content-type",
    ]  # fmt: skip
    assert mime.text_of(message) == ("Bonjour,\nvoilà.\n", "<p>voilà</p>\n")
    attached = mime.attachments(message)
    assert [(part.filename, part.content_type, part.disposition) for part in attached] == [
        ("Compte rendu d’été.pdf", "application/pdf", "attachment"),
        ("IHE_XDM.ZIP", "application/zip", "attachment"),
    ]
    assert [mime.decoded(message, part) for part in attached] == [PDF.octets, b"PK"]
    assert headers.addresses(message.header("cc") or b"", LIMITS) == [("C, D", "c@x.fr")]
    assert headers.message_ids(message.header("references") or b"") == ["<a@x>", "<0@x>"]
    assert structure.envelope(message).startswith(b'("Mon, 02 Mar 2026 12:00:05 +0000" "=?utf-8?q?R')


def test_the_same_draft_gives_the_same_octets() -> None:
    draft = replace(DRAFT, attachments=(PDF,))
    assert compose.compose(draft) == compose.compose(draft)
    assert compose.compose(draft, seed="x") != compose.compose(draft, seed="y")


def test_nobody_named_in_to() -> None:
    assert b"\r\nTo: undisclosed-recipients:;\r\n" in compose.compose(replace(DRAFT, to=()))


@pytest.mark.parametrize(
    ("text", "encoding", "body"),
    [
        ("", b"7bit", b""),
        ("plain", b"7bit", b"plain\r\n"),
        ("a\r\nb\rc\n", b"7bit", b"a\r\nb\r\nc\r\n"),
        ("x" * 78, b"7bit", b"x" * 78 + b"\r\n"),
        ("x" * 79, b"quoted-printable", b"x" * 75 + b"=\r\nxxxx\r\n"),
        ("trailing \n", b"7bit", b"trailing \r\n"),
        ("é \n.\n", b"base64", b"w6kgDQouDQo=\r\n"),
        ("a bell\x07", b"quoted-printable", b"a bell=07\r\n"),
        ("日本語", b"base64", b"5pel5pys6KqeDQo=\r\n"),
        ("null\x00", b"7bit", b"null\r\n"),
    ],
)
def test_texts(text: str, encoding: bytes, body: bytes) -> None:
    header, _, found = compose.text_entity(text).partition(b"\r\n\r\n")
    assert (header.rpartition(b" ")[2], found) == (encoding, body)


@pytest.mark.parametrize(
    ("kind", "written"),
    [("application/PDF", "application/pdf"), ("message/rfc822", "application/octet-stream"),
     ("multipart/mixed", "application/octet-stream"), ("text/html", "text/html")],
)  # fmt: skip
def test_types_of_attachments(kind: str, written: str) -> None:
    message = mime.index(compose.compose(replace(DRAFT, attachments=(Attachment("a", kind, b"x"),))), LIMITS)
    assert message.structure.root.children[1].content_type == written


def test_an_attachment_without_a_name() -> None:
    message = mime.index(compose.compose(replace(DRAFT, attachments=(Attachment("", "image/png", b"x"),))), LIMITS)
    part = message.structure.root.children[1]
    assert (part.disposition, part.filename) == ("attachment", None)


@pytest.mark.parametrize(
    "change",
    [
        {"subject": "a\r\nBcc: x@y"},
        {"subject": "a\nb"},
        {"sender": Correspondent(DOCTOR, "a\r\nBcc: x")},
        {"sender": Correspondent(Address("a\r\nb", Domain("x.fr")))},
        {"message_id": "1@x"},
        {"message_id": "<1@x>\r\nBcc: y"},
        {"auto_submitted": "a\r\nb"},
        {"extra": (("Bcc", "x"),)},
        {"extra": (("Content-Type", "x"),)},
        {"extra": (("X Y", "x"),)},
        {"extra": (("X", "a\r\nb"),)},
        {"attachments": (Attachment("a\r\nb", "a/b", b""),)},
        {"attachments": (Attachment("a", "a", b""),)},
        {"attachments": (Attachment("a", "a/b; c=d", b""),)},
        {"attachments": (Attachment("a", "a/b\r\nX: y", b""),)},
    ],
)
def test_unfit_values_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(Malformed):
        compose.compose(replace(DRAFT, **change))


@pytest.mark.parametrize("count", [29, 30, 31])
def test_a_long_thread_keeps_its_root_and_its_end(count: int) -> None:
    ids = tuple(f"<{i}@x>" for i in range(count))
    message = mime.index(compose.compose(replace(DRAFT, references=ids)), LIMITS)
    found = headers.message_ids(message.header("references") or b"")
    assert len(found) == min(count, 30)
    assert (found[0], found[-1]) == (ids[0], ids[-1])


def test_identifiers_of_others_that_cannot_be_written_are_left_out() -> None:
    long = "<" + "x" * 901 + ">"
    ids = ("<a b>", "b", "<é@x>", "<\x01@x>", "<a@x>\r\nBcc: y", long, "<" + "x" * 900 + ">", "<ok@x>")
    message = mime.index(compose.compose(replace(DRAFT, in_reply_to="<é@x>", references=ids)), LIMITS)
    assert message.header("in-reply-to") is None
    assert headers.message_ids(message.header("references") or b"") == ["<" + "x" * 900 + ">", "<ok@x>"]


def test_message_ids() -> None:
    assert compose.message_id("a-1.b", Domain("x.fr")) == "<a-1.b@x.fr>"
    with pytest.raises(Malformed):
        compose.message_id("a b", Domain("x.fr"))


def test_a_boundary_is_never_in_a_part() -> None:
    boundary = compose.Boundaries("seed").for_entities([b""])
    entity = b"\r\n--" + boundary.encode() + b"--\r\n"
    other = compose.multipart("mixed", [entity], compose.Boundaries("seed"))
    assert mime.index(other, LIMITS).structure.root.parameter("boundary") != boundary
    assert len(mime.index(other, LIMITS).structure.root.children) == 1


def test_an_address_that_is_not_ascii_needs_smtputf8() -> None:
    octets = compose.compose(replace(DRAFT, to=(Correspondent(Address.parse("é@x.fr")),)))
    assert "To: é@x.fr\r\n".encode() in octets


_NAMES = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cf", "Cs", "Zl", "Zp"]), max_size=60)


@given(
    _NAMES, _NAMES, st.text(st.characters(codec="utf-8"), max_size=300),
    _NAMES.filter(lambda name: name == name.strip()), st.binary(max_size=200),
)  # fmt: skip
def test_what_goes_in_comes_out(name: str, subject: str, text: str, file: str, octets: bytes) -> None:
    draft = replace(
        DRAFT,
        sender=Correspondent(DOCTOR, name),
        subject=subject,
        text=text,
        attachments=(Attachment(file, "a/b", octets),),
    )
    letter = compose.compose(draft)
    assert letter.isascii()
    assert scan.smtp_safe(letter) is None
    assert not scan.has_long_line(letter)
    message = mime.index(letter, LIMITS)
    [(shown, spec)] = headers.addresses(message.header("from") or b"", LIMITS)
    assert (" ".join(shown.split()), spec) == (" ".join(name.split()), DOCTOR.spec)
    assert headers.decode_text(message.header("subject") or b"").strip() == subject.strip()
    assert mime.decoded(message, message.structure.root.children[1]) == octets
    assert (message.structure.root.children[1].filename or "") == file
    other: Any = email.message_from_bytes(letter, policy=email.policy.default)
    assert other.get_body().get_content().replace("\r\n", "\n") == mime.text_of(message)[0]
