"""One connection to another operator, asyncio around `dialog` (RFC 5321, RFC 3207, RFC 2920). Its rules:

- Nothing is said in clear but EHLO and STARTTLS, nothing heard in clear counts after it, and after TLS the peer must be
  the one that the caller pins.
- Every failure is a value: an `Outcome`, temporary unless the peer said a final no to this letter.
- Where the peer takes several commands at once, a whole transaction is opened in one go, the next letter's together
  with the end of the one before. One that was opened and is not wanted any more ends with the connection.

It neither chooses hosts nor repeats.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, cast

from mss.errors import Malformed
from mss.mail import scan
from mss.model.delivery import Outcome, OutcomeKind
from mss.smtp import dialog
from mss.smtp.dialog import Answer, Answers, Letter, Offer, Parcel

if TYPE_CHECKING:
    import ssl

    from mss.model.peer import Peer

# A letter may take its time on a slow line: a second for so many octets, beyond the usual patience.
_SLOWEST_OCTETS_PER_S: Final = 16 * 1024
_QUIT_TIMEOUT_S: Final = 5
_CHUNK_OCTETS: Final = 256 * 1024
_CLOSING: Final = 421

Pin = Callable[[object], str | None]
"""Given the SSL object, says why this peer must not have the letter; None when it may."""


@dataclass(frozen=True, slots=True)
class Secrets:
    """How we show ourselves and whom we trust: the context, what to do when a connection ends well, and the pin."""

    context: ssl.SSLContext
    remember: Callable[[object], None]
    pin: Pin


class _LostError(Exception):
    """The connection is of no use any more; `outcome` says why, to whoever waited for an answer."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.enhanced)
        self.outcome = outcome


class _Line(asyncio.Protocol):
    """The octets of one connection: commands go out, answers come in, in order."""

    def __init__(self, host: str, timeout_s: float) -> None:
        self.host, self.timeout_s = host, timeout_s
        self._transport: asyncio.Transport | None = None
        self._answers = Answers()
        self._waiting: deque[Answer] = deque()
        self._expected = 1  # The greeting.
        self._heard: asyncio.Future[None] | None = None
        self._writable: asyncio.Future[None] | None = None
        self._lost: Outcome | None = None
        self.early: Answer | None = None
        """What the peer said when nothing was asked."""

    # What the loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        try:
            found = self._answers.feed(data)
        except Malformed:
            self.fail(dialog.temporary("4.3.2", "The other operator does not speak SMTP", self.host))
            return
        self._expected -= len(found)
        self._waiting.extend(found)
        if self._expected < 0 and found[-1].code != _CLOSING:
            self.early = found[-1]
            self.fail(_unexpected(self.host))
        if found:
            _wake(self._heard)

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._lost = self._lost or _broken(exc, self.host)
        _wake(self._heard)
        _wake(self._writable)

    def pause_writing(self) -> None:
        self._writable = asyncio.get_running_loop().create_future()

    def resume_writing(self) -> None:
        _wake(self._writable)
        self._writable = None

    # What the dialogue needs.

    @property
    def alive(self) -> bool:
        """Whether something can still be said."""
        return self._transport is not None and self._lost is None and not self._transport.is_closing()

    def fail(self, outcome: Outcome, *, abort: bool = True) -> None:
        """End the connection; whoever waits for an answer is told why."""
        self._lost = self._lost or outcome
        if self._transport is not None and abort:
            self._transport.abort()
        _wake(self._heard)
        _wake(self._writable)

    def say(self, commands: Sequence[bytes], after: bytes = b"") -> None:
        """Write octets of a letter and commands in one go; each command will be answered."""
        self.write(after + b"\r\n".join((*commands, b"")))
        self._expected += len(commands)

    def write(self, octets: bytes) -> None:
        """Write octets that are no command."""
        if self._transport is None or self._lost is not None:
            raise _LostError(self._lost or _broken(None, self.host))
        self._transport.write(octets)

    def close(self) -> None:
        """Close in good order."""
        if self._transport is not None:
            self._transport.close()

    async def room(self) -> None:
        """Wait until the other side has taken enough of what was written."""
        if self._writable is not None:
            await self._writable

    async def answer(self, more_s: float = 0) -> Answer:
        """Return the next answer; a peer that says nothing for too long is cut off."""
        while not self._waiting:
            if self._lost is not None:
                raise _LostError(self._lost)
            self._heard = asyncio.get_running_loop().create_future()
            try:
                async with asyncio.timeout(self.timeout_s + more_s):
                    await self._heard
            except TimeoutError:
                self.fail(dialog.temporary("4.4.2", "The connection timed out", self.host))
            finally:
                self._heard = None
        return self._waiting.popleft()

    async def ask(self, command: bytes) -> Answer:
        """Say one command and return its answer."""
        self.say([command])
        return await self.answer()

    async def start_tls(self, context: ssl.SSLContext) -> object:
        """Change to TLS, nothing of before being left; returns the SSL object."""
        if self._transport is None or self._waiting or not self._answers.empty:
            raise _LostError(dialog.temporary("4.7.0", "The other operator spoke before its turn", self.host))
        loop = asyncio.get_running_loop()
        self._transport = await loop.start_tls(
            self._transport, self, context, server_hostname=self.host, ssl_handshake_timeout=self.timeout_s
        )
        return self._transport.get_extra_info("ssl_object") if self._transport else None


