"""A typed answer of the policy: verdict, the rule's name and its facts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Verdict(StrEnum):
    """The closed set of answers."""

    ACCEPT = "accept"
    QUARANTINE = "quarantine"
    DEFER = "defer"
    REJECT = "reject"


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule: its name, the SMTP code, enhanced code and sentence that a refused peer reads."""

    name: str
    code: int = 250
    enhanced: str = "2.0.0"
    text: str = "OK"


@dataclass(frozen=True, slots=True)
class Decision:
    """What the policy says, why, and on which facts (identifiers, numbers and domains only)."""

    verdict: Verdict
    rule: Rule
    facts: Mapping[str, str | int | bool] = field(default_factory=dict)

    @property
    def accepted(self) -> bool:
        """Whether it may go on."""
        return self.verdict is Verdict.ACCEPT
