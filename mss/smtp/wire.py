"""Framing: octets in, command lines or one letter out (RFC 5321 §2.3.8, §4.1.1.4, §4.5.2).

It does no I/O and reads no command. Its rules:

- Only CRLF ends a line, and only CRLF, dot, CRLF ends a letter. Everything else that looks like an end
  (bare LF, bare CR, CR CR LF) is part of the letter and makes it bad.
- A bad or oversized letter is read to its true end, so that the next octet is a command again.
- Nothing here keeps more than it was allowed to, whatever comes.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import Final

_END: Final = b"\r\n.\r\n"
_STUFFED: Final = b"\r\n."
_CR: Final = 13
# Dots at the beginning of a line that are looked at one by one; beyond, the end marker is searched for itself.
_DOTS_MAX: Final = 32


class Fault(Enum):
    """A line that is none: longer than the limit, or not ended by CRLF alone."""

    TOO_LONG = auto()
    BARE = auto()


class Lines:
    """Command lines of one connection; a line that is too long is dropped as it comes, and told once it ends."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._searched = 0
        self._skipping = False
        self.skipped_octets = 0

    def feed(self, block: bytes) -> None:
        """Add octets from the peer."""
        self._buffer += block

    def next(self, length_max: int) -> bytes | Fault | None:
        """Return the next line without its CRLF, or what is wrong with it; None when it has not ended yet."""
        end = self._buffer.find(b"\n", self._searched)
        if end < 0:
            self._wait(length_max)
            return None
        line = bytes(self._buffer[: end + 1])
        del self._buffer[: end + 1]
        self._searched = 0
        return self._judge(line, length_max)

    def _wait(self, length_max: int) -> None:
        if self._skipping or len(self._buffer) > length_max:
            self._skipping = True
            self.skipped_octets += len(self._buffer)
            self._buffer.clear()
        self._searched = len(self._buffer)

    def _judge(self, line: bytes, length_max: int) -> bytes | Fault:
        if self._skipping or len(line) > length_max:
            self._skipping = False
            self.skipped_octets = 0
            return Fault.TOO_LONG
        if not line.endswith(b"\r\n") or line.count(b"\r") != 1 or b"\0" in line:
            return Fault.BARE
        return line[:-2]

    def take(self) -> bytes:
        """Return, and forget, all octets that no line has used: a letter begins in them."""
        rest = bytes(self._buffer)
        self.clear()
        return rest

    def clear(self) -> int:
        """Forget all octets (RFC 3207 §4.2); returns how many there were."""
        dropped = len(self._buffer)
        self._buffer.clear()
        self._searched = 0
        self._skipping = False
        self.skipped_octets = 0
        return dropped

    def __len__(self) -> int:
        return len(self._buffer)


class LetterReader:
    """One DATA phase: feed blocks until `feed` returns what came after the letter, then look at the letter.

    The blocks' borders may fall anywhere. Each block is looked at once, with the last octets of the one before:
    two that are done with (a stuffed dot shows by the CRLF before it) and those that may begin the end marker.
    Nothing is cut between CR and LF, so that each piece shows its bare ones by itself.
    """

    __slots__ = ("_bad", "_held", "_pieces", "_size", "_size_max", "_wire")

    def __init__(self, size_max: int) -> None:
        self._size_max = size_max
        self._held = b"\r\n"  # The CRLF of the DATA command: a letter may end on its first octet.
        self._pieces: list[bytes] | None = []
        self._size = self._wire = 0
        self._bad = False

    def feed(self, block: bytes) -> bytes | None:
        """Take a block; returns the octets after the end of the letter, or None when it goes on."""
        work = self._held + block
        self._wire += len(block)
        end, stuffed = _find_end(work)
        if end >= 0:
            self._keep(work[: end + 2], stuffed=stuffed)
            return work[end + 5 :]
        cut = len(work) - 4
        if cut > 2 and work[cut - 1] == _CR:
            cut -= 1
        if cut > 2:
            self._keep(work[:cut], stuffed=stuffed)
            self._held = work[cut - 2 :]
        else:
            self._held = work
        return None

    def _keep(self, seen: bytes, *, stuffed: bool) -> None:
        """Check and store octets whose first two were checked and stored before."""
        piece = (seen.replace(_STUFFED, b"\r\n") if stuffed else seen)[2:]
        if not piece:
            return
        if not self._bad:
            # Two replacements of one octet cost a quarter of one search for pairs.
            self._bad = piece != piece.replace(b"\r", b"").replace(b"\n", b"\r\n") or b"\0" in piece
        self._size += len(piece)
        if self._size > self._size_max:
            self.discard()
        if self._pieces is not None:
            self._pieces.append(piece)

    def discard(self) -> None:
        """Keep nothing from now on: the letter is only read to find its end."""
        self._pieces = None

    @property
    def wire_octets(self) -> int:
        """How many octets came so far, for timeouts and memory."""
        return self._wire

    @property
    def size_octets(self) -> int:
        """How large the letter is, stored or not."""
        return self._size

    @property
    def too_large(self) -> bool:
        """Whether the letter exceeds the limit."""
        return self._size > self._size_max

    @property
    def bad(self) -> bool:
        """Whether the letter, once ended, had a bare CR, a bare LF or a NUL."""
        return self._bad

    @property
    def discarded(self) -> bool:
        """Whether nothing was kept."""
        return self._pieces is None

    def take(self) -> bytes:
        """Return, and forget, what was kept so far: somebody else keeps it, and `octets` gives the rest only."""
        taken = self.octets()
        if self._pieces:
            self._pieces.clear()
        return taken

    def octets(self) -> bytes:
        """Return the letter without dot-stuffing; its last line ends with CRLF."""
        return b"".join(self._pieces or ())


def _find_end(work: bytes) -> tuple[int, bool]:
    """Return where the end marker begins (-1 without one), and whether lines before it begin with a dot."""
    at, dots = _next_dot(work, 0), 0
    while at >= 0 and not work.startswith(b"\r\n", at + 3):
        dots += 1
        at = _next_dot(work, at + 1) if dots < _DOTS_MAX else work.find(_END, at + 1)
    return at, dots > 0


def _next_dot(work: bytes, start: int) -> int:
    """Return where CRLF and a dot stand next, -1 without. A search for one octet costs a twentieth of one for three,
    and encoded parts have no dots; where there are many, all three are searched."""
    dot = start + 1
    for _ in range(_DOTS_MAX):
        dot = work.find(b".", dot + 1)
        if dot < 0:
            return -1
        if work.startswith(b"\r\n", dot - 2):
            return dot - 2
    return work.find(_STUFFED, dot - 1)
