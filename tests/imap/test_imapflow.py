"""imapflow, the client of most robots written for Node, lives in the mailbox: one visit, and a copy kept by QRESYNC.

What it is comes from `tests/imap/npm/package-lock.json`; `tools/packages` fetches it.
"""

from __future__ import annotations

import asyncio
import json
import random
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest

from mss.services import mailbox
from mss.services.mailbox import Columns
from tests.imap.imap_world import DOCTOR, LETTER, NESTED, NOW, PASSWORD
from tests.imap.test_clients import Reached, needed, reached
from tests.imap.test_more_clients import NUMBER, change_here, numbered

__all__ = ["reached"]

# Its packages come from npm, which not every machine reaches: for the long runs.
pytestmark = [pytest.mark.journey, pytest.mark.soak]

HERE = Path(__file__).parent / "npm"
ALL = ((1, 1_000_000),)
PATIENCE_S = 30


class Flow:
    """One run of imapflow."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def start(cls, reached: Reached, what: str, **orders: Any) -> Flow:
        """Let it do something; without it the test fails with the line to type."""
        assert (HERE / "node_modules" / "imapflow").is_dir(), "imapflow is missing: tools/packages"
        process = await asyncio.create_subprocess_exec(
            needed("node", "nodejs"), str(HERE / "imapflow.cjs"), what,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        orders |= {"port": reached.tls_port, "user": DOCTOR, "pass": PASSWORD, "ca": str(reached.ca_file)}
        assert process.stdin is not None
        process.stdin.write(json.dumps(orders).encode())
        process.stdin.close()
        return cls(process)

    async def says(self) -> dict[str, Any]:
        """Return the next thing that it says."""
        assert self._process.stdout is not None
        async with asyncio.timeout(PATIENCE_S):
            line = await self._process.stdout.readline()
        return dict(json.loads(line)) if line else await self._fault()

    async def _fault(self) -> dict[str, Any]:
        assert self._process.stderr is not None
        raise AssertionError((await self._process.stderr.read()).decode())

    async def ends(self) -> None:
        """Wait until it has signed off."""
        async with asyncio.timeout(PATIENCE_S):
            if await self._process.wait():
                await self._fault()


def coded(octets: bytes) -> str:
    return b64encode(octets).decode("ascii")


async def test_imapflow_visits(reached: Reached) -> None:
    flow = await Flow.start(reached, "visit", letter=coded(LETTER))
    assert {"CONDSTORE", "QRESYNC", "UTF8=ACCEPT", "IMAP4REV2"} <= set((await flow.says())["enabled"])
    listed = (await flow.says())["list"]
    assert ["INBOX", "\\Inbox", 2] in listed
    assert ["Sent", "\\Sent", 0] in listed
    assert await flow.says() == {"exists": 2, "condstore": True}
    plain, nested = (await flow.says())["letters"]
    assert plain == {"subject": "Resultats", "parts": [], "size": len(LETTER), "source": coded(LETTER), "named": True}
    assert nested["subject"] == "Compte rendu d'échographie"
    assert nested["parts"] == ["text/plain", "message/rfc822", "application/pdf"]
    assert nested["source"] == coded(NESTED)
    assert await flow.says() == {"attachment": "%PDF"}
    assert await flow.says() == {"found": [2]}
    assert await flow.says() == {"appended": 1}
    assert await flow.says() == {"moved": [[2, 1]]}
    assert await flow.says() == {"idling": True}
    await reached.world.deliver(reached.box)
    assert await flow.says() == {"told": [1, 2]}
    assert "quota" in await flow.says()
    await flow.ends()
    read = reached.world.store.read
    for name, letters in (("INBOX", 2), ("Été", 1), ("Sent", 1)):
        found = await read(mailbox.find, reached.box.id, name, NOW)
        assert (await read(mailbox.status, found.id, NOW)).messages == letters, name
    sent = await read(mailbox.find, reached.box.id, "Sent", NOW)
    (row,) = await read(mailbox.rows, sent.id, ALL, Columns.PLAIN, NOW)
    assert mailbox.flag_names(sent.keywords, row.flags) == ("\\Seen", "$Envoye")
    assert "incident" not in reached.world.count.closed


async def truth(reached: Reached) -> list[tuple[int, str, list[str]]]:
    """Return UID, subject and flags of each letter of the inbox, as the store has them."""
    read, found = reached.world.store.read, []
    inbox = await read(mailbox.find, reached.box.id, "INBOX", NOW)
    for row in await read(mailbox.rows, inbox.id, ALL, Columns.PLAIN, NOW):
        head = await read(mailbox.octets, inbox.id, row.object_id, 0, 300, NOW)
        match = NUMBER.search(head)
        assert match is not None
        found.append((row.uid, f"n{match.group(1).decode()}", sorted(mailbox.flag_names(inbox.keywords, row.flags))))
    return found


def done_to_the_copy(letters: list[list[Any]], dice: random.Random, new: int) -> dict[str, Any]:
    """Return what somebody did to a copy: flags, a letter thrown away, a new one."""
    uids = [uid for uid, _, _ in letters]
    flagged = [(uid, sorted(dice.sample(("\\Seen", "\\Flagged", "$Vu"), 2))) for uid in dice.sample(uids, 2)]
    return {"flagged": flagged, "deleted": dice.sample(uids, 1), "written": [coded(numbered(new))]}


async def test_imapflow_keeps_a_copy_the_same_both_ways(reached: Reached) -> None:
    client = await reached.world.session("INBOX")
    await client.ask("STORE 1:* +FLAGS.SILENT (\\Deleted)")
    await client.ask("EXPUNGE")
    dice = random.Random(5)
    for number in range(8):
        await reached.world.deliver(reached.box, numbered(number))
    state: dict[str, Any] = {"letters": []}
    nothing: dict[str, Any] = {"flagged": [], "deleted": [], "written": []}
    for turn in range(5):
        done = done_to_the_copy(state["letters"], dice, 100 + turn) if turn else nothing
        flow = await Flow.start(reached, "sync", state=state, done=done)
        await change_here(client, reached, dice, 200 + turn)  # While imapflow signs in and works.
        state = await flow.says()
        await flow.ends()
        assert state["resynced"] is bool(turn)
    flow = await Flow.start(reached, "sync", state=state, done=nothing)
    state = await flow.says()
    await flow.ends()
    assert sorted(tuple(letter) for letter in state["letters"]) == await truth(reached)
    assert {"n104", "n204"} <= {subject for _, subject, _ in state["letters"]}
