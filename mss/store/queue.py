"""Deliveries: claimed by lease, tried, ended; and the letters already seen, recognised when they come again."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, and_, bindparam, case, delete, func, insert, select, update

from mss.clock import from_us, to_us
from mss.model.address import Address, parse_domain
from mss.model.delivery import Attempt, Delivery, DeliveryState, Outcome, OutcomeKind
from mss.model.envelope import Notify, Ret
from mss.store.engine import claimable, locked
from mss.store.hot import Hot
from mss.store.tables import arrivals, attempts, deliveries

_ARRIVE = Hot.new(arrivals)
_ARRIVAL = select(arrivals.c.receipt).where(arrivals.c.digest == bindparam("digest"))
_TEXT_MAX = 1000


class Queue:
    """The queue inside one unit."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def recognise(self, digest: bytes, receipt: str, now: datetime) -> str | None:
        """Note a letter's digest; returns the earlier receipt when it was here before."""
        row = {"digest": digest, "receipt": receipt, "at": to_us(now)}
        if _ARRIVE.run(self._connection, row).rowcount:
            return None
        return self._connection.execute(_ARRIVAL, {"digest": digest}).scalar()

    def add(self, delivery: Delivery, holder_id: int) -> int:
        """Queue a delivery (its id is ignored); `holder_id` holds the octets (0: the operator)."""
        row = {**_values(delivery), "holder_id": holder_id, "lease_until": 0, "lease_owner": ""}
        return int(self._connection.execute(insert(deliveries).returning(deliveries.c.id), row).scalar_one())

    def claim(self, worker: str, limit: int, lease: timedelta, now: datetime) -> tuple[Delivery, ...]:
        """Lease due deliveries, oldest first; a lease that ran out is claimable again."""
        at = to_us(now)
        due = (
            select(deliveries.c.id)
            .where(
                and_(
                    deliveries.c.state == DeliveryState.DUE,
                    deliveries.c.next_attempt_at <= at,
                    deliveries.c.lease_until <= at,
                )
            )
            .order_by(deliveries.c.next_attempt_at, deliveries.c.id)
            .limit(limit)
        )
        ids = self._connection.execute(claimable(self._connection, due)).scalars().all()
        if not ids:
            return ()
        lease_values = {"lease_until": to_us(now + lease), "lease_owner": worker}
        statement = update(deliveries).where(deliveries.c.id.in_(ids)).values(lease_values).returning(deliveries)
        rows = self._connection.execute(statement).all()
        return tuple(_delivery(row) for row in sorted(rows, key=lambda row: (row.next_attempt_at, row.id)))

    def release(self, worker: str, delivery_ids: tuple[int, ...]) -> None:
        """Give leases back untried."""
        where = and_(deliveries.c.id.in_(delivery_ids), deliveries.c.lease_owner == worker)
        self._connection.execute(update(deliveries).where(where).values(lease_until=0, lease_owner=""))

    def leased(self, worker: str, delivery_id: int) -> Delivery | None:
        """Return a delivery while its lease is this worker's."""
        where = and_(
            deliveries.c.id == delivery_id,
            deliveries.c.lease_owner == worker,
            deliveries.c.state == DeliveryState.DUE,
        )
        row = self._connection.execute(locked(self._connection, select(deliveries).where(where))).first()
        return None if row is None else _delivery(row)

    def holding(self, delivery_id: int) -> tuple[int, int] | None:
        """Return (holder, object) of a delivery's octets."""
        query = select(deliveries.c.holder_id, deliveries.c.object_id).where(deliveries.c.id == delivery_id)
        row = self._connection.execute(query).first()
        return None if row is None else (row.holder_id, row.object_id)

    def record(self, delivery: Delivery, outcome: Outcome, now: datetime) -> None:
        """Write one attempt down."""
        row = {
            "delivery_id": delivery.id,
            "number": delivery.attempts + 1,
            "at": to_us(now),
            "kind": outcome.kind,
            "code": outcome.code,
            "enhanced": outcome.enhanced,
            "text": _plain(outcome.text, _TEXT_MAX),
            "remote": _plain(outcome.remote, 255),
        }
        self._connection.execute(insert(attempts), row)

    def settle(
        self,
        delivery: Delivery,
        outcome: Outcome,
        state: DeliveryState,
        next_attempt_at: datetime,
        *,
        delay_notified: bool,
    ) -> None:
        """Set what follows from an attempt and give the lease back."""
        values = {
            "state": state,
            "next_attempt_at": to_us(next_attempt_at),
            "attempts": delivery.attempts + 1,
            "delay_notified": delay_notified,
            "lease_until": 0,
            "lease_owner": "",
            "last_kind": outcome.kind,
            "last_code": outcome.code,
            "last_enhanced": outcome.enhanced,
            "last_text": _plain(outcome.text, _TEXT_MAX),
            "last_remote": _plain(outcome.remote, 255),
        }
        self._connection.execute(update(deliveries).where(deliveries.c.id == delivery.id).values(values))

    def next_due(self) -> datetime | None:
        """Return when the next delivery becomes due or claimable."""
        later = deliveries.c.lease_until > deliveries.c.next_attempt_at
        due_at = case((later, deliveries.c.lease_until), else_=deliveries.c.next_attempt_at)
        query = select(func.min(due_at)).where(deliveries.c.state == DeliveryState.DUE)
        due = self._connection.execute(query).scalar()
        return None if due is None else from_us(due)

    def list(self, states: frozenset[DeliveryState], limit: int) -> tuple[Delivery, ...]:
        """Return deliveries in some states, oldest first."""
        query = select(deliveries).where(deliveries.c.state.in_(sorted(states))).order_by(deliveries.c.id).limit(limit)
        return tuple(_delivery(row) for row in self._connection.execute(query))

    def by_id(self, delivery_id: int) -> Delivery | None:
        """Return a delivery."""
        row = self._connection.execute(select(deliveries).where(deliveries.c.id == delivery_id)).first()
        return None if row is None else _delivery(row)

    def attempts_of(self, delivery_id: int) -> tuple[Attempt, ...]:
        """Return the attempts of a delivery, in order."""
        query = select(attempts).where(attempts.c.delivery_id == delivery_id).order_by(attempts.c.number)
        return tuple(
            Attempt(from_us(row.at), Outcome(OutcomeKind(row.kind), row.code, row.enhanced, row.text, row.remote))
            for row in self._connection.execute(query)
        )

    def counts(self) -> dict[str, int]:
        """Return the number of deliveries by state."""
        query = select(deliveries.c.state, func.count().label("number")).group_by(deliveries.c.state)
        return {row.state: int(row.number) for row in self._connection.execute(query)}

    def oldest_due(self) -> datetime | None:
        """Return when the oldest delivery that is not at an end was queued."""
        query = select(func.min(deliveries.c.created_at)).where(deliveries.c.state == DeliveryState.DUE)
        oldest = self._connection.execute(query).scalar()
        return None if oldest is None else from_us(oldest)

    def forget_arrivals(self, before: datetime, limit: int) -> int:
        """Drop digests of letters that came before an instant, oldest first, so many at most; returns how many went."""
        old = select(arrivals.c.digest).where(arrivals.c.at < to_us(before)).order_by(arrivals.c.at).limit(limit)
        return self._connection.execute(delete(arrivals).where(arrivals.c.digest.in_(old))).rowcount


