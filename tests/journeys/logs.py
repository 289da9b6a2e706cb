"""A server's log, read line by line."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

# What Python itself says when a process that shared semaphores with another was killed; they are cleaned up.
_OF_KILLS: Final = (
    "resource_tracker: There appear to be",
    "warnings.warn('resource_tracker: There appear to be",
    "UserWarning: resource_tracker: '/mp-",
    "warnings.warn('resource_tracker: %r: %s' % (name, e))",
)


# A reader that was just being started when the server that started it was killed.
_ORPHANED_AT_ONCE: Final = re.compile(
    r"^Traceback \(most recent call last\):\n(?:  .*\n)*  .*multiprocessing/spawn\.py(?:.*\n)(?:  .*\n)*"
    r"EOFError: Ran out of input\n",
    re.MULTILINE,
)

# Python 3.11 wakes a pool of processes at its end whose pipe the pool's own thread has just closed.
_POOL_CLOSED_AT_ONCE: Final = re.compile(
    r"^Exception ignored in: <module 'threading' from .*>\nTraceback \(most recent call last\):\n(?:  .*\n)*"
    r"  .*concurrent/futures/process\.py\", line \d+, in _python_exit\n(?:  .*\n)*"
    r"(?:OSError: \[Errno 9\] Bad file descriptor|OSError: handle is closed|BrokenPipeError: .*)\n",
    re.MULTILINE,
)


@dataclass(frozen=True)
class Log:
    """The lines of a server's log."""

    path: Path

    def lines(self) -> list[dict[str, Any]]:
        """Return the lines, each with its fields; what is not JSON is a line with the field `raw`."""
        text = self.path.read_text(encoding="utf-8", errors="replace")
        for excused in (_ORPHANED_AT_ONCE, _POOL_CLOSED_AT_ONCE):
            text = excused.sub("", text)
        return list(_parsed(text.splitlines()))

    def events(self, event: str, *, since: int = 0, **fields: object) -> list[dict[str, Any]]:
        """Return the lines of an event that have these fields, past the first `since` lines."""
        wanted = {"event": event, **fields}.items()
        return [line for line in self.lines()[since:] if all(line.get(key) == value for key, value in wanted)]

    def surprises(self) -> list[dict[str, Any]]:
        """Return what no outside cause excuses: lines that are not ours, and errors that nobody foresaw."""
        return [line for line in self.lines() if ("raw" in line or "exception" in line) and not _excused(line)]


def _excused(line: dict[str, Any]) -> bool:
    return any(words in str(line.get("raw", "")) for words in _OF_KILLS)


def _parsed(lines: Iterable[str]) -> Iterator[dict[str, Any]]:
    for line in lines:
        try:
            fields = json.loads(line)
        except ValueError:
            fields = None
        yield fields if isinstance(fields, dict) else {"raw": line}
