"""A disk that forgets: what a server wrote, replayed from strace's file; at any instant only what was flushed is kept.

The model is the strict one of POSIX: octets count after a flush of their file that began when they were written; a
name, its removal and a new folder count after a flush of the folder that they stand in. Files that the kernel alone
shares (the WAL's index) are left out: nobody reads them after a power cut.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.journeys.kernel import FLUSHES, Call

CALLS: Final = sorted(
    {"openat", "write", "writev", "pwrite64", "fsync", "fdatasync", "link", "linkat", "rename", "renameat", "renameat2"}
    | {"unlink", "unlinkat", "ftruncate", "mkdir", "mkdirat"}
)
# Octets of a call that strace writes down: more than any one write of ours.
OCTETS_MAX: Final = 4_000_000
SECTOR: Final = 512
_FILE: Final = re.compile(r"\d+<(?P<path>(?:\\x[0-9a-f]{2})+)")
_TEXT: Final = re.compile(r'"((?:\\x[0-9a-f]{2})*)"(\.\.\.)?')
_NUMBERS: Final = re.compile(r"(\d+)")


@dataclass(eq=False)
class Inode:
    """A file's octets: as the server sees them, as they are on disk, and the writes between the two."""

    seen: bytearray = field(default_factory=bytearray)
    kept: bytearray = field(default_factory=bytearray)
    pending: list[tuple[int, bytes | None]] = field(default_factory=list)

    def write(self, at: int, octets: bytes) -> None:
        _put(self.seen, at, octets)
        self.pending.append((at, octets))

    def truncate(self, size: int) -> None:
        _cut(self.seen, size)
        self.pending.append((size, None))

    def flush(self, count: int) -> None:
        """Keep the first so many of the writes that wait."""
        for at, octets in self.pending[:count]:
            _apply(self.kept, at, octets)
        del self.pending[:count]

    def after_cut(self, chance: random.Random | None) -> bytes:
        """Return what is on disk after a power cut: what was flushed and, if wished, any sectors of what was not."""
        if chance is None:
            return bytes(self.kept)
        left = bytearray(self.kept)
        for at, octets in self.pending:
            if octets is None:
                continue  # Octets that were cut off may be there still.
            for start in range(0, len(octets), SECTOR):
                if chance.random() < 0.5:
                    _put(left, at + start, octets[start : start + SECTOR])
        return bytes(left)


def _put(octets: bytearray, at: int, new: bytes) -> None:
    if len(octets) < at:
        octets.extend(bytes(at - len(octets)))
    octets[at : at + len(new)] = new


def _cut(octets: bytearray, size: int) -> None:
    del octets[size:]
    octets.extend(bytes(size - len(octets)))


def _apply(octets: bytearray, at: int, new: bytes | None) -> None:
    if new is None:
        _cut(octets, at)
    else:
        _put(octets, at, new)


