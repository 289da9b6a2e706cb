"""What was compiled for one engine of a process serves the others, and never the other kind of engine."""

from __future__ import annotations

from contextlib import ExitStack

from sqlalchemy import Dialect, Engine, literal, select

from mss.config import Config
from mss.store import dialects
from mss.store.engine import open_engine


def _compiled(engine: Engine) -> int:
    """Run a statement of this test's own; returns how many statements are kept now."""
    with engine.connect() as connection, connection.begin():
        assert connection.execute(select(literal(7).label("of_this_test"))).scalar() == 7
    return len(dialects.SHARED["execution_options"]["compiled_cache"])


def test_what_one_engine_compiled_serves_the_others(config: Config) -> None:
    url = config.sqlite_url(config.store.url)
    first = open_engine(url, connections=1)
    second = open_engine(url, connections=1, read_only=True)
    with ExitStack() as stack:
        stack.callback(first.dispose)
        stack.callback(second.dispose)
        assert first.dialect == second.dialect
        assert first.dialect is not second.dialect
        assert _compiled(first) == _compiled(second)


def test_the_two_kinds_of_engine_share_nothing() -> None:
    postgres: Dialect = dialects.PostgresAlike()  # type: ignore[no-untyped-call]
    assert dialects.SqliteAlike() == dialects.SqliteAlike()
    assert dialects.SqliteAlike() != postgres
    assert len({dialects.SqliteAlike(), dialects.SqliteAlike(), postgres}) == 2
