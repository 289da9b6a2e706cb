"""Before and at login: TLS, passwords, refusals; and the attacks of other servers' records, one test each."""

from __future__ import annotations

import asyncio
import binascii
from base64 import b64encode
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mss.model.account import AccountKind, Box, BoxState, Delegation, DelegationKind
from mss.model.party import BoxKind
from mss.services import accounts
from tests.imap.imap_world import DOCTOR, NOW, PASSWORD, World, running, with_limits


def plain(login: str = DOCTOR, password: str = PASSWORD, acting_as: str = "") -> str:
    """Return a PLAIN response."""
    return b64encode(f"{acting_as}\0{login}\0{password}".encode()).decode()


async def test_login_with_user_name_and_password(world: World, inbox: Box) -> None:
    client = await world.connect()
    answer = (await client.ask(f'LOGIN {DOCTOR} "{PASSWORD}"'))[-1]
    assert answer.startswith(b"OK [CAPABILITY IMAP4rev1 ")
    assert b"APPENDLIMIT=26214400" in answer
    assert await client.ask(f'LOGIN {DOCTOR} "{PASSWORD}"') == [b"BAD Not possible now"]


async def test_wrong_passwords_and_unknown_users_look_the_same(world: World, inbox: Box) -> None:
    client = await world.connect()
    refused = [b"NO [AUTHENTICATIONFAILED] Wrong user name or password"]
    assert await client.ask(f"LOGIN {DOCTOR} wrong") == refused
    assert await client.ask("LOGIN nobody@pro.example wrong") == refused
    assert await client.ask(f"AUTHENTICATE PLAIN {plain(password='wrong')}") == refused


async def test_after_too_many_failures_the_connection_ends(world: World, inbox: Box) -> None:
    client = await world.connect()
    for _ in range(4):
        assert (await client.ask("LOGIN a@pro.example x"))[-1].startswith(b"NO")
    assert await client.ask("LOGIN a@pro.example x") == [b"* BYE Too many failures", b""]


async def test_a_locked_login_says_when_to_come_back(world: World, inbox: Box) -> None:
    client = await world.connect()
    for _ in range(4):
        await client.ask(f"LOGIN {DOCTOR} x")
    other = await world.connect()
    await other.ask(f"LOGIN {DOCTOR} x")
    assert (await other.ask(f'LOGIN {DOCTOR} "{PASSWORD}"'))[-1].startswith(b"NO [UNAVAILABLE] Try again in ")


async def test_patient_accounts_have_no_imap(world: World) -> None:
    box = await world.box("123@patient.example", BoxKind.PATIENT)
    await world.account("patiente", box, kind=AccountKind.PATIENT)
    client = await world.connect()
    answer = await client.ask(f'LOGIN patiente "{PASSWORD}"')
    assert answer == [b"NO [AUTHORIZATIONFAILED] This account is for the web only"]
    assert (await client.ask('LIST "" *'))[-1] == b"BAD Log in first"


async def test_an_application_account_may_come_in(world: World) -> None:
    box = await world.box("robot@pro.example", BoxKind.APP)
    await world.account("robot@pro.example", box, kind=AccountKind.APPLICATION)
    client = await world.session("INBOX", login="robot@pro.example")
    assert await client.ask("NOOP") == [b"OK Done"]


async def test_an_account_without_a_box_has_nothing_to_read(world: World) -> None:
    await world.account("seul@pro.example")
    client = await world.connect()
    assert (await client.ask(f'LOGIN seul@pro.example "{PASSWORD}"'))[-1].startswith(b"NO [AUTHORIZATIONFAILED]")


async def test_authenticate_plain_with_and_without_initial_response(world: World, inbox: Box) -> None:
    client = await world.connect()
    assert (await client.ask(f"AUTHENTICATE PLAIN {plain()}"))[-1].startswith(b"OK [CAPABILITY")
    client = await world.connect()
    client.send(b"a AUTHENTICATE PLAIN\r\n")
    assert await client.line() == b"+ "
    client.send(plain().encode() + b"\r\n")
    assert (await client.line()).startswith(b"a OK [CAPABILITY")


async def test_authenticate_can_be_cancelled(world: World) -> None:
    client = await world.connect()
    client.send(b"a AUTHENTICATE PLAIN\r\n")
    assert await client.line() == b"+ "
    client.send(b"*\r\n")
    assert await client.line() == b"a BAD Cancelled"
    assert (await client.ask("AUTHENTICATE SCRAM-SHA-256"))[-1] == b"NO [CANNOT] Unsupported mechanism"


