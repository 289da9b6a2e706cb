"""Every rule stands in the rulebook, in both languages, and the documentation is what is generated from it."""

from __future__ import annotations

from pathlib import Path

import pytest

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
