"""One connection's octets: reads with back-pressure, writes that wait for slow readers only so long, TLS.

It frames through `Wire` and knows no command. After STARTTLS nothing that came before the handshake is left: a
connection that sent octets beyond STARTTLS is closed (`Gone("injected")`).
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Final, cast

from mss.imap.wire import Event, Wire, WireLimits

if TYPE_CHECKING:
    import ssl

_PENDING_MAX_OCTETS: Final = 256 * 1024
_UNSENT_MAX_OCTETS: Final = 256 * 1024
WRITE_TIMEOUT_S: Final = 120
HANDSHAKE_TIMEOUT_S: Final = 30
_CLOSE_TIMEOUT_S: Final = 10
# After a goodbye, octets still on their way are thrown away until none came for a while; at most so long, so many.
_QUIET_S: Final = 0.25
_LINGER_S: Final = 5
_LINGER_MAX_OCTETS: Final = 16 * 1024 * 1024


class Gone(Exception):
    """The connection ends; `reason` is a static word for the log, `bye` what the client is told if it listens."""

    def __init__(self, reason: str, bye: str = "") -> None:
        super().__init__(reason)
        self.reason, self.bye = reason, bye


class Stream(asyncio.Protocol):
    """A connection, from acceptance to its end."""

    def __init__(self, limits: WireLimits, opened: Callable[[Stream], None], ip: str) -> None:
        self.wire = Wire(limits)
        self.tls = False
        self.tls_version = ""
        self.end: object = None
        self.ip = ip
        self.octets_in = 0
        self.octets_out = 0
        self._opened = opened
        self._transport: asyncio.Transport
        self._arrived = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()
        self._ended = asyncio.Event()
        self._waiting = False
        self._paused = False
        self._eof = False
        self._poked = False
        self._leaving = False
        self._dropped_octets = 0

    # --- what asyncio tells ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin; under implicit TLS the handshake is done."""
        self._take(cast(asyncio.Transport, transport))
        self._opened(self)

    def _take(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        transport.set_write_buffer_limits(high=_UNSENT_MAX_OCTETS)
        end = transport.get_extra_info("ssl_object")
        self.tls, self.end = end is not None, end
        self.tls_version = str(end.version() or "") if end is not None else ""

    def data_received(self, data: bytes) -> None:
        """Keep octets until they are asked for; stop reading when too many wait."""
        if self._leaving:
            self._dropped_octets += len(data)
            self._arrived.set()
            return
        self.octets_in += len(data)
        self.wire.feed(data)
        self._arrived.set()
        if not self._waiting and self.wire.pending > _PENDING_MAX_OCTETS and not self._paused:
            self._paused = True
            self._transport.pause_reading()

    def eof_received(self) -> bool:
        """Note that the client sends no more; without TLS, what it asked is still answered."""
        self._eof = True
        self._arrived.set()
        return not self.tls

    def pause_writing(self) -> None:
        """Note that the client reads too slowly."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """Note that the client has read."""
        self._writable.set()

    def connection_lost(self, exc: Exception | None) -> None:
        """Let everybody who waits know."""
        self._eof = True
        self._ended.set()
        self._arrived.set()
        self._writable.set()

    # --- what the session asks ---

    async def next(self, deadline: float | None) -> Event | None:
        """Wait for the next event, until a loop time; None when `poke` was called."""
        while True:
            event = self.wire.next()
            if event is not None:
                return event
            if self._poked:
                self._poked = False
                return None
            if self._eof:
                raise Gone("lost")
            if self.wire.has_literals:
                self._acknowledge()
            await self._arrival(deadline)

    def _acknowledge(self) -> None:
        """Tell the client at once that its octets are here. Many send a literal and the line's end by themselves, and
        hold the end back until then (RFC 1122 §4.2.3.4); acknowledgements are put off for 40 ms otherwise."""
        connection = self._transport.get_extra_info("socket")
        if connection is not None and hasattr(socket, "TCP_QUICKACK"):
            with suppress(OSError):  # No TCP, or gone: the next read tells.
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)

    async def _arrival(self, deadline: float | None) -> None:
        self._arrived.clear()
        self._waiting = True
        if self._paused:
            self._paused = False
            self._transport.resume_reading()
        try:
            async with asyncio.timeout_at(deadline):
                await self._arrived.wait()
        except TimeoutError:
            raise Gone("timeout", "Too long without a command") from None
        finally:
            self._waiting = False

    def poke(self) -> None:
        """Make `next` return None: something else than the client has news."""
        self._poked = True
        self._arrived.set()

    def write(self, octets: bytes) -> None:
        """Send octets in their turn."""
        self.octets_out += len(octets)
        if not self._ended.is_set():
            self._transport.write(octets)

    async def drain(self) -> None:
        """Wait until the client has read most of what was written; a client that does not is cut off."""
        if not self._writable.is_set():
            try:
                async with asyncio.timeout(WRITE_TIMEOUT_S):
                    await self._writable.wait()
            except TimeoutError:
                self.abort()
                raise Gone("slow") from None
        if self._ended.is_set():
            raise Gone("lost")

    async def start_tls(self, context: ssl.SSLContext, limits: WireLimits) -> None:
        """Shake hands; the octets that come after it are framed afresh."""
        if self.wire.pending:
            raise Gone("injected")
        self._transport.pause_reading()
        self.wire = Wire(limits)
        try:
            secured = await asyncio.get_running_loop().start_tls(
                self._transport, self, context, server_side=True, ssl_handshake_timeout=HANDSHAKE_TIMEOUT_S
            )
        except OSError:
            raise Gone("tls-failed") from None
        if secured is None:
            raise Gone("lost")
        self._paused = False
        self._take(secured)

    def hang_up(self) -> None:
        """End without a session."""
        self._transport.close()

    async def hear_out(self) -> None:
        """Throw away what the client is still sending, until it has paused, ended, or gone on for too long.

        A socket closed with unread octets answers with a reset, and our goodbye is lost on its way.
        """
        self._leaving = True
        if self._paused:
            self._paused = False
            self._transport.resume_reading()
        if not self._ended.is_set() and self._transport.can_write_eof():
            with suppress(OSError):  # The client is gone, and asyncio has not noticed yet.
                self._transport.write_eof()
        with suppress(TimeoutError):
            async with asyncio.timeout(_LINGER_S):
                while not self._eof and self._dropped_octets <= _LINGER_MAX_OCTETS:
                    self._arrived.clear()
                    await asyncio.wait_for(self._arrived.wait(), _QUIET_S)

    async def close(self) -> None:
        """Send what is left, then end; a client that does not read is not waited for long."""
        self._transport.close()
        try:
            async with asyncio.timeout(_CLOSE_TIMEOUT_S):
                await self._ended.wait()
        except TimeoutError:
            self.abort()

    def abort(self) -> None:
        """End at once."""
        self._transport.abort()
