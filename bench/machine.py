"""What a measurement needs of the machine: processor time of a tree of processes, and a quiet moment to begin in."""

from __future__ import annotations

import os
import time
from pathlib import Path

QUIET_PATIENCE_S = 10.0
_QUIET_LOOK_S = 0.5
_QUIET_SHARE = 0.15


def tree_cpu_s(root: int) -> float:
    """Return the CPU of a process, of those it waited for, and of all that live below it."""
    children: dict[int, list[int]] = {}
    ticks: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        number = int(stat.parent.name)
        children.setdefault(int(fields[1]), []).append(number)
        ticks[number] = sum(map(int, fields[11:15]))
    waiting, total = [root], 0
    while waiting:
        one = waiting.pop()
        total += ticks.get(one, 0)
        waiting += children.get(one, [])
    return total / os.sysconf("SC_CLK_TCK")


def busy_cpu() -> tuple[int, int]:
    """Return (busy, total) ticks of all processors since the machine began."""
    fields = [int(word) for word in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    return sum(fields) - fields[3] - fields[4], sum(fields)


def wait_until_quiet(patience_s: float = QUIET_PATIENCE_S) -> bool:
    """Wait for half a second in which the machine is less than 15 % busy: the peer's queue drains after a run.

    False when there was none in time: others work here, and only ratios of processor time hold.
    """
    end = time.monotonic() + patience_s
    while time.monotonic() < end:
        busy, total = busy_cpu()
        time.sleep(_QUIET_LOOK_S)
        busy_after, total_after = busy_cpu()
        if busy_after - busy < _QUIET_SHARE * (total_after - total):
            return True
    return False
