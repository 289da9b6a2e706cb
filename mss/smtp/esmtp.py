"""aiosmtpd, wrapped once: the only module that names it (RFC 5321, 2920, 3207).

aiosmtpd keeps the connection (streams, timer, task); the command loop, TLS and answers are ours. The verbs of
letters stand in `verbs`. The rules:

- Nothing but EHLO, STARTTLS, NOOP, RSET and QUIT is answered before TLS (BDAT ends the connection); what arrived
  before TLS is forgotten.
- A reply never holds what the peer sent; an exception becomes an incident number in the log and 451 4.3.0.
- Errors and commands are counted since the last accepted letter: a peer that works is never cut off.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any, ClassVar, Final

from aiosmtpd.smtp import SMTP

from mss.errors import Unavailable, incident_number
from mss.log import get_logger
from mss.smtp import commands, reply
from mss.smtp.decrypted import Decrypted
from mss.smtp.door import House
from mss.smtp.reply import Reply
from mss.smtp.session import Session, Transaction, new_id
from mss.smtp.wire import Fault, Lines
from mss.tls import alert_of

# aiosmtpd logs addresses, commands and lines of letters: nothing of it may leave, whatever the configuration.
for _noisy in ("mail.log", "mail.debug"):
    logging.getLogger(_noisy).disabled = True

READ_OCTETS: Final = 64 * 1024
_OVERLONG_MAX_OCTETS: Final = 64 * 1024
_AUTH_LINE_MAX_OCTETS: Final = 12288  # RFC 4954 §4.
_BEFORE_TLS_TIMEOUT_S: Final = 60
_ABORT_AFTER_S: Final = 5
# After a farewell, octets still on their way are thrown away until none came for a while; at most so long, so many.
_QUIET_S: Final = 0.25
_LINGER_S: Final = 5
_LINGER_MAX_OCTETS: Final = 16 * 1024 * 1024
_BEFORE_TLS: Final = frozenset({"EHLO", "STARTTLS", "NOOP", "RSET", "QUIT", "BDAT"})

_FAREWELLS: Final = frozenset({221, 421})
_FAULTS: Final = frozenset({500, 501, 502, 503, 504, 530, 535, 555})
_FAULTY_LINES: Final = {Fault.TOO_LONG: reply.LINE_TOO_LONG, Fault.BARE: reply.BAD_SYNTAX}

Verb = Callable[[Any, str], Awaitable[Reply | None]]

_log = get_logger("smtp")


class _Unlisted:
    """aiosmtpd looks through all names of a connection, and of its handler, for verbs and mechanisms: a third of what
    a new connection costs in Python. Ours stand in tables, so there is nothing to be found."""

    def __dir__(self) -> list[str]:
        return []


_NO_HANDLER: Final = _Unlisted()


class Connection(_Unlisted, SMTP):
    """One connection, from its first octet to its last."""

    # The stream's flow control, not a line's limit: aiosmtpd's 1001 would stop the socket every 2 kB.
    line_length_limit = READ_OCTETS

    def __init__(self, house: House, ip: str = "") -> None:
        self._house = house
        self.facts = Session(new_id(), house.door.listener, ip)
        self.transaction: Transaction | None = None
        self._lines = Lines()
        self._out: list[bytes] = []
        self._errors = self._commands = 0
        self._farewell: Reply | None = None
        self._outcome = "lost"
        self._resting = self._going = self._stopped = self._gone = self._shaking_hands = False
        self._abort_handle: asyncio.TimerHandle | None = None
        self._dropped_octets = 0
        self._linger_until = self._heard_at = self._patient_until = self._rings_at = 0.0
        super().__init__(
            _NO_HANDLER,
            data_size_limit=house.limits.message_max_octets,
            enable_SMTPUTF8=True,
            hostname=house.hostname,
            ident="ESMTP",
            timeout=house.limits.smtp_timeout_s,
            loop=asyncio.get_running_loop(),
        )

    # The connection ------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin; aiosmtpd starts the command loop."""
        self._house.metrics.session_opened(self.facts.listener)
        super().connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        """Close the books, once."""
        if self._gone:
            return
        self._gone = True
        super().connection_lost(error)
        if self._abort_handle:
            self._abort_handle.cancel()
        self._end_transaction("lost")
        self._house.leave(self)
        self._house.metrics.session_closed(self.facts.listener, self._outcome)

    def data_received(self, data: bytes | memoryview) -> None:
        """Keep octets for the loop; after the farewell nobody wants them."""
        if not self._stopped:
            self._reader.feed_data(data)
            return
        self._heard_at = self.loop.time()
        self._dropped_octets += len(data)

    def eof_received(self) -> bool:
        """Let the loop read what came before the end: a client that only stopped writing still gets its answers."""
        if self._stopped:
            self._close()
        self._reader.feed_eof()
        return not self.facts.tls

    def _reset_timeout(self, duration: float | None = None) -> None:
        """Begin the client's time anew. A timer that would only be too early stays, and looks again when it rings."""
        limit = self._house.limits.smtp_timeout_s
        patience_s = duration or (limit if self.facts.tls else min(limit, _BEFORE_TLS_TIMEOUT_S))
        self._patient_until = self.loop.time() + patience_s
        handle = self._timeout_handle
        if handle is None or handle.cancelled() or self._rings_at > self._patient_until:
            self._ring_in(patience_s)

    def _ring_in(self, seconds: float) -> None:
        # Its time is kept here: uvloop's timers of less than half a millisecond are none, and do not tell theirs.
        self._rings_at = self.loop.time() + seconds
        super()._reset_timeout(seconds)

    def _timeout_cb(self) -> None:
        left_s = self._patient_until - self.loop.time()
        if left_s > 0:
            self._ring_in(left_s)
            return
        self._outcome = "timeout"
        self.stop(reply.TIMED_OUT)

    def go(self) -> None:
        """End soon: at once when the client is at rest, else after the answer that it waits for."""
        self._going = True
        if self._resting:
            self.stop(reply.CLOSING)

    def stop(self, farewell: Reply) -> None:
        """Say goodbye and close; a client that does not read it is cut off."""
        if self._stopped or self._gone:
            return
        if self._shaking_hands:
            self.abort()  # Words in clear would be no TLS.
            return
        self._stopped = True
        if self._outcome == "lost":
            self._outcome = "quit" if farewell is reply.BYE else "closed"
        self._writer.write(b"".join((*self._out, farewell.encode())))
        if farewell is reply.BYE:
            self._close()
        else:
            self._hear_out()

    def _hear_out(self) -> None:
        """Throw away what the client is still sending, until it has paused, ended, or gone on for too long.

        A socket closed with unread octets answers with a reset, and the farewell is lost on its way.
        """
        self._reader._buffer.clear()  # type: ignore[attr-defined]
        self._reader._maybe_resume_transport()  # type: ignore[attr-defined]
        self._reader.feed_eof()
        if self._writer.can_write_eof():
            with suppress(OSError):  # The client is gone, and asyncio has not noticed yet.
                self._writer.write_eof()
        self._heard_at = self.loop.time()
        self._linger_until = self._heard_at + _LINGER_S
        self._abort_handle = self.loop.call_later(_QUIET_S, self._close_if_quiet)

    def _close_if_quiet(self) -> None:
        now = self.loop.time()
        heard = now - self._heard_at < _QUIET_S and now < self._linger_until
        if heard and self._dropped_octets <= _LINGER_MAX_OCTETS:
            self._abort_handle = self.loop.call_later(_QUIET_S, self._close_if_quiet)
        else:
            self._close()

    def _close(self) -> None:
        if self._abort_handle:
            self._abort_handle.cancel()
        self._writer.close()
        self._abort_handle = self.loop.call_later(_ABORT_AFTER_S, self.abort)

    def abort(self) -> None:
        """Cut the connection."""
        self._writer.transport.abort()
        if self._shaking_hands and self._handler_coroutine:
            # uvloop's TLS layer wakes nobody when we end a handshake ourselves.
            self._handler_coroutine.cancel()

    # The command loop ----------------------------------------------------------------------------------------

    async def _handle_client(self) -> None:
        try:
            await self._converse()
        except ConnectionError:
            if not self._stopped:
                self.abort()
        except Exception as error:  # noqa: BLE001  # The door's map: a bug must not leave a client waiting.
            self._farewell = self._incident(error)
        if self._farewell:
            self.stop(self._farewell)
        elif not self._stopped:
            self._writer.close()

    async def _converse(self) -> None:
        self._farewell = self._house.admit(self)
        end = self._writer.get_extra_info("ssl_object")
        if end is not None and not self._farewell:
            await self._secure(end)
        if not self._farewell:
            self._say(reply.greeting(self._house.hostname))
        while not self._farewell and (line := await self._next_line()) is not None:
            await self._obey(line)

    async def _next_line(self) -> bytes | Fault | None:
        """Return a line; None when the client stopped writing, or when it is time to go."""
        length_max = self._house.limits.smtp_line_max_octets
        framing_max = max(length_max, _AUTH_LINE_MAX_OCTETS) if self._mechanisms() else length_max
        while (line := self._lines.next(framing_max)) is None:
            await self._flush()
            if self._lines.skipped_octets > _OVERLONG_MAX_OCTETS:
                self._farewell = reply.LINE_TOO_LONG
            if self._going:
                self._farewell = reply.CLOSING
            if self._farewell:
                return None
            self._resting = True
            block = await self._reader.read(READ_OCTETS)
            self._resting = False
            if not block:
                return None
            self._lines.feed(block)
        return line

    async def _obey(self, line: bytes | Fault) -> None:
        """Answer one line."""
        command = _FAULTY_LINES[line] if isinstance(line, Fault) else commands.split(line)
        if isinstance(command, Reply):
            self._say(command)
            return
        verb, argument = command
        obey = self.verbs.get(verb)
        if not self.facts.tls and verb not in _BEFORE_TLS:
            self._say(reply.TLS_REQUIRED)
        elif obey is None:
            self._say(reply.UNKNOWN_COMMAND)
        elif isinstance(line, bytes) and len(line) + 2 > self._house.limits.smtp_line_max_octets and verb != "AUTH":
            self._say(reply.LINE_TOO_LONG)
        else:
            await self._run(verb, obey, argument)

    async def _run(self, verb: str, obey: Verb, argument: str) -> None:
        self._commands += 1
        if self._commands > self._house.limits.smtp_commands_max:
            self._farewell = reply.TOO_MANY_COMMANDS
            return
        self._reset_timeout()
        began = time.perf_counter()
        try:
            answer = await obey(self, argument)
        except ConnectionError:
            raise
        except Exception as error:  # noqa: BLE001  # The door's map.
            answer = self._incident(error)
        if answer:
            self._say(answer)
        self._house.metrics.command(self.facts.listener, verb, time.perf_counter() - began)

    def _say(self, answer: Reply) -> None:
        """Queue an answer; answers to pipelined commands go out together. 221 and 421 close.

        What a working client never causes counts as an error; a client that does little else is sent away.
        """
        if answer.code in _FAREWELLS:
            self._farewell = answer
            return
        self._out.append(answer.encode())
        self._errors += answer.code in _FAULTS
        if self._errors > self._house.limits.smtp_errors_max:
            self._farewell = reply.TOO_MANY_ERRORS

    async def _flush(self) -> None:
        if self._out:
            self._writer.write(b"".join(self._out))
            self._out.clear()
            await self._writer.drain()

    async def handle_exception(self, error: Exception) -> str:
        """Write an incident down; the peer only learns that it may try again."""
        answer = self._incident(error)
        return f"{answer.code} {answer.enhanced} {answer.text}"

    def _incident(self, error: Exception) -> Reply:
        number = incident_number()
        known = isinstance(error, Unavailable)
        _log.error(
            "smtp.incident",
            incident=number,
            session=self.facts.id,
            transaction=self.transaction.id if self.transaction else None,
            kind=type(error).__name__,
            reason=str(error) if known else None,
            exc_info=None if known else error,
        )
        return reply.TEMPORARY_FAULT

    # Greetings and TLS ---------------------------------------------------------------------------------------

    async def _hello(self, argument: str) -> Reply:
        return self._greet(argument, extended=False)

    async def _extended_hello(self, argument: str) -> Reply:
        return self._greet(argument, extended=True)

    def _greet(self, argument: str, *, extended: bool) -> Reply:
        name = commands.parse_hello(argument)
        if isinstance(name, Reply):
            return name
        self._end_transaction("reset")
        self.facts = replace(self.facts, helo=name, extended=extended)
        return reply.hello(self._house.hostname, self._extensions() if extended else ())

    def _extensions(self) -> list[str]:
        size_max = self._house.limits.message_max_octets
        extensions = ["PIPELINING", f"SIZE {size_max}", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES", "DSN"]
        if not self.facts.tls:
            extensions.append("STARTTLS")
        elif mechanisms := self._mechanisms():
            extensions.append("AUTH " + " ".join(mechanisms))
        return extensions

    def _mechanisms(self) -> tuple[str, ...]:
        """Return how this client may sign in."""
        return self._house.door.mechanisms if self.facts.mechanisms is None else self.facts.mechanisms

    async def _starttls(self, argument: str) -> Reply | None:
        """Change to TLS; whatever was known or sent before is forgotten (RFC 3207 §4.2)."""
        if argument or self.facts.tls:
            return reply.BAD_ARGUMENT if argument else reply.BAD_SEQUENCE
        self._say(reply.START_TLS)
        await self._flush()
        await self._start_tls()
        return None

    async def _start_tls(self) -> None:
        # No await between forgetting and start_tls, which stops reading before it first waits.
        dropped = self._lines.clear() + len(self._reader._buffer)  # type: ignore[attr-defined]
        self._reader._buffer.clear()  # type: ignore[attr-defined]
        if dropped:
            _log.warning("smtp.octets_before_tls", session=self.facts.id, ip=self.facts.ip, octets=dropped)
        self._reset_timeout(2 * _BEFORE_TLS_TIMEOUT_S)
        self._shaking_hands = True
        # The loop cuts a connection whose handshake fails before the peer is told why: we tell it ourselves.
        spare = os.dup(self._writer.get_extra_info("socket").fileno())
        try:
            transport = await self.loop.start_tls(
                self._writer.transport,
                Decrypted(self, self._house.decrypted),
                self._house.tls_context(),
                server_side=True,
                ssl_handshake_timeout=min(_BEFORE_TLS_TIMEOUT_S, self._house.limits.smtp_timeout_s),
            )
            if transport is None:
                raise ConnectionResetError  # The client left in the middle of the handshake.
        except OSError as error:  # ssl.SSLError is one; a timeout is a ConnectionAbortedError.
            with contextlib.suppress(OSError):
                os.write(spare, alert_of(error))
            await self._insecure(error)
            raise ConnectionAbortedError from error
        except asyncio.CancelledError:
            self.connection_lost(None)
            raise
        finally:
            self._shaking_hands = False
            os.close(spare)
        self._adopt(transport)
        await self._secure(transport.get_extra_info("ssl_object"))

    async def _insecure(self, error: OSError) -> None:
        reason = getattr(error, "verify_message", None) or getattr(error, "reason", None) or type(error).__name__
        _log.warning("smtp.tls_failed", session=self.facts.id, ip=self.facts.ip, reason=str(reason))
        self._outcome = "tls-failed"
        try:
            await self._house.door.insecure(self.facts, str(reason))
        except Exception as failure:  # noqa: BLE001  # The door's map: the books are closed whatever happens.
            self._incident(failure)
        finally:
            # The TLS layer does not tell a protocol that was never connected through it.
            self.connection_lost(error)

    def _adopt(self, transport: asyncio.Transport) -> None:
        self.transport = self._transport = transport
        self._reader._transport = transport  # type: ignore[attr-defined]
        self._writer._transport = transport  # type: ignore[attr-defined]
        self._over_ssl = True

    async def _secure(self, end: object) -> None:
        self._end_transaction("reset")
        self._errors = self._commands = 0
        facts = Session(self.facts.id, self.facts.listener, self.facts.ip, tls=True)
        secured = await self._house.door.secured(facts, end)
        if isinstance(secured, Reply):
            self.facts, self._farewell, self._outcome = facts, secured, "refused"
        else:
            self.facts = secured
        self._reset_timeout()

    def _end_transaction(self, outcome: str, answer: Reply | None = None) -> None:
        """Forget a transaction that came to no letter."""
        transaction, self.transaction = self.transaction, None
        if transaction:
            self._canonical(transaction, outcome, answer, 0)

    def _canonical(self, transaction: Transaction, outcome: str, answer: Reply | None, octets: int) -> None:
        facts = self.facts
        _log.info(
            "smtp.transaction",
            session=facts.id,
            transaction=transaction.id,
            listener=str(facts.listener),
            ip=facts.ip,
            peer=facts.peer.common_name if facts.peer else None,
            account=facts.account.id if facts.account else None,
            outcome=outcome,
            code=answer.code if answer else None,
            rule=transaction.rule or None,
            receipt=transaction.receipt or None,
            recipients=len(transaction.recipients),
            refused=transaction.refused,
            octets=octets,
            seconds=round((self._house.clock() - transaction.began_at).total_seconds(), 3),
        )

    # The rest ------------------------------------------------------------------------------------------------

    async def _rset(self, argument: str) -> Reply:
        if argument:
            return reply.BAD_ARGUMENT
        self._end_transaction("reset")
        return reply.OK

    async def _noop(self, argument: str) -> Reply:
        return reply.OK

    async def _quit(self, argument: str) -> Reply:
        return reply.BAD_ARGUMENT if argument else reply.BYE

    async def _vrfy(self, argument: str) -> Reply:
        return reply.CANNOT_VERIFY if argument else reply.BAD_ARGUMENT

    async def _expn(self, argument: str) -> Reply:
        return reply.NOT_IMPLEMENTED

    async def _help(self, argument: str) -> Reply:
        return reply.HELP

    verbs: ClassVar[Mapping[str, Verb]] = {
        "HELO": _hello,
        "EHLO": _extended_hello,
        "STARTTLS": _starttls,
        "RSET": _rset,
        "NOOP": _noop,
        "QUIT": _quit,
        "VRFY": _vrfy,
        "EXPN": _expn,
        "HELP": _help,
    }
