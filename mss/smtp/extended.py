"""The verbs and keywords that came after RFC 5321: CHUNKING (RFC 3030) and REQUIRETLS (RFC 8689). Both need TLS.

It decides nothing about letters: a `Door` does. What a chunk is stands in `chunking`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Final

from mss.smtp import chunking, reply
from mss.smtp.chunking import Chunk, ChunkReader
from mss.smtp.esmtp import Verb
from mss.smtp.reply import Reply
from mss.smtp.session import Transaction
from mss.smtp.spool import Incoming
from mss.smtp.verbs import Esmtp

_KEYWORDS: Final = ("CHUNKING", "REQUIRETLS")


class Extended(Esmtp):
    """One connection that takes letters in chunks, too."""

    # What came of the transaction's letter by BDAT.
    _incoming: Incoming | None = None

    def _extensions(self) -> list[str]:
        extensions = super()._extensions()
        if self.facts.tls:
            extensions += _KEYWORDS
        return extensions

    async def _rcpt(self, argument: str) -> Reply:
        return reply.BAD_SEQUENCE if self._in_chunks() else await super()._rcpt(argument)

    async def _data(self, argument: str) -> Reply:
        return reply.BAD_SEQUENCE if self._in_chunks() else await super()._data(argument)

    def _in_chunks(self) -> bool:
        return self.transaction is not None and self.transaction.chunks is not None

    async def _bdat(self, argument: str) -> Reply | None:
        """Consume a chunk, then answer; the letter is judged after the last one."""
        chunk = chunking.parse_bdat(argument)
        if isinstance(chunk, Reply) or not self.facts.tls:
            # Nobody knows where the chunk ends: what follows must not be taken for commands.
            self._farewell = chunk if isinstance(chunk, Reply) else reply.TLS_REQUIRED
            return None
        transaction, refusal = self.transaction, self._bdat_refusal()
        if transaction is None or refusal:
            await self._consume(None, ChunkReader(0), chunk)
            return refusal
        reader, letter = self._chunked(transaction)
        await self._consume(letter, reader, chunk)
        return await self._after(transaction, letter, chunk)

    def _chunked(self, transaction: Transaction) -> tuple[ChunkReader, Incoming]:
        """Return the letter that comes in chunks; the first one begins it."""
        if transaction.chunks is None or self._incoming is None:
            transaction.chunks = ChunkReader(self._house.limits.message_max_octets)
            self._incoming = self._house.spool.begin(transaction.chunks, transaction.mail.size_octets)
        return transaction.chunks, self._incoming

    def _bdat_refusal(self) -> Reply | None:
        if not self.transaction:
            return reply.BAD_SEQUENCE
        if self.transaction.recipients:
            return None
        self._end_transaction("refused", reply.NO_RECIPIENTS)
        return reply.NO_RECIPIENTS

    async def _consume(self, letter: Incoming | None, reader: ChunkReader, chunk: Chunk) -> None:
        """Read a chunk to its end; without a letter nothing of it is kept."""
        reader.begin(chunk.size_octets)
        if letter is None:
            reader.discard()
        block, pace = self._lines.take(), self._new_pace()
        while True:
            fits = letter is None or letter.fits(min(len(block), reader.left_octets))
            rest = reader.feed(block)
            if letter is not None and not fits:
                await letter.spill()
            if rest is not None:
                self._lines.feed(rest)
                return
            await self._flush()
            block = await self._block(reader, pace)

    async def _after(self, transaction: Transaction, letter: Incoming, chunk: Chunk) -> Reply:
        """Answer a chunk that was read."""
        if letter.reader.discarded and not chunk.last:
            return await self._hand_over(transaction, letter)  # The letter is unfit already.
        if not chunk.last:
            if chunk.size_octets >= chunking.PROGRESS_MIN_OCTETS:
                self._commands -= 1
            return reply.CHUNK_OK
        answer = await self._hand_over(transaction, letter)
        if answer.positive:
            self._errors = self._commands = 0
        return answer

    async def _hand_over(self, transaction: Transaction, letter: Incoming) -> Reply:
        self._incoming = None  # From now on the judgement closes it, whatever becomes of the connection.
        return await self._deliver(transaction, letter)

    def _end_transaction(self, outcome: str, answer: Reply | None = None) -> None:
        if self._incoming:
            self._incoming.close()
            self._incoming = None
        super()._end_transaction(outcome, answer)

    verbs: ClassVar[Mapping[str, Verb]] = {**Esmtp.verbs, "RCPT": _rcpt, "DATA": _data, "BDAT": _bdat}
