"""The store of one operator: units of work on a writer and a pool of readers, over SQLite or PostgreSQL.

`write` and `read` take a service, a plain synchronous function `(uow, values…, now) -> value`. No unit can stay open
across the network: it never awaits. It does not know what the services do.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import socket
from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar, cast

from sqlalchemy import Engine
from sqlalchemy.exc import TimeoutError as PoolTimeout

from mss.clock import Clock, system_clock
from mss.config import Config
from mss.errors import Conflict, Misconfigured, MssError, Unavailable
from mss.model.audit import AuditEvent
from mss.store import crypto, schema
from mss.store.blobs import open_blobs
from mss.store.engine import fault_of, is_sqlite, mapped, mapping, open_engine, open_writing, sqlite_path
from mss.store.glance import Busy, Glances, ThreadReads
from mss.store.journal import Chain
from mss.store.keys import KeyRing
from mss.store.masters import MasterFiles, make_master_key, read_master_key
from mss.store.nodes import Nodes, program
from mss.store.notices import Notices
from mss.store.objects import Staged, digest_of
from mss.store.opened import OpenedForms
from mss.store.server_writers import ServerWriters
from mss.store.unit import Shared, Uow
from mss.store.units import Units
from mss.store.wakeup import Subscription, Wakeups
from mss.store.work import Work
from mss.store.writer import GroupWriter

P = ParamSpec("P")
T = TypeVar("T")

__all__ = ["Store", "Subscription", "Uow", "create"]

# Longer than a writer waits for the database's own lock.
_BEGIN_WITHIN_S = 15

_STAGING_THREADS = 2
# In the caller's loop, some 300 µs; a command of many letters, or a letter of many documents, holds more.
_SEALED_AT_ONCE_MAX_OCTETS = 256 * 1024
_SWEPT_AT_ONCE = 200
_KEY_DROPPED = "key-dropped"


class Heavy(Protocol):
    """A value with octets that may be too large for a row: they are written aside before the unit begins."""

    def heavy(self) -> tuple[bytes, ...]:
        """Return the octets."""


def create(config: Config, clock: Clock = system_clock) -> None:
    """Make the store of a new operator: master key (an existing one is kept), key database, tables."""
    master = config.path(config.store.master_key_file)
    if not master.exists():
        make_master_key(master)
    schema.upgrade(config.sqlite_url(config.store.url))
    _prepare_keys(config, clock)


def upgrade(config: Config, clock: Clock = system_clock) -> schema.Fit:
    """Bring tables and key database of an operator to the newest form; returns how they fitted before.

    Tables that are newer already stay as they are. Misconfigured: a database is not there, the tables refuse this
    program, or the new form would refuse programs that still run elsewhere.
    """
    _expect_databases(config)
    url = config.sqlite_url(config.store.url)
    before = fit(config)
    if before is schema.Fit.BEYOND:
        raise Misconfigured(before.said)
    if before is schema.Fit.OLDER and schema.breaking(url) and (others := _others(config, clock)):
        raise Misconfigured(
            f"the new tables refuse the program that still runs on {', '.join(others)}: stop it there, then go on"
        )
    if before is not schema.Fit.NEWER:
        schema.upgrade(url)
    _prepare_keys(config, clock)
    return before


def fit(config: Config) -> schema.Fit:
    """Say how an operator's tables and this program go together."""
    _expect_databases(config)
    return _asked(config, schema.fit)


def _others(config: Config, clock: Clock) -> list[str]:
    """Return the nodes that live."""

    def living(engine: Engine) -> list[str]:
        with mapping(), engine.connect() as connection, connection.begin():
            return sorted({one.node for one in Nodes(connection).living(clock())}) if Nodes.there(connection) else []

    return _asked(config, living)


def of_other_releases(config: Config, now: datetime) -> tuple[str, ...]:
    """Return the nodes that live and run a program of another release, or one made for other tables."""

    def others(engine: Engine) -> tuple[str, ...]:
        with mapping(), engine.connect() as connection, connection.begin():
            living = Nodes(connection).living(now) if Nodes.there(connection) else ()
            return tuple(sorted({one.node for one in living if (one.form, one.program) != (schema.HEAD, program())}))

    return _asked(config, others)


