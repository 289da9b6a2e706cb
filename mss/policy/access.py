"""Who may sign in where, act for a box, and read a document (MSSANTE.md §4.5 and §4.7).

Documents are judged in the order block, masking, matrix, consent, emergency; the matrix's answer comes as a fact. It
does not know where documents are kept, and dossier access says nothing about messaging.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Final, assert_never

from mss.model.account import Account, AccountKind, Box, Delegation, DelegationKind
from mss.model.document import Confidentiality
from mss.policy import rules
from mss.policy.decision import Decision, Rule, accept, defer, reject


class Door(StrEnum):
    """Where somebody signs in."""

    SUBMISSION = "submission"
    IMAP = "imap"
    WEBMAIL = "webmail"


_BY_MAIL: Final = frozenset({AccountKind.PROFESSIONAL, AccountKind.APPLICATION})
# Which accounts each door lets in. Ask after the proof was right, lest the answer tell who exists.
MAY_USE: Final[Mapping[Door, frozenset[AccountKind]]] = MappingProxyType(
    {Door.SUBMISSION: _BY_MAIL, Door.IMAP: _BY_MAIL, Door.WEBMAIL: frozenset({AccountKind.PATIENT})}
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
    CHANGE_IDENTITY = "change-identity"
    CLOSE_BOX = "close-box"
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
    {Action.READ_LETTERS, Action.READ_DOCUMENTS, Action.READ_JOURNAL, Action.EXPORT_DATA, Action.ERASE_DATA}
)


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


def may_act(account: Account, delegations: Iterable[Delegation], box: Box, action: Action, now: datetime) -> Decision:
    """Say whether an account may do this with a box; of several delegations the widest counts."""
    facts: dict[str, str | int | bool] = {"account": account.id, "box": box.id, "action": action.value}
    mine = [one for one in delegations if (one.account_id, one.box_id) == (account.id, box.id)]
    kinds = sorted({one.kind for one in mine if one.ends_at is None or now < one.ends_at})
    refused = _refused_act(account, box, mine, kinds, action)
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


class Emergency(StrEnum):
    """Purpose of an access in an emergency: regulation centre (SAMU), or break-glass by another professional."""

    REGULATION = "ETREAT"
    BREAK_GLASS = "BTG"


@dataclass(frozen=True, slots=True)
class ReadingFacts:
    """What is known of a reader and a document.

    `masked` by the patient's hand or by MASQUE_PS. `matrix_allows`: the look-up profession × type, None when it
    could not be made. `emergency_permits` are the purposes that the patient left permitted, `masked_in_emergency`
    the third switch.
    """

    reader: Reader
    document_id: int
    confidentiality: frozenset[Confidentiality] = frozenset()
    masked: bool = False
    is_author: bool = False
    blocked: bool = False
    matrix_allows: bool | None = None
    consent: bool = False
    emergency: Emergency | None = None
    emergency_permits: frozenset[Emergency] = frozenset()
    masked_in_emergency: bool = False


def may_read_document(facts: ReadingFacts) -> Decision:
    """Say whether a reader may open a document. The patient is to be told when `document.emergency` accepts."""
    known: dict[str, str | int | bool] = {"document": facts.document_id, "reader": facts.reader.value}
    match facts.reader:
        case Reader.PATIENT | Reader.CAREGIVER | Reader.REPRESENTATIVE:
            hidden = _hidden_from_patient(facts)
            return reject(hidden, **known) if hidden else accept(rules.DOCUMENT_OWN, **known)
        case Reader.PROFESSIONAL:
            rule = _professional_rule(facts)
        case _ as never:
            assert_never(never)
    if facts.emergency is not None:
        known["emergency"] = facts.emergency.value
    if rule in (rules.DOCUMENT_AUTHOR, rules.DOCUMENT_CONSENT, rules.DOCUMENT_EMERGENCY):
        return accept(rule, **known)
    return defer(rule, **known) if rule is rules.DOCUMENT_MATRIX_UNKNOWN else reject(rule, **known)


def _hidden_from_patient(facts: ReadingFacts) -> Rule | None:
    if Confidentiality.INVISIBLE_PATIENT in facts.confidentiality:
        return rules.DOCUMENT_INVISIBLE_TO_PATIENT
    hidden = Confidentiality.INVISIBLE_REPRESENTATIVES in facts.confidentiality
    if facts.reader is Reader.REPRESENTATIVE and hidden:
        return rules.DOCUMENT_INVISIBLE_TO_REPRESENTATIVES
    return None


def _professional_rule(facts: ReadingFacts) -> Rule:
    """Return the rule that decides: block, masking, matrix, consent, emergency; the first that stops, stops."""
    if facts.blocked:
        return rules.DOCUMENT_BLOCKED
    if facts.is_author:
        return rules.DOCUMENT_AUTHOR
    emergency = facts.emergency is not None and facts.emergency in facts.emergency_permits
    masked = facts.masked or Confidentiality.MASKED_FOR_PROFESSIONALS in facts.confidentiality
    if masked and not (emergency and facts.masked_in_emergency):
        return rules.DOCUMENT_MASKED
    if facts.matrix_allows is not True:
        return rules.DOCUMENT_MATRIX_UNKNOWN if facts.matrix_allows is None else rules.DOCUMENT_MATRIX
    if facts.consent:
        return rules.DOCUMENT_CONSENT
    if emergency:
        return rules.DOCUMENT_EMERGENCY
    return rules.DOCUMENT_EMERGENCY_REFUSED if facts.emergency else rules.DOCUMENT_NO_CONSENT
