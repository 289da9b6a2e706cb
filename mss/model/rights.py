"""Who may read a patient's dossier, as its patient set it: blocks, consents, care team, masks, emergency switches.

Nouns only (MSSANTE.md §4.7); `policy.access` decides.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Purpose(StrEnum):
    """Why a professional opens a dossier: ordinary care, regulation centre (SAMU), or break-glass by another."""

    TREATMENT = "TREAT"
    REGULATION = "ETREAT"
    BREAK_GLASS = "BTG"

    @property
    def is_emergency(self) -> bool:
        """Whether the patient's emergency switches are asked."""
        return self is not Purpose.TREATMENT


class Switch(StrEnum):
    """The three emergency consents; `MASKED` concerns masked documents in an emergency of either kind."""

    REGULATION = "ETREAT"
    BREAK_GLASS = "BTG"
    MASKED = "MASKED"


@dataclass(frozen=True, slots=True)
class Professional:
    """Who reads: identified by account, IdNat_PS and mail address, whichever are known; `profession_code` as the
    directory or a CDA writes it."""

    account_id: int
    name: str
    person_id: str = ""
    profession_code: str = ""
    structure_id: str = ""
    address_key: str = ""


@dataclass(frozen=True, slots=True)
class Grantee:
    """Whom a patient named: a person by account, IdNat_PS or mail address; a structure when only that is given."""

    name: str
    account_id: int = 0
    person_id: str = ""
    structure_id: str = ""
    address_key: str = ""

    def names(self, one: Professional) -> bool:
        """Say whether this is that professional, or their structure."""
        if self.account_id and self.account_id == one.account_id:
            return True
        if self.person_id and one.person_id:
            return self.person_id == one.person_id
        if self.address_key and one.address_key:
            return self.address_key == one.address_key
        person = self.account_id or self.person_id or self.address_key
        return not person and bool(self.structure_id) and self.structure_id == one.structure_id


class GrantKind(StrEnum):
    """`block` refuses everything; `care-team` lasts until withdrawn; `each-time` is a consent for a short while."""

    BLOCK = "block"
    CARE_TEAM = "care-team"
    EACH_TIME = "each-time"


@dataclass(frozen=True, slots=True)
class Grant:
    """What a patient set for one professional or structure. `categories` bound a consent; empty: the whole dossier."""

    id: int
    kind: GrantKind
    grantee: Grantee
    since: datetime
    ends_at: datetime | None = None
    categories: frozenset[str] = frozenset()
    account_id: int = 0

    def holds(self, now: datetime) -> bool:
        """Say whether it is in force."""
        return self.ends_at is None or now < self.ends_at


@dataclass(frozen=True, slots=True)
class Rights:
    """All that a patient set. `default_mask`: new documents are masked; `notify`: the e-mail hook is wanted."""

    grants: tuple[Grant, ...] = ()
    permits: frozenset[Switch] = frozenset()
    default_mask: bool = False
    notify: bool = True


class InvitationState(StrEnum):
    """What became of an invitation. One that is past its end is `expired` whatever is stored."""

    PENDING = "pending"
    ACCEPTED = "accepted"
    REFUSED = "refused"
    WITHDRAWN = "withdrawn"
    EXPIRED = "expired"


class NoticeKind(StrEnum):
    """What a patient is told of."""

    EMERGENCY_ACCESS = "emergency-access"
    FIRST_ACCESS = "first-access"
    DELEGATION_ACCEPTED = "delegation-accepted"


@dataclass(frozen=True, slots=True)
class PatientNotice:
    """A notice in the webmail; `name` is who it is about."""

    id: int
    box_id: int
    kind: NoticeKind
    name: str
    at: datetime
    seen: bool
