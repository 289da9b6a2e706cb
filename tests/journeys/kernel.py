"""What a server asks of the kernel, in order: strace's file, read back."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

READS: Final = frozenset({"read", "readv", "recvfrom", "recvmsg"})
WRITES: Final = frozenset({"write", "writev", "sendto", "sendmsg"})
FLUSHES: Final = frozenset({"fsync", "fdatasync"})
_CALLS: Final = sorted(READS | WRITES | FLUSHES | {"pwrite64", "pwritev", "link", "linkat", "ftruncate", "accept4"})
# strace fills up short numbers of processes with spaces.
_LINE: Final = re.compile(r"(?P<thread>\d+) +(?P<at>\d+\.\d+) (?P<rest>.*)")
_BEGUN: Final = re.compile(r"(?P<name>\w+)\((?P<arguments>.*)")
_RESUMED: Final = re.compile(r"<\.\.\. \w+ resumed>(?P<arguments>.*)")
_RESULT: Final = re.compile(r"\) += (?P<result>-?\d+)[^)]*$")
_UNFINISHED: Final = " <unfinished ...>"


@dataclass(slots=True)
class Call:
    """One call: when it began and ended (seconds since 1970), its name, its arguments as strace writes them."""

    began: float
    name: str
    arguments: str
    ended: float = float("inf")
    result: int = -1
    thread: str = ""

    def on(self, what: str) -> bool:
        """Whether its first argument is a descriptor of that file or socket."""
        return what in self.arguments.partition(", ")[0]


def under_strace(trace: Path) -> list[str]:
    """Return the words before a command that let strace write down what it asks of the kernel.

    strace is the grandchild: the process keeps its number, and hears its own signals.
    """
    strace = shutil.which("strace")
    if strace is None:
        pytest.fail("strace is missing: sudo apt-get install -y --no-install-recommends strace")
    return [strace, "-D", "-f", "-yy", "-ttt", "-s", "64", "-o", str(trace), "-e", "trace=" + ",".join(_CALLS)]


def calls(lines: Iterable[str]) -> list[Call]:
    """Return the calls in the order in which they began; those of other threads that were interrupted made whole."""
    found: list[Call] = []
    open_calls: dict[str, Call] = {}
    for line in lines:
        parts = _LINE.match(line)
        if parts is None:
            continue
        at, rest = float(parts["at"]), parts["rest"]
        if resumed := _RESUMED.match(rest):
            call = open_calls.pop(parts["thread"], None)
            if call is not None:
                call.arguments += resumed["arguments"]
                _end(call, at, rest)
        elif begun := _BEGUN.match(rest):
            call = Call(at, begun["name"], begun["arguments"].removesuffix(_UNFINISHED))
            call.thread = parts["thread"]
            found.append(call)
            if rest.endswith(_UNFINISHED):
                open_calls[parts["thread"]] = call
            else:
                _end(call, at, rest)
    return found


def _end(call: Call, at: float, text: str) -> None:
    # A call on one line has no time of its end: the next line's time is not before it.
    call.ended = at
    if result := _RESULT.search(text):
        call.result = int(result["result"])


@dataclass(frozen=True, slots=True)
class Exchange:
    """What happened between the last octets of a request and the first ones of its answer."""

    asked: Call
    between: list[Call]
    answered: Call


def exchange(all_calls: list[Call], client_port: int, since: float, until: float) -> Exchange:
    """Return the last exchange with a client, among the calls that began in a span of time."""
    # Told by its accept4: strace cannot always name both ends of a socket when the machine has thousands.
    port = f"sin_port=htons({client_port})"
    accepted = [call for call in all_calls if call.name == "accept4" and call.began <= until and port in call.arguments]
    assert accepted, f"strace saw no connection from port {client_port}"
    descriptor = f"{accepted[-1].result}<"
    spoken = [call for call in all_calls if since <= call.began <= until and call.arguments.startswith(descriptor)]
    last_read = max(at for at, call in enumerate(spoken) if call.name in READS and call.result > 0)
    asked = spoken[last_read]
    answered = next(call for call in spoken[last_read:] if call.name in WRITES)
    first, last = all_calls.index(asked), all_calls.index(answered)
    return Exchange(asked, all_calls[first + 1 : last], answered)


def committed_before(server: list[Call], since: float, until: float, wal: str) -> list[Call]:
    """Return the database's flushes of its log, checked: one came after a COMMIT was heard and before it was answered.

    Both ends of that stand in a span of time: what a client of ours asked, and what we answered.
    """
    within = [call for call in server if since <= call.began and call.ended <= until]
    heard = [call for call in within if call.name in READS and "COMMIT" in call.arguments and call.result > 0]
    assert heard, "the database heard no COMMIT before the answer"
    flushes = [call for call in within if call.name in FLUSHES and call.on(wal) and call.result == 0]
    assert flushes, "the database's log was not flushed before the answer"
    kept = []
    for commit in heard:
        said = (call for call in within if call.thread == commit.thread and call.name in WRITES and not call.on(wal))
        answered = next((call for call in said if call.began >= commit.ended), None)
        if answered is not None:
            kept += [one for one in flushes if commit.ended <= one.began and one.ended <= answered.began]
    assert kept, "the database answered COMMIT before its log was on disk"
    return kept


def flushed_before_the_answer(found: Exchange, file: str) -> list[Call]:
    """Return the calls on a file, checked: it was written to, then flushed to the end, and only then answered."""
    on_file = [call for call in found.between if call.on(file)]
    written = [call for call in on_file if call.name.startswith("pwrite")]
    assert written, f"nothing was written to {file} before the answer"
    flushed = [call for call in on_file if call.name in FLUSHES and call.result == 0]
    assert flushed, f"{file} was not flushed before the answer"
    assert flushed[-1].began >= written[-1].ended, f"{file} was written to after its last flush"
    assert flushed[-1].ended <= found.answered.began, f"the answer went out before {file} was on disk"
    return on_file
