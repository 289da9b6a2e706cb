"""How much one account may send in an hour, evened out: what is used comes back little by little, not at once.

Kept as one instant, when the budget will be whole again. It does not know where that is kept.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from mss.policy import rules
from mss.policy.decision import Decision, accept, defer

HOUR: Final = timedelta(hours=1)


def may_spend(whole_at: datetime | None, recipients: int, per_hour_max: int, now: datetime) -> Decision:
    """Say whether so many recipients fit into what is left; a whole budget takes one letter of any size."""
    used = _used(whole_at, now)
    facts = {"recipients": recipients, "per_hour_max": per_hour_max}
    if used and used + _cost(recipients, per_hour_max) > HOUR:
        return defer(rules.SENDER_OVER_BUDGET, **facts)
    return accept(rules.SENDER_WITHIN_BUDGET, **facts)


def spent(whole_at: datetime | None, recipients: int, per_hour_max: int, now: datetime) -> datetime:
    """Return when the budget will be whole again after so many recipients."""
    return now + _used(whole_at, now) + _cost(recipients, per_hour_max)


def _used(whole_at: datetime | None, now: datetime) -> timedelta:
    # Never more than an hour: a clock set back must not lock anybody out for days.
    return timedelta(0) if whole_at is None else min(max(whole_at - now, timedelta(0)), HOUR)


def _cost(recipients: int, per_hour_max: int) -> timedelta:
    return HOUR * recipients / per_hour_max