def _wake(future: asyncio.Future[None] | None) -> None:
    if future is not None and not future.done():
        future.set_result(None)


class Channel:
    """An open, verified connection, until `close`."""

    def __init__(self, line: _Line, peer: Offer, end: object, secrets: Secrets) -> None:
        self.peer = peer
        self.letters = 0
        """How many letters it has carried."""
        self.known: Peer | None = None
        """Who is at the other end, as its opener last knew."""
        self._line, self._end, self._secrets = line, end, secrets
        self._opened: Letter | None = None

    @property
    def alive(self) -> bool:
        """Whether another letter may be tried."""
        return self._line.alive

    @property
    def end(self) -> object:
        """The SSL object of the connection, for asking again who is there."""
        return self._end

    async def send(self, parcel: Parcel, upcoming: Parcel | None = None) -> tuple[Outcome, ...] | None:
        """Give one letter over; returns one outcome for each of its deliveries, in their order.

        `upcoming` is what will be sent next on this channel: a peer that takes commands in one go hears of it at once.
        None: the peer closed a connection that had carried letters, before it looked at this one.
        """
        try:
            return await self._send(parcel, upcoming)
        except _LostError as lost:
            self._line.fail(lost.outcome)
            return tuple(lost.outcome for _ in parcel.letter.deliveries)
        except Malformed:
            self._line.fail(_unexpected(self.peer.host))
            raise

    async def _send(self, parcel: Parcel, upcoming: Parcel | None) -> tuple[Outcome, ...] | None:
        try:
            answers = await self._open(parcel)
        except _LostError as lost:
            if self.letters:
                self._line.fail(lost.outcome)
                return None
            raise
        if answers[0].code == _CLOSING and self.letters:
            self._line.fail(self._outcome(answers[0]))
            return None
        refused = self._refused(answers, len(parcel.letter.deliveries))
        if all(refused) or answers[-1].code != 354:
            return await self._not_taken(refused, answers[-1])
        last = await self._content(parcel.octets, upcoming)
        self.letters += 1
        return dialog.settle(refused, last)

    async def _open(self, parcel: Parcel) -> list[Answer]:
        """Begin the transaction unless that was done before; returns the answers to MAIL, to each RCPT and to DATA."""
        commands = dialog.opening(parcel, self.peer)
        if self._opened is parcel.letter:
            self._opened = None
            return [await self._line.answer() for _ in commands]
        if self._opened is not None:
            raise _LostError(_unexpected(self.peer.host))
        if "PIPELINING" in self.peer:
            self._line.say(commands)
            return [await self._line.answer() for _ in commands]
        return await self._one_by_one(commands)

    async def _one_by_one(self, commands: Sequence[bytes]) -> list[Answer]:
        """Say MAIL, each RCPT and DATA in turn, as far as that makes sense; the last answer is DATA's or a no."""
        answers = [await self._line.ask(commands[0])]
        if not _yes(answers[0]):
            return answers * len(commands)
        answers += [await self._line.ask(command) for command in commands[1:-1]]
        if any(map(_yes, answers[1:])):
            return [*answers, await self._line.ask(commands[-1])]
        return [*answers, answers[-1]]

    def _refused(self, answers: Sequence[Answer], count: int) -> list[Outcome | None]:
        """Return why each recipient was refused; None for those that were not."""
        if not _yes(answers[0]):
            return [self._outcome(answers[0])] * count
        return [None if _yes(answer) else self._outcome(answer) for answer in answers[1:-1]]

    async def _not_taken(self, refused: list[Outcome | None], data: Answer) -> tuple[Outcome, ...]:
        """End a transaction in which nothing will be sent."""
        outcome = self._outcome(data)
        if outcome.kind is OutcomeKind.RELAYED or data.code == 354:
            outcome = _unexpected(self.peer.host)
        if data.code == 354:
            # The peer waits for a letter that nobody gets: it must not have an empty one.
            self._line.fail(outcome)
        elif self._line.alive:
            await self._reset()
        return dialog.settle(refused, outcome)

    async def _reset(self) -> None:
        # What became of the letter is known already; if this fails, the next one gets another connection.
        with suppress(_LostError):
            await self._line.ask(b"RSET")

    async def _content(self, octets: bytes, upcoming: Parcel | None) -> Outcome:
        """Send the letter to its dot, and what opens the next transaction; returns what became of the letter."""
        more_s = len(octets) / _SLOWEST_OCTETS_PER_S
        commands = [b"."]
        if upcoming is not None and "PIPELINING" in self.peer:
            commands += dialog.opening(upcoming, self.peer)
            self._opened = upcoming.letter
        try:
            if len(octets) <= _CHUNK_OCTETS:
                self._line.say(commands, scan.dot_stuff(octets))
            else:
                await self._pieces(octets, more_s)
                self._line.say(commands)
        except _LostError as lost:
            if self._line.early is None or self._line.early.code < 500:
                raise
            # The peer refused the letter before its end, as those do that find it too large on the way.
            self._line.fail(lost.outcome)
            return self._outcome(self._line.early)
        return self._outcome(await self._line.answer(more_s))

    async def _pieces(self, octets: bytes, more_s: float) -> None:
        try:
            async with asyncio.timeout(self._line.timeout_s + more_s):
                for piece in scan.dot_stuffed(octets, _CHUNK_OCTETS):
                    self._line.write(piece)
                    await self._line.room()
        except TimeoutError:
            raise _LostError(dialog.temporary("4.4.2", "The connection timed out", self.peer.host)) from None

    def _outcome(self, answer: Answer) -> Outcome:
        outcome = dialog.outcome(answer, self.peer.host, dsn="DSN" in self.peer)
        if answer.code == _CLOSING:
            self._line.fail(outcome)
        return outcome

    async def close(self) -> None:
        """Say goodbye, keep the TLS session for the next connection, and close."""
        line = self._line
        try:
            if line.alive and self._opened is None:
                line.say([b"QUIT"])
                await line.answer(_QUIT_TIMEOUT_S - line.timeout_s)
                self._secrets.remember(self._end)
                line.close()
        except _LostError:
            pass  # The letters have their outcomes; how the connection ends changes nothing.
        finally:
            line.fail(_broken(None, self.peer.host), abort=line.alive)


