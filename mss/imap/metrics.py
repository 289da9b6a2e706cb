"""What the IMAP door tells whoever counts; labels are command names, states and outcomes, never persons."""

from __future__ import annotations

from typing import Protocol


class Metrics(Protocol):
    """Counters that the composition root supplies (series `mss_imap_…`)."""

    def session_opened(self) -> None:
        """A connection was taken."""

    def session_closed(self, outcome: str) -> None:
        """A connection ended: "logout", "lost", "timeout", "slow", "tls-failed", "refused", "closed", "incident"…"""

    def state(self, before: str, after: str) -> None:
        """A session went from one state to another; both empty names mean "none"."""

    def command(self, name: str, condition: str, seconds: float) -> None:
        """A command was answered with OK, NO or BAD."""


class Silence:
    """Metrics that nobody reads."""

    def session_opened(self) -> None:
        """Count nothing."""

    def session_closed(self, outcome: str) -> None:
        """Count nothing."""

    def state(self, before: str, after: str) -> None:
        """Count nothing."""

    def command(self, name: str, condition: str, seconds: float) -> None:
        """Count nothing."""
