"""An ASGI application served on a listening socket, inside a running loop (HTTP/1.1, RFC 9112).

It opens no socket and touches no signal. The only module that names uvicorn.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from mss.accepting import Share, accept
from mss.balancer import NO_BALANCERS, Balancers
from mss.log import get_logger

if TYPE_CHECKING:
    import socket
    import ssl

    from starlette.types import ASGIApp, Receive, Scope, Send

    from mss.config import Limits

_HEAD_MAX_OCTETS = 32 * 1024
_STOP_TIMEOUT_S = 5
_HANDSHAKE_TIMEOUT_S = 30
_BACKLOG = 512

_log = get_logger("web")


class Served:
    """A web application that is being served."""

    def __init__(
        self, server: uvicorn.Server, task: asyncio.Task[None], acceptor: asyncio.Task[None], entrance: _Entrance
    ) -> None:
        self._server, self._task, self._acceptor, self._entrance = server, task, acceptor, entrance

    async def stop(self) -> None:
        """Stop listening, let the answers under way finish (a few seconds at most), close."""
        self._acceptor.cancel()
        await asyncio.gather(self._acceptor, return_exceptions=True)
        await self._entrance.close()
        self._server.should_exit = True
        await self._task


async def serve(
    app: ASGIApp,
    sock: socket.socket,
    limits: Limits,
    *,
    tls: ssl.SSLContext | None = None,
    trusted_proxies: tuple[str, ...] = (),
    share: Share | None = None,
    balancers: Balancers = NO_BALANCERS,
) -> Served:
    """Serve on a listening socket; returns once it accepts connections. `share`: with workers on the same socket.

    X-Forwarded-… headers count only from `trusted_proxies`: anybody can write them. `balancers` say who comes.
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
    # It listens nowhere itself: who comes is known here, before it is.
    task = asyncio.create_task(server.serve(sockets=[]), name="web")
    await asyncio.wait((task, ready := asyncio.create_task(server.ready.wait())), return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        ready.cancel()
        task.result()
    sock.setblocking(False)
    sock.listen(_BACKLOG)
    entrance = _Entrance(server, tls, limits.http_connections_max)
    taking = accept(sock, share or Share(), entrance.held, entrance.take, _accept_failed, balancers)
    acceptor = asyncio.create_task(taking, name="web-accept")
    await asyncio.sleep(0)  # From now on it has begun, and closes its socket when it ends.
    return Served(server, task, acceptor, entrance)


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


class _Entrance:
    """Connections between their acceptance and their first request: hands are shaken, then uvicorn has them."""

    def __init__(self, server: uvicorn.Server, tls: ssl.SSLContext | None, connections_max: int) -> None:
        self._server, self._tls, self._connections_max = server, tls, connections_max
        self._handshakes: set[asyncio.Task[None]] = set()

    def held(self) -> int:
        """Return how many connections there are."""
        return len(self._handshakes) + len(self._server.server_state.connections)

    def take(self, accepted: socket.socket, address: Any) -> None:
        """Begin with a connection of this client."""
        if len(self._handshakes) >= self._connections_max:
            accepted.close()
            return
        task = asyncio.get_running_loop().create_task(self._begin(accepted, (str(address[0]), int(address[1]))))
        self._handshakes.add(task)
        task.add_done_callback(self._handshakes.discard)

    async def _begin(self, accepted: socket.socket, client: tuple[str, int]) -> None:
        loop, server = asyncio.get_running_loop(), self._server
        config, state = server.config, server.server_state

        def protocol() -> asyncio.Protocol:
            kind = cast(Any, config.http_protocol_class)
            return cast(asyncio.Protocol, kind(config, state, server.lifespan.state, client_met=client))

        shaking: dict[str, Any] = {}
        if self._tls is not None:
            shaking = {"ssl": self._tls, "ssl_handshake_timeout": _HANDSHAKE_TIMEOUT_S}
        try:
            await loop.connect_accepted_socket(protocol, accepted, **shaking)
        except OSError:
            accepted.close()  # Browsers that do not trust us, and those who look for open ports, are no news.

    async def close(self) -> None:
        """Break off the handshakes under way."""
        for task in self._handshakes:
            task.cancel()
        await asyncio.gather(*self._handshakes, return_exceptions=True)


def _accept_failed(error: OSError) -> None:
    _log.error("web.accept_failed", errno=error.errno)


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
        def __init__(self, *args: Any, client_met: tuple[str, int], **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.client_met = client_met
            self.answers = 0

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self.client = self.client_met
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
