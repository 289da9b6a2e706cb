"""The queue: deliveries claimed by lease, their attempts, their ends."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import assert_never

from mss.config import Limits, RelayConfig
from mss.errors import Unavailable
from mss.model.address import Domain
from mss.model.audit import AuditEvent
from mss.model.delivery import Attempt, Delivery, DeliveryState, Outcome, OutcomeKind
from mss.policy import retry
from mss.services import report
from mss.services.house import House
from mss.store import Uow
from mss.store.crypto import Damaged
from mss.store.queue import Share as Share
from mss.store.queue import Wanted as Wanted


def claim(
    uow: Uow, worker: str, limit: int, lease_s: int, now: datetime, share: Share | None = None
) -> tuple[Delivery, ...]:
    """Lease up to `limit` due deliveries to this worker, oldest first, of each destination its share at most; a lease
    that ran out is claimable again."""
    return uow.queue.claim(worker, limit, timedelta(seconds=lease_s), now, share)


def octets(uow: Uow, delivery_id: int, now: datetime) -> bytes:
    """Return the letter of a delivery."""
    holding = uow.queue.holding(delivery_id)
    if holding is None:
        raise Unavailable("the delivery is gone")
    return uow.objects.get(*holding)


def octets_of(uow: Uow, delivery_ids: tuple[int, ...], now: datetime) -> dict[int, bytes]:
    """Return the letters of some deliveries by their numbers; those that are gone or do not open are left out."""
    found: dict[int, bytes] = {}
    for delivery_id, holding in uow.queue.octets_of(delivery_ids).items():
        try:
            found[delivery_id] = uow.objects.get(*holding)
        except Damaged:
            continue
    return found


@dataclass(frozen=True, slots=True)
class Plan:
    """How attempts are repeated, and who reports: our host name, hosted domains, limits of reading."""

    relay: RelayConfig
    hostname: str
    domains: Mapping[Domain, str] = field(default_factory=dict)
    limits: Limits = Limits()


@dataclass(frozen=True, slots=True)
class Tried:
    """A delivery as it was claimed, and what one attempt came to; `jitter` is in [0, 1)."""

    delivery: Delivery
    outcome: Outcome
    jitter: float = 0.0


def record(
    uow: Uow, worker: str, delivery_id: int, outcome: Outcome, plan: Plan, jitter: float, now: datetime
) -> DeliveryState:
    """Write down one attempt of a delivery that is known by its number only (see `record_all`)."""
    delivery = uow.queue.leased(worker, delivery_id)
    return DeliveryState.DUE if delivery is None else _record(uow, worker, Tried(delivery, outcome, jitter), plan, now)


def record_all(uow: Uow, worker: str, tried: tuple[Tried, ...], plan: Plan, now: datetime) -> tuple[DeliveryState, ...]:
    """Write down attempts and what follows from each: end, next attempt, delay report, failure report, journal.

    A delivery whose lease another worker took meanwhile is left as it is.
    """
    return tuple(_record(uow, worker, one, plan, now) for one in tried)


def _record(uow: Uow, worker: str, tried: Tried, plan: Plan, now: datetime) -> DeliveryState:
    delivery, outcome = tried.delivery, tried.outcome
    state, again_at = _follow(delivery, outcome, plan.relay, tried.jitter, now)
    kind = retry.report_due(
        delivery,
        outcome.kind,
        now,
        delay_notice_s=plan.relay.delay_notice_s,
        expired=state is DeliveryState.EXPIRED,
        peer_speaks_dsn=outcome.dsn_handed_on,
    )
    delayed = delivery.delay_notified or kind is retry.ReportKind.DELAYED
    if not uow.queue.settle(worker, delivery, outcome, state, again_at, now, delay_notified=delayed):
        return DeliveryState.DUE
    _journal(uow, delivery, outcome, state, now)
    if kind is not None:
        house = House(plan.hostname, plan.domains, plan.limits)
        report.about_delivery(uow, house, delivery, outcome, kind, delivery.expires_at, now)
    return state


def _follow(
    delivery: Delivery, outcome: Outcome, relay: RelayConfig, jitter: float, now: datetime
) -> tuple[DeliveryState, datetime]:
    """Return the state after an attempt, and when the next one is due."""
    match outcome.kind:
        case OutcomeKind.DELIVERED | OutcomeKind.RELAYED:
            return DeliveryState.DELIVERED, now
        case OutcomeKind.PERMANENT:
            return DeliveryState.FAILED, now
        case OutcomeKind.TEMPORARY:
            expire_s = int((delivery.expires_at - delivery.created_at).total_seconds())
            attempts = delivery.attempts + 1
            again = retry.next_attempt(attempts, delivery.created_at, now, relay.retry_s, expire_s, jitter)
            return (DeliveryState.EXPIRED, now) if isinstance(again, retry.Expired) else (DeliveryState.DUE, again)
        case _ as never:
            assert_never(never)


def _journal(uow: Uow, delivery: Delivery, outcome: Outcome, state: DeliveryState, now: datetime) -> None:
    facts: dict[str, str | int | bool | None] = {
        "attempt": delivery.attempts + 1,
        "code": outcome.code,
        "enhanced": outcome.enhanced,
        "destination": delivery.destination,
        "letter": delivery.object_id,
        "state": state.value,
    }
    target = f"delivery:{delivery.id}"
    event = AuditEvent(
        "system:relay", "delivery.attempt", target, outcome.kind.value, "", delivery.source_box_id, facts
    )
    uow.journal.write(event, now)


def release(uow: Uow, worker: str, delivery_ids: tuple[int, ...], now: datetime) -> None:
    """Give leases back untried: the worker stops."""
    uow.queue.release(worker, delivery_ids)


def next_due(uow: Uow, now: datetime, closed: frozenset[str] = frozenset()) -> datetime | None:
    """Return when the next delivery becomes due, those for some destinations left out; None without any."""
    return uow.queue.next_due(now, closed)


@dataclass(frozen=True, slots=True)
class QueueEntry:
    """A delivery with its attempts, for operators."""

    delivery: Delivery
    attempts: tuple[Attempt, ...]


def entries(uow: Uow, states: frozenset[DeliveryState], limit: int, now: datetime) -> tuple[QueueEntry, ...]:
    """Return queue entries, oldest first."""
    return tuple(QueueEntry(one, uow.queue.attempts_of(one.id)) for one in uow.queue.list(states, limit))


@dataclass(frozen=True, slots=True)
class QueueSummary:
    """Counts by state and the age of the oldest due delivery, in seconds."""

    counts: dict[str, int]
    oldest_s: float


def summary(uow: Uow, now: datetime) -> QueueSummary:
    """Return the queue's figures for metrics."""
    oldest = uow.queue.oldest_due()
    return QueueSummary(uow.queue.counts(), (now - oldest).total_seconds() if oldest else 0.0)
