"""The tables' form and its history: Alembic, driven from here. Migrations stand in `migrations/versions`."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config as AlembicConfig
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Engine

from mss.errors import Misconfigured
from mss.store.engine import mapping, open_engine

_FOLDER = Path(__file__).parent / "migrations"


def _config(engine: Engine) -> AlembicConfig:
    config = AlembicConfig()
    config.set_main_option("script_location", str(_FOLDER))
    config.attributes["engine"] = engine
    return config


def upgrade(url: str, revision: str = "head") -> None:
    """Bring a database to a revision, the newest when none is named. Misconfigured when it is beyond this program."""
    engine = open_engine(url, connections=1)
    try:
        with mapping():
            command.upgrade(_config(engine), revision)
    except CommandError:
        raise Misconfigured("the store's tables were made by a newer program: run that one") from None
    finally:
        engine.dispose()


def downgrade(url: str, revision: str) -> None:
    """Bring a database back to an older revision."""
    engine = open_engine(url, connections=1)
    try:
        command.downgrade(_config(engine), revision)
    finally:
        engine.dispose()


def at_head(engine: Engine) -> bool:
    """Say whether a database has the newest form."""
    with mapping(), engine.connect() as connection, connection.begin():
        current = MigrationContext.configure(connection).get_current_revision()
    return current == ScriptDirectory(str(_FOLDER)).get_current_head()
