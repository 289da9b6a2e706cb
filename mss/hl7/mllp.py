"""Orders over MLLP: connections, one message after the other, each acknowledged before the next is read.

Over TLS the client's certificate says which account gives the orders; in clear only from this machine itself.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Final

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
    ) -> None:
        self._desk, self._limits, self._clock = desk, limits, clock
        self._sign_in, self._certificate, self._context = sign_in, certificate, context
        self._servers: list[asyncio.Server] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def listen(self, sockets: Iterable[socket.socket]) -> None:
        """Take connections from sockets that are bound already."""
        for bound in sockets:
            self._servers.append(await asyncio.start_server(self._connected, sock=bound, limit=_PIECE_OCTETS))

    async def close(self) -> None:
        """End everything; an order under way is acknowledged first."""
        for server in self._servers:
            server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._tasks) >= self._limits.hl7_connections_max:
            writer.transport.abort()
            return
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ip = str((writer.get_extra_info("peername") or ("",))[0])
        outcome = "ended"
        try:
            account_id = None
            if self._context is not None:
                async with asyncio.timeout(_HANDSHAKE_S):
                    await writer.start_tls(self._context())
                account_id = await self._who(writer, ip)
            await self._talk(reader, writer, account_id)
        except TimeoutError:
            outcome = "silent"
        except Malformed as error:
            outcome = str(error)
        except (OSError, EOFError, MssError) as error:
            outcome = type(error).__name__
        finally:
            _log.info("hl7.session", ip=ip, outcome=outcome)
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
