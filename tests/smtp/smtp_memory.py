"""A dialogue without a socket: octets in pieces go in, what the server says and the letters that it took come out."""

from __future__ import annotations

import asyncio
import itertools
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, cast

from mss.config import Limits
from mss.mail import scan
from mss.smtp.door import House
from mss.smtp.extended import Extended
from mss.smtp.metrics import Silence
from mss.smtp.session import Listener
from mss.smtp.spool import Spool
from tests.smtp.smtp_world import HOME, Recorder, now

LIMITS: Final = replace(
    Limits(),
    message_max_octets=500,
    smtp_line_max_octets=200,
    smtp_errors_max=6,
    smtp_commands_max=40,
    recipients_max=3,
)
MEMORY_OCTETS: Final = 1200
BEGUN: Final = b"EHLO client.example\r\nMAIL FROM:<a@chu.example>\r\nRCPT TO:<b@patient.example>\r\n"
# What was said before the octets that are tried: every state in which a command or a letter is read.
STATES: Final[dict[str, bytes]] = {
    "new": b"",
    "greeted": b"EHLO client.example\r\n",
    "mail": b"EHLO client.example\r\nMAIL FROM:<a@chu.example> SMTPUTF8 REQUIRETLS\r\n",
    "rcpt": BEGUN,
    "data": BEGUN + b"DATA\r\n",
    "data, half a line": BEGUN + b"DATA\r\nSubject: x\r\n\r",
    "data, too large": BEGUN + b"DATA\r\n" + b"x" * 600,
    "chunk": BEGUN + b"BDAT 20\r\nhalf of it\r",
    "last chunk": BEGUN + b"BDAT 20 LAST\r\nhalf of it",
    "between chunks": BEGUN + b"BDAT 3\r\nx\r\n",
    "refused chunk": b"EHLO client.example\r\nBDAT 100 LAST\r\n",
    "auth": b"EHLO client.example\r\nAUTH LOGIN\r\n",
    "auth, second": b"EHLO client.example\r\nAUTH LOGIN\r\nbG9naW4=\r\n",
    "long line": b"NOOP " + b"x" * 300,
}
_REPLY: Final = re.compile(rb"(?:[2-5]\d\d[ -][ -~]*\r\n)*\Z")


@dataclass(frozen=True)
class Told:
    """What came of a dialogue."""

    replies: bytes
    letters: tuple[bytes, ...]
    free_octets: int


class _Ends(asyncio.Transport):
    """The other side of a connection: keeps what is written."""

    def __init__(self) -> None:
        super().__init__({"peername": ("192.0.2.1", 1), "ssl_object": self})
        self.written = bytearray()
        self.closed = asyncio.Event()
        self.connection: Extended | None = None

    def write(self, data: Any) -> None:
        self.written += data

    def is_closing(self) -> bool:
        return self.closed.is_set()

    def close(self) -> None:
        if not self.closed.is_set():
            self.closed.set()
            assert self.connection
            asyncio.get_running_loop().call_soon(self.connection.connection_lost, None)

    abort = close

    def can_write_eof(self) -> bool:
        return False

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


async def converse(pieces: Iterable[bytes], listener: Listener = Listener.MX) -> Told:
    """Say the pieces one after another, then stop writing; returns once the connection is closed."""
    door = Recorder(listener=listener, mechanisms=("PLAIN", "LOGIN") if listener is not Listener.MX else ())
    # No disk: fuzzing is for the dialogue, and a letter that does not fit into memory must be deferred.
    spool = Spool(replace(LIMITS, smtp_memory_max_octets=MEMORY_OCTETS, smtp_spool_max_octets=1))
    ends = _Ends()
    gone = asyncio.Event()
    house = House(
        hostname="mx.patient.example",
        home=HOME,
        door=door,
        limits=LIMITS,
        clock=now,
        metrics=Silence(),
        spool=spool,
        tls_context=cast(Any, None),
        admit=lambda _connection: None,
        leave=lambda _connection: gone.set(),
    )
    connection = ends.connection = Extended(house, "192.0.2.1")
    connection.connection_made(ends)
    for piece in pieces:
        await asyncio.sleep(0)
        if not ends.closed.is_set():
            connection.data_received(piece)
    await asyncio.sleep(0)
    if not ends.closed.is_set():
        connection.eof_received()
    async with asyncio.timeout(20):
        while not gone.is_set():
            await asyncio.sleep(0)
            if connection._stopped and not ends.closed.is_set():
                connection.eof_received()  # A farewell came: nothing more is on its way to be thrown away.
    if house.deliveries:
        await asyncio.wait(house.deliveries)
        await asyncio.sleep(0)
    spool.close()
    return Told(bytes(ends.written), tuple(octets for _, octets in door.letters), spool.memory._free)


def check(told: Told) -> None:
    """Fail when something came out that must never come out."""
    assert _REPLY.match(told.replies), told.replies
    assert b"\r\n451 " not in told.replies, "an exception came to the peer"
    assert told.free_octets == MEMORY_OCTETS, "memory was not given back"
    for octets in told.letters:
        assert scan.smtp_safe(octets) is None
        assert len(octets) <= LIMITS.message_max_octets + 2


def split(octets: bytes, sizes: Sequence[int]) -> list[bytes]:
    """Cut octets into pieces of those sizes, again and again."""
    pieces, at = [], 0
    for size in itertools.cycle(sizes):
        if at >= len(octets):
            break
        pieces.append(octets[at : at + size])
        at += size
    return pieces
