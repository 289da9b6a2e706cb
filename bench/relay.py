"""Relaying 1,000 letters of 50 KiB to one Postfix over mutual TLS: mss against Postfix doing the same, in one run.

The letters lie durably queued on each side before the clock starts; it stops when the queue is empty, all outcomes
written down. The receiver is one and the same Postfix, which flushes each letter before its 250 and then throws it
away. The ratio is the median over the rounds of (Postfix's time / mss's) within one round; CPU is that of the sending
side alone, of all its processes.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from bench.machine import tree_cpu_s, wait_until_quiet
from bench.sides import ROOT, build_load, certificates, load_command, run_load
from demo.house import Operator
from mss import instance
from mss.clock import system_clock
from mss.config import Limits
from mss.directory import trustlist
from mss.directory.refresh import read_trust_list
from mss.model.account import AccountKind, Delegation, DelegationKind
from mss.model.address import Address, parse_domain
from mss.model.envelope import Envelope, Recipient
from mss.model.party import BoxKind
from mss.model.peer import TrustList
from mss.services import accounts, submit
from mss.services.house import Hosted
from mss.services.reading import read_letter
from mss.services.submit import Outside
from mss.store import Store, Uow

LETTERS = 1000
SIZE_OCTETS = 50 * 1024
WANTED_RATIO = 1.0
RECEIVER_PORT, SENDER_PORT, MSS_PORT = 13725, 13726, 13740
PATIENCE_S = 120.0
PEER, OURS = "peer.test", "hospital.test"


@dataclass(frozen=True, slots=True)
class Result:
    """One round of one side."""

    seconds: float
    cpu_s: float

    @property
    def letters_s(self) -> float:
        """Letters a second."""
        return LETTERS / self.seconds

    @property
    def cpu_ms(self) -> float:
        """CPU of the sender for one letter."""
        return 1000 * self.cpu_s / LETTERS


Side = Callable[[], Result]


def main(rounds: int) -> int:
    """Measure and print; 0 when mss relays at least as fast as Postfix does."""
    with tempfile.TemporaryDirectory(prefix="mss-bench-") as name, ExitStack() as stack:
        folder = Path(name)
        folder.chmod(0o755)
        files = certificates(folder)
        load = build_load(folder)
        stack.enter_context(_postfix(folder / "receiving", files["postfix"], RECEIVER_PORT))
        operator = _operator(folder / "mss", files)
        asyncio.run(_fill(operator))
        sides: dict[str, Side] = {
            "Postfix": lambda: _postfix_round(folder / "relaying", files, load),
            "mss, 1 worker": lambda: _mss_round(operator, folder / "round", 1),
            "mss, 2 workers": lambda: _mss_round(operator, folder / "round", 2),
        }
        return _report(_rounds(sides, rounds))


def _rounds(sides: dict[str, Side], rounds: int) -> dict[str, list[Result]]:
    results: dict[str, list[Result]] = {label: [] for label in sides}
    order = list(sides)
    for number in range(rounds):
        for label in order[number % len(order) :] + order[: number % len(order)]:
            wait_until_quiet()
            results[label].append(sides[label]())
    return results


def _report(results: dict[str, list[Result]]) -> int:
    base = next(iter(results.values()))
    print(
        f"\n### Relaying {LETTERS} letters of {SIZE_OCTETS // 1024} KiB to one Postfix, mutual TLS, reused connections"
    )
    print("| side | letters/s | ratio of speed (range) | CPU of the sender, ms a letter | ratio of CPU |")
    print("|---|---|---|---|---|")
    best = 0.0
    for label, runs in results.items():
        ratios = [theirs.seconds / run.seconds for theirs, run in zip(base, runs, strict=True)]
        middle = statistics.median(ratios)
        best = max(best, middle) if runs is not base else best
        speed, cpu = (statistics.median(getattr(run, name) for run in runs) for name in ("letters_s", "cpu_ms"))
        saved = statistics.median(theirs.cpu_s / run.cpu_s for theirs, run in zip(base, runs, strict=True))
        print(
            f"| {label} | {speed:.0f} | {middle:.2f} ({min(ratios):.2f}–{max(ratios):.2f}) | {cpu:.2f} | {saved:.2f} |"
        )
    print(f"\nbest ratio {best:.2f}, wanted at least {WANTED_RATIO:.2f}")
    return 0 if best >= WANTED_RATIO else 1


def _timed(root: int, free: Callable[[], None], left: Callable[[], int]) -> Result:
    """Let the letters go and wait until none is left."""
    cpu_s, begun = tree_cpu_s(root), time.monotonic()
    free()
    while left():
        if time.monotonic() - begun > PATIENCE_S:
            raise SystemExit(f"{left()} letters were not relayed within {PATIENCE_S:.0f} s")
        time.sleep(0.02)
    return Result(time.monotonic() - begun, tree_cpu_s(root) - cpu_s)


# -- Postfix -----------------------------------------------------------------------------------------------------------


def _script(*words: str) -> None:
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
    command = [str(ROOT / "peers" / "postfix_relay.sh"), *words]
    subprocess.run(command, check=True, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)


@contextmanager
def _postfix(where: Path, pki: Path, port: int, next_port: int | None = None) -> Iterator[int]:
    """Run a Postfix; gives its master's pid."""
    _script("start", str(where), str(pki), str(port), *([str(next_port)] if next_port else []))
    master = int((where / "spool" / "pid" / "master.pid").read_text())
    try:
        yield master
    finally:
        _script("stop", str(where))
        while Path(f"/proc/{master}").exists():
            time.sleep(0.05)


