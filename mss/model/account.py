"""Boxes (BAL), the people and robots who sign in, and who may act for whom."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from mss.model.address import Address
from mss.model.ins import INS, Traits
from mss.model.party import BoxKind


class BoxState(StrEnum):
    """`unopened`: created, never opened by its patient (letters are delivered); `opposed`: the patient refused."""

    OPEN = "open"
    UNOPENED = "unopened"
    OPPOSED = "opposed"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class Box:
    """A BAL: address and kind never change after creation. `patients_opposed`: a professional who takes no letters
    from patients."""

    id: int
    address: Address
    kind: BoxKind
    state: BoxState
    display_name: str = ""
    red_list: bool = False
    ins: INS | None = None
    traits: Traits | None = None
    patients_opposed: bool = False

    @property
    def receives(self) -> bool:
        """Whether letters may be delivered."""
        return self.state in (BoxState.OPEN, BoxState.UNOPENED)


class AccountKind(StrEnum):
    """What signs in: a person of the profession, a patient, or a robot."""

    PROFESSIONAL = "professional"
    PATIENT = "patient"
    APPLICATION = "application"


@dataclass(frozen=True, slots=True)
class Account:
    """Who signs in. `login` is an address for professionals and robots, chosen words for patients."""

    id: int
    login: str
    kind: AccountKind
    display_name: str
    password_hash: str
    enabled: bool = True
    totp_confirmed: bool = False
    locale: str = "fr"


class DelegationKind(StrEnum):
    """Why an account may act for a box."""

    OWNER = "owner"
    MEMBER = "member"
    LEGAL_REPRESENTATIVE = "legal-representative"
    CAREGIVER = "caregiver"


@dataclass(frozen=True, slots=True)
class Delegation:
    """An account's right to act for a box, until `ends_at` (None: no end). `since` None: longer than anybody knows."""

    account_id: int
    box_id: int
    kind: DelegationKind
    ends_at: datetime | None = None
    since: datetime | None = None


@dataclass(frozen=True, slots=True)
class CertificateBinding:
    """Which certificates sign an account in: of this subject, of this fingerprint, or both where both are given."""

    id: int
    account_id: int
    subject: str = ""
    fingerprint: str = ""
