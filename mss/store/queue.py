"""Deliveries: claimed by lease, tried, ended; and the letters already seen, recognised when they come again.

A lease says whose a delivery is: what is written about a try counts only while the lease is its worker's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Row, and_, bindparam, case, delete, func, insert, or_, select, update

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
_ATTEMPT = Hot.insert(attempts)
_OPEN: Final = (DeliveryState.DUE.value, DeliveryState.HELD.value)
_D = deliveries.c


def _settle(*, ends: bool) -> Hot:
    """Make the statement after a try. A delivery that was held meanwhile stays held, unless the try was its end."""
    names = ["next_attempt_at", "attempts", "delay_notified", "lease_until", "lease_owner"]
    names += ["last_kind", "last_code", "last_enhanced", "last_text", "last_remote", *(["state"] if ends else [])]
    mine = and_(
        _D.id == bindparam("of_id"),
        _D.lease_owner == bindparam("of_worker"),
        _D.attempts == bindparam("of_attempts"),
        or_(_D.state == bindparam("of_due"), _D.state == bindparam("of_held")),
    )
    return Hot(update(deliveries).where(mine).values({name: bindparam(f"to_{name}") for name in names}))


_END, _AGAIN = _settle(ends=True), _settle(ends=False)
_ROUNDS_MAX: Final = 50


@dataclass(frozen=True, slots=True)
class Share:
    """How many deliveries a claim may bring for each destination: `left` names some, `most` is for all others."""

    most: int
    left: Mapping[str, int] = field(default_factory=dict)

    def of(self, destination: str) -> int:
        """Return how many there may be for one destination."""
        return self.left.get(destination, self.most)

    @property
    def closed(self) -> frozenset[str]:
        """The destinations that take none."""
        return frozenset(name for name, left in self.left.items() if left <= 0)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which deliveries are meant; what is empty is no condition. Those after `after_id` only: for one slice after
    another."""

    ids: tuple[int, ...] = ()
    states: frozenset[DeliveryState] = frozenset()
    destination: str = ""
    sender_domain: str = ""
    message_id: str = ""
    created_before: datetime | None = None
    created_after: datetime | None = None
    after_id: int = 0


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

    def claim(
        self, worker: str, limit: int, lease: timedelta, now: datetime, share: Share | None = None
    ) -> tuple[Delivery, ...]:
        """Lease due deliveries, oldest first, of each destination its share at most; a lease that ran out is claimable
        again."""
        due = and_(_D.state == DeliveryState.DUE, _D.next_attempt_at <= to_us(now), _D.lease_until <= to_us(now))
        if share is None:
            chosen = select(_D.id).where(due).order_by(_D.next_attempt_at, _D.id).limit(limit)
        else:
            chosen = select(_D.id).where(due, _D.id.in_(self._shared_out(due, limit, share)))
        ids = self._connection.execute(claimable(self._connection, chosen)).scalars().all()
        if not ids:
            return ()
        lease_values = {"lease_until": to_us(now + lease), "lease_owner": worker}
        statement = update(deliveries).where(_D.id.in_(ids)).values(lease_values).returning(deliveries)
        rows = self._connection.execute(statement).all()
        return tuple(_delivery(row) for row in sorted(rows, key=lambda row: (row.next_attempt_at, row.id)))

    def _shared_out(self, due: ColumnElement[bool], limit: int, share: Share) -> list[int]:
        """Return the oldest due deliveries, of each destination its share; a full destination hides none behind it."""
        chosen: dict[int, None] = {}
        taken: Counter[str] = Counter()
        closed = set(share.closed)
        for _ in range(_ROUNDS_MAX):
            query = select(_D.id, _D.destination).where(due, _D.destination.not_in(closed) if closed else due)
            rows = self._connection.execute(query.order_by(_D.next_attempt_at, _D.id).limit(limit)).all()
            full = set()
            for row in rows:
                if len(chosen) >= limit:
                    break
                if row.id in chosen:
                    continue
                if taken[row.destination] >= share.of(row.destination):
                    full.add(row.destination)
                    continue
                taken[row.destination] += 1
                chosen[row.id] = None
            if not full or len(rows) < limit or len(chosen) >= limit:
                break
            closed |= full
        return list(chosen)

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

    def octets_of(self, delivery_ids: Sequence[int]) -> dict[int, tuple[int, int]]:
        """Return (holder, object) of the octets of some deliveries, those that are there."""
        query = select(_D.id, _D.holder_id, _D.object_id).where(_D.id.in_(delivery_ids))
        return {row.id: (row.holder_id, row.object_id) for row in self._connection.execute(query)}

    def settle(
        self,
        worker: str,
        delivery: Delivery,
        outcome: Outcome,
        state: DeliveryState,
        next_attempt_at: datetime,
        now: datetime,
        *,
        delay_notified: bool,
    ) -> bool:
        """Write down one try of a delivery as it was claimed and what follows, and give the lease back.

        False, and nothing is written, when the lease is not this worker's any more.
        """
        said = {
            "kind": outcome.kind.value,
            "code": outcome.code,
            "enhanced": outcome.enhanced[:16],
            "text": _plain(outcome.text, _TEXT_MAX),
            "remote": _plain(outcome.remote, 255),
        }
        due, held = _OPEN
        after = {
            "state": state.value,
            "next_attempt_at": to_us(next_attempt_at),
            "attempts": delivery.attempts + 1,
            "delay_notified": delay_notified,
            "lease_until": 0,
            "lease_owner": "",
            **{f"last_{name}": value for name, value in said.items()},
        }
        mine = {"id": delivery.id, "worker": worker, "attempts": delivery.attempts, "due": due, "held": held}
        values = {f"of_{name}": value for name, value in mine.items()} | {f"to_{k}": v for k, v in after.items()}
        statement = _AGAIN if state is DeliveryState.DUE else _END
        if not statement.run(self._connection, values).rowcount:
            return False
        row = {"delivery_id": delivery.id, "number": delivery.attempts + 1, "at": to_us(now), **said}
        _ATTEMPT.run(self._connection, row)
        return True

    def next_due(self, now: datetime, closed: frozenset[str] = frozenset()) -> datetime | None:
        """Return when the next delivery becomes due or claimable, those for some destinations left out."""
        waiting = [_D.state == DeliveryState.DUE, *([_D.destination.not_in(closed)] if closed else [])]
        leased = case((_D.lease_until > _D.next_attempt_at, _D.lease_until), else_=_D.next_attempt_at)
        # Only those that are due already are looked at one by one; the first of the others stands in the index.
        past = select(func.min(leased)).where(*waiting, _D.next_attempt_at <= to_us(now))
        future = select(func.min(_D.next_attempt_at)).where(*waiting, _D.next_attempt_at > to_us(now))
        found = [self._connection.execute(query).scalar() for query in (past, future)]
        return min((from_us(due) for due in found if due is not None), default=None)

    # -- what operators ask and do ----------------------------------------------------------------------------------

    def find(self, wanted: Wanted, limit: int) -> tuple[Delivery, ...]:
        """Return the deliveries that are meant, oldest first."""
        query = select(deliveries).where(*_conditions(wanted)).order_by(_D.id).limit(limit)
        return tuple(_delivery(row) for row in self._connection.execute(query))

    def under_way(self, delivery_id: int, now: datetime) -> bool:
        """Whether a worker has the delivery now."""
        query = select(_D.id).where(_D.id == delivery_id, _D.lease_until > to_us(now))
        return self._connection.execute(query).first() is not None

    def move(self, delivery_id: int, state: DeliveryState, next_attempt_at: datetime | None) -> bool:
        """Put a delivery that is not at its end into another state; False when it is at its end, or unknown."""
        values: dict[str, Any] = {"state": state.value}
        if next_attempt_at is not None:
            values["next_attempt_at"] = to_us(next_attempt_at)
        where = and_(_D.id == delivery_id, _D.state.in_(_OPEN))
        return bool(self._connection.execute(update(deliveries).where(where).values(values)).rowcount)

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


def _conditions(wanted: Wanted) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = [_D.id > wanted.after_id] if wanted.after_id else []
    if wanted.ids:
        found.append(_D.id.in_(wanted.ids))
    if wanted.states:
        found.append(_D.state.in_(sorted(wanted.states)))
    if wanted.destination:
        found.append(_D.destination == wanted.destination)
    if wanted.sender_domain:
        found.append(_D.reverse_path.like(f"%@{_escaped(wanted.sender_domain)}", escape="\\"))
    if wanted.message_id:
        bare = wanted.message_id.strip("<>")
        found.append(or_(_D.message_id == bare, _D.message_id == f"<{bare}>"))
    if wanted.created_before is not None:
        found.append(_D.created_at <= to_us(wanted.created_before))
    if wanted.created_after is not None:
        found.append(_D.created_at >= to_us(wanted.created_after))
    return found


def _escaped(text: str) -> str:
    """Return a text that LIKE takes literally."""
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


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
        "require_tls": delivery.require_tls,
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
        require_tls=row.require_tls,
    )
