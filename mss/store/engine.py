"""The two engines and all that differs between them: opening, beginning, claiming, upserts.

SQLite: WAL with synchronous=FULL, the driver never opens or closes a transaction by itself. PostgreSQL: psycopg,
READ COMMITTED for writers, one snapshot (REPEATABLE READ) for readers.
"""

from __future__ import annotations

import sqlite3
import struct
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from sqlalchemy import (
    URL,
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    Connection,
    Engine,
    Integer,
    LargeBinary,
    Select,
    String,
    Table,
    create_engine,
    delete,
    event,
    func,
    literal_column,
    select,
    tuple_,
)
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError
from sqlalchemy.pool import NullPool, QueuePool
from sqlalchemy.types import TypeEngine

from mss.errors import Conflict, Misconfigured, Unavailable
from mss.store import dialects

__all__ = [
    "IntegrityError", "among", "bulk", "bulk_each", "claimable", "drop_some", "fault_of", "is_passing", "is_sqlite",
    "lockable", "locked", "mapped", "mapping", "open_engine", "open_glancing", "open_reading", "open_telling",
    "open_writing", "reserved", "sqlite_path",
]  # fmt: skip

_BUSY_TIMEOUT_MS = 10_000
# A server that is cut off says nothing: whoever waits for it is told within half a minute, and finds another.
_ALIVE = {
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 25_000,
}
_SQLITE = b"SQLite format 3\0"
_RETRYABLE_PG = frozenset({"40001", "40P01", "23505"})
# Lock not available in time; a server that only reads (a standby); both pass.
_PASSING_PG = frozenset({"55P03", "25006"})
_PASSING_LOCKS = frozenset({"55P03", "40P01"})
_DAMAGED = ("SQLITE_CORRUPT", "SQLITE_NOTADB")
# By the beginning of the engine's word; psycopg gives no state for a connection that did not come to be.
_REASONS = {
    "SQLITE_BUSY": "another program holds its file locked",
    "SQLITE_LOCKED": "another program holds its file locked",
    "SQLITE_CANTOPEN": "its file cannot be opened",
    "SQLITE_READONLY": "its files are not ours to write",
    "SQLITE_PERM": "its files are not ours to write",
    "SQLITE_FULL": "the disk is full",
    "SQLITE_IOERR": "the disk fails",
    "SQLITE_CORRUPT": "its file is damaged, bring its backup back",
    "SQLITE_NOTADB": "its file is damaged, bring its backup back",
    "OperationalError": "the server does not answer, or does not let us in",
    "ConnectionTimeout": "the server does not answer, or does not let us in",
    "55P03": "another program holds its rows locked",
    "25006": "the server only reads",
    "53100": "the disk is full",
}


def is_sqlite(url: str) -> bool:
    """Say whether a database URL names SQLite."""
    return _parsed(url).get_backend_name() == "sqlite"


def sqlite_path(url: str) -> Path:
    """Return the file of a SQLite URL."""
    return Path(_parsed(url).database or "")


def _parsed(url: str) -> URL:
    """Return a URL of one of the two engines, with our driver; Misconfigured does not show it: it may hold a secret."""
    try:
        parsed = make_url(url)
    except ArgumentError:
        parsed = None
    match parsed.get_backend_name() if parsed is not None else "":
        case "sqlite":
            return cast(URL, parsed).set(drivername=dialects.SQLITE)
        case "postgresql":
            return cast(URL, parsed).set(drivername=dialects.POSTGRESQL)
        case _:
            raise Misconfigured("a database's URL begins with sqlite:/// or postgresql+psycopg://: see [store]")


def fault_of(url: str) -> str:
    """Say why a SQLite file cannot be opened as one, before opening would make an empty one; "" when it can."""
    if not is_sqlite(url):
        return ""
    path = sqlite_path(url)
    try:
        with path.open("rb") as file:
            head = file.read(len(_SQLITE))
    except FileNotFoundError:
        return f"there is no database at {path}"
    except OSError as error:
        return f"{path} cannot be read ({error.strerror})"
    return "" if head == _SQLITE else f"{path} is no SQLite database"


def open_engine(url: str, *, connections: int, read_only: bool = False, mostly_read: bool = False) -> Engine:
    """Open an engine; `connections` is how many threads will use it at once.

    `mostly_read`: a transaction takes SQLite's write lock at its first change only, not at its beginning.
    """
    if is_sqlite(url):
        begin = "BEGIN" if read_only or mostly_read else "BEGIN IMMEDIATE"
        return _begun_by(_open_sqlite(url, connections, read_only=read_only, busy_timeout_ms=_BUSY_TIMEOUT_MS), begin)
    isolation: Any = "REPEATABLE READ" if read_only else "READ COMMITTED"
    connect = {"connect_timeout": 10, "prepare_threshold": 3, "options": f"-c lock_timeout={_BUSY_TIMEOUT_MS}"}
    engine = create_engine(
        _parsed(url),
        pool_size=connections,
        max_overflow=0,
        isolation_level=isolation,
        pool_pre_ping=True,
        poolclass=QueuePool,
        hide_parameters=True,
        connect_args=connect | _ALIVE,
        **dialects.SHARED,
    )
    if read_only:
        event.listen(engine, "connect", _only_read)
    return engine


