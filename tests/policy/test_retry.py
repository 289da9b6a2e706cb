"""When a delivery is tried again, what an answer means, and which report is due."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mss.config import RelayConfig
from mss.model.delivery import Delivery, OutcomeKind
from mss.model.envelope import Notify
from mss.policy.retry import JITTER_SHARE, Expired, ReportKind, classify, next_attempt, report_due, rest_s
from tests.policy.facts import COLLEAGUE, DOCTOR, NOW, REGION

SCHEDULE, EXPIRE_S = (60, 300, 900), 86400


@pytest.mark.parametrize(("attempts", "pause_s"), [(0, 60), (1, 60), (2, 300), (3, 900), (4, 900), (1000, 900)])
def test_pauses_follow_the_schedule_and_the_last_repeats(attempts: int, pause_s: int) -> None:
    assert next_attempt(attempts, NOW, NOW, SCHEDULE, EXPIRE_S, 0.0) == NOW + timedelta(seconds=pause_s)


def test_jitter_lengthens_a_pause_by_a_tenth_at_most() -> None:
    assert next_attempt(2, NOW, NOW, SCHEDULE, EXPIRE_S, 1.0) == NOW + timedelta(seconds=330)
    assert JITTER_SHARE == 0.1


@pytest.mark.parametrize(
    ("age_s", "expected"),
    [
        (EXPIRE_S - 1, NOW + timedelta(seconds=EXPIRE_S)),
        (EXPIRE_S - 900, NOW + timedelta(seconds=EXPIRE_S)),
        (EXPIRE_S - 901, NOW + timedelta(seconds=EXPIRE_S - 1)),
        (EXPIRE_S, Expired(NOW + timedelta(seconds=EXPIRE_S))),
        (EXPIRE_S + 5, Expired(NOW + timedelta(seconds=EXPIRE_S))),
    ],
)
def test_the_last_try_falls_on_the_expiry(age_s: int, expected: object) -> None:
    assert next_attempt(9, NOW, NOW + timedelta(seconds=age_s), SCHEDULE, EXPIRE_S, 0.0) == expected


def test_without_a_schedule_there_is_one_try() -> None:
    assert next_attempt(1, NOW, NOW + timedelta(seconds=3), (), EXPIRE_S, 0.0) == Expired(NOW + timedelta(seconds=3))


@pytest.mark.parametrize(
    ("failures", "jitter", "pause_s"),
    [(0, 0.0, 10), (1, 0.0, 10), (2, 0.0, 20), (3, 0.0, 40), (6, 0.0, 300), (6, 1.0, 330), (10_000, 0.0, 300)],
)
def test_a_destination_that_nobody_reaches_rests_twice_as_long_each_time(
    failures: int, jitter: float, pause_s: int
) -> None:
    assert rest_s(failures, 10, 300, jitter) == pytest.approx(pause_s)


def test_the_doubling_ends_however_large_the_most() -> None:
    assert rest_s(1000, 1, 2**40, 0.0) == 2**20


@given(
    attempts=st.integers(0, 200),
    age_s=st.integers(0, 3 * 86400),
    schedule=st.lists(st.integers(1, 20000), max_size=8),
    expire_s=st.integers(1, 2 * 86400),
    jitter=st.floats(0, 1, exclude_max=True),
)
def test_an_attempt_is_always_later_and_never_after_the_expiry(
    attempts: int, age_s: int, schedule: list[int], expire_s: int, jitter: float
) -> None:
    now = NOW + timedelta(seconds=age_s)
    following = next_attempt(attempts, NOW, now, schedule, expire_s, jitter)
    if isinstance(following, Expired):
        assert age_s >= expire_s or not schedule
    else:
        assert now < following <= NOW + timedelta(seconds=expire_s)


def test_the_default_schedule_ends_within_its_expiry() -> None:
    relay, now, attempts = RelayConfig(), NOW, 0
    while True:
        attempts += 1
        following = next_attempt(attempts, NOW, now, relay.retry_s, relay.expire_s, 0.5)
        if isinstance(following, Expired):
            break
        now = following
    assert now == NOW + timedelta(seconds=relay.expire_s)
    assert 10 < attempts < 40


@pytest.mark.parametrize(
    ("code", "enhanced", "kind"),
    [
        (250, "2.0.0", OutcomeKind.RELAYED),
        (250, "", OutcomeKind.RELAYED),
        (251, "2.1.5", OutcomeKind.RELAYED),
        (200, "", OutcomeKind.RELAYED),
        (299, "", OutcomeKind.RELAYED),
        (550, "5.1.1", OutcomeKind.PERMANENT),
        (550, "", OutcomeKind.PERMANENT),
        (500 + 54, "5.7.1", OutcomeKind.PERMANENT),
        (599, "", OutcomeKind.PERMANENT),
        (552, "5.3.4", OutcomeKind.PERMANENT),
        # Codes that contradict each other decide nothing for good.
        (550, "4.2.1", OutcomeKind.TEMPORARY),
        (550, "2.0.0", OutcomeKind.TEMPORARY),
        (451, "5.7.1", OutcomeKind.TEMPORARY),
        (451, "4.7.0", OutcomeKind.TEMPORARY),
        (421, "", OutcomeKind.TEMPORARY),
        # Our dialogue or our certificate, not the letter.
        (500, "5.5.2", OutcomeKind.TEMPORARY),
        (503, "5.5.1", OutcomeKind.TEMPORARY),
        (530, "5.7.0", OutcomeKind.TEMPORARY),
        (538, "", OutcomeKind.TEMPORARY),
        # No answer, or nonsense.
        (0, "", OutcomeKind.TEMPORARY),
        (354, "", OutcomeKind.TEMPORARY),
        (199, "", OutcomeKind.TEMPORARY),
        (300, "", OutcomeKind.TEMPORARY),
        (501, "5.5.4", OutcomeKind.PERMANENT),
        (600, "5.0.0", OutcomeKind.TEMPORARY),
        (-1, "", OutcomeKind.TEMPORARY),
    ],
)
def test_whatever_is_not_clearly_final_is_temporary(code: int, enhanced: str, kind: OutcomeKind) -> None:
    assert classify(code, enhanced) is kind


@given(st.integers(-10, 1000), st.text(max_size=8))
def test_only_a_5xx_answer_can_be_final_and_only_a_2xx_answer_good(code: int, enhanced: str) -> None:
    kind = classify(code, enhanced)
    assert (kind is OutcomeKind.RELAYED) == (code // 100 == 2)
    if kind is OutcomeKind.PERMANENT:
        assert code // 100 == 5


def _delivery(*notify: Notify, **more: Any) -> Delivery:
    expires = NOW + timedelta(seconds=EXPIRE_S)
    made = Delivery(1, 2, REGION, DOCTOR, COLLEAGUE, "<a@b>", 100, NOW, expires, NOW, notify=frozenset(notify))
    return replace(made, **more)


_NOTICE_S = 14400
_LATE = {"age_s": _NOTICE_S}
PERMANENT, TEMPORARY, DELIVERED, RELAYED = (
    OutcomeKind.PERMANENT,
    OutcomeKind.TEMPORARY,
    OutcomeKind.DELIVERED,
    OutcomeKind.RELAYED,
)


@pytest.mark.parametrize(
    ("delivery", "outcome", "more", "report"),
    [
        (_delivery(), PERMANENT, {}, ReportKind.FAILED),
        (_delivery(Notify.FAILURE), PERMANENT, {}, ReportKind.FAILED),
        (_delivery(Notify.FAILURE, Notify.SUCCESS), PERMANENT, {}, ReportKind.FAILED),
        (_delivery(Notify.DELAY), PERMANENT, {}, None),
        (_delivery(Notify.SUCCESS), PERMANENT, {}, None),
        (_delivery(Notify.NEVER), PERMANENT, {}, None),
        (_delivery(reverse_path=None), PERMANENT, {}, None),
        (_delivery(), TEMPORARY, {"expired": True}, ReportKind.FAILED),
        (_delivery(Notify.SUCCESS), TEMPORARY, {"expired": True}, None),
        (_delivery(Notify.NEVER), TEMPORARY, {"expired": True}, None),
        (_delivery(), TEMPORARY, {"age_s": _NOTICE_S - 1}, None),
        (_delivery(), TEMPORARY, {"age_s": _NOTICE_S}, ReportKind.DELAYED),
        (_delivery(), TEMPORARY, {"age_s": _NOTICE_S + 1}, ReportKind.DELAYED),
        (_delivery(delay_notified=True), TEMPORARY, _LATE, None),
        (_delivery(Notify.DELAY), TEMPORARY, _LATE, ReportKind.DELAYED),
        (_delivery(Notify.FAILURE), TEMPORARY, _LATE, None),
        (_delivery(Notify.NEVER), TEMPORARY, _LATE, None),
        (_delivery(), DELIVERED, {}, None),
        (_delivery(Notify.SUCCESS), DELIVERED, {}, ReportKind.DELIVERED),
        (_delivery(Notify.SUCCESS), DELIVERED, {"peer_speaks_dsn": True}, ReportKind.DELIVERED),
        (_delivery(Notify.NEVER), DELIVERED, {}, None),
        (_delivery(), RELAYED, {}, None),
        (_delivery(Notify.SUCCESS), RELAYED, {}, ReportKind.RELAYED),
        (_delivery(Notify.SUCCESS), RELAYED, {"peer_speaks_dsn": True}, None),
        (_delivery(Notify.FAILURE), RELAYED, {}, None),
    ],
)
def test_a_report_follows_the_senders_wishes(
    delivery: Delivery, outcome: OutcomeKind, more: dict[str, Any], report: ReportKind | None
) -> None:
    more = dict(more)
    now = NOW + timedelta(seconds=more.pop("age_s", 0))
    assert report_due(delivery, outcome, now, delay_notice_s=_NOTICE_S, **more) is report


@given(
    outcome=st.sampled_from(OutcomeKind),
    notify=st.frozensets(st.sampled_from(Notify)),
    age_s=st.integers(0, 10 * EXPIRE_S),
    expired=st.booleans(),
    dsn=st.booleans(),
)
def test_there_is_never_a_report_about_a_report(
    outcome: OutcomeKind, notify: frozenset[Notify], age_s: int, expired: bool, dsn: bool
) -> None:
    delivery = _delivery(*notify, reverse_path=None)
    now = NOW + timedelta(seconds=age_s)
    assert report_due(delivery, outcome, now, delay_notice_s=0, expired=expired, peer_speaks_dsn=dsn) is None
