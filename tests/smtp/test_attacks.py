"""Attacks on mail servers that are on record, tried on our SMTP doors. Each test names the record it is after.

Names: CVE numbers of the servers that fell for it, issues of their trackers.
"""

from __future__ import annotations

import asyncio
import time
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

import mss
from mss import passwords
from mss.config import Limits
from mss.mail import headers, mime
from mss.model.account import Account, AccountKind
from mss.model.address import Address
from mss.model.delivery import Outcome, OutcomeKind
from mss.model.secret import Secret
from mss.policy import rules
from mss.policy.decision import reject
from mss.services.accounts import Credentials
from mss.smtp import dialog, reply
from mss.smtp.dialog import Letter, Offer
from mss.smtp.session import Listener
from mss.tls import TlsMaterial
from tests.smtp.smtp_letters import delivery
from tests.smtp.smtp_world import LETTER, Pki, Recorder, Talk, connected, serving
from tests.smtp.test_mx import LETTER as SOUND
from tests.smtp.test_mx import mx, peer
from tests.smtp.test_submission import DOCTOR, PASSWORD, plain, submission

pytestmark = pytest.mark.journey

BARE = reply.of_decision(reject(rules.LETTER_BARE_LINE_END)).encode().decode().strip()
EVIL = b"MAIL FROM:<evil@chu.example>\r\nRCPT TO:<b@patient.example>\r\nDATA\r\nevil\r\n.\r\n"
# How long a hostile letter of some hundred KiB may take, on a slow and busy machine.
PATIENCE_S = 5


@asynccontextmanager
async def talking(material: TlsMaterial, pki_world: Pki, door: Recorder, **limits: int) -> AsyncIterator[Talk]:
    async with serving(door, material, limits=replace(Limits(), **limits)) as (_, port), connected(port) as talk:
        await talk.hello(pki_world.client(None if door.mechanisms else "chu"))
        yield talk


def submitter() -> Recorder:
    return Recorder(listener=Listener.SUBMISSION, mechanisms=("PLAIN", "LOGIN"))


# Framing: what ends a letter, a line, a chunk -------------------------------------------------------------------------

FORMS = [
    b"\n.\n",
    b"\n.\r\n",
    b"\r\n.\n",
    b"\r.\r",
    b"\r.\r\n",
    b"\r\n.\r",
    b"\r.\n",
    b"\n.\r",
    b"\r\n.\r\r\n",
    b"\r\r\n.\r\r\n",
    b"\r\n\0.\r\n",
]


@pytest.mark.parametrize("form", FORMS, ids=repr)
async def test_smuggling_coming_in(material: TlsMaterial, pki_world: Pki, form: bytes) -> None:
    """SMTP smuggling (CVE-2023-51764 ff.): eleven odd ends of data; Postfix took five of them, aiosmtpd stored all."""
    door = Recorder()
    async with talking(material, pki_world, door) as talk:
        await talk.send(EVIL.replace(b"evil@", b"a@").replace(b"evil\r\n.\r\n", b"x" + form + EVIL + b".\r\n"))
        # The commands after the odd end are part of a letter that is bad; its true end is the first true one.
        assert [(await talk.reply())[:3] for _ in range(3)] == ["250", "250", "354"]
        assert await talk.reply() == BARE
        assert (await talk.reply()).startswith("500"), "the dot after the true end is no command"
        assert await talk.letter() == "250 2.0.0 OK"
    assert [octets for _, octets in door.letters] == [LETTER]


@pytest.mark.parametrize("form", FORMS, ids=repr)
def test_smuggling_going_out(form: bytes) -> None:
    """The same: a relay that stores odd ends passes them on, and the next server falls for them."""
    octets = SOUND + b"x" + form + EVIL
    outcome = dialog.pack(Letter((delivery(),)), octets, Offer("mx", frozenset({"8BITMIME"})), Limits())
    assert isinstance(outcome, Outcome)
    assert (outcome.kind, outcome.enhanced) == (OutcomeKind.PERMANENT, "5.6.0")


async def test_plaintext_injected_before_starttls(material: TlsMaterial, pki_world: Pki) -> None:
    """CVE-2021-33515, NO STARTTLS: commands sent in clear behind STARTTLS are obeyed as if they came encrypted."""
    door = Recorder()
    async with serving(door, material) as (_, port), connected(port) as talk:
        await talk.reply()
        await talk.say(b"EHLO client.example")
        await talk.send(b"STARTTLS\r\nEHLO evil\r\n" + EVIL)
        assert (await talk.reply()).startswith("220")
        await talk.writer.start_tls(pki_world.client("chu"), server_hostname="localhost")
        assert await talk.say(b"RCPT TO:<b@patient.example>") == "503 5.5.1 Bad sequence of commands"
        assert await talk.say(b"MAIL FROM:<a@chu.example>") == "503 5.5.1 Send EHLO first"
    assert not door.letters


