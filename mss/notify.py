"""Tells holders outside of their boxes that there is a notice for them: by a program of the operator's.

The program knows whom to write to and how; it gets numbers and a word, nothing of a patient's health, no name and no
address; of notices about the box itself also the channel that its holder named for them. What it does not do in time,
or ends badly, is tried again, ever more rarely; then it is given up.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from mss.log import get_logger
from mss.store.lives import BoxCall
from mss.store.rights import HookCall

if TYPE_CHECKING:
    from mss.clock import Clock
    from mss.config import Config
    from mss.store import Store, Uow

_BATCH: Final = 20
_POLL_S: Final = 30
_FIRST_RETRY: Final = timedelta(minutes=1)
TRIES_MAX: Final = 10
_log = get_logger("notify")


def again_after(tries: int) -> timedelta | None:
    """Return how long to wait after so many tries; None: give up."""
    return None if tries >= TRIES_MAX else _FIRST_RETRY * 2 ** (tries - 1)


Call = HookCall | BoxCall


def _due(uow: Uow, now: datetime, until: datetime) -> tuple[Call, ...]:
    """Claim what is due of both kinds: about dossiers, about boxes."""
    return (*uow.rights.hooks_due(_BATCH, now, until), *uow.lives.hooks_due(_BATCH, now, until))


def _done(uow: Uow, call: Call, again_at: datetime | None) -> None:
    kept = uow.lives if isinstance(call, BoxCall) else uow.rights
    kept.hook_done(call.id, again_at)


class Notifier:
    """The loop of one process, from `run` to `stop`."""

    def __init__(self, store: Store, config: Config, clock: Clock) -> None:
        self._store, self._clock = store, clock
        self._command, self._timeout_s = config.notify.command, config.notify.timeout_s
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Call the program for what is due until `stop`."""
        while not self._stopping.is_set():
            try:
                more = await self.once() >= _BATCH
            except Exception as error:  # noqa: BLE001  # The loop's supervisor: the next round tries again.
                _log.error("notify.failed", kind=type(error).__name__)
                more = False
            if not more:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._stopping.wait(), _POLL_S)

    async def stop(self) -> None:
        """End the loop after the call under way."""
        self._stopping.set()

    async def once(self) -> int:
        """Make the calls that are due, a batch of each kind at most; returns how many there were."""
        now = self._clock()
        # Whoever dies over a call leaves it to the next, once its time has certainly passed.
        until = now + timedelta(seconds=2 * _BATCH * self._timeout_s)
        due = await self._store.write(_due, now, until)
        for call in due:
            done = await self._call(call)
            wait = None if done else again_after(call.tries)
            again_at = None if wait is None else self._clock() + wait
            await self._store.write(_done, call, again_at)
            _log.info("notify.called", notice=call.id, kind=str(call.kind), done=done, tries=call.tries)
        return len(due)

    async def _call(self, call: Call) -> bool:
        """Run the program once; whatever goes wrong with it is a failure, never a surprise."""
        told = {"notice": call.id, "box": call.box_id, "kind": str(call.kind), "at": call.at.isoformat()}
        if isinstance(call, BoxCall) and call.channel:
            told["channel"] = call.channel
        line = json.dumps(told).encode() + b"\n"
        pipe, nothing = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL
        try:
            program = await asyncio.create_subprocess_exec(*self._command, stdin=pipe, stdout=nothing, stderr=nothing)
        except OSError:
            return False
        try:
            async with asyncio.timeout(self._timeout_s):
                await program.communicate(line)
        except TimeoutError:
            program.kill()
            await program.wait()
        return program.returncode == 0
