"""The clock: UTC, and whole microseconds on disk."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mss.clock import from_us, system_clock, to_us

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@given(st.datetimes(timezones=st.just(UTC)))
def test_every_instant_comes_back_from_disk(instant: datetime) -> None:
    assert from_us(to_us(instant)) == instant


@given(st.integers(-(10**15), 10**17))
def test_every_number_comes_back(microseconds: int) -> None:
    assert to_us(from_us(microseconds)) == microseconds
    assert from_us(microseconds).tzinfo is UTC


@given(st.integers(0, 10**16), st.integers(1, 10**6))
def test_numbers_keep_the_order_of_time(microseconds: int, more: int) -> None:
    assert from_us(microseconds) < from_us(microseconds + more)


@pytest.mark.parametrize(
    ("instant", "microseconds"),
    [
        (EPOCH, 0),
        (EPOCH + timedelta(microseconds=1), 1),
        (EPOCH - timedelta(microseconds=1), -1),
        (datetime(2026, 11, 22, 12, 0, 0, 5, tzinfo=UTC), 1795348800000005),
        (datetime(2026, 11, 22, 13, 0, 0, 5, tzinfo=timezone(timedelta(hours=1))), 1795348800000005),
    ],
)
def test_microseconds_count_from_1970_in_any_zone(instant: datetime, microseconds: int) -> None:
    assert to_us(instant) == microseconds


def test_a_time_without_a_zone_is_a_bug_that_shows() -> None:
    with pytest.raises(TypeError):
        to_us(EPOCH.replace(tzinfo=None))


def test_the_system_clock_tells_utc_and_goes_on() -> None:
    one = system_clock()
    assert one.utcoffset() == timedelta(0)
    assert one <= system_clock()
