"""Each test of this room gets a store of its own, on both engines."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from mss.config import Config
from mss.store.store import Store
from tests.services.services_world import House
from tests.store.lived_in import LivedIn, is_lived_in, move_in
from tests.store.store_fixtures import ENGINES, config_on, postgres_template, sqlite_config, store, store_template
from tests.store.store_world import clinic_box, patient_box


async def _make_house(store: Store) -> House:
    return House(store, await patient_box(store), await clinic_box(store))


@pytest.fixture(scope="session")
def house_once(store_template: Path, tmp_path_factory: pytest.TempPathFactory) -> LivedIn[House]:
    """The house whose folder is copied; its store is closed."""
    return move_in(store_template, tmp_path_factory.mktemp("house"), _make_house)


@pytest.fixture(params=ENGINES)
def config(request: pytest.FixtureRequest, store_template: Path, tmp_path: Path) -> Config:
    """An operator with a fresh store, on each engine; on SQLite the house's people live there if the test asks."""
    if request.param == "sqlite" and "house" in request.fixturenames:
        return config_on(request, request.getfixturevalue("house_once").folder, tmp_path)
    return config_on(request, store_template, tmp_path)


@pytest.fixture
async def house(store: Store, config: Config, house_once: LivedIn[House]) -> House:
    """A patient and a clinician of ours."""
    return replace(house_once.people, store=store) if is_lived_in(config) else await _make_house(store)


__all__ = ["config", "house", "postgres_template", "sqlite_config", "store", "store_template"]
