"""The store of one operator: units of work on a writer and a pool of readers, over SQLite or PostgreSQL.

`write` and `read` take a service, a plain synchronous function `(uow, values…, now) -> value`. No unit can stay open
across the network: it never awaits. It does not know what the services do.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar, runtime_checkable

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from mss.clock import Clock, system_clock
from mss.config import Config
from mss.errors import Conflict, Misconfigured
from mss.store import crypto, schema
from mss.store.engine import is_sqlite, mapped, open_engine, sqlite_path
from mss.store.files import FileStore
from mss.store.journal import Chain
from mss.store.keys import KeyRing, make_master_key, read_master_key
from mss.store.objects import Staged
from mss.store.unit import Shared, Uow
from mss.store.wakeup import Subscription, Wakeups
from mss.store.writer import GroupWriter, Work

P = ParamSpec("P")
T = TypeVar("T")

__all__ = ["Store", "Subscription", "Uow", "create"]


@runtime_checkable
class Heavy(Protocol):
    """A value with octets that may be too large for a row: they are written aside before the unit begins."""

    def heavy(self) -> tuple[bytes, ...]:
        """Return the octets."""


def create(config: Config, clock: Clock = system_clock) -> None:
    """Make the store of a new operator: master key (an existing one is kept), key database, tables."""
    master = config.path(config.store.master_key_file)
    if not master.exists():
        make_master_key(master)
    upgrade(config, clock)


def upgrade(config: Config, clock: Clock = system_clock) -> None:
    """Bring tables and key database to the newest form."""
    schema.upgrade(config.sqlite_url(config.store.url))
    engine = open_engine(config.sqlite_url(config.store.keys_url), connections=1)
    try:
        KeyRing(read_master_key(config.path(config.store.master_key_file)), engine).prepare(clock())
    finally:
        engine.dispose()


class Store:
    """Rows and octets of one operator, as one process sees them."""

    def __init__(self, config: Config) -> None:
        settings = config.store
        self._url = config.sqlite_url(settings.url)
        if is_sqlite(self._url) and not sqlite_path(self._url).exists():
            raise Misconfigured(f"there is no store at {sqlite_path(self._url)}: run “mss init” first")
        self._key_engine = open_engine(config.sqlite_url(settings.keys_url), connections=4)
        self._read_engine = open_engine(self._url, connections=settings.readers, read_only=True)
        keys = KeyRing(read_master_key(config.path(settings.master_key_file)), self._key_engine)
        files = FileStore(config.path(settings.blobs_dir))
        self._shared = Shared(keys, files, settings.inline_max_octets, config.limits.journal_segment_records)
        self._wakeups = Wakeups(_wakeup_folder(config))
        self._readers = ThreadPoolExecutor(settings.readers, "store-reader")
        self._staging = ThreadPoolExecutor(2, "store-staging")
        self.name = f"{socket.gethostname()[:32]}-{os.getpid()}-{secrets.token_hex(3)}"
        self._write_engine: Engine
        self._writer: GroupWriter | _ServerWriters
        if is_sqlite(self._url):
            self._write_engine = open_engine(self._url, connections=1)
            lock = sqlite_path(self._url).with_suffix(".lock")
            chain = Chain(self.name)
            waiting_max = config.limits.write_queue_max
            self._writer = GroupWriter(self._write_engine, self._shared, self._wakeups, lock, chain, waiting_max)
        else:
            self._write_engine = open_engine(self._url, connections=settings.writers)
            self._writer = _ServerWriters(self._write_engine, self._shared, self._wakeups, settings.writers, self.name)

    @property
    def commits(self) -> int:
        """How many commits this process made so far."""
        return self._writer.commits

    async def start(self) -> None:
        """Begin to hear wake-ups; call it in the loop that will use the store."""
        self._wakeups.start()

    async def close(self) -> None:
        """Finish what waits and let go of everything."""
        self._wakeups.close()
        await asyncio.to_thread(self._close_threads)

    def _close_threads(self) -> None:
        self._writer.close()
        self._readers.shutdown()
        self._staging.shutdown()
        for engine in (self._write_engine, self._read_engine, self._key_engine):
            engine.dispose()

    async def write(self, service: Callable[Concatenate[Uow, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a service in a write unit; returns once its commit is on disk.

        A unit that met another (Conflict) is run once more. Unavailable: nothing was written, try later.
        """
        staged = await self._stage([arg for arg in args if isinstance(arg, Heavy)])
        call: Callable[[Uow], T] = partial(_call, service, args, kwargs)
        try:
            return await self._write(call, staged)
        except Conflict:
            return await self._write(call, staged)
        finally:
            if staged:
                await self._drop_unused(staged)

    async def _write(self, call: Callable[[Uow], T], staged: dict[bytes, Staged]) -> T:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._writer.submit(Work(call, staged, loop, future))
        return await future

    async def read(self, service: Callable[Concatenate[Uow, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a service on one snapshot."""
        call: Callable[[Uow], T] = partial(_call, service, args, kwargs)
        return await asyncio.get_running_loop().run_in_executor(self._readers, self._read, call)

    def _read(self, call: Callable[[Uow], T]) -> T:
        try:
            with self._read_engine.connect() as connection, connection.begin():
                return call(Uow(connection, self._shared, None, {}))
        except DBAPIError as error:
            raise mapped(error) from error

    def subscribe(self, channel: str, key: int = 0) -> Subscription:
        """Listen for wake-ups: channel "mailbox" with a box id, or "queue"."""
        return self._wakeups.subscribe(channel, key)

    async def at_head(self) -> bool:
        """Say whether the store answers and its tables are of this program's form."""
        return await asyncio.get_running_loop().run_in_executor(self._readers, schema.at_head, self._read_engine)

    # -- octets aside --------------------------------------------------------------------------------------------

    async def _stage(self, heavy: list[Heavy]) -> dict[bytes, Staged]:
        inline_max = self._shared.inline_max_octets
        large = [octets for value in heavy for octets in value.heavy() if len(octets) > inline_max]
        if not large:
            return {}
        loop = asyncio.get_running_loop()
        return dict([await loop.run_in_executor(self._staging, self._stage_one, octets) for octets in large])

    def _stage_one(self, octets: bytes) -> tuple[bytes, Staged]:
        digest = crypto.keyed_digest(self._shared.keys.digest_key, b"object", octets)
        key = crypto.new_key()
        return digest, Staged(key, self._shared.files.put(crypto.seal_octets(key, octets)))

    async def _drop_unused(self, staged: dict[bytes, Staged]) -> None:
        """Remove files that no row names: the octets were here already, or the unit failed."""
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._staging, self._drop_files, [one.file for one in staged.values()])

    def _drop_files(self, files: list[str]) -> None:
        for file in files:
            if not self._read(partial(_names_file, file)):
                self._shared.files.delete(file)


def _names_file(file: str, uow: Uow) -> bool:
    return uow.objects.names_file(file)


def _call(service: Callable[..., T], args: tuple[Any, ...], kwargs: dict[str, Any], uow: Uow) -> T:
    return service(uow, *args, **kwargs)


def _wakeup_folder(config: Config) -> Path:
    return config.path(config.store.blobs_dir).parent / "wakeup"


class _ServerWriters:
    """PostgreSQL's writers: one transaction per service on a pool; the server groups the flushes."""

    def __init__(self, engine: Engine, shared: Shared, wakeups: Wakeups, threads: int, name: str) -> None:
        self._engine = engine
        self._shared = shared
        self._wakeups = wakeups
        self._name = name
        self._local = threading.local()
        self._pool = ThreadPoolExecutor(threads, "store-writer")
        self.commits = 0

    def submit(self, work: Work) -> None:
        """Queue a service."""
        self._pool.submit(self._run, work)

    def close(self) -> None:
        """Finish what waits and stop."""
        self._pool.shutdown()

    def _chain(self) -> Chain:
        chain: Chain | None = getattr(self._local, "chain", None)
        if chain is None:
            chain = self._local.chain = Chain(f"{self._name}-{threading.get_ident() % 100_000}")
        return chain

    def _run(self, work: Work) -> None:
        chain = self._chain()
        before = chain.copy()
        try:
            with self._engine.connect() as connection, connection.begin():
                uow = Uow(connection, self._shared, chain, dict(work.staged))
                work.result = work.call(uow)
            work.wakes = uow.hints
            self.commits += 1
        except Exception as error:  # noqa: BLE001 - it is the caller's to judge.
            chain.restore(before)
            work.error = _mapped_or_same(error)
        _answer(work)
        self._wakeups.publish(work.wakes)


def _mapped_or_same(error: Exception) -> Exception:
    if not isinstance(error, DBAPIError):
        return error
    try:
        return mapped(error)
    except DBAPIError as surprise:
        return surprise


def _answer(work: Work) -> None:
    if not work.loop.is_closed():
        work.loop.call_soon_threadsafe(_settle_one, work)


def _settle_one(work: Work) -> None:
    if work.future.done():
        return
    if work.error is not None:
        work.future.set_exception(work.error)
    else:
        work.future.set_result(work.result)