def _plain(text: str, most: int) -> str:
    """Return a stranger's text as both engines can keep it: no NUL, no lone surrogate, so long at most."""
    return text[:most].replace("\0", "").encode("utf-8", "replace").decode()


def _values(delivery: Delivery) -> dict[str, Any]:
    return {
        "object_id": delivery.object_id,
        "source_box_id": delivery.source_box_id,
        "destination": delivery.destination,
        "reverse_path": delivery.reverse_path.spec if delivery.reverse_path else None,
        "recipient": delivery.recipient.spec,
        "message_id": _plain(delivery.message_id, 998),
        "size": delivery.size_octets,
        "state": delivery.state,
        "created_at": to_us(delivery.created_at),
        "expires_at": to_us(delivery.expires_at),
        "next_attempt_at": to_us(delivery.next_attempt_at),
        "attempts": delivery.attempts,
        "notify": ",".join(sorted(delivery.notify)),
        "ret": delivery.ret,
        "orcpt": delivery.orcpt,
        "envid": delivery.envid,
        "smtputf8": delivery.smtputf8,
        "eight_bit": delivery.eight_bit,
        "delay_notified": delivery.delay_notified,
    }


def _delivery(row: Row[Any]) -> Delivery:
    last = None
    if row.last_kind is not None:
        last = Outcome(
            OutcomeKind(row.last_kind), row.last_code, row.last_enhanced, row.last_text, row.last_remote or ""
        )
    return Delivery(
        id=row.id,
        object_id=row.object_id,
        destination=parse_domain(row.destination),
        reverse_path=Address.parse(row.reverse_path) if row.reverse_path else None,
        recipient=Address.parse(row.recipient),
        message_id=row.message_id,
        size_octets=row.size,
        created_at=from_us(row.created_at),
        expires_at=from_us(row.expires_at),
        next_attempt_at=from_us(row.next_attempt_at),
        attempts=row.attempts,
        state=DeliveryState(row.state),
        source_box_id=row.source_box_id,
        notify=frozenset(Notify(value) for value in row.notify.split(",") if value),
        ret=Ret(row.ret) if row.ret else None,
        orcpt=row.orcpt,
        envid=row.envid,
        smtputf8=row.smtputf8,
        eight_bit=row.eight_bit,
        last_outcome=last,
        delay_notified=row.delay_notified,
    )
