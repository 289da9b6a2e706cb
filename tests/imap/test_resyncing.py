"""QRESYNC (RFC 7162): transcripts, and clients with random times away that always converge with the store."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass, field

import pytest

from mss.imap.resyncing import without
from mss.imap.view import within
from mss.model.account import Box
from mss.services import mailbox
from mss.services.mailbox import Columns
from tests.imap.imap_world import NOW, Client, World

V = re.compile(rb"UIDVALIDITY (\d+)")
# The count that is told after VANISHED: there is a client that does not count down by itself.
SEVEN = (b"* 7 EXISTS", b"* 0 RECENT")


async def validity(client: Client) -> int:
    """Return INBOX's UIDVALIDITY."""
    found = V.search(b"".join(await client.ask("STATUS INBOX (UIDVALIDITY)")))
    assert found is not None
    return int(found.group(1))


async def back(client: Client, resync: str) -> list[bytes]:
    """Select INBOX with what is remembered; returns what is told after the usual."""
    told = await client.ask(f"SELECT INBOX (QRESYNC ({resync}))")
    assert told[-1] == b"OK [READ-WRITE] Selected"
    return [line for line in told[:-1] if b"VANISHED" in line or b" FETCH " in line]


@pytest.fixture
async def client(world: World, inbox: Box) -> Client:
    """A client that knows QRESYNC; INBOX has had ten letters, of which 3, 4 and 9 were removed."""
    for _ in range(10):
        await world.deliver(inbox)
    client = await world.session("INBOX")
    assert await client.ask("ENABLE QRESYNC") == [
        b"* ENABLED QRESYNC", b"* OK [HIGHESTMODSEQ 11] Highest", b"OK Done",
    ]  # fmt: skip
    await client.ask("UID STORE 3:4,9 +FLAGS.SILENT (\\Deleted)")
    return client


async def test_removed_letters_vanish(client: Client) -> None:
    assert await client.ask("EXPUNGE") == [b"* VANISHED 3:4,9", *SEVEN, b"OK [HIGHESTMODSEQ 13] Done"]
    assert await client.ask("EXPUNGE") == [b"OK [HIGHESTMODSEQ 13] Done"]
    told = await client.ask("UID MOVE 1:2 Trash")
    assert told[1:] == [b"* VANISHED 1:2", b"* 5 EXISTS", b"* 0 RECENT", b"OK [HIGHESTMODSEQ 14] Done"]
    assert await client.ask("FETCH 1 (UID)") == [b"* 1 FETCH (UID 5)", b"OK Done"]


async def test_a_client_that_comes_back_is_told_what_it_missed(client: Client) -> None:
    await client.ask("EXPUNGE")
    await client.ask("UID STORE 5,10 +FLAGS.SILENT (\\Seen)")
    known = await validity(client)
    flags = [
        b"* 3 FETCH (UID 5 FLAGS (\\Seen) MODSEQ (14))",
        b"* 7 FETCH (UID 10 FLAGS (\\Seen) MODSEQ (14))",
    ]  # fmt: skip
    table = {
        f"{known} 12": [b"* VANISHED (EARLIER) 3:4,9", *flags],
        f"{known} 13": flags,
        f"{known} 14": [],
        f"{known} 99999": [],
        f"{known} 12 1:5": [b"* VANISHED (EARLIER) 3:4", flags[0]],
        f"{known} 12 1:5 (1,2 1,2)": [b"* VANISHED (EARLIER) 3:4", flags[0]],
        f"{known} 12 (1:3 1:3)": [b"* VANISHED (EARLIER) 3:4,9", *flags],
        f"{known + 1} 12": [],
    }
    for resync, expected in table.items():
        assert await back(client, resync) == expected, resync


async def test_select_says_that_the_mailbox_before_is_closed(client: Client) -> None:
    assert (await client.ask("SELECT Trash"))[0] == b"* OK [CLOSED] The mailbox before is closed"
    await client.ask("UNSELECT")
    assert not any(b"CLOSED" in line for line in await client.ask("SELECT Trash"))


async def test_vanished_stands_before_what_changed(client: Client) -> None:
    await client.ask("EXPUNGE")
    await client.ask("UID STORE 5 +FLAGS.SILENT (\\Seen)")
    changed = b"* 3 FETCH (UID 5 FLAGS (\\Seen) MODSEQ (14))"
    assert await client.ask("UID FETCH 1:* (FLAGS) (CHANGEDSINCE 11 VANISHED)") == [
        b"* VANISHED (EARLIER) 3:4,9", changed, b"OK Done",
    ]  # fmt: skip
    assert await client.ask("UID FETCH 4:5 (FLAGS) (VANISHED CHANGEDSINCE 11)") == [
        b"* VANISHED (EARLIER) 4", changed, b"OK Done",
    ]  # fmt: skip
    assert await client.ask("UID FETCH 1:* (FLAGS) (CHANGEDSINCE 13 VANISHED)") == [changed, b"OK Done"]
    assert await client.ask("UID FETCH 6:* (FLAGS) (CHANGEDSINCE 13)") == [b"OK Done"]
    assert await client.ask("FETCH 1:* (FLAGS) (CHANGEDSINCE 13)") == [
        b"* 3 FETCH (FLAGS (\\Seen) MODSEQ (14))", b"OK Done",
    ]  # fmt: skip


