"""A service that waits for its unit of work, and how its caller hears what became of it.

A caller may have gone away meanwhile: its unit is committed or rolled back all the same.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from mss.errors import Unavailable
from mss.model.audit import AuditEvent
from mss.store.objects import Staged
from mss.store.unit import Uow
from mss.store.wakeup import Wake


@dataclass(slots=True, eq=False)
class Work:
    """A service waiting for its unit, and the future of its caller.

    `staged` are the octets written aside for it; `written` names the files that the unit wrote itself,
    `named` those that rows of its own name.
    `tell` gets the records that the unit wrote into the journal, once they are on disk, in the caller's loop.
    """

    call: Callable[[Uow], Any]
    staged: Sequence[Staged]
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Any]
    tell: Callable[[list[AuditEvent]], None] | None = None
    result: Any = None
    error: Exception | None = None
    wakes: set[Wake] = field(default_factory=set)
    written: set[str] = field(default_factory=set)
    named: set[str] = field(default_factory=set)
    noted: list[AuditEvent] = field(default_factory=list)
    # How long the service ran, without its commit.
    seconds: float = 0.0
    # Whoever takes it decides: the writer that begins the unit, or the caller that waited too long.
    _chance: list[None] = field(default_factory=lambda: [None])

    @property
    def name(self) -> str:
        """The service's name: a word of our code, never a value."""
        service = self.call.args[0] if isinstance(self.call, partial) else self.call
        return getattr(service, "__qualname__", type(service).__name__)

    def take(self) -> bool:
        """Take the one chance to run this unit, from any thread; False when it is taken."""
        try:
            self._chance.pop()
        except IndexError:
            return False
        return True

    def give_up(self) -> None:
        """Answer Unavailable to the caller, unless the unit has begun; it will not begin any more."""
        if not self.future.done() and self.take():
            self.future.set_exception(Unavailable("the store was busy for too long"))

    def run(self, uow: Uow) -> None:
        """Run the service; what it gives counts only once the unit is committed."""
        began = time.perf_counter()
        try:
            self.result = self.call(uow)
            self.wakes, self.noted, self.named = uow.hints, uow.noted, uow.named
        finally:
            self.written = uow.written
            self.seconds = time.perf_counter() - began

    def failed(self, error: Exception) -> None:
        """Take note that nothing of the unit is kept."""
        self.error, self.wakes, self.noted = error, set(), []


def answer(works: Iterable[Work]) -> None:
    """Tell all callers, each in its own loop."""
    loops: dict[asyncio.AbstractEventLoop, list[Work]] = {}
    for work in works:
        loops.setdefault(work.loop, []).append(work)
    for loop, some in loops.items():
        with contextlib.suppress(RuntimeError):  # The loop is closed: nobody waits any more.
            loop.call_soon_threadsafe(_settle, some)


def _settle(works: list[Work]) -> None:
    for work in works:
        if work.tell is not None and work.noted:
            work.tell(work.noted)
        if work.future.done():
            continue
        if work.error is not None:
            work.future.set_exception(work.error)
        else:
            work.future.set_result(work.result)
