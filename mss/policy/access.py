"""Who may sign in where, act for a box, and read a document (MSSANTE.md §4.5 and §4.7).

Documents are judged in the order block, author, masking, matrix, consent, emergency; the matrix's answer comes as a
fact. A child's representatives act until it is of age, whatever was written down. It does not know where
documents are kept, and dossier access says nothing about messaging.
"""

from __future__ import annotations

import calendar
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Final, assert_never
from zoneinfo import ZoneInfo

from mss.model.account import Account, AccountKind, Box, Delegation, DelegationKind
from mss.model.document import Confidentiality
from mss.model.ins import Traits
from mss.model.rights import Grant, GrantKind, Professional, Purpose, Rights, Switch
from mss.policy import rules
from mss.policy.decision import Decision, Rule, accept, defer, reject


class Door(StrEnum):
    """Where somebody signs in."""

    SUBMISSION = "submission"
    IMAP = "imap"
    WEBMAIL = "webmail"
    FHIR = "fhir"


_BY_MAIL: Final = frozenset({AccountKind.PROFESSIONAL, AccountKind.APPLICATION})
# Which accounts each door lets in. Ask after the proof was right, lest the answer tell who exists.
MAY_USE: Final[Mapping[Door, frozenset[AccountKind]]] = MappingProxyType(
    {
        Door.SUBMISSION: _BY_MAIL,
        Door.IMAP: _BY_MAIL,
        Door.WEBMAIL: frozenset({AccountKind.PATIENT}),
        Door.FHIR: frozenset(AccountKind),
    }
)


class Action(StrEnum):
    """What may be done with a box and its dossier."""

    READ_LETTERS = "read-letters"
    SEND_LETTERS = "send-letters"
    DELETE_LETTERS = "delete-letters"
    READ_DOCUMENTS = "read-documents"
    ADD_DOCUMENTS = "add-documents"
    CHANGE_DOCUMENTS = "change-documents"
    CHANGE_CONFIDENTIALITY = "change-confidentiality"
    DELETE_DOCUMENTS = "delete-documents"
    BE_NOTIFIED = "be-notified"
    READ_JOURNAL = "read-journal"
    MANAGE_DELEGATIONS = "manage-delegations"
    MANAGE_RIGHTS = "manage-rights"
    CHANGE_IDENTITY = "change-identity"
    CLOSE_BOX = "close-box"
    REOPEN_BOX = "reopen-box"
    ERASE_DATA = "erase-data"
    EXPORT_DATA = "export-data"


_ALL: Final = frozenset(Action)
_CAREGIVER: Final = frozenset(
    {
        Action.READ_LETTERS,
        Action.SEND_LETTERS,
        Action.READ_DOCUMENTS,
        Action.ADD_DOCUMENTS,
        Action.CHANGE_DOCUMENTS,
        Action.BE_NOTIFIED,
        Action.READ_JOURNAL,
    }
)
_MEMBER: Final = frozenset(
    {Action.READ_LETTERS, Action.SEND_LETTERS, Action.DELETE_LETTERS, Action.BE_NOTIFIED, Action.EXPORT_DATA}
)
# What a closed or opposed box still lets: its archive is the holder's (décret 2021-1048).
_ARCHIVE: Final = frozenset(
    {
        Action.READ_LETTERS,
        Action.READ_DOCUMENTS,
        Action.READ_JOURNAL,
        Action.EXPORT_DATA,
        Action.ERASE_DATA,
        # Whoever opposed may say who reads what is left, and change their mind.
        Action.MANAGE_RIGHTS,
        Action.CHANGE_CONFIDENTIALITY,
        Action.REOPEN_BOX,
    }
)
# Civil majority (Code civil, article 414).
MAJORITY_YEARS: Final = 18
_FRANCE: Final = ZoneInfo("Europe/Paris")


def allowed_actions(kind: DelegationKind) -> frozenset[Action]:
    """Return what a delegation of this kind lets do with an open box."""
    match kind:
        case DelegationKind.OWNER | DelegationKind.LEGAL_REPRESENTATIVE:
            return _ALL
        case DelegationKind.CAREGIVER:
            return _CAREGIVER
        case DelegationKind.MEMBER:
            return _MEMBER
        case _ as never:
            assert_never(never)


def of_age_at(traits: Traits | None) -> datetime | None:
    """Return when a person is of age, midnight in France; None when the birth date is not known."""
    text = traits.birth_date if traits is not None else ""
    try:
        born = date.fromisoformat(text)
    except ValueError:
        return None
    # Somebody born on 29 February is of age on 1 March of a common year.
    year, leap = born.year + MAJORITY_YEARS, (born.month, born.day) == (2, 29)
    day = date(year, 3, 1) if leap and not calendar.isleap(year) else born.replace(year=year)
    return datetime(day.year, day.month, day.day, tzinfo=_FRANCE)


