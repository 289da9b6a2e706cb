"""CATENATE: Debian's Dovecot puts the same letters together, and refuses the same URLs."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

import pytest

from mss.model.account import Box
from tests.imap.dovecot import Dovecot
from tests.imap.imap_world import LETTER, NESTED, Client, World

pytestmark = pytest.mark.journey

PATHS = [
    "/INBOX/;UID=1", "/INBOX/;UID=2", "/INBOX/;UID=2/;SECTION=1", "/INBOX/;UID=2/;SECTION=2.HEADER",
    "/INBOX/;UID=2/;SECTION=2.TEXT", "/INBOX/;UID=2/;SECTION=3.MIME", "/INBOX/;UID=1/;SECTION=HEADER",
    "/INBOX/;UID=1/;SECTION=TEXT", "/INBOX/;UID=2/;SECTION=HEADER.FIELDS%20(Subject%20From)",
    "/INBOX/;UID=1/;PARTIAL=3.9", "/INBOX/;UID=1/;PARTIAL=31", "/INBOX/;UID=2/;SECTION=1/;PARTIAL=2.4",
    ";UID=1", ";UID=2/;SECTION=3",
    # These name nothing.
    "/INBOX/;UID=9", "/Nowhere/;UID=1", "/INBOX;UIDVALIDITY=1/;UID=1", "/INBOX/;UID=2/;SECTION=7", "nonsense",
    "imap://elsewhere.example/INBOX/;UID=1", "/INBOX/;UID=1/;SECTION=NONE",
]  # fmt: skip

# What differs, and why that is so.
DIFFERENT = {
    "/INBOX/;UID=2/;SECTION=7": "a part that is not there is empty there; here such a URL names nothing",
    "nonsense": "refused by both; there without the code that says which URL it was",
    "/INBOX/;UID=1/;SECTION=NONE": "refused by both; there without the code that says which URL it was",
}


async def made(session: Client | Dovecot, path: str) -> tuple[bytes, list[bytes]]:
    """Return how a letter with what a URL names was taken, and what came of it."""
    answer = (await session.ask(f'APPEND INBOX CATENATE (TEXT {{8+}}\r\na: b\r\n\r\n URL "{path}" TEXT {{1+}}\r\n.)'))[
        -1
    ]
    kind = re.sub(rb"(APPENDUID|BADURL)[^\]]*", rb"\1", answer.partition(b"]")[0])
    if not kind.startswith(b"OK"):
        return kind, []
    told = await session.ask("UID FETCH * BODY.PEEK[]")
    return kind, [line.partition(b"BODY[]")[2] for line in told if b"BODY[]" in line]


async def test_dovecot_puts_the_same_together(world: World, inbox: Box) -> None:
    with tempfile.TemporaryDirectory(prefix="mss-oracle-") as folder:
        client, peer = await world.session(), await Dovecot.start(Path(folder))
        for letter in (LETTER, NESTED):
            assert (await client.append("INBOX", letter)).startswith(b"OK")
            assert (await peer.ask("APPEND INBOX", letter))[-1].startswith(b"OK")
        different = {}
        for session in (client, peer):
            await session.ask("SELECT INBOX")
        for path in PATHS:
            ours, theirs = await made(client, path), await made(peer, path)
            if ours != theirs:
                different[path] = ours, theirs
        await peer.close()
    assert different.keys() == DIFFERENT.keys(), different
