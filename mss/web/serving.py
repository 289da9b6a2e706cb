"""An ASGI application served on a listening socket, inside a running loop (HTTP/1.1, RFC 9112).

It opens no socket and touches no signal. The only module that names uvicorn.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

if TYPE_CHECKING:
    import socket
    import ssl

    from starlette.types import ASGIApp, Receive, Scope, Send

    from mss.config import Limits

_HEAD_MAX_OCTETS = 32 * 1024
_STOP_TIMEOUT_S = 5


class Served:
    """A web application that is being served."""

    def __init__(self, server: uvicorn.Server, task: asyncio.Task[None]) -> None:
        self._server, self._task = server, task

    async def stop(self) -> None:
        """Stop listening, let the answers under way finish (a few seconds at most), close."""
        self._server.should_exit = True
        await self._task


async def serve(
    app: ASGIApp,
    sock: socket.socket,
    limits: Limits,
    *,
    tls: ssl.SSLContext | None = None,
    trusted_proxies: tuple[str, ...] = (),
) -> Served:
    """Serve on a listening socket; returns once it accepts connections.

    X-Forwarded-… headers count only from `trusted_proxies`: anybody can write them.
    """
    # Its lines name addresses and carry traces; ours are written by `door`.
    logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
    config = uvicorn.Config(
        app,
        http=_bounded(limits),
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=bool(trusted_proxies),
        forwarded_allow_ips=list(trusted_proxies),
        limit_concurrency=limits.http_connections_max,
        timeout_graceful_shutdown=_STOP_TIMEOUT_S,
        h11_max_incomplete_event_size=_HEAD_MAX_OCTETS,
        ssl_context_factory=(lambda _config, _default: tls) if tls else None,
    )
    server = _Server(config)
    task = asyncio.create_task(server.serve(sockets=[sock]), name="web")
    await asyncio.wait((task, ready := asyncio.create_task(server.ready.wait())), return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        ready.cancel()
        task.result()
    return Served(server, task)


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready.set()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to the program."""
        yield


TLS_EXTENSION = "mss.tls"
"""Where an application finds, among a scope's extensions, the TLS object of its connection."""


def _with_tls(app: ASGIApp, tls: ssl.SSLObject) -> ASGIApp:
    async def told(scope: Scope, receive: Receive, send: Send) -> None:
        scope.setdefault("extensions", {})[TLS_EXTENSION] = tls
        await app(scope, receive, send)

    return told


def _bounded(limits: Limits) -> type[H11Protocol]:
    """Return a protocol that drops connections which ask for nothing in time, and crowds from one source."""

    class Bounded(H11Protocol):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.answers = 0

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            if _crowd(self.connections, self.client) > limits.http_connections_per_source_max:
                transport.abort()
                return
            if (tls := transport.get_extra_info("ssl_object")) is not None:
                self.app = _with_tls(self.app, tls)
            self.loop.call_later(limits.http_head_timeout_s, self.watch, 0)

        def watch(self, answers_before: int) -> None:
            """Drop the connection when nothing was answered since the last look and nothing is being answered."""
            if self.transport.is_closing():
                return
            cycle: RequestResponseCycle | None = self.cycle  # There is none before the first request.
            busy = cycle is not None and not cycle.response_complete
            if not busy and self.answers == answers_before:
                self.transport.abort()
                return
            self.loop.call_later(limits.http_head_timeout_s, self.watch, self.answers)

        def on_response_complete(self) -> None:
            self.answers += 1
            super().on_response_complete()

    return Bounded


def _crowd(connections: Iterable[Any], client: tuple[str, int] | None) -> int:
    """Return how many connections come from one client's address."""
    return sum(other.client[:1] == client[:1] for other in connections if other.client) if client else 0