async def test_an_oversized_letter_is_never_parsed_as_commands(material: TlsMaterial, pki_world: Pki) -> None:
    """stalwart #2768: an oversized APPEND literal was then parsed as commands; the same with DATA and BDAT."""
    door = Recorder()
    async with talking(material, pki_world, door, message_max_octets=100) as talk:
        await talk.send(EVIL.replace(b"evil\r\n.\r\n", b"x" * 200 + b"\r\n" + EVIL + b"NOOP\r\n"))
        assert [(await talk.reply())[:3] for _ in range(4)] == ["250", "250", "354", "552"]
        assert await talk.reply() == "250 2.0.0 OK"
        begin = EVIL.split(b"DATA")[0]
        await talk.send(begin + b"BDAT %d LAST\r\n" % (4 * len(EVIL)) + 4 * EVIL + b"NOOP\r\n")
        assert [(await talk.reply())[:3] for _ in range(4)] == ["250", "250", "552", "250"]
    assert not door.letters


async def test_an_oversized_response_is_never_parsed_as_a_command(material: TlsMaterial, pki_world: Pki) -> None:
    """stalwart #2768 again, with AUTH: a response that is too long is dropped whole."""
    door = submitter()
    async with talking(material, pki_world, door) as talk:
        assert (await talk.say(b"AUTH PLAIN")).startswith("334")
        assert (await talk.say(b"A" * 20_000)).startswith("500 5.5.6")
        assert (await talk.say(b"NOOP")).startswith("250")
    assert not door.given


@pytest.mark.parametrize("state", ["no transaction", "no recipients", "too large"])
async def test_data_of_a_refused_bdat_is_consumed(material: TlsMaterial, pki_world: Pki, state: str) -> None:
    """go-smtp #315: the data of a refused BDAT became commands."""
    door = Recorder()
    before = {"no transaction": b"", "no recipients": b"MAIL FROM:<a@chu.example>\r\n"}
    async with talking(material, pki_world, door, message_max_octets=10) as talk:
        commands = before.get(state, EVIL.split(b"DATA")[0])
        await talk.send(commands + b"BDAT %d\r\n%bNOOP\r\n" % (len(EVIL), EVIL))
        said = [(await talk.reply())[:3] for _ in range(commands.count(b"\n") + 2)]
        assert said[-2:] in (["503", "250"], ["554", "250"], ["552", "250"])
    assert not door.letters


async def test_lines_without_end_before_tls_hold_no_memory(material: TlsMaterial) -> None:
    """CVE-2026-27857: unbounded input before log-in ate memory."""
    async with serving(Recorder(), material) as (server, port), connected(port) as talk:
        await talk.reply()
        connection = next(iter(server._connections))
        for _ in range(60):
            talk.writer.write(b"(" * 1000)
            await talk.writer.drain()
            assert len(connection._lines) <= 2 * Limits().smtp_line_max_octets + 64 * 1024
        talk.writer.write(b"(" * 20_000)
        assert (await talk.reply()).startswith("500 5.5.6")
        assert await talk.ended()


# Signing in -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "response", [b"====", b"AA", b"A=A=", b"\xff\xfe", b"AGxv\tZw==", b"A" * 12_000 + b"!"], ids=len
)
async def test_bad_base64_stalls_nobody(material: TlsMaterial, pki_world: Pki, response: bytes) -> None:
    """CVE-2025-59028: bad base64 in AUTH stalled other log-ins."""
    door = submitter()
    async with serving(door, material) as (_, port), connected(port) as bad, connected(port) as good:
        for talk in (bad, good):
            await talk.hello(pki_world.client(None))
        assert (await bad.say(b"AUTH LOGIN")).startswith("334")
        bad.writer.write(response + b"\r\n")
        assert (await good.say(b"AUTH PLAIN " + b64encode(b"\0login\0right"))).startswith("235")
        assert (await bad.reply()).startswith(("501 5.5.2", "500 5.5"))
        assert (await bad.say(b"AUTH PLAIN " + b64encode(b"\0login\0right"))).startswith("235")


@pytest.mark.parametrize("login", [b"\xff\xfe\xfd", b"\xc3", b"caf\xe9@chu.example", "médecin@chu.example".encode()])
async def test_an_8_bit_user_name_is_a_wrong_one(material: TlsMaterial, pki_world: Pki, login: bytes) -> None:
    """CVE-2019-10691: an 8-bit user name at log-in crashed the service."""
    async with submission(material) as door, connected(door.port) as talk:
        await talk.hello(pki_world.client(None))
        assert (await talk.say(b"AUTH PLAIN " + b64encode(b"\0" + login + b"\0right"))).startswith("535 5.7.8")
        assert (await talk.say(plain(DOCTOR.login, PASSWORD))).startswith("235")


