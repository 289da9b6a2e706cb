"""What SQLAlchemy compiled for one engine of a process serves its others: a worker has four of them on one store.

By itself it keeps compiled statements apart for each engine, since each has a dialect of its own. Ours say that they
speak alike, and share one cache. It does not know what is compiled, nor how an engine is opened.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy.dialects import registry
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
from sqlalchemy.util import LRUCache

__all__ = ["POSTGRESQL", "SHARED", "SQLITE"]

SQLITE: Final = "sqlite+alike"
POSTGRESQL: Final = "postgresql+alike"
# More than all our statements; what is used seldom goes first.
_STATEMENTS_MAX: Final = 2_000
# Of `create_engine`.
SHARED: Final[dict[str, Any]] = {"execution_options": {"compiled_cache": LRUCache(_STATEMENTS_MAX)}}


class SqliteAlike(SQLiteDialect_pysqlite):
    """SQLite as all our engines speak it."""

    supports_statement_cache = True

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self)

    def __hash__(self) -> int:
        return hash(type(self))


class PostgresAlike(PGDialect_psycopg):
    """PostgreSQL as all our engines speak it; how they isolate transactions is no part of a statement."""

    supports_statement_cache = True

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self)

    def __hash__(self) -> int:
        return hash(type(self))


registry.register("sqlite.alike", __name__, "SqliteAlike")
registry.register("postgresql.alike", __name__, "PostgresAlike")
