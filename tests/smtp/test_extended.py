"""CHUNKING and REQUIRETLS over a real socket. Each test is a transcript; a chunk never becomes a command."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from mss.config import Limits
from mss.smtp import reply
from mss.smtp.reply import Reply
from mss.smtp.server import Server
from mss.smtp.session import Listener
from mss.tls import TlsMaterial
from tests.smtp.smtp_world import LETTER, Pki, Recorder, Talk, connected, serving

pytestmark = pytest.mark.journey

BEGIN = b"MAIL FROM:<a@chu.example>\r\nRCPT TO:<b@patient.example>\r\n"
EVIL = b"MAIL FROM:<evil@chu.example>\r\nRCPT TO:<b@patient.example>\r\nDATA\r\nevil\r\n.\r\n"


@asynccontextmanager
async def talking(
    material: TlsMaterial, pki_world: Pki, door: Recorder, **limits: int
) -> AsyncIterator[tuple[Talk, Server]]:
    async with serving(door, material, limits=replace(Limits(), **limits)) as (server, port), connected(port) as talk:
        await talk.hello(pki_world.client("chu"))
        yield talk, server


def bdat(chunk: bytes, *, last: bool = False) -> bytes:
    return b"BDAT %d%b\r\n%b" % (len(chunk), b" LAST" if last else b"", chunk)


async def told(talk: Talk, count: int) -> list[str]:
    return [(await talk.reply())[:9].strip() for _ in range(count)]


async def test_a_letter_in_one_chunk(material: TlsMaterial, pki_world: Pki) -> None:
    door = Recorder()
    async with talking(material, pki_world, door) as (talk, _):
        await talk.send((BEGIN + bdat(LETTER, last=True)) * 2 + b"QUIT\r\n")
        assert await told(talk, 7) == ["250 2.1.0", "250 2.1.5", "250 2.0.0"] * 2 + ["221 2.0.0"]
    assert [octets for _, octets in door.letters] == [LETTER, LETTER]


async def test_a_letter_in_many_chunks_of_any_size(material: TlsMaterial, pki_world: Pki) -> None:
    door = Recorder()
    chunks = [LETTER[at : at + 7] for at in range(0, len(LETTER), 7)]
    async with talking(material, pki_world, door) as (talk, _):
        await talk.send(BEGIN)
        assert await told(talk, 2) == ["250 2.1.0", "250 2.1.5"]
        for chunk in chunks:
            await talk.send(bdat(chunk))
            assert await talk.reply() == "250 2.0.0 Chunk received"
            assert (await talk.say(b"NOOP")).startswith("250")
        assert await talk.say(b"BDAT 0 LAST") == "250 2.0.0 OK"
        assert (await talk.letter()).startswith("250")
    assert [octets for _, octets in door.letters] == [LETTER, LETTER]


async def test_dots_and_end_marks_are_ordinary_octets(material: TlsMaterial, pki_world: Pki) -> None:
    letter = b".\r\n..\r\nx\r\n.\r\n" + EVIL
    door = Recorder()
    async with talking(material, pki_world, door) as (talk, _):
        await talk.send(BEGIN + bdat(letter, last=True))
        assert await told(talk, 3) == ["250 2.1.0", "250 2.1.5", "250 2.0.0"]
    assert [octets for _, octets in door.letters] == [letter]


async def test_bdat_and_data_are_not_mixed(material: TlsMaterial, pki_world: Pki) -> None:
    door = Recorder()
    async with talking(material, pki_world, door) as (talk, _):
        await talk.send(BEGIN + bdat(LETTER[:9]))
        await told(talk, 3)
        for line in (b"DATA", b"RCPT TO:<c@patient.example>", b"MAIL FROM:<a@chu.example>"):
            assert await talk.say(line) == "503 5.5.1 Bad sequence of commands"
        await talk.send(bdat(LETTER[9:], last=True))
        assert await talk.reply() == "250 2.0.0 OK"
    [(envelope, octets)] = door.letters
    assert (len(envelope.recipients), octets) == (1, LETTER)


REFUSALS = {
    "no transaction": (b"", {}, "503 5.5.1"),
    "no recipient": (b"MAIL FROM:<a@chu.example>\r\n", {}, "554 5.5.1"),
    "sender refused": (b"MAIL FROM:<a@chu.example>\r\n", {"mail": Reply(550, "5.7.1", "no")}, "503 5.5.1"),
    "all recipients refused": (BEGIN, {"rcpt": Reply(550, "5.1.1", "no")}, "554 5.5.1"),
}


@pytest.mark.parametrize("case", REFUSALS.values(), ids=REFUSALS)
@pytest.mark.parametrize("last", [False, True])
async def test_a_refused_chunk_is_still_consumed(
    material: TlsMaterial, pki_world: Pki, case: tuple[bytes, dict[str, Reply | Exception], str], last: bool
) -> None:
    """go-smtp #315: what a client sends in chunks without waiting must never be read as commands."""
    before, answers, expected = case
    door = Recorder(answers=answers)
    async with talking(material, pki_world, door) as (talk, _):
        await talk.send(before + bdat(EVIL, last=last) + b"NOOP\r\n")
        said = await told(talk, before.count(b"\r\n") + 2)
        assert said[-2:] == [expected, "250 2.0.0"]
        door.answers = {}
        assert (await talk.say(b"RSET")).startswith("250")
        assert (await talk.letter()).startswith("250")
    assert [octets for _, octets in door.letters] == [LETTER]


