"""IDLE (RFC 2177): the session waits for the client's DONE and for wake-ups of its box, with a slow poll as a net.

What NOTIFY asked for is told as well (RFC 5465 §4).
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Final

from mss.imap import commands as c
from mss.imap import responses
from mss.imap.session import Answer, Session, done
from mss.imap.stream import Gone
from mss.imap.wire import Frame

POLL_S: Final = 60
# A client behind a lost link is found out by writing to it.
_STILL_HERE_EVERY: Final = 4


async def idle(session: Session, _: c.Idle) -> Answer:
    """Tell news as they come until DONE."""
    session.stream.write(responses.go_ahead("Idling"))
    await session.stream.drain()
    pump = asyncio.create_task(_pump(session)) if session.selected is not None else None
    try:
        return await _until_done(session)
    finally:
        if pump is not None:
            pump.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await pump


async def _until_done(session: Session) -> Answer:
    deadline = session.deadline()
    await _news(session)
    while True:
        event = await session.stream.next(deadline)
        if isinstance(event, Frame):
            ended = event.text.upper() == b"DONE" and not event.literals
            return done() if ended else Answer("BAD", "Expected DONE")
        if event is not None:
            raise Gone("refused", "Expected DONE")
        session.check_closing()
        await session.refresh_if_old()
        await _news(session)


async def _news(session: Session) -> None:
    watch = session.watch
    if session.selected is not None and (watch is None or watch.hears_messages):
        await session.catch_up()
        await session.tell_news(expunges=True)
    if watch is not None:
        await watch.news()
    await session.stream.drain()


async def _pump(session: Session) -> None:
    """Poke the session at each wake-up, and every so often without one."""
    quiet = 0
    while True:
        if await session.here.subscription.wait(POLL_S):
            quiet = 0
        else:
            quiet += 1
            if quiet % _STILL_HERE_EVERY == 0:
                session.stream.write(responses.tagged("*", "OK", "Still here"))
        session.stream.poke()
