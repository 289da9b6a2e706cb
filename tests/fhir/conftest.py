"""Each test gets an operator of its own, on both engines, with a patient, a professional and a robot."""

from __future__ import annotations

from pathlib import Path

import pytest

from mss.config import Config
from mss.store.store import Store
from tests.fhir.fhir_world import Ward, make_ward
from tests.store.lived_in import LivedIn, is_lived_in, move_in
from tests.store.store_fixtures import ENGINES, config_on, postgres_template, sqlite_config, store, store_template


@pytest.fixture(scope="session")
def ward_once(store_template: Path, tmp_path_factory: pytest.TempPathFactory) -> LivedIn[Ward]:
    """The ward whose folder is copied; its store is closed."""
    return move_in(store_template, tmp_path_factory.mktemp("ward"), make_ward)


@pytest.fixture(params=ENGINES)
def config(request: pytest.FixtureRequest, ward_once: LivedIn[Ward], store_template: Path, tmp_path: Path) -> Config:
    """An operator with a fresh store, on each engine; on SQLite the ward's people live there."""
    return config_on(request, ward_once.folder if request.param == "sqlite" else store_template, tmp_path)


@pytest.fixture
async def ward(store: Store, config: Config, ward_once: LivedIn[Ward]) -> Ward:
    if is_lived_in(config):
        return ward_once.people.moved(store)
    return await make_ward(store)


__all__ = ["config", "postgres_template", "sqlite_config", "store", "store_template", "ward"]
