"""Every rule that a peer can meet at the MX is told in one reply: plain words, the rule's name, agreeing codes."""

from __future__ import annotations

import inspect
import re
from types import ModuleType

import pytest

from mss.policy import admission, exchange, routing, rules
from mss.policy.decision import Rule, Verdict, defer, reject
from mss.services import receive
from mss.smtp import budgets, mx, reply, verbs

# rule → the code and enhanced code that the peer reads.
TOLD: dict[str, str] = {
    "peer.no-certificate": "530 5.7.0",
    "peer.revoked": "550 5.7.1",
    "peer.revocation-stale": "451 4.7.0",
    "peer.revocation-unknown": "451 4.7.0",
    "peer.no-trust-list": "451 4.7.0",
    "peer.stale-trust-list": "451 4.7.0",
    "peer.clock-back": "451 4.3.5",
    "peer.expired": "550 5.7.1",
    "peer.not-listed": "550 5.7.1",
    "peer.tls-failed": "554 5.7.0",
    "peer.too-fast": "450 4.7.1",
    "peer.probing": "450 4.7.1",
    "sender.foreign-domain": "550 5.7.1",
    "sender.too-fast": "450 4.7.1",
    "author.missing": "550 5.6.0",
    "author.several": "550 5.6.0",
    "author.foreign-domain": "550 5.7.1",
    "author.foreign-report": "550 5.7.1",
    "author.unnamed": "550 5.6.0",
    "route.not-here": "550 5.7.1",
    "recipient.unknown": "550 5.1.1",
    "recipient.too-many": "452 4.5.3",
    "box.closed": "550 5.2.1",
    "box.full": "452 4.2.2",
    "ins.malformed": "553 5.1.3",
    "ins.test-identity": "550 5.7.1",
    "patient.unknown": "550 5.1.1",
    "box.opposed-to-patients": "550 5.7.1",
    "patient.opposed": "550 5.7.1",
    "patient.closed": "550 5.2.1",
    "patient.to-patient": "550 5.7.1",
    "letter.too-large": "552 5.3.4",
    "letter.bare-line-end": "550 5.6.0",
    "letter.too-many-at-once": "452 4.3.1",
    "letter.header-too-large": "552 5.3.4",
    "letter.loop": "554 5.4.6",
    "letter.several-patients": "554 5.7.1",
    "document.other-patient": "554 5.6.0",
    "document.invisible-to-patient": "550 5.7.1",
    "document.invisible-to-representatives": "550 5.7.1",
}
# Named in the same modules, and met elsewhere: at submission, in the webmail, on the way out.
ELSEWHERE = {"sender.not-yours", "sender.field-not-yours", "route.outside", "route.no-trust-list"}


def _named_in(*modules: ModuleType) -> set[str]:
    """Return the refusing rules that the modules name."""
    names = {name for module in modules for name in re.findall(r"rules\.([A-Z_]+)", inspect.getsource(module))}
    found = [getattr(rules, name) for name in names if isinstance(getattr(rules, name), Rule)]
    return {rule.name for rule in found if rule.code >= 400}


def test_no_rule_of_the_mx_is_missing_here() -> None:
    assert _named_in(admission, exchange, routing, receive, mx, verbs, budgets, reply) - ELSEWHERE == set(TOLD)


@pytest.mark.parametrize(("name", "codes"), TOLD.items(), ids=TOLD)
def test_the_reply_names_the_rule_in_plain_words(name: str, codes: str) -> None:
    rule = rules.RULES[name]
    decision = defer(rule) if rule.code < 500 else reject(rule)
    told = reply.of_decision(decision)
    octets = told.encode()
    assert octets.startswith(codes.encode() + b" ")
    assert octets.count(b"\r\n") == 1
    assert len(octets) <= reply.TEXT_MAX_OCTETS + 2
    assert octets.endswith(f" ({name})\r\n".encode())
    assert told.temporary is (decision.verdict is Verdict.DEFER) is (codes[0] == "4") is (codes[4] == "4")
    # A sentence for a postmaster: what is the matter, and (almost always) what to do.
    assert re.fullmatch(r"[A-Z0-9][^.]+(\. [A-Z][^.]+){0,2}\.", rule.text)
    assert "5xx" not in rule.text
