"""Wake-ups between nodes: PostgreSQL's LISTEN and NOTIFY, hints like all others, with a slow poll below.

- One notification for all that was committed meanwhile, from a short transaction of its own: a NOTIFY inside the unit
  would make all commits of the server wait for one another.
- It holds channel names and ids only, and who says it: nobody needs to hear himself.
- A connection that is lost is opened again; as hints were missed then, everybody here is woken.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from mss.log import get_logger
from mss.store.engine import open_telling

Wake = tuple[str, int]

_CHANNEL: Final = "mss"
# A payload holds 8000 octets at most; a wake-up takes less than 40.
_WAKES_MAX: Final = 180
_PENDING_MAX: Final = 20_000
_AGAIN_S: Final = 1.0
# A connection whose other end vanished without a word is asked whether it is still there.
_ASKED_EVERY_S: Final = 30.0
_LOOK_S: Final = 1.0
_CLOSE_S: Final = 3.0
_FIRST_S: Final = 5.0

_log = get_logger("nodes")


class Notices:
    """One process's ear and voice, each a thread with a connection of its own."""

    def __init__(self, url: str, name: str) -> None:
        self._engine = open_telling(url)
        self._name = name
        self._pending: set[Wake] = set()
        self._some = threading.Condition()
        self._closed = False
        self._farewell: list[Wake] | None = None
        self._listening = threading.Event()
        self._ear: threading.Thread | None = None
        self._voice: threading.Thread | None = None
        self._heard: Callable[[list[Wake] | None], None] = lambda _: None

    def start(self, heard: Callable[[list[Wake] | None], None]) -> None:
        """Begin to hear: `heard` gets the wake-ups of others, or None when some were missed; in a thread of ours."""
        self._heard = heard
        self._ear = threading.Thread(target=self._listen, name="store-ear", daemon=True)
        self._ear.start()

    def wait_until_listening(self) -> bool:
        """Wait until the others can be heard, for a moment at most: without them the poll has to do."""
        return self._listening.wait(_FIRST_S)

    def tell(self, wakes: Iterable[Wake]) -> None:
        """Tell the other nodes, soon; from any thread. Too many are left to their poll."""
        with self._some:
            if self._closed:
                return
            if len(self._pending) < _PENDING_MAX:
                self._pending.update(wakes)
            self._begin_to_speak()
            self._some.notify_all()

    def _begin_to_speak(self) -> None:
        if self._voice is None:
            self._voice = threading.Thread(target=self._speak, name="store-voice", daemon=True)
            self._voice.start()

    def close(self) -> None:
        """Say what is still to be said, and end both."""
        with self._some:
            if self._ear is not None:
                self._farewell = []
                self._begin_to_speak()
            self._closed = True
            self._some.notify_all()
        for thread in (self._voice, self._ear):
            if thread is not None:
                thread.join(_CLOSE_S)
        self._engine.dispose()

    # -- the voice -----------------------------------------------------------------------------------------------------

    def _speak(self) -> None:
        connection: Any = None
        while (wakes := self._next()) is not None:
            try:
                connection = connection or self._open()
                # What the ear of this very process hears last is an empty notice: it need not wait any longer.
                connection.execute("SELECT pg_notify(%s, said) FROM unnest(%s::text[]) AS said", self._said(wakes))
            except Exception as error:  # noqa: BLE001 - hints may be lost; the next ones get a new connection.
                _log.warning("nodes.not_told", kind=type(error).__name__)
                _close(connection)
                connection = None
                self._pause(_AGAIN_S)
        _close(connection)

    def _next(self) -> list[Wake] | None:
        """Wait for something to say; at the end say nothing once, then None."""
        with self._some:
            self._some.wait_for(lambda: self._pending or self._closed)
            if not self._pending:
                farewell, self._farewell = self._farewell, None
                return farewell
            wakes, self._pending = sorted(self._pending), set()
            return wakes

    def _said(self, wakes: list[Wake]) -> tuple[str, list[str]]:
        some = [wakes[at : at + _WAKES_MAX] for at in range(0, len(wakes), _WAKES_MAX)] or [[]]
        return _CHANNEL, [json.dumps([self._name, one], separators=(",", ":")) for one in some]

    # -- the ear -------------------------------------------------------------------------------------------------------

    def _listen(self) -> None:
        missed = False
        while not self._closed:
            try:
                with self._opened() as connection:
                    connection.execute(f"LISTEN {_CHANNEL}")
                    self._listening.set()
                    if missed:
                        self._heard(None)
                        _log.info("nodes.heard_again")
                    missed = True
                    self._hear(connection)
            except Exception as error:  # noqa: BLE001 - the thread's supervisor: an ear outlives its connections.
                if not self._closed:
                    _log.warning("nodes.not_heard", kind=type(error).__name__)
                    self._pause(_AGAIN_S)

    def _hear(self, connection: Any) -> None:
        asked = time.monotonic()
        while not self._closed:
            for notice in connection.notifies(timeout=_LOOK_S, stop_after=1):
                if wakes := self._read(notice.payload):
                    self._heard(wakes)
            if time.monotonic() - asked > _ASKED_EVERY_S:
                connection.execute("SELECT 1")
                asked = time.monotonic()

    def _read(self, payload: str) -> list[Wake]:
        """Return the wake-ups of another's notification; what is none is passed over, as a lost one would be."""
        try:
            name, wakes = json.loads(payload)
            return [] if name == self._name else [(str(channel), int(key)) for channel, key in wakes]
        except (ValueError, TypeError):
            return []

    def _pause(self, seconds: float) -> None:
        with self._some:
            self._some.wait_for(lambda: self._closed, seconds)

    @contextmanager
    def _opened(self) -> Iterator[Any]:
        connection = self._open()
        try:
            yield connection
        finally:
            _close(connection)

    def _open(self) -> Any:
        """Return the driver's own connection, taken out of the pool: it is ours to close."""
        pooled = self._engine.raw_connection()
        raw = pooled.driver_connection
        pooled.detach()
        return raw


def _close(connection: Any) -> None:
    if connection is not None:
        with contextlib.suppress(Exception):
            connection.close()