async def test_the_last_letters_vanish_too(client: Client) -> None:
    await client.ask("UID STORE 10 +FLAGS.SILENT (\\Deleted)")
    await client.ask("EXPUNGE")
    told = await client.ask("UID FETCH 5:* (FLAGS) (CHANGEDSINCE 13 VANISHED)")
    assert told == [b"* VANISHED (EARLIER) 9:10", b"OK Done"]


async def test_what_this_session_still_counts_is_told_as_removed_now(world: World, inbox: Box, client: Client) -> None:
    other = await world.session("INBOX")
    await other.ask("EXPUNGE")
    # The wake-up of the other's EXPUNGE may be under way: SEARCH by numbers may not tell it.
    told = await client.ask("UID FETCH 1:* (UID) (CHANGEDSINCE 12 VANISHED)")
    assert told == [b"* VANISHED 3:4,9", *SEVEN, b"OK Done"]


async def test_without_enable_it_is_refused(world: World, inbox: Box) -> None:
    await world.deliver(inbox)
    client = await world.session("INBOX")
    assert await client.ask("SELECT INBOX (QRESYNC (1 1))") == [b"BAD ENABLE QRESYNC first"]
    assert await client.ask("UID FETCH 1 FLAGS (CHANGEDSINCE 1 VANISHED)") == [b"BAD ENABLE QRESYNC first"]
    assert await client.ask("ENABLE CONDSTORE QRESYNC NONSENSE") == [
        b"* ENABLED CONDSTORE QRESYNC", b"* OK [HIGHESTMODSEQ 2] Highest", b"OK Done",
    ]  # fmt: skip
    assert await client.ask("ENABLE QRESYNC") == [b"* ENABLED QRESYNC", b"OK Done"]
    assert (await client.ask("FETCH 1 BODY[]"))[0].startswith(b"* 1 FETCH (UID 1 FLAGS (\\Seen) MODSEQ (3) BODY[] {")


def test_runs_in_common_and_apart() -> None:
    dice = random.Random(5)
    for _ in range(300):
        ours, theirs = ({dice.randrange(1, 30) for _ in range(dice.randrange(20))} for _ in range(2))
        runs = [mailbox.merged((uid, uid) for uid in uids) for uids in (ours, theirs)]

        def spread(found: tuple[tuple[int, int], ...]) -> list[int]:
            return [uid for first, last in found for uid in range(first, last + 1)]

        assert spread(within(*runs)) == sorted(ours & theirs)
        assert spread(without(*runs)) == sorted(ours - theirs)


# --- clients that are away for a while ---


@dataclass
class Cache:
    """What a client keeps of a mailbox: flags by UID, and until where it knows it."""

    uidvalidity: int = 0
    modseq: int = 0
    flags: dict[int, frozenset[bytes]] = field(default_factory=dict)
    # Up to here every letter was fetched; above it some may be known by a change of their flags alone.
    fetched: int = 0

    def take(self, lines: list[bytes]) -> None:
        """Take untagged responses, in their order."""
        for line in lines:
            if vanished := re.fullmatch(rb"\* VANISHED (?:\(EARLIER\) )?([0-9:,]+)", line):
                self._drop(vanished.group(1))
            elif told := re.match(rb"\* \d+ FETCH \(UID (\d+) FLAGS \(([^)]*)\) MODSEQ \((\d+)\)\)", line):
                self.flags[int(told.group(1))] = frozenset(told.group(2).split())
            elif found := V.search(line):
                self.uidvalidity = int(found.group(1))
            assert b" EXPUNGE" not in line

    def _drop(self, runs: bytes) -> None:
        for run in runs.split(b","):
            first, _, last = run.partition(b":")
            for uid in range(int(first), int(last or first) + 1):
                self.flags.pop(uid, None)


