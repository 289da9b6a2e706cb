"""The operator's program is told of a notice by numbers and a word; what it does not do is tried again."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from mss.config import Config, NotifyConfig
from mss.model.rights import NoticeKind
from mss.notify import TRIES_MAX, Notifier, again_after
from mss.store.store import Store
from tests.store.store_fixtures import sqlite_config, store_template
from tests.store.store_world import NOW, patient_box

__all__ = ["sqlite_config", "store_template"]


class Hands:
    """A clock whose hands the test moves."""

    now = NOW

    def __call__(self) -> datetime:
        return self.now


@pytest.mark.parametrize(("tries", "minutes"), [(1, 1), (2, 2), (5, 16), (TRIES_MAX - 1, 256), (TRIES_MAX, None)])
def test_ever_more_rarely(tries: int, minutes: int | None) -> None:
    assert again_after(tries) == (None if minutes is None else timedelta(minutes=minutes))


@pytest.fixture
async def store(sqlite_config: Config) -> AsyncIterator[Store]:
    """A store with one notice that the program is owed."""
    store = Store(sqlite_config)
    await store.start()
    box = await patient_box(store)
    await store.write(lambda uow: uow.rights.notify(box.id, NoticeKind.EMERGENCY_ACCESS, "Dr X", NOW, hook=True))
    yield store
    await store.close()


def notifier(store: Store, config: Config, hands: Hands, *command: str, timeout_s: int = 30) -> Notifier:
    return Notifier(store, replace(config, notify=NotifyConfig(command, timeout_s)), hands)


async def test_the_program_reads_one_line_without_names(store: Store, sqlite_config: Config, tmp_path: Path) -> None:
    hands, said = Hands(), tmp_path / "said"
    program = f"import sys; open({str(said)!r}, 'a').write(sys.stdin.read())"
    made = notifier(store, sqlite_config, hands, sys.executable, "-c", program)
    assert await made.once() == 1
    told = json.loads(said.read_text())
    assert told == {"notice": 1, "box": 1, "kind": "emergency-access", "at": NOW.isoformat()}
    hands.now += timedelta(days=30)
    assert await made.once() == 0


async def test_of_a_box_it_is_told_the_channel_that_the_holder_named(
    store: Store, sqlite_config: Config, tmp_path: Path
) -> None:
    hands, said = Hands(), tmp_path / "said"
    program = f"import sys; open({str(said)!r}, 'a').write(sys.stdin.read())"
    made = notifier(store, sqlite_config, hands, sys.executable, "-c", program)
    assert await made.once() == 1
    said.unlink()
    await store.write(lambda uow: uow.lives.set_channel(1, "tel:+33123456789"))
    await store.write(lambda uow: uow.lives.notify(1, "box-closing", NOW))
    assert await made.once() == 1
    told = {"notice": 1, "box": 1, "kind": "box-closing", "at": NOW.isoformat(), "channel": "tel:+33123456789"}
    assert json.loads(said.read_text()) == told
    hands.now += timedelta(days=30)
    assert await made.once() == 0


async def test_a_notice_about_a_box_is_given_up_at_last(store: Store, sqlite_config: Config) -> None:
    hands = Hands()
    await store.write(lambda uow: uow.lives.notify(1, "box-closing", NOW))
    made = notifier(store, sqlite_config, hands, "/no/such/program")
    for _ in range(TRIES_MAX):
        assert await made.once() == 2
        hands.now += timedelta(days=1)
    assert await made.once() == 0
    assert await store.write(lambda uow: uow.lives.hooks_due(5, hands.now, hands.now)) == ()


@pytest.mark.parametrize("command", [(sys.executable, "-c", "raise SystemExit(3)"), ("/no/such/program",)])
async def test_what_fails_is_tried_again_and_given_up_at_last(
    store: Store, sqlite_config: Config, command: tuple[str, ...]
) -> None:
    hands = Hands()
    made = notifier(store, sqlite_config, hands, *command)
    assert await made.once() == 1
    assert await made.once() == 0
    hands.now += timedelta(minutes=1)
    assert await made.once() == 1
    tries = 2
    while await made.once() or tries < TRIES_MAX:
        hands.now += timedelta(days=1)
        tries += await made.once()
    hands.now += timedelta(days=30)
    assert (tries, await made.once()) == (TRIES_MAX, 0)


async def test_a_program_that_does_not_end_is_ended(store: Store, sqlite_config: Config) -> None:
    made = notifier(store, sqlite_config, Hands(), sys.executable, "-c", "import time; time.sleep(600)", timeout_s=0)
    assert await made.once() == 1


async def test_the_loop_ends_when_it_is_told_to(store: Store, sqlite_config: Config) -> None:
    made = notifier(store, sqlite_config, Hands(), sys.executable, "-c", "")
    await made.stop()
    await made.run()
