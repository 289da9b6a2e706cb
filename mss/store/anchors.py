"""The heads of the journal's chains in a file outside the store: JSON Lines, appended to, never written anew.

Whoever changes the journal and all its hashes after an anchor was written is found by the line that they cannot change.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path

from mss.errors import Malformed, Unavailable
from mss.store.chains import Head


def line(heads: Iterable[Head], now: datetime) -> bytes:
    """Return the line that tells of all heads."""
    rows = [[head.writer, head.number, head.hash] for head in heads]
    return json.dumps({"at": now.isoformat(), "heads": rows}, separators=(",", ":")).encode() + b"\n"


def append(file: Path, heads: Iterable[Head], now: datetime) -> None:
    """Add a line with all heads, flushed; only appending is asked of the file system."""
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(descriptor, line(heads, now))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise Unavailable(f"the anchors cannot be written to {file}: {error.strerror}") from error


def read(file: Path) -> Iterator[Head]:
    """Yield the anchored heads, oldest first; Malformed names a line that is none. A cut-off last one is left out."""
    try:
        with file.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                if line.endswith("\n"):
                    yield from _heads(line, f"{file}, line {number}")
    except OSError as error:
        raise Malformed(f"the anchors {file} cannot be read: {error.strerror}") from error


def _heads(line: str, where: str) -> Iterator[Head]:
    try:
        for writer, number, mark in json.loads(line)["heads"]:
            yield Head(str(writer), int(number), str(mark))
    except (ValueError, KeyError, TypeError) as error:
        raise Malformed(f"{where}: no heads of chains") from error
