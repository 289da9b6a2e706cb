"""Parameters of MAIL and RCPT, names of EHLO, responses of AUTH: tables of both kinds, and garbage."""

from __future__ import annotations

from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mss.model.address import Address, Domain
from mss.model.envelope import Body, Notify, Recipient, Ret
from mss.model.secret import Secret
from mss.smtp import commands, reply
from mss.smtp.commands import Credentials, Mail
from mss.smtp.reply import Reply

HOME = Domain("patient.example")
A = Address.parse("a@chu.example")


def mail(argument: str, *, extended: bool = True, size_max: int = 1000) -> Mail | Reply:
    return commands.parse_mail(argument, extended=extended, size_max=size_max)


def rcpt(argument: str, *, extended: bool = True, smtputf8: bool = False) -> Recipient | Reply:
    return commands.parse_rcpt(argument, extended=extended, smtputf8=smtputf8, home=HOME)


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ("FROM:<a@chu.example>", Mail(A)),
        ("from: <a@chu.example>", Mail(A)),
        ("FROM:<>", Mail(None)),
        ("FROM:<@relay.example,@other.example:a@chu.example>", Mail(A)),
        ('FROM:<"a>b c"@chu.example>', Mail(Address("a>b c", Domain("chu.example")))),
        ("FROM:<a@chu.example> SIZE=1000", Mail(A, 1000)),
        ("FROM:<a@chu.example> size=0", Mail(A, 0)),
        ("FROM:<a@chu.example> BODY=8bitmime", Mail(A, body=Body.EIGHTBITMIME)),
        ("FROM:<a@chu.example> BODY=7BIT", Mail(A)),
        ("FROM:<é@chu.example> SMTPUTF8", Mail(Address("é", Domain("chu.example")), smtputf8=True)),
        ("FROM:<> RET=hdrs ENVID=QQ+2B314", Mail(None, ret=Ret.HDRS, envid="QQ+2B314")),
        ("FROM:<a@chu.example> AUTH=<>", Mail(A)),
        ("FROM:<a@chu.example> requiretls", Mail(A, require_tls=True)),
        ("FROM:<a@chu.example> AUTH=a+40b  RET=FULL", Mail(A, ret=Ret.FULL)),
    ],
)
def test_mail_reads(argument: str, expected: Mail) -> None:
    assert mail(argument) == expected


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ("", reply.BAD_ARGUMENT),
        ("FROM:", reply.BAD_ARGUMENT),
        ("TO:<a@chu.example>", reply.BAD_ARGUMENT),
        ("FROM:a@chu.example", reply.BAD_ARGUMENT),
        ("FROM:<a@chu.example", reply.BAD_ARGUMENT),
        ("FROM:<a@chu.example>SIZE=1", reply.BAD_ARGUMENT),
        ("FROM:<a b@chu.example>", reply.BAD_ARGUMENT),
        ("FROM:<a>", reply.BAD_SENDER),
        ('FROM:<""@chu.example>', reply.BAD_SENDER),
        ("FROM:<a@-chu.example>", reply.BAD_SENDER),
        ("FROM:<" + "a" * 400 + "@chu.example>", reply.BAD_ADDRESS),
        ("FROM:<é@chu.example>", reply.NEEDS_SMTPUTF8),
        ("FROM:<a@chu.example> SIZE=1001", reply.TOO_LARGE),
        ("FROM:<a@chu.example> SIZE=99999999999999999999", reply.TOO_LARGE),
        ("FROM:<a@chu.example> SIZE=999999999999999999999", reply.BAD_ARGUMENT),
        ("FROM:<a@chu.example> SIZE", reply.BAD_ARGUMENT),
        ("FROM:<a@chu.example> SIZE=", reply.BAD_ARGUMENT),
        ("FROM:<a@chu.example> SIZE=-1", reply.BAD_ARGUMENT),
        ("FROM:<a@chu.example> SIZE=١", reply.BAD_ARGUMENT),
        ("FROM:<a@chu.example> SIZE=1 SIZE=1", reply.BAD_ARGUMENT),
        ("FROM:<a@chu.example> BODY=BINARYMIME", reply.BAD_ARGUMENT),
        ("FROM:<a@chu.example> BODY", reply.BAD_ARGUMENT),
        ("FROM:<a@chu.example> SMTPUTF8=yes", reply.BAD_ARGUMENT),
        ("FROM:<a@chu.example> RET=ALL", reply.BAD_ARGUMENT),
        ("FROM:<a@chu.example> RET=FULL ret=FULL", reply.BAD_ARGUMENT),
        ("FROM:<a@chu.example> ENVID=" + "x" * 101, reply.BAD_ARGUMENT),
        ("FROM:<a@chu.example> ENVID=a+4", reply.BAD_ARGUMENT),
        ("FROM:<a@chu.example> ENVID=a+2b", reply.BAD_ARGUMENT),
        ("FROM:<a@chu.example> AUTH=a+4", reply.BAD_ARGUMENT),
        ("FROM:<a@chu.example> =x", reply.BAD_ARGUMENT),
        ("FROM:<a@chu.example> NOTIFY=NEVER", reply.UNKNOWN_PARAMETER),
        ("FROM:<a@chu.example> REQUIRETLS=yes", reply.BAD_ARGUMENT),
        ("FROM:<a@chu.example> REQUIRETLS REQUIRETLS", reply.BAD_ARGUMENT),
        ("FROM:<a@chu.example> " + " ".join(f"P{n}" for n in range(21)), reply.BAD_ARGUMENT),
    ],
)
def test_mail_refuses(argument: str, expected: Reply) -> None:
    assert mail(argument) == expected


