"""A listener's life: sockets handed in, connections counted, a graceful end. It speaks no SMTP itself."""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable
from typing import TYPE_CHECKING, Any, Final

from mss.accepting import Share, accept
from mss.balancer import NO_BALANCERS, Balancers
from mss.clock import Clock
from mss.config import Limits
from mss.log import get_logger
from mss.model.address import Domain
from mss.smtp import reply
from mss.smtp.door import Door, House
from mss.smtp.esmtp import Connection
from mss.smtp.extended import Extended
from mss.smtp.metrics import Metrics
from mss.smtp.reply import Reply
from mss.smtp.spool import Spool

if TYPE_CHECKING:
    import ssl

_BACKLOG: Final = 512
_HANDSHAKE_TIMEOUT_S: Final = 30

_log = get_logger("smtp")


class Server:
    """One door's listening sockets and their connections, until `close`."""

    def __init__(
        self,
        door: Door,
        tls_context: Callable[[], ssl.SSLContext],
        *,
        hostname: str,
        home: Domain,
        limits: Limits,
        clock: Clock,
        metrics: Metrics,
        spool: Spool,
        share: Share | None = None,
        balancers: Balancers = NO_BALANCERS,
    ) -> None:
        self._limits = limits
        self._share = share or Share()
        self._balancers = balancers
        self._connections: set[Connection] = set()
        self._by_ip: Counter[str] = Counter()
        self._bound: list[socket.socket] = []
        self._acceptors: set[asyncio.Task[None]] = set()
        self._handshakes: set[asyncio.Task[None]] = set()
        self._emptied = asyncio.Event()
        self._emptied.set()
        self._house = House(
            hostname=hostname,
            home=home,
            door=door,
            limits=limits,
            clock=clock,
            metrics=metrics,
            spool=spool,
            tls_context=tls_context,
            admit=self._admit,
            leave=self._leave,
        )

    async def listen(self, sockets: Iterable[socket.socket], *, implicit_tls: bool) -> None:
        """Take connections from sockets that are bound already."""
        loop = asyncio.get_running_loop()
        for bound in sockets:
            bound.setblocking(False)
            bound.listen(_BACKLOG)
            take = self._take_secured if implicit_tls else self._take
            self._bound.append(bound)
            taking = accept(bound, self._share, self._held, take, _accept_failed, self._balancers)
            self._acceptors.add(loop.create_task(taking))
        await asyncio.sleep(0)  # From now on each acceptor has begun, and closes its socket when it ends.

    def _held(self) -> int:
        return len(self._handshakes) + self.connections

    def _take(self, accepted: socket.socket, address: Any) -> None:
        loop, ip = asyncio.get_running_loop(), str(address[0])
        self._begin(loop.connect_accepted_socket(lambda: Extended(self._house, ip), accepted))

    def _take_secured(self, accepted: socket.socket, address: Any) -> None:
        """Take a connection under implicit TLS: handshakes count as connections, each takes the newest context."""
        if self._held() >= self._limits.smtp_connections_max:
            accepted.close()
            return
        self._begin(self._shake_hands(accepted, str(address[0])))

    def _begin(self, work: Coroutine[Any, Any, Any]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._handshakes.add(task)
        task.add_done_callback(self._handshakes.discard)

    async def _shake_hands(self, accepted: socket.socket, ip: str) -> None:
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: Extended(self._house, ip),
                accepted,
                ssl=self._house.tls_context(),
                ssl_handshake_timeout=_HANDSHAKE_TIMEOUT_S,
            )
        except OSError as error:
            _log.warning("smtp.tls_failed", ip=ip, reason=str(getattr(error, "reason", None) or type(error).__name__))
            accepted.close()

    def _admit(self, connection: Connection) -> Reply | None:
        ip, limits = connection.facts.ip, self._limits
        if self.connections >= limits.smtp_connections_max or self._by_ip[ip] >= limits.smtp_connections_per_peer_max:
            return reply.TOO_MANY_CONNECTIONS
        self._connections.add(connection)
        self._share.note(self._held())
        self._by_ip[ip] += 1
        self._emptied.clear()
        return None

    def _leave(self, connection: Connection) -> None:
        if connection not in self._connections:
            return
        self._connections.discard(connection)
        self._share.note(self._held())
        ip = connection.facts.ip
        self._by_ip[ip] -= 1
        if not self._by_ip[ip]:
            del self._by_ip[ip]
        if not self._connections:
            self._emptied.set()

    @property
    def connections(self) -> int:
        """How many connections are open."""
        return len(self._connections)

    async def close(self, grace_s: float = 30) -> None:
        """Stop listening, let letters under way be answered, say 421 to the others; past the grace, cut."""
        for task in (*self._acceptors, *self._handshakes):
            task.cancel()
        # One that was cancelled before its first step never held its socket.
        await asyncio.gather(*self._acceptors, return_exceptions=True)
        for bound in self._bound:
            bound.close()
        for connection in list(self._connections):
            connection.go()
        try:
            async with asyncio.timeout(grace_s):
                await self._emptied.wait()
        except TimeoutError:
            for connection in list(self._connections):
                connection.abort()
        if self._house.deliveries:
            await asyncio.wait(self._house.deliveries, timeout=grace_s)


async def serve(
    sockets: Iterable[socket.socket],
    door: Door,
    tls_context: Callable[[], ssl.SSLContext],
    *,
    hostname: str,
    home: Domain,
    limits: Limits,
    clock: Clock,
    metrics: Metrics,
    spool: Spool,
    implicit_tls: bool = False,
    share: Share | None = None,
    balancers: Balancers = NO_BALANCERS,
) -> Server:
    """Serve a door on bound sockets; returns the handle to close it with.

    `spool`: all doors of a process have the same. `share`: with workers on the same sockets. `balancers` say who comes.
    """
    server = Server(
        door,
        tls_context,
        hostname=hostname,
        home=home,
        limits=limits,
        clock=clock,
        metrics=metrics,
        spool=spool,
        share=share,
        balancers=balancers,
    )
    await server.listen(sockets, implicit_tls=implicit_tls)
    return server


def _accept_failed(error: OSError) -> None:
    _log.error("smtp.accept_failed", errno=error.errno)
