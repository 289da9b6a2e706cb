"""The tables' history: up, down and up again, and no difference from what the code expects."""

from __future__ import annotations

from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect

import mss.store.rights_tables  # noqa: F401  # It adds its tables to `metadata`.
from mss.config import Config
from mss.errors import Misconfigured
from mss.store import schema
from mss.store import store as stores
from mss.store.engine import open_engine
from mss.store.schema import Fit
from mss.store.store import Store
from mss.store.tables import metadata
from tests.store.store_fixtures import ENGINES
from tests.store.store_world import NOW, clinic_box, config_in
from tests.support import postgres


@pytest.fixture(params=ENGINES)
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of an empty database, on each engine."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/empty.sqlite"
    server: postgres.Server = request.getfixturevalue("postgres_server")
    return server.url(server.create())


def tables_in(url: str) -> set[str]:
    engine = open_engine(url, connections=1)
    with engine.connect() as connection, connection.begin():
        names = set(inspect(connection).get_table_names())
    engine.dispose()
    return names


def test_up_down_and_up_again(empty_url: str) -> None:
    ours = set(metadata.tables)
    assert tables_in(empty_url) == set()
    for _ in range(2):
        schema.upgrade(empty_url)
        assert tables_in(empty_url) - {"alembic_version", "sqlite_sequence"} == ours
        schema.downgrade(empty_url, "base")
        assert tables_in(empty_url) - {"alembic_version", "sqlite_sequence"} == set()
    schema.upgrade(empty_url)
    schema.upgrade(empty_url)
    assert tables_in(empty_url) >= ours


def test_the_history_ends_in_what_the_code_expects(empty_url: str) -> None:
    schema.upgrade(empty_url)
    engine = open_engine(empty_url, connections=1)
    with engine.connect() as connection, connection.begin():
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        differences = compare_metadata(context, metadata)
    engine.dispose()
    assert differences == []


def test_a_difference_would_be_seen(empty_url: str) -> None:
    schema.upgrade(empty_url)
    engine = open_engine(empty_url, connections=1)
    with engine.connect() as connection:
        with connection.begin():
            connection.exec_driver_sql("DROP INDEX ix_deliveries_due")
            connection.exec_driver_sql("ALTER TABLE leases ADD COLUMN other INTEGER")
        with connection.begin():
            differences = compare_metadata(MigrationContext.configure(connection), metadata)
    engine.dispose()
    assert {difference[0] for difference in differences} == {"add_index", "remove_column"}


def test_the_program_knows_the_newest_migration() -> None:
    assert ScriptDirectory(str(schema._FOLDER)).get_current_head() == schema.HEAD


async def test_a_store_says_whether_its_tables_are_of_this_program(config: Config) -> None:
    store = Store(config)
    assert await store.fit() is Fit.CURRENT
    await store.close()
    schema.downgrade(config.sqlite_url(config.store.url), "base")
    older = Store(config)
    assert await older.fit() is Fit.NONE
    await older.close()


async def test_creating_again_keeps_keys_and_rows(tmp_path: Path) -> None:
    config = config_in(tmp_path)
    stores.create(config, lambda: NOW)
    store = Store(config)
    box = await clinic_box(store)
    await store.close()
    master = config.path(config.store.master_key_file)
    before = master.read_bytes()
    stores.create(config, lambda: NOW)
    assert master.read_bytes() == before
    assert master.stat().st_mode & 0o777 == 0o600
    again = Store(config)
    assert await again.read(lambda uow: uow.accounts.box_by_id(box.id)) == box
    await again.close()


def test_a_store_that_is_not_there_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="mss init"):
        Store(config_in(tmp_path))


@pytest.mark.parametrize("content", [b"", b"c2hvcnQ=", b"\xff\xfe", b"A" * 43 + b"*"])
def test_a_master_key_that_is_none_stops_the_start(sqlite_config: Config, content: bytes) -> None:
    sqlite_config.path(sqlite_config.store.master_key_file).write_bytes(content)
    with pytest.raises(Misconfigured, match="master key"):
        Store(sqlite_config)


async def test_another_master_key_opens_nothing(sqlite_config: Config) -> None:
    from mss.store.crypto import Damaged
    from mss.store.keys import make_master_key

    store = Store(sqlite_config)
    box = await clinic_box(store)
    await store.close()
    master = sqlite_config.path(sqlite_config.store.master_key_file)
    with pytest.raises(FileExistsError):
        make_master_key(master)
    master.unlink()
    make_master_key(master)
    stranger = Store(sqlite_config)
    with pytest.raises(Damaged):
        await stranger.read(lambda uow: uow.accounts.box_by_id(box.id))
    await stranger.close()
