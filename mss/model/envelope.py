"""The SMTP envelope and its DSN wishes (RFC 5321 §2.3.1, RFC 3461)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from mss.model.address import Address


class Notify(StrEnum):
    """NOTIFY of RFC 3461 §4.1. No value at all means: FAILURE (and DELAY) as the relay sees fit."""

    NEVER = "NEVER"
    SUCCESS = "SUCCESS"
    FAILURE = "FAILURE"
    DELAY = "DELAY"


class Ret(StrEnum):
    """RET of RFC 3461 §4.3: what a report brings back."""

    FULL = "FULL"
    HDRS = "HDRS"


class Body(StrEnum):
    """BODY of RFC 6152."""

    SEVENBIT = "7BIT"
    EIGHTBITMIME = "8BITMIME"


@dataclass(frozen=True, slots=True)
class Recipient:
    """A forward path with what its sender wants to be told; `orcpt` as written (addr-type;xtext)."""

    address: Address
    notify: frozenset[Notify] = frozenset()
    orcpt: str | None = None


@dataclass(frozen=True, slots=True)
class Envelope:
    """Who sends (None: the null reverse path of reports), to whom, and how.

    `require_tls`: the letter goes on only to hosts that promise the same (RFC 8689).
    """

    reverse_path: Address | None
    recipients: tuple[Recipient, ...]
    ret: Ret | None = None
    envid: str | None = None
    body: Body = Body.SEVENBIT
    smtputf8: bool = False
    require_tls: bool = False
