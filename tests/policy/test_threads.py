"""An answer whose client dropped the references joins its thread; a new letter under an old subject does not."""

from __future__ import annotations

from datetime import timedelta

import pytest

from mss.policy.threads import JOINS_WITHIN, ThreadFacts, base_subject, thread_of
from tests.policy.facts import DESK, DOCTOR, NOW, NURSE


@pytest.mark.parametrize(
    ("subject", "base", "answers"),
    [
        ("Résultats", "résultats", False),
        ("Re: Résultats", "résultats", True),
        ("RE : Résultats ", "résultats", True),
        ("Rép: re: RE[2]: Résultats  de\tbiologie", "résultats de biologie", True),
        ("AW: Sv: Résultats", "résultats", True),
        ("Re:", "", True),
        ("Rendez-vous: demain", "rendez-vous: demain", False),
        ("Report: x", "report: x", False),
        ("", "", False),
        ("[FIN]", "[fin]", False),
    ],
)
def test_what_of_a_subject_is_compared(subject: str, base: str, answers: bool) -> None:
    assert base_subject(subject) == (base, answers)


def _thread(
    number: int, subject: str = "Résultats", *, age: timedelta = timedelta(), people: str = DOCTOR.key
) -> ThreadFacts:
    return ThreadFacts(number, subject, NOW - age, frozenset({people, NURSE.key}))  # fmt: skip


@pytest.mark.parametrize(
    ("subject", "threads", "found"),
    [
        ("Re: Résultats", [_thread(1)], 1),
        ("re:  RÉSULTATS", [_thread(1, "Re: résultats")], 1),
        ("Résultats", [_thread(1)], None),
        ("Re: Autre chose", [_thread(1)], None),
        ("Re:", [_thread(1, "")], None),
        ("Re: Résultats", [], None),
        # Who took no part joins nothing, whatever the subject.
        ("Re: Résultats", [_thread(1, people=DESK.key)], None),
        ("Re: Résultats", [_thread(1, age=JOINS_WITHIN)], 1),
        ("Re: Résultats", [_thread(1, age=JOINS_WITHIN + timedelta(seconds=1))], None),
        ("Re: Résultats", [_thread(1, age=timedelta(days=2)), _thread(2, age=timedelta(days=1)), _thread(3, "x")], 2),
        ("Re: Résultats", [_thread(2), _thread(1)], 2),
    ],
)
def test_which_thread_an_answer_joins(subject: str, threads: list[ThreadFacts], found: int | None) -> None:
    assert thread_of(subject, DOCTOR.key, threads, NOW) == found
