"""The IMAP listeners: sockets handed in, connections counted, a graceful end. It speaks no IMAP itself."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterable
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from mss.accepting import Share, accept
from mss.balancer import NO_BALANCERS, Balancers
from mss.clock import Clock
from mss.config import Limits
from mss.imap.connection import State
from mss.imap.handlers import handle
from mss.imap.house import House, Memory
from mss.imap.metrics import Metrics
from mss.imap.session import Session
from mss.imap.stream import HANDSHAKE_TIMEOUT_S, Stream
from mss.imap.wire import WireLimits
from mss.log import get_logger
from mss.model.peer import ClientCertificate
from mss.screening import UNSCREENED, Screen
from mss.services.reading import Reading, read_letter
from mss.signin import SignIn
from mss.store import Store

if TYPE_CHECKING:
    import ssl

_BACKLOG: Final = 512
# Letters on their way in, over all sessions of a process: that many of the largest kind.
_LARGE_LETTERS: Final = 8
# One address may hold this share of the places for those who have not logged in.
_STRANGERS_SHARE: Final = 4
_FULL: Final = b"* BYE [UNAVAILABLE] Too many connections\r\n"

_log = get_logger("imap")


class Server:
    """Listening sockets and their sessions, until `close`."""

    def __init__(self, house: House, share: Share | None = None, balancers: Balancers = NO_BALANCERS) -> None:
        self.house = house
        self._share = share or Share()
        self._balancers = balancers
        self._sessions: dict[Session, asyncio.Task[None]] = {}
        self._bound: list[socket.socket] = []
        self._acceptors: set[asyncio.Task[None]] = set()
        self._handshakes: set[asyncio.Task[None]] = set()
        self._beginnings: set[asyncio.Task[None]] = set()

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

    def _held(self) -> int:
        return len(self._sessions) + len(self._handshakes)

    def _take(self, accepted: socket.socket, address: Any) -> None:
        adopting = self.adopt(accepted, str(address[0]), implicit_tls=False)
        task = asyncio.get_running_loop().create_task(adopting)
        self._beginnings.add(task)
        task.add_done_callback(self._beginnings.discard)

    def _take_secured(self, accepted: socket.socket, address: Any) -> None:
        """Take a connection under implicit TLS; handshakes count as connections."""
        ip = str(address[0])
        if self._is_full(ip):
            accepted.close()
            self.house.metrics.session_closed("full")
            return
        task = asyncio.get_running_loop().create_task(self.adopt(accepted, ip, implicit_tls=True))
        self._handshakes.add(task)
        task.add_done_callback(self._handshakes.discard)

    async def adopt(self, connected: socket.socket, ip: str, *, implicit_tls: bool) -> None:
        """Serve a connection of a client that is accepted already, once hands are shaken."""
        loop = asyncio.get_running_loop()
        connected.setblocking(False)
        if not implicit_tls:
            await loop.connect_accepted_socket(lambda: self._protocol(ip), connected)
            return
        try:
            await loop.connect_accepted_socket(
                lambda: self._protocol(ip),
                connected,
                ssl=self.house.tls_context(),
                ssl_handshake_timeout=HANDSHAKE_TIMEOUT_S,
            )
        except OSError as error:
            _log.info("imap.tls_failed", reason=str(getattr(error, "reason", None) or type(error).__name__))
            self.house.metrics.session_closed("tls-failed")
            connected.close()

    def _protocol(self, ip: str) -> Stream:
        return Stream(WireLimits.before_login(self.house.limits), self._opened, ip)

    def _opened(self, stream: Stream) -> None:
        self.house.metrics.session_opened()
        if self._is_full(stream.ip, at_the_door=stream.tls):
            stream.write(_FULL)
            stream.hang_up()
            self.house.metrics.session_closed("full")
            return
        session = Session(self.house, stream, handle)
        self.house.metrics.state("", session.state.name.lower())
        task = asyncio.get_running_loop().create_task(session.run())
        self._sessions[session] = task
        task.add_done_callback(lambda _: self._ended(session))

    def _ended(self, session: Session) -> None:
        self._sessions.pop(session)
        self._share.note(self._held())

    def _is_full(self, ip: str, *, at_the_door: bool = False) -> bool:
        """Say whether there is no place; `at_the_door`: this very connection is still among the handshakes."""
        limits = self.house.limits
        shaking = max(0, len(self._handshakes) - at_the_door)
        if len(self._sessions) + shaking >= limits.imap_connections_max:
            return True
        share = max(1, limits.imap_unauthenticated_max // _STRANGERS_SHARE)
        if len(self._sessions) + shaking < share:
            return False
        strangers = [s.stream.ip for s in self._sessions if s.state is State.NOT_AUTHENTICATED]
        return len(strangers) + shaking >= limits.imap_unauthenticated_max or strangers.count(ip) >= share

    @property
    def sessions(self) -> int:
        """How many sessions are open."""
        return len(self._sessions)

    async def close(self, grace_s: float = 30) -> None:
        """Stop listening, let commands under way be answered, say BYE; past the grace, cut."""
        for task in (*self._acceptors, *self._handshakes):
            task.cancel()
        # One that was cancelled before its first step never held its socket.
        await asyncio.gather(*self._acceptors, return_exceptions=True)
        for bound in self._bound:
            bound.close()
        for session in self._sessions:
            session.leave()
        if self._sessions:
            _, late = await asyncio.wait(self._sessions.values(), timeout=grace_s)
            for session in [each for each, task in self._sessions.items() if task in late]:
                session.stream.abort()
            if late:
                await asyncio.wait(late, timeout=grace_s)


async def serve(
    store: Store,
    sign_in: SignIn,
    tls_context: Callable[[], ssl.SSLContext],
    *,
    limits: Limits,
    clock: Clock,
    metrics: Metrics,
    starttls_sockets: Iterable[socket.socket] = (),
    implicit_tls_sockets: Iterable[socket.socket] = (),
    read: Callable[[bytes], Awaitable[Reading]] | None = None,
    certificate: Callable[[object, datetime], ClientCertificate | None] = lambda _end, _now: None,
    share: Share | None = None,
    screen: Screen = UNSCREENED,
    balancers: Balancers = NO_BALANCERS,
) -> Server:
    """Serve IMAP on bound sockets; returns the handle to close it with. `share`: with workers on the same sockets.

    `read` reads a letter that comes by APPEND, perhaps in another process; the default does so in a thread.
    `certificate` says what a TLS session's client showed, `screen` looks at letters before they are kept.
    `balancers` say who comes.
    """
    house = House(
        store=store,
        sign_in=sign_in,
        clock=clock,
        limits=limits,
        metrics=metrics,
        tls_context=tls_context,
        read_letter=read or partial(_read_here, limits),
        memory=Memory(_LARGE_LETTERS * limits.message_max_octets),
        certificate=certificate,
        screen=screen,
    )
    server = Server(house, share, balancers)
    await server.listen(starttls_sockets, implicit_tls=False)
    await server.listen(implicit_tls_sockets, implicit_tls=True)
    return server


async def _read_here(limits: Limits, octets: bytes) -> Reading:
    if len(octets) <= limits.index_in_process_max_octets:
        return read_letter(octets, limits, documents=False)
    return await asyncio.to_thread(read_letter, octets, limits, documents=False)


def _accept_failed(error: OSError) -> None:
    _log.error("imap.accept_failed", errno=error.errno)
