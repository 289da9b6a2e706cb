"""Each test of this room gets a store of its own, on both engines."""

import pytest

from mss.store.store import Store
from tests.services.services_world import House
from tests.store.store_fixtures import config, postgres_template, sqlite_config, store, store_template
from tests.store.store_world import clinic_box, patient_box


@pytest.fixture
async def house(store: Store) -> House:
    """A patient and a clinician of ours."""
    return House(store, await patient_box(store), await clinic_box(store))


__all__ = ["config", "house", "postgres_template", "sqlite_config", "store", "store_template"]
