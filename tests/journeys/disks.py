"""Two kinds of full disk for a server's data, filled and emptied while it runs.

`SmallDisk` is a file system of its own in memory, in a mount namespace that only the server sees: ENOSPC as from any
disk, and nothing to clean up. It needs the right to make namespaces, which some containers do not give. `Quota` needs
no right: files may not grow past a size (RLIMIT_FSIZE), and the kernel answers EFBIG.
"""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from typing import Final, Protocol

import pytest

from tests.journeys.sites import Site

_SIZE_OCTETS: Final = 24 << 20
_QUOTA_OCTETS: Final = 96 << 10
# Mounts, copies what lies there already, then becomes the server: the process keeps its number.
_BEGIN: Final = 'mount -t tmpfs -o "size=$1,mode=700" small "$2" && cp -a "$3/." "$2" && shift 3 && exec "$@"'


class Disk(Protocol):
    """What a test does with it."""

    def fill(self) -> None:
        """Leave no room."""

    def empty(self) -> None:
        """Make room again."""


MakeDisk = Callable[[Site], contextlib.AbstractContextManager[Disk]]


class SmallDisk:
    """The server's own file system."""

    def __init__(self, folder: Path) -> None:
        self._filler = folder / "filler"

    def fill(self) -> None:
        """Fill it to the last page."""
        with self._filler.open("wb", buffering=0) as file:
            for size in (1 << 20, 1 << 12):
                _write_until_full(file, size)

    def empty(self) -> None:
        """Remove what filled it."""
        self._filler.unlink()


def _write_until_full(file: FileIO, size: int) -> None:
    try:
        while True:
            file.write(bytes(size))
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise


@contextmanager
def small_disk(site: Site) -> Iterator[Disk]:
    """Start the site's server with its data on a small disk; at the end they are put back to where they were."""
    unshare = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--user", "--map-root-user", "--mount"]
    if subprocess.run([*unshare, "mount", "-t", "tmpfs", "x", "/mnt"], capture_output=True, check=False).returncode:
        pytest.skip("no right to make a mount namespace here: the quota's run stands alone")
    data = site.operator.folder / "data"
    seed = data.with_name("seed")
    shutil.copytree(data, seed)
    site.start(under=[*unshare, "sh", "-c", _BEGIN, "sh", str(_SIZE_OCTETS), str(data), str(seed)])
    assert site.operator.process is not None
    # A descriptor outlives the namespace.
    there = os.open(f"/proc/{site.operator.process.pid}/root{data.resolve()}", os.O_PATH | os.O_DIRECTORY)
    try:
        yield SmallDisk(Path(f"/proc/{os.getpid()}/fd/{there}"))
        assert site.operator.stop() == 0
        shutil.rmtree(data)
        shutil.copytree(f"/proc/self/fd/{there}", data)
    finally:
        os.close(there)


class Quota:
    """A limit on the size of the server's files, which it meets at once: its log alone stays below."""

    def __init__(self, pid: int) -> None:
        self._pid = pid

    def fill(self) -> None:
        """Let no file grow past the quota."""
        self._limit(_QUOTA_OCTETS)

    def empty(self) -> None:
        """Let files grow again."""
        self._limit(resource.RLIM_INFINITY)

    def _limit(self, octets: int) -> None:
        _, hard = resource.prlimit(self._pid, resource.RLIMIT_FSIZE)
        resource.prlimit(self._pid, resource.RLIMIT_FSIZE, (octets, hard))


@contextmanager
def quota(site: Site) -> Iterator[Disk]:
    """Start the site's server, whose files can be kept from growing."""
    site.start()
    assert site.operator.process is not None
    yield Quota(site.operator.process.pid)