class Wanderer:
    """A QRESYNC client that comes and goes; it only trusts what RFC 7162 promises."""

    def __init__(self, world: World, name: str) -> None:
        self.world, self.name, self.cache = world, name, Cache()
        self.client: Client | None = None

    async def come(self, *, says_known: bool) -> None:
        """Connect and learn what was missed."""
        self.client = await self.world.session()
        await self.client.ask("ENABLE QRESYNC")
        cache = self.cache
        resync = f" (QRESYNC ({cache.uidvalidity} {cache.modseq}{self._known(says_known)}))" if cache.modseq else ""
        told = await self.client.ask(f"SELECT INBOX{resync}")
        highest = next(int(found.group(1)) for line in told if (found := re.search(rb"HIGHESTMODSEQ (\d+)", line)))
        uidnext = next(int(found.group(1)) for line in told if (found := re.search(rb"UIDNEXT (\d+)", line)))
        cache.take(told[:-1])
        if (not resync or says_known) and cache.fetched + 1 < uidnext:
            await self._fetch_new()
        cache.modseq, cache.fetched = highest, uidnext - 1

    async def _fetch_new(self) -> None:
        await self.ask(f"UID FETCH {self.cache.fetched + 1}:* (UID FLAGS MODSEQ)")
        self.cache.fetched = max(self.cache.flags, default=self.cache.fetched)

    def _known(self, says_known: bool) -> str:
        return f" 1:{max(1, self.cache.fetched, *self.cache.flags)}" if says_known else ""

    async def ask(self, command: str) -> list[bytes]:
        """Send a command and take what it tells."""
        assert self.client is not None
        told = await self.client.ask(command)
        self.cache.take(told[:-1])
        return told

    async def go(self, *, politely: bool) -> None:
        """Leave; only what came since the last HIGHESTMODSEQ must be told again."""
        assert self.client is not None
        if politely:
            told = await self.ask("EXPUNGE")
            found = re.match(rb"OK \[HIGHESTMODSEQ (\d+)\]", told[-1])
            assert found is not None
            # New letters were announced by EXISTS alone: their flags are fetched before they count as known.
            await self._fetch_new()
            self.cache.modseq = max(self.cache.modseq, int(found.group(1)))
        await self.client.close()
        self.client = None


async def present(world: World, box: Box) -> dict[int, frozenset[bytes]]:
    """Return what the store holds."""
    found = await world.store.read(mailbox.find, box.id, "INBOX", NOW)
    rows = await world.store.read(mailbox.rows, found.id, ((1, found.uidnext),), Columns.PLAIN, NOW)
    names = ("\\Seen", "\\Answered", "\\Flagged", "\\Deleted", "\\Draft")
    return {row.uid: frozenset(n.encode() for i, n in enumerate(names) if row.flags >> i & 1) for row in rows}


FLAGS = ("\\Seen", "\\Flagged", "\\Deleted")


async def act(wanderer: Wanderer, dice: random.Random) -> None:
    """Do something that a client does."""
    uids = sorted(wanderer.cache.flags) or [1]
    some = ",".join(map(str, dice.sample(uids, min(len(uids), dice.randrange(1, 5)))))
    match dice.randrange(7):
        case 0 | 1:
            silent = dice.choice(("", ".SILENT"))
            flags, sign = dice.choice(FLAGS), dice.choice("+-")
            told = await wanderer.ask(f"UID STORE {some} {sign}FLAGS{silent} ({flags})")
            if silent and told[-1].startswith(b"OK"):
                named = {int(found.group(1)) for line in told if (found := re.search(rb"\(UID (\d+) MODSEQ", line))}
                for uid in named & wanderer.cache.flags.keys():
                    bits = wanderer.cache.flags[uid]
                    wanderer.cache.flags[uid] = bits | {flags.encode()} if sign == "+" else bits - {flags.encode()}
        case 2:
            await wanderer.ask("EXPUNGE")
        case 3:
            await wanderer.ask(f"UID MOVE {some} Archive")
        case 4:
            await wanderer.ask(f"UID FETCH {some} (UID FLAGS MODSEQ)")
        case 5:
            await wanderer.ask("FETCH 1:* (UID FLAGS MODSEQ)")
        case 6:
            await wanderer.ask("NOOP")


async def converge(world: World, inbox: Box, dice: random.Random, steps: int) -> None:
    """Let clients come, act, go while letters arrive; each that comes back knows the mailbox as it is."""
    wanderers = [Wanderer(world, name) for name in "abc"]
    for _ in range(4):
        await world.deliver(inbox)
    for _ in range(steps):
        one = dice.choice(wanderers)
        if dice.random() < 0.2:
            await world.deliver(inbox, flags=dice.choice(((), ("\\Seen",))))
        if one.client is None:
            await one.come(says_known=dice.random() < 0.5)
            assert one.cache.flags == await present(world, inbox), one.name
        elif dice.random() < 0.25:
            await one.go(politely=dice.random() < 0.5)
        else:
            await act(one, dice)
    for one in wanderers:
        if one.client is not None:
            await one.go(politely=False)
        await one.come(says_known=False)
        assert one.cache.flags == await present(world, inbox)


@pytest.mark.parametrize("seed", range(2))
async def test_clients_that_come_back_converge_with_the_store(world: World, inbox: Box, seed: int) -> None:
    await converge(world, inbox, random.Random(seed), 60)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 108))
async def test_clients_that_come_back_converge_with_the_store_for_long(world: World, inbox: Box, seed: int) -> None:
    await converge(world, inbox, random.Random(seed), 400)
