"""The look behind the servers finds what it looks for, in every form in which it may be written."""

from __future__ import annotations

import base64
import subprocess
import sys
from pathlib import Path

import pytest

from demo.letters import SAMPLE
from tests.journeys import traces
from tests.journeys.logs import Log
from tests.journeys.sites import SECRET
from tests.journeys.traces import Watch


@pytest.fixture(autouse=True)
def discreet() -> None:
    """These tests write logs that tell, on purpose: nobody watches them."""


def _site(root: Path) -> Path:
    (root / "hospital" / "data").mkdir(parents=True)
    return root / "hospital"


@pytest.mark.parametrize("word", [SAMPLE.matricule, "Camille.Durand@region-demo.mssante.fr", "pat-trois", SECRET])
def test_a_log_that_tells_is_found(tmp_path: Path, word: str) -> None:
    site = _site(tmp_path)
    (site / "server.log").write_text(f'{{"event": "x", "peer": "mx.region-demo.mssante.fr", "rule": "{word}"}}\n')
    assert traces.told_in_logs(tmp_path)


def test_a_discreet_log_passes(tmp_path: Path) -> None:
    (_site(tmp_path) / "server.log").write_text('{"event": "x", "peer": "mx.region-demo.mssante.fr", "account": 1}\n')
    assert traces.told_in_logs(tmp_path) == []
    assert Log(tmp_path / "hospital" / "server.log").surprises() == []


@pytest.mark.parametrize("before", [b"", b"a", b"ab", b"abc"])
@pytest.mark.parametrize("charset", ["utf-8", "latin-1", "utf-16-le"])
def test_content_in_plain_is_found(tmp_path: Path, charset: str, before: bytes) -> None:
    octets = before + "à vous: Nos échanges sont terminés, voilà".encode(charset)
    written = base64.b64encode(octets) if charset == "utf-8" else octets
    (_site(tmp_path) / "data" / "store.sqlite-wal").write_bytes(b"\0\xff" + written)
    assert len(traces.plain_in_stores(tmp_path)) == 1


def test_sealed_content_passes(tmp_path: Path) -> None:
    (_site(tmp_path) / "data" / "store.sqlite").write_bytes(bytes(range(256)) * 100)
    assert traces.store_files(tmp_path)
    assert traces.plain_in_stores(tmp_path) == []


_ORPHAN = """Traceback (most recent call last):
  File "<string>", line 1, in <module>
  File "/usr/lib/python3.11/multiprocessing/spawn.py", line 122, in spawn_main
    exitcode = _main(fd, parent_sentinel)
               ^^^^^^^^^^^^^^^^^^^^^^^^^^
EOFError: Ran out of input
"""


def test_what_python_says_of_a_killed_parent_is_no_surprise(tmp_path: Path) -> None:
    path = _site(tmp_path) / "server.log"
    path.write_text(f'{{"event": "y"}}\n{_ORPHAN}{{"event": "z"}}\n', encoding="utf-8")
    assert Log(path).surprises() == []
    path.write_text(_ORPHAN.replace("multiprocessing/spawn.py", "mss/app.py"), encoding="utf-8")
    assert len(Log(path).surprises()) == 6


@pytest.mark.parametrize("line", ["Traceback (most recent call last):", '{"event": "x", "exception": "…"}', "[1]"])
def test_an_unforeseen_error_is_a_surprise(tmp_path: Path, line: str) -> None:
    path = _site(tmp_path) / "server.log"
    path.write_text(f'{{"event": "y"}}\n{line}\n', encoding="utf-8")
    assert len(Log(path).surprises()) == 1


# -- the watch over every journey ------------------------------------------------------------------------------------

_PASSWORD = "Xq7-nobody-else-has-it"
_LEAKS = """
import pytest
from tests.journeys import sites
from tests.journeys.conftest import discreet, log_watch

@pytest.mark.parametrize("word", [{words}])
def test_that_leaks(tmp_path, word):
    sites.SPOKEN.add("Résultats de Zoé")
    sites.PASSWORDS.add({password!r})
    (tmp_path / "server.log").write_text('{{"event": "x", "why": "' + word + '"}}\\n', encoding="utf-8")

def test_that_does_not(tmp_path):
    (tmp_path / "server.log").write_text('{{"event": "x", "why": "nothing"}}\\n', encoding="utf-8")
"""


@pytest.mark.journey
@pytest.mark.slow
def test_the_watch_over_every_journey_can_fail(tmp_path: Path) -> None:
    encoded = base64.b64encode(b"\0somebody\0" + _PASSWORD.encode()).decode()
    words = [SAMPLE.matricule, SECRET, "résultats de zoé", _PASSWORD, encoded]
    file = tmp_path / "test_leaks.py"
    file.write_text(_LEAKS.format(words=", ".join(map(repr, words)), password=_PASSWORD), encoding="utf-8")
    root = Path(__file__).parents[2]
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", "-n0", f"--basetemp={tmp_path / 'base'}"]
    command += [f"--rootdir={root}", "-c", str(root / "pyproject.toml"), str(file)]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False, timeout=60)
    summary = done.stdout.splitlines()[-1]
    assert f"{len(words) + 1} passed, {len(words)} errors" in summary, done.stdout


def test_the_watch_reads_whole_lines_once(tmp_path: Path) -> None:
    path = _site(tmp_path) / "server.log"
    watch = Watch(tmp_path)
    path.write_text(f'{{"a": 1}}\n{{"b": "{SECRET}"', encoding="utf-8")
    assert watch.told() == []
    with path.open("a", encoding="utf-8") as file:
        file.write("}\n")
    assert len(watch.told()) == 1
    assert watch.told() == []