def test_the_longest_envid_is_taken() -> None:
    assert mail("FROM:<> ENVID=" + "x" * 100) == Mail(None, envid="x" * 100)


def test_parameters_need_ehlo() -> None:
    assert mail("FROM:<a@chu.example> SIZE=1", extended=False) == reply.BAD_ARGUMENT
    assert rcpt("TO:<a@chu.example> NOTIFY=NEVER", extended=False) == reply.BAD_ARGUMENT


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ("TO:<a@chu.example>", Recipient(A)),
        ("TO:<Postmaster>", Recipient(Address("postmaster", HOME))),
        ("TO:<a@chu.example> NOTIFY=never", Recipient(A, frozenset({Notify.NEVER}))),
        ("TO:<a@chu.example> NOTIFY=SUCCESS,DELAY", Recipient(A, frozenset({Notify.SUCCESS, Notify.DELAY}))),
        (
            "TO:<a@chu.example> ORCPT=rfc822;b+2Bc@d.example NOTIFY=FAILURE",
            Recipient(A, frozenset({Notify.FAILURE}), "rfc822;b+2Bc@d.example"),
        ),
        ("TO:<a@chu.example> ORCPT=x;" + "y" * 498, Recipient(A, orcpt="x;" + "y" * 498)),
        ("TO:<a@chu.example> ORCPT=x;" + "+41" * 166, Recipient(A, orcpt="x;" + "+41" * 166)),
    ],
)
def test_rcpt_reads(argument: str, expected: Recipient) -> None:
    assert rcpt(argument) == expected


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ("TO:<>", reply.BAD_ADDRESS),
        ('TO:<""@chu.example>', reply.BAD_ADDRESS),
        ("TO:<@chu.example>", reply.BAD_ADDRESS),
        ("TO:<a@>", reply.BAD_ADDRESS),
        ("TO:<é@chu.example>", reply.NEEDS_SMTPUTF8),
        ("TO:<a@chu.example> NOTIFY=NEVER,SUCCESS", reply.BAD_ARGUMENT),
        ("TO:<a@chu.example> NOTIFY=", reply.BAD_ARGUMENT),
        ("TO:<a@chu.example> NOTIFY=SOMETIMES", reply.BAD_ARGUMENT),
        ("TO:<a@chu.example> NOTIFY=NEVER NOTIFY=NEVER", reply.BAD_ARGUMENT),
        ("TO:<a@chu.example> ORCPT=b@d.example", reply.BAD_ARGUMENT),
        ("TO:<a@chu.example> ORCPT=rfc822;", reply.BAD_ARGUMENT),
        ("TO:<a@chu.example> ORCPT=x;" + "y" * 499, reply.BAD_ARGUMENT),
        ("TO:<a@chu.example> ORCPT=x;+4", reply.BAD_ARGUMENT),
        ("TO:<a@chu.example> ORCPT=x;+4g", reply.BAD_ARGUMENT),
        ("TO:<a@chu.example> ORCPT=x;y=z", reply.BAD_ARGUMENT),
        ("TO:<a@chu.example> NOTIFY=SUCCESS,SUCCESS", reply.BAD_ARGUMENT),
        ("TO:<a@chu.example> NOTIFY=SUCCESS,NEVER", reply.BAD_ARGUMENT),
        ("TO:<a@chu.example> NOTIFY=SUCCESS,", reply.BAD_ARGUMENT),
        ("TO:<a@chu.example> SIZE=1", reply.UNKNOWN_PARAMETER),
    ],
)
def test_rcpt_refuses(argument: str, expected: Reply) -> None:
    assert rcpt(argument) == expected


