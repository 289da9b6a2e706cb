"""One connection to another operator: letters go over as they are, and every failure is an outcome."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from mss.model.address import Address, Domain
from mss.model.delivery import Outcome, OutcomeKind
from mss.model.envelope import Notify, Ret
from mss.smtp import client, dialog
from mss.smtp.client import Channel, Pin, Secrets
from mss.smtp.dialog import Letter
from mss.smtp.reply import Reply
from mss.tls import TlsMaterial
from tests.mail.letters import LIMITS
from tests.smtp.smtp_letters import delivery
from tests.smtp.smtp_world import Pki, Recorder, serving

pytestmark = pytest.mark.journey

OCTETS = b"From: a@chu.example\r\n\r\n.\r\n..dots\r\nHello\r\n"
Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def secrets(pki_world: Pki, who: str = "chu", pin: Pin = lambda end: None) -> Secrets:
    context = TlsMaterial(pki_world.config(who)).mx_client if who != "rogue" else pki_world.client("rogue")
    return Secrets(context, getattr(context, "remember", lambda end: None), pin)


async def open_to(port: int, given: Secrets, *, timeout_s: float = 5) -> Channel | Outcome:
    return await client.connect("127.0.0.1", port, given, hostname="mx.chu.example", timeout_s=timeout_s)


async def channel_to(port: int, given: Secrets, *, timeout_s: float = 5) -> Channel:
    opened = await open_to(port, given, timeout_s=timeout_s)
    assert isinstance(opened, Channel), opened
    return opened


async def give(channel: Channel, letter: Letter, octets: bytes) -> tuple[Outcome, ...]:
    """Give one letter over, or hear why it cannot be."""
    parcel = dialog.pack(letter, octets, channel.peer, LIMITS)
    if isinstance(parcel, Outcome):
        return (parcel,)
    outcomes = await channel.send(parcel)
    assert outcomes is not None
    return outcomes


@asynccontextmanager
async def scripted(script: Script) -> AsyncIterator[int]:
    """Serve a peer that follows a script."""

    async def run(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await script(reader, writer)
        except (OSError, asyncio.CancelledError):
            pass  # The test is over.
        finally:
            writer.transport.abort()

    server = await asyncio.start_server(run, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


async def dialogue(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *answers: bytes) -> None:
    """Answer line by line."""
    for number, answer in enumerate(answers):
        if number:
            await reader.readline()
        writer.write(answer + b"\r\n")


HELLO = b"250-mx\r\n250-SIZE 1000\r\n250 DSN"


def after_tls(pki_world: Pki, *answers: bytes, who: str = "gip") -> Script:
    """Return a script that begins like any operator's, and answers so once TLS is up."""
    context = TlsMaterial(pki_world.config(who)).mx_server

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await dialogue(reader, writer, b"220 mx", b"250-mx\r\n250 STARTTLS", b"220 go")
        await writer.start_tls(context)
        await reader.readline()
        await dialogue(reader, writer, HELLO, *answers)
        await reader.read()

    return script


async def test_several_letters_go_over_one_connection_as_they_are(material: TlsMaterial, pki_world: Pki) -> None:
    door = Recorder()
    async with serving(door, material) as (server, port):
        channel = await channel_to(port, secrets(pki_world))
        one = Letter((delivery(1, "b@patient.example", ret=Ret.HDRS, envid="Q1", notify=frozenset({Notify.FAILURE})),))
        two = Letter((delivery(2, "b@patient.example", reverse_path=None), delivery(3, "c@patient.example")))
        assert [o.kind for o in await give(channel, one, OCTETS)] == [OutcomeKind.RELAYED]
        outcomes = await give(channel, two, OCTETS)
        assert [(o.kind, o.code, o.dsn_handed_on) for o in outcomes] == [(OutcomeKind.RELAYED, 250, True)] * 2
        assert server.connections == 1
        await channel.close()
        assert not channel.alive
    assert [octets for _, octets in door.letters] == [OCTETS, OCTETS]
    first, second = (envelope for envelope, _ in door.letters)
    assert (first.ret, first.envid) == (Ret.HDRS, "Q1")
    assert first.recipients[0].orcpt == "rfc822;b@patient.example"
    assert second.reverse_path is None
    assert [r.address.local for r in second.recipients] == ["b", "c"]


