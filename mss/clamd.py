"""The antivirus: clamd, asked over its socket to look at octets (clamd(8): INSTREAM, VERSION).

It decides nothing, and no letter ever reaches clamd as a file. clamd must be told to alert on what it cannot look into:
AlertEncrypted and AlertExceedsMax; `mss check` finds out whether it was.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Final

from mss.config import KIB, AntivirusConfig
from mss.errors import Unavailable
from mss.model.screening import Screening, Verdict

OFF: Final = "off"
_PIECE_OCTETS: Final = 128 * KIB
_ANSWER_MAX_OCTETS: Final = 4096
_LENGTH: Final = struct.Struct("!L")
_UNOPENED: Final = {"heuristics.encrypted": Verdict.ENCRYPTED, "heuristics.limits.exceeded": Verdict.UNEXAMINED}


class Clamd:
    """One clamd, by `host:port` or the path of its socket; each question has a connection of its own."""

    def __init__(self, config: AntivirusConfig) -> None:
        self._place = config.clamd
        self._timeout_s = config.timeout_s
        self._turns = asyncio.Semaphore(config.scans_at_once)

    async def scan(self, octets: bytes) -> Screening:
        """Return what clamd says of the octets; Unavailable when it says nothing usable in time."""
        answer = await self._ask(b"zINSTREAM\0", octets)
        name, _, said = answer.removeprefix("stream: ").rpartition(" ")
        if said == "FOUND":
            verdicts = (verdict for start, verdict in _UNOPENED.items() if name.lower().startswith(start))
            return Screening(next(verdicts, Verdict.INFECTED), name)
        if answer == "stream: OK":
            return Screening(Verdict.CLEAN)
        raise Unavailable("the antivirus gave no verdict: see its log and StreamMaxLength")

    async def database_at(self) -> datetime | None:
        """Return when its signatures were made; None when it does not say: it uses none of the published ones."""
        words = (await self._ask(b"zVERSION\0")).split("/")
        try:
            return datetime.strptime(words[2], "%a %b %d %H:%M:%S %Y").replace(tzinfo=UTC)
        except (IndexError, ValueError):
            return None

    async def _ask(self, command: bytes, octets: bytes | None = None) -> str:
        try:
            async with self._turns, asyncio.timeout(self._timeout_s), self._connected() as (reader, writer):
                return await _talk(reader, writer, command, octets)
        except (OSError, ValueError, TimeoutError) as error:
            raise Unavailable("the antivirus does not answer") from error

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        if self._place.startswith("/"):
            reader, writer = await asyncio.open_unix_connection(self._place, limit=_ANSWER_MAX_OCTETS)
        else:
            host, _, port = self._place.rpartition(":")
            reader, writer = await asyncio.open_connection(host.strip("[]"), int(port), limit=_ANSWER_MAX_OCTETS)
        try:
            yield reader, writer
        finally:
            writer.transport.abort()


async def _talk(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, command: bytes, octets: bytes | None
) -> str:
    try:
        writer.write(command)
        if octets is not None:
            await _stream(writer, octets)
    except ConnectionError:
        # It answers and hangs up when it has enough; what it said may still be read.
        pass
    answer = await reader.read(_ANSWER_MAX_OCTETS)
    return answer.rstrip(b"\0\n").decode("ascii", "replace")


async def _stream(writer: asyncio.StreamWriter, octets: bytes) -> None:
    view = memoryview(octets)
    for start in range(0, len(view), _PIECE_OCTETS):
        piece = view[start : start + _PIECE_OCTETS]
        writer.write(_LENGTH.pack(len(piece)))
        writer.write(piece)
        await writer.drain()
    writer.write(_LENGTH.pack(0))
    await writer.drain()