def test_smtputf8_lets_other_letters_in() -> None:
    assert rcpt("TO:<é@chu.example>", smtputf8=True) == Recipient(Address("é", Domain("chu.example")))


@given(st.text(max_size=60), st.booleans())
def test_garbage_gives_a_reply_and_nothing_else(argument: str, extended: bool) -> None:
    for read in (mail("FROM:" + argument, extended=extended), rcpt("TO:" + argument, extended=extended)):
        assert isinstance(read, Reply | Mail | Recipient)
        if isinstance(read, Reply):
            assert read.code >= 500


@given(st.binary(max_size=60))
def test_any_line_splits_or_is_refused(line: bytes) -> None:
    read = commands.split(line)
    assert read == reply.BAD_SYNTAX or (isinstance(read, tuple) and read[0] == read[0].upper())


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"noop", ("NOOP", "")),
        (b"MAIL FROM:<a@b>  ", ("MAIL", "FROM:<a@b>")),
        (b"", ("", "")),
        (b"NO\tOP", reply.BAD_SYNTAX),
        (b"NOOP \xc3", reply.BAD_SYNTAX),
        ("NOÖP".encode(), reply.BAD_SYNTAX),
        (b"NOOP\x7f", reply.BAD_SYNTAX),
    ],
)
def test_split(line: bytes, expected: tuple[str, str] | Reply) -> None:
    assert commands.split(line) == expected


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ("mx.chu.example", "mx.chu.example"),
        ("[192.0.2.1] more", "[192.0.2.1]"),
        ("x" * 255, "x" * 255),
        ("x" * 256, reply.BAD_ARGUMENT),
        ("", reply.BAD_ARGUMENT),
        ("é", reply.BAD_ARGUMENT),
    ],
)
def test_hello(argument: str, expected: str | Reply) -> None:
    assert commands.parse_hello(argument) == expected


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        (b"\0login\0right", Credentials("login", Secret(b"right"))),
        (b"boss\0login\0right", Credentials("login", Secret(b"right"), "boss")),
        (b"login\0right", reply.BAD_ARGUMENT),
        (b"\0login\0ri\0ght", reply.BAD_ARGUMENT),
        (b"", reply.BAD_ARGUMENT),
        (b"\0\0right", reply.BAD_CREDENTIALS),
        (b"\0login\0", reply.BAD_CREDENTIALS),
        (b"\0\xff\xfe\0right", reply.BAD_CREDENTIALS),
    ],
)
def test_plain(response: bytes, expected: Credentials | Reply) -> None:
    assert commands.parse_plain(response) == expected


@given(st.binary(max_size=40))
def test_base64_comes_back(octets: bytes) -> None:
    assert commands.decode_response(b64encode(octets).decode() or "=") == octets


@pytest.mark.parametrize("text", ["a", "a=b=", "aGk", "aGk=x", "à===", "aG k=", "====", "aGk=\n"])
def test_bad_base64_is_refused(text: str) -> None:
    assert commands.decode_response(text) == reply.BAD_BASE64


def test_a_star_cancels() -> None:
    assert commands.decode_response("*") == reply.AUTH_CANCELLED
