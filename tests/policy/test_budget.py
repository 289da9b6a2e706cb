"""An account's budget of recipients: at, below and above it, how it comes back, and a clock set back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mss.policy import budget, rules
from mss.policy.decision import Verdict

NOW = datetime(2026, 11, 22, 8, 0, tzinfo=UTC)


@pytest.mark.parametrize(("used", "recipients", "fits"), [(0, 1, True), (9, 1, True), (10, 1, False), (8, 2, True)])
def test_so_many_fit(used: int, recipients: int, fits: bool) -> None:
    whole_at = budget.spent(None, used, 10, NOW) if used else None
    decision = budget.may_spend(whole_at, recipients, 10, NOW)
    assert decision.accepted is fits
    assert decision.rule is (rules.SENDER_WITHIN_BUDGET if fits else rules.SENDER_OVER_BUDGET)
    assert fits or decision.verdict is Verdict.DEFER


def test_a_letter_larger_than_the_budget_needs_a_whole_one() -> None:
    assert budget.may_spend(None, 100, 10, NOW).accepted
    whole_at = budget.spent(None, 100, 10, NOW)
    assert not budget.may_spend(whole_at, 1, 10, NOW).accepted
    assert not budget.may_spend(budget.spent(None, 1, 10, NOW), 10, 10, NOW).accepted


def test_what_is_spent_adds_up() -> None:
    whole_at = budget.spent(budget.spent(None, 4, 10, NOW), 3, 10, NOW)
    assert whole_at == NOW + timedelta(minutes=42)
    assert budget.spent(whole_at, 1, 10, NOW + timedelta(minutes=40)) == NOW + timedelta(minutes=48)


def test_it_comes_back_little_by_little() -> None:
    whole_at = budget.spent(None, 10, 10, NOW)
    assert [budget.may_spend(whole_at, 1, 10, NOW + timedelta(minutes=m)).accepted for m in (0, 5, 6)] == [
        False,
        False,
        True,
    ]
    assert budget.may_spend(whole_at, 10, 10, NOW + timedelta(hours=1)).accepted


@pytest.mark.parametrize("back", [timedelta(hours=1), timedelta(days=400)])
def test_a_clock_set_back_locks_out_for_an_hour_at_most(back: timedelta) -> None:
    whole_at = budget.spent(None, 10, 10, NOW)
    then = NOW - back
    assert not budget.may_spend(whole_at, 1, 10, then).accepted
    assert budget.spent(whole_at, 1, 10, then) <= then + timedelta(hours=1, minutes=6)


@given(st.lists(st.tuples(st.integers(1, 5), st.integers(0, 600)), max_size=60))
def test_no_hour_takes_more_than_twice_the_budget(letters: list[tuple[int, int]]) -> None:
    """What was whole at its beginning, and what came back during it."""
    at, whole_at, taken = NOW, None, []
    for recipients, pause_s in letters:
        at += timedelta(seconds=pause_s)
        if budget.may_spend(whole_at, recipients, 10, at).accepted:
            whole_at = budget.spent(whole_at, recipients, 10, at)
            taken.append((at, recipients))
    for begin, _ in taken:
        hour = sum(count for when, count in taken if begin <= when < begin + timedelta(hours=1))
        assert hour <= 20
