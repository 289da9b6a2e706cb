"""CATENATE (RFC 4469): letters put together from octets that come with the command and letters that are here.

What is read of other letters counts in the process's memory like a literal on its way in, and all that comes with one
command is no larger than one letter may be. What is read is marked as seen by nobody.
"""

from __future__ import annotations

import asyncio
from typing import Final

from mss.imap import commands as c
from mss.imap import fetch, units, urls
from mss.imap.places import Place
from mss.imap.session import Answer, Session
from mss.imap.urls import Reference
from mss.mail import mime
from mss.model.message import Message

TOO_BIG: Final = Answer("NO", "The letter would be too large", "TOOBIG")
_NO_MEMORY: Final = Answer("NO", "Too many letters at once, try again", "UNAVAILABLE")
_INDEX_IN_THREAD_OCTETS: Final = 256 * 1024
# Small parts of large letters cost what the letters do: so many times the size of a letter may be read for one.
_READ_TIMES: Final = 4

_Letter = tuple[Place, int, int]


class Assembly:
    """The putting together of one letter. The last letter read is kept: clients take several parts of one."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._most = session.house.limits.message_max_octets
        self._read_octets = 0
        self._last: tuple[int, int, Message] | None = None

    async def letter(self, pieces: tuple[bytes | c.Url, ...]) -> bytes | Answer:
        """Return the letter's octets, or say why it cannot be put together."""
        parts: list[bytes] = []
        size = 0
        for piece in pieces:
            part = await self._named(piece) if isinstance(piece, c.Url) else piece
            if isinstance(part, Answer):
                return part
            size += len(part)
            if size > self._most:
                return TOO_BIG
            parts.append(part)
        return b"".join(parts)

    async def _named(self, url: c.Url) -> bytes | Answer:
        """Return what a URL names."""
        reference = urls.read_url(url.octets)
        found = await self._found(reference) if reference is not None else None
        if reference is None or found is None:
            return _bad(url)
        part = await self._part(reference, found)
        return _bad(url) if part is None else part

    async def _found(self, reference: Reference) -> _Letter | None:
        """Return a letter's box, mailbox and size, None when there is no such letter for this account."""
        session = self._session
        if reference.mailbox is None:
            here = session.selected
            where = None if here is None else (here.place, here.view.mailbox.name)
        else:
            where = session.places.locate(reference.mailbox)
        if where is None:
            return None
        place, name = where
        now, validity = session.house.clock(), reference.uidvalidity
        row = await session.read(units.letter_by_name, place.box.id, name, validity, reference.uid, now)
        return None if row is None else (place, *row)

    async def _part(self, reference: Reference, found: _Letter) -> bytes | Answer | None:
        if reference.section is None:
            return await self._octets(reference, found, *_range(reference, found[2]))
        message = await self._message(reference, found)
        if message is None or isinstance(message, Answer):
            return message
        octets = fetch.section_octets(reference.section, message)
        return None if octets is None else await self._held(reference.cut(octets))

    async def _held(self, octets: bytes) -> bytes | Answer:
        return octets if await self._session.hold(len(octets)) else _NO_MEMORY

    async def _octets(self, reference: Reference, found: _Letter, start: int, end: int) -> bytes | Answer | None:
        """Read octets of a letter, as far as there is memory for them and this letter has not read too much."""
        self._read_octets += end - start
        if self._read_octets > _READ_TIMES * self._most:
            return TOO_BIG
        if not await self._session.hold(end - start):
            return _NO_MEMORY
        place, mailbox_id, _ = found
        now, wanted = self._session.house.clock(), ((reference.uid, start, end),)
        return (await self._session.read(units.octets, place.box.id, mailbox_id, wanted, now))[0]

    async def _message(self, reference: Reference, found: _Letter) -> Message | Answer | None:
        """Return a letter with its index."""
        if self._last is not None and self._last[:2] == (found[1], reference.uid):
            return self._last[2]
        if self._last is not None:
            self._session.let_go(len(self._last[2].octets))
            self._last = None
        octets = await self._octets(reference, found, 0, found[2])
        if octets is None or isinstance(octets, Answer):
            return octets
        limits = self._session.house.limits
        if len(octets) <= _INDEX_IN_THREAD_OCTETS:
            message = mime.index(octets, limits)
        else:
            message = await asyncio.to_thread(mime.index, octets, limits)
        self._last = found[1], reference.uid, message
        return message


def _bad(url: c.Url) -> Answer:
    return Answer("NO", "That URL names nothing here", f"BADURL {urls.told(url.octets)}")


def _range(reference: Reference, size: int) -> tuple[int, int]:
    start = min(reference.start, size)
    return start, size if reference.count is None else min(start + reference.count, size)
