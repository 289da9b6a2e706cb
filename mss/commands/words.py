"""The words that the command line's options know, apart from the commands: `--help` needs them and nothing more."""

from __future__ import annotations

from enum import StrEnum


class Kind(StrEnum):
    """What an account is for."""

    PER = "per"
    ORG = "org"
    APP = "app"
    PATIENT = "patient"


class By(StrEnum):
    """What of a certificate has to fit."""

    SUBJECT = "subject"
    FINGERPRINT = "fingerprint"
    BOTH = "both"


class QuotaKind(StrEnum):
    """Kinds of boxes that a quota can be for."""

    PER = "per"
    ORG = "org"
    APP = "app"
    CAB = "cab"
    PATIENT = "patient"
