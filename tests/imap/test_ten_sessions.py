"""Ten sessions on one mailbox: what each is told keeps it equal to the store, whatever the others do.

Each client believes only what untagged responses say, numbers included. Attachments mixed up between sessions because
sequence numbers were shared (hMailServer #458) would show at once: every FETCH names a UID, and a number that stood
for another letter is found.
"""

from __future__ import annotations

import asyncio
import random
import re
from dataclasses import dataclass, field

import pytest

from mss.model.account import Box
from mss.services import mailbox
from mss.services.mailbox import Columns
from tests.imap.imap_world import NOW, Client, World

pytestmark = pytest.mark.slow

_FETCH = re.compile(rb"\* (\d+) FETCH \(UID (\d+) FLAGS \(([^)]*)\)\)")
_NUMBER = re.compile(rb"\* (\d+) (EXISTS|EXPUNGE)")
_FLAGS = (b"\\Seen", b"\\Flagged", b"\\Deleted", b"$One", b"$Two")


def letter(number: int) -> bytes:
    """Return a letter that is like no other."""
    return b"Subject: %d\r\nMessage-ID: <%d@pro.example>\r\n\r\n%b\r\n" % (number, number, b"x" * (number % 50))


@dataclass
class Belief:
    """What one client believes: UID (None: not told yet) and flags of each number."""

    client: Client
    letters: list[tuple[int | None, frozenset[bytes] | None]] = field(default_factory=list)

    async def ask(self, command: bytes) -> bytes:
        """Send a command and take in what is told; returns the answer."""
        if b".SILENT" in command:
            # What was stored silently is known only by asking again.
            self.letters = [(uid, None) for uid, _ in self.letters]
        *told, answer = await self.client.ask(command)
        for line in told:
            self.take(line)
        assert answer.partition(b" ")[0] in (b"OK", b"NO"), (command, answer)
        assert b"incident" not in answer, (command, answer)
        return answer

    def take(self, line: bytes) -> None:
        """Believe one untagged response."""
        if match := _NUMBER.match(line):
            number = int(match.group(1))
            if match.group(2) == b"EXPUNGE":
                del self.letters[number - 1]
            else:
                assert number >= len(self.letters), line
                self.letters.extend([(None, None)] * (number - len(self.letters)))
        elif match := _FETCH.match(line):
            number, uid = int(match.group(1)), int(match.group(2))
            before = self.letters[number - 1][0]
            assert before in (None, uid), (line, before)
            self.letters[number - 1] = (uid, frozenset(match.group(3).split()))

    async def settle(self) -> list[tuple[int, frozenset[bytes]]]:
        """Catch up, ask for what is not known, and return everything."""
        await self.ask(b"NOOP")
        for number, (uid, flags) in enumerate(self.letters, 1):
            if uid is None or flags is None:
                await self.ask(b"FETCH %d (UID FLAGS)" % number)
        return [(uid, flags) for uid, flags in self.letters if uid is not None and flags is not None]


def command(dice: random.Random, size: int, fresh: int) -> bytes:
    """Return something that changes or reads a mailbox of so many letters."""
    number, flag = dice.randint(1, max(1, size)), dice.choice(_FLAGS)
    span = b"%d:%d" % (number, dice.randint(1, max(1, size)))
    new = b"{%d+}\r\n%b" % (len(letter(fresh)), letter(fresh))
    other = b"{%d+}\r\n%b" % (len(letter(fresh + 1)), letter(fresh + 1))
    choices = [
        b"STORE %b +FLAGS (%b)" % (span, flag), b"STORE %d -FLAGS (%b)" % (number, flag),
        b"STORE %d FLAGS (%b %b)" % (number, flag, dice.choice(_FLAGS)),
        b"UID STORE %d:* +FLAGS.SILENT (%b)" % (dice.randint(1, 200), flag),
        b"COPY %d INBOX" % number, b"COPY %b Archive" % span, b"MOVE %d Archive" % number, b"MOVE %d INBOX" % number,
        b"EXPUNGE", b"UID EXPUNGE %b" % span, b"APPEND INBOX (%b) %b" % (flag, new), b"APPEND INBOX %b" % new,
        b"APPEND INBOX %b (%b) %b" % (new, flag, other), b"REPLACE %d INBOX (%b) %b" % (number, flag, new),
        b"NOOP", b"FETCH %b (UID FLAGS)" % span, b"SEARCH KEYWORD $One",
    ]  # fmt: skip
    return dice.choice(choices)


async def play(world: World, inbox: Box, seed: int, sessions: int, rounds: int) -> None:
    """Let sessions do at random what they can, all at once; at the end all believe what the store says."""
    beliefs = [Belief(await world.session()) for _ in range(sessions)]
    for belief in beliefs:
        await belief.ask(b"SELECT INBOX")

    async def act(index: int, belief: Belief) -> None:
        dice = random.Random(f"{seed} {index}")
        for turn in range(rounds):
            size = len(belief.letters)
            asked = command(dice, size, (seed * 1000 + index) * 10_000 + 2 * turn)
            if size or asked.startswith((b"APPEND", b"NOOP", b"SEARCH", b"EXPUNGE")):
                await belief.ask(asked)

    await asyncio.gather(*(act(index, belief) for index, belief in enumerate(beliefs)))
    found = await world.store.read(mailbox.find, inbox.id, "INBOX", NOW)
    rows = await world.store.read(mailbox.rows, found.id, ((1, 1 << 31),), Columns.PLAIN, NOW)
    truth = [
        (row.uid, frozenset(name.encode() for name in mailbox.flag_names(found.keywords, row.flags))) for row in rows
    ]
    for belief in beliefs:
        assert await belief.settle() == truth
    usage = await world.store.read(lambda uow: uow.quotas.usage(inbox.id))
    archive = await world.store.read(lambda uow: uow.mailboxes.by_name(inbox.id, "Archive"))
    assert archive is not None
    copies = await world.store.read(mailbox.rows, archive.id, ((1, 1 << 31),), Columns.PLAIN, NOW)
    assert usage.letters == len(rows) + len(copies)
    assert usage.octets == sum(row.size_octets for row in (*rows, *copies))
    assert "incident" not in world.count.closed


@pytest.mark.parametrize("seed", range(2))
async def test_ten_sessions_never_diverge_from_the_store(world: World, inbox: Box, seed: int) -> None:
    await play(world, inbox, seed, sessions=10, rounds=12)


@pytest.mark.parametrize("seed", range(10, 12))
async def test_ten_sessions_never_diverge_in_the_long_run(world: World, inbox: Box, seed: int) -> None:
    await play(world, inbox, seed, sessions=10, rounds=50)
