"""The list of all rules, for people, programs and the documentation."""

from __future__ import annotations

import sys

from mss.commands.output import say_json, table
from mss.policy.rulebook import RULEBOOK, markdown
from mss.policy.rules import RULES


def show(*, markdown: bool, as_json: bool) -> None:
    """Print all rules."""
    if markdown:
        sys.stdout.write(page())
        return
    if as_json:
        for name, rule in sorted(RULES.items()):
            words = RULEBOOK[name]
            reply = {"code": rule.code, "enhanced": rule.enhanced}
            sentences = {"english": words.english, "french": words.french, "change": words.change}
            say_json({"rule": name, **reply, **sentences})
        return
    rows = [(name, str(rule.code), rule.enhanced, RULEBOOK[name].english) for name, rule in sorted(RULES.items())]
    table(("RULE", "CODE", "STATUS", "SENTENCE"), rows, nothing="There is no rule.")


page = markdown