def _yes(answer: Answer) -> bool:
    return 200 <= answer.code <= 299


async def connect(host: str, port: int, secrets: Secrets, *, hostname: str, timeout_s: float) -> Channel | Outcome:
    """Open a connection by STARTTLS with our certificate and check who answers; an Outcome says why it failed."""
    line = _Line(host, timeout_s)
    try:
        async with asyncio.timeout(3 * timeout_s):
            await _reach(line, port)
            return await _open(line, secrets, hostname)
    except _LostError as lost:
        failed = lost.outcome
    except TimeoutError:
        failed = dialog.temporary("4.4.2", "The connection timed out", host)
    except (OSError, ValueError) as error:
        failed = _broken(error, host)
    line.fail(failed)
    return failed


async def _reach(line: _Line, port: int) -> None:
    try:
        async with asyncio.timeout(line.timeout_s):
            await asyncio.get_running_loop().create_connection(lambda: line, line.host, port)
    except TimeoutError:
        raise
    except OSError:
        raise _LostError(dialog.temporary("4.4.1", "The other operator cannot be reached", line.host)) from None


async def _open(line: _Line, secrets: Secrets, hostname: str) -> Channel | Outcome:
    _expect(await line.answer(), 220, line.host)
    hello = f"EHLO {hostname}".encode()
    if "STARTTLS" not in dialog.offer(line.host, _expect(await line.ask(hello), 250, line.host)):
        line.say([b"QUIT"])
        await line.answer()
        raise _LostError(dialog.temporary("4.7.4", "The other operator offers no encryption", line.host))
    _expect(await line.ask(b"STARTTLS"), 220, line.host)
    end = await line.start_tls(secrets.context)
    reason = secrets.pin(end)
    if reason:
        raise _LostError(not_pinned(reason, line.host))
    return Channel(line, dialog.offer(line.host, _expect(await line.ask(hello), 250, line.host)), end, secrets)


def not_pinned(reason: str, host: str) -> Outcome:
    """Return the outcome of a peer that must not have the letter: it waits."""
    return dialog.temporary("4.7.5", f"The other operator's certificate is not the listed one ({reason})", host)


def _expect(answer: Answer, code: int, host: str) -> Answer:
    """Return the answer when it has this code. What is said to a connection is no final word on a letter."""
    if answer.code == code:
        return answer
    told = dialog.outcome(answer, host)
    said = told.enhanced[:1] == "4" and told.enhanced != "4.0.0"
    raise _LostError(dialog.temporary(told.enhanced if said else "4.3.2", told.text, host))


def _broken(error: Exception | None, host: str) -> Outcome:
    """Return the outcome of a connection that ended under way: TLS that failed is told apart."""
    if getattr(error, "verify_message", None) or getattr(error, "library", None) == "SSL":
        why = getattr(error, "verify_message", None) or getattr(error, "reason", None) or "no reason given"
        return dialog.temporary("4.7.5", f"The encrypted connection could not be made ({why})", host)
    return dialog.temporary("4.4.2", "The connection broke", host)


def _unexpected(host: str) -> Outcome:
    return dialog.temporary("4.5.0", "The other operator answered out of turn", host)
