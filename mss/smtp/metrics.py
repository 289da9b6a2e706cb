"""What the SMTP doors tell whoever counts; labels are listeners, verbs, rules and outcomes, never persons."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol


class Metrics(Protocol):
    """Counters that the composition root supplies (series `mss_smtp_…`)."""

    def session_opened(self, listener: str) -> None:
        """A connection was taken."""

    def session_closed(self, listener: str, outcome: str) -> None:
        """A connection ended: "quit", "lost", "timeout", "tls-failed", "refused", "closed"."""

    def command(self, listener: str, verb: str, seconds: float) -> None:
        """A known command was answered."""

    def refused(self, stage: str, rule: str) -> None:
        """Something was refused at "connect", "mail", "rcpt" or "data"."""

    def letter(self, listener: str, outcome: str, octets: int) -> None:
        """A letter was answered: "accepted", "duplicate", "deferred" or "refused"."""

    def attempt(self, outcome: str, seconds: float) -> None:
        """A delivery was tried; the outcome as in `OutcomeKind`."""

    def conformity(self, software: str, results: Mapping[str, str]) -> None:
        """A submitted letter was accepted: its software's number (X-MSS-NIL) and the result of each check."""


class Silence:
    """Metrics that nobody reads."""

    def session_opened(self, listener: str) -> None:
        """Count nothing."""

    def session_closed(self, listener: str, outcome: str) -> None:
        """Count nothing."""

    def command(self, listener: str, verb: str, seconds: float) -> None:
        """Count nothing."""

    def refused(self, stage: str, rule: str) -> None:
        """Count nothing."""

    def letter(self, listener: str, outcome: str, octets: int) -> None:
        """Count nothing."""

    def attempt(self, outcome: str, seconds: float) -> None:
        """Count nothing."""

    def conformity(self, software: str, results: Mapping[str, str]) -> None:
        """Count nothing."""