def ends_at(delegation: Delegation, traits: Traits | None) -> datetime | None:
    """Return when a delegation ends: as written down, that of a child's representative at the latest at majority.

    A representative who was named later represents a protected adult, and stays.
    """
    ends = [delegation.ends_at] if delegation.ends_at is not None else []
    if delegation.kind is DelegationKind.LEGAL_REPRESENTATIVE and (majority := of_age_at(traits)) is not None:
        ends += [majority] if delegation.since is None or delegation.since < majority else []
    return min(ends, default=None)


def permitted(
    chosen: frozenset[Switch] | None, default: frozenset[Switch], ends_at: datetime | None, now: datetime
) -> frozenset[Switch]:
    """Return the emergency switches that are on: those chosen, or the operator's where nothing was.

    What representatives chose for a child ends at `ends_at` and is asked again: what they allowed beyond the operator's
    word is over then, what they forbade stays until the grown person says otherwise.
    """
    if chosen is None:
        return default
    return chosen & default if ends_at is not None and now >= ends_at else chosen


def asks_again(traits: Traits | None, chosen_ends: Iterable[datetime | None], answered: bool, now: datetime) -> bool:
    """Say whether somebody who came of age is to be asked again what representatives had chosen: something of it ended
    then, and they chose nothing themselves since."""
    majority = of_age_at(traits)
    return majority is not None and now >= majority and majority in set(chosen_ends) and not answered


def in_force(delegation: Delegation, traits: Traits | None, now: datetime) -> bool:
    """Say whether a delegation for the box of a person with these traits holds now."""
    end = ends_at(delegation, traits)
    return end is None or now < end


def may_act(account: Account, delegations: Iterable[Delegation], box: Box, action: Action, now: datetime) -> Decision:
    """Say whether an account may do this with a box; of several delegations the widest counts."""
    facts: dict[str, str | int | bool] = {"account": account.id, "box": box.id, "action": action.value}
    mine = [one for one in delegations if (one.account_id, one.box_id) == (account.id, box.id)]
    kinds = sorted({one.kind for one in mine if in_force(one, box.traits, now)})
    refused = _refused_act(account, box, mine, kinds, action)
    if refused is rules.ACCESS_EXPIRED and any(one.ends_at is None or now < one.ends_at for one in mine):
        refused = rules.ACCESS_MAJORITY
    if refused is not None:
        return reject(refused, **facts)
    return accept(rules.ACCESS_GRANTED, **facts, kind=next(k for k in kinds if action in allowed_actions(k)).value)


def _refused_act(
    account: Account, box: Box, mine: list[Delegation], kinds: list[DelegationKind], action: Action
) -> Rule | None:
    if not account.enabled:
        return rules.ACCOUNT_DISABLED
    if (account.kind is AccountKind.PATIENT) is box.kind.is_professional:
        return rules.ACCESS_WRONG_KIND
    if not kinds:
        return rules.ACCESS_EXPIRED if mine else rules.ACCESS_NONE
    if not any(action in allowed_actions(kind) for kind in kinds):
        return rules.ACCESS_CAREGIVER if DelegationKind.CAREGIVER in kinds else rules.ACCESS_MEMBER
    if not box.receives and action not in _ARCHIVE:
        return rules.ACCESS_BOX_CLOSED
    return None


class Reader(StrEnum):
    """Who opens a document."""

    PATIENT = "patient"
    REPRESENTATIVE = "representative"
    CAREGIVER = "caregiver"
    PROFESSIONAL = "professional"


@dataclass(frozen=True, slots=True)
class ReadingFacts:
    """What is known of a reader and a document; `document_id` 0: any that has these facts.

    `masked` by the patient's hand or by MASQUE_PS. `matrix_allows`: the look-up profession × type, None when it
    could not be made. `consent` was given for a while, `care_team` until it is withdrawn. `permits` are the emergency
    switches that the patient left on.
    """

    reader: Reader
    document_id: int
    confidentiality: frozenset[Confidentiality] = frozenset()
    masked: bool = False
    is_author: bool = False
    blocked: bool = False
    matrix_allows: bool | None = None
    consent: bool = False
    care_team: bool = False
    purpose: Purpose = Purpose.TREATMENT
    permits: frozenset[Switch] = frozenset()


# The rules that let a professional read.
OPENS: Final = frozenset(
    {rules.DOCUMENT_AUTHOR, rules.DOCUMENT_CARE_TEAM, rules.DOCUMENT_CONSENT, rules.DOCUMENT_EMERGENCY}
)


def may_read_document(facts: ReadingFacts) -> Decision:
    """Say whether a reader may open a document. The patient is to be told when `document.emergency` accepts."""
    known: dict[str, str | int | bool] = {"reader": facts.reader.value}
    known |= {"document": facts.document_id} if facts.document_id else {}
    match facts.reader:
        case Reader.PATIENT | Reader.CAREGIVER | Reader.REPRESENTATIVE:
            hidden = _hidden_from_patient(facts)
            return reject(hidden, **known) if hidden else accept(rules.DOCUMENT_OWN, **known)
        case Reader.PROFESSIONAL:
            return _judged(_professional_rule(facts), known | _told(facts))
        case _ as never:
            assert_never(never)


