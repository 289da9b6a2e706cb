"""The Minimal Lower Layer Protocol: where a message begins and ends in a stream (HL7 v2 Transport Specification: MLLP).

Octets in, messages out: it reads no message and opens no socket.
"""

from __future__ import annotations

from typing import Final

from mss.errors import Malformed

START: Final = b"\x0b"
END: Final = b"\x1c\r"


class Frames:
    """The messages of one connection, as they come in."""

    def __init__(self, message_max_octets: int) -> None:
        self._max = message_max_octets
        self._held = bytearray()
        self._searched = 0

    def feed(self, octets: bytes) -> list[bytes]:
        """Take octets and return the messages that are whole; Malformed when the stream holds no frames."""
        self._held += octets
        found = []
        while (message := self._next()) is not None:
            found.append(message)
        return found

    def _next(self) -> bytes | None:
        # White space between frames is forgiven: some engines end theirs with another line end.
        if not self._searched:
            del self._held[: len(self._held) - len(self._held.lstrip(b"\r\n"))]
        if self._held and not self._held.startswith(START):
            raise Malformed("not MLLP: a message begins with VT")
        end = self._held.find(END, max(0, self._searched - 1))
        # A message may be whole but for the last octet of its frame.
        if (end if end >= 0 else len(self._held) - 1) > len(START) + self._max:
            raise Malformed("an HL7 message larger than the limit")
        if end < 0:
            self._searched = len(self._held)
            return None
        message = bytes(self._held[1:end])
        del self._held[: end + len(END)]
        self._searched = 0
        return message


def framed(message: bytes) -> bytes:
    """Return a message in its frame."""
    return START + message + END
