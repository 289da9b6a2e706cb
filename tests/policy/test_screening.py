"""Every verdict of an antivirus has one decision."""

from __future__ import annotations

import pytest

from mss.model.screening import Screening, Verdict
from mss.policy import rules
from mss.policy.decision import Rule
from mss.policy.decision import Verdict as Said
from mss.policy.screening import may_keep


@pytest.mark.parametrize(
    ("verdict", "rule", "said"),
    [
        (Verdict.CLEAN, rules.CONTENT_CLEAN, Said.ACCEPT),
        (Verdict.INFECTED, rules.CONTENT_INFECTED, Said.REJECT),
        (Verdict.ENCRYPTED, rules.CONTENT_ENCRYPTED, Said.REJECT),
        (Verdict.UNEXAMINED, rules.CONTENT_UNEXAMINED, Said.REJECT),
        (Verdict.UNREACHABLE, rules.CONTENT_NOT_SCANNED, Said.DEFER),
    ],
)
def test_what_cannot_be_examined_is_not_kept(verdict: Verdict, rule: Rule, said: Said) -> None:
    decision = may_keep(Screening(verdict, "Eicar"))
    assert (decision.rule, decision.verdict) == (rule, said)
    assert decision.facts == ({"signature": "Eicar"} if said is Said.REJECT else {})
    assert str(rule.code)[0] == {Said.ACCEPT: "2", Said.REJECT: "5", Said.DEFER: "4"}[said]


def test_a_signature_is_a_short_word() -> None:
    assert Screening(Verdict.INFECTED, "Win.Test\r\n<x>" + "y" * 100).signature == "Win.Test___x_" + "y" * 67
