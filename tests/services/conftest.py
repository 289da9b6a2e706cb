"""Each test of this room gets a store of its own, on both engines."""

from tests.store.store_fixtures import config, postgres_template, sqlite_config, store, store_template

__all__ = ["config", "postgres_template", "sqlite_config", "store", "store_template"]
