"""A new master key: every owner's key is wrapped under it, in slices, while the house serves on.

Rules. The successor is on disk before anything is wrapped under it. The key of digests goes first: from then on whoever
makes a key wraps it under the successor, too (`keys`); a program of another release may not know that, so that none may
live. A row changes only if nobody changed it meanwhile: a key that is dropped stays dropped. The predecessor's file
goes last. A cut at any instant: run it again.
"""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, Engine, and_, func, select, update

from mss.config import Config
from mss.errors import Conflict
from mss.store import crypto
from mss.store.engine import mapping, open_engine
from mss.store.keys import DIGESTS, opens, purpose, wrapping_key
from mss.store.masters import MasterFiles, fingerprint
from mss.store.store import key_ring, of_other_releases
from mss.store.tables import owner_keys

# Owners' keys wrapped in one transaction: other writers wait no longer than a few milliseconds.
SLICE = 200
Told = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Rotated:
    """The fingerprints of the master key before and after (the same: it had been switched already), and how many keys
    are wrapped under it."""

    before: str
    after: str
    keys: int


@dataclass(frozen=True, slots=True)
class KeyState:
    """The fingerprint of the master key in use, whether a rotation waits to be finished, and how many keys it wraps."""

    fingerprint: str
    under_way: bool
    keys: int


def state(config: Config) -> KeyState:
    """Return what there is to know about the keys without giving one away."""
    files = _files(config)
    with _engine(config) as engine:
        return KeyState(fingerprint(files.keys()[0]), files.under_way(), _count(engine))


def prepare(config: Config) -> str:
    """Make the successor only, to be put on every node before the rotation begins; returns its fingerprint."""
    return fingerprint(_files(config).prepare())


def rotate(config: Config, now: datetime, told: Told = lambda done, total: None) -> Rotated:
    """Wrap every key under a new master key, or finish what an earlier run began; `told` hears (done, of how many).

    Conflict: a node of another release lives, or another program does the same.
    """
    files = _files(config)
    _expect_one_release(config, now)
    with _alone(files), _engine(config) as engine, mapping("the database of keys"):
        key_ring(config, engine).prepare(now)
        before = files.keys()
        if files.next.exists() or not files.old.exists():
            files.prepare()
            count = _wrap_all(engine, files, told)
            files.switch()
        else:
            count = _wrap_all(engine, files, told)
        # What an old program that began meanwhile made is under the predecessor only: that must not go.
        _expect_one_release(config, now)
        files.finish()
        return Rotated(fingerprint(before[0]), fingerprint(files.keys()[0]), count)


def _expect_one_release(config: Config, now: datetime) -> None:
    if others := of_other_releases(config, now):
        raise Conflict(
            f"a program of another release runs on {', '.join(others)}, and may not know a change of the master key: "
            "bring it to this release (mss node list), wait a minute, then type the same again"
        )


def _files(config: Config) -> MasterFiles:
    return MasterFiles(config.path(config.store.master_key_file))


@contextmanager
def _engine(config: Config) -> Iterator[Engine]:
    engine = open_engine(config.sqlite_url(config.store.keys_url), connections=1)
    try:
        yield engine
    finally:
        engine.dispose()


@contextmanager
def _alone(files: MasterFiles) -> Iterator[None]:
    with files.path.with_name(files.path.name + ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise Conflict("another program changes the master key at this moment") from None
        yield


def _wrap_all(engine: Engine, files: MasterFiles, told: Told) -> int:
    """Wrap every key under the successor (or, after the switch, the one in use); returns how many there are."""
    keys = files.keys()
    new = wrapping_key(keys[1] if files.next.exists() and len(keys) > 1 else keys[0])
    known = [wrapping_key(key) for key in keys]
    with engine.begin() as connection:
        _wrap(connection, [DIGESTS], new, known)
    total, done, after = _count(engine), 0, DIGESTS - 1_000_000
    while True:
        with engine.begin() as connection:
            query = select(owner_keys.c.owner_id).where(owner_keys.c.owner_id > after)
            some = list(connection.execute(query.order_by(owner_keys.c.owner_id).limit(SLICE)).scalars())
            _wrap(connection, some, new, known)
        if not some:
            return done
        done, after = done + len(some), some[-1]
        told(done, max(done, total))


def _wrap(connection: Connection, owner_ids: list[int], new: bytes, known: list[bytes]) -> None:
    rows = connection.execute(select(owner_keys).where(owner_keys.c.owner_id.in_(owner_ids))).all()
    for row in rows:
        wrapped = bytes(row.wrapped)
        if opens(new, row.owner_id, wrapped):
            continue
        old = next((one for one in known if opens(one, row.owner_id, wrapped)), None)
        if old is None:
            raise crypto.Damaged(f"no master key here opens the key of owner {row.owner_id}: bring its backup back")
        key = crypto.unseal(old, wrapped, purpose(row.owner_id))
        same = and_(owner_keys.c.owner_id == row.owner_id, owner_keys.c.wrapped == row.wrapped)
        values = {"wrapped": crypto.seal(new, key, purpose(row.owner_id))}
        connection.execute(update(owner_keys).where(same).values(values))


def _count(engine: Engine) -> int:
    with engine.begin() as connection:
        return int(connection.execute(select(func.count()).select_from(owner_keys)).scalar_one())
