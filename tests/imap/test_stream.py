"""What a connection does with its socket while a command is on its way."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from typing import Any, cast

import pytest

from mss.config import Limits
from mss.imap.stream import Stream
from mss.imap.wire import WireLimits


class Socket:
    """Notes the options that are set."""

    def __init__(self) -> None:
        self.options: list[tuple[int, int, int]] = []

    def setsockopt(self, *option: int) -> None:
        self.options.append(cast(tuple[int, int, int], option))


class Transport:
    """A connection with a socket."""

    def __init__(self, connection: Socket | None) -> None:
        self._connection = connection

    def get_extra_info(self, name: str) -> object:
        return self._connection if name == "socket" else None

    def set_write_buffer_limits(self, high: int) -> None: ...


@pytest.mark.parametrize(
    ("octets", "acknowledged"),
    [
        (b"", False),
        (b"a NOO", False),
        (b"a APPEND INBOX {5+}\r\n", True),
        (b"a APPEND INBOX {5+}\r\nhel", True),
        (b"a APPEND INBOX {5+}\r\nhello", True),
    ],
)
@pytest.mark.parametrize("with_socket", [True, False])
async def test_a_client_that_sends_the_end_of_a_literals_line_by_itself_does_not_wait(
    octets: bytes, acknowledged: bool, with_socket: bool
) -> None:
    connection = Socket() if with_socket else None
    stream = Stream(WireLimits.after_login(Limits()), lambda _stream: None, "192.0.2.1")
    stream.connection_made(cast(Any, Transport(connection)))
    stream.data_received(octets)
    waiting = asyncio.create_task(stream.next(None))
    while not stream._waiting:
        await asyncio.sleep(0)
    if connection is not None:
        expected = [(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)] if acknowledged else []
        assert connection.options == expected
    waiting.cancel()
    with suppress(asyncio.CancelledError):
        await waiting
