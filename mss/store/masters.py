"""The files of the master key: the one in use, its successor while it takes over, its predecessor until that is done.

Every step is durable before the next begins, so that a cut at any instant leaves files from which the rotation goes on.
It wraps nothing: see `rotation`.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from base64 import b64decode, b64encode
from pathlib import Path

from mss.errors import Misconfigured
from mss.store import crypto
from mss.store.files import flush_folder


def make_master_key(path: Path) -> None:
    """Write a fresh master key (mode 0600), flushed; an existing file is never overwritten."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(b64encode(crypto.new_key()) + b"\n")
        file.flush()
        os.fsync(file.fileno())
    flush_folder(path.parent)


def read_master_key(path: Path) -> bytes:
    """Read the master key; Misconfigured when it is not 32 octets in base64."""
    try:
        key = b64decode(path.read_bytes(), validate=False)
    except (OSError, ValueError) as error:
        raise Misconfigured(f"the master key {path} cannot be read: {error}") from error
    if len(key) != crypto.KEY_OCTETS:
        raise Misconfigured(f"the master key {path} must hold 32 octets in base64")
    return key


def fingerprint(key: bytes) -> str:
    """Return what tells one master key from another without giving it away: 16 hexadecimal digits."""
    return hashlib.sha256(b"mss master key" + key).hexdigest()[:16]


class MasterFiles:
    """The master key's file and its neighbours `….next` and `….old`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.next = path.with_name(path.name + ".next")
        self.old = path.with_name(path.name + ".old")

    def keys(self) -> tuple[bytes, ...]:
        """Return every master key that may have wrapped something: the one in use, then the others.

        The successor is looked for first: a rename makes it the one in use, and it would be missed the other way round.
        """
        successor = self._optional(self.next)
        in_use = read_master_key(self.path)
        others = (successor, self._optional(self.old))
        return (in_use, *(key for key in others if key is not None and key != in_use))

    def under_way(self) -> bool:
        """Say whether a rotation was begun and is not done."""
        return self.next.exists() or self.old.exists()

    def prepare(self) -> bytes:
        """Return the successor, made now when there is none. One that a cut left half written is made again."""
        half = self.next.with_name(self.next.name + ".new")
        if not self.next.exists():
            half.unlink(missing_ok=True)
            make_master_key(half)
            os.replace(half, self.next)
            flush_folder(self.path.parent)
        return read_master_key(self.next)

    def switch(self) -> None:
        """Put the successor in the place of the one in use, which is kept beside it until `finish`."""
        with contextlib.suppress(FileExistsError):
            os.link(self.path, self.old)
        flush_folder(self.path.parent)
        os.replace(self.next, self.path)
        flush_folder(self.path.parent)

    def finish(self) -> None:
        """Remove the predecessor: nothing is wrapped under it any more."""
        self.old.unlink(missing_ok=True)
        flush_folder(self.path.parent)

    @staticmethod
    def _optional(path: Path) -> bytes | None:
        try:
            return read_master_key(path)
        except Misconfigured:
            if path.exists():
                raise
            return None
