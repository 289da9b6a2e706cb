"""A client that sends any octets, in clear or in TLS, and servers that only listen: what no mail library would do."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Final

from tests.journeys.sites import PATIENCE_S

_BLOCK: Final = 65536


class Raw:
    """One connection on loopback."""

    def __init__(self, port: int, *, timeout_s: float = PATIENCE_S) -> None:
        self.socket: socket.socket = socket.create_connection(("127.0.0.1", port), timeout_s)
        self._held = b""

    def __enter__(self) -> Raw:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, octets: bytes) -> None:
        """Send octets."""
        self.socket.sendall(octets)

    def line(self) -> bytes:
        """Return the next line without its end; empty when the server closed."""
        while b"\n" not in self._held:
            block = self._receive()
            if not block:
                break
            self._held += block
        line, _, self._held = self._held.partition(b"\n")
        return line.rstrip(b"\r")

    def reply(self) -> str:
        """Return an SMTP reply, its lines joined; empty when the server closed."""
        lines = [self.line()]
        while lines[-1][3:4] == b"-":
            lines.append(self.line())
        return "\n".join(line.decode("ascii", "replace") for line in lines)

    def ask(self, line: bytes) -> str:
        """Send an SMTP command and return its reply."""
        self.send(line + b"\r\n")
        return self.reply()

    def command(self, tag: bytes, line: bytes) -> list[bytes]:
        """Send an IMAP command; returns the lines up to its tagged answer, or up to the end."""
        self.send(tag + b" " + line + b"\r\n")
        lines = []
        while answer := self.line():
            lines.append(answer)
            if answer.startswith(tag + b" "):
                break
        return lines

    def rest(self, *, quiet_s: float | None = None) -> bytes:
        """Return everything up to the end of the connection, or until nothing came for `quiet_s`."""
        held, self._held = self._held, b""
        self.socket.settimeout(quiet_s or self.socket.gettimeout())
        try:
            while block := self._receive():
                held += block
        except TimeoutError:
            assert quiet_s, "the connection was left open"
        return held

    def finish(self) -> None:
        """Say that nothing more will be sent."""
        self.socket.shutdown(socket.SHUT_WR)

    def starttls(self, tls: ssl.SSLContext, name: str = "localhost") -> None:
        """Shake hands; what was received before stays where it is."""
        self.socket = tls.wrap_socket(self.socket, server_hostname=name)

    def _receive(self) -> bytes:
        with suppress(ConnectionError, ssl.SSLEOFError, ssl.SSLZeroReturnError):
            return self.socket.recv(_BLOCK)
        return b""


@dataclass
class PlainServer:
    """A mail server without TLS: it notes every line that it is sent."""

    listening: socket.socket
    lines: list[bytes] = field(default_factory=list)
    asked: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Serve one connection after another until the socket is closed."""
        with suppress(OSError):
            while True:
                connection, _ = self.listening.accept()
                with connection, suppress(OSError):
                    self._converse(connection)

    def _converse(self, connection: socket.socket) -> None:
        connection.settimeout(PATIENCE_S)
        connection.sendall(b"220 mx.clear.example ESMTP\r\n")
        for line in connection.makefile("rb"):
            self.lines.append(line.strip())
            verb = line[:4].upper()
            if verb == b"QUIT":
                connection.sendall(b"221 bye\r\n")
                break
            connection.sendall(b"354 go on\r\n" if verb == b"DATA" else b"250 yes\r\n")
            self.asked.set()


@contextmanager
def plain_server(port: int) -> Iterator[PlainServer]:
    """Run a mail server that has never heard of TLS."""
    with socket.create_server(("127.0.0.1", port)) as listening:
        server = PlainServer(listening)
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        yield server
        listening.shutdown(socket.SHUT_RDWR)
    thread.join(PATIENCE_S)
