"""Attacks on other mail servers' sign-in and submission, each a test named after it (their public records)."""

from __future__ import annotations

import asyncio
import hmac
import time
from pathlib import Path
from typing import Any

import pytest

from mss.model import secret
from mss.model.account import DelegationKind
from mss.model.secret import Secret
from mss.services import accounts, proofs
from mss.tokens import verify
from tests.smtp.smtp_world import Talk
from tests.tokens.signing_world import (
    DESK,
    DOCTOR,
    OTHER_ROBOT,
    PASSWORD,
    ROBOT,
    Signing,
    b64,
    now,
    oauthbearer,
    signing,
    xoauth2,
)
from tests.tokens.test_signing_in import REFUSED, SIGNED_IN, ask, by_imap, by_smtp

pytestmark = pytest.mark.journey

PLAIN = b"PLAIN " + b64(f"\0{DOCTOR}\0{PASSWORD}".encode())
NOT_IMAP = "NO [AUTHENTICATIONFAILED] Wrong user name or password"


async def test_bad_base64_in_auth_stalls_no_other_login(house: Signing) -> None:
    """CVE-2025-59028."""
    async with house.smtp() as (bad, _), house.imap() as (worse, _), house.smtp() as (half, _):
        half.writer.write(b"AUTH XOAUTH2 " + b"A" * 5000)
        for words in (b"PLAIN ====", b"OAUTHBEARER \xff\xfe", b"XOAUTH2 " + b"A" * 12000, b"PLAIN A", b"LOGIN !"):
            assert (await bad.say(b"AUTH " + words))[:3] in ("501", "500")
        assert (await bad.say(b"AUTH XOAUTH2")).startswith("334")
        assert (await ask(worse, b"AUTHENTICATE OAUTHBEARER ====")).startswith("BAD")
        async with asyncio.timeout(5):
            assert await by_smtp(house, PLAIN) == SIGNED_IN
            assert await by_smtp(house, b"XOAUTH2 " + xoauth2(house.issuer.token())) == SIGNED_IN
        assert (await bad.say(b"\x80\x81")).startswith("501")


async def test_an_empty_quoted_local_part_in_rcpt(house: Signing) -> None:
    """CVE-2020-10967."""
    async with house.smtp() as (talk, _):
        await talk.say(b"AUTH " + PLAIN)
        await talk.say(b"MAIL FROM:<a@chu.example>")
        for path in (b'<""@chu.example>', b'<""@>', b'<"">', b"<@chu.example>", b'<"\\">', b'<"@chu.example>'):
            assert (await talk.say(b"RCPT TO:" + path))[0] == "5"
        assert (await talk.say(b"RCPT TO:<accueil@chu.example>")).startswith("250")


async def test_truncated_utf8(house: Signing) -> None:
    """CVE-2020-7046: commands and names that end in the middle of a character."""
    for cut in (b"\xc3", b"\xe2\x82", b"\xf0\x9f\x98"):
        async with house.smtp() as (talk, _):
            assert (await talk.say(b"EHLO " + cut)).startswith("500")
            await talk.say(b"EHLO client.example")
            assert await talk.say(b"AUTH PLAIN " + b64(b"\0a" + cut + b"\0x")) == REFUSED
            assert (await talk.say(b"AUTH XOAUTH2 " + b64(b"user=a" + cut + b"\x01auth=Bearer x\x01\x01"))).startswith(
                "501"
            )
            assert (await talk.say(b"AUTH OAUTHBEARER " + b64(b"n,a=" + cut + b",\x01auth=\x01\x01"))).startswith("501")
            assert await talk.say(b"AUTH " + PLAIN) == SIGNED_IN
            assert (await talk.say(b"MAIL FROM:<a" + cut + b"@chu.example> SMTPUTF8"))[0] == "5"


@pytest.mark.parametrize(
    ("header", "answer"),
    [
        (b"From: group:;", "550 5.6.0"),
        (b"From: group: a@chu.example;", "250 2.0.0"),
        (b"From: group: a@chu.example, chief@chu.example;", "550 5.6.0"),
        (b"From: a@chu.example\r\nTo: undisclosed-recipients:;, group:a@b.example", "250 2.0.0"),
        (b"From: a@chu.example\r\nSender: group: chief@chu.example;", "553 5.7.1"),
        (b"From: a@chu.example\r\nSender: group:;", "553 5.7.1"),
    ],
)
async def test_group_addresses(house: Signing, header: bytes, answer: str) -> None:
    """CVE-2019-19722."""
    async with house.smtp() as (talk, _):
        await talk.say(b"AUTH " + PLAIN)
        assert (await submitted(talk, header + b"\r\n\r\nx\r\n")).startswith(answer)


