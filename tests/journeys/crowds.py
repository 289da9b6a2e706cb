"""Many senders at once, each with a letter of the largest kind, all of them held just before its end."""

from __future__ import annotations

import re
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.journeys.sites import BOX, DOCTOR, SECRET, Site, letter, new_id

LARGEST_OCTETS: Final = 25_900_000
_WAIT_S: Final = 240.0
_LINE: Final = (SECRET.encode() + b" ") * 3 + b"\r\n"


@dataclass
class Crowd:
    """Senders over mutual TLS: `all_sent` passes when each has sent all but the end, `end` lets them end."""

    site: Site
    count: int
    size_octets: int = LARGEST_OCTETS
    answers: list[tuple[int, bytes]] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.all_sent = threading.Barrier(self.count + 1)
        self.end = threading.Event()
        self._body = _LINE * (self.size_octets // len(_LINE))

    def run(self) -> None:
        """Send everything; whoever watches takes part in `all_sent` and sets `end`."""
        with ThreadPoolExecutor(self.count) as pool:
            for done in [pool.submit(self._send) for _ in range(self.count)]:
                done.result()

    def _send(self) -> None:
        message_id = new_id()
        with self.site.as_peer(timeout_s=_WAIT_S) as client:
            assert client.mail(DOCTOR)[0] == 250
            assert client.rcpt(BOX)[0] == 250
            assert client.docmd("DATA")[0] == 354
            assert client.sock is not None
            client.sock.sendall(letter(message_id))
            client.sock.sendall(self._body)
            self.all_sent.wait(_WAIT_S)
            assert self.end.wait(_WAIT_S)
            client.sock.sendall(b".\r\n")
            answer = client.getreply()
        self.answers.append(answer)
        if answer[0] == 250:
            self.ids.append(message_id)


def resident_mib(pid: int, *, peak: bool = False) -> float:
    """Return how much memory a process has now, or had at most."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
    found = re.search(r"^VmHWM:\s+(\d+) kB$" if peak else r"^VmRSS:\s+(\d+) kB$", status, re.MULTILINE)
    assert found
    return int(found[1]) / 1024
