"""interimap, a QRESYNC client, keeps a mailbox here and one of Dovecot the same while both change."""

from __future__ import annotations

import asyncio
import random
import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from mss.model.account import Box
from tests.imap.dovecot import Dovecot, command_of
from tests.imap.imap_world import DOCTOR, LETTER, NESTED, PASSWORD, Client, World

pytestmark = pytest.mark.journey

PATIENCE_S = 60


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that Dovecot, as nobody, can reach."""
    with tempfile.TemporaryDirectory(prefix="mss-interimap-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


async def sync(folder: Path) -> None:
    """Run interimap once."""
    program = shutil.which("interimap")
    assert program is not None, "interimap is missing: apt-get install interimap"
    process = await asyncio.create_subprocess_exec(
        program, "--quiet", f"--config={folder}/interimap.conf", "INBOX",
        env=dict.fromkeys(("HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"), str(folder)) | {"PATH": "/usr/bin:/bin"},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    async with asyncio.timeout(PATIENCE_S):
        told, _ = await process.communicate()
    assert process.returncode == 0, told.decode()


def configure(folder: Path, world: World, port: int, command: str) -> None:
    """Write interimap's configuration: Dovecot on a pipe is local, we are remote."""
    # interimap gives its child a socket, which Dovecot takes for inetd's; between two pipes it serves.
    (folder / "serve").write_text(f"#!/bin/sh\ncat | {command} | cat\n")
    (folder / "serve").chmod(0o755)
    (folder / "interimap.conf").write_text(
        f"database = {folder}/interimap.db\nlist-mailbox = INBOX\n[local]\ntype = tunnel\ncommand = {folder}/serve\n"
        f"null-stderr = YES\n[remote]\ntype = imaps\nhost = localhost\nport = {port}\nusername = {DOCTOR}\n"
        f"password = {PASSWORD}\nSSL_CAfile = {world.config.root}/authority/ca.pem\nSSL_hostname =\n"
    )
    (folder / "interimap.conf").chmod(0o600)


async def letters(client: Client | Dovecot) -> list[bytes]:
    """Return size and flags of each letter, in an order that both sides share."""
    await client.ask("SELECT INBOX")
    told = await client.ask("FETCH 1:* (RFC822.SIZE FLAGS)")
    found = [line for line in told[:-1] if b" FETCH " in line]
    return sorted(_facts(line.partition(b" FETCH ")[2].replace(b"\\Recent", b"")) for line in found)


def _facts(told: bytes) -> bytes:
    return b" ".join(sorted(told.replace(b"(", b" ").replace(b")", b" ").split()))


async def test_interimap_keeps_both_sides_the_same(world: World, inbox: Box, folder: Path) -> None:
    bound = socket.create_server(("127.0.0.1", 0))
    await world.server.listen([bound], implicit_tls=True)
    configure(folder, world, bound.getsockname()[1], command_of(folder))
    dice = random.Random(4)
    for number in range(6):
        await world.deliver(inbox, LETTER.replace(b"Bonjour", b"Bonjour" + b"!" * number))
    await sync(folder)
    for turn in range(6):
        ours, theirs = await world.session("INBOX"), await Dovecot.start(folder)
        assert await letters(ours) == await letters(theirs), turn
        for side in (ours, theirs):
            for _ in range(3):
                flag, sign = dice.choice(("\\Seen", "\\Flagged", "\\Answered")), dice.choice("+-")
                await side.ask(f"STORE {dice.randrange(1, 4)} {sign}FLAGS.SILENT ({flag})")
            if dice.random() < 0.6:
                await side.ask(f"STORE {dice.randrange(1, 3)} +FLAGS.SILENT (\\Deleted)")
                await side.ask("EXPUNGE")
        await ours.close()
        await theirs.ask("APPEND INBOX", NESTED + b"x" * turn + b"\r\n")
        await theirs.close()
        await world.deliver(inbox, LETTER + b"y" * turn + b"\r\n")
        await sync(folder)
    await sync(folder)
    assert await letters(await world.session("INBOX")) == await letters(await Dovecot.start(folder))
