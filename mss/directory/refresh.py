"""Scheduled reading of the trust list and of the directory extraction, under a lease: one worker does it for all.

What cannot be read or would lose too much is refused with its reason, and the last good copy stays (MSSANTE.md §3.1,
§3.3). The trust list comes from a file or by https; the extraction is put in place by the operator's own means.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import islice
from pathlib import Path

from mss.clock import Clock
from mss.config import Config
from mss.directory import extraction, trustlist
from mss.errors import Malformed, Misconfigured, MssError
from mss.fetch import fetch
from mss.log import get_logger
from mss.model.party import Party
from mss.model.peer import ListReading, TrustList
from mss.revocation import read_certificates
from mss.services import operators
from mss.store import Store
from mss.tls import list_context

_SLICE = 200
_log = get_logger("directory")


@dataclass(frozen=True, slots=True)
class Refreshed:
    """What a reading came to: `reason` is empty when the list was taken."""

    trust_list: TrustList | None
    reason: str = ""
    news: bool = True


async def read_trust_list(
    store: Store, config: Config, clock: Clock, path: Path, *, source: str = "file", clock_is_right: bool = False
) -> Refreshed:
    """Read a trust list from a file and make it the current one, unless something speaks against it."""
    try:
        octets = await asyncio.to_thread(_read_bounded, path, config.limits.trust_list_max_octets)
    except OSError as error:
        reason = f"the file cannot be read: {error.strerror}"
        return await _refuse(store, config, clock, ListReading(source, "unreachable", clock(), clock(), reason=reason))
    return await _consider(store, config, clock, octets, source, clock_is_right=clock_is_right)


def _read_bounded(path: Path, max_octets: int) -> bytes:
    with path.open("rb") as file:
        return file.read(max_octets + 1)


async def fetch_trust_list(store: Store, config: Config, clock: Clock) -> Refreshed:
    """Fetch the trust list by https and make it the current one, unless something speaks against it."""
    limits = config.limits
    try:
        context = await asyncio.to_thread(list_context, config)
        octets = await fetch(
            config.trust_list.url, context, max_octets=limits.trust_list_max_octets, timeout_s=limits.fetch_timeout_s
        )
    except MssError as error:
        reading = ListReading("url", "unreachable", clock(), clock(), reason=str(error))
        return await _refuse(store, config, clock, reading)
    return await _consider(store, config, clock, octets, "url")


async def _consider(
    store: Store, config: Config, clock: Clock, octets: bytes, source: str, *, clock_is_right: bool = False
) -> Refreshed:
    """Take the list in these octets, or refuse it with a reason; both are remembered."""
    now = clock()
    reading = ListReading(source, "refused", now, now, digest=hashlib.sha256(octets).hexdigest())
    try:
        new = await asyncio.to_thread(_parsed, config, octets, now)
    except (Malformed, Misconfigured) as error:
        return await _refuse(store, config, clock, replace(reading, reason=str(error)))
    reading = replace(reading, generated_at=new.generated_at, domains=len(new.domains))
    old = await store.read(operators.trust_list, now)
    reason = trustlist.check_replacement(old, new, config.trust_list.shrink_max_share, clock_is_right=clock_is_right)
    if reason is not None:
        return await _refuse(store, config, clock, replace(reading, reason=reason))
    taken = replace(reading, verdict="taken")
    return Refreshed(await store.write(operators.take_trust_list, new, taken, config.trust_list.history_max, now))


def _parsed(config: Config, octets: bytes, now: datetime) -> TrustList:
    signer_file = config.trust_list.signer_file
    signers = read_certificates(config.path(signer_file)) if signer_file is not None else ()
    max_octets = config.limits.trust_list_max_octets
    return trustlist.parse(octets, fetched_at=now, max_octets=max_octets, signers=signers)


async def _refuse(store: Store, config: Config, clock: Clock, reading: ListReading) -> Refreshed:
    keep = config.trust_list.history_max
    news = await store.write(operators.refuse_trust_list, reading, keep, clock())
    return Refreshed(None, reading.reason, news=news)


@dataclass(frozen=True, slots=True)
class Imported:
    """An import's figures."""

    parties: int
    bad_rows: int


