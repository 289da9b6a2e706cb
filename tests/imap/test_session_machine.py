"""A state machine over several sessions on one mailbox: in whatever order they act, each believes what the store says.

`test_ten_sessions` lets them act all at once; here hypothesis chooses every step, one after another, and prints those
that lead to a difference. It does not shrink them: each try makes a store. An IDLE stays open over the others' steps.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Awaitable
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from mss.model.account import Box
from mss.services import mailbox
from mss.services.mailbox import Columns
from tests.imap.imap_world import DOCTOR, NOW, World, running
from tests.imap.test_ten_sessions import Belief, letter

pytestmark = [pytest.mark.slow, pytest.mark.hypothesis]

T = TypeVar("T")

SESSIONS = 4
who = st.integers(0, SESSIONS - 1)
which = st.integers(0, 11)
flags = st.sampled_from([b"\\Seen", b"\\Flagged", b"\\Deleted", b"$One", b"$Two"])


class Sessions(RuleBasedStateMachine):
    """Sessions of one account, each with what it believes of the inbox."""

    template: ClassVar[Path]

    def __init__(self) -> None:
        super().__init__()
        self._runner = asyncio.Runner()
        self._folder = tempfile.TemporaryDirectory(prefix="mss-sessions-")
        self._running = running(self.template, Path(self._folder.name) / "operator")
        self._world: World = self._do(self._running.__aenter__())
        self._box: Box = self._do(self._prepare())
        self._beliefs = [Belief(self._do(self._world.session())) for _ in range(SESSIONS)]
        self._idle: set[int] = set()
        self._letters = 0

    def _do(self, work: Awaitable[T]) -> T:
        async def within() -> T:
            return await work

        return self._runner.run(within())

    async def _prepare(self) -> Box:
        box = await self._world.box(DOCTOR)
        await self._world.account(DOCTOR, box)
        return box

    @initialize(letters=st.integers(0, 4))
    def begin(self, letters: int) -> None:
        """Let letters be there, and everybody look."""
        for _ in range(letters):
            self._do(self._world.deliver(self._box, self._fresh()))
        for belief in self._beliefs:
            self._do(belief.ask(b"SELECT INBOX"))
        # Who has asked for nothing believes in nothing that could be wrong.
        self.all_believe_what_the_store_says()

    def _fresh(self) -> bytes:
        self._letters += 1
        return letter(self._letters)

    def _literal(self) -> bytes:
        octets = self._fresh()
        return b"{%d+}\r\n%b" % (len(octets), octets)

    def _ask(self, session: int, command: bytes) -> None:
        if session in self._idle:
            self.wake(session)
        self._do(self._beliefs[session].ask(command))

    def _number(self, session: int, which: int) -> int | None:
        """Return a number that a session believes in."""
        held = len(self._beliefs[session].letters)
        return which % held + 1 if held else None

    def _on_letter(self, session: int, which: int, command: bytes) -> None:
        if session in self._idle:
            self.wake(session)
        if (number := self._number(session, which)) is not None:
            self._ask(session, command.replace(b"#", b"%d" % number))

    # --- what sessions do ---

    @rule(session=who, which=which, sign=st.sampled_from([b"+", b"-", b""]), flag=flags, silent=st.booleans())
    def store(self, session: int, which: int, sign: bytes, flag: bytes, silent: bool) -> None:
        self._on_letter(session, which, b"STORE # %bFLAGS%b (%b)" % (sign, b".SILENT" if silent else b"", flag))

    @rule(session=who, flag=flags)
    def store_all(self, session: int, flag: bytes) -> None:
        self._ask(session, b"UID STORE 1:* +FLAGS (%b)" % flag)

    @rule(session=who, which=which, uid=st.booleans())
    def copy(self, session: int, which: int, uid: bool) -> None:
        self._on_letter(session, which, b"%bCOPY # INBOX" % (b"UID " if uid else b""))

    @rule(session=who, which=which, to=st.sampled_from([b"INBOX", b"Archive"]))
    def move(self, session: int, which: int, to: bytes) -> None:
        self._on_letter(session, which, b"MOVE # " + to)

    @rule(session=who, which=which)
    def remove(self, session: int, which: int) -> None:
        self._on_letter(session, which, b"STORE # +FLAGS.SILENT (\\Deleted)")
        self._ask(session, b"EXPUNGE")

    @rule(session=who)
    def expunge(self, session: int) -> None:
        self._ask(session, b"EXPUNGE")

    @rule(session=who, flag=flags)
    def append(self, session: int, flag: bytes) -> None:
        self._ask(session, b"APPEND INBOX (%b) %b" % (flag, self._literal()))

    @rule(session=who, which=which)
    def catenate(self, session: int, which: int) -> None:
        self._ask(session, b'APPEND INBOX CATENATE (TEXT %b URL "/INBOX/;UID=%d")' % (self._literal(), which + 1))

    @rule(session=who, which=which)
    def replace(self, session: int, which: int) -> None:
        self._on_letter(session, which, b"REPLACE # INBOX " + self._literal())

    @rule(session=who, which=which)
    def look(self, session: int, which: int) -> None:
        self._on_letter(session, which, b"FETCH # (UID FLAGS)")

    @rule()
    def deliver(self) -> None:
        self._do(self._world.deliver(self._box, self._fresh()))

    @rule(session=who)
    def idle(self, session: int) -> None:
        if session not in self._idle:
            client = self._beliefs[session].client
            client.send(b"idling IDLE\r\n")
            self._take(session, b"+ ")
            self._idle.add(session)

    @precondition(lambda self: bool(self._idle))
    @rule(session=who)
    def wake(self, session: int) -> None:
        if session in self._idle:
            self._idle.remove(session)
            self._beliefs[session].client.send(b"DONE\r\n")
            self._take(session, b"idling ")

    def _take(self, session: int, until: bytes) -> None:
        belief = self._beliefs[session]
        *told, _ = self._do(belief.client.until(until))
        for line in told:
            belief.take(line)

    # --- what must hold ---

    @rule()
    def all_believe_what_the_store_says(self) -> None:
        truth = self._do(self._truth())
        for session in sorted(self._idle):
            self.wake(session)
        for belief in self._beliefs:
            assert self._do(belief.settle()) == truth

    async def _truth(self) -> list[tuple[int, frozenset[bytes]]]:
        read = self._world.store.read
        found = await read(mailbox.find, self._box.id, "INBOX", NOW)
        rows: Any = await read(mailbox.rows, found.id, ((1, 1 << 31),), Columns.PLAIN, NOW)
        names = mailbox.flag_names
        return [(row.uid, frozenset(name.encode() for name in names(found.keywords, row.flags))) for row in rows]

    def teardown(self) -> None:
        """End as the others began: with everybody of one mind."""
        try:
            self.all_believe_what_the_store_says()
            assert "incident" not in self._world.count.closed
        finally:
            self._do(self._running.__aexit__(None, None, None))
            self._runner.close()
            self._folder.cleanup()


def test_in_whatever_order_sessions_act_they_believe_the_store(imap_template: Path) -> None:
    Sessions.template = imap_template
    fewer = settings(
        max_examples=max(8, settings().max_examples // 10), stateful_step_count=20, deadline=None,
        suppress_health_check=list(HealthCheck), phases=[Phase.generate],
    )  # fmt: skip
    run_state_machine_as_test(Sessions, settings=fewer)
