"""The tables' form and its history: Alembic, driven from here. Migrations stand in `migrations/versions`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from sqlalchemy import Engine, inspect, text

from mss.errors import Misconfigured
from mss.store.engine import mapping, open_engine

if TYPE_CHECKING:
    from alembic.config import Config as AlembicConfig

# The newest migration. Alembic knows it too, but costs a third of a second that every command would pay.
HEAD: Final = "0021"
_FOLDER: Final = Path(__file__).parent / "migrations"


def _config(engine: Engine) -> AlembicConfig:
    from alembic.config import Config as AlembicConfig

    config = AlembicConfig()
    config.set_main_option("script_location", str(_FOLDER))
    config.attributes["engine"] = engine
    return config


def upgrade(url: str, revision: str = "head") -> None:
    """Bring a database to a revision, the newest when none is named. Misconfigured when it is beyond this program."""
    from alembic import command
    from alembic.util import CommandError

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
    from alembic import command

    engine = open_engine(url, connections=1)
    try:
        command.downgrade(_config(engine), revision)
    finally:
        engine.dispose()


def at_head(engine: Engine) -> bool:
    """Say whether a database has the newest form."""
    with mapping(), engine.connect() as connection, connection.begin():
        if not inspect(connection).has_table("alembic_version"):
            return False
        return list(connection.execute(text("SELECT version_num FROM alembic_version")).scalars()) == [HEAD]