async def test_chunks_after_a_refused_one_are_consumed_and_refused(material: TlsMaterial, pki_world: Pki) -> None:
    door = Recorder()
    async with talking(material, pki_world, door, message_max_octets=50) as (talk, _):
        await talk.send(BEGIN + bdat(b"x" * 51) + bdat(EVIL) + bdat(EVIL, last=True) + b"NOOP\r\n")
        assert await told(talk, 6) == ["250 2.1.0", "250 2.1.5", "552 5.3.4", "503 5.5.1", "503 5.5.1", "250 2.0.0"]
        assert (await talk.letter()).startswith("250")
    assert len(door.letters) == 1


@pytest.mark.parametrize(("first", "second", "answer"), [(49, 0, "250"), (24, 26, "250"), (25, 26, "552 5.3.4")])
async def test_the_letter_has_a_limit_whatever_its_chunks(
    material: TlsMaterial, pki_world: Pki, first: int, second: int, answer: str
) -> None:
    door = Recorder()
    async with talking(material, pki_world, door, message_max_octets=50) as (talk, server):
        await talk.send(BEGIN + bdat(b"x" * first) + bdat(b"x" * second, last=True))
        await told(talk, 3)
        assert (await talk.reply()).startswith(answer)
        assert server._house.spool.memory._free == Limits().smtp_memory_max_octets


@pytest.mark.parametrize("end", [b"RSET\r\n", b"EHLO again.example\r\n", b"QUIT\r\n"])
async def test_chunks_that_come_to_no_letter_hold_no_memory(material: TlsMaterial, pki_world: Pki, end: bytes) -> None:
    door = Recorder()
    async with talking(material, pki_world, door) as (talk, server):
        free = server._house.spool.memory._free
        await talk.send(BEGIN + bdat(LETTER))
        await told(talk, 3)
        assert server._house.spool.memory._free == free - len(LETTER)
        await talk.send(end)
        await talk.reply()
        if end.startswith(b"QUIT"):
            assert await talk.ended()
            async with asyncio.timeout(30):
                while server.connections:
                    await asyncio.sleep(0)
        assert server._house.spool.memory._free == free
    assert not door.letters


async def test_a_connection_that_breaks_in_a_chunk_leaves_nothing(material: TlsMaterial, pki_world: Pki) -> None:
    door = Recorder()
    async with talking(material, pki_world, door) as (talk, server):
        free = server._house.spool.memory._free
        await talk.send(BEGIN + b"BDAT 1000 LAST\r\nhalf of it")
        await told(talk, 2)
        talk.writer.transport.abort()
        async with asyncio.timeout(30):
            while server.connections:
                await asyncio.sleep(0)
        assert server._house.spool.memory._free == free
    assert not door.letters


