"""The two engines and all that differs between them: opening, beginning, claiming, upserts.

SQLite: WAL with synchronous=FULL, the driver never opens or closes a transaction by itself. PostgreSQL: psycopg,
READ COMMITTED for writers, one snapshot (REPEATABLE READ) for readers.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, Select, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.pool import QueuePool

from mss.errors import Conflict, Unavailable

__all__ = [
    "IntegrityError",
    "claimable",
    "is_sqlite",
    "locked",
    "mapped",
    "open_engine",
    "open_glancing",
    "sqlite_path",
]

_BUSY_TIMEOUT_MS = 10_000
_RETRYABLE_PG = frozenset({"40001", "40P01", "23505"})
# Lock not available in time; a server that only reads (a standby); both pass.
_PASSING_PG = frozenset({"55P03", "25006"})


def is_sqlite(url: str) -> bool:
    """Say whether a database URL names SQLite."""
    return make_url(url).get_backend_name() == "sqlite"


def sqlite_path(url: str) -> Path:
    """Return the file of a SQLite URL."""
    return Path(make_url(url).database or "")


def open_engine(url: str, *, connections: int, read_only: bool = False, mostly_read: bool = False) -> Engine:
    """Open an engine; `connections` is how many threads will use it at once.

    `mostly_read`: a transaction takes SQLite's write lock at its first change only, not at its beginning.
    """
    if is_sqlite(url):
        begin = "BEGIN" if read_only or mostly_read else "BEGIN IMMEDIATE"
        return _begun_by(_open_sqlite(url, connections, read_only=read_only, busy_timeout_ms=_BUSY_TIMEOUT_MS), begin)
    isolation: Any = "REPEATABLE READ" if read_only else "READ COMMITTED"
    options = f"-c lock_timeout={_BUSY_TIMEOUT_MS} -c default_transaction_read_only={'on' if read_only else 'off'}"
    return create_engine(
        url,
        pool_size=connections,
        max_overflow=0,
        isolation_level=isolation,
        pool_pre_ping=True,
        poolclass=QueuePool,
        hide_parameters=True,
        connect_args={"connect_timeout": 10, "prepare_threshold": 3, "options": options},
    )


def open_glancing(url: str) -> Engine:
    """Open SQLite for reads that never wait for a lock; whoever uses it begins and ends transactions on the driver."""
    return _open_sqlite(url, 1, read_only=True, busy_timeout_ms=0)


def _begun_by(engine: Engine, begin: str) -> Engine:
    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    return engine


def _open_sqlite(url: str, connections: int, *, read_only: bool, busy_timeout_ms: int) -> Engine:
    sqlite_path(url).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    engine = create_engine(
        url,
        pool_size=connections,
        max_overflow=0,
        poolclass=QueuePool,
        hide_parameters=True,
        connect_args={
            "isolation_level": None,
            "check_same_thread": False,
            "timeout": busy_timeout_ms / 1000,
            "cached_statements": 512,
        },
    )

    @event.listens_for(engine, "connect")
    def _configure(connection: sqlite3.Connection, _record: object) -> None:
        cursor = connection.cursor()
        for pragma in _pragmas(busy_timeout_ms, read_only=read_only):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    return engine


def _pragmas(busy_timeout_ms: int, *, read_only: bool) -> list[str]:
    return [
        f"busy_timeout={busy_timeout_ms}",
        "journal_mode=WAL",
        "synchronous=FULL",
        "foreign_keys=ON",
        "temp_store=MEMORY",
        "cache_size=-32768",
        "mmap_size=268435456",
        "wal_autocheckpoint=4000",
        "journal_size_limit=67108864",
        *(["query_only=ON"] if read_only else []),
    ]


def mapped(error: Exception) -> Exception:
    """Turn the engine's error into one of ours, without its text, which may hold values; others stay as they are."""
    orig = error.orig if isinstance(error, DBAPIError) else error
    # The driver's own classes bear the names of PEP 249, whichever driver it is.
    names = {kind.__name__ for kind in type(orig).__mro__}
    state = getattr(orig, "sqlstate", None)
    if "IntegrityError" in names or state in _RETRYABLE_PG:
        return Conflict("two units of work met")
    lost = isinstance(error, DBAPIError) and error.connection_invalidated
    if "OperationalError" in names or lost or state in _PASSING_PG:
        return Unavailable(f"the store is away: {_reason(orig)}")
    return error


def _reason(error: BaseException | None) -> str:
    name = getattr(error, "sqlite_errorname", None) or getattr(error, "sqlstate", None)
    return str(name or type(error).__name__)


def claimable(connection: Connection, query: Select[Any]) -> Select[Any]:
    """Make a query take only rows that nobody else is claiming (SQLite's writer is alone anyway)."""
    return query if connection.dialect.name == "sqlite" else query.with_for_update(skip_locked=True)


def locked(connection: Connection, query: Select[Any]) -> Select[Any]:
    """Make a query hold its rows until the unit ends (SQLite's writer is alone anyway)."""
    return query if connection.dialect.name == "sqlite" else query.with_for_update()
