"""Fetch one small document by https: bounded in octets and time, no redirect followed, nothing kept (RFC 9110).

It does not judge what it fetched. Plain http is spoken with this machine's own loopback addresses only.
"""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, urlsplit

import h11

from mss.errors import Malformed, Misconfigured, Unavailable

_LOOPBACK: Final = frozenset({"127.0.0.1", "::1"})
_BLOCK_OCTETS: Final = 16 * 1024
_PORTS: Final = {"https": 443, "http": 80}


def check_url(url: str) -> SplitResult:
    """Return a URL's parts; Malformed when it may not be fetched: not https, a user name in it, no host."""
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 - it raises when the port is none.
    except ValueError as error:
        raise Malformed("not a URL") from error
    if not url.isascii() or any(character <= " " or character == "\x7f" for character in url):
        raise Malformed("not a URL")
    secure = parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK)
    if not secure or not parts.hostname or "@" in parts.netloc:
        raise Malformed("only https URLs are fetched")
    return parts


def context_of(ca_file: Path | None) -> ssl.SSLContext:
    """Return whom we believe: the authorities of a file, else those of this machine."""
    try:
        context = ssl.create_default_context(cafile=str(ca_file) if ca_file else None)
    except OSError as error:  # SSLError is one.
        raise Misconfigured(f"cannot use {ca_file} as trusted authorities") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


async def fetch(url: str, context: ssl.SSLContext, *, octets_max: int, timeout_s: float) -> bytes:
    """Return what a URL answers with 200.

    Unavailable: any other answer (a redirect too), a larger one, none in time, or no connection.
    """
    parts = check_url(url)
    try:
        async with asyncio.timeout(timeout_s):
            return await _ask(parts, context if parts.scheme == "https" else None, octets_max)
    except (OSError, h11.ProtocolError, asyncio.IncompleteReadError) as error:  # TimeoutError, SSLError are OSErrors.
        raise Unavailable(f"nothing fetched from {parts.hostname}: {type(error).__name__}") from error


async def _ask(parts: SplitResult, context: ssl.SSLContext | None, octets_max: int) -> bytes:
    port = parts.port or _PORTS[parts.scheme]
    reader, writer = await asyncio.open_connection(parts.hostname, port, ssl=context)
    try:
        connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=_BLOCK_OCTETS)
        writer.write(connection.send(_request(parts)) or b"")
        writer.write(connection.send(h11.EndOfMessage()) or b"")
        await writer.drain()
        return await _answer(connection, reader, octets_max)
    finally:
        # Not closed politely: a server that never says goodbye would hold us.
        writer.transport.abort()


def _request(parts: SplitResult) -> h11.Request:
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    headers = [("Host", parts.netloc), ("Accept", "*/*"), ("Connection", "close")]
    return h11.Request(method="GET", target=target, headers=headers)


async def _answer(connection: h11.Connection, reader: asyncio.StreamReader, octets_max: int) -> bytes:
    body = bytearray()
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(await reader.read(_BLOCK_OCTETS))
        elif isinstance(event, h11.Response):
            if event.status_code != 200:
                raise Unavailable(f"the answer was {event.status_code}")
        elif isinstance(event, h11.Data):
            body += event.data
            if len(body) > octets_max:
                raise Unavailable("the answer is too large")
        elif isinstance(event, h11.EndOfMessage):
            return bytes(body)
        elif not isinstance(event, h11.InformationalResponse):
            raise Unavailable("the connection ended before the answer did")