async def import_extraction(store: Store, config: Config, clock: Clock, path: Path) -> Imported:
    """Import a directory extraction as a new generation, in slices; it becomes visible at the end, or not at all.

    Malformed when the header is wrong; rows that cannot be read are counted and left out.
    """
    generation = await store.write(operators.begin_directory, clock())
    bad_rows = 0
    with path.open("rb") as file:
        rows = extraction.read(file, max_octets=config.limits.extraction_max_octets)
        while some := await asyncio.to_thread(_slice, rows):
            good = tuple(row for row in some if isinstance(row, Party))
            bad_rows += len(some) - len(good)
            await store.write(operators.add_parties, generation, good, clock())
    parties = await store.write(operators.publish_directory, generation, clock())
    while await store.write(operators.sweep_directory, _SLICE, clock()):
        continue
    return Imported(parties, bad_rows)


def _slice(rows: Iterable[Party | extraction.BadRow]) -> list[Party | extraction.BadRow]:
    iterator: Iterator[Party | extraction.BadRow] = iter(rows)
    return list(islice(iterator, _SLICE))


class Refresher:
    """The loop of one process, from `run` to `stop`."""

    def __init__(self, store: Store, config: Config, clock: Clock) -> None:
        self._store = store
        self._config = config
        self._clock = clock
        self._stopping = False
        self._asked = asyncio.Event()
        self._fetched_at: datetime | None = None
        self._extraction_read: tuple[int, int] | None = None
        self.last_reason = ""

    async def run(self) -> None:
        """Read on schedule until `stop`."""
        pause_s = self._config.trust_list.refresh_s
        asked = False
        while not self._stopping:
            try:
                await self._once(pause_s, asked=asked)
            except Exception as error:  # noqa: BLE001  # The loop's supervisor: a schedule outlives its mishaps.
                _log.error("directory.refresh_failed", kind=type(error).__name__)
            asked = await self._rest(pause_s)

    async def _rest(self, pause_s: int) -> bool:
        """Wait for the next round; True when somebody asked for it."""
        try:
            async with asyncio.timeout(pause_s):
                await self._asked.wait()
        except TimeoutError:
            return False
        self._asked.clear()
        return True

    def look_now(self) -> None:
        """Read now, without waiting for the schedule (SIGHUP)."""
        self._asked.set()

    async def stop(self) -> None:
        """End the loop."""
        self._stopping = True
        self._asked.set()

    async def _once(self, pause_s: int, *, asked: bool = False) -> None:
        lease_s = max(30, pause_s * 2)
        leased = await self._store.write(operators.take_lease, "directory", self._store.name, lease_s, self._clock())
        if not leased:
            return
        await self._trust_list(asked=asked)
        await self._extraction()

    async def _trust_list(self, *, asked: bool) -> None:
        settings = self._config.trust_list
        if settings.file is not None:
            path = self._config.path(settings.file)
            self._say(await read_trust_list(self._store, self._config, self._clock, path))
        elif settings.url and (asked or self._is_due()):
            result = await fetch_trust_list(self._store, self._config, self._clock)
            # What failed is tried again with the next round.
            self._fetched_at = self._clock() if result.trust_list is not None else None
            self._say(result)

    def _is_due(self) -> bool:
        if self._fetched_at is None:
            return True
        age_s = (self._clock() - self._fetched_at).total_seconds()
        return not 0 <= age_s < self._config.trust_list.fetch_s

    def _say(self, result: Refreshed) -> None:
        self.last_reason = result.reason
        if result.trust_list is None:
            _log.error("trust_list.refused", reason=result.reason, news=result.news)
        else:
            _log.info("trust_list.read", version=result.trust_list.version, domains=len(result.trust_list.domains))

    async def _extraction(self) -> None:
        file = self._config.directory.extraction_file
        if file is None:
            return
        path = self._config.path(file)
        try:
            status = path.stat()
        except OSError as error:
            _log.error("extraction.unreadable", errno=error.errno)
            return
        stamp = (status.st_mtime_ns, status.st_size)
        if stamp == self._extraction_read:
            return
        try:
            imported = await import_extraction(self._store, self._config, self._clock, path)
        except Malformed as error:
            _log.error("extraction.refused", reason=str(error))
        else:
            _log.info("extraction.read", parties=imported.parties, bad_rows=imported.bad_rows)
        self._extraction_read = stamp
