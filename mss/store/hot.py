"""Statements of the paths that every letter takes: compiled once for each engine, then given to the driver itself.

SQLAlchemy's own way costs several times the statement on such small ones. Values go to the driver as they are: whole
numbers, texts, octets, truth values; rows come back as plain tuples (SQLite's truth values as 0 and 1).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol, cast

from sqlalchemy import ColumnElement, Connection, Executable, Table, insert
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.sql.compiler import SQLCompiler


class Rows(Protocol):
    """What a driver's cursor is used for here."""

    @property
    def rowcount(self) -> int:
        """How many rows were changed."""

    def fetchone(self) -> Any:
        """Return the next row, a tuple; None after the last."""

    def fetchall(self) -> list[Any]:
        """Return all rows that are left."""


class Hot:
    """One statement; `build` gives it for an engine's name, `keys` names an INSERT's columns."""

    def __init__(self, build: Executable | Callable[[str], Executable], keys: Sequence[str] | None = None) -> None:
        self._build: Callable[[str], Any] = build if callable(build) else lambda _engine: build
        self._keys = keys
        self._forms: dict[str, _Form] = {}

    @classmethod
    def insert(cls, table: Table) -> Hot:
        """Make an INSERT of all columns but the one that the engine counts by itself."""
        return cls(insert(table), _columns(table))

    @classmethod
    def new(cls, table: Table, *returning: ColumnElement[Any]) -> Hot:
        """Make an INSERT that leaves an existing row as it is: no row comes back then, and `rowcount` is 0."""

        def build(engine: str) -> Executable:
            statement = INSERTS[engine](table).on_conflict_do_nothing()
            return cast(Executable, statement.returning(*returning) if returning else statement)

        return cls(build, _columns(table))

    @classmethod
    def upsert(cls, table: Table, key: Sequence[str], changed: Sequence[str]) -> Hot:
        """Make an INSERT that sets the columns `changed` of an existing row with the same `key`."""

        def build(engine: str) -> Executable:
            statement = INSERTS[engine](table)
            set_ = {name: statement.excluded[name] for name in changed}
            return cast(Executable, statement.on_conflict_do_update(index_elements=key, set_=set_))

        return cls(build, _columns(table))

    def run(self, connection: Connection, values: Mapping[str, Any]) -> Rows:
        """Run it with values by name."""
        form = self._form(connection)
        rows: Rows = _driver(connection).execute(form.sql, form.arguments(values))
        return rows

    def many(self, connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
        """Run it for each of several rows."""
        form = self._form(connection)
        if len(rows) == 1:
            _driver(connection).execute(form.sql, form.arguments(rows[0]))
        elif rows:
            _driver(connection).cursor().executemany(form.sql, [form.arguments(row) for row in rows])

    def _form(self, connection: Connection) -> _Form:
        dialect = connection.dialect
        form = self._forms.get(dialect.name)
        if form is None:
            compiled: SQLCompiler = self._build(dialect.name).compile(dialect=dialect, column_keys=self._keys)
            constants = {name: value for name, value in compiled.params.items() if value is not None}
            order = tuple(compiled.positiontup or ()) if dialect.positional else None
            form = self._forms[dialect.name] = _Form(str(compiled), order, constants)
        return form


@dataclass(frozen=True, slots=True)
class _Form:
    """A statement for one engine; `order` names the values where they go by place."""

    sql: str
    order: tuple[str, ...] | None
    constants: Mapping[str, Any]

    def arguments(self, values: Mapping[str, Any]) -> Any:
        given = {**self.constants, **values} if self.constants else values
        return given if self.order is None else [given[name] for name in self.order]


# Each engine's own INSERT, which knows what to do with a row that is there already.
INSERTS: Final[dict[str, Any]] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}


def _columns(table: Table) -> list[str]:
    return [column.name for column in table.columns if column is not table.autoincrement_column]


def _driver(connection: Connection) -> Any:
    return connection.connection.driver_connection