class Disk:
    """The files below a folder, as the server sees them and as they are on disk."""

    def __init__(self, root: Path) -> None:
        self.root = str(root)
        self.seen: dict[str, Inode] = {}
        self.kept: dict[str, Inode] = {}
        self._folders = {self.root}
        self._kept_folders = {self.root}
        for path in root.rglob("*"):
            if path.is_dir():
                self._folders.add(str(path))
                self._kept_folders.add(str(path))
            elif path.is_file():
                octets = path.read_bytes()
                self.seen[str(path)] = self.kept[str(path)] = Inode(bytearray(octets), bytearray(octets))

    def play(self, calls: Iterable[Call]) -> Iterator[Call]:
        """Do what the server did, in the order in which it was done; yields each flush just before it counts."""
        waiting: list[tuple[Call, Inode | None, int]] = []
        for at, begins, call in _steps(calls):
            for one in [one for one in waiting if one[0].ended <= at]:
                waiting.remove(one)
                self._flushed(*one)
            if call.name in FLUSHES:
                if begins and (path := _file(call)) and self._mine(path):
                    yield call
                    inode = self.seen.get(path)
                    waiting.append((call, inode, len(inode.pending) if inode else 0))
            elif not begins and call.result >= 0:
                self._do(call)
        for one in waiting:
            self._flushed(*one)

    def _flushed(self, call: Call, inode: Inode | None, count: int) -> None:
        """A flush came to its end: what had been written when it began is on disk."""
        if call.result != 0:
            return
        if inode is not None:
            inode.flush(count)
            return
        folder = _file(call)
        self._kept_folders |= {one for one in self._folders if _parent(one) == folder}
        for name in {name for name in (*self.seen, *self.kept) if _parent(name) == folder}:
            if name in self.seen:
                self.kept[name] = self.seen[name]
            else:
                del self.kept[name]

    def _mine(self, path: str) -> bool:
        return path.startswith(self.root) and not path.endswith("-shm")

    def _do(self, call: Call) -> None:
        texts = [_octets(found) for found in _TEXT.finditer(call.arguments)]
        match call.name:
            case "write" | "writev" | "pwrite64":
                path = _file(call)
                if path in self.seen and self._mine(path):
                    inode = self.seen[path]
                    # Our own files aside are written from their beginning to their end.
                    at = len(inode.seen) if call.name != "pwrite64" else _place(call)
                    inode.write(at, b"".join(texts)[: call.result])
            case "ftruncate":
                path = _file(call)
                if path in self.seen:
                    self.seen[path].truncate(int(_NUMBERS.findall(call.arguments)[-2]))
            case "openat" if texts and "O_CREAT" in call.arguments:
                path = texts[0].decode()
                if self._mine(path):
                    self.seen.setdefault(path, Inode())
            case "link" | "linkat" | "rename" | "renameat" | "renameat2" if len(texts) == 2:
                old, new = (text.decode() for text in texts)
                if old in self.seen:
                    self.seen[new] = self.seen[old] if "link" in call.name else self.seen.pop(old)
            case "unlink" | "unlinkat" if texts:
                self.seen.pop(texts[0].decode(), None)
            case "mkdir" | "mkdirat" if texts:
                self._folders.add(texts[0].decode())
            case _:
                pass

    def lose_power(self, target: Path, chance: random.Random | None = None) -> None:
        """Write what is left after a power cut into another folder; `chance`: some of what was not flushed, too."""
        for name, inode in self.kept.items():
            folders = {str(one) for one in Path(name).parents if str(one).startswith(self.root)}
            if folders <= self._kept_folders and self._mine(name):
                path = target / Path(name).relative_to(self.root)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(inode.after_cut(chance))
        for folder in self._kept_folders:
            (target / Path(folder).relative_to(self.root)).mkdir(parents=True, exist_ok=True)


def _steps(calls: Iterable[Call]) -> Iterator[tuple[float, bool, Call]]:
    """Yield (when, whether it begins, call): flushes at both their ends, all else when it is done."""
    steps = [(call.ended, 0, number, call) for number, call in enumerate(calls) if call.name not in FLUSHES]
    steps += [(call.began, 1, number, call) for number, call in enumerate(calls) if call.name in FLUSHES]
    for at, begins, _, call in sorted(steps, key=lambda step: step[:3]):
        yield at, bool(begins), call


def _file(call: Call) -> str:
    found = _FILE.match(call.arguments)
    return bytes.fromhex(found["path"].replace("\\x", "")).decode() if found else ""


def _place(call: Call) -> int:
    """Return where a pwrite64 writes: its last argument."""
    return int(call.arguments.rpartition(", ")[2].partition(")")[0])


def _octets(found: re.Match[str]) -> bytes:
    assert not found[2], "strace cut a write off"
    return bytes.fromhex(found[1].replace("\\x", ""))


def _parent(path: str) -> str:
    return path.rpartition("/")[0]
