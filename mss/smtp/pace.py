"""How long to wait for the rest of a letter: a client may be slow, but not for ever (RFC 5321 §4.5.3.2). Pure."""

from __future__ import annotations


class Pace:
    """The pace of one letter: besides an idle time, all octets so far must have come at a least rate."""

    __slots__ = ("_began_s", "_idle_s", "_octets_per_s")

    def __init__(self, began_s: float, idle_s: float, octets_per_s: float) -> None:
        self._began_s, self._idle_s, self._octets_per_s = began_s, idle_s, octets_per_s

    def patience_s(self, octets: int, now_s: float) -> float:
        """Return how long to wait for more after so many octets; nothing or less when the client is too slow.

        At the least rate the patience never ends; below it, it does after the idle time and what the rate allows.
        """
        allowed_s = self._idle_s + octets / self._octets_per_s
        return min(self._idle_s, allowed_s - (now_s - self._began_s))
