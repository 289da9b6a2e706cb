"""Copies of the database of keys, apart from every backup of the data: JSON Lines, each key still wrapped.

A dropped key lives on in older copies: they are kept for days, not for years. The master key is in none.
"""

from __future__ import annotations

import json
import os
from base64 import b64decode, b64encode
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

from sqlalchemy import func, insert, select

from mss.config import Config
from mss.errors import Conflict, Malformed
from mss.store.engine import mapping, open_engine
from mss.store.keys import OPERATOR
from mss.store.store import key_ring
from mss.store.tables import key_metadata, owner_keys

_AT_ONCE = 500
_HEAD = {"what": "mss owner keys", "form": 1}
Told = Callable[[int, int], None]


def copy(config: Config, file: Path, told: Told = lambda done, total: None) -> int:
    """Write all keys of one instant into a new file (mode 0600), flushed; returns how many."""
    engine = open_engine(config.sqlite_url(config.store.keys_url), connections=1, read_only=True)
    half = file.with_name(file.name + ".part")
    if file.exists():
        raise Conflict(f"{file} is there already: copies are never overwritten")
    half.unlink(missing_ok=True)
    count = 0
    try:
        descriptor = os.open(half, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with (
            os.fdopen(descriptor, "w", encoding="ascii") as out,
            mapping("the database of keys"),
            engine.connect() as rows,
        ):
            with rows.begin():
                total = rows.execute(select(func.count()).select_from(owner_keys)).scalar_one()
                out.write(json.dumps({**_HEAD, "keys": total}) + "\n")
                query = select(owner_keys).order_by(owner_keys.c.owner_id).execution_options(yield_per=_AT_ONCE)
                for count, row in enumerate(rows.execute(query), 1):
                    out.write(json.dumps([row.owner_id, b64encode(row.wrapped).decode(), row.created_at]) + "\n")
                    told(count, total)
            out.flush()
            os.fsync(out.fileno())
        os.replace(half, file)
    finally:
        half.unlink(missing_ok=True)
        engine.dispose()
    return count


def restore(config: Config, file: Path, told: Told = lambda done, total: None) -> int:
    """Bring a copy's keys into a database that has none of a box; returns how many. Malformed: no whole copy.

    Conflict: there are boxes' keys already. The operator's own keys of a new operator are replaced.
    """
    engine = open_engine(config.sqlite_url(config.store.keys_url), connections=1)
    try:
        with file.open(encoding="ascii") as lines, mapping("the database of keys"):
            total = _head(next(lines, ""))
            key_metadata.create_all(engine)
            with engine.begin() as connection:
                if connection.execute(select(owner_keys.c.owner_id).where(owner_keys.c.owner_id > OPERATOR)).first():
                    raise Conflict("there are keys of boxes already: a copy is brought back into an empty database")
                connection.execute(owner_keys.delete())
                count, rows = 0, map(_row, lines)
                while some := list(islice(rows, _AT_ONCE)):
                    connection.execute(insert(owner_keys), some)
                    count += len(some)
                    told(count, total)
                if count != total:
                    raise Malformed(f"the copy is cut off: {count} of {total} keys")
        # A master key that opens nothing of it must be heard of now.
        key_ring(config, engine).key(OPERATOR)
        return count
    finally:
        engine.dispose()


def _head(line: str) -> int:
    try:
        head = json.loads(line)
        if {name: head[name] for name in _HEAD} == _HEAD:
            return int(head["keys"])
    except (ValueError, KeyError, TypeError):
        pass
    raise Malformed("this is no copy of owners' keys: see mss keys backup")


def _row(line: str) -> dict[str, Any]:
    try:
        owner_id, wrapped, created_at = json.loads(line)
        return {"owner_id": int(owner_id), "wrapped": b64decode(wrapped), "created_at": int(created_at)}
    except (ValueError, TypeError) as error:
        raise Malformed("the copy of owners' keys is damaged") from error