def _judged(rule: Rule, known: Mapping[str, str | int | bool]) -> Decision:
    if rule in OPENS:
        return accept(rule, **known)
    return defer(rule, **known) if rule is rules.DOCUMENT_MATRIX_UNKNOWN else reject(rule, **known)


def _told(facts: ReadingFacts) -> dict[str, str | int | bool]:
    """Return the facts that decide for a professional, so that a refusal can be explained."""
    matrix = "unknown" if facts.matrix_allows is None else "yes" if facts.matrix_allows else "no"
    return {
        "purpose": facts.purpose.value,
        "blocked": facts.blocked,
        "author": facts.is_author,
        "masked": _is_masked(facts),
        "matrix": matrix,
        "care_team": facts.care_team,
        "consent": facts.consent,
        "switches": " ".join(sorted(facts.permits)),
    }


def _hidden_from_patient(facts: ReadingFacts) -> Rule | None:
    if Confidentiality.INVISIBLE_PATIENT in facts.confidentiality:
        return rules.DOCUMENT_INVISIBLE_TO_PATIENT
    hidden = Confidentiality.INVISIBLE_REPRESENTATIVES in facts.confidentiality
    if facts.reader is Reader.REPRESENTATIVE and hidden:
        return rules.DOCUMENT_INVISIBLE_TO_REPRESENTATIVES
    return None


def _is_masked(facts: ReadingFacts) -> bool:
    return facts.masked or Confidentiality.MASKED_FOR_PROFESSIONALS in facts.confidentiality


def _professional_rule(facts: ReadingFacts) -> Rule:
    """Return the rule that decides: block, author, masking, matrix, consent, emergency; the first that stops, stops."""
    if facts.blocked:
        return rules.DOCUMENT_BLOCKED
    if facts.is_author:
        return rules.DOCUMENT_AUTHOR
    emergency = facts.purpose.is_emergency and Switch(facts.purpose.value) in facts.permits
    if _is_masked(facts) and not (emergency and Switch.MASKED in facts.permits):
        return rules.DOCUMENT_MASKED
    if facts.matrix_allows is not True:
        return rules.DOCUMENT_MATRIX_UNKNOWN if facts.matrix_allows is None else rules.DOCUMENT_MATRIX
    return _consent_rule(facts, emergency)


def _consent_rule(facts: ReadingFacts, emergency: bool) -> Rule:
    # A masked document is read by its emergency switch alone: a consent to the dossier does not unmask it.
    if facts.care_team and not _is_masked(facts):
        return rules.DOCUMENT_CARE_TEAM
    if facts.consent and not _is_masked(facts):
        return rules.DOCUMENT_CONSENT
    if emergency:
        return rules.DOCUMENT_EMERGENCY
    return rules.DOCUMENT_EMERGENCY_REFUSED if facts.purpose.is_emergency else rules.DOCUMENT_NO_CONSENT


@dataclass(frozen=True, slots=True)
class Standing:
    """What a patient's rights say of one professional now, for every document alike."""

    blocked: bool
    care_team: frozenset[str] | None
    consent: frozenset[str] | None
    permits: frozenset[Switch]
    purpose: Purpose

    def facts(
        self,
        document_id: int,
        category: str,
        *,
        masked: bool,
        is_author: bool,
        matrix_allows: bool | None,
    ) -> ReadingFacts:
        """Return the facts of one document, of a category, for this professional."""
        return ReadingFacts(
            Reader.PROFESSIONAL,
            document_id,
            masked=masked,
            is_author=is_author,
            blocked=self.blocked,
            matrix_allows=matrix_allows,
            consent=_covers(self.consent, category),
            care_team=_covers(self.care_team, category),
            purpose=self.purpose,
            permits=self.permits,
        )


def _covers(scope: frozenset[str] | None, category: str) -> bool:
    return scope is not None and (not scope or category in scope)


def standing(rights: Rights, one: Professional, purpose: Purpose, now: datetime) -> Standing:
    """Return what a patient's rights say of a professional who comes for this purpose now."""
    mine = [grant for grant in rights.grants if grant.holds(now) and grant.grantee.names(one)]
    return Standing(
        blocked=any(grant.kind is GrantKind.BLOCK for grant in mine),
        care_team=_scope(mine, GrantKind.CARE_TEAM),
        consent=_scope(mine, GrantKind.EACH_TIME),
        permits=rights.permits,
        purpose=purpose,
    )


def _scope(grants: Iterable[Grant], kind: GrantKind) -> frozenset[str] | None:
    """Return the categories that grants of a kind cover together: None for none, empty for all."""
    scopes = [grant.categories for grant in grants if grant.kind is kind]
    if not scopes:
        return None
    return frozenset() if frozenset() in scopes else frozenset().union(*scopes)
