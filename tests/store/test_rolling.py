"""Promise 10: old code runs on the new schema while nodes are replaced one by one; where it may not, it says so."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import pytest

from mss.config import Config
from mss.errors import Misconfigured
from mss.services import nodes
from mss.store import schema
from mss.store import store as stores
from mss.store.engine import open_engine
from mss.store.nodes import Running
from mss.store.schema import Fit
from mss.store.store import Store, Uow
from tests.store.store_world import NOW, clinic_box
from tests.support import postgres

_MIGRATION = '''"""A migration of the future."""

import sqlalchemy as sa
from alembic import op

revision = "{revision}"
down_revision = "{before}"
breaks_older = {breaks_older}


def upgrade():
    op.add_column("objects", sa.Column("{column}", sa.String(8)))
    op.add_column("messages", sa.Column("{column}", sa.Integer(), nullable=False, server_default="0"))
    op.create_index("ix_objects_{column}", "objects", ["{column}"])


def downgrade():
    op.drop_index("ix_objects_{column}", table_name="objects")
    op.drop_column("messages", "{column}")
    op.drop_column("objects", "{column}")
'''


@dataclass(frozen=True)
class Future:
    """Migrations that this program does not know, as a newer one has them."""

    url: str
    folder: Path

    def write(self, revision: str, before: str, *, breaks_older: bool = False) -> None:
        values = {"revision": revision, "before": before, "column": f"c{revision}", "breaks_older": breaks_older}
        (self.folder / f"{revision}_future.py").write_text(_MIGRATION.format(**values))

    def upgrade(self, revision: str = "head") -> None:
        schema.upgrade(self.url, revision, self.folder)

    def downgrade(self, revision: str) -> None:
        schema.downgrade(self.url, revision, self.folder)

    def fit(self) -> Fit:
        engine = open_engine(self.url, connections=1)
        try:
            return schema.fit(engine)
        finally:
            engine.dispose()


@pytest.fixture
def future(config: Config, tmp_path: Path) -> Future:
    folder = tmp_path / "future"
    folder.mkdir()
    return Future(config.sqlite_url(config.store.url), folder)


def test_the_tables_say_which_programs_may_run(future: Future) -> None:
    future.write("9001", schema.HEAD)
    future.write("9002", "9001")
    future.write("9003", "9002", breaks_older=True)
    future.write("9004", "9003")
    assert future.fit() is Fit.CURRENT
    for revision, expected in [("9001", Fit.NEWER), ("9002", Fit.NEWER), ("9003", Fit.BEYOND), ("9004", Fit.BEYOND)]:
        future.upgrade(revision)
        assert future.fit() is expected, revision
    for revision, expected in [("9003", Fit.BEYOND), ("9002", Fit.NEWER), (schema.HEAD, Fit.CURRENT)]:
        future.downgrade(revision)
        assert future.fit() is expected, revision
    future.downgrade("0001")
    assert future.fit() is Fit.OLDER
    future.upgrade()
    assert future.fit() is Fit.BEYOND


async def test_a_program_serves_tables_that_a_newer_one_made(config: Config, future: Future) -> None:
    future.write("9001", schema.HEAD)
    future.upgrade()
    assert stores.upgrade(config, lambda: NOW) is Fit.NEWER, "it has nothing to bring them, and goes on"
    store = Store(config)
    assert (await store.fit()).may_run
    box = await clinic_box(store)
    assert await store.read(lambda uow: uow.accounts.box_by_id(box.id)) == box
    await store.close()


def test_a_program_that_may_not_run_on_the_tables_says_what_to_do(config: Config, future: Future) -> None:
    future.write("9001", schema.HEAD, breaks_older=True)
    future.upgrade()
    with pytest.raises(Misconfigured, match="install the newer one"):
        stores.upgrade(config)
    with pytest.raises(Misconfigured, match="install the newer one"):
        stores.create(config)


async def test_tables_are_not_brought_up_under_a_node_that_could_not_bear_it(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a newer program sees it: its own last migration breaks what still runs elsewhere."""
    schema.downgrade(config.sqlite_url(config.store.url), schema.HEAD)
    monkeypatch.setattr(schema, "fit", lambda _engine: Fit.OLDER)
    monkeypatch.setattr(schema, "breaking", lambda _url: True)
    store = Store(config)
    running = Running("east-1-a", "east", "0.0.9", "0001", "mx", NOW, NOW)
    await store.write(nodes.report, running, NOW)
    with pytest.raises(Misconfigured, match="still runs on east: stop it there"):
        stores.upgrade(config, lambda: NOW + timedelta(seconds=59))
    assert stores.upgrade(config, lambda: NOW + timedelta(seconds=60)) is Fit.OLDER
    await store.write(nodes.leave, "east-1-a", NOW)
    assert stores.upgrade(config, lambda: NOW) is Fit.OLDER
    await store.close()


async def test_nodes_that_are_silent_for_a_day_are_forgotten(store: Store) -> None:
    quiet = Running("east-1-a", "east", "1", schema.HEAD, "mx", NOW, NOW)
    for one in (quiet, replace(quiet, name="west-1-b", node="west", seen_at=NOW + timedelta(hours=1))):
        await store.write(nodes.report, one, NOW)
        await store.write(nodes.report, one, NOW)
    later = NOW + timedelta(days=1, minutes=30)
    assert [one.node for one in await store.read(nodes.listed, later)] == ["east", "west"]
    assert await store.write(nodes.forget_silent, 200, later) == 1
    assert [one.node for one in await store.read(nodes.listed, later)] == ["west"]


# -- under load ------------------------------------------------------------------------------------------------------


def keep(uow: Uow, box_id: int, octets: bytes) -> int:
    stored = uow.objects.put(octets, NOW)
    uow.objects.hold(box_id, stored)
    return stored.id


async def test_tables_are_brought_up_and_back_while_an_old_program_writes(config: Config, future: Future) -> None:
    future.write("9001", schema.HEAD)
    store = Store(config)
    await store.start()
    box = await clinic_box(store)
    stopping = asyncio.Event()
    kept: dict[int, bytes] = {}

    async def write() -> None:
        while not stopping.is_set():
            octets = os.urandom(500)
            kept[await store.write(keep, box.id, octets)] = octets

    writers = [asyncio.create_task(write()) for _ in range(4)]
    try:
        for _ in range(2):
            await asyncio.to_thread(future.upgrade)
            await _more(kept)
            await asyncio.to_thread(future.downgrade, schema.HEAD)
            await _more(kept)
    finally:
        stopping.set()
        await asyncio.gather(*writers)
    found = await store.read(lambda uow: {number: uow.objects.get(box.id, number) for number in kept})
    assert found == kept
    await store.close()


async def _more(kept: dict[int, bytes]) -> None:
    """Wait until the writers went on a good while."""
    before = len(kept)
    async with asyncio.timeout(30):
        while len(kept) < before + 20:
            await asyncio.sleep(0)


@pytest.mark.postgres
@pytest.mark.slow
def test_two_programs_that_bring_the_tables_up_at_once_wait_for_each_other(postgres_server: postgres.Server) -> None:
    url = postgres_server.url(postgres_server.create())
    code = f"from mss.store import schema; schema.upgrade({url!r})"
    programs = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(3)]
    assert [program.wait(60) for program in programs] == [0, 0, 0]
    engine = open_engine(url, connections=1)
    assert schema.fit(engine) is Fit.CURRENT
    engine.dispose()
