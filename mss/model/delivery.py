"""One letter on its way to one destination, and each try (RFC 3461, RFC 3463, RFC 3464)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from mss.model.address import Address, Domain
from mss.model.envelope import Notify, Ret


class DeliveryState(StrEnum):
    """`due`: waits for its next attempt; `held`: an operator stopped it; the others are ends."""

    DUE = "due"
    HELD = "held"
    DELIVERED = "delivered"
    FAILED = "failed"
    EXPIRED = "expired"


class OutcomeKind(StrEnum):
    """The closed set of what an attempt can come to."""

    DELIVERED = "delivered"
    RELAYED = "relayed"
    TEMPORARY = "temporary"
    PERMANENT = "permanent"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one recipient in one attempt; `text` may be shown to the sender.

    `dsn_handed_on`: the next hop took over the wishes for reports (RFC 3461 §5.2.2).
    """

    kind: OutcomeKind
    code: int
    enhanced: str
    text: str
    remote: str = ""
    dsn_handed_on: bool = False


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try, as the queue remembers it."""

    at: datetime
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Delivery:
    """One recipient of one letter for one destination domain.

    `source_box_id` is the local box that sent it (None: our own reports). `last_notified_at` is when a
    delay report went out. `attempts` counts the tries so far. `require_tls`: only to hosts that announce REQUIRETLS
    (RFC 8689).
    """

    id: int
    object_id: int
    destination: Domain
    reverse_path: Address | None
    recipient: Address
    message_id: str
    size_octets: int
    created_at: datetime
    expires_at: datetime
    next_attempt_at: datetime
    attempts: int = 0
    state: DeliveryState = DeliveryState.DUE
    source_box_id: int | None = None
    notify: frozenset[Notify] = frozenset()
    ret: Ret | None = None
    orcpt: str | None = None
    envid: str | None = None
    smtputf8: bool = False
    eight_bit: bool = False
    last_outcome: Outcome | None = None
    delay_notified: bool = False
    require_tls: bool = False
