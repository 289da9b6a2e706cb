"""Durable delivery over mutual TLS: mss against Postfix in front of Dovecot, in turn, in one run.

A row is one kind of load. Each of its rounds runs every side once, in rotating order; a ratio is the median over the
rounds of (mss / Postfix) within one round, which is what survives a noisy machine. Where others work meanwhile, wall
clocks favour whoever has more processes, and the ratio of processor time for a letter is the one to look at.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from bench import sides
from bench.machine import wait_until_quiet
from bench.sides import Side

_KIB, _MIB = 1024, 1024 * 1024
_MSS_PORT = 13500


@dataclass(frozen=True, slots=True)
class Load:
    """One kind of load, and what mss promises of it: ratios to Postfix, of letters accepted and readable a second."""

    title: str
    octets: int
    letters: int
    connections: int = 8
    letters_per_connection: int = 0
    pipelined: bool = False
    wanted_accepted: float = 0.0
    wanted_readable: float = 0.0
    faster_at_the_end: bool = True


LOADS = {
    "2k": Load("2 KiB, 8 reused connections", 2 * _KIB, 1500, wanted_accepted=1.3, wanted_readable=2.5),
    "50k": Load("50 KiB, 8 reused connections", 50 * _KIB, 1500, wanted_accepted=1.3, wanted_readable=2.5),
    "1m": Load("1 MiB, 8 reused connections", _MIB, 200, wanted_accepted=1.2, wanted_readable=2.5),
    "32": Load("50 KiB, 32 reused connections", 50 * _KIB, 1500, connections=32),
    "new": Load("50 KiB, a new connection for each letter", 50 * _KIB, 500, letters_per_connection=1,
                wanted_accepted=1.1, faster_at_the_end=False),
    "pipelined": Load("50 KiB, 8 reused connections, commands pipelined as relays do", 50 * _KIB, 1500, pipelined=True),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Run:
    """What one side did in one round: letters a second; milliseconds from the end of data to 250, and of CPU."""

    accepted_s: float
    readable_s: float
    end_p50_ms: float
    end_p99_ms: float
    cpu_ms: float
    failed: int


Runs = dict[str, list[Run]]


def main(names: list[str], rounds: int) -> int:
    """Measure and print the named rows, all when none is named; 0 when every promise holds."""
    with tempfile.TemporaryDirectory(prefix="mss-bench-") as name, ExitStack() as stack:
        folder = Path(name)
        folder.chmod(0o755)
        files = sides.certificates(folder)
        generator = sides.build_load(folder)
        there = [stack.enter_context(sides.postfix_dovecot(folder, files))]
        for workers in (1, 2):
            one = sides.mss(folder / f"mss{workers}", files, _MSS_PORT + 20 * workers, workers)
            there.append(stack.enter_context(one))
        bench = _Bench(generator, files, there)
        return max([bench.row(LOADS[name], rounds) for name in names or LOADS])


class _Bench:
    """All rows of one run; letters that were accepted are counted, and looked for over IMAP after each row."""

    def __init__(self, generator: Path, files: dict[str, Path], there: list[Side]) -> None:
        self._generator = generator
        self._files = files
        self._sides = there
        self._accepted = dict.fromkeys((side.label for side in there), 0)

    def row(self, load: Load, rounds: int) -> int:
        runs: Runs = {side.label: [] for side in self._sides}
        quiet = True
        for number in range(rounds):
            first = number % len(self._sides)
            for side in self._sides[first:] + self._sides[:first]:
                quiet = wait_until_quiet() and quiet
                runs[side.label].append(self._run(side, load))
                _progress(f"{load.title}: round {number + 1} of {rounds}, {side.label}")
        _progress("")
        faults = _report(load, runs, quiet=quiet) + self._missing()
        for fault in faults:
            print(f"- {fault}")
        return 1 if faults else 0

    def _run(self, side: Side, load: Load) -> Run:
        command = sides.load_command(
            self._generator, self._files, side.port, side.domain, msgs=load.letters, size=load.octets,
            conns=load.connections, per_conn=load.letters_per_connection, pipeline=load.pipelined,
        )  # fmt: skip
        cpu_s, begun = side.cpu_s(), time.monotonic()
        said = sides.run_load(command)
        side.drain()
        spent_s, cpu_s, letters = time.monotonic() - begun, side.cpu_s() - cpu_s, max(1, said["ok"])
        self._accepted[side.label] += said["ok"]
        return Run(
            said["msgs_s"], letters / max(spent_s, said["secs"]), said["end_p50_ms"], said["end_p99_ms"],
            1000 * cpu_s / letters, said["bad"],
        )  # fmt: skip

    def _missing(self) -> list[str]:
        """Return where IMAP shows other letters than were answered with 250."""
        counts = [(side.label, self._accepted[side.label], side.readable(self._files["ca"])) for side in self._sides]
        return [f"{label}: {sent} letters accepted, {there} readable" for label, sent, there in counts if sent != there]


def _report(load: Load, runs: Runs, *, quiet: bool) -> list[str]:
    """Print a row's table; returns what mss promises and did not keep, by the better of its sides."""
    print(f"\n### {load.title}, mutual TLS, durable{'' if quiet else ' (others used the machine meanwhile)'}")
    print(
        "| side | accepted/s | ratio (range) | readable/s | ratio | end of data → 250, p50 / p99 ms | CPU ms a letter |"
    )
    print("|---|---|---|---|---|---|---|")
    base, *others = runs
    for label in runs:
        accepted, readable = _ratios(runs, base, label, "accepted_s"), _ratios(runs, base, label, "readable_s")
        print(
            f"| {label} | {_middle(runs[label], 'accepted_s'):.0f} | {statistics.median(accepted):.2f} "
            f"({min(accepted):.2f}–{max(accepted):.2f}) | {_middle(runs[label], 'readable_s'):.0f} "
            f"| {statistics.median(readable):.2f} | {_middle(runs[label], 'end_p50_ms'):.1f} / "
            f"{_middle(runs[label], 'end_p99_ms'):.1f} | {_middle(runs[label], 'cpu_ms'):.2f} |"
        )
    faults = []
    for what, name, wanted in (
        ("accepted", "accepted_s", load.wanted_accepted),
        ("readable", "readable_s", load.wanted_readable),
    ):
        best = max(statistics.median(_ratios(runs, base, label, name)) for label in others)
        if best < wanted:
            faults.append(f"{what}: {best:.2f} times Postfix's, wanted at least {wanted:.2f}")
    p99_ms = min(_middle(runs[label], "end_p99_ms") for label in others)
    if load.faster_at_the_end and p99_ms > _middle(runs[base], "end_p99_ms"):
        faults.append(
            f"p99 from the end of data to 250: {p99_ms:.1f} ms, Postfix {_middle(runs[base], 'end_p99_ms'):.1f}"
        )
    failed = sum(run.failed for some in runs.values() for run in some)
    return [*faults, *([f"{failed} letters failed"] if failed else [])]


def _ratios(runs: Runs, base: str, label: str, name: str) -> list[float]:
    return [getattr(run, name) / getattr(against, name) for run, against in zip(runs[label], runs[base], strict=True)]


def _middle(runs: list[Run], name: str) -> float:
    return float(statistics.median(getattr(run, name) for run in runs))


def _progress(text: str) -> None:
    """Show on a terminal what is being done; elsewhere nobody wants to read it."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)
