"""The same store on SQLite and on PostgreSQL: a copy of a template for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mss.config import Config
from mss.store import schema
from mss.store.store import Store
from tests.store.store_world import config_in, copy_template, make_template
from tests.support import postgres

ENGINES = [pytest.param("sqlite"), pytest.param("postgresql", marks=pytest.mark.postgres)]


@pytest.fixture(scope="session")
def store_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a migrated store and its keys."""
    return make_template(tmp_path_factory.mktemp("template"))


@pytest.fixture(scope="session")
def postgres_template(postgres_server: postgres.Server) -> str:
    """A database with our tables."""
    name = postgres_server.create()
    schema.upgrade(postgres_server.url(name))
    return name


@pytest.fixture
def sqlite_config(store_template: Path, tmp_path: Path) -> Config:
    """An operator with a fresh SQLite store."""
    return config_in(copy_template(store_template, tmp_path))


@pytest.fixture(params=ENGINES)
def config(request: pytest.FixtureRequest, store_template: Path, tmp_path: Path) -> Config:
    """An operator with a fresh store, on each engine."""
    return config_on(request, store_template, tmp_path)


def config_on(request: pytest.FixtureRequest, template: Path, tmp_path: Path) -> Config:
    """Return an operator on a copy of a folder, on the engine that is the request's parameter."""
    folder = copy_template(template, tmp_path)
    if request.param == "sqlite":
        return config_in(folder)
    return config_in(folder, request.getfixturevalue("postgres_database"))


@pytest.fixture
async def store(config: Config) -> AsyncIterator[Store]:
    """A started store, on each engine."""
    opened = Store(config)
    await opened.start()
    yield opened
    await opened.close()


__all__ = ["config", "postgres_template", "sqlite_config", "store", "store_template"]
