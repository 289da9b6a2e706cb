"""The key hierarchy: master key → one key per owner (a box; 0: the operator) → content keys.

Owner keys are wrapped under the master key and kept in a database of their own, out of the data's backups: dropping
one erases everything of that owner, in every backup, and nothing of anybody else. A key is durable before the first
octet is sealed under it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import cached_property

from sqlalchemy import Connection, Engine, delete, insert, select

from mss.clock import to_us
from mss.errors import Conflict
from mss.store import crypto
from mss.store.engine import IntegrityError, among, bulk
from mss.store.masters import make_master_key, read_master_key
from mss.store.tables import key_metadata, owner_keys

__all__ = ["BACKUPS", "DIGESTS", "OPERATOR", "KeyMissing", "KeyRing", "make_master_key", "read_master_key"]

OPERATOR = 0
# Keys of the operator that seal no owner's data: what keyed digests are made with, and what backups are sealed under.
# They are wrapped like the others, so that a new master key changes neither. The key of digests is wrapped anew before
# all others: under whatever it is wrapped, a new key has to be, too.
DIGESTS = -1
BACKUPS = -2
# How long an opened key is used without looking whether it is still there.
OPENED_MAX_S = 300


class KeyMissing(crypto.Damaged):
    """The owner's key was dropped: what it sealed is erased."""