def _only_read(connection: Any, _record: object) -> None:
    """Let nothing be written; said once the server is found: `target_session_attrs` would take it for a replica."""
    connection.execute("SET default_transaction_read_only = on")
    connection.commit()


def open_reading(url: str, connections: int) -> Engine:
    """Open SQLite for reads; whoever uses it begins and ends transactions on the driver."""
    return _open_sqlite(url, connections, read_only=True, busy_timeout_ms=_BUSY_TIMEOUT_MS)


def open_glancing(url: str) -> Engine:
    """Open SQLite for reads that never wait for a lock; whoever uses it begins and ends transactions on the driver."""
    return _open_sqlite(url, 1, read_only=True, busy_timeout_ms=0)


def open_writing(url: str) -> Engine:
    """Open SQLite for its one writer, which begins and ends transactions on the driver."""
    return _open_sqlite(url, 1, read_only=False, busy_timeout_ms=_BUSY_TIMEOUT_MS)


def open_telling(url: str) -> Engine:
    """Open PostgreSQL for notifications: each statement by itself, and none of their commits waits for the disk."""
    options = f"-c lock_timeout={_BUSY_TIMEOUT_MS} -c synchronous_commit=off"
    connect = {"connect_timeout": 10, "autocommit": True, "options": options}
    return create_engine(_parsed(url), poolclass=NullPool, hide_parameters=True, connect_args=connect | _ALIVE)


def _begun_by(engine: Engine, begin: str) -> Engine:
    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    return engine


def _open_sqlite(url: str, connections: int, *, read_only: bool, busy_timeout_ms: int) -> Engine:
    sqlite_path(url).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    engine = create_engine(
        _parsed(url),
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
        **dialects.SHARED,
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
        # A letter takes many pages: fewer and larger ones cost a fifth less. Counts only where the file is made.
        "page_size=8192",
        f"busy_timeout={busy_timeout_ms}",
        "journal_mode=WAL",
        "synchronous=FULL",
        "foreign_keys=ON",
        "temp_store=MEMORY",
        "cache_size=-32768",
        "mmap_size=268435456",
        # A net: `checkpoints` carries the log into the file long before.
        "wal_autocheckpoint=16000",
        "journal_size_limit=134217728",
        *(["query_only=ON"] if read_only else []),
    ]


@contextmanager
def mapping(what: str = "the store") -> Iterator[None]:
    """Let the engine's errors out as ours."""
    try:
        yield
    except DBAPIError as error:
        known = mapped(error, what)
        if known is error:
            raise
        raise known from None


def mapped(error: Exception, what: str = "the store") -> Exception:
    """Turn the engine's error into one of ours, without its text, which may hold values; others stay as they are."""
    orig = error.orig if isinstance(error, DBAPIError) else error
    # The driver's own classes bear the names of PEP 249, whichever driver it is.
    names = {kind.__name__ for kind in type(orig).__mro__}
    state = getattr(orig, "sqlstate", None)
    if "IntegrityError" in names or state in _RETRYABLE_PG:
        return Conflict("two units of work met")
    lost = isinstance(error, DBAPIError) and error.connection_invalidated
    damaged = getattr(orig, "sqlite_errorname", "").startswith(_DAMAGED)
    if "OperationalError" in names or lost or damaged or state in _PASSING_PG:
        return Unavailable(f"{what} is away: {_reason(orig)}")
    return error


def is_passing(error: DBAPIError) -> bool:
    """Whether somebody else's lock was in the way, and another try may do better."""
    return getattr(error.orig, "sqlstate", None) in _PASSING_LOCKS


def _reason(error: BaseException | None) -> str:
    """Return what an operator can do something about, with the engine's own word for it."""
    name = str(getattr(error, "sqlite_errorname", None) or getattr(error, "sqlstate", None) or type(error).__name__)
    said = next((said for word, said in _REASONS.items() if name.startswith(word)), "")
    return f"{said} ({name})" if said else name


