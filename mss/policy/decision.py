"""A typed answer of the policy: verdict, the rule's name and its facts.

The rules themselves stand in one table, `rules.py`. Nothing here knows a protocol beyond the reply that a
refused peer reads (RFC 5321 §4.2, RFC 3463).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

Fact = str | int | bool


class Verdict(StrEnum):
    """The closed set of answers."""

    ACCEPT = "accept"
    QUARANTINE = "quarantine"
    DEFER = "defer"
    REJECT = "reject"


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule: its name, the SMTP code, enhanced code and sentence that a refused peer reads.

    `patient_text_key` names the sentence that a patient reads in the webmail; empty when no patient meets the rule.
    """

    name: str
    code: int = 250
    enhanced: str = "2.0.0"
    text: str = "OK"
    patient_text_key: str = ""


@dataclass(frozen=True, slots=True)
class Decision:
    """What the policy says, why, and on which facts (identifiers, numbers and domains only)."""

    verdict: Verdict
    rule: Rule
    facts: Mapping[str, Fact] = field(default_factory=dict)

    @property
    def accepted(self) -> bool:
        """Whether it may go on."""
        return self.verdict is Verdict.ACCEPT

    @property
    def public_text(self) -> str:
        """The sentence for outside, with the rule's name so that support can find the decision."""
        return self.rule.text if self.accepted else f"{self.rule.text} ({self.rule.name})"


def accept(rule: Rule, **facts: Fact) -> Decision:
    """Say yes by a rule."""
    return Decision(Verdict.ACCEPT, rule, facts)


def quarantine(rule: Rule, **facts: Fact) -> Decision:
    """Take it, but keep it from its recipient until an operator has looked."""
    return Decision(Verdict.QUARANTINE, rule, facts)


def defer(rule: Rule, **facts: Fact) -> Decision:
    """Say not now: the peer tries again."""
    return Decision(Verdict.DEFER, rule, facts)


def reject(rule: Rule, **facts: Fact) -> Decision:
    """Say no for good."""
    return Decision(Verdict.REJECT, rule, facts)