class KeyRing:
    """Owners' keys, unwrapped on first use. Safe to share between threads.

    A key that another process dropped is forgotten here when its wake-up comes, and after a while at the latest: an
    opened key is looked up again once it is that old.
    """

    def __init__(
        self,
        master: bytes,
        engine: Engine,
        clock: Callable[[], float] = time.monotonic,
        masters: Callable[[], Sequence[bytes]] | None = None,
    ) -> None:
        """`masters` gives every master key that may count now: asked when what we know opens nothing."""
        self._clock = clock
        self._masters = masters or (lambda: (master,))
        self._first = master
        self._wrappings = [wrapping_key(master)]
        self._mark: bytes | None = None
        self._engine = engine
        self._cache: dict[int, tuple[bytes, float]] = {}
        self._lock = threading.Lock()

    @cached_property
    def digest_key(self) -> bytes:
        """The key of keyed digests: the same for ever."""
        wrapped = self._wrapped(DIGESTS)
        return crypto.derive(self._first, "mss digests") if wrapped is None else self._opened(DIGESTS, wrapped)

    def prepare(self, now: datetime) -> None:
        """Create the table and the operator's own keys when they are missing."""
        key_metadata.create_all(self._engine)
        if self._wrapped(DIGESTS) is None:
            self._insert(DIGESTS, crypto.derive(self._first, "mss digests"), now)
        for owner_id in (OPERATOR, BACKUPS):
            self.create(owner_id, now)

    def key(self, owner_id: int) -> bytes:
        """Return an owner's key; KeyMissing when it was dropped."""
        cached = self._cache.get(owner_id)
        if cached is not None and self._clock() - cached[1] < OPENED_MAX_S:
            return cached[0]
        looked_up_at = self._clock()
        wrapped = self._wrapped(owner_id)
        if wrapped is None:
            self.forget(owner_id)
            raise KeyMissing("the owner's key was dropped")
        return self._remember(owner_id, self._opened(owner_id, wrapped), looked_up_at)

    def create(self, owner_id: int, now: datetime) -> bytes:
        """Make an owner's key, durable before this returns; an existing one is kept."""
        try:
            return self.key(owner_id)
        except KeyMissing:
            pass
        key = crypto.new_key()
        return self._remember(owner_id, key, self._clock()) if self._insert(owner_id, key, now) else self.key(owner_id)

    def _insert(self, owner_id: int, key: bytes, now: datetime) -> bool:
        """Write a new key, wrapped as the key of digests is; False when there is one already."""
        while True:
            wrapped = crypto.seal(self._wrappings[0], key, purpose(owner_id))
            try:
                with self._engine.begin() as connection:
                    row = {"owner_id": owner_id, "wrapped": wrapped, "created_at": to_us(now)}
                    connection.execute(insert(owner_keys).values(row))
                    if owner_id != DIGESTS:
                        self._expect_mark(connection)
            except IntegrityError:
                return False
            except _OtherMarkError as other:
                self._follow(other.mark)
                continue
            return True

    def _expect_mark(self, connection: Connection) -> None:
        """Look, in the unit that writes a key, whether keys are wrapped under another master by now."""
        query = select(owner_keys.c.wrapped).where(owner_keys.c.owner_id == DIGESTS)
        mark = connection.execute(query.with_for_update(read=True)).scalar()
        if mark is not None and bytes(mark) != self._mark:
            raise _OtherMarkError(bytes(mark))

    def _follow(self, mark: bytes) -> None:
        """Wrap under the master key that opens the mark from now on."""
        for wrapping in (*self._wrappings, *map(wrapping_key, self._masters())):
            if opens(wrapping, DIGESTS, mark):
                self._wrappings, self._mark = [wrapping, *(one for one in self._wrappings if one != wrapping)], mark
                return
        raise crypto.Damaged("no master key here opens the operator's keys")

    def _wrapped(self, owner_id: int) -> bytes | None:
        with self._engine.begin() as connection:
            query = select(owner_keys.c.wrapped).where(owner_keys.c.owner_id == owner_id)
            found = connection.execute(query).scalar()
        return None if found is None else bytes(found)

    def _opened(self, owner_id: int, wrapped: bytes) -> bytes:
        """Unwrap a key; the master keys' files are read again when none that we know opens it."""
        for wrapping in self._wrappings:
            if opens(wrapping, owner_id, wrapped):
                return crypto.unseal(wrapping, wrapped, purpose(owner_id))
        known = self._wrappings
        fresh = [one for one in map(wrapping_key, self._masters()) if one not in known]
        for wrapping in fresh:
            if opens(wrapping, owner_id, wrapped):
                self._wrappings = [*known, wrapping]
                return crypto.unseal(wrapping, wrapped, purpose(owner_id))
        raise crypto.Damaged("no master key here opens this owner's key")

    def create_many(self, owner_ids: Sequence[int], now: datetime) -> list[bytes]:
        """Make the keys of many owners, durable before this returns; existing ones are kept. They do not stay open.

        A key without its owner is what a unit leaves behind that was cut off: whoever gets the number gets the key.
        """
        while True:
            try:
                made, there = self._insert_many(owner_ids, to_us(now))
            except _OtherMarkError as other:
                self._follow(other.mark)
                continue
            return [made[one] if one in made else self._opened(one, there[one]) for one in owner_ids]

    def _insert_many(self, owner_ids: Sequence[int], at_us: int) -> tuple[dict[int, bytes], dict[int, bytes]]:
        """Write the keys that are not there; returns those, and the wrapped ones that were."""
        cipher = crypto.opened(self._wrappings[0])
        with self._engine.begin() as connection:
            there = dict(among(connection, (owner_keys.c.owner_id, owner_keys.c.wrapped), owner_ids))
            made = {owner_id: crypto.new_key() for owner_id in owner_ids if owner_id not in there}
            rows = [(one, crypto.seal_with(cipher, key, purpose(one)), at_us) for one, key in made.items()]
            bulk(connection, owner_keys, ("owner_id", "wrapped", "created_at"), rows)
            self._expect_mark(connection)
        return made, there

    def drop(self, owner_id: int) -> None:
        """Erase an owner's key for ever; the operator's own is refused."""
        if owner_id <= OPERATOR:
            raise Conflict("the operator's own keys cannot be dropped")
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


class _OtherMarkError(Exception):
    """Keys are wrapped under another master key by now."""

    def __init__(self, mark: bytes) -> None:
        super().__init__()
        self.mark = mark


def wrapping_key(master: bytes) -> bytes:
    """Return the key that owners' keys are wrapped under."""
    return crypto.derive(master, "mss owner keys")


def purpose(owner_id: int) -> bytes:
    """Return what an owner's wrapped key opens for."""
    return b"owner:%d" % owner_id


def opens(wrapping: bytes, owner_id: int, wrapped: bytes) -> bool:
    """Say whether a wrapped key opens under a wrapping key."""
    try:
        crypto.unseal(wrapping, wrapped, purpose(owner_id))
    except crypto.Damaged:
        return False
    return True
