"""What the house throws away by itself: digests of letters long past, sessions nobody came back to, old failures.

Each verb is one short unit: it drops so many rows at most and says how many went, so that its caller can go on while
there is more. It knows no schedule, and touches nothing that a person wrote or is owed.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from mss.model.audit import AuditEvent
from mss.policy import retention
from mss.store import Uow
from mss.store.chains import Head
from mss.store.collection import Place


def forget_arrivals(uow: Uow, limit: int, now: datetime) -> int:
    """Drop the digests by which a letter that comes again is recognised, once no sender tries it any more."""
    return uow.queue.forget_arrivals(retention.oldest_kept(retention.ARRIVALS, now), limit)


def end_idle_sessions(uow: Uow, idle_s: int, limit: int, now: datetime) -> int:
    """Drop web sessions that nobody can use any more; those that are too old are not seen again either."""
    return uow.accounts.drop_idle_sessions(now - timedelta(seconds=idle_s), limit)


def forget_failures(uow: Uow, window_s: int, limit: int, now: datetime) -> int:
    """Drop the sign-in failures that count no longer; `window_s` is the configured window of back-off."""
    kept_since = retention.oldest_kept(retention.LOGIN_FAILURES, now)
    return uow.accounts.forget_failures(min(kept_since, now - timedelta(seconds=window_s)), limit)


def forget_networks(uow: Uow, limit: int, now: datetime) -> int:
    """Drop the networks from which nobody signed in for long."""
    return uow.accounts.forget_networks(retention.oldest_kept(retention.LOGIN_NETWORKS, now), limit)


def seal_old_ends(uow: Uow, now: datetime) -> int:
    """Seal the journal's chains that nobody wrote to for a day: what is sealed can be trimmed when its time is over."""
    return uow.chains.seal_old_ends(now - timedelta(days=1), now)


def trim_journal(uow: Uow, keep: timedelta, keep_looks: timedelta, now: datetime) -> int:
    """Drop one segment of the journal that is over, and say so in the journal; returns how many records went."""
    gone = uow.chains.trim(now - keep, now - keep_looks, now)
    if gone is None:
        return 0
    head, count = gone
    facts: dict[str, str | int | bool | None] = {"writer": head.writer, "last": head.number, "records": count}
    facts["head"] = head.hash
    uow.journal.write(AuditEvent("system:upkeep", "journal.trim", "journal", facts=facts), now)
    return max(count, 1)


def heads(uow: Uow, now: datetime) -> tuple[Head, ...]:
    """Return the heads of the journal's chains, to be anchored outside."""
    return uow.chains.heads()


def look_for_unused(uow: Uow, after: Place, limit: int) -> tuple[bool, Place | None]:
    """Say whether boxes hold, behind a place, what they need no more and nobody noted; and the next place."""
    loose, following = uow.collection.loose_holdings(after, limit)
    return bool(loose), following


def look_for_unheld(uow: Uow, after: int, limit: int) -> tuple[bool, int | None]:
    """Say whether there are, behind a number, octets that no box holds and nobody noted; and the next number."""
    loose, following = uow.collection.loose_objects(after, limit)
    return bool(loose), following


def note_unused(uow: Uow, after: Place, limit: int, now: datetime) -> tuple[int, Place | None]:
    """Note, behind a place, what boxes hold and need no more; returns how many, and the next place."""
    return uow.collection.note_holdings(after, limit, now)


def let_unused_go(uow: Uow, limit: int, now: datetime) -> int:
    """Let boxes no longer hold what was noted and whose time is over."""
    return uow.collection.let_go(retention.oldest_kept(retention.EXPUNGED_LETTERS, now), limit)


def note_unheld(uow: Uow, after: int, limit: int, now: datetime) -> tuple[int, int | None]:
    """Note, behind a number, octets that no box holds; returns how many, and the next number."""
    return uow.collection.note_objects(after, limit, now)
