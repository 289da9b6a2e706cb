"""CHUNKING: letters that come by BDAT (RFC 3030 §2). No I/O, no decision about letters.

Its rules:

- A chunk is consumed whatever is wrong with it, for what follows is a command again; when its size cannot be read
  nobody knows where that is, and the connection ends.
- BDAT and DATA are not mixed in one letter, and after a refused chunk the transaction is over.
- BINARYMIME is not offered: a bare CR, a bare LF or a NUL makes the letter bad, however it came.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from mss.smtp import reply
from mss.smtp.reply import Reply

# A chunk of at least so many octets is progress, and not counted among the commands without a letter.
PROGRESS_MIN_OCTETS: Final = 1024
_ARGUMENT: Final = re.compile(r"(\d{1,12})(?:[ ]+(LAST))?\Z", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Chunk:
    """What a BDAT command announces."""

    size_octets: int
    last: bool = False


def parse_bdat(argument: str) -> Chunk | Reply:
    """Read `size [LAST]`."""
    match = _ARGUMENT.match(argument)
    return Chunk(int(match[1]), match[2] is not None) if match else reply.BAD_CHUNK


class ChunkReader:
    """One letter in chunks: `begin` each, feed blocks until `feed` returns what came after it, then look at the letter.

    The borders of blocks and of chunks may fall anywhere, also between a CR and its LF.
    """

    __slots__ = ("_bad", "_cr", "_crlf", "_last", "_left", "_lf", "_pieces", "_size_max", "_wire")

    def __init__(self, size_max: int) -> None:
        self._size_max = size_max
        self._pieces: list[bytes] | None = []
        self._wire = self._left = 0
        self._cr = self._lf = self._crlf = 0
        self._last = b""
        self._bad = False

    def begin(self, size_octets: int) -> None:
        """Announce a chunk."""
        self._left = size_octets

    def feed(self, block: bytes) -> bytes | None:
        """Take a block; returns the octets after the end of the chunk, or None when it goes on."""
        piece = block[: self._left]
        self._left -= len(piece)
        self._wire += len(piece)
        self._keep(piece)
        return None if self._left else block[len(piece) :]

    def _keep(self, piece: bytes) -> None:
        if not piece:
            return
        self._crlf += piece.count(b"\r\n") + (self._last == b"\r" and piece[0] == 10)
        self._cr += piece.count(b"\r")
        self._lf += piece.count(b"\n")
        self._last = piece[-1:]
        self._bad = self._bad or b"\0" in piece
        if self._wire > self._size_max:
            self.discard()
        if self._pieces is not None:
            self._pieces.append(piece)

    def discard(self) -> None:
        """Keep nothing from now on: the chunks are only read to find their end."""
        self._pieces = None

    @property
    def left_octets(self) -> int:
        """How many octets of the chunk are still to come."""
        return self._left

    @property
    def wire_octets(self) -> int:
        """How many octets came so far, for timeouts."""
        return self._wire

    @property
    def size_octets(self) -> int:
        """How large the letter is so far, stored or not."""
        return self._wire

    @property
    def too_large(self) -> bool:
        """Whether the letter exceeds the limit."""
        return self._wire > self._size_max

    @property
    def bad(self) -> bool:
        """Whether the letter, once whole, had a bare CR, a bare LF or a NUL."""
        return self._bad or not self._cr == self._lf == self._crlf

    @property
    def discarded(self) -> bool:
        """Whether nothing was kept."""
        return self._pieces is None

    def take(self) -> bytes:
        """Return, and forget, what was kept so far but for its last two octets: `octets` looks at them."""
        whole = b"".join(self._pieces or ())
        if self._pieces:
            self._pieces[:] = [whole[-2:]]
        return whole[:-2]

    def octets(self) -> bytes:
        """Return the letter; its last line ends with CRLF, as with DATA."""
        letter = b"".join(self._pieces or ())
        return letter if not letter or letter.endswith(b"\r\n") else letter + b"\r\n"
