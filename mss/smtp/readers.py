"""Where letters are read: small ones on the loop, large ones in a process of their own.

It knows nothing of MIME itself: `services.reading` does. A letter that kills or stalls the process is temporary to
its sender, and the next one gets a new process.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Final

from mss.config import Limits
from mss.errors import Unavailable
from mss.mail import completion, mime, trace
from mss.services import reading
from mss.services.reading import Reading
from mss.smtp.aside import Aside

_PATIENCE_S: Final = 60
# Letters that wait hold memory, and have had to ask for it: there are never more than a process may hold.
_WAITING_MAX: Final = 1000
# What submission takes out of a letter: blind recipients, and traces that only we may write.
_PRIVATE: Final = frozenset({"bcc", "resent-bcc", "return-path"})

# Fields that only we may write stand in few letters: a look for their names costs less than reading all fields.
_TRACES: Final = (b"return-path", b"authentication-results")


@dataclass(frozen=True, slots=True)
class Preparation:
    """What is done to the octets before they are read: `trace` fields go on top; Message-ID and Date are for
    submission only. `authserv_id`: nobody else's results may bear this name. `names` are what the senders' own boxes
    are called, by address key.
    """

    trace: tuple[bytes, ...]
    message_id: str = ""
    date: datetime | None = None
    authserv_id: str = ""
    names: Mapping[str, str] = field(default_factory=dict)


def prepare(octets: bytes, wanted: Preparation, limits: Limits) -> bytes:
    """Return the final octets of a letter: our trace on top, no other's Return-Path or results in our name.

    At submission Bcc is gone too, and the author's name, Message-ID and Date are there."""
    if wanted.date is not None:
        octets = trace.remove(mime.index(octets, limits), _PRIVATE, wanted.authserv_id)
        octets = completion.name_author(mime.index(octets, limits), wanted.names, limits)
        octets = trace.add_missing(mime.index(octets, limits), message_id=wanted.message_id, date=wanted.date)
    else:
        octets = _without_traces(octets, wanted.authserv_id, limits)
    return trace.prepend(octets, wanted.trace)


def _without_traces(octets: bytes, authserv_id: str, limits: Limits) -> bytes:
    """Return the letter without another's Return-Path and without results in our name; only its header is looked at."""
    end = octets.find(b"\r\n\r\n") + 4
    head = octets[:end] if end >= 4 else octets
    named = head.lower()
    if not any(name in named for name in _TRACES):
        return octets
    return trace.remove(mime.index(head, limits), {"return-path"}, authserv_id) + octets[len(head) :]


def read(octets: bytes, wanted: Preparation, limits: Limits, *, documents: bool) -> Reading:
    """Prepare a letter and read it."""
    return reading.read_letter(prepare(octets, wanted, limits), limits, documents=documents)


@dataclass(frozen=True, slots=True)
class _Parcel:
    """A reading on its way between processes, without the octets that the other side has: `head` goes before them.

    `changed` are the whole octets where more was done than putting fields on top.
    """

    reading: Reading
    head: bytes
    changed: bytes | None

    def opened(self, octets: bytes) -> Reading:
        """Return the reading with its octets."""
        final = self.head + octets if self.changed is None else self.changed
        return replace(self.reading, message=replace(self.reading.message, octets=final))


def read_aside(path: str, wanted: Preparation, limits: Limits, *, documents: bool) -> _Parcel:
    """Read in another process: a large letter is looked at there, and does not travel back."""
    octets = Path(path).read_bytes()
    found = read(octets, wanted, limits, documents=documents)
    bare = replace(found, message=replace(found.message, octets=b""))
    if found.octets.endswith(octets):
        return _Parcel(bare, found.octets[: len(found.octets) - len(octets)], None)
    return _Parcel(bare, b"", found.octets)


@contextmanager
def _shown(octets: bytes) -> Iterator[str]:
    """Put octets where another process of ours can read them: a file in memory, whose name goes with this process.

    Sent through the pool's pipe they would be copied twice, and its thread would keep a copy until the next letter.
    Unavailable when there is no room.
    """
    with os.fdopen(os.memfd_create("letter"), "wb", buffering=0) as file:
        left = memoryview(octets)
        try:
            while left:
                left = left[file.write(left) :]
        except OSError as error:
            raise Unavailable(f"no room to read a large letter: {os.strerror(error.errno or 0)}") from error
        yield f"/proc/{os.getpid()}/fd/{file.fileno()}"


class Readers(Aside):
    """Reads letters without holding the loop up; the process is started when the first large letter comes."""

    def __init__(self, limits: Limits) -> None:
        super().__init__(patience_s=_PATIENCE_S, waiting_max=_WAITING_MAX)
        self._limits = limits

    async def read(self, octets: bytes, wanted: Preparation, *, documents: bool) -> Reading:
        """Return what `read` returns; Unavailable when the process failed."""
        if len(octets) <= self._limits.index_in_process_max_octets:
            return read(octets, wanted, self._limits, documents=documents)
        with _shown(octets) as path:
            parcel = await self.run(partial(read_aside, path, wanted, self._limits, documents=documents))
        return parcel.opened(octets)
