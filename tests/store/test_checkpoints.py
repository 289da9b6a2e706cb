"""SQLite's log is carried into its file beside the writers."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest

from mss.config import Config
from mss.store import checkpoints
from mss.store.checkpoints import Checkpoints
from mss.store.engine import sqlite_path
from mss.store.store import Store
from tests.store.store_world import clinic_box

PATIENCE_S = 30


def _file(config: Config) -> Path:
    return sqlite_path(config.sqlite_url(config.store.url))


def _carried(config: Config, folder: Path) -> int:
    """Return how many boxes the file holds without its log."""
    copy = shutil.copy(_file(config), folder / "file")
    with closing(sqlite3.connect(f"file:{copy}?immutable=1", uri=True)) as connection:
        return int(connection.execute("SELECT count(*) FROM boxes").fetchone()[0])


async def _until_carried(config: Config, folder: Path, boxes: int) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while _carried(config, folder) < boxes:
            await asyncio.sleep(0.01)


async def test_the_log_is_carried_after_so_many_units(
    sqlite_config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "_EVERY_UNITS", 3)
    store = Store(sqlite_config)
    for number in range(2):
        await clinic_box(store, f"box{number}")
    assert _carried(sqlite_config, tmp_path) == 0
    await clinic_box(store, "box2")
    await _until_carried(sqlite_config, tmp_path, 3)
    await store.close()
    assert "store-checkpoints" not in {thread.name for thread in threading.enumerate()}


def test_one_process_carries_at_a_time(tmp_path: Path) -> None:
    here, there = (Checkpoints(tmp_path / "store.sqlite", tmp_path / "store.lock") for _ in range(2))
    with here._alone() as first, there._alone() as second:
        assert (first, second) == (True, False)
    with there._alone() as later:
        assert later


@pytest.mark.parametrize("error", [sqlite3.OperationalError("disk full"), OSError("gone")])
async def test_a_disk_that_fails_now_is_tried_again(
    sqlite_config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    carry, failed = Checkpoints._carry, threading.Event()

    def once(self: Checkpoints, *args: object) -> None:
        if not failed.is_set():
            failed.set()
            raise error
        carry(self, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(checkpoints, "_EVERY_UNITS", 1)
    monkeypatch.setattr(Checkpoints, "_carry", once)
    store = Store(sqlite_config)
    await clinic_box(store, "one")
    assert await asyncio.to_thread(failed.wait, PATIENCE_S)
    await clinic_box(store, "two")
    await _until_carried(sqlite_config, tmp_path, 2)
    await store.close()
