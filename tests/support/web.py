"""A web server on loopback that answers what a test says, for lists and responders that are fetched."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ssl

Answering = Callable[[bytes], bytes]


@dataclass
class Web:
    """What stands at each path: octets, a status, or a function from what was posted. Paths in `held` never answer."""

    port: int = 0
    scheme: str = "http"
    host: str = "localhost"
    pages: dict[str, bytes | int | Answering] = field(default_factory=dict)
    held: set[str] = field(default_factory=set)
    asked: list[tuple[str, str]] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)

    def url(self, path: str) -> str:
        return f"{self.scheme}://{self.host}:{self.port}{path}"

    def count(self, path: str) -> int:
        return sum(1 for _, asked in self.asked if asked == path)


class _Handler(BaseHTTPRequestHandler):
    web: Web

    def _answer(self) -> None:
        posted = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.web.asked.append((self.command, self.path))
        if self.path in self.web.held:
            self.web.over.wait()
            return
        page = self.web.pages.get(self.path, 404)
        if isinstance(page, int):
            self.send_response(page)
            self.send_header("Location", "/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        octets = page if isinstance(page, bytes) else page(posted)
        self.send_response(200)
        self.send_header("Content-Length", str(len(octets)))
        self.end_headers()
        with suppress(OSError):
            self.wfile.write(octets)

    do_GET = do_POST = _answer  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing on the terminal."""


class _Quiet(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A handshake that a client broke off is no news."""


@contextmanager
def web(tls: ssl.SSLContext | None = None, host: str = "localhost") -> Iterator[Web]:
    """Serve until the block ends; with TLS when a context is given."""
    served = Web(host=host)
    handler = type("Handler", (_Handler,), {"web": served})
    server = _Quiet(("127.0.0.1" if host == "localhost" else host, 0), handler)
    served.port = server.server_address[1]
    if tls is not None:
        served.scheme = "https"
        server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield served
    finally:
        served.over.set()
        server.shutdown()
        server.server_close()
        thread.join(5)