async def test_too_little_memory_defers_and_the_chunk_is_consumed(material: TlsMaterial, pki_world: Pki) -> None:
    door = Recorder()
    async with talking(material, pki_world, door) as (talk, server):
        server._house.spool.memory.take(server._house.spool.memory._free - 10)
        server._house.spool.disk.take(server._house.spool.disk._free)
        await talk.send(BEGIN + bdat(EVIL) + bdat(EVIL, last=True) + b"NOOP\r\n")
        assert await told(talk, 5) == ["250 2.1.0", "250 2.1.5", "452 4.3.1", "503 5.5.1", "250 2.0.0"]
        assert server._house.spool.memory._free == 10
    assert not door.letters


@pytest.mark.parametrize("form", [b"a\nb\r\n", b"a\rb\r\n", b"a\0\r\n", b"a\r\n.\r\r\n", b"a\r\n\0.\r\n"], ids=repr)
async def test_binary_octets_are_refused_as_with_data(material: TlsMaterial, pki_world: Pki, form: bytes) -> None:
    """BINARYMIME is not offered: what could be smuggled onward by DATA never comes in."""
    door = Recorder()
    async with talking(material, pki_world, door) as (talk, _):
        assert await talk.say(b"MAIL FROM:<a@chu.example> BODY=BINARYMIME") == "501 5.5.4 Bad argument"
        await talk.send(BEGIN + bdat(LETTER) + bdat(form, last=True))
        assert await told(talk, 4) == ["250 2.1.0", "250 2.1.5", "250 2.0.0", "550 5.6.0"]
        assert (await talk.letter()).startswith("250")
    assert len(door.letters) == 1


@pytest.mark.parametrize("argument", [b"", b"LAST", b"-1", b"1000000000000", b"10 FIRST", b"0x10"])
async def test_a_chunk_whose_end_nobody_knows_ends_the_connection(
    material: TlsMaterial, pki_world: Pki, argument: bytes
) -> None:
    door = Recorder()
    async with talking(material, pki_world, door) as (talk, _):
        await talk.send(BEGIN + b"BDAT " + argument + b"\r\n" + EVIL)
        assert await told(talk, 3) == ["250 2.1.0", "250 2.1.5", "501 5.5.4"]
        assert await talk.ended()
    assert not door.letters


async def test_a_chunk_in_clear_ends_the_connection(material: TlsMaterial) -> None:
    door = Recorder()
    async with serving(door, material) as (_, port), connected(port) as talk:
        await talk.reply()
        assert "CHUNKING" not in await talk.say(b"EHLO client.example")
        await talk.send(bdat(b"STARTTLS\r\n", last=True))
        assert await talk.reply() == "530 5.7.0 Must issue a STARTTLS command first"
        assert await talk.ended()


@pytest.mark.parametrize(("octets", "ended"), [(1023, True), (1024, False)])
async def test_small_chunks_count_as_commands_and_larger_ones_as_progress(
    material: TlsMaterial, pki_world: Pki, octets: int, ended: bool
) -> None:
    door = Recorder()
    async with talking(material, pki_world, door, smtp_commands_max=5) as (talk, _):
        await talk.send(BEGIN + bdat(b"x" * octets) * 5)
        said = await told(talk, 5 if ended else 7)
        assert said[-1] == ("421 4.7.0" if ended else "250 2.0.0")


async def test_a_letter_in_chunks_is_announced_to_submission_too(material: TlsMaterial, pki_world: Pki) -> None:
    door = Recorder(listener=Listener.SUBMISSION, mechanisms=("PLAIN",))
    async with serving(door, material) as (_, port), connected(port) as talk:
        hello = await talk.hello(pki_world.client(None))
        assert {"CHUNKING", "REQUIRETLS"} <= {line[4:] for line in hello.split("\n")}


async def test_requiretls_is_offered_after_tls_only_and_kept(material: TlsMaterial, pki_world: Pki) -> None:
    door = Recorder()
    async with serving(door, material) as (_, port), connected(port) as talk:
        await talk.reply()
        assert "REQUIRETLS" not in await talk.say(b"EHLO client.example")
        await talk.starttls(pki_world.client("chu"))
        assert "REQUIRETLS" in await talk.say(b"EHLO client.example")
        await talk.send(BEGIN.replace(b"example>\r\nRCPT", b"example> REQUIRETLS\r\nRCPT") + bdat(LETTER, last=True))
        assert (await told(talk, 3))[-1] == "250 2.0.0"
        assert await talk.letter() == reply.OK.encode().decode().strip()
    assert [envelope.require_tls for envelope, _ in door.letters] == [True, False]
