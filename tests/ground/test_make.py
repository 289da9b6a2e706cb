"""The commands that people and machines type: make's list of targets, the packages' script, the CI run."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROMISED = {"demo", "check", "test", "soak", "bench", "fuzz", "lock", "format", "clean"}
SAID_BY_PYTEST = """\
== floors: clean
12 passed, 3 deselected in 1.20s
=========================== short test summary info ============================
FAILED tests/mail/test_mime.py::test_depth - assert 1 == 2
1 failed, 40 passed in 61.70s (0:01:01)
make: *** [Makefile:36: test] Error 1
"""


def _program(folder: Path, name: str, body: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{body}\n", encoding="utf-8")
    path.chmod(0o755)


def _run(*command: str | Path, path: str | None = None) -> subprocess.CompletedProcess[str]:
    # Nothing of the make that runs us: its variables (T=…) would change what ours plans.
    environment = {key: os.environ[key] for key in ("PATH", "HOME") if key in os.environ}
    return subprocess.run(
        command,
        cwd=ROOT,
        env={**environment, "PATH": path or environment["PATH"]},
        check=False,
        capture_output=True,
        text=True,
        timeout=20,
    )


def test_bare_make_lists_every_target_with_a_line() -> None:
    listed = dict(re.findall(r"^  make ([\w-]+) +(\S.*)$", _run("make").stdout, re.MULTILINE))
    assert set(listed) >= PROMISED
    phony = re.search(r"^\.PHONY: (.+)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert phony
    assert set(listed) == set(phony[1].split())


def test_check_runs_before_everything_else() -> None:
    planned = _run("make", "--dry-run", "test").stdout
    assert 0 < planned.index("ruff") < planned.index("mypy") < planned.index("journey or postgres or slow")
    assert planned.index("tools/packages") < planned.index("ruff")


def test_a_part_of_the_tests_has_all_markers_but_soak() -> None:
    planned = _run("make", "--dry-run", "test", "T=tests/imap").stdout
    assert re.search(r'pytest .*-m "not soak" tests/imap$', planned, re.MULTILINE)
    assert "ruff" not in planned


def test_the_demo_needs_no_debian_package() -> None:
    planned = _run("make", "--dry-run", "demo", "ONCE=1", "MSS_DEMO_CDA=letter.xml").stdout
    assert "tools/packages" not in planned
    assert re.search(r"ONCE='1' MSS_DEMO_CDA='letter\.xml' \.venv/bin/python -m demo$", planned, re.MULTILINE)


def _bare_path(folder: Path, user: int) -> str:
    """Return a PATH with nothing on it but what the packages' script itself needs."""
    (folder / "cat").symlink_to(shutil.which("cat") or "/bin/cat")
    _program(folder, "id", f"echo {user}")
    return str(folder)


@pytest.mark.parametrize("user", [0, 1000])
def test_without_apt_or_root_the_line_to_type_is_said(tmp_path: Path, user: int) -> None:
    done = _run("/bin/sh", "tools/packages", path=_bare_path(tmp_path, user))
    assert done.returncode == 1
    assert re.search(r"apt-get install -y --no-install-recommends .*\bswaks\b", done.stderr)
    assert "gcc" not in done.stderr


def test_the_bench_asks_for_more(tmp_path: Path) -> None:
    assert "gcc" in _run("/bin/sh", "tools/packages", "bench", path=_bare_path(tmp_path, 1000)).stderr


@pytest.mark.parametrize("status", [0, 2])
def test_the_ci_run_keeps_the_exit_code_and_ends_with_what_pytest_said(tmp_path: Path, status: int) -> None:
    (tmp_path / "said").write_text(SAID_BY_PYTEST, encoding="utf-8")
    _program(tmp_path, "make", f'[ "$1" = test ] && cat {tmp_path}/said; exit {status}')
    done = _run("bash", ".ci/run", path=f"{tmp_path}:{os.environ['PATH']}")
    assert done.returncode == status
    assert done.stdout.splitlines()[-3:] == [
        "12 passed, 3 deselected in 1.20s",
        "FAILED tests/mail/test_mime.py::test_depth - assert 1 == 2",
        "1 failed, 40 passed in 61.70s (0:01:01)",
    ]
