"""Each test gets an operator of its own, on both engines, with a patient, a professional and a robot."""

from __future__ import annotations

from pathlib import Path

import pytest

from mss.config import Config
from mss.store.engine import is_sqlite
from mss.store.store import Store
from tests.fhir.fhir_world import Ward, make_ward
from tests.store.lived_in import LivedIn, move_in
from tests.store.store_fixtures import ENGINES, config_on, postgres_template, sqlite_config, store, store_template
from tests.support import postgres


@pytest.fixture(scope="session")
def ward_once(store_template: Path, tmp_path_factory: pytest.TempPathFactory) -> LivedIn[Ward]:
    """The ward whose folder is copied; its store is closed."""
    return move_in(store_template, tmp_path_factory.mktemp("ward"), make_ward)


@pytest.fixture(scope="session")
def ward_on_postgres(
    postgres_server: postgres.Server,
    postgres_template: str,
    store_template: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> LivedIn[Ward]:
    """The same whose rows are in a template."""
    url = postgres_server.url(postgres_template)
    return move_in(store_template, tmp_path_factory.mktemp("ward"), make_ward, url)


@pytest.fixture(params=ENGINES)
def config(request: pytest.FixtureRequest, tmp_path: Path) -> Config:
    """An operator whose store is a copy of the ward's, on each engine."""
    return config_on(request, _home(request, request.param).folder, tmp_path)


@pytest.fixture
def ward(request: pytest.FixtureRequest, store: Store, config: Config) -> Ward:
    return _home(request, "sqlite" if is_sqlite(config.store.url) else "postgresql").people.moved(store)


def _home(request: pytest.FixtureRequest, engine: str) -> LivedIn[Ward]:
    made: LivedIn[Ward] = request.getfixturevalue("ward_once" if engine == "sqlite" else "ward_on_postgres")
    return made


__all__ = ["postgres_template", "sqlite_config", "store", "store_template"]