async def test_one_users_success_opens_nothing_to_another(material: TlsMaterial, pki_world: Pki) -> None:
    """CVE-2025-30189: one cache key for all users, and whoever came next was let in."""
    other = Account(8, "c@chu.example", AccountKind.PROFESSIONAL, "C", passwords.hash_password("another password"))
    async with submission(material) as door:
        door.known[other.login] = Credentials(other, None)
        for login, password, code in [
            (DOCTOR.login, PASSWORD, "235"),
            (other.login, PASSWORD, "535"),
            (other.login, "another password", "235"),
            (DOCTOR.login, "another password", "535"),
            ("nobody@chu.example", PASSWORD, "535"),
        ]:
            async with connected(door.port) as talk:
                await talk.hello(pki_world.client(None))
                assert (await talk.say(plain(login, password))).startswith(code)


@pytest.mark.parametrize("login", ["' OR 1=1 --", 'a" UNION SELECT', "%u", "*)(uid=*", "a\\", "$1", ":login", "\u2028"])
async def test_odd_names_are_values_never_queries(material: TlsMaterial, pki_world: Pki, login: str) -> None:
    """CVE-2026-24031, CVE-2026-27860: escaping in SQL and LDAP look-ups depended on a setting; ours has none."""
    seen: list[str] = []

    class Known(dict[str, Credentials]):
        def get(self, key: str, default: object = None) -> Credentials:
            seen.append(key)
            return Credentials(None, None)

    async with submission(material) as door, connected(door.port) as talk:
        door.known = Known()
        await talk.hello(pki_world.client(None))
        assert (await talk.say(plain(login, "right"))).startswith("535 5.7.8")
    assert seen == [login]


def test_secrets_are_compared_in_constant_time() -> None:
    """CVE-2026-27856: a secret was compared octet by octet. Ours are `Secret` (compare_digest) or argon2's own."""
    assert Secret(b"a") == Secret(b"a")
    assert Secret(b"a") != Secret(b"ab")
    root = Path(mss.__file__).parent
    naked = [path.name for path in root.rglob("*.py") if "password ==" in path.read_text(encoding="utf-8")]
    assert naked == []


# Addresses ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [b'<""@patient.example>', b'<"" @patient.example>', b'<""@>', b"<@patient.example>"])
async def test_an_empty_quoted_local_part(material: TlsMaterial, pki_world: Pki, path: bytes) -> None:
    """CVE-2020-10967: an empty quoted local part in RCPT crashed the LMTP service."""
    async with talking(material, pki_world, Recorder()) as talk:
        await talk.say(b"MAIL FROM:<a@chu.example>")
        assert (await talk.say(b"RCPT TO:" + path))[:4] in ("553 ", "501 ")
        assert (await talk.say(b"RCPT TO:<b@patient.example>")).startswith("250")


@pytest.mark.parametrize("octets", [b"\xc3", b"caf\xc3", b"\xe2\x82", b"\xf0\x9f\x98", b"\xed\xa0\x80", b"\xc0\xaf"])
async def test_truncated_utf_8(material: TlsMaterial, pki_world: Pki, octets: bytes) -> None:
    """CVE-2020-7046: truncated UTF-8 in a command looped for ever; and it crashes nothing in a header."""
    async with mx(material) as door, peer(door, pki_world) as talk:
        assert (await talk.say(b"MAIL FROM:<" + octets + b"@chu.example> SMTPUTF8")).startswith("500 5.5.2")
        async with asyncio.timeout(PATIENCE_S):
            assert (await talk.letter(b"Subject: " + octets + b"\r\nTo: =?utf-8?q?=C3?=\r\n" + SOUND)).startswith("250")


@pytest.mark.parametrize(
    "field",
    [
        b"undisclosed-recipients:;",
        b"A:;",
        b"A:a@b.example,;,c@d.example",
        b"A:" * 50 + b";" * 50,
        b"A:B:;;",
        b":;",
        b"A:",
    ],
)
async def test_group_addresses(material: TlsMaterial, pki_world: Pki, field: bytes) -> None:
    """CVE-2019-19722: a group address in a header crashed whoever made the envelope of it."""
    async with mx(material) as door, peer(door, pki_world) as talk:
        assert (await talk.letter(SOUND.replace(b"To: b@patient.example", b"To: " + field))).startswith("250")
        assert (await talk.letter(SOUND.replace(b"Dr A <a@chu.example>", field)))[:4] in ("250 ", "550 ")


