"""Octets aside, wherever they are: one interface for our own flushed files and for a bucket, chosen by [store] blobs.

A place keeps sealed octets under random names that are never used twice. What `put` returned is durable; the row that
names it is written afterwards, so a name without a row is an orphan to sweep, and a row without octets cannot be.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator
from typing import Final, Protocol

from mss.config import MIB, Config
from mss.errors import Misconfigured, Unavailable
from mss.store.files import FileStore

FILE: Final = "file"
_S3: Final = "s3://"


class Blobs(Protocol):
    """A place for sealed octets. Every call may wait for a disk or a network: for threads only."""

    def put(self, pieces: Iterable[bytes]) -> str:
        """Write octets durably, given in pieces, and return their name; Unavailable when the place refuses."""

    def get(self, name: str, start: int, end: int) -> bytes:
        """Return sealed octets [start, end); Unavailable when they cannot be had."""

    def put_named(self, name: str, pieces: Iterable[bytes]) -> None:
        """Write octets durably under the name that they had, in the place of what is there: a backup comes back."""

    def size(self, name: str) -> int | None:
        """Return how many sealed octets there are of that name; None when there are none."""

    def older_than(self, age_s: float) -> Iterator[str]:
        """Yield the names of what is that old."""

    def delete(self, name: str) -> None:
        """Remove octets; missing ones are fine."""

    @property
    def well(self) -> bool:
        """Whether the place answered when it was last asked."""


def open_blobs(config: Config) -> Blobs:
    """Open the place that [store] blobs names; Misconfigured when it names none."""
    where = config.store.blobs
    if where == FILE:
        return FileStore(config.path(config.store.blobs_dir))
    if where.startswith(_S3):
        # The library takes time to load: who keeps files need not wait for it.
        from mss.store.buckets import open_bucket

        return open_bucket(config)
    raise Misconfigured(f"[store] blobs is “file” or s3://bucket/prefix, not “{where[:100]}”")


def pieces_of(blobs: Blobs, name: str, size: int) -> Iterator[bytes]:
    """Yield the sealed octets of a name, a piece at a time."""
    for start in range(0, size, MIB):
        yield blobs.get(name, start, min(size, start + MIB))


def try_place(blobs: Blobs) -> None:
    """Write some octets, read them and remove them; Unavailable when that cannot be done."""
    octets = secrets.token_bytes(32)
    name = blobs.put((octets,))
    if blobs.get(name, 0, len(octets)) != octets:
        raise Unavailable("octets written aside come back changed")
    blobs.delete(name)
