"""Octets aside: our own small local store, flushed before the transaction that names them.

A file is written under a temporary name, flushed, linked to its final name, then its directory (and any new parent) is
flushed. Names are random and never reused; a file without a row is an orphan to sweep, a row without a file cannot be.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from mss.errors import Unavailable


class FileStore:
    """Sealed octets in files below one folder, spread over 256 directories."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._known: set[str] = set()

    def put(self, pieces: Iterable[bytes]) -> str:
        """Write octets durably, given in pieces, and return their name; Unavailable when the disk refuses."""
        name = secrets.token_hex(20)
        self._put(name, pieces)
        return name

    def put_named(self, name: str, pieces: Iterable[bytes]) -> None:
        """Write octets durably under the name that they had; what a cut left of them goes first."""
        directory = self._root / name[:2]
        for left in (directory / name, directory / f".{name}.new"):
            left.unlink(missing_ok=True)
        self._put(name, pieces)

    def _put(self, name: str, pieces: Iterable[bytes]) -> None:
        try:
            self._write(self._directory(name), name, pieces)
        except OSError as error:
            raise Unavailable(f"cannot write octets aside: {os.strerror(error.errno or 0)}") from error

    @property
    def well(self) -> bool:
        """A local folder answers or refuses at once: there is nothing to remember."""
        return True

    def get(self, name: str, start: int, end: int) -> bytes:
        """Return sealed octets [start, end) of a file."""
        try:
            with (self._root / name[:2] / name).open("rb") as file:
                file.seek(start)
                return file.read(end - start)
        except OSError as error:
            raise Unavailable(f"cannot read octets aside: {os.strerror(error.errno or 0)}") from error

    def size(self, name: str) -> int | None:
        """Return how many octets a file has; None when it is not there."""
        try:
            return (self._root / name[:2] / name).stat().st_size
        except FileNotFoundError:
            return None
        except OSError as error:
            raise Unavailable(f"cannot read octets aside: {os.strerror(error.errno or 0)}") from error

    def older_than(self, age_s: float) -> Iterator[str]:
        """Yield the names of files that are that old; what a crash left half written is removed on the way."""
        before = time.time() - age_s
        for path in self._root.glob("[0-9a-f][0-9a-f]/*"):
            with contextlib.suppress(FileNotFoundError):
                if path.stat().st_mtime > before:
                    continue
                if path.name.startswith("."):
                    path.unlink()
                else:
                    yield path.name

    def delete(self, name: str) -> None:
        """Remove a file; a missing one is fine."""
        (self._root / name[:2] / name).unlink(missing_ok=True)

    def _directory(self, name: str) -> Path:
        directory = self._root / name[:2]
        if name[:2] not in self._known:
            new = [path for path in (directory, *directory.parents) if not path.exists()]
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            for path in new:
                flush_folder(path.parent)
            self._known.add(name[:2])
        return directory

    @staticmethod
    def _write(directory: Path, name: str, pieces: Iterable[bytes]) -> None:
        temporary = directory / f".{name}.new"
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.writelines(pieces)
                file.flush()
                os.fsync(file.fileno())
            os.link(temporary, directory / name)
        finally:
            temporary.unlink(missing_ok=True)
        flush_folder(directory)


def flush_folder(directory: Path) -> None:
    """Put the names in a folder on disk."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
