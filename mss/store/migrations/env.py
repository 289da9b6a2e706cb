"""How Alembic runs a migration: on the engine that `schema` hands over, in one transaction."""

from alembic import context
from sqlalchemy import Engine

from mss.store import prepared_tables as prepared_tables
from mss.store.tables import metadata


def _run() -> None:
    engine: Engine = context.config.attributes["engine"]
    with engine.connect() as connection:
        context.configure(connection=connection, target_metadata=metadata, compare_type=False)
        with connection.begin(), context.begin_transaction():
            context.run_migrations()


_run()
