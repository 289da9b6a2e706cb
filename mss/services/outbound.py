"""The queue: deliveries claimed by lease, their attempts, their ends."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from mss.config import RelayConfig
from mss.model.delivery import Attempt, Delivery, DeliveryState, Outcome
from mss.store import Uow


def claim(uow: Uow, worker: str, limit: int, lease_s: int, now: datetime) -> tuple[Delivery, ...]:
    """Lease up to `limit` due deliveries to this worker, oldest first; a lease that ran out is claimable again."""
    raise NotImplementedError


def octets(uow: Uow, delivery_id: int, now: datetime) -> bytes:
    """Return the letter of a delivery."""
    raise NotImplementedError


@dataclass(frozen=True, slots=True)
class Plan:
    """How attempts are repeated and what our reports say."""

    relay: RelayConfig
    hostname: str


def record(
    uow: Uow, worker: str, delivery_id: int, outcome: Outcome, plan: Plan, jitter: float, now: datetime
) -> DeliveryState:
    """Write down one attempt and what follows: end, next attempt, delay report, failure report, journal.

    A delivery whose lease another worker took meanwhile is left as it is. `jitter` is in [0, 1).
    """
    raise NotImplementedError


def next_due(uow: Uow, now: datetime) -> datetime | None:
    """Return when the next delivery becomes due; None when the queue is empty."""
    raise NotImplementedError


@dataclass(frozen=True, slots=True)
class QueueEntry:
    """A delivery with its attempts, for operators."""

    delivery: Delivery
    attempts: tuple[Attempt, ...]


def entries(uow: Uow, states: frozenset[DeliveryState], limit: int, now: datetime) -> tuple[QueueEntry, ...]:
    """Return queue entries, oldest first."""
    raise NotImplementedError


@dataclass(frozen=True, slots=True)
class QueueSummary:
    """Counts by state and the age of the oldest due delivery, in seconds."""

    counts: dict[str, int]
    oldest_s: float


def summary(uow: Uow, now: datetime) -> QueueSummary:
    """Return the queue's figures for metrics."""
    raise NotImplementedError
