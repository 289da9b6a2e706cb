"""The key hierarchy: master key → one key per owner (a box; 0: the operator) → content keys.

Owner keys are wrapped under the master key and kept in a database of their own, out of the data's backups: dropping
one erases everything of that owner, in every backup, and nothing of anybody else. A key is durable before the first
octet is sealed under it.
"""

from __future__ import annotations

import os
import threading
import time
from base64 import b64decode, b64encode
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path

from sqlalchemy import Engine, delete, insert, select

from mss.clock import to_us
from mss.errors import Conflict, Misconfigured
from mss.store import crypto
from mss.store.engine import IntegrityError, among, bulk
from mss.store.tables import key_metadata, owner_keys

OPERATOR = 0
# How long an opened key is used without looking whether it is still there.
OPENED_MAX_S = 300


class KeyMissing(crypto.Damaged):
    """The owner's key was dropped: what it sealed is erased."""


def make_master_key(path: Path) -> None:
    """Write a fresh master key (mode 0600), flushed; an existing file is never overwritten."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(b64encode(crypto.new_key()) + b"\n")
        file.flush()
        os.fsync(file.fileno())


def read_master_key(path: Path) -> bytes:
    """Read the master key; Misconfigured when it is not 32 octets in base64."""
    try:
        key = b64decode(path.read_bytes(), validate=False)
    except (OSError, ValueError) as error:
        raise Misconfigured(f"the master key {path} cannot be read: {error}") from error
    if len(key) != crypto.KEY_OCTETS:
        raise Misconfigured(f"the master key {path} must hold 32 octets in base64")
    return key


class KeyRing:
    """Owners' keys, unwrapped on first use. Safe to share between threads.

    A key that another process dropped is forgotten here when its wake-up comes, and after a while at the latest: an
    opened key is looked up again once it is that old.
    """

    def __init__(self, master: bytes, engine: Engine, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._wrapping = crypto.derive(master, "mss owner keys")
        self.digest_key = crypto.derive(master, "mss digests")
        self._engine = engine
        self._cache: dict[int, tuple[bytes, float]] = {}
        self._lock = threading.Lock()

    def prepare(self, now: datetime) -> None:
        """Create the table and the operator's own key when they are missing."""
        key_metadata.create_all(self._engine)
        self.create(OPERATOR, now)

    def key(self, owner_id: int) -> bytes:
        """Return an owner's key; KeyMissing when it was dropped."""
        cached = self._cache.get(owner_id)
        if cached is not None and self._clock() - cached[1] < OPENED_MAX_S:
            return cached[0]
        looked_up_at = self._clock()
        with self._engine.begin() as connection:
            wrapped = connection.execute(select(owner_keys.c.wrapped).where(owner_keys.c.owner_id == owner_id)).scalar()
        if wrapped is None:
            self.forget(owner_id)
            raise KeyMissing("the owner's key was dropped")
        key = crypto.unseal(self._wrapping, wrapped, _purpose(owner_id))
        return self._remember(owner_id, key, looked_up_at)

    def create(self, owner_id: int, now: datetime) -> bytes:
        """Make an owner's key, durable before this returns; an existing one is kept."""
        try:
            return self.key(owner_id)
        except KeyMissing:
            pass
        key = crypto.new_key()
        wrapped = crypto.seal(self._wrapping, key, _purpose(owner_id))
        try:
            with self._engine.begin() as connection:
                connection.execute(insert(owner_keys).values(owner_id=owner_id, wrapped=wrapped, created_at=to_us(now)))
        except IntegrityError:
            return self.key(owner_id)
        return self._remember(owner_id, key, self._clock())

    def create_many(self, owner_ids: Sequence[int], now: datetime) -> list[bytes]:
        """Make the keys of many owners, durable before this returns; existing ones are kept. They do not stay open.

        A key without its owner is what a unit leaves behind that was cut off: whoever gets the number gets the key.
        """
        cipher, at = crypto.opened(self._wrapping), to_us(now)
        with self._engine.begin() as connection:
            there = dict(among(connection, (owner_keys.c.owner_id, owner_keys.c.wrapped), owner_ids))
            made = {owner_id: crypto.new_key() for owner_id in owner_ids if owner_id not in there}
            rows = [(one, crypto.seal_with(cipher, key, _purpose(one)), at) for one, key in made.items()]
            bulk(connection, owner_keys, ("owner_id", "wrapped", "created_at"), rows)
        return [
            made[one] if one in made else crypto.unseal(self._wrapping, there[one], _purpose(one)) for one in owner_ids
        ]

    def drop(self, owner_id: int) -> None:
        """Erase an owner's key for ever; the operator's own is refused."""
        if owner_id == OPERATOR:
            raise Conflict("the operator's own key cannot be dropped")
        with self._engine.begin() as connection:
            connection.execute(delete(owner_keys).where(owner_keys.c.owner_id == owner_id))
        self.forget(owner_id)

    def forget(self, owner_id: int) -> None:
        """Forget an opened key: it is looked up again when it is needed."""
        with self._lock:
            self._cache.pop(owner_id, None)

    def _remember(self, owner_id: int, key: bytes, at: float) -> bytes:
        with self._lock:
            if len(self._cache) > 100_000:
                self._cache.clear()
            self._cache[owner_id] = (key, at)
        return key


def _purpose(owner_id: int) -> bytes:
    return b"owner:%d" % owner_id
