"""Fetching: what is never asked for, what is never believed, and how much and how long at most."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mss import https, pki
from mss.errors import Malformed, Misconfigured, Unavailable

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"


@pytest.mark.parametrize(
    "url",
    [
        "https://id.example",
        "https://id.example:8443/a?b=c",
        "http://127.0.0.1:1234/keys",
        "http://[::1]:1234/keys",
    ],
)
def test_what_may_be_fetched(url: str) -> None:
    assert https.check_url(url).geturl() == url


@pytest.mark.parametrize(
    "url",
    [
        "",
        "http://id.example/",
        "http://127.0.0.1.id.example/",
        "http://localhost/",
        "file:///etc/passwd",
        "ftp://id.example/",
        "gopher://127.0.0.1/",
        "https://",
        "https:///path",
        "https://user:password@id.example/",
        "https://id.example:99999/",
        "https://id.example:port/",
        "https://[::1/",
        "https://id.example/a b",
        "https://id.example/\r\nX: y",
        "https://id.exämple/",
        "//id.example/",
        "id.example",
    ],
)
def test_what_is_never_fetched(url: str) -> None:
    with pytest.raises(Malformed):
        https.check_url(url)


def test_authorities_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "empty.pem").write_text("")
    for name in ("missing.pem", "empty.pem"):
        with pytest.raises(Misconfigured):
            https.context_of(tmp_path / name)
    assert https.context_of(None).verify_mode is ssl.CERT_REQUIRED


@asynccontextmanager
async def answering(
    *pieces: bytes, hang: bool = False, context: ssl.SSLContext | None = None, host: str = "127.0.0.1"
) -> AsyncIterator[str]:
    """Serve one answer and return its URL."""
    released = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        try:
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
            if hang:
                await released.wait()
        except ConnectionError:
            pass
        writer.close()

    server = await asyncio.start_server(serve, host, 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    try:
        yield f"{'https' if context else 'http'}://{host}:{port}/keys?x=1"
    finally:
        released.set()
        server.close()


async def fetch(
    url: str, *, octets_max: int = 100, timeout_s: float = 5, context: ssl.SSLContext | None = None
) -> bytes:
    return await https.fetch(url, context or https.context_of(None), octets_max=octets_max, timeout_s=timeout_s)


@pytest.mark.journey
@pytest.mark.parametrize(
    "answer",
    [
        OK,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\nhello",
        b"HTTP/1.1 103 Early Hints\r\n\r\n" + OK,
    ],
)
async def test_an_answer_is_read(answer: bytes) -> None:
    async with answering(*(answer[n : n + 1] for n in range(len(answer)))) as url:
        assert await fetch(url) == b"hello"


@pytest.mark.journey
@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"garbage\r\n\r\n",
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.1 302 Found\r\nLocation: https://evil.example/\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 307 Found\r\nLocation: /keys\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000,
    ],
)
async def test_an_answer_that_is_none(answer: bytes) -> None:
    async with answering(answer) as url:
        with pytest.raises(Unavailable):
            await fetch(url)


@pytest.mark.journey
@pytest.mark.parametrize(("octets_max", "taken"), [(6, True), (5, True), (4, False)])
async def test_an_answer_has_a_largest_size(octets_max: int, taken: bool) -> None:
    async with answering(OK) as url:
        if taken:
            assert await fetch(url, octets_max=octets_max) == b"hello"
        else:
            with pytest.raises(Unavailable, match="too large"):
                await fetch(url, octets_max=octets_max)


@pytest.mark.journey
async def test_a_server_that_drips_or_hangs_is_left() -> None:
    async with answering(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel", hang=True) as url:
        with pytest.raises(Unavailable, match="TimeoutError"):
            await fetch(url, timeout_s=0.1)


@pytest.mark.journey
async def test_nobody_there_is_unavailable() -> None:
    async with answering(OK) as url:
        pass
    with pytest.raises(Unavailable):
        await fetch(url)


@pytest.mark.journey
async def test_only_a_certificate_of_the_named_authority_is_believed(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    authority = pki.make_authority(tmp_path / "authority", now=now)
    pki.issue(tmp_path / "id", authority, {"C": "FR", "O": "ID", "CN": "id.example"}, ["id.example"], now=now)
    own = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    own.load_cert_chain(tmp_path / "id" / "operator.pem", tmp_path / "id" / "operator.key")
    known = https.context_of(tmp_path / "authority" / "ca.pem")
    known.verify_flags &= ~ssl.VERIFY_X509_STRICT
    async with answering(OK, context=own) as url:
        assert await fetch(url, context=known) == b"hello"
        with pytest.raises(Unavailable):  # Nobody whom this system knows.
            await fetch(url)
    async with answering(OK, context=own, host="127.0.0.2") as url:
        with pytest.raises(Unavailable):  # The certificate does not name that host.
            await fetch(url, context=known)
