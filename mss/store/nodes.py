"""The nodes that run: each worker process renews its row while it lives, so that the others know of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from importlib.metadata import PackageNotFoundError, version
from typing import Final

from sqlalchemy import Connection, delete, inspect, select

from mss.clock import from_us, to_us
from mss.store.hot import Hot
from mss.store.nodes_tables import nodes

# A worker that was not heard of for so long is taken for dead; it renews its row far more often.
SILENT: Final = timedelta(seconds=60)
_SEEN = Hot.upsert(nodes, ["name"], ["node", "program", "form", "roles", "seen_at"])


def program() -> str:
    """Return the version of this program."""
    try:
        return version("mss-server")[:32]
    except PackageNotFoundError:
        return "unknown"


@dataclass(frozen=True, slots=True)
class Running:
    """A worker process of a node: `form` is that of the tables that its program was made for."""

    name: str
    node: str
    program: str
    form: str
    roles: str
    started_at: datetime
    seen_at: datetime

    def alive(self, now: datetime) -> bool:
        """Whether it was heard of lately; a clock that is ahead of ours is no proof of death."""
        return now - self.seen_at < SILENT


class Nodes:
    """The nodes inside one unit."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def seen(self, running: Running) -> None:
        """Write down that a worker lives."""
        row = {name: getattr(running, name) for name in ("name", "node", "program", "form", "roles")}
        times = {"started_at": to_us(running.started_at), "seen_at": to_us(running.seen_at)}
        _SEEN.run(self._connection, row | times)

    def gone(self, name: str) -> None:
        """Forget a worker that ended in good order."""
        self._connection.execute(delete(nodes).where(nodes.c.name == name))

    @staticmethod
    def there(connection: Connection) -> bool:
        """Whether the tables know of nodes yet."""
        return inspect(connection).has_table(nodes.name)

    def living(self, now: datetime) -> tuple[Running, ...]:
        """Return the workers that were heard of lately."""
        return tuple(one for one in self.all() if one.alive(now))

    def all(self) -> tuple[Running, ...]:
        """Return all workers that were seen lately, by node and start."""
        query = select(nodes).order_by(nodes.c.node, nodes.c.started_at, nodes.c.name)
        return tuple(_running(row) for row in self._connection.execute(query).mappings())

    def forget(self, before: datetime, limit: int) -> int:
        """Drop workers that were not seen since, so many at most; returns how many went."""
        old = select(nodes.c.name).where(nodes.c.seen_at < to_us(before)).limit(limit)
        return self._connection.execute(delete(nodes).where(nodes.c.name.in_(old))).rowcount


def _running(row: object) -> Running:
    values = dict(row)  # type: ignore[call-overload]
    return Running(**values | {name: from_us(values[name]) for name in ("started_at", "seen_at")})
