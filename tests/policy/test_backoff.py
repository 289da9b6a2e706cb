"""Back-off after failures: slow for who guesses, nothing for the holder at home."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mss.policy.backoff import STRANGERS_WITHIN, Failures, Tally, network_of, wait_until
from tests.policy.facts import NOW

WINDOW = timedelta(seconds=300)
NONE = Tally()


def tally(count: int, seconds_ago: int = 0) -> Tally:
    return Tally(count, NOW - timedelta(seconds=seconds_ago))


def wait_s(failures: Failures) -> float | None:
    """Return the seconds from now on; limits of 5 here and 20 of strangers."""
    until = wait_until(failures, 5, 20, WINDOW)
    return None if until is None else (until - NOW).total_seconds()


@pytest.mark.parametrize(
    ("failures", "waits"),
    [
        (Failures(), None),
        # From here: a window from the fifth on, whoever it is.
        (Failures(here=tally(4)), None),
        (Failures(here=tally(5)), 300),
        (Failures(here=tally(6)), 300),
        (Failures(here=tally(5, 100)), 200),
        (Failures(here=tally(5), known=True), 300),
        # Strangers: as many seconds as failures, from the twentieth on, up to a window.
        (Failures(strangers=tally(19)), None),
        (Failures(strangers=tally(20)), 20),
        (Failures(strangers=tally(21)), 21),
        (Failures(strangers=tally(20, 15)), 5),
        (Failures(strangers=tally(299)), 299),
        (Failures(strangers=tally(300)), 300),
        (Failures(strangers=tally(301)), 300),
        (Failures(strangers=tally(10_000)), 300),
        (Failures(strangers=tally(10_000), known=True), None),
        # Wrong codes after a right password: a window for all strangers.
        (Failures(codes=tally(4)), None),
        (Failures(codes=tally(5)), 300),
        (Failures(codes=tally(5, 400)), -100),
        (Failures(codes=tally(5), known=True), None),
        # The longest counts.
        (Failures(here=tally(5, 290), codes=NONE, strangers=tally(40)), 40),
        (Failures(here=tally(5, 290), codes=NONE, strangers=tally(40), known=True), 10),
    ],
)
def test_who_waits_how_long(failures: Failures, waits: float | None) -> None:
    assert wait_s(failures) == waits


@given(
    count=st.integers(0, 5000),
    seconds=st.integers(0, 100_000),
    codes=st.integers(0, 5000),
)
def test_strangers_never_make_the_holder_wait_where_they_are_known(count: int, seconds: int, codes: int) -> None:
    assert wait_s(Failures(codes=tally(codes, seconds), strangers=tally(count, seconds), known=True)) is None


@given(here=st.integers(0, 50), codes=st.integers(0, 50), strangers=st.integers(0, 5000))
def test_nobody_waits_longer_than_a_window(here: int, codes: int, strangers: int) -> None:
    waited = wait_s(Failures(tally(here), tally(codes), tally(strangers)))
    assert waited is None or 0 < waited <= 300


def _guesses(since: datetime, failed: list[datetime]) -> Tally:
    recent = [at for at in failed if at >= since]
    return Tally(len(recent), recent[-1] if recent else None)


def test_all_strangers_of_the_world_have_some_hundreds_of_guesses_a_day() -> None:
    """Each guess comes from a network of its own, as soon as it may."""
    failed: list[datetime] = []
    now, end = NOW, NOW + timedelta(days=3)
    while now < end:
        until = wait_until(Failures(strangers=_guesses(now - STRANGERS_WITHIN, failed)), 5, 20, WINDOW)
        now = max(now, until) if until is not None else now
        failed.append(now)
        now += timedelta(milliseconds=50)
    first_day = sum(at < NOW + timedelta(days=1) for at in failed)
    assert 300 < first_day < 500
    assert len(failed) < 1200


@pytest.mark.parametrize(
    ("source", "network"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::1", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::1", "2001:db8:1:3::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::1", "::/64"),
        ("", ""),
        ("testclient", "testclient"),
    ],
)
def test_a_network_is_what_one_subscriber_has(source: str, network: str) -> None:
    assert network_of(source) == network
