"""Where letters wait for their end: small ones in memory, larger ones in sealed files without a name.

Both are bounded for all doors of a process: memory that runs out sends letters to disk, a disk that runs out defers
them (452 4.3.1). On disk they are sealed under keys that live in memory only, so that what a crash leaves behind is
neither found nor readable. Large letters are read back one at a time. It knows no SMTP.
"""

from __future__ import annotations

import asyncio
import io
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, Final

from mss.config import Limits
from mss.log import get_logger
from mss.smtp.session import LetterIn
from mss.store import crypto

# Up to here a letter stays in memory while there is some; then it goes to disk in pieces of the second size.
SPOOL_FROM_OCTETS: Final = 1024 * 1024
_PIECE_OCTETS: Final = 128 * 1024
_THREADS: Final = 2

_log = get_logger("smtp")


class Budget:
    """A number of octets that may be in use at once."""

    def __init__(self, octets_max: int) -> None:
        self._free = octets_max

    def take(self, octets: int) -> bool:
        """Take so many; False when there are not enough left."""
        if octets > self._free:
            return False
        self._free -= octets
        return True

    def give(self, octets: int) -> None:
        """Give them back."""
        self._free += octets


class Spool:
    """What all letters on their way into one process share, until `close`."""

    def __init__(self, limits: Limits, folder: Path | None = None) -> None:
        self.memory = Budget(limits.smtp_memory_max_octets)
        self.disk = Budget(limits.smtp_spool_max_octets)
        self.size_max_octets = limits.message_max_octets
        # A letter of the largest kind takes several times its size in memory while it is read and stored.
        self.large = asyncio.Semaphore(1)
        self.threads = ThreadPoolExecutor(_THREADS, "smtp-spool")
        self._folder = folder

    def begin(self, reader: LetterIn, declared_octets: int | None = None) -> Incoming:
        """Begin a letter whose sender said how large it will be, or did not."""
        return Incoming(self, reader, self.size_max_octets if declared_octets is None else declared_octets)

    def new_file(self) -> IO[bytes]:
        """Return a new file that has no name, or loses it at once."""
        if self._folder is not None:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return tempfile.TemporaryFile(dir=self._folder, buffering=0)

    def close(self) -> None:
        """Let the threads go."""
        self.threads.shutdown(wait=False, cancel_futures=True)


class Incoming:
    """One letter on its way in, until `close`: what was read of it, in memory and on disk."""

    __slots__ = ("_closed", "_declared", "_file", "_held", "_keys", "_on_disk", "_reserved", "_spool", "reader")

    def __init__(self, spool: Spool, reader: LetterIn, declared_octets: int) -> None:
        self.reader = reader
        self._spool = spool
        self._declared = declared_octets
        self._held = self._on_disk = self._reserved = 0
        self._closed = False
        self._file: IO[bytes] | None = None
        self._keys: list[tuple[bytes, int]] = []

    @property
    def on_disk(self) -> bool:
        """Whether a part of it lies on disk."""
        return self._file is not None

    def fits(self, octets: int) -> bool:
        """Account for so many octets more; False when they must not stay in memory: `spill` after them."""
        if self.reader.discarded or not self._spool.memory.take(octets):
            return False
        self._held += octets
        return self._held <= (_PIECE_OCTETS if self._file else SPOOL_FROM_OCTETS)

    async def spill(self) -> None:
        """Bring to disk what is in memory; a letter for which there is no room is only read to its end."""
        octets = self.reader.take()
        self._give_back()
        if not octets:
            return
        if not self._reserve(len(octets)):
            self.reader.discard()
            return
        self._on_disk += len(octets)
        try:
            await asyncio.get_running_loop().run_in_executor(self._spool.threads, self._write, octets)
        except OSError as error:
            _log.error("smtp.spool_failed", errno=error.errno)
            self.reader.discard()

    def _reserve(self, octets: int) -> bool:
        """Reserve room for the whole letter with its first piece: of many that begin at once some then end well."""
        more = max(self._on_disk + octets, self._declared) - self._reserved
        if more > 0 and not self._spool.disk.take(more):
            return False
        self._reserved += max(more, 0)
        return True

    def _give_back(self) -> None:
        self._spool.memory.give(self._held)
        self._held = 0

    def _write(self, octets: bytes) -> None:
        if self._closed:
            return
        if self._file is None:
            self._file = self._spool.new_file()
        # Each piece has a key of its own: a key seals only once.
        key = crypto.new_key()
        sealed = memoryview(crypto.seal_octets(key, octets))
        while sealed:
            sealed = sealed[self._file.write(sealed) :]
        self._keys.append((key, len(octets)))
        self._let_go()  # Perhaps it was closed meanwhile, in the loop.

    async def octets(self) -> bytes:
        """Return the letter once it has ended; OSError or Damaged when the disk does not give it back."""
        if self._file is None:
            return self.reader.octets()
        return await asyncio.get_running_loop().run_in_executor(self._spool.threads, self._read_back)

    def _read_back(self) -> bytes:
        assert self._file is not None
        self._file.seek(0)
        whole = io.BytesIO()
        for key, size in self._keys:
            sealed = _read(self._file, crypto.sealed_range(size, 0, size)[2])
            whole.write(crypto.open_segments(key, sealed, size, 0))
        whole.write(self.reader.octets())
        return whole.getvalue()

    def close(self) -> None:
        """Give everything back; a second time does nothing."""
        self._closed = True
        self._give_back()
        self._spool.disk.give(self._reserved)
        self._reserved = 0
        self._keys.clear()
        self._let_go()

    def _let_go(self) -> None:
        if self._closed and self._file is not None:
            self._file.close()


def _read(file: IO[bytes], size: int) -> bytes:
    found = b""
    while len(found) < size and (more := file.read(size - len(found))):
        found += more
    return found
