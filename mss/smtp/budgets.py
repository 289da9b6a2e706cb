"""How much one peer, or one sender, may ask of us in a time: letters, and answers about boxes that are not there.

Pure but for its memory: the caller gives the clock. It decides nothing else about letters. Each worker counts by
itself, so with n workers a peer gets up to n times as much; what is over is deferred, never refused.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from datetime import datetime
from typing import Final

from mss.config import Limits
from mss.policy import rules
from mss.policy.decision import Decision, defer

_KEYS_MAX: Final = 10_000
# What tells a peer whether somebody has a box here.
_REVEALING: Final = frozenset(
    {rules.RECIPIENT_UNKNOWN, rules.PATIENT_UNKNOWN, rules.PATIENT_OPPOSED, rules.PATIENT_CLOSED, rules.BOX_CLOSED}
)


class Buckets:
    """Token buckets by key: a full one holds `capacity`, an empty one is full again after `period_s`.

    At most `keys_max` are remembered; one that was not seen for longest is forgotten, and full.
    """

    def __init__(self, capacity: int, period_s: float, keys_max: int = _KEYS_MAX) -> None:
        self._capacity = float(capacity)
        self._per_s = capacity / period_s
        self._keys_max = keys_max
        self._levels: OrderedDict[Hashable, tuple[float, float]] = OrderedDict()

    def level(self, key: Hashable, now_s: float) -> float:
        """Return how many tokens are there."""
        known = self._levels.get(key)
        if known is None:
            return self._capacity
        level, at_s = known
        if now_s > at_s:  # A clock that was set back fills nothing and empties nothing.
            level += (now_s - at_s) * self._per_s
        return level if level < self._capacity else self._capacity

    def take(self, key: Hashable, now_s: float) -> bool:
        """Take a token; False when none is there."""
        level = self.level(key, now_s)
        if level < 1:
            return False
        self._levels[key] = (level - 1, now_s)
        self._levels.move_to_end(key)
        if len(self._levels) > self._keys_max:
            self._levels.popitem(last=False)
        return True

    def __len__(self) -> int:
        return len(self._levels)


class Budgets:
    """The budgets of one listener, shared by its connections."""

    def __init__(self, limits: Limits) -> None:
        self._peers = Buckets(limits.peer_letters_per_minute_max, 60)
        self._senders = Buckets(limits.sender_letters_per_minute_max, 60)
        self._unknown = Buckets(limits.unknown_recipients_per_hour_max, 3600)

    def letter(self, peer: Hashable, sender: Hashable | None, now: datetime) -> Decision | None:
        """Count a letter that begins; a Decision defers it. Reports (no sender) count for their peer only."""
        now_s = now.timestamp()
        if self._peers.level(peer, now_s) < 1:
            return defer(rules.PEER_TOO_FAST)
        if sender is not None and not self._senders.take(sender, now_s):
            return defer(rules.SENDER_TOO_FAST)
        self._peers.take(peer, now_s)
        return None

    def recipient(self, peer: Hashable, now: datetime) -> Decision | None:
        """Say whether a peer may ask for another recipient: not while it has asked for too many unknown ones.

        Then it learns nothing about known ones either, or the difference would tell.
        """
        return None if self._unknown.level(peer, now.timestamp()) >= 1 else defer(rules.PEER_PROBING)

    def answered(self, peer: Hashable, decision: Decision, now: datetime) -> None:
        """Count an answer that says who has a box here, and who has none."""
        if not decision.accepted and decision.rule in _REVEALING:
            self._unknown.take(peer, now.timestamp())