def bulk(connection: Connection, table: Table, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Add many rows at once, by the engine's fastest way; the values go to the driver as they are."""
    raw: Any = connection.connection.driver_connection
    names = ", ".join(columns)
    if connection.dialect.name == "sqlite":
        marks = ", ".join("?" * len(columns))
        raw.cursor().executemany(f"INSERT INTO {table.name} ({names}) VALUES ({marks})", rows)  # noqa: S608
        return
    # In binary neither side writes or reads digits: a fifth of what a box in bulk costs.
    into = f"COPY {table.name} ({names}) FROM STDIN (FORMAT BINARY)"
    with raw.cursor() as cursor, cursor.copy(into) as copy:
        copy.set_types([_wire_type(table.c[name].type) for name in columns])
        for row in rows:
            copy.write_row(row)


def bulk_each(
    connection: Connection, table: Table, columns: Sequence[str], keys: Sequence[int], rows: Sequence[Sequence[Any]]
) -> None:
    """Add the same rows for each of many keys, which stand in the first of the columns."""
    if connection.dialect.name == "sqlite":
        bulk(connection, table, columns, [(key, *row) for key in keys for row in rows])
        return
    raw: Any = connection.connection.driver_connection
    kinds = [_wire_type(table.c[name].type) for name in columns[1:]]
    head = struct.pack("!hi", len(columns), _INT8.size)
    # What is the same for all keys is written down once.
    ends = [b"".join(map(_on_the_wire, row, kinds)) for row in rows]
    lines = (head + _INT8.pack(key) + end for key in keys for end in ends)
    into = f"COPY {table.name} ({', '.join(columns)}) FROM STDIN (FORMAT BINARY)"
    with raw.cursor() as cursor, cursor.copy(into) as copy:
        copy.write(b"".join((_COPY_BEGIN, *lines, _COPY_END)))


def _on_the_wire(value: Any, kind: str) -> bytes:
    """Return a value in PostgreSQL's binary form, its length before it."""
    if value is None:
        return struct.pack("!i", -1)
    octets = {"int8": _INT8.pack, "bool": _BOOL.pack, "text": str.encode}[kind](value)
    return struct.pack("!i", len(octets)) + octets


_INT8, _BOOL = struct.Struct("!q"), struct.Struct("!?")
# Signature, flags, no extension (PostgreSQL, COPY, "Binary Format"); a count of columns that is none ends it.
_COPY_BEGIN, _COPY_END = b"PGCOPY\n\xff\r\n\0" + bytes(8), b"\xff\xff"


def _wire_type(kind: TypeEngine[Any]) -> str:
    """Return PostgreSQL's name of a column's type."""
    for known, name in _WIRE_TYPES:
        if isinstance(kind, known):
            return name
    raise TypeError(f"no column of this kind is written in bulk: {kind!r}")


_WIRE_TYPES: tuple[tuple[type[TypeEngine[Any]], str], ...] = (
    (BigInteger, "int8"),
    (Integer, "int4"),
    (Boolean, "bool"),
    (LargeBinary, "bytea"),
    (String, "text"),
)


def drop_some(connection: Connection, table: Table, where: ColumnElement[bool], limit: int) -> int:
    """Drop so many rows at most; returns how many went.

    PostgreSQL finds them by their places: a list of keys would have to be planned, and costs more than the rows.
    """
    if connection.dialect.name == "sqlite":
        key = list(table.primary_key.columns)
        rows = [tuple(row) for row in connection.execute(select(*key).where(where).limit(limit))]
        one = key[0].in_([row[0] for row in rows]) if len(key) == 1 else tuple_(*key).in_(rows)
        return connection.execute(delete(table).where(one)).rowcount if rows else 0
    place: ColumnElement[Any] = literal_column("ctid")
    some = select(place).select_from(table).where(where).limit(limit)
    return connection.execute(delete(table).where(place == func.any(func.array(some.scalar_subquery())))).rowcount


def among(connection: Connection, columns: Sequence[Column[Any]], values: Collection[Any]) -> list[Any]:
    """Return some columns of the rows whose first of these has one of many values.

    On PostgreSQL it is planned anew each time: a plan made while the table was empty would read all of it for ever.
    """
    raw: Any = connection.connection.driver_connection
    key, names = columns[0], ", ".join(column.name for column in columns)
    begin = f"SELECT {names} FROM {key.table.name} WHERE {key.name}"  # noqa: S608
    if connection.dialect.name == "sqlite":
        found = raw.execute(f"{begin} IN ({', '.join('?' * len(values))})", list(values))
    else:
        found = raw.execute(f"{begin} = ANY(%s)", (list(values),), prepare=False)
    rows: list[Any] = found.fetchall()
    return rows


def reserved(connection: Connection, table: Table, count: int) -> list[int]:
    """Take so many numbers of a table's own count, in order: no other row gets them."""
    if connection.dialect.name == "sqlite":
        found = connection.exec_driver_sql("SELECT seq FROM sqlite_sequence WHERE name = ?", (table.name,)).scalar()
        return list(range((found or 0) + 1, (found or 0) + 1 + count))
    text = "SELECT nextval(pg_get_serial_sequence(%s, 'id')) FROM generate_series(1, %s)"
    return sorted(connection.exec_driver_sql(text, (table.name, count)).scalars())


def claimable(connection: Connection, query: Select[Any]) -> Select[Any]:
    """Make a query take only rows that nobody else is claiming (SQLite's writer is alone anyway)."""
    return query if connection.dialect.name == "sqlite" else query.with_for_update(skip_locked=True)


def locked(connection: Connection, query: Select[Any]) -> Select[Any]:
    """Make a query hold its rows until the unit ends (SQLite's writer is alone anyway)."""
    return lockable(connection.dialect.name, query)


def lockable(engine: str, query: Select[Any]) -> Select[Any]:
    """Make a query for an engine hold its rows until the unit ends."""
    return query if engine == "sqlite" else query.with_for_update()
