"""A real clamd for tests, with signatures of our own and no network: started and ended by its pid.

The test file that every antivirus knows is put together here from two halves: whole, it would make scanners delete this
checkout.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

EICAR: Final = b"X5O!P%@AP[4\\PZX54(P^)7CC)7}$EICAR-STANDARD" + b"-ANTIVIRUS-TEST-FILE!$H+H*"
_PATIENCE_S: Final = 60
_CONFIGURATION: Final = """Foreground yes
DatabaseDirectory {folder}/db
LocalSocket {folder}/clamd.sock
LocalSocketMode 666
StreamMaxLength 64M
MaxScanSize 200M
MaxFileSize 64M
AlertEncrypted {encrypted}
AlertExceedsMax yes
MaxRecursion 8
LogFile {folder}/clamd.log
LogTime yes
"""


@contextmanager
def clamd(*, alert_encrypted: bool = True) -> Iterator[Path]:
    """Start clamd and yield the path of its socket. It runs as this user, so its folder is its own."""
    program = shutil.which("clamd") or "/usr/sbin/clamd"
    # The path of a socket has room for about a hundred characters.
    folder = Path(tempfile.mkdtemp(prefix="clamd-"))
    process: subprocess.Popen[bytes] | None = None
    try:
        signatures(folder / "db")
        written = folder / "clamd.conf"
        encrypted = "yes" if alert_encrypted else "no"
        written.write_text(_CONFIGURATION.format(folder=folder, encrypted=encrypted))
        command = [program, "-c", str(written)]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        _wait_for(folder / "clamd.sock", process)
        yield folder / "clamd.sock"
    finally:
        if process is not None:
            stop(process)
        shutil.rmtree(folder, ignore_errors=True)


def stop(process: subprocess.Popen[bytes]) -> None:
    """End it, and wait until it has ended."""
    if process.poll() is None:
        os.kill(process.pid, signal.SIGKILL)
    process.wait(_PATIENCE_S)


def signatures(folder: Path) -> None:
    """Write a base that knows the test file, alone and inside others."""
    folder.mkdir(parents=True)
    folder.chmod(0o755)
    (folder / "local.ndb").write_text(f"Local.Eicar.Body:0:*:{EICAR.hex()}\n")
    digest = hashlib.md5(EICAR, usedforsecurity=False).hexdigest()
    (folder / "local.hdb").write_text(f"{digest}:{len(EICAR)}:Local.Eicar.Hash\n")


def _wait_for(place: Path, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + _PATIENCE_S
    while not place.exists():
        if process.poll() is not None or time.monotonic() > end:
            log = place.parent / "clamd.log"
            raise AssertionError(log.read_text() if log.exists() else "clamd did not start")
        time.sleep(0.05)