async def test_internationalised_addresses_go_over(material: TlsMaterial, pki_world: Pki) -> None:
    door = Recorder()
    async with serving(door, material) as (_, port):
        channel = await channel_to(port, secrets(pki_world))
        await give(channel, Letter((delivery(1, Address("é b", Domain("patient.example"))),)), OCTETS)
        await channel.close()
    [(envelope, _)] = door.letters
    assert envelope.smtputf8
    assert envelope.recipients[0].address.local == "é b"


async def test_each_recipient_hears_its_own_refusal(pki_world: Pki) -> None:
    script = after_tls(
        pki_world, b"250 ok", b"550 5.1.1 Unknown", b"450 4.2.1 Later", b"250 ok", b"354 go", b"250 2.0.0 Queued"
    )

    async def with_data(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await script(reader, writer)

    async with scripted(with_data) as port:
        channel = await channel_to(port, secrets(pki_world))
        letter = Letter(tuple(delivery(n, f"{n}@gip.example") for n in range(3)))
        outcomes = await give(channel, letter, b"x\r\n")
    assert [(o.kind, o.enhanced) for o in outcomes] == [
        (OutcomeKind.PERMANENT, "5.1.1"),
        (OutcomeKind.TEMPORARY, "4.2.1"),
        (OutcomeKind.RELAYED, "2.0.0"),
    ]


@pytest.mark.parametrize(
    ("answers", "kind", "enhanced"),
    [
        ((b"550 5.7.1 Not you", b"250 ok"), OutcomeKind.PERMANENT, "5.7.1"),
        ((b"451 4.7.0 Later", b"250 ok"), OutcomeKind.TEMPORARY, "4.7.0"),
        ((b"250 ok", b"550 5.1.1 Unknown", b"250 ok"), OutcomeKind.PERMANENT, "5.1.1"),
        ((b"250 ok", b"250 ok", b"451 4.3.0 Full", b"250 ok"), OutcomeKind.TEMPORARY, "4.3.0"),
        ((b"250 ok", b"250 ok", b"250 what", b"250 ok"), OutcomeKind.TEMPORARY, "4.5.0"),
        ((b"250 ok", b"250 ok", b"354 go", b"554 5.6.0 Bad letter"), OutcomeKind.PERMANENT, "5.6.0"),
        ((b"250 ok", b"250 ok", b"354 go", b"421 4.3.2 Going"), OutcomeKind.TEMPORARY, "4.3.2"),
        ((b"nonsense",), OutcomeKind.TEMPORARY, "4.3.2"),
    ],
)
async def test_refusals_at_each_stage(
    pki_world: Pki, answers: tuple[bytes, ...], kind: OutcomeKind, enhanced: str
) -> None:
    async with scripted(after_tls(pki_world, *answers)) as port:
        channel = await channel_to(port, secrets(pki_world))
        [outcome] = await give(channel, Letter((delivery(),)), b"x\r\n")
        assert (outcome.kind, outcome.enhanced) == (kind, enhanced)


async def test_after_a_refusal_the_connection_serves_the_next_letter(material: TlsMaterial, pki_world: Pki) -> None:
    door = Recorder(answers={"rcpt": Reply(550, "5.1.1", "Unknown")})
    async with serving(door, material) as (_, port):
        channel = await channel_to(port, secrets(pki_world))
        letter = Letter((delivery(1, "b@patient.example"),))
        assert [o.enhanced for o in await give(channel, letter, OCTETS)] == ["5.1.1"]
        door.answers.clear()
        assert [o.kind for o in await give(channel, letter, OCTETS)] == [OutcomeKind.RELAYED]
        await channel.close()


@pytest.mark.parametrize("octets", [b"x\n.\r\nMAIL FROM:<e@chu.example>\r\n", b"x\r.\r\n", b"x\0\r\n"])
async def test_smuggled_octets_are_never_emitted(material: TlsMaterial, pki_world: Pki, octets: bytes) -> None:
    door = Recorder()
    async with serving(door, material) as (_, port):
        channel = await channel_to(port, secrets(pki_world))
        [outcome] = await give(channel, Letter((delivery(1, "b@patient.example"),)), octets)
        await channel.close()
    assert (outcome.kind, outcome.enhanced) == (OutcomeKind.PERMANENT, "5.6.0")
    assert not door.letters


async def test_a_lost_connection_is_temporary_and_ends_the_channel(pki_world: Pki) -> None:
    context = TlsMaterial(pki_world.config("gip")).mx_server

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await dialogue(reader, writer, b"220 mx", b"250-mx\r\n250 STARTTLS", b"220 go")
        await writer.start_tls(context)
        await reader.readline()
        await dialogue(reader, writer, HELLO, b"250 ok", b"250 ok", b"354 go")
        await reader.readline()

    async with scripted(script) as port:
        channel = await channel_to(port, secrets(pki_world))
        [outcome] = await give(channel, Letter((delivery(),)), b"x\r\n")
    assert (outcome.kind, outcome.enhanced) == (OutcomeKind.TEMPORARY, "4.4.2")
    assert not channel.alive


@pytest.mark.parametrize(
    ("answers", "enhanced"),
    [
        ((b"554 5.3.2 Go away",), "4.3.2"),
        ((b"421 4.7.0 Too many",), "4.7.0"),
        ((b"220 mx", b"500 what"), "4.3.2"),
        ((b"220 mx", b"250 mx", b"221 bye"), "4.7.4"),
        ((b"220 mx", b"250-mx\r\n250 STARTTLS", b"454 4.7.0 not now"), "4.7.0"),
        ((b"220 mx", b"250-mx\r\n250 STARTTLS", b"220 go\r\nnot a handshake at all " + b"x" * 300), None),
    ],
)
async def test_a_dialogue_that_does_not_come_to_tls_is_temporary(
    pki_world: Pki, answers: tuple[bytes, ...], enhanced: str | None
) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await dialogue(reader, writer, *answers)
        await reader.read()

    async with scripted(script) as port:
        outcome = await open_to(port, secrets(pki_world), timeout_s=1)
    assert isinstance(outcome, Outcome)
    assert outcome.kind is OutcomeKind.TEMPORARY
    assert enhanced in (None, outcome.enhanced)


async def test_nothing_is_said_in_clear_but_ehlo_and_starttls(pki_world: Pki) -> None:
    heard = bytearray()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mx\r\n")
        while line := await reader.readline():
            heard.extend(line)
            writer.write(b"250 mx\r\n")

    async with scripted(script) as port:
        outcome = await open_to(port, secrets(pki_world))
    assert isinstance(outcome, Outcome)
    assert bytes(heard) == b"EHLO mx.chu.example\r\nQUIT\r\n"


async def test_a_peer_of_a_foreign_authority_gets_nothing(pki_world: Pki) -> None:
    rogue = pki_world.config("rogue", ca_file=pki_world.root / "foreign" / "ca.pem", crl_files=())

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await dialogue(reader, writer, b"220 mx", b"250-mx\r\n250 STARTTLS", b"220 go")
        await writer.start_tls(TlsMaterial(rogue).mx_server)
        await reader.read()

    async with scripted(script) as port:
        outcome = await open_to(port, secrets(pki_world))
    assert isinstance(outcome, Outcome)
    assert (outcome.kind, outcome.enhanced) == (OutcomeKind.TEMPORARY, "4.7.5")


async def test_a_peer_that_is_not_the_pinned_one_gets_nothing(material: TlsMaterial, pki_world: Pki) -> None:
    door = Recorder()
    async with serving(door, material) as (_, port):
        outcome = await open_to(port, secrets(pki_world, pin=lambda end: "peer-not-listed"))
    assert isinstance(outcome, Outcome)
    assert (outcome.kind, outcome.enhanced) == (OutcomeKind.TEMPORARY, "4.7.5")
    assert "peer-not-listed" in outcome.text


async def test_our_own_bad_certificate_is_temporary(material: TlsMaterial, pki_world: Pki) -> None:
    async with serving(Recorder(), material) as (_, port):
        outcome = await open_to(port, secrets(pki_world, "rogue"))
    assert isinstance(outcome, Outcome)
    assert outcome.kind is OutcomeKind.TEMPORARY


async def test_nobody_there_is_temporary(pki_world: Pki) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        outcome = await open_to(closed.getsockname()[1], secrets(pki_world))
    assert isinstance(outcome, Outcome)
    assert (outcome.kind, outcome.enhanced) == (OutcomeKind.TEMPORARY, "4.4.1")


async def test_a_peer_that_says_nothing_is_left_after_a_while(pki_world: Pki) -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with scripted(silent) as port:
        outcome = await open_to(port, secrets(pki_world), timeout_s=0.1)
    assert isinstance(outcome, Outcome)
    assert (outcome.kind, outcome.enhanced) == (OutcomeKind.TEMPORARY, "4.4.2")


async def test_the_next_connection_resumes_the_session(material: TlsMaterial, pki_world: Pki) -> None:
    given = secrets(pki_world)
    reused: list[bool] = []
    for _ in range(2):
        async with serving(Recorder(), material) as (_, port):
            channel = await channel_to(port, given)
            reused.append(channel._end.session_reused)  # type: ignore[attr-defined]
            await give(channel, Letter((delivery(1, "b@patient.example"),)), OCTETS)
            await channel.close()
    assert reused == [False, True]


# -- several commands in one go ----------------------------------------------------------------------------------------

PIPELINING = b"250-mx\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 DSN"


def in_groups(pki_world: Pki, *groups: tuple[int, bytes], heard: list[bytes]) -> Script:
    """Return a peer that reads so many lines (a letter counts as its last one) and then answers, group by group."""
    context = TlsMaterial(pki_world.config("gip")).mx_server

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await dialogue(reader, writer, b"220 mx", b"250-mx\r\n250 STARTTLS", b"220 go")
        await writer.start_tls(context)
        await reader.readline()
        writer.write(PIPELINING + b"\r\n")
        for count, answers in groups:
            for _ in range(count):
                line = await reader.readline()
                while line.startswith(b"x"):
                    line = await reader.readline()
                heard.append(line.strip())
            if not answers:
                return
            writer.write(answers)
        heard.append(await reader.read())

    return script


def parcel(channel: Channel, number: int, *others: str, octets: bytes = b"x\r\n") -> dialog.Parcel:
    made = [delivery(number, f"{name}@gip.example") for name in (str(number), *others)]
    packed = dialog.pack(Letter(tuple(made)), octets, channel.peer, LIMITS)
    assert isinstance(packed, dialog.Parcel)
    return packed


OPENED = b"250 ok\r\n250 ok\r\n354 go\r\n"


async def test_each_letter_announces_the_next(pki_world: Pki) -> None:
    heard: list[bytes] = []
    groups = ((3, OPENED), (4, b"250 2.0.0 one\r\n" + OPENED), (1, b"250 2.0.0 two\r\n"))
    async with scripted(in_groups(pki_world, *groups, heard=heard)) as port:
        channel = await channel_to(port, secrets(pki_world))
        one, two = parcel(channel, 1), parcel(channel, 2)
        first = await channel.send(one, two)
        second = await channel.send(two)
        assert first
        assert second
        assert (first[0].text, second[0].text) == ("one", "two")
        assert channel.letters == 2
    assert [line.split()[0] for line in heard[:8]] == [b"MAIL", b"RCPT", b"DATA", b".", b"MAIL", b"RCPT", b"DATA", b"."]


async def test_a_refused_recipient_among_several_commands(pki_world: Pki) -> None:
    heard: list[bytes] = []
    groups = ((4, b"250 ok\r\n550 5.1.1 who\r\n250 ok\r\n354 go\r\n"), (1, b"250 2.0.0 one\r\n"))
    async with scripted(in_groups(pki_world, *groups, heard=heard)) as port:
        channel = await channel_to(port, secrets(pki_world))
        outcomes = await channel.send(parcel(channel, 1, "b"))
    assert outcomes
    assert [outcome.enhanced for outcome in outcomes] == ["5.1.1", "2.0.0"]


@pytest.mark.parametrize(
    ("answers", "enhanced"),
    [
        (b"550 5.7.1 not you\r\n503 no\r\n503 no\r\n", "5.7.1"),
        (b"250 ok\r\n550 5.1.1 who\r\n554 nobody\r\n", "5.1.1"),
        (b"250 ok\r\n250 ok\r\n451 4.3.0 full\r\n", "4.3.0"),
    ],
)
async def test_a_refused_transaction_is_taken_back(pki_world: Pki, answers: bytes, enhanced: str) -> None:
    heard: list[bytes] = []
    groups = ((3, answers), (1, b"250 ok\r\n"), (3, OPENED), (1, b"250 2.0.0 two\r\n"))
    async with scripted(in_groups(pki_world, *groups, heard=heard)) as port:
        channel = await channel_to(port, secrets(pki_world))
        first = await channel.send(parcel(channel, 1))
        second = await channel.send(parcel(channel, 2))
        assert first
        assert second
        assert (first[0].enhanced, second[0].text) == (enhanced, "two")
    assert heard[3] == b"RSET"


async def test_a_peer_that_waits_for_a_letter_without_a_recipient_gets_none(pki_world: Pki) -> None:
    """An empty letter must not reach anybody: the connection ends instead."""
    heard: list[bytes] = []
    groups = ((3, b"250 ok\r\n550 5.1.1 who\r\n354 go\r\n"),)
    async with scripted(in_groups(pki_world, *groups, heard=heard)) as port:
        channel = await channel_to(port, secrets(pki_world))
        outcomes = await channel.send(parcel(channel, 1))
        assert outcomes
        assert outcomes[0].enhanced == "5.1.1"
        assert not channel.alive
    assert b"." not in heard


@pytest.mark.parametrize("goodbye", [b"", b"421 4.7.0 enough\r\n"])
async def test_a_peer_that_has_had_enough_letters_costs_the_next_one_no_try(pki_world: Pki, goodbye: bytes) -> None:
    heard: list[bytes] = []
    groups = ((3, OPENED), (4, b"250 2.0.0 one\r\n" + goodbye), (0, b""))
    async with scripted(in_groups(pki_world, *groups, heard=heard)) as port:
        channel = await channel_to(port, secrets(pki_world))
        one, two = parcel(channel, 1), parcel(channel, 2)
        assert await channel.send(one, two)
        assert await channel.send(two) is None
        assert not channel.alive


async def test_an_announced_letter_that_is_not_wanted_ends_with_the_connection(pki_world: Pki) -> None:
    heard: list[bytes] = []
    groups = ((3, OPENED), (4, b"250 2.0.0 one\r\n" + OPENED))
    async with scripted(in_groups(pki_world, *groups, heard=heard)) as port:
        channel = await channel_to(port, secrets(pki_world))
        assert await channel.send(parcel(channel, 1), parcel(channel, 2))
        await channel.close()
        assert not channel.alive
        while len(heard) < 8:
            await asyncio.sleep(0)
    assert heard[7] == b"", "neither the letter nor QUIT in its place"


async def test_a_yes_before_its_time_is_no_yes(pki_world: Pki) -> None:
    """Only what is said after the whole letter counts as taking it over."""
    heard: list[bytes] = []
    async with scripted(in_groups(pki_world, (3, OPENED + b"250 2.0.0 taken\r\n"), heard=heard)) as port:
        channel = await channel_to(port, secrets(pki_world))
        outcomes = await channel.send(parcel(channel, 1))
    assert outcomes
    assert (outcomes[0].kind, outcomes[0].enhanced) == (OutcomeKind.TEMPORARY, "4.5.0")


async def test_a_large_letter_goes_in_pieces_with_its_dots(material: TlsMaterial, pki_world: Pki) -> None:
    octets = b"Subject: x\r\n\r\n" + b".\r\n..\r\n.x\r\n" * 200_000
    door = Recorder()
    async with serving(door, material) as (_, port):
        channel = await channel_to(port, secrets(pki_world), timeout_s=20)
        letter = Letter((delivery(1, "b@patient.example"),))
        assert [one.kind for one in await give(channel, letter, octets)] == [OutcomeKind.RELAYED]
        await channel.close()
    assert [taken for _, taken in door.letters] == [octets]


async def test_a_peer_that_says_no_in_the_middle_of_a_letter_is_heard(pki_world: Pki) -> None:
    context = TlsMaterial(pki_world.config("gip")).mx_server

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await dialogue(reader, writer, b"220 mx", b"250-mx\r\n250 STARTTLS", b"220 go")
        await writer.start_tls(context)
        await reader.readline()
        await dialogue(reader, writer, HELLO.replace(b"1000", b"0"), b"250 ok", b"250 ok", b"354 go")
        await reader.readexactly(1_000_000)
        writer.write(b"552 5.3.4 too large\r\n")
        await reader.read()

    async with scripted(script) as port:
        channel = await channel_to(port, secrets(pki_world))
        letter = Letter((delivery(),))
        [outcome] = await give(channel, letter, b"x" * 20_000_000 + b"\r\n")
    assert (outcome.kind, outcome.enhanced) == (OutcomeKind.PERMANENT, "5.3.4")
    assert not channel.alive


async def test_octets_that_came_before_tls_end_the_connection(pki_world: Pki) -> None:
    """Answers injected in clear must not be taken for the peer's own (RFC 3207 §4.2)."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await dialogue(reader, writer, b"220 mx", b"250-mx\r\n250 STARTTLS", b"220 go\r\n250 injected")
        await reader.read()

    async with scripted(script) as port:
        outcome = await open_to(port, secrets(pki_world))
    assert isinstance(outcome, Outcome)
    assert outcome.kind is OutcomeKind.TEMPORARY
