"""The connection over a real socket: order, TLS, limits, and its own manners. Each test is a transcript."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from dataclasses import replace
from ipaddress import ip_network

import pytest
from aiosmtpd.smtp import SMTP

from mss.balancer import Balancers
from mss.config import Limits
from mss.errors import Unavailable
from mss.mail import scan
from mss.model.envelope import Body, Notify, Ret
from mss.policy import rules
from mss.policy.decision import reject
from mss.smtp import esmtp, reply, verbs
from mss.smtp.esmtp import Connection
from mss.smtp.reply import Reply
from mss.smtp.server import Server
from mss.smtp.session import Listener, Session, Transaction
from mss.smtp.spool import Spool
from mss.tls import TlsMaterial
from tests.smtp.smtp_world import LETTER, Counts, Pki, Recorder, Talk, connected, serving

pytestmark = pytest.mark.journey

LIMITS = Limits()
BARE = reply.of_decision(reject(rules.LETTER_BARE_LINE_END)).encode().decode().strip()
TOO_LARGE = reply.TOO_LARGE.encode().decode().strip()


async def emptied(server: Server) -> None:
    """Wait until all connections have ended."""
    async with asyncio.timeout(30):
        await server._emptied.wait()


async def test_a_letter_goes_in(material: TlsMaterial, pki_world: Pki) -> None:
    door, counts = Recorder(), Counts()
    async with serving(door, material, metrics=counts) as (_, port), connected(port) as talk:
        assert await talk.reply() == "220 mx.patient.example ESMTP"
        first = await talk.say(b"EHLO client.example")
        assert "STARTTLS" in first
        await talk.starttls(pki_world.client("chu"))
        hello = await talk.say(b"EHLO client.example")
        assert [line[4:] for line in hello.split("\n")] == [
            "mx.patient.example",
            "PIPELINING",
            "SIZE 26214400",
            "8BITMIME",
            "SMTPUTF8",
            "ENHANCEDSTATUSCODES",
            "DSN",
            "CHUNKING",
            "REQUIRETLS",
        ]
        assert await talk.letter() == "250 2.0.0 OK"
        assert await talk.letter() == "250 2.0.0 OK"
        assert await talk.say(b"QUIT") == "221 2.0.0 Bye"
        assert await talk.ended()
    assert [octets for _, octets in door.letters] == [LETTER, LETTER]
    assert counts.seen == [("letter", "accepted", "45")] * 2 + [("closed", "quit")]
    assert door.sessions[0].tls


async def test_the_envelope_keeps_every_wish(material: TlsMaterial, pki_world: Pki) -> None:
    door = Recorder()
    async with serving(door, material) as (_, port), connected(port) as talk:
        await talk.hello(pki_world.client("chu"))
        await talk.say(b"MAIL FROM:<> RET=HDRS ENVID=Q1 BODY=8BITMIME SMTPUTF8")
        await talk.say(b"RCPT TO:<b@patient.example> NOTIFY=SUCCESS ORCPT=rfc822;c@d")
        await talk.say(b"RCPT TO:<B@patient.example>")
        await talk.say(b"DATA")
        assert (await talk.say(LETTER + b".")).startswith("250")
    [(envelope, _)] = door.letters
    assert (envelope.reverse_path, envelope.ret, envelope.envid) == (None, Ret.HDRS, "Q1")
    assert (envelope.body, envelope.smtputf8) == (Body.EIGHTBITMIME, True)
    [recipient] = envelope.recipients
    assert (recipient.notify, recipient.orcpt) == (frozenset({Notify.SUCCESS}), "rfc822;c@d")


@pytest.mark.parametrize(
    "line",
    [b"MAIL FROM:<a@chu.example>", b"RCPT TO:<b@c>", b"DATA", b"AUTH PLAIN AGEAYg==", b"HELO x", b"VRFY x", b"XYZZY"],
)
async def test_nothing_goes_before_tls(material: TlsMaterial, line: bytes) -> None:
    door = Recorder()
    async with serving(door, material) as (_, port), connected(port) as talk:
        await talk.reply()
        await talk.say(b"EHLO client.example")
        assert await talk.say(line) == "530 5.7.0 Must issue a STARTTLS command first"
        assert (await talk.say(b"NOOP")).startswith("250")
        assert (await talk.say(b"RSET")).startswith("250")
        assert (await talk.say(b"QUIT")).startswith("221")
    assert not door.letters


async def test_starttls_injection_is_forgotten(material: TlsMaterial, pki_world: Pki) -> None:
    """Commands sent in clear with STARTTLS are never obeyed, and EHLO is forgotten too (RFC 3207 §4.2)."""
    door = Recorder()
    async with serving(door, material) as (_, port), connected(port) as talk:
        await talk.reply()
        await talk.say(b"EHLO client.example")
        await talk.send(b"STARTTLS\r\nEHLO evil\r\nMAIL FROM:<evil@chu.example>\r\n")
        assert (await talk.reply()).startswith("220")
        await talk.writer.start_tls(pki_world.client("chu"), server_hostname="localhost")
        assert await talk.say(b"MAIL FROM:<a@chu.example>") == "503 5.5.1 Send EHLO first"
        assert (await talk.say(b"EHLO client.example")).startswith("250")
        assert (await talk.letter()).startswith("250")
    [(envelope, _)] = door.letters
    assert envelope.reverse_path
    assert envelope.reverse_path.spec == "a@chu.example"


async def test_starttls_once_and_without_argument(material: TlsMaterial, pki_world: Pki) -> None:
    async with serving(Recorder(), material) as (_, port), connected(port) as talk:
        await talk.reply()
        assert await talk.say(b"STARTTLS now") == "501 5.5.4 Bad argument"
        await talk.starttls(pki_world.client("chu"))
        assert await talk.say(b"STARTTLS") == "503 5.5.1 Bad sequence of commands"


@pytest.mark.parametrize("who", [None, "rogue", "expired"])
async def test_a_bad_or_missing_certificate_ends_in_tls_and_is_noted(
    material: TlsMaterial, pki_world: Pki, who: str | None
) -> None:
    door, counts = Recorder(), Counts()
    async with serving(door, material, metrics=counts) as (_, port), connected(port) as talk:
        await talk.reply()
        await talk.say(b"EHLO client.example")
        with pytest.raises(OSError):  # noqa: PT012  # TLS 1.3 tells the client only at its first read.
            await talk.starttls(pki_world.client(who))
            await talk.say(b"EHLO client.example")
            raise ConnectionResetError
        async with asyncio.timeout(30):
            while not counts.seen:
                await asyncio.sleep(0)
    assert counts.seen == [("closed", "tls-failed")]
    assert len(door.failures) == 1
    assert not door.sessions


async def test_garbage_instead_of_a_handshake(material: TlsMaterial) -> None:
    door = Recorder()
    async with serving(door, material) as (server, port), connected(port) as talk:
        await talk.reply()
        await talk.say(b"STARTTLS")
        await talk.send(b"GET / HTTP/1.1\r\n\r\n" * 10)
        assert await talk.ended()
        assert server.connections == 0
    assert len(door.failures) == 1


async def test_a_client_that_leaves_in_the_handshake(material: TlsMaterial) -> None:
    door, counts = Recorder(), Counts()
    async with serving(door, material, metrics=counts) as (server, port):
        for octets in (b"", b"\x16\x03\x01"):
            async with connected(port) as talk:
                await talk.reply()
                await talk.say(b"STARTTLS")
                await talk.send(octets)
                talk.writer.write_eof()
                assert await talk.ended()
        async with asyncio.timeout(30):
            while server.connections:
                await asyncio.sleep(0)
    assert counts.seen == [("closed", "tls-failed")] * 2


async def test_a_handshake_that_never_begins_is_cut_at_the_end(material: TlsMaterial) -> None:
    door = Recorder()
    async with serving(door, material) as (server, port):
        async with connected(port) as gone, connected(port) as waiting:
            for talk in (gone, waiting):
                await talk.reply()
                await talk.say(b"STARTTLS")
            gone.writer.transport.abort()
            async with asyncio.timeout(30):
                while server.connections > 1:
                    await asyncio.sleep(0)
            await server.close(grace_s=0.05)
            assert await waiting.ended()
        async with asyncio.timeout(30):
            while server.connections:
                await asyncio.sleep(0)


async def test_a_door_that_fails_at_a_failed_handshake_leaks_no_connection(material: TlsMaterial) -> None:
    door = Recorder(answers={"insecure": Unavailable("disk full")})
    async with serving(door, material) as (server, port), connected(port) as talk:
        await talk.reply()
        await talk.say(b"STARTTLS")
        await talk.send(b"nothing of the kind\r\n")
        assert await talk.ended()
        async with asyncio.timeout(30):
            while server.connections:
                await asyncio.sleep(0)


SMUGGLING = [
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


@pytest.mark.parametrize("form", SMUGGLING, ids=repr)
async def test_smuggling_is_refused_and_the_dialogue_stays_in_step(
    material: TlsMaterial, pki_world: Pki, form: bytes
) -> None:
    door = Recorder()
    smuggled = b"MAIL FROM:<evil@chu.example>\r\nRCPT TO:<b@patient.example>\r\nDATA\r\nevil\r\n"
    async with serving(door, material) as (_, port), connected(port) as talk:
        await talk.hello(pki_world.client("chu"))
        await talk.send(b"MAIL FROM:<a@chu.example>\r\nRCPT TO:<b@patient.example>\r\nDATA\r\n")
        assert [(await talk.reply())[:3] for _ in range(3)] == ["250", "250", "354"]
        await talk.send(b"Subject: x\r\n\r\nx" + form + smuggled + b".\r\nNOOP\r\n")
        assert await talk.reply() == BARE
        assert await talk.reply() == "250 2.0.0 OK"
        assert await talk.letter() == "250 2.0.0 OK"
    assert [octets for _, octets in door.letters] == [LETTER]


async def test_an_oversized_letter_is_consumed_then_refused(material: TlsMaterial, pki_world: Pki) -> None:
    door = Recorder()
    limits = replace(LIMITS, message_max_octets=1000)
    async with serving(door, material, limits=limits) as (_, port), connected(port) as talk:
        await talk.hello(pki_world.client("chu"))
        assert await talk.say(b"MAIL FROM:<a@chu.example> SIZE=1001") == TOO_LARGE
        assert await talk.letter(b"x" * 300_000 + b"\r\n") == TOO_LARGE
        assert await talk.letter(b"x" * 999 + b"\r\n") == TOO_LARGE
        assert await talk.letter(b"x" * 998 + b"\r\n") == "250 2.0.0 OK"
        assert await talk.letter(b"MAIL FROM:<evil@chu.example>\r\n" * 100) == TOO_LARGE
        assert await talk.say(b"NOOP") == "250 2.0.0 OK"
    assert len(door.letters) == 1


async def test_dots_come_back_as_they_were(material: TlsMaterial, pki_world: Pki) -> None:
    door = Recorder()
    letter = b".\r\n..\r\n...x\r\n.x\r\n\r\n.\r\n"
    async with serving(door, material) as (_, port), connected(port) as talk:
        await talk.hello(pki_world.client("chu"))
        assert (await talk.letter(scan.dot_stuff(letter))).startswith("250")
        assert (await talk.letter(b"")).startswith("250")
    assert [octets for _, octets in door.letters] == [letter, b""]


async def test_pipelined_commands_are_answered_in_order(material: TlsMaterial, pki_world: Pki) -> None:
    door = Recorder()
    async with serving(door, material) as (_, port), connected(port) as talk:
        await talk.hello(pki_world.client("chu"))
        letter = b"MAIL FROM:<a@chu.example>\r\nRCPT TO:<b@patient.example>\r\nDATA\r\n" + LETTER + b".\r\n"
        await talk.send(letter * 3 + b"NOOP\r\nXYZZY\r\nQUIT\r\n")
        codes = [(await talk.reply())[:3] for _ in range(15)]
        assert codes == ["250", "250", "354", "250"] * 3 + ["250", "500", "221"]
        assert await talk.ended()
    assert len(door.letters) == 3


async def test_pipelined_garbage_is_sent_away(material: TlsMaterial, pki_world: Pki) -> None:
    limits = replace(LIMITS, smtp_errors_max=3)
    async with serving(Recorder(), material, limits=limits) as (_, port), connected(port) as talk:
        await talk.hello(pki_world.client("chu"))
        await talk.send(b"\xff\xfe\r\n\0\r\nSELECT * FROM users\r\nGET / HTTP/1.1\r\n" * 20)
        codes = [(await talk.reply())[:3] for _ in range(5)]
        assert codes == ["500", "500", "500", "500", "421"]
        assert await talk.ended()


async def test_a_peer_that_works_is_never_cut_off(material: TlsMaterial, pki_world: Pki) -> None:
    limits = replace(LIMITS, smtp_errors_max=2, smtp_commands_max=5)
    async with serving(Recorder(), material, limits=limits) as (_, port), connected(port) as talk:
        await talk.hello(pki_world.client("chu"))
        for _ in range(5):
            assert (await talk.say(b"XYZZY")).startswith("500")
            assert (await talk.letter()).startswith("250")


@pytest.mark.parametrize(("commands_max", "answers"), [(4, ["250", "421"]), (5, ["250", "250"])])
async def test_commands_without_a_letter_have_a_limit(
    material: TlsMaterial, pki_world: Pki, commands_max: int, answers: list[str]
) -> None:
    limits = replace(LIMITS, smtp_commands_max=commands_max)
    async with serving(Recorder(), material, limits=limits) as (_, port), connected(port) as talk:
        await talk.hello(pki_world.client("chu"))
        for _ in range(2):
            await talk.say(b"NOOP")
        assert [(await talk.say(b"NOOP"))[:3] for _ in range(2)] == answers


async def test_too_many_recipients(material: TlsMaterial, pki_world: Pki) -> None:
    door = Recorder()
    limits = replace(LIMITS, recipients_max=3)
    async with serving(door, material, limits=limits) as (_, port), connected(port) as talk:
        await talk.hello(pki_world.client("chu"))
        await talk.say(b"MAIL FROM:<a@chu.example>")
        codes = [(await talk.say(b"RCPT TO:<b%d@patient.example>" % n))[:9] for n in range(5)]
        assert codes == ["250 2.1.5"] * 3 + ["452 4.5.3"] * 2
        assert (await talk.say(b"RCPT TO:<b0@patient.example>")).startswith("250")
        await talk.say(b"DATA")
        assert (await talk.say(LETTER + b".")).startswith("250")
    assert len(door.letters[0][0].recipients) == 3


async def test_an_empty_quoted_local_part_is_refused(material: TlsMaterial, pki_world: Pki) -> None:
    async with serving(Recorder(), material) as (_, port), connected(port) as talk:
        await talk.hello(pki_world.client("chu"))
        await talk.say(b"MAIL FROM:<a@chu.example>")
        assert await talk.say(b'RCPT TO:<""@patient.example>') == "553 5.1.3 Malformed address"
        assert await talk.say(b"RCPT TO:<postmaster>") == "250 2.1.5 Recipient OK"


@pytest.mark.parametrize(("length", "answer"), [(2046, "250"), (2047, "500 5.5.6"), (20_000, "500 5.5.6")])
async def test_a_long_line_is_one_error(material: TlsMaterial, pki_world: Pki, length: int, answer: str) -> None:
    async with serving(Recorder(), material) as (_, port), connected(port) as talk:
        await talk.hello(pki_world.client("chu"))
        assert (await talk.say(b"NOOP " + b"x" * (length - 5))).startswith(answer)
        assert (await talk.say(b"NOOP")).startswith("250")


async def test_an_endless_line_ends_the_connection(material: TlsMaterial) -> None:
    async with serving(Recorder(), material) as (_, port), connected(port) as talk:
        await talk.reply()
        talk.writer.write(b"EHLO " + b"x" * 200_000)
        assert (await talk.reply()).startswith("500 5.5.6")
        assert await talk.ended()


@pytest.mark.parametrize("secure", [False, True], ids=["clear", "tls"])
async def test_a_client_that_writes_on_hears_the_farewell(material: TlsMaterial, pki_world: Pki, secure: bool) -> None:
    """What it sends meanwhile is thrown away: a reset would take the farewell with it."""
    async with serving(Recorder(), material) as (server, port), connected(port) as talk:
        await (talk.hello(pki_world.client("chu")) if secure else talk.reply())
        for _ in range(64):
            await talk.send(b"x" * 65536)
        assert (await talk.reply()).startswith("500 5.5.6")
        assert await talk.ended()
        await emptied(server)


@pytest.mark.parametrize(("limit", "value"), [("_LINGER_S", 0.5), ("_LINGER_MAX_OCTETS", 1_000_000)])
async def test_a_client_that_writes_for_ever_is_cut_off(
    material: TlsMaterial, pki_world: Pki, monkeypatch: pytest.MonkeyPatch, limit: str, value: float
) -> None:
    monkeypatch.setattr(esmtp, limit, value)
    async with serving(Recorder(), material) as (server, port), connected(port) as talk:
        await talk.hello(pki_world.client("chu"))
        with pytest.raises(ConnectionError):
            await _write_on(talk)
        await emptied(server)


async def _write_on(talk: Talk) -> None:
    async with asyncio.timeout(4):
        while True:
            await talk.send(b"x" * 65536)


async def test_a_letter_under_way_is_told_that_it_took_too_long(material: TlsMaterial, pki_world: Pki) -> None:
    limits = replace(LIMITS, smtp_timeout_s=1)
    async with serving(Recorder(), material, limits=limits) as (_, port), connected(port) as talk:
        await talk.hello(pki_world.client("chu"))
        for line in (b"MAIL FROM:<a@chu.example>", b"RCPT TO:<b@patient.example>", b"DATA"):
            await talk.say(line)
        assert await talk.reply() == "421 4.4.2 Timeout, closing"
        assert await talk.ended()


async def test_a_command_needs_its_turn(material: TlsMaterial, pki_world: Pki) -> None:
    async with serving(Recorder(), material) as (_, port), connected(port) as talk:
        await talk.hello(pki_world.client("chu"))
        script = [
            (b"RCPT TO:<b@patient.example>", "503 5.5.1"),
            (b"DATA", "503 5.5.1"),
            (b"MAIL FROM:<a@chu.example>", "250 2.1.0"),
            (b"MAIL FROM:<a@chu.example>", "503 5.5.1"),
            (b"DATA now", "501 5.5.4"),
            (b"DATA", "554 5.5.1"),
            (b"RCPT TO:<b@patient.example>", "503 5.5.1"),
            (b"MAIL FROM:<a@chu.example>", "250 2.1.0"),
            (b"RSET now", "501 5.5.4"),
            (b"RSET", "250 2.0.0"),
            (b"DATA", "503 5.5.1"),
            (b"MAIL FROM:<a@chu.example>", "250 2.1.0"),
            (b"EHLO again.example", "250-mx.pa"),
            (b"DATA", "503 5.5.1"),
            (b"EHLO", "501 5.5.4"),
        ]
        for line, expected in script:
            assert (await talk.say(line))[:9] == expected, line


async def test_small_verbs_tell_nothing(material: TlsMaterial, pki_world: Pki) -> None:
    async with serving(Recorder(), material) as (_, port), connected(port) as talk:
        await talk.hello(pki_world.client("chu"))
        assert await talk.say(b"VRFY secret@patient.example") == "252 2.1.5 Cannot verify, will take letters"
        assert await talk.say(b"VRFY") == "501 5.5.4 Bad argument"
        assert await talk.say(b"EXPN list") == "502 5.5.1 Command not implemented"
        assert await talk.say(b"HELP secret") == "214 2.0.0 See RFC 5321"
        assert await talk.say(b"AUTH PLAIN AGEAYg==") == "502 5.5.1 Command not implemented"
        assert await talk.say(b"NOOP secret") == "250 2.0.0 OK"
        assert await talk.say(b"QUIT secret") == "501 5.5.4 Bad argument"


async def test_no_answer_echoes_what_was_sent(material: TlsMaterial, pki_world: Pki) -> None:
    async with serving(Recorder(), material) as (_, port), connected(port) as talk:
        await talk.hello(pki_world.client("chu"))
        for line in (b"EHLO marker", b"MARKER", b"VRFY marker", b"MAIL FROM:<marker", b"HELP marker"):
            assert "marker" not in (await talk.say(line)).lower()


@pytest.mark.parametrize("stage", ["mail", "rcpt", "data"])
async def test_an_exception_is_an_incident_inside_and_temporary_outside(
    material: TlsMaterial, pki_world: Pki, stage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    door = Recorder(answers={stage: ValueError("secret@patient.example")})
    async with serving(door, material) as (_, port), connected(port) as talk:
        await talk.hello(pki_world.client("chu"))
        assert await talk.letter() == "451 4.3.0 Temporary fault on our side, try again later"
        door.answers.clear()
        await talk.say(b"RSET")
        assert (await talk.letter()).startswith("250")
    told = capsys.readouterr().err
    assert "smtp.incident" in told
    assert '"incident":' in told


async def test_an_unavailable_store_is_temporary(material: TlsMaterial, pki_world: Pki) -> None:
    door = Recorder(answers={"data": Unavailable("disk full")})
    async with serving(door, material) as (_, port), connected(port) as talk:
        await talk.hello(pki_world.client("chu"))
        assert (await talk.letter()).startswith("451 4.3.0")
        assert (await talk.say(b"NOOP")).startswith("250")


async def test_refusals_of_the_door_are_said(material: TlsMaterial, pki_world: Pki) -> None:
    counts = Counts()
    door = Recorder(answers={"rcpt": Reply(550, "5.1.1", "Nobody here")})
    async with serving(door, material, metrics=counts) as (_, port), connected(port) as talk:
        await talk.hello(pki_world.client("chu"))
        assert await talk.letter() == "550 5.1.1 Nobody here"
        assert await talk.say(b"DATA") == "554 5.5.1 No valid recipients"
    assert ("refused", "rcpt", "unnamed") in counts.seen


async def test_a_door_may_end_the_connection(material: TlsMaterial, pki_world: Pki) -> None:
    door = Recorder(answers={"secured": reply.CLOSING})
    async with serving(door, material) as (_, port), connected(port) as talk:
        await talk.reply()
        await talk.starttls(pki_world.client("chu"))
        assert (await talk.reply()).startswith("421 4.3.2")
        assert await talk.ended()


async def test_a_silent_client_is_told_and_closed(material: TlsMaterial, pki_world: Pki) -> None:
    counts = Counts()
    limits = replace(LIMITS, smtp_timeout_s=1)
    async with serving(Recorder(), material, limits=limits, metrics=counts) as (_, port), connected(port) as talk:
        await talk.hello(pki_world.client("chu"))
        assert await talk.reply() == "421 4.4.2 Timeout, closing"
        assert await talk.ended()
    assert counts.seen == [("closed", "timeout")]


async def test_slow_data_does_not_hold_a_connection(material: TlsMaterial, pki_world: Pki) -> None:
    """Drips do not reset the clock: only real progress does."""
    door = Recorder()
    limits = replace(LIMITS, smtp_timeout_s=1)
    async with serving(door, material, limits=limits) as (_, port), connected(port) as talk:
        await talk.hello(pki_world.client("chu"))
        for line in (b"MAIL FROM:<a@chu.example>", b"RCPT TO:<b@patient.example>", b"DATA"):
            await talk.say(line)
        closed = asyncio.ensure_future(talk.reply())
        while not closed.done():
            talk.writer.write(b"x\r\n")
            await asyncio.wait([closed], timeout=0.05)
        assert await closed == "421 4.4.2 Timeout, closing"
    assert not door.letters


async def test_data_below_the_least_rate_is_cut_though_it_never_stops(material: TlsMaterial, pki_world: Pki) -> None:
    """Progress alone is not enough: 25 MiB in drops of 16 KiB would hold memory for a day."""
    door, counts = Recorder(), Counts()
    limits = replace(LIMITS, smtp_timeout_s=1, smtp_slowest_octets_per_s=10_000_000)
    async with serving(door, material, limits=limits, metrics=counts) as (_, port), connected(port) as talk:
        await talk.hello(pki_world.client("chu"))
        for line in (b"MAIL FROM:<a@chu.example>", b"RCPT TO:<b@patient.example>", b"DATA"):
            await talk.say(line)
        closed, sent = asyncio.ensure_future(talk.reply()), 0
        while not closed.done() and sent < 5_000_000:
            talk.writer.write(b"x" * 16382 + b"\r\n")
            sent += 16384
            await asyncio.wait([closed], timeout=0.02)
        assert await closed == "421 4.4.2 Timeout, closing"
    assert not door.letters
    assert counts.seen == [("closed", "timeout")]


async def test_a_time_too_short_for_a_timer_can_begin_anew(material: TlsMaterial) -> None:
    """uvloop makes no timer of less than half a millisecond: it answered 451 to who sent at just the least rate."""
    async with serving(Recorder(), material) as (server, port), connected(port) as talk:
        await talk.reply()
        connection = next(iter(server._connections))
        connection._reset_timeout(1e-6)
        connection._reset_timeout()
        assert (await talk.say(b"EHLO mx.chu.example")).startswith("250")


async def test_an_endless_letter_ends_the_connection(
    material: TlsMaterial, pki_world: Pki, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verbs, "_OVERRUN_MIN", 1)
    door = Recorder()
    limits = replace(LIMITS, message_max_octets=100_000)
    async with serving(door, material, limits=limits) as (server, port), connected(port) as talk:
        await talk.hello(pki_world.client("chu"))
        assert await talk.letter(b"x" * 399_998 + b"\r\n") == TOO_LARGE
        for line in (b"MAIL FROM:<a@chu.example>", b"RCPT TO:<b@patient.example>", b"DATA"):
            await talk.say(line)
        talk.writer.write(b"x" * 600_000)
        assert await talk.reply() == TOO_LARGE
        assert await talk.ended()
        assert server._house.spool.memory._free == LIMITS.smtp_memory_max_octets
    assert not door.letters


@pytest.mark.parametrize(("count", "said"), [(2, "250"), (3, "250"), (4, "421 4.7.0")])
async def test_mistakes_have_a_limit(material: TlsMaterial, pki_world: Pki, count: int, said: str) -> None:
    limits = replace(LIMITS, smtp_errors_max=3)
    async with serving(Recorder(), material, limits=limits) as (_, port), connected(port) as talk:
        await talk.hello(pki_world.client("chu"))
        for _ in range(count):
            assert (await talk.say(b"XYZZY")).startswith("500")
        assert (await (talk.reply() if said.startswith("421") else talk.say(b"NOOP"))).startswith(said)


async def test_too_many_connections(material: TlsMaterial) -> None:
    counts = Counts()
    limits = replace(LIMITS, smtp_connections_per_peer_max=2)
    async with (
        serving(Recorder(), material, limits=limits, metrics=counts) as (server, port),
        connected(port) as one,
        connected(port) as two,
    ):
        assert (await one.reply()).startswith("220")
        assert (await two.reply()).startswith("220")
        async with connected(port) as three:
            assert await three.reply() == "421 4.7.0 Too many connections, try again later"
            assert await three.ended()
        await one.say(b"QUIT")
        assert await one.ended()
        assert server.connections == 1
        async with connected(port) as four:
            assert (await four.reply()).startswith("220")


async def test_behind_a_balancer_each_client_counts_for_itself(material: TlsMaterial) -> None:
    limits = replace(LIMITS, smtp_connections_per_peer_max=1)
    balancers = Balancers((ip_network("127.0.0.1"),), 200, 30)
    async with serving(Recorder(), material, limits=limits, balancers=balancers) as (server, port):
        async with connected(port) as one, connected(port) as two, connected(port) as three:
            said = [
                await talk.say(b"PROXY TCP4 198.51.100.%d 192.0.2.1 40000 25" % source)
                for talk, source in ((one, 7), (two, 8), (three, 8))
            ]
            assert [reply[:3] for reply in said] == ["220", "220", "421"]
            assert {connection.facts.ip for connection in server._connections} == {"198.51.100.7", "198.51.100.8"}
        async with connected(port) as client:
            with suppress(ConnectionResetError):  # What it said was never read.
                assert await client.say(b"EHLO nobody-said-who-comes") == ""


async def test_too_many_connections_in_all(material: TlsMaterial) -> None:
    limits = replace(LIMITS, smtp_connections_max=1)
    async with serving(Recorder(), material, limits=limits) as (_, port), connected(port) as one:
        assert (await one.reply()).startswith("220")
        async with connected(port) as two:
            assert (await two.reply()).startswith("421 4.7.0")


async def test_unfinished_letters_share_a_bounded_memory_and_disk(material: TlsMaterial, pki_world: Pki) -> None:
    """Past both, a letter is read to its end and deferred; everything is given back."""
    limits = replace(LIMITS, smtp_memory_max_octets=4000, smtp_spool_max_octets=50_000, message_max_octets=100_000)
    spool, door = Spool(limits), Recorder()
    async with serving(door, material, limits=limits, spool=spool) as (_, port), connected(port) as talk:
        await talk.hello(pki_world.client("chu"))
        for size, answer in ((3000, "250"), (40_000, "250"), (90_000, "452 4.3.1"), (40_000, "250"), (3000, "250")):
            octets = b"x" * size + b"\r\n"
            assert (await talk.say(b"MAIL FROM:<a@chu.example> SIZE=%d" % size)).startswith("250")
            assert (await talk.say(b"RCPT TO:<b@patient.example>")).startswith("250")
            assert (await talk.say(b"DATA")).startswith("354")
            await talk.send(octets[: size // 2])
            assert (await talk.say(octets[size // 2 :] + b".")).startswith(answer)
            assert answer != "250" or door.letters[-1][1] == octets
        assert (spool.memory._free, spool.disk._free) == (4000, 50_000)
        assert len(door.letters) == 4
    spool.close()


class Crowded(Recorder):
    """A door that takes its time, and counts how many letters were in it at most."""

    inside = most = 0

    async def data(self, session: Session, transaction: Transaction, octets: bytes) -> Reply:
        self.inside += 1
        self.most = max(self.most, self.inside)
        await asyncio.sleep(0.1)
        self.inside -= 1
        return await super().data(session, transaction, octets)


@pytest.mark.parametrize(("size", "at_once"), [(200_000, 1), (200, 3)])
async def test_large_letters_are_taken_one_at_a_time(
    material: TlsMaterial, pki_world: Pki, size: int, at_once: int
) -> None:
    spool, door = Spool(replace(LIMITS, smtp_memory_max_octets=10_000)), Crowded()
    async with (
        serving(door, material, spool=spool) as (_, port),
        connected(port) as one,
        connected(port) as two,
        connected(port) as three,
    ):
        talks = (one, two, three)
        for talk in talks:
            await talk.hello(pki_world.client("chu"))
        answers = await asyncio.gather(*(talk.letter(b"x" * size + b"\r\n") for talk in talks))
    assert [answer[:3] for answer in answers] == ["250"] * 3
    assert door.most == at_once
    spool.close()


async def test_closing_lets_a_letter_end_and_sends_the_idle_away(material: TlsMaterial, pki_world: Pki) -> None:
    door = Recorder(hold=asyncio.Event())
    assert door.hold
    async with serving(door, material) as (server, port), connected(port) as busy, connected(port) as idle:
        await busy.hello(pki_world.client("chu"))
        await idle.hello(pki_world.client("chu"))
        answer = asyncio.ensure_future(busy.letter())
        await door.reached.wait()
        closing = asyncio.ensure_future(server.close(grace_s=10))
        assert await idle.reply() == "421 4.3.2 Going down, try again soon"
        assert await idle.ended()
        door.hold.set()
        assert await answer == "250 2.0.0 OK"
        assert (await busy.reply()).startswith("421")
        await closing
        with pytest.raises(ConnectionError):
            await asyncio.open_connection("127.0.0.1", port)
    assert len(door.letters) == 1


async def test_past_the_grace_a_connection_is_cut(material: TlsMaterial, pki_world: Pki) -> None:
    counts = Counts()
    async with serving(Recorder(), material, metrics=counts) as (server, port), connected(port) as talk:
        await talk.hello(pki_world.client("chu"))
        for line in (b"MAIL FROM:<a@chu.example>", b"RCPT TO:<b@patient.example>", b"DATA"):
            await talk.say(line)
        await server.close(grace_s=0.05)
        assert await talk.ended()
        assert server.connections == 0
    assert counts.seen == [("closed", "lost")]


async def test_no_new_letter_begins_while_closing(material: TlsMaterial, pki_world: Pki) -> None:
    door = Recorder(hold=asyncio.Event())
    assert door.hold
    async with serving(door, material) as (server, port), connected(port) as talk:
        await talk.hello(pki_world.client("chu"))
        letter = b"MAIL FROM:<a@chu.example>\r\nRCPT TO:<b@patient.example>\r\nDATA\r\n" + LETTER + b".\r\n"
        await talk.send(letter * 2)
        await door.reached.wait()
        closing = asyncio.ensure_future(server.close(grace_s=10))
        await asyncio.sleep(0)
        door.hold.set()
        codes = [(await talk.reply())[:3] for _ in range(5)]
        assert codes == ["250", "250", "354", "250", "421"]
        await closing
    assert len(door.letters) == 1


async def test_a_lost_client_does_not_cut_a_unit_of_work_short(material: TlsMaterial, pki_world: Pki) -> None:
    door = Recorder(hold=asyncio.Event())
    assert door.hold
    async with serving(door, material) as (server, port):
        async with connected(port) as talk:
            await talk.hello(pki_world.client("chu"))
            lost = asyncio.ensure_future(talk.letter())
            await door.reached.wait()
            lost.cancel()
        while server.connections:
            await asyncio.sleep(0)
        door.hold.set()
        await server.close(grace_s=5)
    assert len(door.letters) == 1


async def test_a_half_closed_client_gets_its_answers(material: TlsMaterial) -> None:
    async with serving(Recorder(), material) as (_, port), connected(port) as talk:
        await talk.reply()
        talk.writer.write(b"EHLO client.example\r\nNOOP\r\n")
        talk.writer.write_eof()
        assert (await talk.reply()).startswith("250")
        assert await talk.reply() == "250 2.0.0 OK"
        assert await talk.ended()


async def test_a_letter_cut_in_the_middle_is_nothing(material: TlsMaterial, pki_world: Pki) -> None:
    door, counts = Recorder(), Counts()
    async with serving(door, material, metrics=counts) as (server, port):
        async with connected(port) as talk:
            await talk.hello(pki_world.client("chu"))
            for line in (b"MAIL FROM:<a@chu.example>", b"RCPT TO:<b@patient.example>", b"DATA"):
                await talk.say(line)
            await talk.send(b"Subject: half\r\n")
        while server.connections:
            await asyncio.sleep(0)
    assert not door.letters
    assert counts.seen == [("closed", "lost")]


# Signing in ----------------------------------------------------------------------------------------------------

PLAIN_RIGHT = b"AUTH PLAIN AGxvZ2luAHJpZ2h0"
PLAIN_WRONG = b"AUTH PLAIN AGxvZ2luAHdyb25n"


def submission() -> Recorder:
    return Recorder(listener=Listener.SUBMISSION, mechanisms=("PLAIN", "LOGIN"))


async def signed_up(talk: Talk, pki_world: Pki) -> str:
    return await talk.hello(pki_world.client(None))


async def test_auth_is_announced_under_tls_only(material: TlsMaterial, pki_world: Pki) -> None:
    async with serving(submission(), material) as (_, port), connected(port) as talk:
        await talk.reply()
        assert "AUTH" not in await talk.say(b"EHLO client.example")
        await talk.starttls(pki_world.client(None))
        assert await talk.say(PLAIN_RIGHT) == "503 5.5.1 Send EHLO first"
        assert "AUTH PLAIN LOGIN" in await talk.say(b"EHLO client.example")


async def test_plain_and_login(material: TlsMaterial, pki_world: Pki) -> None:
    dialogues = [
        [(PLAIN_RIGHT, "235 2.7.0")],
        [(b"auth plain", "334 "), (b"AGxvZ2luAHJpZ2h0", "235 2.7.0")],
        [(b"AUTH LOGIN", "334 VXNlcm5hbWU6"), (b"bG9naW4=", "334 UGFzc3dvcmQ6"), (b"cmlnaHQ=", "235 2.7.0")],
        [(b"AUTH LOGIN bG9naW4=", "334 UGFzc3dvcmQ6"), (b"cmlnaHQ=", "235 2.7.0")],
    ]
    async with serving(submission(), material) as (_, port):
        for dialogue in dialogues:
            async with connected(port) as talk:
                await signed_up(talk, pki_world)
                for line, answer in dialogue:
                    assert (await talk.say(line)).startswith(answer)
                assert await talk.say(PLAIN_RIGHT) == "503 5.5.1 Already signed in"


@pytest.mark.parametrize(
    ("lines", "answer"),
    [
        ([PLAIN_WRONG], "535 5.7.8"),
        ([b"AUTH"], "504 5.5.4"),
        ([b"AUTH CRAM-MD5"], "504 5.5.4"),
        ([b"AUTH PLAIN A"], "501 5.5.2"),
        ([b"AUTH PLAIN not base64"], "501 5.5.2"),
        ([b"AUTH PLAIN ="], "501 5.5.4"),
        ([b"AUTH PLAIN", b"*"], "501 5.7.0"),
        ([b"AUTH PLAIN", b""], "501 5.5.4"),
        ([b"AUTH PLAIN", b"%%%"], "501 5.5.2"),
        ([b"AUTH PLAIN", b"x" * 20_000], "500 5.5.6"),
        ([b"AUTH LOGIN", b"bG9naW4=", b"*"], "501 5.7.0"),
        ([b"AUTH LOGIN", b"bG9naW4=", b"d3Jvbmc="], "535 5.7.8"),
        ([b"AUTH LOGIN", b"", b"d3Jvbmc="], "535 5.7.8"),
        ([b"AUTH PLAIN AP9sb2dpbgByaWdodA=="], "535 5.7.8"),
    ],
)
async def test_bad_sign_ins_are_refused_and_the_dialogue_goes_on(
    material: TlsMaterial, pki_world: Pki, lines: list[bytes], answer: str
) -> None:
    async with serving(submission(), material) as (_, port), connected(port) as talk:
        await signed_up(talk, pki_world)
        for line in lines[:-1]:
            assert (await talk.say(line)).startswith("334")
        assert (await talk.say(lines[-1]))[:9] == answer
        assert (await talk.say(PLAIN_RIGHT)).startswith("235")


async def test_a_long_response_fits_where_the_standard_says(material: TlsMaterial, pki_world: Pki) -> None:
    door = submission()
    async with serving(door, material) as (_, port), connected(port) as talk:
        await signed_up(talk, pki_world)
        assert (await talk.say(b"AUTH PLAIN " + b"QUFB" * 3000)).startswith("501 5.5.4")
        assert (await talk.say(b"NOOP " + b"QUFB" * 3000)).startswith("500 5.5.6")


async def test_a_client_that_leaves_while_signing_in(material: TlsMaterial, pki_world: Pki) -> None:
    counts = Counts()
    async with serving(submission(), material, metrics=counts) as (server, port):
        async with connected(port) as talk:
            await signed_up(talk, pki_world)
            await talk.say(b"AUTH LOGIN")
        while server.connections:
            await asyncio.sleep(0)
    assert counts.seen == [("closed", "lost")]


async def test_guessing_is_sent_away(material: TlsMaterial, pki_world: Pki) -> None:
    limits = replace(LIMITS, smtp_errors_max=2)
    async with serving(submission(), material, limits=limits) as (_, port), connected(port) as talk:
        await signed_up(talk, pki_world)
        codes = [(await talk.say(PLAIN_WRONG))[:3] for _ in range(3)]
        assert codes == ["535", "535", "535"]
        assert (await talk.reply()).startswith("421 4.7.0")


async def test_no_sign_in_within_a_transaction(material: TlsMaterial, pki_world: Pki) -> None:
    async with serving(submission(), material) as (_, port), connected(port) as talk:
        await signed_up(talk, pki_world)
        await talk.say(b"MAIL FROM:<a@chu.example>")
        assert await talk.say(PLAIN_RIGHT) == "503 5.5.1 Bad sequence of commands"


async def test_implicit_tls(material: TlsMaterial, pki_world: Pki) -> None:
    door = replace(submission(), listener=Listener.SUBMISSIONS)
    async with serving(door, material, implicit_tls=True) as (_, port):
        async with connected(port, ssl=pki_world.client(None), server_hostname="localhost") as talk:
            assert (await talk.reply()).startswith("220")
            hello = await talk.say(b"EHLO client.example")
            assert "AUTH PLAIN LOGIN" in hello
            assert "STARTTLS" not in hello
            assert (await talk.say(PLAIN_RIGHT)).startswith("235")
            assert (await talk.letter()).startswith("250")
        async with connected(port) as clear:
            await clear.send(b"EHLO client.example\r\n")
            assert await clear.ended()
        async with connected(port, ssl=pki_world.client(None), server_hostname="localhost") as again:
            assert (await again.reply()).startswith("220")
    assert len(door.letters) == 1


async def test_handshakes_count_as_connections(material: TlsMaterial) -> None:
    limits = replace(LIMITS, smtp_connections_max=1)
    door = replace(submission(), listener=Listener.SUBMISSIONS)
    async with serving(door, material, limits=limits, implicit_tls=True) as (server, port), connected(port):
        while not server._handshakes:
            await asyncio.sleep(0)
        async with connected(port) as two:
            assert await two.ended()


# The wrapper ---------------------------------------------------------------------------------------------------


async def test_aiosmtpd_says_nothing_to_the_log(
    material: TlsMaterial, pki_world: Pki, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        async with serving(Recorder(), material) as (_, port), connected(port) as talk:
            await talk.hello(pki_world.client("chu"))
            await talk.letter()
    assert [record for record in caplog.records if record.name.startswith("mail")] == []


async def test_one_canonical_line_for_each_transaction_and_no_address_in_it(
    material: TlsMaterial, pki_world: Pki, capsys: pytest.CaptureFixture[str]
) -> None:
    door = Recorder(answers={})
    async with serving(door, material) as (_, port), connected(port) as talk:
        await talk.hello(pki_world.client("chu"))
        await talk.letter()
        await talk.say(b"MAIL FROM:<a@chu.example>")
        await talk.say(b"RSET")
        door.answers["mail"] = Reply(550, "5.7.1", "No")
        await talk.letter()
        await talk.say(b"QUIT")
    lines = [line for line in capsys.readouterr().err.splitlines() if "smtp.transaction" in line]
    assert len(lines) == 3
    for line, outcome in zip(lines, ["accepted", "reset", "refused"], strict=True):
        assert f'"outcome": "{outcome}"' in line
        assert "chu.example" not in line
        assert "patient.example" not in line
        assert "Hello" not in line


async def test_handle_exception_hides_the_exception(material: TlsMaterial) -> None:
    async with serving(Recorder(), material) as (server, _):
        status = await Connection(server._house).handle_exception(ValueError("secret"))
    assert status == "451 4.3.0 Temporary fault on our side, try again later"
    assert issubclass(Connection, SMTP)
