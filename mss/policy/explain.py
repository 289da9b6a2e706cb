"""A decision and its facts as lines for people, for `mss policy explain` and the console. It prints nothing."""

from __future__ import annotations

from collections.abc import Iterable

from mss.policy.decision import Decision, Rule, Verdict
from mss.policy.rulebook import words_of

_MARKS = {Verdict.ACCEPT: "yes", Verdict.QUARANTINE: "held", Verdict.DEFER: "later", Verdict.REJECT: "no"}


def explain(decision: Decision) -> list[str]:
    """Return the verdict, the rule with what the peer is told, what would change it, and the facts by name."""
    facts = [f"    {name.replace('_', ' ')}: {_fact(value)}" for name, value in sorted(decision.facts.items())]
    verdict = f"{_MARKS[decision.verdict]}: {decision.verdict.value} by {decision.rule.name}"
    return [verdict, *_told(decision), *_change(decision), *facts]


def explain_steps(steps: Iterable[tuple[str, Decision]]) -> list[str]:
    """Return the lines of several decisions in order, up to the first that does not accept."""
    lines: list[str] = []
    for title, decision in steps:
        first, *rest = explain(decision)
        lines += [f"{title}: {first}", *rest]
        if not decision.accepted:
            break
    return lines


def describe(rule: Rule) -> str:
    """Return one line for a list of rules: name, reply and sentence."""
    return f"{rule.name:40} {rule.code} {rule.enhanced} {rule.text}"


def _told(decision: Decision) -> list[str]:
    if decision.accepted:
        return [f"  {words_of(decision.rule).english}"]
    rule = decision.rule
    return [f"  told outside: {rule.code} {rule.enhanced} {rule.text}"]


def _change(decision: Decision) -> list[str]:
    change = words_of(decision.rule).change
    return [f"  would change with: {change}"] if change else []


def _fact(value: str | int | bool) -> str:
    return ("yes" if value else "no") if isinstance(value, bool) else str(value)
