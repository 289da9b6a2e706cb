"""Fetches revocation lists on schedule into a folder; the last good one of each place stays (MSSANTE.md ECO.1.1.7).

It judges no peer: `mss.revocation` reads the folder's files like any others. Workers share the folder and need no
agreement: a list that one of them fetched is young for all, and each file is replaced at once.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from mss.clock import from_us, to_us
from mss.errors import MssError
from mss.fetch import fetch, is_fetchable
from mss.log import get_logger

if TYPE_CHECKING:
    import ssl

RETRY: Final = timedelta(minutes=5)
_AT_ONCE: Final = 4

_log = get_logger("revocation")


@dataclass(frozen=True, slots=True)
class Bounds:
    """How often a list is fetched, and what one may cost."""

    every: timedelta
    timeout_s: float
    max_octets: int


def files_in(folder: Path) -> list[Path]:
    """Return the lists that were fetched so far."""
    return sorted(folder.glob("*.crl"))


class Fetcher:
    """Fetches what is due, each time it is asked to."""

    def __init__(self, folder: Path, bounds: Bounds) -> None:
        self._folder = folder
        self._bounds = bounds
        self._tried: dict[str, datetime] = {}
        self._slots = asyncio.Semaphore(_AT_ONCE)
        self.failed: dict[str, str] = {}
        """Why places gave no list the last time they were asked, by host."""

    async def fetch_due(
        self,
        urls: Iterable[str],
        tls: ssl.SSLContext,
        objection: Callable[[bytes], str | None],
        now: datetime,
        *,
        at_once: bool = False,
    ) -> int:
        """Fetch the lists that are due (`at_once`: all of them); return how many files are new.

        `objection` says why octets must not be kept. A place that fails is asked again after a while, and what it
        gave before stays.
        """
        due = [url for url in dict.fromkeys(urls) if is_fetchable(url) and (at_once or self._is_due(url, now))]
        return sum(await asyncio.gather(*(self._fetch(url, tls, objection, now) for url in due)))

    def _is_due(self, url: str, now: datetime) -> bool:
        tried = self._tried.get(url)
        if tried is not None and timedelta(0) <= now - tried < min(RETRY, self._bounds.every):
            return False
        try:
            fetched = from_us(self.path_of(url).stat().st_mtime_ns // 1000)
        except OSError:
            return True
        # A file from the future says that the clock went back: its age is unknown.
        return not timedelta(0) <= now - fetched < self._bounds.every

    def path_of(self, url: str) -> Path:
        """Return the file for what a URL holds."""
        return self._folder / f"{hashlib.sha256(url.encode()).hexdigest()[:32]}.crl"

    async def _fetch(
        self, url: str, tls: ssl.SSLContext, objection: Callable[[bytes], str | None], now: datetime
    ) -> bool:
        self._tried[url] = now
        host = urlsplit(url).hostname or ""
        bounds = self._bounds
        try:
            async with self._slots:
                octets = await fetch(url, tls, max_octets=bounds.max_octets, timeout_s=bounds.timeout_s)
            is_new = await asyncio.to_thread(self._keep, self.path_of(url), octets, objection, now)
        except (MssError, OSError) as error:
            reason = str(error) if isinstance(error, MssError) else error.strerror or type(error).__name__
            self.failed[host] = reason
            _log.error("revocation.list_not_fetched", host=host, reason=reason)
            return False
        self.failed.pop(host, None)
        _log.info("revocation.list_fetched", host=host, octets=len(octets), new=is_new)
        return is_new

    def _keep(self, path: Path, octets: bytes, objection: Callable[[bytes], str | None], now: datetime) -> bool:
        """Put a list in the place of the one before; False when it is the same."""
        if path.exists() and path.read_bytes() == octets:
            _stamp(path, now)
            return False
        reason = objection(octets)
        if reason is not None:
            raise _UnusableError(reason)
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        draft.write_bytes(octets)
        _stamp(draft, now)
        draft.replace(path)
        return True


class _UnusableError(MssError):
    """A list that must not be kept."""


def _stamp(path: Path, now: datetime) -> None:
    os.utime(path, ns=(to_us(now) * 1000, to_us(now) * 1000))
