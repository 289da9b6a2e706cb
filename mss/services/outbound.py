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


def claim(uow: Uow, worker: str, limit: int, lease_s: int, now: datetime) -> tuple[Delivery, ...]:
    """Lease up to `limit` due deliveries to this worker, oldest first; a lease that ran out is claimable again."""
    return uow.queue.claim(worker, limit, timedelta(seconds=lease_s), now)


def octets(uow: Uow, delivery_id: int, now: datetime) -> bytes:
    """Return the letter of a delivery."""
    holding = uow.queue.holding(delivery_id)
    if holding is None:
        raise Unavailable("the delivery is gone")
    return uow.objects.get(*holding)


@dataclass(frozen=True, slots=True)
class Plan:
    """How attempts are repeated, and who reports: our host name, hosted domains, limits of reading. `peer_speaks_dsn`:
    the next hop took over the NOTIFY wishes."""

    relay: RelayConfig
    hostname: str
    domains: Mapping[Domain, str] = field(default_factory=dict)
    peer_speaks_dsn: bool = False
    limits: Limits = Limits()


def record(
    uow: Uow, worker: str, delivery_id: int, outcome: Outcome, plan: Plan, jitter: float, now: datetime
) -> DeliveryState:
    """Write down one attempt and what follows: end, next attempt, delay report, failure report, journal.

    A delivery whose lease another worker took meanwhile is left as it is. `jitter` is in [0, 1).
    """
    delivery = uow.queue.leased(worker, delivery_id)
    if delivery is None:
        return DeliveryState.DUE
    uow.queue.record(delivery, outcome, now)
    state, again_at = _follow(delivery, outcome, plan.relay, jitter, now)
    expired = state is DeliveryState.EXPIRED
    kind = retry.report_due(
        delivery,
        outcome.kind,
        now,
        delay_notice_s=plan.relay.delay_notice_s,
        expired=expired,
        peer_speaks_dsn=plan.peer_speaks_dsn,
    )
    delayed = delivery.delay_notified or kind is retry.ReportKind.DELAYED
    uow.queue.settle(delivery, outcome, state, again_at, delay_notified=delayed)
    if kind is not None:
        report.about_delivery(
            uow,
            House(plan.hostname, plan.domains, plan.limits),
            delivery,
            outcome,
            kind,
            delivery.expires_at,
            now,
        )
    _journal(uow, delivery, outcome, state, now)
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


def next_due(uow: Uow, now: datetime) -> datetime | None:
    """Return when the next delivery becomes due; None when the queue is empty."""
    return uow.queue.next_due()


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