async def test_bad_base64_in_authenticate_is_bad_and_stalls_nobody(world: World, inbox: Box) -> None:
    """The attack of CVE-2025-59028."""
    client = await world.connect()
    for garbage in ("====", "!!!!", "AAA", "AA=A", "A" * 4001, "=", b64encode(b"no nuls").decode()):
        assert await client.ask(f"AUTHENTICATE PLAIN {garbage}") == [b"BAD The response is not base64"]
    client.send(b"a AUTHENTICATE PLAIN\r\n")
    assert await client.line() == b"+ "
    other = await world.session()
    assert await other.ask("NOOP") == [b"OK Done"]
    client.send(b"\xff\xfe\r\n")
    assert await client.line() == b"a BAD The response is not base64"


async def test_a_literal_instead_of_a_sasl_response_ends_the_connection(world: World) -> None:
    client = await world.connect()
    client.send(b"a AUTHENTICATE PLAIN\r\n{5}\r\n")
    assert [await client.line(), await client.line()] == [b"+ ", b"* BYE A response is one line"]


async def test_an_eight_bit_user_name_is_a_wrong_user_name(world: World) -> None:
    """The attack of CVE-2019-10691."""
    client = await world.connect()
    assert (await client.ask(b'LOGIN "\xff\xfe\xc3" x'))[-1].startswith(b"NO [AUTHENTICATIONFAILED]")
    assert (await client.ask(b'LOGIN "a" "\xff\xfe"'))[-1].startswith(b"NO [AUTHENTICATIONFAILED]")
    assert (await client.ask("NOOP")) == [b"OK Done"]


async def test_acting_as_makes_another_box_the_personal_one(world: World, inbox: Box) -> None:
    shared = await world.box("service@pro.example", BoxKind.ORG)
    own = await world.box("aide@pro.example")
    await world.account("aide@pro.example", own, shared)
    await world.deliver(shared)
    client = await world.connect()
    acting = plain("aide@pro.example", acting_as="Service@pro.example")
    assert (await client.ask(f"AUTHENTICATE PLAIN {acting}"))[-1].startswith(b"OK")
    assert b"* 1 EXISTS" in await client.ask("SELECT INBOX")
    assert b"* 0 EXISTS" in await client.ask("SELECT Shared/aide@pro.example/INBOX")
    stranger = await world.connect()
    acting = plain("aide@pro.example", acting_as=DOCTOR)
    assert (await stranger.ask(f"AUTHENTICATE PLAIN {acting}"))[-1].startswith(b"NO [AUTHORIZATIONFAILED]")


# --- TLS ---


async def test_starttls(world: World, inbox: Box) -> None:
    client = await world.connect(implicit_tls=False)
    assert (await client.ask("CAPABILITY"))[0].endswith(b" STARTTLS LOGINDISABLED")
    refused = [b"NO [PRIVACYREQUIRED] STARTTLS first"]
    assert await client.ask(f'LOGIN {DOCTOR} "{PASSWORD}"') == refused
    assert await client.ask(f"AUTHENTICATE PLAIN {plain()}") == refused
    assert await client.ask("STARTTLS") == [b"OK Begin TLS now"]
    await client.starttls()
    assert (await client.ask("CAPABILITY"))[0].endswith(b" AUTH=PLAIN")
    assert (await client.ask("STARTTLS"))[-1] == b"BAD TLS is active already"
    await client.login()


async def test_what_was_sent_before_the_handshake_is_never_executed(world: World) -> None:
    """The attack of CVE-2021-33515: plaintext injected after STARTTLS closes the connection."""
    client = await world.connect(implicit_tls=False)
    client.send(b"a STARTTLS\r\nb NOOP\r\n")
    assert [await client.line(), await client.line()] == [b"* BYE Octets before TLS", b""]
    await client.close()
    async with asyncio.timeout(30):
        while not world.count.closed:
            await asyncio.sleep(0)
    assert world.count.closed[-1] == "injected"


async def test_half_a_command_before_the_handshake_ends_the_connection_too(world: World) -> None:
    client = await world.connect(implicit_tls=False)
    client.send(b"a STARTTLS\r\nb LOGIN joe ")
    assert [await client.line(), await client.line()] == [b"* BYE Octets before TLS", b""]


async def test_a_failed_handshake_ends_quietly(world: World) -> None:
    client = await world.connect(implicit_tls=False)
    assert await client.ask("STARTTLS") == [b"OK Begin TLS now"]
    client.send(b"a NOOP\r\nb NOOP\r\n")
    while await client.line():
        pass
    await client.close()
    await world.settled()
    assert world.count.closed == ["tls-failed"]


# --- limits ---


async def test_unbounded_parentheses_before_login(world: World) -> None:
    """The attack of CVE-2026-27857: the line is limited before it is parsed, and then nested too deeply."""
    client = await world.connect()
    assert (await client.ask(b"SEARCH " + b"(" * 8000))[-1] == b"BAD Nested too deeply"
    client.send(b"a SEARCH " + b"(" * 9000)
    assert [await client.line(), await client.line()] == [b"a BAD Line too long", b"* BYE Goodbye"]


