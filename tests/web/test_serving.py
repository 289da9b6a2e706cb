"""An application behind a TCP balancer: it knows its clients, each counts for itself, in clear and under TLS."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import ip_network
from pathlib import Path

import pytest
from starlette.types import Receive, Scope, Send

from mss import pki
from mss.balancer import NO_BALANCERS, Balancers
from mss.clock import system_clock
from mss.config import Limits
from mss.web.serving import serve

pytestmark = pytest.mark.journey

LOOPBACK = Balancers((ip_network("127.0.0.1"),), 200, 30)
REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"


async def who(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with the client's address."""
    said = "{}:{}".format(*scope["client"]).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(said))]})
    await send({"type": "http.response.body", "body": said})


@asynccontextmanager
async def serving(limits: Limits, balancers: Balancers, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = await serve(who, listening, limits, tls=tls, balancers=balancers)
        try:
            yield listening.getsockname()[1]
        finally:
            await server.stop()


class Client:
    """A connection through the balancer, from any address that the test wants."""

    def __init__(self, port: int, source: str = "") -> None:
        self._port, self._source = port, source

    async def __aenter__(self) -> Client:
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self._port)
        if self._source:
            self.writer.write(f"PROXY TCP4 {self._source} 192.0.2.1 40000 443\r\n".encode())
        return self

    async def __aexit__(self, *_: object) -> None:
        self.writer.close()

    async def ask(self) -> bytes:
        """Return what the application said; a refusal's status line; empty when there was no answer."""
        try:
            self.writer.write(REQUEST)
            async with asyncio.timeout(30):
                head = await self.reader.readuntil(b"\r\n\r\n")
                _, _, rest = head.lower().partition(b"content-length: ")
                return await self.reader.readexactly(int(rest.split()[0])) if rest else head.splitlines()[0]
        except (asyncio.IncompleteReadError, ConnectionError):
            return b""


async def test_an_application_knows_who_is_behind_the_balancer() -> None:
    async with serving(Limits(), LOOPBACK) as port, Client(port, "198.51.100.7") as client:
        assert await client.ask() == b"198.51.100.7:40000"
        assert await client.ask() == b"198.51.100.7:40000"


async def test_under_tls_the_header_comes_before_it(tmp_path: Path) -> None:
    authority = pki.make_authority(tmp_path / "authority", now=system_clock())
    certificate, key = pki.issue(tmp_path / "web", authority, [("CN", "web")], ["localhost"], now=system_clock())
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)
    mine = ssl.create_default_context(cafile=str(authority.ca_file))
    mine.verify_flags &= ~ssl.VERIFY_X509_STRICT
    async with serving(Limits(), LOOPBACK, tls) as port, Client(port, "198.51.100.7") as client:
        await client.writer.start_tls(mine, server_hostname="localhost")
        assert await client.ask() == b"198.51.100.7:40000"


async def test_without_a_balancer_the_header_is_a_bad_request() -> None:
    async with serving(Limits(), NO_BALANCERS) as port:
        async with Client(port) as client:
            assert (await client.ask()).startswith(b"127.0.0.1:")
        async with Client(port, "198.51.100.7") as client:
            assert await client.ask() == b"HTTP/1.1 400 Bad Request"


@pytest.mark.parametrize(("sources", "kept_out"), [(("198.51.100.7",) * 2, 0), (("198.51.100.7",) * 3, 1)])
async def test_each_client_behind_the_balancer_counts_for_itself(sources: tuple[str, ...], kept_out: int) -> None:
    limits = Limits(http_connections_per_source_max=2)
    async with serving(limits, LOOPBACK) as port:
        clients = [Client(port, source) for source in (*sources, "198.51.100.8")]
        for client in clients:
            await client.__aenter__()
        answers = [await client.ask() for client in clients]
        for client in clients:
            await client.__aexit__()
    assert answers.count(b"") == kept_out
    assert answers[-1] == b"198.51.100.8:40000"
