"""What is answered when nothing is: OperationOutcome (FHIR R4, http.html and valueset-issue-type)."""

from __future__ import annotations

from typing import Any, Final

from mss.policy.decision import Decision, Verdict

Json = dict[str, Any]


class Refusal(Exception):
    """A request that gets an OperationOutcome; `diagnostics` is a constant sentence, `rule` the policy's."""

    def __init__(self, status: int, code: str, diagnostics: str, rule: str = "", retry_after_s: int = 0) -> None:
        super().__init__(code)
        self.status, self.code, self.diagnostics = status, code, diagnostics
        self.rule, self.retry_after_s = rule, retry_after_s

    def body(self) -> Json:
        """Return the OperationOutcome."""
        return outcome("error", self.code, self.diagnostics, self.rule)


def outcome(severity: str, code: str, diagnostics: str, rule: str = "") -> Json:
    """Return an OperationOutcome with one issue."""
    issue: Json = {"severity": severity, "code": code, "diagnostics": diagnostics}
    if rule:
        issue["details"] = {"coding": [{"system": RULES, "code": rule}]}
    return {"resourceType": "OperationOutcome", "issue": [issue]}


RULES: Final = "urn:mss:rule"

UNKNOWN: Final = "There is no such resource."
INVALID: Final = "The body cannot be read: {}."
FORBIDDEN: Final = "You may not do this."


def not_found() -> Refusal:
    """Return what is said of what is not there."""
    return Refusal(404, "not-found", UNKNOWN)


def invalid(what: str, status: int = 400) -> Refusal:
    """Return what is said of a request that cannot be read; `what` is a constant of ours."""
    return Refusal(status, "invalid", INVALID.format(what))


def refused(decision: Decision) -> Refusal:
    """Return what is said of a decision that was not to accept."""
    later = decision.verdict is Verdict.DEFER
    text = decision.rule.text or FORBIDDEN
    return Refusal(503 if later else 403, "transient" if later else "forbidden", text, decision.rule.name)


# What an HTTP status means where nothing said more.
CODES: Final = {
    400: ("invalid", "The request cannot be read."),
    404: ("not-found", UNKNOWN),
    405: ("not-supported", "This interaction is not offered here: see /metadata."),
    413: ("too-long", "The body is too large."),
    500: ("exception", "Something went wrong here; it was written down."),
    503: ("transient", "Not possible now. Try again later."),
}


def of_status(status: int, incident: str = "") -> Json:
    """Return the OperationOutcome of a bare status, with the number under which it was written down."""
    code, sentence = CODES.get(status, CODES[500])
    return outcome("error", code, f"{sentence} Incident {incident}." if incident else sentence)