def _postfix_round(where: Path, files: dict[str, Path], load: Path) -> Result:
    command = load_command(load, files, SENDER_PORT, PEER, msgs=LETTERS, size=SIZE_OCTETS, conns=8)

    def left() -> int:
        queues = (where / "spool" / name for name in ("incoming", "active", "deferred"))
        return sum(len(files) for queue in queues for _, _, files in os.walk(queue))

    with _postfix(where, files["postfix"], SENDER_PORT, RECEIVER_PORT) as master:
        taken: dict[str, Any] = run_load(command)
        if taken.get("bad") or len(os.listdir(where / "spool" / "hold")) != LETTERS:
            raise SystemExit(f"Postfix did not take all letters: {taken}")
        wait_until_quiet()
        return _timed(master, lambda: _script("free", str(where)), left)


# -- mss ---------------------------------------------------------------------------------------------------------------


def _operator(folder: Path, files: dict[str, Path]) -> Operator:
    plan = instance.Plan(
        name="Bench", hostname="mx.hospital.test", domains=((OURS, "professional"),), base_port=MSS_PORT,
        authority=files["authority"], routes={PEER: f"localhost:{RECEIVER_PORT}"},
    )  # fmt: skip
    operator = Operator("bench", "mss", OURS, "professional", MSS_PORT, folder)
    operator.config_file = instance.make(folder, plan, system_clock)
    now = system_clock()
    subjects = {
        parse_domain(PEER): frozenset({instance.subject_of(files["server"])}),
        parse_domain(OURS): frozenset({operator.subject}),
    }
    file = operator.config.trust_list.file
    assert file is not None
    path = operator.config.path(file)
    path.write_bytes(trustlist.render(TrustList(now - timedelta(minutes=1), subjects, now)))
    return operator


async def _fill(operator: Operator) -> None:
    """Hand the letters in as submission does; they are held until a round lets them go."""
    store, now = Store(operator.config), system_clock()
    sender = Address("bench", parse_domain(OURS))
    hosted = Hosted(
        {parse_domain(OURS): "professional"}, "mx.hospital.test", operator.config.policy, operator.config.limits
    )
    beyond = Outside(frozenset({PEER}), 86_400)
    try:
        file = operator.config.trust_list.file
        assert file is not None
        await read_trust_list(store, operator.config, system_clock, operator.config.path(file))
        box = await store.write(accounts.create_box, accounts.NewBox(sender, BoxKind.ORG, "Bench"), "system:bench", now)
        account = await store.write(
            accounts.create_account, "bench", AccountKind.PROFESSIONAL, "Bench", "hash", "system:bench", now
        )
        delegation = Delegation(account.id, box.id, DelegationKind.OWNER)
        await store.write(accounts.delegate, delegation, "system:bench", now)
        for number in range(LETTERS):
            to = Address(f"user{number % 10}", parse_domain(PEER))
            letter = read_letter(_letter(number, sender, to), Limits(), documents=False)
            envelope = Envelope(sender, (Recipient(to),))
            await store.write(submit.accept, hosted, beyond, account.id, envelope, letter, now)
        await store.write(_hold)
    finally:
        await store.close()


def _letter(number: int, sender: Address, to: Address) -> bytes:
    head = (
        f"From: {sender.spec}\r\nTo: {to.spec}\r\nSubject: Bench {number}\r\n"
        f"Date: Mon, 2 Mar 2026 12:00:00 +0000\r\nMessage-ID: <{number}@{OURS}>\r\n\r\n"
    )
    line = f"{number:08d} " + "x" * 67 + "\r\n"
    return (head + line * ((SIZE_OCTETS - len(head)) // len(line))).encode()


def _hold(uow: Uow) -> None:
    uow.queue._connection.exec_driver_sql("UPDATE deliveries SET state = 'held'")


def _let_go(uow: Uow) -> None:
    uow.queue._connection.exec_driver_sql("UPDATE deliveries SET state = 'due'")
    uow.wake("queue")


def _mss_round(made: Operator, folder: Path, workers: int) -> Result:
    """Relay from a copy of the operator's folder, so that each round begins with the same queue."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(made.folder, folder)
    operator = replace(made, folder=folder, config_file=folder / made.config_file.name)
    operator.start(workers=workers)
    try:
        operator.wait_until_ready()
        wait_until_quiet()
        assert operator.process is not None
        with closing(sqlite3.connect(folder / "data" / "store.sqlite", timeout=10)) as reader:

            def left() -> int:
                query = "SELECT count(*) FROM deliveries WHERE state IN ('due', 'held')"
                return int(reader.execute(query).fetchone()[0])

            result = _timed(operator.process.pid, lambda: asyncio.run(_free(operator)), left)
            query = "SELECT count(*) FROM deliveries WHERE state = 'delivered' AND attempts = 1"
            assert reader.execute(query).fetchone()[0] == LETTERS, "every letter goes at its first try"
            return result
    finally:
        operator.stop()


async def _free(operator: Operator) -> None:
    store = Store(operator.config)
    try:
        await store.write(_let_go)
    finally:
        await store.close()
