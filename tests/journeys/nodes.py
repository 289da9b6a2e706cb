"""Nodes of one operator: each a real process in a folder of its own, on one PostgreSQL and one bucket."""

from __future__ import annotations

import itertools
import shutil
import smtplib
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from mss import instance
from tests.journeys.keeping import kept
from tests.journeys.sites import DOCTOR, Site, hand_over, letter, new_id
from tests.support import s3
from tests.support.ports import free_base
from tests.support.postgres import Server

# Letters on both sides of the limit above which octets go into the bucket.
SIZES_OCTETS: Final = (1_000, 20_000, 200_000)
_PAUSE_S: Final = 0.05
_KEYS_URL: Final = 'keys_url = "sqlite:///keys/keys.sqlite"'


@contextmanager
def house(folder: Path, database: Server, buckets: s3.Server, *, count: int = 2) -> Iterator[list[Site]]:
    """Make an operator of so many nodes, not started; at the end stop each and look at what it leaves behind."""
    changes = {_KEYS_URL: f'keys_url = "{database.url(database.create())}"\n{_in_bucket(folder, buckets)}'}
    with kept(folder, database.url(database.create()), changes) as first:
        nodes = [first, *(_another(first, number) for number in range(2, count + 1))]
        try:
            yield nodes
        finally:
            codes = [node.operator.stop() for node in nodes[1:]]
        assert set(codes) <= {0, -9}, codes


def _in_bucket(folder: Path, buckets: s3.Server) -> str:
    """Return the lines of [store] that put large octets into a fresh bucket."""
    settings = buckets.settings(folder, buckets.create(), "octets")
    return "\n".join(f'{name} = "{value}"' for name, value in settings.items() if name != "s3_timeout_s")


def _another(first: Site, number: int) -> Site:
    """Copy a node to a folder of its own, with doors of its own; nothing of its data is shared."""
    base, old = free_base(), first.operator.base_port
    folder = first.folder / f"node-{number}"
    shutil.copytree(first.operator.folder, folder, ignore=shutil.ignore_patterns("data", "*.log"))
    toml = folder / first.operator.config_file.name
    text = toml.read_text(encoding="utf-8")
    for offset in instance.PORTS.values():
        text = text.replace(f":{old + offset}", f":{base + offset}")
    toml.write_text(text, encoding="utf-8")
    operator = replace(
        first.operator, title=f"Node {number}", base_port=base, folder=folder, config_file=toml, process=None
    )
    return replace(first, operator=operator)


@dataclass
class Senders:
    """Senders who go from node to node until a letter is taken, from `with` to its end, and remember what was."""

    nodes: list[Site]
    count: int = 4
    accepted: list[str] = field(default_factory=list)
    interrupted: int = 0
    deferred: int = 0

    def __enter__(self) -> Senders:
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._send, args=(seed,), daemon=True) for seed in range(self.count)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(60)
            assert not thread.is_alive(), "a sender did not come to its end"

    def until(self, more: int, *, within_s: float = 60) -> None:
        """Wait until so many more letters were taken."""
        wanted, end = len(self.accepted) + more, time.monotonic() + within_s
        while len(self.accepted) < wanted:
            assert time.monotonic() < end, f"only {len(self.accepted)} letters were taken"
            time.sleep(_PAUSE_S)

    def _send(self, seed: int) -> None:
        sizes, turn = itertools.cycle(SIZES_OCTETS), seed
        waiting: tuple[str, bytes] | None = None
        while waiting is not None or not self._stop.is_set():
            if waiting is None:
                message_id = new_id()
                waiting = message_id, letter(message_id, size_octets=next(sizes))
            turn += 1
            if self._is_taken(self.nodes[turn % len(self.nodes)], waiting[1]):
                self.accepted.append(waiting[0])
                waiting = None

    def _is_taken(self, node: Site, octets: bytes) -> bool:
        try:
            with node.as_peer(timeout_s=15) as client:
                code, said = hand_over(client, octets, sender=DOCTOR)
        except (OSError, smtplib.SMTPException):
            self.interrupted += 1
            self._stop.wait(_PAUSE_S)
            return False
        assert code == 250 or 400 <= code < 500, (code, said)
        self.deferred += code != 250
        return code == 250
