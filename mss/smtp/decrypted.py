"""What TLS gives the octets of a connection to: one buffer of a door, for one connection after another.

Left to itself the loop takes 256 KiB from the system for each record of 16 KiB. It knows no SMTP.
"""

from __future__ import annotations

import asyncio
from typing import Final

OCTETS: Final = 64 * 1024


def new_buffer() -> memoryview:
    """Return the buffer of one door."""
    return memoryview(bytearray(OCTETS))


class Decrypted(asyncio.BufferedProtocol):
    """Stands between TLS and the protocol that reads; all but the octets goes straight through."""

    def __init__(self, reader: asyncio.Protocol, buffer: memoryview) -> None:
        self._reader = reader
        self._buffer = buffer

    def get_buffer(self, sizehint: int) -> memoryview:
        """Return where the next octets go."""
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Hand on what came, before the buffer is another connection's."""
        self._reader.data_received(self._buffer[:nbytes])  # type: ignore[arg-type]  # It is copied at once.

    def eof_received(self) -> bool | None:
        """Hand on that the peer stopped writing."""
        return self._reader.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        """Hand on that it is over."""
        self._reader.connection_lost(exc)

    def pause_writing(self) -> None:
        """Hand on that the peer reads slowly."""
        self._reader.pause_writing()

    def resume_writing(self) -> None:
        """Hand on that it reads again."""
        self._reader.resume_writing()