# Letters that cost ----------------------------------------------------------------------------------------------------


def _many(prefix: bytes, piece: bytes, octets: int, suffix: bytes) -> bytes:
    return prefix + piece * (octets // len(piece)) + suffix


KIB = 1024
COSTLY = {
    # CVE-2026-27859: many RFC 2231 parameters burn CPU.
    "parameters": b"Content-Type: text/plain"
    + b"".join(b";\r\n a*%d*=%%41" % number for number in range(12_000))
    + b"\r\n"
    + SOUND,
    # CVE-2024-23184: many address fields burn CPU, and many addresses in one.
    "address fields": _many(b"", b"To: a@b.example\r\n", 200 * KIB, SOUND),
    "addresses": _many(b"To: a@b.example", b",\r\n a@b.example", 200 * KIB, b"\r\n" + SOUND),
    "comments": _many(b"To: ", b"(", 100 * KIB, b"\r\n" + SOUND),
    # CVE-2024-23185: giant fields, and giant headers.
    "one field": _many(b"X: ", b"x" * 76 + b"\r\n ", 250 * KIB, b"y\r\n" + SOUND),
    "encoded words": _many(b"Subject: ", b"=?utf-8?q?=41?=\r\n ", 200 * KIB, b"\r\n" + SOUND),
    # CVE-2020-12100: deep nesting.
    "nesting": b"".join(
        b"Content-Type: multipart/mixed; boundary=b%d\r\n%b\r\n--b%d\r\n" % (n, SOUND[:-9] if not n else b"", n)
        for n in range(3000)
    ),
    "embedded letters": SOUND[:-9] + b"Content-Type: message/rfc822\r\n\r\n" * 5000,
}


@pytest.mark.slow
@pytest.mark.parametrize("name", COSTLY)
async def test_letters_that_burn_time(material: TlsMaterial, pki_world: Pki, name: str) -> None:
    """CVE-2026-27859, CVE-2024-23184, CVE-2024-23185, CVE-2020-12100: a few hundred KiB that took minutes to read.

    Each is answered in time, and others are served before and after.
    """
    octets = COSTLY[name]
    octets = octets if octets.endswith(b"\r\n") else octets + b"\r\n"
    async with mx(material) as door, peer(door, pki_world) as talk, peer(door, pki_world, "gip") as other:
        began = time.monotonic()
        said = await talk.letter(octets)
        assert said[:4] in ("250 ", "550 ", "552 ")
        assert (await other.say(b"NOOP")).startswith("250")
        assert time.monotonic() - began < PATIENCE_S
        assert (await talk.letter(SOUND)).startswith("250")


@pytest.mark.slow
async def test_a_header_beyond_what_we_read_is_refused(material: TlsMaterial, pki_world: Pki) -> None:
    """CVE-2024-23185: 10 MB in a field. What is behind the limit would be seen by others and by nobody here."""
    async with mx(material) as door, peer(door, pki_world) as talk:
        async with asyncio.timeout(4 * PATIENCE_S):
            said = await talk.letter(_many(b"X: ", b"x" * 900 + b"\r\n ", 10 * KIB * KIB, b"y\r\n") + SOUND)
        assert said.endswith("(letter.header-too-large)")
        assert (await talk.letter(SOUND)).startswith("250")


@pytest.mark.parametrize(
    "disposition",
    [
        b"attachment; filename*0=IHE_XD; filename*1=M.ZIP",
        b"attachment; filename*=utf-8''IHE%5FXDM.ZIP",
        b"attachment; filename*0*=utf-8''IHE%5F; filename*1=\"XDM.ZIP\"",
        b'attachment; filename="=?utf-8?q?IHE=5FXDM=2EZIP?="',
    ],
)
def test_a_name_by_rfc_2231_is_the_same_name(disposition: bytes) -> None:
    """stalwart #1972: a file name in pieces (RFC 2231) went past the rules on attachments."""
    letter = b"Content-Type: application/octet-stream\r\nContent-Disposition: " + disposition + b"\r\n\r\n"
    assert mime.index(letter, Limits()).structure.root.filename == "IHE_XDM.ZIP"


def test_a_display_name_cannot_carry_an_address_past_the_parser() -> None:
    """The group and comment forms again, on the parser alone: what is read is what mail programs show."""
    found = headers.addresses(b'"a@evil.example" <a@chu.example>', Limits())
    assert [spec for _, spec in found] == ["a@chu.example"]
    assert Address.parse("a@chu.example").key == Address.parse("A@CHU.example").key
