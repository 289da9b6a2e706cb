"""The words that the command line's options know, apart from the commands: `--help` needs them and nothing more."""

from __future__ import annotations

import re
from datetime import timedelta
from enum import StrEnum
from typing import Final

from mss.errors import Malformed

_AGES: Final = {"s": 1, "min": 60, "m": 60, "h": 3600, "d": 86400}
_AGE: Final = re.compile(r"(\d{1,6})\s*(s|min|m|h|d)")


class Kind(StrEnum):
    """What an account is for."""

    PER = "per"
    ORG = "org"
    APP = "app"
    PATIENT = "patient"


class Form(StrEnum):
    """How letters are written outside."""

    MAILDIR = "maildir"
    MBOX = "mbox"


class TraceForm(StrEnum):
    """How the journal is written for another system."""

    JSONL = "jsonl"
    SYSLOG = "syslog"


class By(StrEnum):
    """What of a certificate has to fit."""

    SUBJECT = "subject"
    FINGERPRINT = "fingerprint"
    BOTH = "both"


def age(text: str) -> timedelta:
    """Read an age as people type it: 90s, 15min, 2h, 3d; Malformed when it is none."""
    match = _AGE.fullmatch(text.strip())
    if match is None:
        raise Malformed(f"“{text}” is no age: write 90s, 15min, 2h or 3d")
    return timedelta(seconds=int(match[1]) * _AGES[match[2]])


class QuotaKind(StrEnum):
    """Kinds of boxes that a quota can be for."""

    PER = "per"
    ORG = "org"
    APP = "app"
    CAB = "cab"
    PATIENT = "patient"
