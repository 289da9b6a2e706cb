"""How long what is kept, and when an unused box goes."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from mss.policy.retention import (
    EXPUNGED_LETTERS,
    INACTIVE_BOX,
    INACTIVITY_NOTICE,
    RETENTIONS,
    TRACES,
    Inactivity,
    Retention,
    inactivity,
    may_drop,
    oldest_kept,
)
from tests.policy.facts import NOW

_SECOND = timedelta(seconds=1)


@pytest.mark.parametrize("retention", RETENTIONS.values(), ids=lambda one: one.name)
def test_every_retention_has_a_time_and_a_source(retention: Retention) -> None:
    assert retention.keep > timedelta(0)
    assert len(retention.source) > 10


def test_the_law_s_figures() -> None:
    assert TRACES.keep >= timedelta(days=180)
    assert INACTIVE_BOX.keep <= timedelta(days=365)
    assert RETENTIONS["closed-space"].keep >= timedelta(days=3652)


@pytest.mark.parametrize(
    ("age", "goes"),
    [
        (EXPUNGED_LETTERS.keep - _SECOND, False),
        (EXPUNGED_LETTERS.keep, True),
        (EXPUNGED_LETTERS.keep + _SECOND, True),
        (timedelta(0), False),
        (-_SECOND, False),
    ],
)
def test_a_thing_goes_when_its_whole_time_has_passed(age: timedelta, goes: bool) -> None:
    assert may_drop(EXPUNGED_LETTERS, NOW - age, NOW) is goes
    assert (NOW - age <= oldest_kept(EXPUNGED_LETTERS, NOW)) is goes


def _ago(**age: float) -> datetime:
    return NOW - timedelta(**age)


@pytest.mark.parametrize(
    ("last_sign_in", "notified_at", "expected"),
    [
        (_ago(days=1), None, Inactivity.KEEP),
        (NOW - (INACTIVE_BOX.keep - INACTIVITY_NOTICE.keep) + _SECOND, None, Inactivity.KEEP),
        (NOW - (INACTIVE_BOX.keep - INACTIVITY_NOTICE.keep), None, Inactivity.NOTIFY),
        # Never deleted without a notice, however long unused.
        (_ago(days=4000), None, Inactivity.NOTIFY),
        (_ago(days=340), _ago(days=5), Inactivity.KEEP),
        (_ago(days=364), _ago(days=30), Inactivity.KEEP),
        (_ago(days=365), _ago(days=30), Inactivity.DELETE),
        (_ago(days=365), _ago(days=29), Inactivity.KEEP),
        (_ago(days=4000), _ago(days=29), Inactivity.KEEP),
        # A sign-in after the notice answers it.
        (_ago(days=10), _ago(days=11), Inactivity.KEEP),
        (_ago(days=340), _ago(days=340), Inactivity.NOTIFY),
        (_ago(days=336), _ago(days=340), Inactivity.NOTIFY),
    ],
)
def test_an_unused_box_goes_only_after_an_unanswered_notice(
    last_sign_in: datetime, notified_at: datetime | None, expected: Inactivity
) -> None:
    assert inactivity(last_sign_in, notified_at, NOW) is expected


def test_an_operator_may_choose_other_times() -> None:
    two_years = Retention("inactive-box", timedelta(days=730), "counsel")
    assert inactivity(_ago(days=400), None, NOW, inactive=two_years) is Inactivity.KEEP
