"""ENVELOPE, BODYSTRUCTURE and BODY: the octets that Dovecot 2.3 sends for the same letters, and our own choices."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mss.mail import mime, structure
from mss.model.message import Message
from tests.mail.letters import LIMITS, forwarded, index, mixed, nested, xdm_letter

TEXT = b'("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" %d %d NIL NIL NIL NIL)'


def from_field(rendered: bytes) -> bytes:
    return b"(NIL NIL " + b" ".join([rendered] * 3) + b" NIL NIL NIL NIL NIL)"


# Read from Dovecot 2.3.19 for the same From field.
DOVECOT_FROM = [
    (b"Joe <a@b>", b'(("Joe" NIL "a" "b"))'),
    (b'"Joe Q" <a@b>', b'(("Joe Q" NIL "a" "b"))'),
    (b"a@b (Joe)", b'(("Joe" NIL "a" "b"))'),
    (b"Joe (x) <a@b>", b'(("Joe" NIL "a" "b"))'),
    (b"Joe  Q   Doe <a@b>", b'(("Joe Q Doe" NIL "a" "b"))'),
    (b"J. Doe <a@b>", b'(("J. Doe" NIL "a" "b"))'),
    (b"Joe\r\n Doe\r\n <a@b>", b'(("Joe Doe" NIL "a" "b"))'),
    (b"'Joe' <a@b>", b'(("\'Joe\'" NIL "a" "b"))'),
    (b'"" <a@b>', b'((NIL NIL "a" "b"))'),
    (b"=?utf-8?q?J=C3=A9?= <a@b>", b'(("=?utf-8?q?J=C3=A9?=" NIL "a" "b"))'),
    (b"J\xc3\xa9 <a@b>", b'(({3}\r\nJ\xc3\xa9 NIL "a" "b"))'),
    (b"G: a@b, C <c@d>;", b'((NIL NIL "G" NIL)(NIL NIL "a" "b")("C" NIL "c" "d")(NIL NIL NIL NIL))'),
    (b"Undisclosed:;", b'((NIL NIL "Undisclosed" NIL)(NIL NIL NIL NIL))'),
    (b"G: ;, x@y", b'((NIL NIL "G" NIL)(NIL NIL NIL NIL)(NIL NIL "x" "y"))'),
    (b"G: a@b", b'((NIL NIL "G" NIL)(NIL NIL "a" "b")(NIL NIL NIL NIL))'),
    (b"foo", b'((NIL NIL "foo" "MISSING_DOMAIN"))'),
    (b"foo bar", b'(("foo bar" NIL "MISSING_MAILBOX" "MISSING_DOMAIN"))'),
    (b"<>", b'((NIL NIL "MISSING_MAILBOX" "MISSING_DOMAIN"))'),
    (b"Joe <>", b'(("Joe" NIL "MISSING_MAILBOX" "MISSING_DOMAIN"))'),
    (b"<user>", b'((NIL NIL "user" "MISSING_DOMAIN"))'),
    (b"a@", b'((NIL NIL "a" "MISSING_DOMAIN"))'),
    (b"@b", b'((NIL NIL "MISSING_MAILBOX" "b"))'),
    (b"<@x,@y:a@b>", b'((NIL "@x,@y" "a" "b"))'),
    (b'"a b"@c', b'((NIL NIL "a b" "c"))'),
    (b"a@[1.2.3.4]", b'((NIL NIL "a" "[1.2.3.4]"))'),
    (b"a@b\r\nFrom: c@d", b'((NIL NIL "a" "b")(NIL NIL "c" "d"))'),
    (b"", b"NIL"),
]
# Where Dovecot stops or gives up, and we find the address.
OUR_FROM = [
    (b"a@b c@d", b'((NIL NIL "a" "b")(NIL NIL "c" "d"))'),
    (b"a@b <c@d>", b'(("a@b" NIL "c" "d"))'),
    (b"Joe <a@b", b'(("Joe" NIL "a" "b"))'),
    (b"Joe Doe a@b", b'(("Joe Doe" NIL "a" "b"))'),
    (b"a . b @ c . d", b'((NIL NIL "a.b" "c.d"))'),
    (b'"Joe \\"Q\\"" <a@b>', b'(("Joe \\"Q\\"" NIL "a" "b"))'),
    (b"Joe\x00 <a@b>", b'(("Joe" NIL "a" "b"))'),
    (b"a@b,,c@d", b'((NIL NIL "a" "b")(NIL NIL "c" "d"))'),
]


@pytest.mark.parametrize(("value", "rendered"), DOVECOT_FROM + OUR_FROM)
def test_addresses_of_the_envelope(value: bytes, rendered: bytes) -> None:
    assert structure.envelope(index(b"From: " + value)) == from_field(rendered)


def test_the_envelope_in_its_order() -> None:
    message = index(
        b"Date:  Mon, 2 Mar 2026\r\n 12:00:00 +0100 ", b"Subject: a\r\n  b", b"From: f@x", b"Sender: s@x",
        b"Reply-To: r@x", b"To: t@x", b"Cc: c@x", b"Bcc: b@x", b"In-Reply-To: <1@x>\r\n <2@x>", b"Message-ID: <3@x> ",
    )  # fmt: skip
    assert structure.envelope(message) == (
        b'("Mon, 2 Mar 2026 12:00:00 +0100" "a  b" ((NIL NIL "f" "x")) ((NIL NIL "s" "x")) ((NIL NIL "r" "x"))'
        b' ((NIL NIL "t" "x")) ((NIL NIL "c" "x")) ((NIL NIL "b" "x")) "<1@x> <2@x>" "<3@x>")'
    )


def test_empty_fields_of_the_envelope() -> None:
    message = index(b"Subject:", b"Message-Id:", b"To:", b"Sender: s@t", b"Reply-To: ", b"From: f@g")
    assert structure.envelope(message) == (
        b'(NIL "" ((NIL NIL "f" "g")) ((NIL NIL "s" "t")) ((NIL NIL "f" "g")) NIL NIL NIL NIL "")'
    )


def test_of_a_field_given_twice_the_first_counts_and_people_add_up() -> None:
    message = index(b"Subject: one", b"Subject: two", b"To: a@b", b"To: c@d")
    assert structure.envelope(message) == (
        b'(NIL "one" NIL NIL NIL ((NIL NIL "a" "b")(NIL NIL "c" "d")) NIL NIL NIL NIL)'
    )


@pytest.mark.parametrize("limit", [2, 3, 4])
def test_limit_of_addresses(limit: int) -> None:
    message = index(b"To: a@b, c@d, e@f")
    rendered = structure.envelope(message, replace(LIMITS, addresses_max=limit))
    assert rendered.count(b"(NIL NIL ") - 1 == min(limit, 3)


def test_a_group_cut_by_the_limit_is_closed() -> None:
    rendered = structure.envelope(index(b"To: G: a@b, c@d, e@f;"), replace(LIMITS, addresses_max=3))
    assert b'(NIL NIL "G" NIL)(NIL NIL "a" "b")(NIL NIL "c" "d")(NIL NIL NIL NIL)' in rendered


@pytest.mark.parametrize(
    ("octets", "string"),
    [
        (b"", b'""'),
        (b"plain", b'"plain"'),
        (b'a"b\\', b'"a\\"b\\\\"'),
        (b"a\tb", b'"a\tb"'),
        (b"a\rb", b"{3}\r\na\rb"),
        (b"a\nb", b"{3}\r\na\nb"),
        (b"\xc3\xa9", b"{2}\r\n\xc3\xa9"),
        (b"a\x00b", b'"ab"'),
        (b"x" * 4096, b'"' + b"x" * 4096 + b'"'),
        (b"x" * 4097, b"{4097}\r\n" + b"x" * 4097),
    ],
)
def test_strings(octets: bytes, string: bytes) -> None:
    assert structure.string(octets) == string
    assert structure.nstring(octets) == string


def test_nil_is_no_string() -> None:
    assert structure.nstring(None) == b"NIL"
    assert structure.nstring(b"NIL") == b'"NIL"'


# Read from Dovecot 2.3.19 for the same Content-Type and the body "hi\r\nho".
DOVECOT_TYPES = [
    (b"text/plain", b'"text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 6 1'),
    (b"TEXT/HTML; Charset=UTF-8", b'"TEXT" "HTML" ("Charset" "UTF-8") NIL NIL "7bit" 6 1'),
    (b"text / plain ; x = y", b'"text" "plain" ("x" "y" "charset" "us-ascii") NIL NIL "7bit" 6 1'),
    (b"image/png; name=x", b'"image" "png" ("name" "x") NIL NIL "7bit" 6'),
    (b"text/plain; name*0=ab; name*1=cd", b'"text" "plain" ("name" "abcd" "charset" "us-ascii") NIL NIL "7bit" 6 1'),
    (
        b"text/plain; name*0*=utf-8''%C3%A9a; name*1=b%c; name*2*=%20",
        b'"text" "plain" ("name*" "utf-8\'\'%C3%A9ab%25c%20" "charset" "us-ascii") NIL NIL "7bit" 6 1',
    ),
    (
        b'text/plain; name="=?utf-8?q?=C3=A9?="',
        b'"text" "plain" ("name" "=?utf-8?q?=C3=A9?=" "charset" "us-ascii") NIL NIL "7bit" 6 1',
    ),
    (
        b'text/plain; name="\xc3\xa9"',
        b'"text" "plain" ("name" {2}\r\n\xc3\xa9 "charset" "us-ascii") NIL NIL "7bit" 6 1',
    ),
    (b'text/plain; name="a\\"b"', b'"text" "plain" ("name" "a\\"b" "charset" "us-ascii") NIL NIL "7bit" 6 1'),
    (b"text/plain; a=b; a=c", b'"text" "plain" ("a" "b" "a" "c" "charset" "us-ascii") NIL NIL "7bit" 6 1'),
    (b"text/plain; a=", b'"text" "plain" ("a" "" "charset" "us-ascii") NIL NIL "7bit" 6 1'),
    (
        b"message/rfc822",
        b'"message" "rfc822" NIL NIL NIL "7bit" 6 (NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL) ' + TEXT % (0, 0) + b" 1",
    ),
]


@pytest.mark.parametrize(("value", "rendered"), DOVECOT_TYPES)
def test_types(value: bytes, rendered: bytes) -> None:
    message = index(b"Content-Type: " + value, body=b"hi\r\nho")
    assert structure.bodystructure(message) == b"(" + rendered + b" NIL NIL NIL NIL)"
    basic = structure.body(message)
    assert basic == b"(" + rendered.replace(b" NIL NIL NIL NIL)", b")") + b")" or b"rfc822" in value


def test_the_fields_of_a_part() -> None:
    message = index(
        b"Content-Type: text/plain", b"Content-ID:  <a>", b"Content-Description: d\r\n e",
        b"Content-Transfer-Encoding: BASE64 (x)", b"Content-Disposition: Attachment; Filename=X; size*=''1",
        b"Content-Language: fr, en", b"Content-Location: http://x/\r\n y", b"Content-MD5: abc==", body=b"hi\r\nho",
    )  # fmt: skip
    start = b'("text" "plain" ("charset" "us-ascii") "<a>" "d e" "base64" 6 1'
    assert structure.body(message) == start + b")"
    assert structure.bodystructure(message) == start + (
        b' "abc==" ("attachment" ("Filename" "X" "size*" "\'\'1")) ("fr" "en") "http://x/ y")'
    )


def test_a_language_that_is_none() -> None:
    assert structure.bodystructure(index(b"Content-Language: ,")).endswith(b"NIL NIL NIL NIL)")


MULTIPARTS = [
    (
        mixed(b"\r\nhello", b"Content-Type: text/html\r\n\r\nx\r\ny\r\n"),
        b"(" + TEXT % (5, 0) + b'("text" "html" ("charset" "us-ascii") NIL NIL "7bit" 6 2 NIL NIL NIL NIL)'
        b' "mixed" ("boundary" "b") NIL NIL NIL)',
    ),
    (
        b"Content-Language: fr\r\nContent-Disposition: inline\r\nContent-Location: l\r\n"
        + mixed(mixed(b"\r\nx", b"\r\ny", boundary="c", subtype="alternative"), b"\r\nz"),
        b"((" + TEXT % (1, 0) + TEXT % (1, 0) + b' "alternative" ("boundary" "c") NIL NIL NIL)'
        + TEXT % (1, 0) + b' "mixed" ("boundary" "b") ("inline" NIL) ("fr") "l")',
    ),
    (
        mixed(b"\r\nSubject: in\r\n\r\nx\r\ny", subtype="digest"),
        b'(("message" "rfc822" NIL NIL NIL "7bit" 19 (NIL "in" NIL NIL NIL NIL NIL NIL NIL NIL) ' + TEXT % (4, 1)
        + b' 3 NIL NIL NIL NIL) "digest" ("boundary" "b") NIL NIL NIL)',
    ),
    (
        b"Content-Type: multipart/mixed\r\n\r\nhi",
        b"(" + TEXT % (0, 0) + b' "mixed" NIL NIL NIL NIL)',
    ),
    (
        b"Content-Type: multipart/mixed; boundary=b\r\n\r\nnothing",
        b"(" + TEXT % (0, 0) + b' "mixed" ("boundary" "b") NIL NIL NIL)',
    ),
]  # fmt: skip


@pytest.mark.parametrize(("octets", "rendered"), MULTIPARTS)
def test_multiparts(octets: bytes, rendered: bytes) -> None:
    assert structure.bodystructure(mime.index(octets, LIMITS)) == rendered


def test_a_multipart_without_parts_has_one_in_the_short_form_too() -> None:
    message = mime.index(b"Content-Type: multipart/mixed\r\n\r\nhi", LIMITS)
    assert structure.body(message) == b'(("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 0 0) "mixed")'


def test_the_shape_that_health_software_sends() -> None:
    rendered = structure.bodystructure(mime.index(xdm_letter(), LIMITS))
    assert rendered.startswith(b'(("text" "plain" ("charset" "utf-8") NIL NIL "quoted-printable" 20 0 NIL NIL NIL NIL)')
    assert b'"application" "zip" ("name" "IHE_XDM.ZIP") NIL NIL "base64"' in rendered
    assert b'("attachment" ("filename" "IHE_XDM.ZIP"))' in rendered
    assert rendered.endswith(b'"mixed" ("boundary" "----=_Part_1_2.3") NIL NIL NIL)')


@pytest.mark.parametrize("octets", [nested(60), forwarded(60)])
def test_what_lies_beyond_a_limit_is_opaque(octets: bytes) -> None:
    rendered = structure.bodystructure(mime.index(octets, LIMITS))
    assert rendered.count(b'"application" "octet-stream" NIL NIL NIL "7bit"') == 1
    balanced(rendered)


def test_rendering_a_full_header_costs_little() -> None:
    message = index(b"To: " + b"a@b.fr, " * 120_000, b"Subject: " + b"x" * 100_000)
    start = time.process_time()
    structure.envelope(message)
    assert time.process_time() - start < 5


def balanced(rendered: bytes) -> None:
    """Walk an answer as a client does: strings, literals, NIL, numbers, parentheses that match."""
    depth = at = 0
    while at < len(rendered):
        match rendered[at : at + 1]:
            case b"(":
                depth += 1
            case b")":
                depth -= 1
                assert depth >= 0
            case b'"':
                at += 1
                while rendered[at : at + 1] != b'"':
                    assert rendered[at] not in b"\r\n\x00"
                    assert rendered[at] < 128
                    at += 2 if rendered[at : at + 1] == b"\\" else 1
            case b"{":
                end = rendered.index(b"}\r\n", at)
                at = end + 2 + int(rendered[at + 1 : end])
            case other:
                assert other in b" 0123456789NIL"
        at += 1
    assert depth == 0


def _letter(lines: list[bytes]) -> Message:
    return mime.index(b"\r\n".join(lines), LIMITS)


_LINES = st.lists(
    st.sampled_from(
        [b"", b"--b", b"--b--", b"Content-Type: multipart/mixed; boundary=b", b"Content-Type: message/rfc822",
         b'Content-Type: text/x; a="\\', b"Content-Type: a/b; c*0*=x'y'%; d=\xff", b"Content-Disposition: x; y={1}",
         b"From: G: a@b", b'To: "x\xe9\r y', b"Cc: <@a,@b:c@d>", b"Subject: {5}\x00", b"Content-Language: a;b",
         b"Content-ID: \r", b"Message-ID: \\\"", b"text"]
    )
    | st.binary(max_size=12),
    max_size=25,
)  # fmt: skip


@given(_LINES)
def test_any_letter_is_rendered_so_that_a_client_can_read_it(lines: list[bytes]) -> None:
    message = _letter(lines)
    for rendered in (structure.envelope(message), structure.bodystructure(message), structure.body(message)):
        balanced(rendered)
