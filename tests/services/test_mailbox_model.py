"""Ten sessions on one box, their units interleaved in any order, against a model that fits on a page.

Each session knows what it last saw and pulls what changed since. Whatever the order, it comes to see what is there;
UIDs and MODSEQs only rise, one MODSEQ for a command, none for a command that changes nothing.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from mss.config import Config
from mss.model.mailbox import INBOX, ChangeKind
from mss.services import appending, mailbox
from mss.services.mailbox import Columns, FlagAction
from mss.store.mailboxes import runs_of
from mss.store.store import Store
from tests.services.services_world import DESK, letter
from tests.store.store_world import NOW, clinic_box

FLAGS = ("\\Seen", "\\Deleted", "\\Flagged", "$One", "$Two")
NAMES = (INBOX, "Archive", "Trash")
SESSIONS = 10
LETTERS = [letter(f"letter {n}", to=[DESK]) for n in range(4)]
_boxes = itertools.count(1)
_flags = st.sets(st.sampled_from(FLAGS), max_size=3)
_names = st.sampled_from(NAMES)
_uids = st.sets(st.integers(1, 14), min_size=1, max_size=6)


@dataclass
class Folder:
    """What the model knows of a mailbox: its letters by UID, the UIDs ever given, the highest MODSEQ."""

    id: int
    letters: dict[int, tuple[int, frozenset[str]]] = field(default_factory=dict)
    modseqs: dict[int, int] = field(default_factory=dict)
    uidnext: int = 1
    modseq: int = 1

    def add(self, letter_id: int, flags: frozenset[str]) -> int:
        uid, self.uidnext = self.uidnext, self.uidnext + 1
        self.letters[uid] = (letter_id, flags)
        self.modseqs[uid] = self.modseq
        return uid


@dataclass
class Session:
    """What a session saw last of a mailbox."""

    name: str
    modseq: int = 0
    seen: dict[int, frozenset[str]] = field(default_factory=dict)


class Box(RuleBasedStateMachine):
    """One box, its three mailboxes, its sessions; every rule is one unit of work."""

    def __init__(self, runner: asyncio.Runner, store: Store) -> None:
        super().__init__()
        self._runner, self._store = runner, store
        box = runner.run(clinic_box(store, f"box{next(_boxes)}"))
        found = runner.run(store.read(mailbox.mailboxes, box.id, NOW))
        self.folders = {one.name: Folder(one.id) for one in found if one.name in NAMES}
        self.sessions = [Session(NAMES[n % len(NAMES)]) for n in range(SESSIONS)]

    def _write(self, service: Callable[..., Any], *args: Any) -> Any:
        return self._runner.run(self._store.write(service, *args, "account:1", NOW))

    def _read(self, service: Callable[..., Any], *args: Any) -> Any:
        return self._runner.run(self._store.read(service, *args, NOW))

    # -- what sessions do --------------------------------------------------------------------------------------------

    @rule(name=_names, which=st.integers(0, 3), flags=_flags)
    def append(self, name: str, which: int, flags: set[str]) -> None:
        folder = self.folders[name]
        placed = self._write(appending.append, folder.id, LETTERS[which], tuple(flags), None)
        folder.modseq += 1
        uid = folder.add(which, frozenset(flags))
        assert placed.target == ((uid, uid),)

    @rule(
        name=_names,
        uids=_uids,
        action=st.sampled_from(FlagAction),
        flags=_flags,
        since=st.none() | st.integers(0, 30),
    )
    def store_flags(self, name: str, uids: set[int], action: FlagAction, flags: set[str], since: int | None) -> None:
        folder = self.folders[name]
        stored = self._write(mailbox.store_flags, folder.id, runs_of(sorted(uids)), action, tuple(sorted(flags)), since)
        changed, left = [], []
        for uid in sorted(uids & folder.letters.keys()):
            letter_id, before = folder.letters[uid]
            after = {
                FlagAction.REPLACE: frozenset(flags),
                FlagAction.ADD: before | flags,
                FlagAction.REMOVE: before - flags,
            }[action]
            if since is not None and folder.modseqs[uid] > since:
                left.append(uid)
            elif after != before:
                folder.letters[uid] = (letter_id, after)
                changed.append(uid)
        folder.modseq += bool(changed)
        folder.modseqs.update(dict.fromkeys(changed, folder.modseq))
        assert stored.modified == runs_of(left)
        assert [(uid, modseq) for uid, modseq, _ in stored.rows] == [
            (uid, folder.modseqs[uid]) for uid in sorted(uids & folder.letters.keys())
        ]

    @rule(source=_names, goal=_names, uids=_uids, moving=st.booleans())
    def copy_or_move(self, source: str, goal: str, uids: set[int], moving: bool) -> None:
        there, here = self.folders[source], self.folders[goal]
        placed = self._write(mailbox.move if moving else mailbox.copy, there.id, runs_of(sorted(uids)), here.id)
        placed = placed[0] if moving else placed
        gone = sorted(uids & there.letters.keys())
        here.modseq += bool(gone)
        new = [here.add(*there.letters[uid]) for uid in gone]
        assert (placed.source, placed.target) == (runs_of(gone), runs_of(new))
        if moving and gone:
            self._remove(there, gone)

    @rule(name=_names, uids=st.none() | _uids)
    def expunge(self, name: str, uids: set[int] | None) -> None:
        folder = self.folders[name]
        runs = None if uids is None else runs_of(sorted(uids))
        modseq, gone = self._write(mailbox.expunge, folder.id, runs)
        marked = [
            uid for uid, (_, flags) in folder.letters.items() if "\\Deleted" in flags and (uids is None or uid in uids)
        ]
        if marked:
            self._remove(folder, marked)
        assert (modseq, gone) == (folder.modseq, runs_of(sorted(marked)))

    def _remove(self, folder: Folder, uids: list[int]) -> None:
        folder.modseq += 1
        for uid in uids:
            del folder.letters[uid], folder.modseqs[uid]

    @rule(which=st.integers(0, SESSIONS - 1))
    def a_session_pulls(self, which: int) -> None:
        session = self.sessions[which]
        folder = self.folders[session.name]
        told = self._read(mailbox.changes, folder.id, session.modseq)
        assert [one.modseq for one in told.log] == sorted(one.modseq for one in told.log)
        assert all(session.modseq < one.modseq <= told.mailbox.modseq for one in told.log)
        for one in told.log:
            for uid in range(one.uid_first, one.uid_last + 1):
                match one.kind:
                    case ChangeKind.ADDED:
                        assert uid not in session.seen, "a UID came twice"
                        session.seen[uid] = frozenset()
                    case ChangeKind.EXPUNGED:
                        del session.seen[uid]
        for uid, modseq, bits in told.flags:
            assert modseq == folder.modseqs[uid]
            session.seen[uid] = frozenset(mailbox.flag_names(told.mailbox.keywords, bits))
        session.modseq = told.mailbox.modseq
        assert session.seen == {uid: flags for uid, (_, flags) in folder.letters.items()}

    # -- what always holds -------------------------------------------------------------------------------------------

    @invariant()
    def the_store_is_as_the_model(self) -> None:
        for folder in self.folders.values():
            status = self._read(mailbox.status, folder.id)
            assert (status.mailbox.modseq, status.mailbox.uidnext) == (folder.modseq, folder.uidnext)
            flags = [flags for _, flags in folder.letters.values()]
            assert status.messages == len(flags)
            assert status.unseen == sum("\\Seen" not in one for one in flags)
            assert status.deleted == sum("\\Deleted" in one for one in flags)

    def teardown(self) -> None:
        for which in range(SESSIONS):
            self.a_session_pulls(which)
        for folder in self.folders.values():
            rows = self._read(mailbox.rows, folder.id, ((1, 10_000),), Columns.ENVELOPE)
            assert [row.uid for row in rows] == list(folder.letters)
            for row in rows:
                assert row.envelope == LETTERS[folder.letters[row.uid][0]].envelope


@pytest.mark.slow
def test_ten_sessions_see_one_mailbox(config: Config) -> None:
    with asyncio.Runner() as runner:
        store = Store(config)
        runner.run(store.start())

        class Here(Box):
            def __init__(self) -> None:
                super().__init__(runner, store)

        try:
            run_state_machine_as_test(Here, settings=settings(max_examples=8, stateful_step_count=40, deadline=None))
        finally:
            runner.run(store.close())
