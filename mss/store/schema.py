"""The tables' form and its history: Alembic, driven from here. Migrations stand in `migrations/versions`.

The tables themselves say which programs may run on them (`accepted_forms`): an old one cannot know what a newer one
did to them. So nodes are replaced one by one: the first new one brings the tables up, the old ones go on.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sqlalchemy import Connection, Engine, inspect, select, text
from sqlalchemy.exc import DBAPIError

from mss.errors import Misconfigured
from mss.store.engine import is_passing, mapping, open_engine
from mss.store.nodes_tables import accepted_forms

if TYPE_CHECKING:
    from alembic.config import Config as AlembicConfig
    from alembic.script import ScriptDirectory

# The newest migration. Alembic knows it too, but costs a third of a second that every command would pay.
HEAD: Final = "0100"
_FOLDER: Final = Path(__file__).parent / "migrations"
# A migration waits a second for a table in use, then lets everybody pass before it tries again.
_TRIES: Final = 60
_PAUSE_S: Final = 0.5


class Fit(StrEnum):
    """How the tables and this program go together."""

    NONE = "none"
    OLDER = "older"
    CURRENT = "current"
    NEWER = "newer"
    BEYOND = "beyond"

    @property
    def may_run(self) -> bool:
        """Whether this program may run on the tables as they are."""
        return self in (Fit.CURRENT, Fit.NEWER)

    @property
    def said(self) -> str:
        """What that means, and what to do."""
        return _SAID[self]


_SAID: Final = {
    Fit.NONE: "there are no tables: “mss migrate” or “mss serve” makes them",
    Fit.OLDER: "the tables are of an older form: “mss migrate” or “mss serve” brings them up",
    Fit.CURRENT: "the tables are of this program's form",
    Fit.NEWER: "the tables are of a newer form, on which this program may run: replace it soon",
    Fit.BEYOND: "the tables were made by a newer program, and this one may not run on them: install the newer one here",
}


def _config(engine: Engine, *more: Path) -> AlembicConfig:
    from alembic.config import Config as AlembicConfig

    config = AlembicConfig()
    config.set_main_option("script_location", str(_FOLDER))
    config.set_main_option("path_separator", "newline")
    config.set_main_option("version_locations", "\n".join(map(str, (_FOLDER / "versions", *more))))
    config.attributes["engine"] = engine
    return config


def upgrade(url: str, revision: str = "head", *more: Path) -> None:
    """Bring a database to a revision, the newest when none is named. Misconfigured when it is beyond this program.

    `more` are folders with further migrations.
    """
    from alembic import command
    from alembic.util import CommandError

    engine = open_engine(url, connections=1)
    try:
        _patiently(lambda: command.upgrade(_config(engine, *more), revision))
    except CommandError:
        raise Misconfigured(Fit.BEYOND.said) from None
    finally:
        engine.dispose()


def downgrade(url: str, revision: str, *more: Path) -> None:
    """Bring a database back to an older revision."""
    from alembic import command

    engine = open_engine(url, connections=1)
    try:
        _patiently(lambda: command.downgrade(_config(engine, *more), revision))
    finally:
        engine.dispose()


def _patiently(work: Callable[[], None]) -> None:
    """Run a migration; while others use what it needs, let them pass and try again."""
    with mapping():
        for left in reversed(range(_TRIES)):
            try:
                return work()
            except DBAPIError as error:
                if not left or not is_passing(error):
                    raise
                time.sleep(_PAUSE_S)
    return None


def fit(engine: Engine) -> Fit:
    """Say how a database's tables and this program go together."""
    with mapping(), engine.connect() as connection, connection.begin():
        return _fit(connection)


def _fit(connection: Connection) -> Fit:
    current = form_of(connection)
    if not current:
        return Fit.NONE
    if current == HEAD:
        return Fit.CURRENT
    there = inspect(connection).has_table(accepted_forms.name)
    accepted = connection.execute(select(accepted_forms.c.form)).scalars().all() if there else ()
    if HEAD in accepted:
        return Fit.NEWER
    return Fit.OLDER if current in _known() else Fit.BEYOND


def form_of(connection: Connection) -> str:
    """Return the revision of a database's tables; "" when there are none."""
    if not inspect(connection).has_table("alembic_version"):
        return ""
    return next(iter(connection.execute(text("SELECT version_num FROM alembic_version")).scalars()), "")


def _known() -> frozenset[str]:
    """Return the revisions that this program can begin from, by the names of their files."""
    return frozenset(path.name.partition("_")[0] for path in (_FOLDER / "versions").glob("[0-9]*_*.py"))


def breaking(url: str) -> bool:
    """Say whether bringing a database up means a change that programs of its form cannot bear."""
    engine = open_engine(url, connections=1)
    try:
        with mapping(), engine.connect() as connection, connection.begin():
            current = form_of(connection)
    finally:
        engine.dispose()
    if current == HEAD or current not in _known():
        return False
    pending = _scripts(engine).iterate_revisions(HEAD, current)
    return any(getattr(one.module, "breaks_older", False) for one in pending)


def _scripts(engine: Engine) -> ScriptDirectory:
    from alembic.script import ScriptDirectory

    return ScriptDirectory.from_config(_config(engine))
