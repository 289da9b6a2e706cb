"""What an antivirus says of octets."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """The closed set of what can come of a scan; the values are labels of metrics."""

    CLEAN = "clean"
    INFECTED = "infected"
    ENCRYPTED = "encrypted"
    UNEXAMINED = "unexamined"
    UNREACHABLE = "unreachable"


@dataclass(frozen=True, slots=True)
class Screening:
    """A verdict, and the name of the signature that matched: a word of the antivirus's makers, never of the letter."""

    verdict: Verdict
    signature: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "signature", re.sub(r"[^A-Za-z0-9._/-]", "_", self.signature)[:80])
