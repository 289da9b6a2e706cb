"""What a postmaster asks and does about letters under way: find, hold, release, retry, bounce, and a letter's story.

It shows no content. What is done is written in the journal, in the unit that does it; the state is looked at there
again, so that whoever comes late changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final, assert_never

from mss.model.address import Address
from mss.model.audit import AuditEvent, AuditRecord
from mss.model.delivery import Delivery, DeliveryState, Outcome, OutcomeKind
from mss.policy import retry
from mss.services import report
from mss.services.house import House
from mss.services.marks import message_mark
from mss.services.outbound import QueueEntry, Wanted
from mss.store import Uow

_STORY_RECORDS_MAX: Final = 1000
_BOUNCED: Final = Outcome(OutcomeKind.PERMANENT, 0, report.STOPPED_HERE, "Stopped by the operator of the sender")


def find(uow: Uow, wanted: Wanted, limit: int, now: datetime) -> tuple[QueueEntry, ...]:
    """Return the deliveries that are meant, oldest first, with their attempts."""
    return tuple(QueueEntry(one, uow.queue.attempts_of(one.id)) for one in uow.queue.find(wanted, limit))


def numbers(uow: Uow, wanted: Wanted, limit: int, now: datetime) -> tuple[int, ...]:
    """Return the numbers of the deliveries that are meant, oldest first."""
    return tuple(one.id for one in uow.queue.find(wanted, limit))


class Action(StrEnum):
    """What can be done with a delivery that is not at its end."""

    HOLD = "hold"
    RELEASE = "release"
    RETRY = "retry"
    BOUNCE = "bounce"


class Result(StrEnum):
    """What became of it: done, or why nothing was."""

    DONE = "done"
    ALREADY = "already"
    UNKNOWN = "unknown"
    ENDED = "ended"
    HELD = "held"
    UNDER_WAY = "under way"


def act(
    uow: Uow, action: Action, delivery_ids: tuple[int, ...], house: House, actor: str, now: datetime
) -> dict[int, Result]:
    """Do one thing with each of some deliveries; a bounce sends the report that the sender is owed."""
    results = {one: _act(uow, action, one, house, actor, now) for one in delivery_ids}
    if action in (Action.RELEASE, Action.RETRY):
        uow.wake("queue")
        uow.wake("queue-retry")
    return results


def _act(uow: Uow, action: Action, delivery_id: int, house: House, actor: str, now: datetime) -> Result:
    delivery = uow.queue.by_id(delivery_id)
    if delivery is None:
        return Result.UNKNOWN
    if delivery.state not in (DeliveryState.DUE, DeliveryState.HELD):
        return Result.ENDED
    result = _ACTS[action](uow, delivery, house, now)
    if result is Result.DONE:
        event = AuditEvent(
            actor,
            f"delivery.{action.value}",
            f"delivery:{delivery_id}",
            subject_box_id=delivery.source_box_id,
            facts={"destination": delivery.destination, "letter": delivery.object_id},
            message=message_mark(uow, delivery.message_id),
        )
        uow.journal.write(event, now)
    return result


def _hold(uow: Uow, delivery: Delivery, _house: House, _now: datetime) -> Result:
    if delivery.state is DeliveryState.HELD:
        return Result.ALREADY
    return _moved(uow.queue.move(delivery.id, DeliveryState.HELD, None))


def _release(uow: Uow, delivery: Delivery, _house: House, now: datetime) -> Result:
    if delivery.state is DeliveryState.DUE:
        return Result.ALREADY
    return _moved(uow.queue.move(delivery.id, DeliveryState.DUE, now))


def _retry(uow: Uow, delivery: Delivery, _house: House, now: datetime) -> Result:
    if delivery.state is DeliveryState.HELD:
        return Result.HELD
    if uow.queue.under_way(delivery.id, now):
        return Result.UNDER_WAY
    return _moved(uow.queue.move(delivery.id, DeliveryState.DUE, now))


def _bounce(uow: Uow, delivery: Delivery, house: House, now: datetime) -> Result:
    # A worker may be giving it over at this moment: the sender must not be told that it failed.
    if uow.queue.under_way(delivery.id, now):
        return Result.UNDER_WAY
    if not uow.queue.move(delivery.id, DeliveryState.FAILED, None):
        return Result.ENDED
    kind = retry.report_due(delivery, OutcomeKind.PERMANENT, now, delay_notice_s=0)
    if kind is not None:
        report.about_delivery(uow, house, delivery, _BOUNCED, kind, None, now)
    return Result.DONE


def _moved(done: bool) -> Result:
    return Result.DONE if done else Result.ENDED


_ACTS: Final[Mapping[Action, Callable[[Uow, Delivery, House, datetime], Result]]] = {
    Action.HOLD: _hold,
    Action.RELEASE: _release,
    Action.RETRY: _retry,
    Action.BOUNCE: _bounce,
}


# -- a letter's story --------------------------------------------------------------------------------------------------


def _facts(found: Mapping[str, str | int | bool | None]) -> tuple[tuple[str, str | int | bool], ...]:
    return tuple((name, value) for name, value in found.items() if value is not None and value not in ("", False))


class Chapter(StrEnum):
    """What can happen to a letter."""

    RECEIVED = "received"
    REFUSED = "refused"
    FILED = "filed"
    QUEUED = "queued"
    TRIED = "tried"
    ENDED = "ended"
    REPORTED = "reported"
    HANDLED = "handled"


@dataclass(frozen=True, slots=True)
class Happening:
    """One thing that happened to a letter. `who` and `what` are identifiers and static words; `address` is whom the
    letter was for, where that is known in clear; `said` is what another system answered."""

    at: datetime
    chapter: Chapter
    who: str
    what: str
    rule: str = ""
    said: str = ""
    address: Address | None = None
    facts: tuple[tuple[str, str | int | bool], ...] = ()


def story(uow: Uow, message_id: str, now: datetime) -> tuple[Happening, ...]:
    """Return all that is known of a letter in order of time, from journal and queue; empty when it was never here."""
    mark = message_mark(uow, message_id)
    if mark is None:
        return ()
    found = [one for record in uow.journal.of_message(mark, _STORY_RECORDS_MAX) for one in _recorded(uow, record)]
    for delivery in uow.queue.find(Wanted(message_id=message_id), _STORY_RECORDS_MAX):
        found += _delivered(uow, delivery)
    # What happened in one unit has one time: the order of the chapters is the order of things then.
    order = list(Chapter)
    return tuple(sorted(dict.fromkeys(found), key=lambda one: (one.at, order.index(one.chapter))))


def _recorded(uow: Uow, record: AuditRecord) -> Iterator[Happening]:
    event = record.event
    chapter = _chapter_of(event.action)
    what = " ".join(filter(None, (event.decision, event.target)))
    yield Happening(record.at, chapter, event.actor, what, event.rule, facts=_facts(event.facts))
    if event.action == "letter.accept" and event.subject_box_id is not None:
        yield from _in_box(uow, record, event.subject_box_id)


def _chapter_of(action: str) -> Chapter:
    match action.partition("."):
        case ("letter", _, "accept"):
            return Chapter.RECEIVED
        case ("letter", _, _):
            return Chapter.REFUSED
        case ("report", _, _):
            return Chapter.REPORTED
        case _:
            return Chapter.HANDLED


def _in_box(uow: Uow, record: AuditRecord, box_id: int) -> Iterator[Happening]:
    """Yield what the unit that took the letter also did in one box: documents filed or not."""
    letter = record.event.facts.get("letter")
    for other in uow.journal.about_box_at(box_id, record.at):
        event = other.event
        if event.action.startswith("document.") and event.facts.get("letter") == letter:
            what = f"{event.action.removeprefix('document.')} {event.target}"
            yield Happening(other.at, Chapter.FILED, event.actor, what, event.rule, facts=_facts(event.facts))


def _delivered(uow: Uow, delivery: Delivery) -> Iterator[Happening]:
    who, where = f"delivery:{delivery.id}", str(delivery.destination)
    facts = _facts({"octets": delivery.size_octets, "expires": f"{delivery.expires_at:%Y-%m-%dT%H:%M:%SZ}"})
    yield Happening(delivery.created_at, Chapter.QUEUED, who, where, address=delivery.recipient, facts=facts)
    attempts = uow.queue.attempts_of(delivery.id)
    for number, attempt in enumerate(attempts, 1):
        outcome = attempt.outcome
        said = " ".join(filter(None, (str(outcome.code or ""), outcome.enhanced, outcome.text)))
        what = f"{where} {outcome.kind.value}"
        facts = _facts({"attempt": number, "remote": outcome.remote})
        yield Happening(attempt.at, Chapter.TRIED, who, what, said=said, facts=facts)
    match delivery.state:
        case DeliveryState.DELIVERED | DeliveryState.FAILED | DeliveryState.EXPIRED:
            if attempts:
                yield Happening(attempts[-1].at, Chapter.ENDED, who, delivery.state.value)
        case DeliveryState.DUE | DeliveryState.HELD:
            pass
        case _ as never:
            assert_never(never)
