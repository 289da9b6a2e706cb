"""Orders dropped into a folder: taken by a rename, so that several workers share it; never read while being written.

`NAME.hl7` or `NAME.er7` goes to `work/`; done, it is gone and `acks/NAME.ack` says so; refused, it stands in `error/`
with its acknowledgement beside it. What only has to wait goes back. An order that a crash left in `work/` is taken
again: orders are recognised when they come twice.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from mss.hl7.desk import Answer, Desk
from mss.log import get_logger

_log = get_logger("hl7")

_ENDINGS: Final = (".hl7", ".er7")
_ABANDONED_S: Final = 600
_AT_ONCE: Final = 100


class Drop:
    """A folder of orders, looked at until `stop`."""

    def __init__(self, folder: Path, desk: Desk, poll_s: float, max_octets: int) -> None:
        self._folder, self._desk, self._poll_s, self._max = folder, desk, poll_s, max_octets
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Look again and again."""
        for name in ("", "work", "acks", "error"):
            (self._folder / name).mkdir(mode=0o700, parents=True, exist_ok=True)
        while not self._stopping.is_set():
            try:
                await self.look()
            except OSError as error:
                _log.error("hl7.folder_failed", errno=error.errno)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._poll_s):
                    await self._stopping.wait()

    async def stop(self) -> None:
        """Look no more."""
        self._stopping.set()

    async def look(self) -> int:
        """Take what is there, oldest first; returns how many orders were carried out or refused."""
        self._bring_back()
        count = 0
        for path in sorted(self._dropped(), key=lambda one: one.stat().st_mtime_ns)[:_AT_ONCE]:
            if self._stopping.is_set():
                break
            count += await self._one(path)
        return count

    def _dropped(self) -> Iterator[Path]:
        for path in self._folder.iterdir():
            if path.suffix.lower() in _ENDINGS and path.is_file() and not path.is_symlink():
                yield path

    def _bring_back(self) -> None:
        for path in (self._folder / "work").iterdir():
            with contextlib.suppress(FileNotFoundError):
                if time.time() - path.stat().st_mtime > _ABANDONED_S:
                    path.rename(self._folder / path.name)

    async def _one(self, path: Path) -> int:
        octets = await asyncio.to_thread(self._take, path)
        if octets is None:
            return 0
        answer = await self._desk.take(octets, None, "folder")
        await asyncio.to_thread(self._put_away, path, answer)
        return 0 if answer.temporary else 1

    def _take(self, path: Path) -> bytes | None:
        """Take a file and return its octets, one past the limit at most; None when another worker was first."""
        taken = self._folder / "work" / path.name
        try:
            path.rename(taken)
            os.utime(taken)
            with taken.open("rb") as file:
                return file.read(self._max + 1)
        except FileNotFoundError:
            return None

    def _put_away(self, path: Path, answer: Answer) -> None:
        taken = self._folder / "work" / path.name
        if answer.temporary:
            taken.rename(path)
            return
        where = self._folder / ("acks" if answer.done else "error")
        _write(where / f"{path.name}.ack", answer.octets)
        if answer.done:
            taken.unlink()
        else:
            taken.rename(where / path.name)


def _write(path: Path, octets: bytes) -> None:
    """Write a file that whoever sees it finds whole."""
    fresh = path.with_name(path.name + ".tmp")
    fresh.write_bytes(octets)
    fresh.replace(path)
