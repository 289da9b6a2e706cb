"""Budgets and pace: at the limit, below it, above it, on a clock that the test moves."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mss.config import Limits
from mss.policy import rules
from mss.policy.decision import Decision, accept, defer, reject
from mss.smtp.budgets import Buckets, Budgets
from mss.smtp.pace import Pace

THEN = datetime(2027, 1, 1, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return THEN + timedelta(seconds=seconds)


def taken(buckets: Buckets, times: int, now: float, key: str = "k") -> int:
    """Ask so many times; returns how often a token was there."""
    return sum(buckets.take(key, now) for _ in range(times))


@pytest.mark.parametrize("capacity", [1, 2, 60])
def test_a_bucket_gives_what_it_holds_and_fills_evenly(capacity: int) -> None:
    buckets = Buckets(capacity, 60)
    assert taken(buckets, capacity - 1, 0) == capacity - 1
    assert taken(buckets, 1, 0) == 1
    assert taken(buckets, 1, 0) == 0
    step = 60 / capacity
    assert taken(buckets, 1, step * 0.99) == 0
    assert taken(buckets, 2, step * 1.01) == 1
    assert taken(buckets, 2 * capacity, 1000) == capacity


def test_keys_have_buckets_of_their_own_and_the_oldest_are_forgotten() -> None:
    buckets = Buckets(1, 60, keys_max=2)
    assert [taken(buckets, 2, 0, key) for key in ("a", "b")] == [1, 1]
    assert taken(buckets, 1, 0, "a") == 0
    assert buckets.take("c", 0)
    assert len(buckets) == 2
    assert [buckets.level(key, 0) for key in ("a", "b", "c")] == [1, 0, 0]


def test_a_clock_set_back_neither_fills_nor_locks() -> None:
    buckets = Buckets(2, 2)
    assert taken(buckets, 2, 0) == 2
    assert taken(buckets, 1, -3600) == 0
    assert taken(buckets, 1, 1) == 1


@given(st.integers(1, 20), st.lists(st.floats(0, 30), max_size=60))
def test_nobody_ever_gets_more_than_the_capacity_and_the_refill(capacity: int, pauses: list[float]) -> None:
    buckets, now, count = Buckets(capacity, 60), 0.0, 0
    for pause in pauses:
        now += pause
        count += taken(buckets, 3, now)
        assert count <= capacity + now * capacity / 60 + 1e-6


def budgets(**limits: int) -> Budgets:
    return Budgets(replace(Limits(), **limits))


def test_letters_of_a_peer_have_a_budget() -> None:
    made = budgets(peer_letters_per_minute_max=2)
    assert [made.letter("peer", f"sender{n}", at(0)) for n in range(2)] == [None, None]
    assert made.letter("peer", "another", at(0)) == defer(rules.PEER_TOO_FAST)
    assert made.letter("peer", None, at(0)) == defer(rules.PEER_TOO_FAST)
    assert made.letter("other", "another", at(0)) is None
    assert made.letter("peer", "another", at(30)) is None


def test_letters_of_a_sender_have_a_budget_and_a_refused_one_costs_its_peer_nothing() -> None:
    made = budgets(peer_letters_per_minute_max=4, sender_letters_per_minute_max=2)
    assert [made.letter("peer", "s", at(0)) for _ in range(4)] == [None, None, *[defer(rules.SENDER_TOO_FAST)] * 2]
    assert [made.letter("peer", None, at(0)) for _ in range(3)] == [None, None, defer(rules.PEER_TOO_FAST)]


@pytest.mark.parametrize(
    ("decision", "counts"),
    [
        (reject(rules.PATIENT_UNKNOWN), True),
        (reject(rules.RECIPIENT_UNKNOWN), True),
        (reject(rules.PATIENT_OPPOSED), True),
        (reject(rules.PATIENT_CLOSED), True),
        (reject(rules.BOX_CLOSED), True),
        (reject(rules.INS_MALFORMED), False),
        (reject(rules.ROUTE_NOT_HERE), False),
        (accept(rules.BOX_RECEIVES), False),
        (defer(rules.ROUTE_NO_TRUST_LIST), False),
    ],
)
def test_answers_that_tell_who_has_a_box_are_counted(decision: Decision, counts: bool) -> None:
    made = budgets(unknown_recipients_per_hour_max=1)
    assert made.recipient("peer", at(0)) is None
    made.answered("peer", decision, at(0))
    assert made.recipient("peer", at(0)) == (defer(rules.PEER_PROBING) if counts else None)
    assert made.recipient("other", at(0)) is None
    assert made.recipient("peer", at(3600)) is None


def test_so_many_unknown_recipients_an_hour() -> None:
    made = budgets(unknown_recipients_per_hour_max=3)
    for _ in range(3):
        assert made.recipient("peer", at(0)) is None
        made.answered("peer", reject(rules.PATIENT_UNKNOWN), at(0))
    assert made.recipient("peer", at(0)) == defer(rules.PEER_PROBING)
    assert made.recipient("peer", at(1199)) == defer(rules.PEER_PROBING)
    assert made.recipient("peer", at(1201)) is None


@pytest.mark.parametrize(
    ("octets", "elapsed_s", "patience_s"),
    [
        (0, 0, 300),
        (0, 299, 1),
        (0, 300, 0),
        (0, 301, -1),
        (1000, 10, 300),  # Exactly the least rate: patience never ends.
        (100_000, 1000, 300),
        (100_000, 1299, 1),
        (100_000, 1300, 0),
        (100_000_000, 1, 300),
    ],
)
def test_patience_by_pace(octets: int, elapsed_s: float, patience_s: float) -> None:
    assert Pace(50.0, 300, 100).patience_s(octets, 50.0 + elapsed_s) == patience_s


@given(st.lists(st.integers(1, 100), min_size=1, max_size=50))
def test_a_client_that_keeps_the_pace_is_never_cut(seconds: list[int]) -> None:
    pace, now, octets = Pace(0, 300, 100), 0, 0
    for each in seconds:
        now += each
        octets += 100 * each
        assert pace.patience_s(octets, now) == 300