async def submitted(talk: Talk, octets: bytes, to: bytes = b"accueil@chu.example") -> str:
    for line in (b"MAIL FROM:<a@chu.example>", b"RCPT TO:<" + to + b">", b"DATA"):
        assert (await talk.say(line))[0] in "23"
    return await talk.say(octets + b".")


async def test_an_eight_bit_user_name_at_login(house: Signing) -> None:
    """CVE-2019-10691: a user name that is no UTF-8 must not end the process that signs people in."""
    for name in (b"\xff\xfe", b"caf\xe9@chu.example", b"\xed\xa0\x80", b"a\xc0\x80b"):
        assert await by_smtp(house, b"PLAIN " + b64(b"\0" + name + b"\0x")) == REFUSED
        assert (await by_smtp(house, b"EXTERNAL " + b64(name), "lab")).startswith("501")
        assert (await by_imap(house, b"PLAIN " + b64(b"\0" + name + b"\0x"))).startswith("NO")
        assert (await by_imap(house, b"EXTERNAL " + b64(name), "lab")).startswith("BAD")
    assert await by_smtp(house, PLAIN) == SIGNED_IN


async def test_an_auth_cache_key_shared_by_all_users(house: Signing) -> None:
    """CVE-2025-30189 and stalwart #1842: whoever comes after somebody else is still themself, in every mechanism."""
    await house.bind(ROBOT, "lab", by=("fingerprint",))
    await house.bind(OTHER_ROBOT, "lab2", by=("fingerprint",))
    ways = [
        (DOCTOR, PLAIN, ""),
        (DESK, b"PLAIN " + b64(f"\0{DESK}\0{PASSWORD}".encode()), ""),
        (DOCTOR, b"XOAUTH2 " + xoauth2(house.issuer.token()), ""),
        (DESK, b"XOAUTH2 " + xoauth2(house.issuer.token(preferred_username=DESK)), ""),
        (ROBOT, b"EXTERNAL =", "lab"),
        (OTHER_ROBOT, b"EXTERNAL =", "lab2"),
    ]
    for who, words, certificate in ways * 2:
        async with house.smtp(certificate) as (talk, _):
            assert await talk.say(b"AUTH " + words) == SIGNED_IN
            for sender in (DOCTOR, DESK, ROBOT, OTHER_ROBOT):
                allowed = sender == who or (who, sender) == (DOCTOR, DESK)
                answer = await talk.say(f"MAIL FROM:<{sender}>".encode())
                assert answer.startswith("250" if allowed else "553"), (who, sender)
                await talk.say(b"RSET")
    found = [record.event.actor for record in await house.journal("login.ok")]
    assert found == [f"account:{house.people[who].id}" for who, _, _ in ways * 2]


@pytest.mark.parametrize(
    "name",
    [
        "' OR '1'='1",
        "a@chu.example' --",
        "a@chu.example\\' OR 1=1 --",
        "*)(uid=*))(|(uid=*",
        "%",
        "a%chu.example",
        "_@chu.example",
        "a@chu.example;DROP TABLE accounts",
        "${login}",
        "a@chu.example\tx",
    ],
)
async def test_escaping_that_depends_on_a_setting(authorities: Path, tmp_path: Path, name: str) -> None:
    """CVE-2026-24031 and CVE-2026-27860: no name is ever part of a statement, whatever the settings are."""
    async with signing(authorities, tmp_path / "operator", account_by="subject") as house:
        issuer, doctor = house.issuer.url, house.people[DOCTOR].id
        await house.store.write(proofs.bind_subject, doctor, issuer, "known", "t", now())
        assert await by_smtp(house, b"PLAIN " + b64(f"\0{name}\0{PASSWORD}".encode())) == REFUSED
        token = house.issuer.token(preferred_username=name)
        assert await by_smtp(house, b"XOAUTH2 " + xoauth2(token)) == REFUSED
        assert await by_imap(house, b"XOAUTH2 " + xoauth2(token)) == NOT_IMAP
        assert await by_smtp(house, b"EXTERNAL " + b64(name.encode()), "lab") == REFUSED
        assert await by_smtp(house, PLAIN) == SIGNED_IN


