"""Where the tests' files lie: in memory where there is room, as thousands of flushes to disk take minutes.

Flushing to memory costs nothing and keeps its meaning: a killed process loses what it had not written. Tests of power
cuts ask for the disk.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
from pathlib import Path

MEMORY = Path("/dev/shm")
FREE_MIN_OCTETS = 2 << 30
_PREFIX = "mss-"


def roomy() -> Path | None:
    """Return the folder that lies in memory, unless a container gives little of it."""
    try:
        wide = shutil.disk_usage(MEMORY).free >= FREE_MIN_OCTETS
    except OSError:
        return None
    return MEMORY if wide and os.access(MEMORY, os.W_OK) else None


def fresh_folder(parent: Path) -> Path:
    """Make a new folder that carries our process in its name; short, as Unix sockets will lie in it."""
    for number in itertools.count():
        folder = parent / f"{_PREFIX}{os.getpid()}-{number}"
        with contextlib.suppress(FileExistsError):
            folder.mkdir(mode=0o700)
            return folder
    raise AssertionError("numbers do not end")


def sweep(parent: Path) -> None:
    """Remove what killed or failed runs left: folders whose process is gone."""
    for folder in parent.glob(f"{_PREFIX}*-*"):
        process = folder.name.removeprefix(_PREFIX).partition("-")[0]
        if process.isdecimal() and not Path("/proc", process).exists():
            shutil.rmtree(folder, ignore_errors=True)
