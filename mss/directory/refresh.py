"""Scheduled reading of the trust list and of the directory extraction, under a lease: one worker does it for all.

What cannot be read or would lose too much is refused with its reason, and the last good copy stays (MSSANTE.md §3.1,
§3.3). It fetches nothing: files are put in place by the operator's own means.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from mss.clock import Clock
from mss.config import Config
from mss.directory import extraction, trustlist
from mss.errors import Malformed
from mss.log import get_logger
from mss.model.party import Party
from mss.model.peer import TrustList
from mss.services import operators
from mss.store import Store

_SLICE = 200
_log = get_logger("directory")


@dataclass(frozen=True, slots=True)
class Refreshed:
    """What a reading came to: `reason` is empty when the list was taken."""

    trust_list: TrustList | None
    reason: str = ""


async def read_trust_list(store: Store, config: Config, clock: Clock, path: Path) -> Refreshed:
    """Read a trust list from a file and make it the current one, unless something speaks against it."""
    now = clock()
    limits = config.limits
    try:
        octets = await asyncio.to_thread(path.read_bytes)
        new = await asyncio.to_thread(trustlist.parse, octets, fetched_at=now, max_octets=limits.trust_list_max_octets)
    except OSError as error:
        return Refreshed(None, f"the file cannot be read: {error.strerror}")
    except Malformed as error:
        return Refreshed(None, str(error))
    old = await store.read(operators.trust_list, now)
    reason = trustlist.check_replacement(old, new, config.trust_list.shrink_max_share)
    if reason is not None:
        return Refreshed(None, reason)
    return Refreshed(await store.write(operators.replace_trust_list, new, now))


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
        self._extraction_read: tuple[int, int] | None = None
        self.last_reason = ""

    async def run(self) -> None:
        """Read on schedule until `stop`."""
        pause_s = self._config.trust_list.refresh_s
        while not self._stopping:
            try:
                await self._once(pause_s)
            except Exception as error:  # noqa: BLE001  # The loop's supervisor: a schedule outlives its mishaps.
                _log.error("directory.refresh_failed", kind=type(error).__name__)
            try:
                async with asyncio.timeout(pause_s):
                    await self._asked.wait()
            except TimeoutError:
                continue
            self._asked.clear()

    def look_now(self) -> None:
        """Read now, without waiting for the schedule (SIGHUP)."""
        self._asked.set()

    async def stop(self) -> None:
        """End the loop."""
        self._stopping = True
        self._asked.set()

    async def _once(self, pause_s: int) -> None:
        lease_s = max(30, pause_s * 2)
        leased = await self._store.write(operators.take_lease, "directory", self._store.name, lease_s, self._clock())
        if not leased:
            return
        await self._trust_list()
        await self._extraction()

    async def _trust_list(self) -> None:
        file = self._config.trust_list.file
        if file is None:
            return
        result = await read_trust_list(self._store, self._config, self._clock, self._config.path(file))
        self.last_reason = result.reason
        if result.trust_list is None:
            _log.error("trust_list.refused", reason=result.reason)
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