def test_secrets_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """CVE-2026-27856."""
    compared: list[int] = []

    def note(one: Any, other: Any) -> bool:
        compared.append(len(one))
        return hmac.compare_digest(one, other)

    monkeypatch.setattr(secret, "compare_digest", note)
    monkeypatch.setattr(verify, "compare_digest", note)
    assert Secret(b"one") != Secret(b"two")
    assert verify._holder({"cnf": {"x5t#S256": "abcd"}}, "abce") is verify.Fault.BOUND
    assert compared == [3, 4]


async def test_plaintext_injected_before_starttls(house: Signing) -> None:
    """CVE-2021-33515: what was sent in clear with STARTTLS is forgotten, sign-in and letter alike."""
    reader, writer = await asyncio.open_connection("127.0.0.1", house.ports["submission"])
    talk = Talk(reader, writer)
    await talk.reply()
    await talk.say(b"EHLO client.example")
    await talk.send(b"STARTTLS\r\nEHLO attacker.example\r\nAUTH " + PLAIN + b"\r\nMAIL FROM:<a@chu.example>\r\n")
    assert (await talk.reply()).startswith("220")
    await writer.start_tls(house.context(), server_hostname="mx.chu.example")
    assert (await talk.say(b"MAIL FROM:<a@chu.example>"))[:3] in ("503", "530")
    assert "AUTH PLAIN" in await talk.say(b"EHLO client.example")
    assert (await talk.say(b"MAIL FROM:<a@chu.example>")) == "530 5.7.0 Authentication required"
    assert await house.journal("login.ok") == []
    writer.transport.abort()


async def test_otp_replay(authorities: Path, tmp_path: Path) -> None:
    """CVE-2026-27855: what may be used once opens one door, however many ask for it at the same time."""
    async with signing(authorities, tmp_path / "operator", single_use=True) as house:
        token = xoauth2(house.issuer.token(jti="once"))
        answers = await asyncio.gather(*(by_smtp(house, b"XOAUTH2 " + token) for _ in range(8)))
        assert sorted(answers) == [SIGNED_IN] + [REFUSED] * 7
        used = await asyncio.gather(
            *(house.store.write(accounts.use_code, house.people[DOCTOR].id, 7, now()) for _ in range(4))
        )
        assert used.count(True) == 1


async def test_many_address_headers_burn_no_cpu(house: Signing) -> None:
    """CVE-2024-23184: From and Sender are read at submission, and others are answered meanwhile."""
    many = b", ".join(b"x%d@y.example" % n for n in range(20_000))
    letter = b"From: a@chu.example\r\n" + b"".join(b"To: " + many[:900] + b"\r\n" for _ in range(50))
    async with house.smtp() as (talk, _):
        await talk.say(b"AUTH " + PLAIN)
        began = time.perf_counter()
        assert (await submitted(talk, letter + b"Cc: a@b.example\r\n\r\nx\r\n")).startswith("250")
        wide = b"From: a@chu.example\r\nSender: " + b",\r\n ".join([b"a@chu.example"] * 10_000) + b"\r\n\r\nx\r\n"
        assert (await submitted(talk, wide))[0] in "25"
        assert time.perf_counter() - began < 50


async def test_a_token_of_a_former_delegate_acts_for_nobody_else(house: Signing) -> None:
    """What was allowed at sign-in is asked again for each letter, in the unit that writes."""
    async with house.smtp() as (talk, _):
        assert await talk.say(b"AUTH OAUTHBEARER " + oauthbearer(house.issuer.token(), DESK)) == SIGNED_IN
        await house.store.write(accounts.end_delegation, house.people[DOCTOR].id, house.boxes[DESK].id, "t", now())
        assert (await talk.say(f"MAIL FROM:<{DESK}>".encode())).startswith("553 5.7.1")
        await house.delegate(DOCTOR, DESK, DelegationKind.MEMBER)
        assert (await talk.say(f"MAIL FROM:<{DESK}>".encode())).startswith("250")
