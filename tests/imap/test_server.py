"""A session's errors and ends: incidents, slow readers, memory, closing."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import structlog

from mss import log
from mss.errors import Conflict, Unavailable
from mss.imap import session as session_module
from mss.imap import stream as stream_module
from mss.imap.house import Memory
from mss.model.account import Box
from mss.services import mailbox
from tests.imap.imap_world import LETTER, World


def failing(error: Exception) -> Any:
    """Return a service that fails."""

    def service(*_args: object, **_kwargs: object) -> None:
        raise error

    return service


@pytest.mark.parametrize(
    ("error", "answer"),
    [
        (mailbox.LimitReached("x"), b"NO [LIMIT] A limit is reached"),
        (mailbox.NotPermitted("x"), b"NO [CANNOT] That cannot be done with this mailbox"),
    ],
)
async def test_errors_of_the_store_have_their_answers(
    world: World, inbox: Box, monkeypatch: pytest.MonkeyPatch, error: Exception, answer: bytes
) -> None:
    client = await world.session()
    monkeypatch.setattr(mailbox, "create", failing(error))
    assert await client.ask("CREATE x") == [answer]
    assert await client.ask("NOOP") == [b"OK Done"]


@pytest.mark.parametrize("error", [Unavailable("the disk is full"), Conflict("the disk is full")])
async def test_what_is_away_for_a_while_is_an_incident_with_its_reason(
    world: World,
    inbox: Box,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: Exception,
) -> None:
    log.configure(json=True)
    client = await world.session()
    monkeypatch.setattr(mailbox, "create", failing(error))
    answer = (await client.ask("CREATE x"))[-1].decode()
    assert answer.startswith("NO [UNAVAILABLE] Try again later, incident ")
    assert "disk" not in answer
    assert await client.ask("NOOP") == [b"OK Done"]
    told = capsys.readouterr().err
    structlog.reset_defaults()
    assert answer.rpartition(" ")[2] in told
    assert "the disk is full" in told


async def test_a_surprise_is_an_incident_and_the_session_goes_on(
    world: World, inbox: Box, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    log.configure(json=True)
    client = await world.session("INBOX")
    monkeypatch.setattr(mailbox, "status", failing(RuntimeError("secret of somebody@pro.example")))
    answer = (await client.ask("STATUS INBOX (MESSAGES)"))[-1].decode()
    assert answer.startswith("NO [UNAVAILABLE] Something went wrong here, incident ")
    assert "secret" not in answer
    assert await client.ask("NOOP") == [b"OK Done"]
    told = capsys.readouterr().err
    structlog.reset_defaults()
    assert answer.rpartition(" ")[2] in told
    assert "somebody@" not in told


async def test_commands_and_states_are_counted(world: World, inbox: Box) -> None:
    client = await world.session("INBOX")
    await client.ask("FETCH 1 FLAGS")
    await client.ask("LOGOUT")
    await client.close()
    await world.settled()
    assert world.count.commands == [("login", "OK"), ("select", "OK"), ("fetch", "BAD"), ("logout", "OK")]
    assert world.count.states == [
        ("", "not_authenticated"),
        ("not_authenticated", "authenticated"),
        ("authenticated", "selected"),
        ("selected", "authenticated"),
        ("authenticated", "logout"),
        ("logout", ""),
    ]
    assert world.count.closed == ["logout"]


async def test_a_client_that_vanishes_leaves_nothing(world: World, inbox: Box) -> None:
    client = await world.session("INBOX")
    client.send(b"i IDLE\r\n")
    assert await client.line() == b"+ Idling"
    client.writer.transport.abort()
    await world.settled()
    assert world.count.closed == ["lost"]


async def test_closing_says_bye_to_idle_and_waiting_sessions(world: World, inbox: Box) -> None:
    idle, waiting = await world.session("INBOX"), await world.session()
    idle.send(b"i IDLE\r\n")
    assert await idle.line() == b"+ Idling"
    closing = asyncio.create_task(world.server.close(5))
    for client in (idle, waiting):
        assert await client.line() == b"* BYE Server is closing, come back soon"
        assert await client.line() == b""
        await client.close()
    await closing
    assert world.server.sessions == 0


async def test_a_slow_reader_is_cut_off(world: World, inbox: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_module, "WRITE_TIMEOUT_S", 0.2)
    await world.deliver(inbox, LETTER + b"x" * 990 + b"\r\n" + b"y" * 70 * 100_000)
    client = await world.session("INBOX")
    client.writer.transport.pause_reading()  # type: ignore[attr-defined]
    client.send(b"a FETCH 1 BODY.PEEK[]\r\n")
    other = await world.session("INBOX")
    assert (await other.ask("FETCH 1 FLAGS"))[0] == b"* 1 FETCH (FLAGS ())"
    await other.ask("LOGOUT")
    await other.close()
    await world.settled()
    assert sorted(world.count.closed) == ["logout", "slow"]


async def test_a_client_that_writes_without_reading_answers_is_not_read_any_further(world: World, inbox: Box) -> None:
    """Octets of pipelined commands wait in the socket, not in our memory."""
    client = await world.session()
    stream = next(iter(world.server._sessions)).stream
    client.send(b'a ID ("name" "%b")\r\n' % (b"x" * 4000) * 1000)
    highest = 0
    answers = 0
    while answers < 2000:
        async with asyncio.timeout(20):
            answers += (await client.reader.read(1 << 16)).count(b"\n")
        highest = max(highest, stream.wire.pending)
    assert highest < 1 << 20


async def test_memory_for_large_letters_is_shared() -> None:
    memory = Memory(100)
    assert await memory.take(60, 1)
    assert not await memory.take(50, 0)
    waiting = asyncio.create_task(memory.take(50, 5))
    await asyncio.sleep(0)
    memory.give(60)
    assert await waiting


async def test_without_memory_a_large_letter_is_refused(
    world: World, inbox: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_module, "_MEMORY_TIMEOUT_S", 0)
    client = await world.session()
    memory = world.server.house.memory
    taken = memory._free
    assert await memory.take(taken, 1)
    assert await client.append("INBOX", b"x" * 70_000) == b"NO [UNAVAILABLE] Too many letters at once, try again"
    assert await client.ask("NOOP") == [b"OK Done"]
    memory.give(taken)
    assert (await client.append("INBOX", b"x" * 70_000)).startswith(b"OK")
    assert memory._free == taken
