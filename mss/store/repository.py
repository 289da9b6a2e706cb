"""A folder of backups: sealed chunks of rows, each kept once, files of octets as they are, and lists that name both.

Everything but the octets aside, which are sealed already, is sealed under the operator's key of backups; a chunk's
name is the keyed digest of what is in it, so that an unchanged one is there already. A list counts only once all that
it names is on disk. It knows nothing of tables.

    chunks/ab/<digest>    octets/ab/<name>    snapshots/<when>-<random>    lock
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO, Final

from mss.errors import Conflict, Malformed, Unavailable
from mss.store import crypto
from mss.store.blobs import Blobs, pieces_of

FORM: Final = "mss backup 1\n"
_FLUSHED_AT_ONCE: Final = 64
_BLOCK_ENTRIES: Final = 1000
_BLOCK_OCTETS_MAX: Final = 64 * 1024 * 1024
_PLAIN, _PACKED = b"\0", b"\1"
Entry = Mapping[str, Any]


class Repository:
    """One folder of backups, opened with the operator's key of backups."""

    def __init__(self, root: Path, key: bytes) -> None:
        self.root = root
        self._key = crypto.derive(key, "mss backup chunks")
        self._names = crypto.derive(key, "mss backup names")
        self._fresh: list[Path] = []

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Make the folder when it is missing and be the only one who writes to it; Conflict when another does."""
        for name in ("chunks", "octets", "snapshots"):
            (self.root / name).mkdir(parents=True, exist_ok=True, mode=0o700)
        form = self.root / "form"
        if not form.exists():
            form.write_text(FORM, encoding="ascii")
        self._expect_form()
        with (self.root / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise Conflict(f"another program writes to {self.root} at this moment") from None
            yield

    def _expect_form(self) -> None:
        try:
            if (self.root / "form").read_text(encoding="ascii") == FORM:
                return
        except (OSError, ValueError):
            pass
        raise Malformed(f"{self.root} is no folder of backups")

    # -- chunks --------------------------------------------------------------------------------------------------

    def put_chunk(self, plain: bytes) -> tuple[str, bool]:
        """Keep a chunk; returns its name and whether it is new. On disk after `flush`."""
        name = crypto.keyed_digest(self._names, plain).hex()
        path = self._path("chunks", name)
        if path.exists():
            return name, False
        packed = zlib.compress(plain, 1)
        body = _PACKED + packed if len(packed) < len(plain) else _PLAIN + plain
        sealed = crypto.seal(self._key, body, b"chunk:" + name.encode())
        self._write(path, sealed)
        return name, True

    def chunk(self, name: str) -> bytes:
        """Return a chunk's octets; Damaged when it is gone, changed, or another's."""
        try:
            sealed = self._path("chunks", name).read_bytes()
        except OSError as error:
            raise crypto.Damaged(f"the backup lacks its chunk {name[:16]}") from error
        body = crypto.unseal(self._key, sealed, b"chunk:" + name.encode())
        plain = zlib.decompress(body[1:]) if body[:1] == _PACKED else body[1:]
        if crypto.keyed_digest(self._names, plain).hex() != name:
            raise crypto.Damaged(f"the backup's chunk {name[:16]} is another one")
        return plain

    def _path(self, kind: str, name: str) -> Path:
        return self.root / kind / name[:2] / name

    def _write(self, path: Path, octets: bytes) -> None:
        path.parent.mkdir(exist_ok=True, mode=0o700)
        half = path.with_name(f".{path.name}.new")
        descriptor = os.open(half, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(octets)
        self._later(half)

    def _later(self, half: Path) -> None:
        """Flush and name several files at once: one at a time would wait for the disk each time."""
        self._fresh.append(half)
        if len(self._fresh) >= _FLUSHED_AT_ONCE:
            self.flush()

    def flush(self) -> None:
        """Bring everything written so far to the disk, under its name."""
        folders = {half.parent for half in self._fresh}
        for half in self._fresh:
            _sync(half)
        for half in self._fresh:
            half.rename(half.with_name(half.name[1:].removesuffix(".new")))
        for folder in folders | {folder.parent for folder in folders}:
            _sync(folder)
        self._fresh.clear()

    # -- octets aside --------------------------------------------------------------------------------------------

    def put_file(self, name: str, source: Blobs) -> bool | None:
        """Copy sealed octets; True when they are new, False when they were there, None when their source is gone."""
        path, size = self._path("octets", name), source.size(name)
        if size is None:
            return None
        if path.exists() and path.stat().st_size == size:
            return False
        path.parent.mkdir(exist_ok=True, mode=0o700)
        half = path.with_name(f".{name}.new")
        try:
            with half.open("wb") as file:
                file.writelines(pieces_of(source, name, size))
        except Unavailable:
            half.unlink()
            if source.size(name) is None:
                return None
            raise
        half.chmod(0o600)
        self._later(half)
        return True

    def file(self, name: str) -> Path:
        """Return where a file of sealed octets is."""
        return self._path("octets", name)

    # -- lists ---------------------------------------------------------------------------------------------------

    def snapshots(self) -> tuple[str, ...]:
        """Return the names of the whole backups, oldest first."""
        self._expect_form()
        return tuple(sorted(path.name for path in (self.root / "snapshots").iterdir() if path.name[0] != "."))

    def write_snapshot(self, now: datetime, entries: Iterable[Entry]) -> str:
        """Write a list of what a backup is made of, entry by entry; it counts once the last one is on disk."""
        name = f"{now:%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"
        half = self.root / "snapshots" / f".{name}.new"
        with half.open("wb") as out:
            number, block = 0, list[str]()
            for entry in entries:
                block.append(json.dumps(entry, separators=(",", ":")))
                if len(block) == _BLOCK_ENTRIES:
                    self._block(out, name, number, block, last=False)
                    number, block = number + 1, []
            # Whatever the entries name is on disk before the list says so.
            self.flush()
            self._block(out, name, number, block, last=True)
            out.flush()
            os.fsync(out.fileno())
        half.rename(half.with_name(name))
        _sync(half.parent)
        return name

    def _block(self, out: BinaryIO, name: str, number: int, lines: list[str], *, last: bool) -> None:
        sealed = crypto.seal(self._key, zlib.compress("\n".join(lines).encode()), _place(name, number, last=last))
        out.write(len(sealed).to_bytes(4, "big") + (b"\1" if last else b"\0") + sealed)

    def entries(self, name: str) -> Iterator[dict[str, Any]]:
        """Yield the entries of a list; Damaged: a block is changed or gone, Malformed: there is no such list."""
        if name not in self.snapshots():
            raise Malformed("there is no backup of that name: mss restore DIR --list shows them")
        with (self.root / "snapshots" / name).open("rb") as file:
            number, last = 0, False
            while not last:
                head = file.read(5)
                last, size = head[4:] == b"\1", int.from_bytes(head[:4], "big")
                if len(head) < 5 or size > _BLOCK_OCTETS_MAX:
                    raise crypto.Damaged("the backup's list is cut off")
                block = crypto.unseal(self._key, file.read(size), _place(name, number, last=last))
                yield from map(json.loads, filter(None, zlib.decompress(block).decode().split("\n")))
                number += 1

    def forget(self, keep: int) -> int:
        """Remove all backups but the newest so many, and what only they named; returns how many files went."""
        names = self.snapshots()
        for name in names[:-keep]:
            (self.root / "snapshots" / name).unlink()
        _sync(self.root / "snapshots")
        needed = set[bytes]()
        for name in names[-keep:]:
            for entry in self.entries(name):
                needed.update(bytes.fromhex(entry[kind]) for kind in ("chunk", "file") if kind in entry)
        gone = 0
        for path in (*self.root.glob("chunks/??/*"), *self.root.glob("octets/??/*")):
            if path.name[0] == "." or bytes.fromhex(path.name) not in needed:
                with contextlib.suppress(FileNotFoundError):
                    path.unlink()
                gone += 1
        return gone


def _place(name: str, number: int, *, last: bool) -> bytes:
    return f"list:{name}:{number}:{int(last)}".encode()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
