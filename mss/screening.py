"""Octets from outside are looked at by the antivirus before anything is kept: one way for every door.

`policy.screening` decides; without an antivirus, which only an explicit word in the configuration allows, all goes in.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from mss.clamd import OFF, Clamd
from mss.config import Config
from mss.errors import Misconfigured, Unavailable
from mss.log import get_logger
from mss.model.screening import Screening, Verdict
from mss.policy import rules
from mss.policy.decision import Decision, accept
from mss.policy.screening import may_keep

_log = get_logger("antivirus")

NOT_NAMED: Final = 'name the antivirus: [antivirus] clamd = "/run/clamav/clamd.ctl" (or "off", which lets viruses in)'


class Screen:
    """Looks at what comes in, and counts what it found."""

    def __init__(self, clamd: Clamd | None = None, count: Callable[[str], None] = lambda _verdict: None) -> None:
        self._clamd = clamd
        self._count = count

    async def judge(self, octets: bytes) -> Decision:
        """Say whether the octets may be kept."""
        if self._clamd is None:
            return accept(rules.CONTENT_NOT_LOOKED_AT)
        try:
            found = await self._clamd.scan(octets)
        except Unavailable as error:
            _log.error("antivirus.unreachable", reason=str(error))
            found = Screening(Verdict.UNREACHABLE)
        self._count(found.verdict.value)
        decision = may_keep(found)
        if not decision.accepted:
            _log.warning("antivirus.refused", rule=decision.rule.name, signature=found.signature)
        return decision


UNSCREENED: Final = Screen()
"""What lets everything in: for operators who said so, and for tests."""


def clamd_of(config: Config) -> Clamd | None:
    """Return the antivirus; None where the configuration says that it is off, or nothing."""
    return Clamd(config.antivirus) if config.antivirus.clamd not in ("", OFF) else None


def require(config: Config) -> None:
    """Raise Misconfigured when the configuration neither names an antivirus nor says that there is none."""
    if not config.antivirus.clamd:
        raise Misconfigured(NOT_NAMED)
