"""How Alembic runs migrations: on the engine that `schema` hands over, in one transaction, one program at a time.

A migration that older programs cannot bear says so: `breaks_older = True` beside its `revision`. All others only add
what old code need not know (new tables; columns that may be null or have a default): nodes are replaced one by one.
"""

from alembic import context
from sqlalchemy import Connection, Engine, delete, insert, inspect, text

from mss.store import dossier_tables as dossier_tables
from mss.store import holding_tables as holding_tables
from mss.store import prepared_tables as prepared_tables
from mss.store import rights_tables as rights_tables
from mss.store.nodes_tables import accepted_forms
from mss.store.tables import metadata

# "mss" in octets: nobody else takes this lock in our database.
_LOCK = 0x6D7373


def _run() -> None:
    engine: Engine = context.config.attributes["engine"]
    # The transaction is ours from the beginning: Alembic would close one of its own before the last lines were in it.
    with engine.begin() as connection:
        context.configure(connection=connection, target_metadata=metadata, compare_type=False)
        _alone(connection)
        context.run_migrations()
        _note_accepted(connection)


def _alone(connection: Connection) -> None:
    """Wait for other nodes that migrate; never stand long before a table and hold up everybody behind us."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SET LOCAL lock_timeout = '1s'"))
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})


def _note_accepted(connection: Connection) -> None:
    """Write down whose programs may run now: back to the last migration that older ones cannot bear."""
    if not inspect(connection).has_table(accepted_forms.name):
        return
    forms = []
    for revision in context.script.iterate_revisions(context.get_context().get_current_revision(), "base"):
        forms.append(revision.revision)
        if getattr(revision.module, "breaks_older", False):
            break
    connection.execute(delete(accepted_forms))
    connection.execute(insert(accepted_forms), [{"form": form} for form in forms])


_run()
