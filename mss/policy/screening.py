"""Whether octets that an antivirus looked at may be kept. It scans nothing.

What cannot be looked into, because it is encrypted or too deep, is refused like what is infected. An antivirus that
does not answer defers: no letter is lost, and none comes in unseen.
"""

from __future__ import annotations

from typing import Final

from mss.model.screening import Screening, Verdict
from mss.policy import rules
from mss.policy.decision import Decision, accept, defer, reject

_REFUSED: Final = {
    Verdict.INFECTED: rules.CONTENT_INFECTED,
    Verdict.ENCRYPTED: rules.CONTENT_ENCRYPTED,
    Verdict.UNEXAMINED: rules.CONTENT_UNEXAMINED,
}


def may_keep(screening: Screening) -> Decision:
    """Say whether the octets may be kept."""
    match screening.verdict:
        case Verdict.CLEAN:
            return accept(rules.CONTENT_CLEAN)
        case Verdict.UNREACHABLE:
            return defer(rules.CONTENT_NOT_SCANNED)
        case refused:
            return reject(_REFUSED[refused], signature=screening.signature)
