"""When a delivery is tried again, what an answer means, and who is told (RFC 5321 §4.5.4, RFC 3461, RFC 3464).

It sends nothing and draws no lots: the caller gives the clock and the jitter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, assert_never

from mss.model.delivery import Delivery, OutcomeKind
from mss.model.envelope import Notify

# The longest share of a pause that jitter adds, so that letters which failed together do not return together.
JITTER_SHARE: Final = 0.1

# 5xx answers about our dialogue or our credentials, not about the letter: a bug or an expired certificate of ours must
# not bounce somebody's letter.
_OUR_FAULT: Final = frozenset({500, 502, 503, 504, 530, 534, 535, 538})


@dataclass(frozen=True, slots=True)
class Expired:
    """No further attempt: the letter's time is over since `at`."""

    at: datetime


def next_attempt(
    attempts: int, first_at: datetime, now: datetime, schedule: Sequence[int], expire_s: int, jitter: float
) -> datetime | Expired:
    """Return when a delivery is tried again after `attempts` tries, or that its time is over.

    `schedule` are pauses in seconds, the last one repeats; `jitter` in [0, 1) lengthens a pause by up to a tenth. The
    last try falls on the expiry itself. Without a schedule there is one try only.
    """
    expires_at = first_at + timedelta(seconds=expire_s)
    if now >= expires_at or not schedule:
        return Expired(min(expires_at, now))
    pause_s = schedule[min(max(attempts, 1), len(schedule)) - 1]
    return min(now + timedelta(seconds=pause_s * (1 + JITTER_SHARE * jitter)), expires_at)


def rest_s(failures: int, first_s: int, most_s: int, jitter: float) -> float:
    """Return for how long a destination that nobody reaches is left in peace after so many failures in a row: twice as
    long each time, and up to a tenth longer (`jitter` in [0, 1)), so that workers do not return together."""
    # Beyond some doublings the most is reached whatever it is; the bound keeps the number small.
    doubled = first_s << min(max(failures, 1) - 1, 20)
    return min(doubled, most_s) * (1 + JITTER_SHARE * jitter)


def classify(code: int, enhanced: str) -> OutcomeKind:
    """Say what a remote answer means; whatever is not clearly good or final is temporary.

    `code` 0: there was no answer. `enhanced` may be empty; a final code with a temporary enhanced code (or the other
    way round) is temporary.
    """
    if 200 <= code <= 299:
        return OutcomeKind.RELAYED
    if 500 <= code <= 599 and code not in _OUR_FAULT and enhanced[:1] in ("", "5"):
        return OutcomeKind.PERMANENT
    return OutcomeKind.TEMPORARY


class ReportKind(StrEnum):
    """The Action field of a report (RFC 3464 §2.3.3)."""

    FAILED = "failed"
    DELAYED = "delayed"
    DELIVERED = "delivered"
    RELAYED = "relayed"


def report_due(
    delivery: Delivery,
    outcome: OutcomeKind,
    now: datetime,
    *,
    delay_notice_s: int,
    expired: bool = False,
    peer_speaks_dsn: bool = False,
) -> ReportKind | None:
    """Say which report a sender is owed after an attempt: none about a report, none when NOTIFY=NEVER.

    `expired`: no further attempt follows a temporary outcome. `peer_speaks_dsn`: the next hop took over the
    NOTIFY wishes, so it reports success itself.
    """
    if delivery.reverse_path is None or Notify.NEVER in delivery.notify:
        return None
    wishes = delivery.notify or frozenset({Notify.FAILURE, Notify.DELAY})
    match outcome:
        case OutcomeKind.PERMANENT:
            return ReportKind.FAILED if Notify.FAILURE in wishes else None
        case OutcomeKind.TEMPORARY if expired:
            return ReportKind.FAILED if Notify.FAILURE in wishes else None
        case OutcomeKind.TEMPORARY:
            late = (now - delivery.created_at).total_seconds() >= delay_notice_s
            owed = late and not delivery.delay_notified and Notify.DELAY in wishes
            return ReportKind.DELAYED if owed else None
        case OutcomeKind.DELIVERED:
            return ReportKind.DELIVERED if Notify.SUCCESS in wishes else None
        case OutcomeKind.RELAYED:
            return ReportKind.RELAYED if Notify.SUCCESS in wishes and not peer_speaks_dsn else None
        case _ as never:
            assert_never(never)
