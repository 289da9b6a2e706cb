"""What a second node adds: letters a second of one node and of two on one PostgreSQL, each under the same CPU quota.

    python -m bench nodes           % of a core from MSS_BENCH_QUOTA, else 40; seconds a run from MSS_BENCH_SECONDS

Letters of 2 KiB, three recipients each among forty hot boxes, over mutual TLS on connections that are used again. Runs
of one node and of both take turns; the ratio is the median's. Prints the nodes' own CPU a letter and the deadlocks.
It needs a control group for each node (root, or a delegated one): without one it says so and measures nothing.
"""

from __future__ import annotations

import os
import random
import smtplib
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from bench.machine import tree_cpu_s
from demo.house import HOSPITAL
from mss.clock import system_clock
from mss.log import configure
from mss.model.address import Address
from mss.model.party import BoxKind
from mss.services import accounts
from mss.store import Store
from tests.journeys.nodes import house
from tests.journeys.sites import DOCTOR, Site, letter, new_id
from tests.support import postgres, s3

RATIO_MIN: Final = 1.6
_HOT: Final = 40
_RECIPIENTS: Final = 3
_SENDERS_PER_NODE: Final = 6
_ROUNDS: Final = 3
_PERIOD_US: Final = 100_000
_GROUPS: Final = Path("/sys/fs/cgroup/cpu")
_SERVER: Final = ("shared_buffers=256MB", "max_wal_size=4GB", "checkpoint_timeout=15min")


def _boxes() -> list[str]:
    return [f"hot{number}@{HOSPITAL}" for number in range(_HOT)]


async def _populate(store: Store) -> None:
    for address in _boxes():
        new = accounts.NewBox(Address.own(address), BoxKind.ORG, address)
        await store.write(accounts.create_box, new, "bench", system_clock())


@contextmanager
def _quota(name: str, site: Site, percent: int) -> Iterator[None]:
    """Let a node's processes have so much of one core; OSError where that cannot be had."""
    group = _GROUPS / f"mss-bench-{os.getpid()}-{name}"
    group.mkdir()
    try:
        (group / "cpu.cfs_period_us").write_text(str(_PERIOD_US))
        (group / "cpu.cfs_quota_us").write_text(str(_PERIOD_US * percent // 100))
        process = site.operator.process
        assert process is not None
        for number in _tree(process.pid):
            (group / "cgroup.procs").write_text(str(number))
        yield
    finally:
        for pid in (group / "cgroup.procs").read_text().split():
            (_GROUPS / "cgroup.procs").write_text(pid)
        group.rmdir()


def _tree(root: int) -> list[int]:
    found = [root]
    for task in Path(f"/proc/{root}/task").iterdir():
        for child in (task / "children").read_text().split():
            found += _tree(int(child))
    return found


class Senders:
    """Senders of some nodes, for a time; `accepted` counts what was answered with 250."""

    def __init__(self, nodes: Sequence[Site]) -> None:
        self.accepted = self.refused = 0
        self._counting, self._stop = threading.Lock(), threading.Event()
        self._threads = [
            threading.Thread(target=self._send, args=(node,)) for node in nodes for _ in range(_SENDERS_PER_NODE)
        ]

    def run(self, seconds: float) -> float:
        """Send for so long; returns letters a second."""
        for thread in self._threads:
            thread.start()
        time.sleep(min(2.0, seconds / 4))  # Until all are connected.
        before, began = self.accepted, time.monotonic()
        time.sleep(seconds)
        rate = (self.accepted - before) / (time.monotonic() - began)
        self._stop.set()
        for thread in self._threads:
            thread.join()
        return rate

    def _send(self, node: Site) -> None:
        chance, boxes = random.Random(), _boxes()
        with node.as_peer(timeout_s=60) as client:
            while not self._stop.is_set():
                try:
                    refused = client.sendmail(
                        DOCTOR, chance.sample(boxes, _RECIPIENTS), letter(new_id(), size_octets=2048)
                    )
                except smtplib.SMTPException:
                    refused = {"": (0, b"")}
                with self._counting:
                    self.accepted += not refused
                    self.refused += bool(refused)


def _deadlocks(server: postgres.Server) -> int:
    row = server.admin.execute("SELECT sum(deadlocks) FROM pg_stat_database").fetchone()
    return int(row[0] if row else 0)


def _cpu(nodes: Sequence[Site]) -> float:
    return sum(tree_cpu_s(node.operator.process.pid) for node in nodes if node.operator.process is not None)


def _measure(nodes: list[Site], server: postgres.Server, seconds: float) -> float:
    rates: dict[int, list[float]] = {1: [], 2: []}
    for _ in range(_ROUNDS):
        for count in rates:
            used = nodes[:count]
            cpu, pg, senders = _cpu(used), tree_cpu_s(server.process.pid), Senders(used)
            rate = senders.run(seconds)
            rates[count].append(rate)
            total = max(1, senders.accepted)
            cpu_ms, pg_ms = ((now - then) / total * 1000 for now, then in (
                (_cpu(used), cpu), (tree_cpu_s(server.process.pid), pg)
            ))  # fmt: skip
            print(
                f"{count} node(s): {rate:7.1f} letters a second, {cpu_ms:5.2f} ms of the nodes' CPU and {pg_ms:5.2f} ms"
                f" of PostgreSQL's a letter; {senders.refused} deferred",
                flush=True,
            )
    return statistics.median(rates[2]) / statistics.median(rates[1])


def main() -> int:
    """Run it; returns 1 when a figure does not hold, or could not be had."""
    configure(level="ERROR", json=False)
    percent, seconds = int(os.environ.get("MSS_BENCH_QUOTA", "40")), float(os.environ.get("MSS_BENCH_SECONDS", "15"))
    with (
        tempfile.TemporaryDirectory() as folder,
        postgres.running(durable=True, more=_SERVER) as server,
        s3.moto() as buckets,
        house(Path(folder), server, buckets) as nodes,
    ):
        nodes[0].operator.with_store(_populate)
        for node in nodes:
            node.start()
        try:
            with _quota("1", nodes[0], percent), _quota("2", nodes[1], percent):
                ratio = _measure(nodes, server, seconds)
        except OSError as error:
            print(f"no control group can be made here ({error}): nothing was measured", file=sys.stderr)
            return 1
        deadlocks = _deadlocks(server)
    print(f"two nodes: {ratio:.2f} × one, each {percent} % of a core (at least {RATIO_MIN}); {deadlocks} deadlocks")
    return int(ratio < RATIO_MIN or deadlocks > 0)
