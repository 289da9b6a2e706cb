"""Each test gets an operator of its own, on both engines, with a patient, a professional and a robot."""

from __future__ import annotations

import pytest

from mss.store.store import Store
from tests.fhir.fhir_world import Ward, make_ward
from tests.store.store_fixtures import config, postgres_template, sqlite_config, store, store_template


@pytest.fixture
async def ward(store: Store) -> Ward:
    return await make_ward(store)


__all__ = ["config", "postgres_template", "sqlite_config", "store", "store_template", "ward"]
