"""Decisions, the table of rules, and their explanation."""

from __future__ import annotations

import re

import pytest

from mss.policy import rules
from mss.policy.decision import Decision, Rule, Verdict, accept, defer, quarantine, reject
from mss.policy.explain import describe, explain, explain_steps


def test_the_helpers_make_the_verdict_that_they_are_named_after() -> None:
    made = [helper(rules.PEER_LISTED, n=1) for helper in (accept, quarantine, defer, reject)]
    assert [d.verdict for d in made] == [Verdict.ACCEPT, Verdict.QUARANTINE, Verdict.DEFER, Verdict.REJECT]
    assert [d.accepted for d in made] == [True, False, False, False]
    assert all(d.rule is rules.PEER_LISTED and d.facts == {"n": 1} for d in made)


def test_a_refusal_says_its_rule_outside_and_an_acceptance_says_ok() -> None:
    assert accept(rules.PEER_LISTED).public_text == "OK"
    assert reject(rules.PEER_NOT_LISTED).public_text.endswith("(peer.not-listed)")


def test_every_rule_of_the_module_is_in_the_table_once() -> None:
    constants = [value for value in vars(rules).values() if isinstance(value, Rule)]
    assert len(constants) == len(rules.RULES)
    assert all(rules.RULES[rule.name] is rule for rule in constants)
    with pytest.raises(TypeError):
        rules.RULES["x"] = rules.PEER_LISTED  # type: ignore[index]


@pytest.mark.parametrize("rule", rules.RULES.values(), ids=lambda rule: rule.name)
def test_every_rule_can_be_sent(rule: Rule) -> None:
    assert re.fullmatch(r"[a-z]+\.[a-z]+(-[a-z]+)*", rule.name)
    assert re.fullmatch(r"[245]\.\d{1,3}\.\d{1,3}", rule.enhanced)
    assert str(rule.code)[0] == rule.enhanced[0]
    assert rule.text.isascii()
    # RFC 5321 §4.5.3.1.5: 512 octets for a reply line, here with code, enhanced code and rule name.
    assert len(rule.text) + len(rule.name) < 400
    assert rule.patient_text_key in ("", f"rule.{rule.name}")


@pytest.mark.parametrize("rule", [r for r in rules.RULES.values() if r.code >= 400], ids=lambda rule: rule.name)
def test_every_refusal_is_a_sentence_and_only_temporary_ones_say_later(rule: Rule) -> None:
    assert re.fullmatch(r"[A-Z0-9].*\.", rule.text)
    if "later" in rule.text:
        assert rule.code < 500


def test_explain_shows_verdict_reply_and_facts() -> None:
    decision = reject(rules.CONVERSATION_ENDED, letters=2, domain="chu.mssante.test", local=True, remote=False)
    assert explain(decision) == [
        "no: reject by conversation.ended",
        "  told outside: 550 5.7.1 The professional ended this exchange. You can write again when they write to you "
        "again.",
        "  would change with: a new letter of the professional, without [FIN] and without X-MSS-MES: FIN",
        "    domain: chu.mssante.test",
        "    letters: 2",
        "    local: yes",
        "    remote: no",
    ]


@pytest.mark.parametrize(
    ("decision", "first"),
    [
        (accept(rules.LETTER_SOUND), "yes: accept by letter.sound"),
        (quarantine(rules.LETTER_SOUND), "held: quarantine by letter.sound"),
        (defer(rules.PEER_NO_TRUST_LIST), "later: defer by peer.no-trust-list"),
    ],
)
def test_explain_begins_with_a_plain_word(decision: Decision, first: str) -> None:
    assert explain(decision)[0] == first


def test_explain_steps_ends_at_the_first_refusal() -> None:
    yes, no = accept(rules.ROUTE_RELAY, next_domain="a.test"), reject(rules.ROUTE_OUTSIDE)
    lines = explain_steps([("route", yes), ("box", no), ("letter", yes)])
    assert lines[0] == "route: yes: accept by route.relay"
    assert lines[1] == "  The trust list or a configured route names the domain."
    assert lines[2] == "    next domain: a.test"
    assert lines[3] == "box: no: reject by route.outside"
    assert not any("letter" in line.split(":")[0] for line in lines)
    assert explain_steps([]) == []


def test_a_rule_is_described_in_one_line() -> None:
    assert describe(rules.PEER_REVOKED).split()[:3] == ["peer.revoked", "550", "5.7.1"]
    assert "\n" not in describe(rules.PEER_REVOKED)