def _asked(config: Config, question: Callable[[Engine], T]) -> T:
    engine = open_engine(config.sqlite_url(config.store.url), connections=1, read_only=True)
    try:
        return question(engine)
    finally:
        engine.dispose()


def _expect_databases(config: Config) -> None:
    """Opening would make an empty database: a lost one must not look like a new operator."""
    for url in (config.store.url, config.store.keys_url):
        if fault := fault_of(config.sqlite_url(url)):
            raise Misconfigured(f"{fault}: bring its backup back, or make a new operator with “mss init”")


def _prepare_keys(config: Config, clock: Clock) -> None:
    engine = open_engine(config.sqlite_url(config.store.keys_url), connections=1)
    try:
        with mapping("the database of keys"):
            key_ring(config, engine).prepare(clock())
    finally:
        engine.dispose()


def key_ring(config: Config, engine: Engine) -> KeyRing:
    """Return the operator's owner keys; Misconfigured when there is no master key."""
    path = config.path(config.store.master_key_file)
    return KeyRing(read_master_key(path), engine, masters=MasterFiles(path).keys)


class Store:
    """Rows and octets of one operator, as one process sees them."""

    def __init__(self, config: Config) -> None:
        settings = config.store
        self._url = config.sqlite_url(settings.url)
        _expect_databases(config)
        self._key_engine = open_engine(config.sqlite_url(settings.keys_url), connections=4, mostly_read=True)
        self._read_engine = open_engine(self._url, connections=settings.readers, read_only=True)
        keys = key_ring(config, self._key_engine)
        self._shared = Shared(
            keys, open_blobs(config), settings.inline_max_octets, config.limits.journal_segment_records, OpenedForms()
        )
        self._readers = ThreadPoolExecutor(settings.readers, "store-reader")
        self._staging = ThreadPoolExecutor(_STAGING_THREADS, "store-staging")
        self.node = config.operator.node or socket.gethostname()
        self.name = f"{self.node[:32]}-{os.getpid()}-{secrets.token_hex(3)}"
        self._notices = None if is_sqlite(self._url) else Notices(self._url, self.name)
        self._wakeups = Wakeups(_wakeup_folder(config), self._notices)
        self._wakeups.call(_KEY_DROPPED, self._forget_key)
        self._write_engine: Engine
        self._writer: GroupWriter | ServerWriters
        self._tasks: set[asyncio.Task[Any]] = set()
        self._closed = False
        self._tell: Callable[[list[AuditEvent]], None] | None = None
        # Those that write octets aside look for what is used, too.
        self._reads = (
            ThreadReads(self._url, settings.readers + _STAGING_THREADS, self._shared) if is_sqlite(self._url) else None
        )
        self._glances = Glances(self._url, self._shared) if is_sqlite(self._url) else None
        waiting_max = config.limits.write_queue_max
        if is_sqlite(self._url):
            self._write_engine = open_writing(self._url)
            lock, chain = sqlite_path(self._url).with_suffix(".lock"), Chain(self.name)
            self._writer = GroupWriter(self._write_engine, self._shared, self._wakeups, lock, chain, waiting_max)
        else:
            self._write_engine = open_engine(self._url, connections=settings.writers)
            chains = [Chain(f"{self.name}-{number}") for number in range(settings.writers)]
            self._writer = ServerWriters(self._write_engine, self._shared, self._wakeups, chains, waiting_max)

    @property
    def commits(self) -> int:
        """How many commits this process made so far."""
        return self._writer.commits

    def tell(self, hear: Callable[[list[AuditEvent]], None]) -> None:
        """Have the records that this process writes into the journal told, once they are on disk, for its figures.

        It is called in the loop of whoever wrote, and must not wait.
        """
        self._tell = hear

    @property
    def units(self) -> Units:
        """How long this process's write units lasted."""
        return self._writer.units

    @property
    def waiting(self) -> int:
        """How many write units wait for their turn."""
        return self._writer.waiting

    @property
    def blobs_well(self) -> bool:
        """Whether the place of large octets answered when it was last asked."""
        return self._shared.files.well

    async def start(self) -> None:
        """Begin to hear wake-ups; call it in the loop that will use the store."""
        self._wakeups.start()
        if self._notices is not None:
            await asyncio.to_thread(self._notices.wait_until_listening)

    async def close(self) -> None:
        """Finish what waits and let go of everything; a second time does nothing."""
        self._closed = True
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.to_thread(self._close_threads)
        if self._glances is not None:
            self._glances.close()
        self._wakeups.close()

    def _close_threads(self) -> None:
        self._writer.close()
        self._readers.shutdown()
        self._staging.shutdown()
        if self._reads is not None:
            self._reads.close()
        for engine in (self._write_engine, self._read_engine, self._key_engine):
            engine.dispose()

    async def write(self, service: Callable[Concatenate[Uow, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a service in a write unit; returns once its commit is on disk.

        A unit that met another (Conflict) is run once more. Unavailable: nothing was written, try later.
        """
        call: Callable[[Uow], T] = partial(_call, service, args, kwargs)
        heavy = [octets for arg in args if hasattr(arg, "heavy") for octets in cast(Heavy, arg).heavy()]
        large = [octets for octets in heavy if len(octets) > self._shared.inline_max_octets]
        small = [octets for octets in heavy if len(octets) <= self._shared.inline_max_octets]
        if sum(map(len, small)) <= _SEALED_AT_ONCE_MAX_OCTETS:
            sealed = self._seal(small)
        else:
            sealed = await self._in_staging(self._seal, small)
        if not large:
            return await self._write(call, sealed)
        staged = await self._stage(large)
        return await self._outliving(self._write(call, [*sealed, *staged]))

    async def _write(self, call: Callable[[Uow], T], staged: Sequence[Staged]) -> T:
        files = {one.file for one in staged if one.file is not None}
        try:
            try:
                return await self._attempt(call, staged, files)
            except Conflict:
                return await self._attempt(call, staged, files)
        except asyncio.CancelledError:
            files.clear()  # The unit may still come to its end, and name them.
            raise
        finally:
            if files:
                await self._in_staging(self._drop_unnamed, files)

    async def _attempt(self, call: Callable[[Uow], T], staged: Sequence[Staged], files: set[str]) -> T:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        work = Work(call, staged, loop, future, self._tell)
        self._writer.submit(work)
        # Another process may keep the lock, or its turn, for any time: the caller must hear before its peer hangs up.
        patience = loop.call_later(_BEGIN_WITHIN_S, work.give_up)
        try:
            result = await future
        except Unavailable:
            if not is_sqlite(self._url):
                files.clear()  # The server may have committed before it went away: the sweep finds what is unused.
            raise
        finally:
            patience.cancel()
            files |= work.written
        # What a committed row names is not asked about again: that would cost a fifth of a document's filing.
        files -= work.named
        return result

    async def _outliving(self, work: Coroutine[Any, Any, T]) -> T:
        """Let work come to its end though its caller goes away: files must not vanish under a unit that names them."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(_heard)
        return await asyncio.shield(task)

    async def read(self, service: Callable[Concatenate[Uow, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a service on one snapshot."""
        call: Callable[[Uow], T] = partial(_call, service, args, kwargs)
        if self._closed:
            raise Unavailable("the store is closed")
        return await asyncio.get_running_loop().run_in_executor(self._readers, self._read, call)

    async def glance(self, service: Callable[Concatenate[Uow, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a service that reads a few rows by key, on one snapshot; it may run in the loop's own thread."""
        if self._glances is not None and not self._closed:
            with contextlib.suppress(Busy):
                return self._glances.run(partial(_call, service, args, kwargs))
        return await self.read(service, *args, **kwargs)

    def _read(self, call: Callable[[Uow], T]) -> T:
        try:
            if self._reads is not None:
                return self._reads.run(call)
            with self._read_engine.connect() as connection, connection.begin():
                return call(Uow(connection, self._shared, None, ()))
        except PoolTimeout:
            raise Unavailable("all readers are busy") from None
        except Exception as error:
            known = mapped(error)
            if known is error:
                raise
            raise known from None

    def subscribe(self, channel: str, key: int = 0) -> Subscription:
        """Listen for wake-ups: channel "mailbox" with a box id, or "queue"."""
        return self._wakeups.subscribe(channel, key)

    async def fit(self) -> schema.Fit:
        """Say how the tables and this program go together; Unavailable when the store does not answer."""
        return await asyncio.get_running_loop().run_in_executor(self._readers, schema.fit, self._read_engine)

    async def drop_key(self, owner_id: int) -> None:
        """Erase a box's key for ever, and with it all that is sealed under it, here and in every backup.

        The other workers hear of it, and use a key that they had opened for `keys.OPENED_MAX_S` at the longest.
        """
        await self._in_staging(self._shared.keys.drop, owner_id)
        self._shared.opened.forget(owner_id)
        self._wakeups.publish([(_KEY_DROPPED, owner_id)])

    def _forget_key(self, owner_id: int) -> None:
        self._shared.keys.forget(owner_id)
        self._shared.opened.forget(owner_id)

    # -- octets aside --------------------------------------------------------------------------------------------

    def _seal(self, small: list[bytes]) -> list[Staged]:
        """Seal octets for their rows: in its turn a unit keeps everybody else waiting."""
        return [self._sealed(octets) for octets in small]

    def _sealed(self, octets: bytes) -> Staged:
        key = crypto.new_key()
        digest = digest_of(self._shared.keys, octets)
        return Staged(octets, digest, key, sealed=crypto.seal_octets(key, octets))

    async def _in_staging(self, function: Callable[..., T], *args: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._staging, function, *args)

    async def _stage(self, large: list[bytes]) -> list[Staged]:
        staged: list[Staged] = []
        try:
            for octets in large:
                if not any(one.octets == octets for one in staged):
                    staged.append(await self._in_staging(self._stage_one, octets))
        except MssError:
            await self._in_staging(self._drop_unnamed, {one.file for one in staged if one.file is not None})
            raise
        return staged

    def _stage_one(self, octets: bytes) -> Staged:
        key = crypto.new_key()
        digest = digest_of(self._shared.keys, octets)
        return Staged(octets, digest, key, file=self._shared.files.put(crypto.sealed_segments(key, octets)))

    def _drop_unnamed(self, files: Collection[str]) -> int:
        """Remove files that no row names: the octets were here already, or the unit failed; returns how many."""
        dropped = 0
        with contextlib.suppress(MssError, OSError):  # What stays is found by the sweep.
            for file in set(files) - self._read(partial(_named, tuple(files))):
                self._shared.files.delete(file)
                dropped += 1
        return dropped

    async def sweep_files(self, age_s: float = 86_400) -> int:
        """Remove files that no row names, left behind by units that were cut off; returns how many went.

        Only files that old are looked at: a younger one may belong to a unit that is about to name it. Some at a time,
        so that letters find a free thread to be written aside.
        """
        files = self._shared.files.older_than(age_s)
        dropped = 0
        while some := await self._in_staging(lambda: tuple(islice(files, _SWEPT_AT_ONCE))):
            dropped += await self._in_staging(self._drop_unnamed, some)
        return dropped

    async def unnamed_files(self, age_s: float = 86_400) -> AsyncIterator[str]:
        """Yield the files of that age that no row names."""
        files = self._shared.files.older_than(age_s)
        while some := await self._in_staging(lambda: tuple(islice(files, _SWEPT_AT_ONCE))):
            for name in sorted(set(some) - await self._in_staging(self._read, partial(_named, some))):
                yield name

    async def drop_unnamed_file(self, name: str) -> bool:
        """Remove a file that no row names; says whether it went."""
        return bool(await self._in_staging(self._drop_unnamed, (name,)))

    async def collect(self, before: datetime, limit: int) -> int:
        """Collect octets that nobody holds since an instant, and then their files; returns how many were looked at."""
        settled, files = await self.write(_collect, before, limit)
        if files:
            await self._in_staging(self._drop_unnamed, files)
        return settled


def _collect(uow: Uow, before: datetime, limit: int) -> tuple[int, tuple[str, ...]]:
    return uow.collection.collect(before, limit)


def _named(files: Collection[str], uow: Uow) -> frozenset[str]:
    return uow.objects.named(files)


def _call(service: Callable[..., T], args: tuple[Any, ...], kwargs: dict[str, Any], uow: Uow) -> T:
    result = service(uow, *args, **kwargs)
    if isinstance(result, Coroutine):
        result.close()
        raise TypeError("a service must not await")
    return result


def _wakeup_folder(config: Config) -> Path:
    return config.path(config.store.blobs_dir).parent / "wakeup"


def _heard(task: asyncio.Task[Any]) -> None:
    """Look at the outcome of work whose caller may have gone, so that nobody complains that it was never seen."""
    if not task.cancelled():
        task.exception()
