"""Every rule stands in the rulebook, in both languages, and the documentation is what is generated from it."""

from __future__ import annotations

from pathlib import Path

import pytest

from mss.policy import rulebook, rules
from mss.policy.decision import Rule
from mss.policy.rulebook import RULEBOOK, markdown, words_of
from mss.policy.rules import RULES

DOCUMENTATION = Path(__file__).parents[2] / "docs" / "rules.md"


def test_the_two_tables_hold_the_same_rules() -> None:
    assert set(RULEBOOK) == set(RULES)


@pytest.mark.parametrize("rule", RULES.values(), ids=lambda rule: rule.name)
def test_a_rule_says_itself_in_both_languages_and_a_refusal_what_would_change_it(rule: Rule) -> None:
    words = words_of(rule)
    assert len(words.english) > 10
    assert len(words.french) > 10
    assert words.english != words.french
    assert words.english != "OK"
    assert rule.code < 400 or words.change
    assert rule.code < 400 or words.english == rule.text
    assert not {"|", "{", "}"} & set(words.english + words.french + words.change)


def test_the_documentation_is_generated_from_the_table() -> None:
    assert DOCUMENTATION.read_text(encoding="utf-8") == markdown(), "type: mss policy rules --markdown > docs/rules.md"


def test_the_table_is_what_its_text_says() -> None:
    assert rulebook._read(rulebook._RAW) == RULEBOOK
    told = rulebook._read("\npeer.listed\n  en Yes.\n  fr Oui.\npeer.revoked\n  fr Non.\n  => {later}\n")
    assert told == {
        "peer.listed": rulebook.Words("Yes.", "Oui."),
        "peer.revoked": rulebook.Words(RULES["peer.revoked"].text, "Non.", "time: the same letter later"),
    }


def test_what_a_patient_meets_has_a_sentence_of_its_own_in_the_webmail() -> None:
    met = [rule for rule in RULES.values() if rule.patient_text_key]
    assert met
    for rule in met:
        assert rule.patient_text_key == f"rule.{rule.name}"
        assert rules._patient(rule.name, rule.code, rule.enhanced, rule.text) == rule
