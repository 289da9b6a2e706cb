"""`make bench`: measure mss against named peers and print the ratios; ARGS names some rows (ARGS=--help lists them)."""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
from collections.abc import Callable

from bench import delivery, dossier, imap, nodes, relay, rights, scale, units

OTHERS: dict[str, Callable[[], int]] = {
    "dossier": dossier.main,
    "rights": rights.main,
    "imap": lambda: imap.main([]),
}
# Too long for every day: only when it is named.
NAMED: dict[str, Callable[[], int]] = {"scale": scale.main, "units": units.main, "nodes": nodes.main}
_MEMORY = "tests/journeys/test_memory.py::test_many_large_letters_at_once_are_all_taken_in_bounded_memory[200]"


def _memory() -> int:
    """Run the journey that measures one worker with 200 connections of 25 MiB each."""
    command = [sys.executable, "-m", "pytest", "-q", "-s", "-p", "no:cacheprovider", "-m", "soak", _MEMORY]
    print("\n### Memory of one worker, 200 connections that each send 25 MiB", flush=True)
    return subprocess.run(command, check=False).returncode


def main(arguments: list[str]) -> int:
    """Run the named rows, all when none is named; the exit code says whether every promise holds."""
    if arguments[:1] == ["imap"]:
        return imap.main(arguments[1:])
    rows = [*delivery.LOADS, "relay", "memory", *OTHERS]
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("rows", nargs="*", metavar="row", help=f"which to run: {', '.join(rows)}; all without")
    parser.add_argument("--rounds", type=int, default=3, help="how often each side of a row is measured (3)")
    wanted = parser.parse_args(arguments)
    if unknown := [name for name in wanted.rows if name not in (*rows, *NAMED)]:
        parser.error(f"unknown: {', '.join(unknown)}; there are {', '.join((*rows, *NAMED))}")
    names = wanted.rows or rows
    codes = []
    if loads := [name for name in names if name in delivery.LOADS]:
        codes.append(delivery.main(loads, wanted.rounds))
    if "relay" in names:
        codes.append(relay.main(wanted.rounds))
    if "memory" in names:
        codes.append(_memory())
    codes += [run() for name, run in (OTHERS | NAMED).items() if name in names]
    return max(codes)


def _end(_number: int, _frame: object) -> None:
    """Leave through the measurements' own clean-up: servers that they started must not outlive them."""
    raise SystemExit(143)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _end)
    sys.exit(main(sys.argv[1:]))