async def test_an_oversized_literal_before_login_ends_the_connection(world: World) -> None:
    client = await world.connect()
    client.send(b"a LOGIN {4097}\r\n")
    assert [await client.line(), await client.line()] == [b"a BAD Literal too large", b"* BYE Goodbye"]


async def test_an_oversized_letter_is_refused_and_the_session_goes_on(imap_template: Path, tmp_path: Path) -> None:
    limits = with_limits(message_max_octets=10_000)
    async with running(imap_template, tmp_path / "operator", limits) as world:
        await world.account(DOCTOR, await world.box(DOCTOR))
        client = await world.session()
        assert (await client.append("INBOX", b"x" * 10_001)) == b"NO [TOOBIG] Literal too large"
        assert await client.ask("NOOP") == [b"OK Done"]
        assert (await client.append("INBOX", b"x" * 10_000)).startswith(b"OK")


async def test_a_client_that_sends_a_refused_literal_at_once_is_cut_off(world: World, inbox: Box) -> None:
    """The attack of stalwart #2768: the letter's octets are never executed."""
    client = await world.session()
    client.send(b"a APPEND INBOX {99999999}\r\n" + b"b CREATE Pwned\r\n" * 100)
    assert [await client.line(), await client.line()] == [b"a NO [TOOBIG] Literal too large", b"* BYE Goodbye"]
    other = await world.session()
    assert b"Pwned" not in b"".join(await other.ask('LIST "" *'))


@pytest.fixture
async def strict(imap_template: Path, tmp_path: Path) -> AsyncIterator[World]:
    limits = with_limits(imap_errors_max=3, imap_unauthenticated_max=4, imap_connections_max=6)
    async with running(imap_template, tmp_path / "strict", limits) as made:
        yield made


async def test_too_many_errors_end_the_connection(strict: World) -> None:
    client = await strict.connect()
    for _ in range(3):
        assert (await client.ask("XYZZY"))[-1] == b"BAD Unknown command"
    assert await client.ask("XYZZY") == [b"BAD Unknown command"]
    assert await client.line() == b"* BYE Too many errors"


async def test_strangers_may_hold_only_so_many_connections(strict: World) -> None:
    await strict.connect(implicit_tls=False)
    with pytest.raises(AssertionError, match="Too many connections"):
        await strict.connect(implicit_tls=False)


async def test_a_login_must_come_in_time(imap_template: Path, tmp_path: Path) -> None:
    async with running(imap_template, tmp_path / "operator", with_limits(imap_login_timeout_s=0)) as world:
        client = await world.connect(implicit_tls=False)
        assert await client.line() == b"* BYE Too long without a command"
        await client.close()
        await world.settled()
        assert world.count.closed == ["timeout"]


# --- access that ends ---


async def test_a_delegation_that_ends_closes_the_session(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    box = await world.box("service@pro.example", BoxKind.ORG)
    account = await world.account("aide@pro.example")
    ends = Delegation(account.id, box.id, DelegationKind.MEMBER, NOW.replace(hour=12))
    await world.store.write(accounts.delegate, ends, "test", NOW)
    client = await world.session("INBOX", login="aide@pro.example")
    monkeypatch.setattr("mss.imap.session._ACCESS_CHECK_S", 0)
    assert await client.ask("NOOP") == [b"OK Done"]
    world.clock.at = NOW.replace(hour=13)
    assert await client.ask("NOOP") == [b"* BYE Access has ended", b""]


async def test_a_closed_box_can_be_read_and_not_changed(world: World, inbox: Box) -> None:
    await world.deliver(inbox)
    await world.store.write(accounts.set_box_state, inbox.id, BoxState.CLOSED, "test", NOW)
    client = await world.connect()
    await client.login()
    assert (await client.ask("SELECT INBOX"))[-1] == b"OK [READ-ONLY] Selected"
    assert (await client.ask("FETCH 1 BODY[1]"))[0] == b"* 1 FETCH (BODY[1] {9}\r\nBonjour\r\n)"
    assert (await client.ask("CREATE x"))[-1].startswith(b"NO [CANNOT]")


async def test_no_login_line_or_password_is_logged(
    world: World, inbox: Box, capsys: pytest.CaptureFixture[str]
) -> None:
    client = await world.session("INBOX")
    await client.ask("LOGOUT")
    await world.settled()
    told = "".join(capsys.readouterr())
    assert "imap.session" in told
    assert DOCTOR not in told
    assert PASSWORD not in told
    assert binascii.hexlify(PASSWORD.encode()).decode() not in told


async def test_many_at_once(world: World, inbox: Box) -> None:
    clients = await asyncio.gather(*(world.session("INBOX") for _ in range(10)))
    assert world.server.sessions == 10
    for client in clients:
        assert await client.ask("NOOP") == [b"OK Done"]
