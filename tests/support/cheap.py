"""What tests need not pay each time: the strength of passwords that guard nothing, and the history of empty tables."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from mss import passwords
from mss.store import schema
from mss.store import store as stores
from mss.store.engine import is_sqlite, sqlite_path

_REAL: Final = passwords._HASHER
_CHEAP: Final = passwords.Hasher(passes=1, memory_kib=8)


def make_passwords_cheap() -> None:
    """Hash with the least that Argon2 knows, in this process: the program's parameters take 20 ms each."""
    passwords._HASHER = _CHEAP
    passwords._nobody.cache_clear()


@contextmanager
def dear_passwords() -> Iterator[None]:
    """Hash with the program's own parameters meanwhile."""
    passwords._HASHER = _REAL
    passwords._nobody.cache_clear()
    yield
    make_passwords_cheap()


def make_new_stores_cheap() -> None:
    """Let a new operator on SQLite begin with tables that were migrated once in this process: Alembic takes 100 ms."""
    vars(stores)["schema"] = _Schema("schema")


class _Schema(ModuleType):
    """The room `schema`, whose way to the newest form is short where there is nothing yet."""

    def __getattr__(self, name: str) -> Any:
        return getattr(schema, name)

    @staticmethod
    def upgrade(url: str, revision: str = "head", *more: Path) -> None:
        """Write the migrated file; whatever is there already is brought up as ever."""
        if revision != "head" or more or not is_sqlite(url) or sqlite_path(url).exists():
            schema.upgrade(url, revision, *more)
            return
        path = sqlite_path(url)
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.write_bytes(_migrated())


@cache
def _migrated() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "store.sqlite")
        schema.upgrade(f"sqlite:///{path}")
        return path.read_bytes()
