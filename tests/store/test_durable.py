"""Nobody is answered before the disk has it: what the kernel was asked, in order."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mss.config import Config

_ROOT = Path(__file__).parents[2]
_CALL = re.compile(r"(?P<call>\w+)\((?P<arguments>.*?)(?:\) += |\s+<unfinished)")


def _asked(sqlite_config: Config, trace: Path) -> list[str]:
    """Return the calls between "begin" and "answered", each as `name path`."""
    strace = shutil.which("strace")
    if strace is None:
        pytest.fail("strace is missing: sudo apt-get install -y --no-install-recommends strace")
    calls = "trace=fsync,fdatasync,link,linkat,write"
    command = [strace, "-f", "-y", "-o", str(trace), "-e", calls]
    command += [sys.executable, "-m", "tests.store.store_once", str(sqlite_config.root)]
    done = subprocess.run(command, cwd=_ROOT, check=True, capture_output=True, timeout=60)
    assert done.stdout == b"begin\nanswered\n"
    found = [match for line in trace.read_text().splitlines() if (match := _CALL.search(line))]
    asked = [f"{match['call']} {match['arguments']}" for match in found]
    begin = next(i for i, one in enumerate(asked) if "begin" in one)
    answered = next(i for i, one in enumerate(asked) if "answered" in one)
    return asked[begin:answered]


@pytest.mark.journey
@pytest.mark.slow
def test_file_directory_and_journal_are_flushed_before_the_answer(sqlite_config: Config, tmp_path: Path) -> None:
    asked = _asked(sqlite_config, tmp_path / "trace")
    blobs = str(sqlite_config.path(sqlite_config.store.blobs_dir))
    file = next(i for i, one in enumerate(asked) if one.startswith("fsync") and ".new" in one)
    link = next(i for i, one in enumerate(asked) if one.startswith("link"))
    directory = max(i for i, one in enumerate(asked) if one.startswith("fsync") and blobs in one)
    journal = [i for i, one in enumerate(asked) if re.match(r"f(data)?sync .*store\.sqlite-wal", one)]
    assert journal, asked
    assert file < link < directory < journal[-1]
    assert not re.search(r"/\.[0-9a-f]+\.new", asked[directory])
