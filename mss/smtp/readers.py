"""Where letters are read: small ones on the loop, large ones in a process of their own.

It knows nothing of MIME itself: `services.reading` does. A letter that kills or stalls the process is temporary to
its sender, and the next one gets a new process.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import re
import threading
from collections.abc import Mapping
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import Final

from mss.config import Limits
from mss.errors import Unavailable
from mss.log import get_logger
from mss.mail import completion, mime, trace
from mss.services import reading
from mss.services.reading import Reading

_PATIENCE_S: Final = 60
# What submission takes out of a letter: blind recipients, and traces that only we may write.
_PRIVATE: Final = frozenset({"bcc", "resent-bcc", "return-path"})

_RETURN_PATH: Final = re.compile(rb"^return-path[ \t]*:", re.IGNORECASE | re.MULTILINE)

_log = get_logger("smtp")


@dataclass(frozen=True, slots=True)
class Preparation:
    """What is done to the octets before they are read: `trace` fields go on top; the rest is for submission only.

    `names` are what the senders' own boxes are called, by address key.
    """

    trace: tuple[bytes, ...]
    message_id: str = ""
    date: datetime | None = None
    names: Mapping[str, str] = field(default_factory=dict)


def prepare(octets: bytes, wanted: Preparation, limits: Limits) -> bytes:
    """Return the final octets of a letter: our trace on top and no other's Return-Path; at submission also Bcc gone,
    the author's name, Message-ID and Date there."""
    if wanted.date is not None:
        octets = trace.remove(mime.index(octets, limits), _PRIVATE)
        octets = completion.name_author(mime.index(octets, limits), wanted.names, limits)
        octets = trace.add_missing(mime.index(octets, limits), message_id=wanted.message_id, date=wanted.date)
    elif _RETURN_PATH.search(octets, 0, octets.find(b"\r\n\r\n") + 1 or len(octets)):
        octets = trace.remove(mime.index(octets, limits), {"return-path"})
    return trace.prepend(octets, wanted.trace)


def read(octets: bytes, wanted: Preparation, limits: Limits, *, documents: bool) -> Reading:
    """Prepare a letter and read it."""
    return reading.read_letter(prepare(octets, wanted, limits), limits, documents=documents)


@dataclass(frozen=True, slots=True)
class _Parcel:
    """A reading on its way between processes, without the octets that the other side has: `head` goes before them.

    `changed` are the whole octets where more was done than putting fields on top.
    """

    reading: Reading
    head: bytes
    changed: bytes | None

    def opened(self, octets: bytes) -> Reading:
        """Return the reading with its octets."""
        final = self.head + octets if self.changed is None else self.changed
        return replace(self.reading, message=replace(self.reading.message, octets=final))


def read_aside(octets: bytes, wanted: Preparation, limits: Limits, *, documents: bool) -> _Parcel:
    """Read in another process: a large letter travels there once, and not back."""
    found = read(octets, wanted, limits, documents=documents)
    bare = replace(found, message=replace(found.message, octets=b""))
    if found.octets.endswith(octets):
        return _Parcel(bare, found.octets[: len(found.octets) - len(octets)], None)
    return _Parcel(bare, b"", found.octets)


class Readers:
    """Reads letters without holding the loop up; one process at most, started when the first large letter comes."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._pool: ProcessPoolExecutor | None = None

    async def read(self, octets: bytes, wanted: Preparation, *, documents: bool) -> Reading:
        """Return what `read` returns; Unavailable when the process failed."""
        if len(octets) <= self._limits.index_in_process_max_octets:
            return read(octets, wanted, self._limits, documents=documents)
        work = partial(read_aside, octets, wanted, self._limits, documents=documents)
        pool = self._process()
        try:
            async with asyncio.timeout(_PATIENCE_S):
                return (await asyncio.get_running_loop().run_in_executor(pool, work)).opened(octets)
        except (BrokenExecutor, TimeoutError) as error:
            _log.error("smtp.reader_failed", kind=type(error).__name__, octets=len(octets))
            if pool is self._pool:  # Another letter may have replaced it already.
                self.close()
            raise Unavailable("a letter could not be read in time") from error

    def _process(self) -> ProcessPoolExecutor:
        if self._pool is None:
            # Not forked: a fork of a process with threads and a running loop may hang.
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(1, mp_context=context, initializer=_follow_parent)
        return self._pool

    def close(self) -> None:
        """Let the process go, whatever it is doing."""
        pool, self._pool = self._pool, None
        if pool is None:
            return
        processes = list((pool._processes or {}).values())
        pool.shutdown(wait=False, cancel_futures=True)
        for process in processes:
            process.terminate()


def _follow_parent() -> None:
    """End this process when the one that started it was killed; it would wait for letters for ever."""
    threading.Thread(target=_end_after_parent, daemon=True).start()


def _end_after_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
