"""Orders over MLLP: connections, one message after the other, each acknowledged before the next is read.

Over TLS the client's certificate says which account gives the orders; in clear only from this machine itself.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any, Final

from mss.accepting import Share, accept
from mss.balancer import NO_BALANCERS, Balancers
from mss.clock import Clock
from mss.config import KIB, Limits
from mss.errors import Malformed, MssError
from mss.hl7.desk import Desk
from mss.hl7.framing import Frames, framed
from mss.log import get_logger
from mss.model.account import Account
from mss.model.peer import ClientCertificate
from mss.signin import SignIn

_log = get_logger("hl7")

_PIECE_OCTETS: Final = 64 * KIB
_HANDSHAKE_S: Final = 30


class Mllp:
    """The listening sockets and their connections, until `close`."""

    def __init__(
        self,
        desk: Desk,
        limits: Limits,
        clock: Clock,
        sign_in: SignIn,
        certificate: Callable[[object, datetime], ClientCertificate | None],
        context: Callable[[], ssl.SSLContext] | None,
        balancers: Balancers = NO_BALANCERS,
    ) -> None:
        self._desk, self._limits, self._clock = desk, limits, clock
        self._sign_in, self._certificate, self._context = sign_in, certificate, context
        self._balancers = balancers
        self._acceptors: list[asyncio.Task[None]] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def listen(self, sockets: Iterable[socket.socket]) -> None:
        """Take connections from sockets that are bound already."""
        loop = asyncio.get_running_loop()
        for bound in sockets:
            bound.setblocking(False)
            held = lambda: len(self._tasks)  # noqa: E731
            taking = accept(bound, Share(), held, self._take, _accept_failed, self._balancers)
            self._acceptors.append(loop.create_task(taking))
        await asyncio.sleep(0)  # From now on each acceptor has begun, and closes its socket when it ends.

    async def close(self) -> None:
        """End everything; an order under way is carried out, and known when its sender gives it again."""
        ending = (*self._acceptors, *self._tasks)
        for task in ending:
            task.cancel()
        await asyncio.gather(*ending, return_exceptions=True)

    def _take(self, accepted: socket.socket, address: Any) -> None:
        if len(self._tasks) >= self._limits.hl7_connections_max:
            accepted.close()
            return
        task = asyncio.get_running_loop().create_task(self._begin(accepted, str(address[0])))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _begin(self, accepted: socket.socket, ip: str) -> None:
        """Shake hands where there is TLS: nothing is read in clear before it."""
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(limit=_PIECE_OCTETS)
        protocol = asyncio.StreamReaderProtocol(reader)
        tls: dict[str, Any] = {}
        if self._context is not None:
            tls = {"ssl": self._context(), "ssl_handshake_timeout": _HANDSHAKE_S}
        try:
            transport, _ = await loop.connect_accepted_socket(lambda: protocol, accepted, **tls)
        except OSError as error:
            _log.warning("hl7.tls_failed", ip=ip, reason=str(getattr(error, "reason", None) or type(error).__name__))
            accepted.close()
            return
        await self._serve(reader, asyncio.StreamWriter(transport, protocol, reader, loop), ip)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, ip: str) -> None:
        outcome = "ended"
        self._desk.counts.session_opened()
        try:
            account_id = await self._who(writer, ip) if self._context is not None else None
            await self._talk(reader, writer, account_id)
        except TimeoutError:
            outcome = "silent"
        except Malformed as error:
            outcome = str(error)
        except (OSError, EOFError, MssError) as error:
            outcome = type(error).__name__
        finally:
            _log.info("hl7.session", ip=ip, outcome=outcome)
            self._desk.counts.session_closed(outcome)
            writer.transport.abort()

    async def _who(self, writer: asyncio.StreamWriter, ip: str) -> int:
        shown = self._certificate(writer.get_extra_info("ssl_object"), self._clock())
        account = await self._sign_in.certificate(shown, "", "mllp-certificate", ip)
        if not isinstance(account, Account):
            raise Malformed("no account for this certificate")
        return account.id

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, account_id: int | None) -> None:
        frames = Frames(self._limits.hl7_message_max_octets)
        while True:
            async with asyncio.timeout(self._limits.hl7_idle_s):
                octets = await reader.read(_PIECE_OCTETS)
            if not octets:
                return
            for message in frames.feed(octets):
                answer = await asyncio.shield(self._desk.take(message, account_id, "mllp"))
                writer.write(framed(answer.octets))
                async with asyncio.timeout(self._limits.hl7_idle_s):
                    await writer.drain()


def _accept_failed(error: OSError) -> None:
    _log.error("hl7.accept_failed", errno=error.errno)
