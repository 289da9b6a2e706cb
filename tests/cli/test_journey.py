"""From nothing to a running operator by four commands: init, check, serve, check --ready; and a quiet end."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from mss.instance import PORTS
from tests.cli.cli_world import Desk, one_line, typed
from tests.support.ports import free_base

pytestmark = pytest.mark.journey
ROOT = Path(__file__).parents[2]
PATIENCE_S = 40


@pytest.fixture
def fresh(tmp_path: Path) -> Desk:
    """An operator made by the command, on ports of its own."""
    folder = tmp_path / "operator"
    result = typed("init", str(folder), "--base-port", str(free_base()))
    assert result.exit_code == 0, result.output
    return Desk(folder)


@contextmanager
def serving(desk: Desk, *words: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run `mss serve` in a process of its own until it is ready."""
    command = [sys.executable, "-m", "mss", "serve", "-c", str(desk.toml), *words]
    with (desk.folder / "server.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=ROOT)
    try:
        _wait(desk, process)
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def _wait(desk: Desk, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + PATIENCE_S
    while desk.run("check", "--ready").exit_code != 0:
        log = (desk.folder / "server.log").read_text(encoding="utf-8")
        assert process.poll() is None, log
        assert time.monotonic() < end, log
        with suppress(subprocess.TimeoutExpired):
            process.wait(0.1)


def _ends_well(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE_S) == 0


def test_init_check_serve_and_stop(fresh: Desk) -> None:
    assert "✗" not in fresh.does("check", "--no-settings")
    with serving(fresh) as process:
        assert fresh.does("check", "--live").startswith("✓ live: ")
        assert fresh.does("check", "--ready").startswith("✓ ready: ")
        lines = fresh.does("check", "--no-settings").splitlines()
        doors = [line for line in lines if line.startswith("✓ door ")]
        assert len(doors) == len(PORTS)
        assert all(line.endswith("is in use: the operator is running") for line in doors)
        # The other commands work beside the running server.
        fresh.add("accueil@hopital.example", "--kind", "org", "--name", "Accueil")
        assert "accueil@hopital.example" in fresh.does("account", "list")
        _ends_well(process)
    assert fresh.run("check", "--live").exit_code == 1
    assert "✗" not in fresh.does("check", "--no-settings")


def test_serve_does_only_the_given_roles(fresh: Desk) -> None:
    with serving(fresh, "--roles", "imap, ops", "--workers", "2") as process:
        lines = fresh.does("check", "--no-settings").splitlines()
        used = {line.split(":")[0].removeprefix("✓ door ") for line in lines if line.endswith("operator is running")}
        assert used == {"imap", "ops"}
        _ends_well(process)


# The first worker is started, and the parent is told to stop before it starts the others.
_TOLD_TO_STOP_EARLY = """
import os, signal, time
from mss.parent import Parent

parent = Parent(lambda *_: time.sleep(100), 3)
start = parent._start

def start_and_be_told(index):
    start(index)
    if index == 0:
        os.kill(os.getpid(), signal.SIGTERM)

parent._start = start_and_be_told
raise SystemExit(parent.run())
"""


def test_serve_that_is_told_to_stop_while_it_starts_ends_well() -> None:
    command = [sys.executable, "-c", _TOLD_TO_STOP_EARLY]
    assert subprocess.run(command, cwd=ROOT, timeout=PATIENCE_S, check=False).returncode == 0


def test_serve_refuses_a_port_that_is_taken(fresh: Desk) -> None:
    host, _, port = fresh.config.smtp.mx_listen[0].rpartition(":")
    with socket.socket() as other:
        other.bind((host, int(port)))
        other.listen()
        command = [sys.executable, "-m", "mss", "serve", "-c", str(fresh.toml)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith("mss: cannot listen on ")


def test_serve_knows_its_roles(fresh: Desk) -> None:
    result = fresh.run("serve", "--roles", "imap,pop3")
    assert result.exit_code == 2
    assert "--roles pop3: there are mx, submission" in one_line(result)


@pytest.mark.parametrize("workers", ["0", "65"])
def test_serve_takes_1_to_64_workers(fresh: Desk, workers: str) -> None:
    assert "--workers" in fresh.fails("serve", "--workers", workers, code=2)


def test_serve_names_settings_that_are_missing() -> None:
    result = typed("serve", "-c", "/nowhere/mss.toml")
    assert result.exit_code == 2
    assert "cannot read /nowhere/mss.toml" in one_line(result)
