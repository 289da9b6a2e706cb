"""What clients bring is looked at by the antivirus before it is kept: APPEND, MULTIAPPEND, REPLACE."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mss.clamd import Clamd
from mss.config import AntivirusConfig
from mss.errors import Unavailable
from mss.model.account import Box
from mss.model.screening import Screening, Verdict
from mss.screening import Screen
from tests.imap.imap_world import LETTER, Client, World

BAD = LETTER + b"BAD"
HARMFUL = b"NO [CANNOT] Our antivirus found something harmful. Clean your system and send it again. (content.infected)"
SILENT = b"NO [UNAVAILABLE] Our antivirus does not answer now. Try again later. (content.not-scanned)"


class Scripted(Clamd):
    """An antivirus that finds the word BAD, and answers while it is asked to."""

    def __init__(self) -> None:
        super().__init__(AntivirusConfig(clamd="/nowhere"))
        self.answers = True
        self.heard: list[bytes] = []

    async def scan(self, octets: bytes) -> Screening:
        if not self.answers:
            raise Unavailable("the antivirus is silent")
        self.heard.append(octets)
        return Screening(Verdict.INFECTED, "Test") if b"BAD" in octets else Screening(Verdict.CLEAN)


@pytest.fixture
def clamd(world: World) -> Scripted:
    found = Scripted()
    world.server.house = replace(world.server.house, screen=Screen(found))
    return found


async def messages(client: Client, name: str = "INBOX") -> bytes:
    """Return what STATUS says of a mailbox."""
    return (await client.ask(f"STATUS {name} (MESSAGES UIDNEXT)"))[0]


def several(*letters: bytes) -> bytes:
    """Return the letters of one APPEND."""
    return b"APPEND INBOX" + b"".join(b" {%d+}\r\n%b" % (len(one), one) for one in letters)


async def test_what_is_infected_is_not_kept(world: World, inbox: Box, clamd: Scripted) -> None:
    client = await world.session("INBOX")
    before = await messages(client)
    assert await client.append("INBOX", BAD) == HARMFUL
    # One of several spoils all, and the connection goes on.
    assert await client.ask(several(LETTER, BAD, LETTER)) == [HARMFUL]
    assert await messages(client) == before
    assert (await client.append("INBOX", LETTER)).startswith(b"OK [APPENDUID")
    assert await client.ask(b"REPLACE 1 INBOX {%d+}\r\n%b" % (len(BAD), BAD)) == [HARMFUL]
    assert (await client.ask("FETCH 1 RFC822.SIZE"))[0] == b"* 1 FETCH (RFC822.SIZE %d)" % len(LETTER)


async def test_silence_of_the_antivirus_is_temporary(world: World, inbox: Box, clamd: Scripted) -> None:
    client = await world.session("INBOX")
    assert (await client.append("INBOX", LETTER)).startswith(b"OK")
    clamd.answers = False
    assert await client.append("INBOX", LETTER) == SILENT
    assert await client.ask(several(LETTER, LETTER)) == [SILENT]
    assert await client.ask(b"REPLACE 1 INBOX {%d+}\r\n%b" % (len(LETTER), LETTER)) == [SILENT]
    # What is in the house already is not brought in: nothing else waits for the antivirus.
    assert (await client.ask("COPY 1 Archive"))[-1].startswith(b"OK [COPYUID")
    clamd.answers = True
    assert (await client.ask(several(LETTER, LETTER)))[-1].startswith(b"OK [APPENDUID")
    assert await messages(client) == b"* STATUS INBOX (MESSAGES 3 UIDNEXT 4)"


async def test_the_antivirus_sees_the_octets_as_the_client_sent_them(world: World, inbox: Box, clamd: Scripted) -> None:
    client = await world.session()
    octets = LETTER.replace(b"\r\n\r\n", b"\r\nContent-Transfer-Encoding: binary\r\n\r\n") + b"\0\1"
    assert (await client.ask(b"APPEND INBOX ~{%d+}\r\n%b" % (len(octets), octets)))[-1].startswith(b"OK")
    assert clamd.heard == [octets]
