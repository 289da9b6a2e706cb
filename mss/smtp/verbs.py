"""The verbs of signing in and of letters, on top of the connection (RFC 5321 §4.1, RFC 3461, RFC 4954).

It decides nothing about letters: a `Door` does. A letter is read to its true end before anything is answered,
whatever is wrong with it, so that the next octet is a command again.
"""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import Mapping
from typing import ClassVar, Final

from mss.policy import rules
from mss.policy.decision import Decision, defer, reject
from mss.smtp import commands, reply
from mss.smtp.commands import Given
from mss.smtp.esmtp import READ_OCTETS, Connection, Verb
from mss.smtp.pace import Pace
from mss.smtp.reply import Challenged, Reply
from mss.smtp.session import LetterIn, Transaction, new_id
from mss.smtp.spool import Incoming
from mss.smtp.wire import Fault, LetterReader

_DATA_STEP_OCTETS: Final = 16 * 1024
_AT_ONCE_S: Final = 0.001
# A letter that is too large is read to its end, but not for ever.
_OVERRUN: Final = 4
_OVERRUN_MIN: Final = 16 * 1024 * 1024


class Esmtp(Connection):
    """One connection that can sign in and send letters."""

    # Signing in ----------------------------------------------------------------------------------------------

    async def _auth(self, argument: str) -> Reply:
        """Sign in (RFC 4954); each try counts as an error until one succeeds."""
        refusal = self._auth_refusal()
        if refusal:
            return refusal
        mechanism, _, initial = argument.partition(" ")
        given = await self._given(mechanism.upper(), initial.strip())
        if isinstance(given, Reply):
            return given
        await self._flush()
        signed = await self._house.door.sign_in(self.facts, mechanism.upper(), given)
        if isinstance(signed, Challenged):
            cancelled = await self._response("", signed.challenge) is reply.AUTH_CANCELLED
            return reply.AUTH_CANCELLED if cancelled else Reply(signed.code, signed.enhanced, signed.text)
        if isinstance(signed, Reply):
            return signed
        self.facts, self._errors = signed, 0
        return reply.SIGNED_IN

    def _auth_refusal(self) -> Reply | None:
        if not self._house.door.mechanisms:
            return reply.NOT_IMPLEMENTED
        if not self.facts.extended:
            return reply.HELLO_FIRST
        if self.facts.account:
            return reply.ALREADY_SIGNED_IN
        return reply.BAD_SEQUENCE if self.transaction else None

    async def _given(self, mechanism: str, initial: str) -> Given | Reply:
        if mechanism not in self._mechanisms():
            return reply.UNKNOWN_MECHANISM
        first = await self._response(initial, b"Username:" if mechanism == "LOGIN" else b"")
        if isinstance(first, Reply) or mechanism != "LOGIN":
            return first if isinstance(first, Reply) else commands.parse_sasl(mechanism, first)
        password = await self._response("", b"Password:")
        return password if isinstance(password, Reply) else commands.credentials(first, password)

    async def _response(self, initial: str, prompt: bytes) -> bytes | Reply:
        if initial:
            return commands.decode_response(initial)
        self._say(Reply(334, "", b64encode(prompt).decode()))
        line = await self._next_line()
        if line is None:
            raise ConnectionResetError
        if isinstance(line, Fault):
            return reply.LINE_TOO_LONG if line is Fault.TOO_LONG else reply.BAD_SYNTAX
        return commands.decode_response(line.decode("latin-1")) if line else b""

    # Letters -------------------------------------------------------------------------------------------------

    async def _mail(self, argument: str) -> Reply:
        """Begin a transaction."""
        if self.transaction or not self.facts.helo:
            return reply.BAD_SEQUENCE if self.transaction else reply.HELLO_FIRST
        if self._going:
            return reply.CLOSING
        size_max = self._house.limits.message_max_octets
        mail = commands.parse_mail(argument, extended=self.facts.extended, size_max=size_max)
        if isinstance(mail, Reply):
            return mail
        transaction = Transaction(new_id(), mail, self._house.clock())
        answer = await self._house.door.mail(self.facts, transaction)
        if answer.positive:
            self.transaction = transaction
        else:
            self._house.metrics.refused("mail", transaction.rule or "unnamed")
            self._canonical(transaction, "refused", answer, 0)
        return answer

    async def _rcpt(self, argument: str) -> Reply:
        """Add a recipient; the same one twice counts once."""
        transaction = self.transaction
        if not transaction:
            return reply.BAD_SEQUENCE
        recipient = commands.parse_rcpt(
            argument, extended=self.facts.extended, smtputf8=transaction.mail.smtputf8, home=self._house.home
        )
        if isinstance(recipient, Reply):
            return recipient
        if transaction.has(recipient.address):
            return reply.RECIPIENT_OK
        if len(transaction.recipients) >= self._house.limits.recipients_max:
            return reply.TOO_MANY_RECIPIENTS
        answer = await self._house.door.rcpt(self.facts, transaction, recipient)
        if answer.positive:
            transaction.recipients.append(recipient)
        else:
            transaction.refused += 1
            self._house.metrics.refused("rcpt", transaction.rule or "unnamed")
        return answer

    async def _data(self, argument: str) -> Reply:
        """Read a letter to its end, then answer."""
        transaction = self.transaction
        if argument or not transaction:
            return reply.BAD_ARGUMENT if argument else reply.BAD_SEQUENCE
        if not transaction.recipients:
            self._end_transaction("refused", reply.NO_RECIPIENTS)
            return reply.NO_RECIPIENTS
        self._say(reply.START_DATA)
        await self._flush()
        answer = await self._letter(transaction)
        if answer.positive:
            self._errors = self._commands = 0
        return answer

    async def _letter(self, transaction: Transaction) -> Reply:
        reader = LetterReader(self._house.limits.message_max_octets)
        letter, pace = self._house.spool.begin(reader, transaction.mail.size_octets), self._new_pace()
        try:
            block = self._lines.take()
            fits = letter.fits(len(block))
            while (rest := reader.feed(block)) is None:
                if not fits:
                    await letter.spill()
                block = await self._block(reader, pace)
                fits = letter.fits(len(block))
            self._lines.feed(rest)
        except BaseException:
            letter.close()
            raise
        return await self._deliver(transaction, letter)

    def _new_pace(self) -> Pace:
        limits = self._house.limits
        return Pace(self.loop.time(), limits.smtp_timeout_s, limits.smtp_slowest_octets_per_s)

    async def _block(self, reader: LetterIn, pace: Pace) -> bytes:
        """Return more of a letter. The clock starts anew only after real progress: drips do not hold a connection."""
        if reader.too_large and reader.wire_octets > max(
            _OVERRUN * self._house.limits.message_max_octets, _OVERRUN_MIN
        ):
            self.stop(reply.TOO_LARGE)
        block = b"" if self._stopped else await self._reader.read(READ_OCTETS)
        if not block:
            raise ConnectionResetError
        if reader.wire_octets // _DATA_STEP_OCTETS != (reader.wire_octets + len(block)) // _DATA_STEP_OCTETS:
            self._reset_timeout(max(pace.patience_s(reader.wire_octets, self.loop.time()), _AT_ONCE_S))
        return block

    async def _deliver(self, transaction: Transaction, letter: Incoming) -> Reply:
        """Give the letter to the door. Its unit of work is not cut short when the client goes away meanwhile."""
        assert self._timeout_handle is not None
        self._timeout_handle.cancel()
        task = self.loop.create_task(self._judge(transaction, letter))
        self._house.deliveries.add(task)
        task.add_done_callback(self._house.deliveries.discard)
        answer = await asyncio.shield(task)
        self._reset_timeout()
        return answer

    async def _judge(self, transaction: Transaction, letter: Incoming) -> Reply:
        self.transaction = None
        reader = letter.reader
        unfit = fault_of(reader)
        try:
            if unfit:
                answer = await self._house.door.unfit(self.facts, transaction, unfit)
            else:
                answer = await self._take(transaction, letter)
        except Exception as error:  # noqa: BLE001  # The door's map: temporary to the peer.
            answer = self._incident(error)
        finally:
            letter.close()
        outcome = "accepted" if answer.positive else "deferred" if answer.temporary else "refused"
        if not answer.positive:
            self._house.metrics.refused("data", transaction.rule or "incident")
        self._house.metrics.letter(self.facts.listener, outcome, reader.size_octets)
        self._canonical(transaction, outcome, answer, reader.size_octets)
        return answer

    async def _take(self, transaction: Transaction, letter: Incoming) -> Reply:
        if not letter.on_disk:
            return await self._house.door.data(self.facts, transaction, await letter.octets())
        async with self._house.spool.large:
            return await self._house.door.data(self.facts, transaction, await letter.octets())

    verbs: ClassVar[Mapping[str, Verb]] = {
        **Connection.verbs,
        "AUTH": _auth,
        "MAIL": _mail,
        "RCPT": _rcpt,
        "DATA": _data,
    }


def fault_of(reader: LetterIn) -> Decision | None:
    """Return what is wrong with a letter's octets."""
    if reader.too_large:
        return reject(rules.LETTER_TOO_LARGE, size_octets=reader.size_octets)
    if reader.bad:
        return reject(rules.LETTER_BARE_LINE_END, size_octets=reader.size_octets)
    return defer(rules.LETTER_TOO_MANY_AT_ONCE, size_octets=reader.size_octets) if reader.discarded else None
