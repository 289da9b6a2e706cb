"""Who may sign in where, act for a box, and read a document."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from mss.model.account import Account, AccountKind, BoxState, Delegation, DelegationKind
from mss.model.document import Confidentiality
from mss.model.party import BoxKind
from mss.policy.access import (
    MAY_USE,
    Action,
    Door,
    Emergency,
    Reader,
    ReadingFacts,
    allowed_actions,
    may_act,
    may_read_document,
)
from mss.policy.decision import Verdict
from tests.policy.facts import NOW, box


def _account(kind: AccountKind = AccountKind.PATIENT, **more: Any) -> Account:
    return Account(7, "login", kind, "Name", "hash", **more)


def _delegation(kind: DelegationKind, ends_at: datetime | None = None, account: int = 7, to: int = 4) -> Delegation:
    return Delegation(account, to, kind, ends_at)


@pytest.mark.parametrize(
    ("kind", "doors"),
    [
        (AccountKind.PATIENT, {Door.WEBMAIL}),
        (AccountKind.PROFESSIONAL, {Door.IMAP, Door.SUBMISSION}),
        (AccountKind.APPLICATION, {Door.IMAP, Door.SUBMISSION}),
    ],
)
def test_patients_come_by_the_web_only_and_others_by_mail(kind: AccountKind, doors: set[Door]) -> None:
    assert {door for door in Door if kind in MAY_USE[door]} == doors


_OWNER, _CAREGIVER = _delegation(DelegationKind.OWNER), _delegation(DelegationKind.CAREGIVER)
_PARENT = _delegation(DelegationKind.LEGAL_REPRESENTATIVE)
_BEFORE, _AFTER = NOW - timedelta(seconds=1), NOW + timedelta(seconds=1)


@pytest.mark.parametrize(
    ("delegations", "action", "rule"),
    [
        ([_OWNER], Action.SEND_LETTERS, "access.granted"),
        ([_OWNER], Action.ERASE_DATA, "access.granted"),
        ([_PARENT], Action.READ_LETTERS, "access.granted"),
        ([], Action.READ_LETTERS, "access.no-delegation"),
        ([_delegation(DelegationKind.OWNER, account=8)], Action.READ_LETTERS, "access.no-delegation"),
        ([_delegation(DelegationKind.OWNER, to=5)], Action.READ_LETTERS, "access.no-delegation"),
        ([_delegation(DelegationKind.CAREGIVER, _AFTER)], Action.READ_LETTERS, "access.granted"),
        ([_delegation(DelegationKind.CAREGIVER, NOW)], Action.READ_LETTERS, "access.expired"),
        ([_delegation(DelegationKind.CAREGIVER, _BEFORE)], Action.READ_LETTERS, "access.expired"),
        ([_delegation(DelegationKind.OWNER, _BEFORE), _CAREGIVER], Action.ERASE_DATA, "access.caregiver-restricted"),
        ([_CAREGIVER, _OWNER], Action.ERASE_DATA, "access.granted"),
        ([_delegation(DelegationKind.MEMBER)], Action.READ_DOCUMENTS, "access.member-restricted"),
    ],
)
def test_only_a_delegation_in_force_lets_act(delegations: list[Delegation], action: Action, rule: str) -> None:
    decision = may_act(_account(), delegations, box(), action, NOW)
    assert decision.rule.name == rule
    assert decision.accepted is (rule == "access.granted")
    assert decision.facts["action"] == action.value


def test_the_delegation_that_grants_is_told() -> None:
    decision = may_act(_account(), [_CAREGIVER, _OWNER], box(), Action.CLOSE_BOX, NOW)
    assert decision.facts["kind"] == "owner"


_CAREGIVER_MAY = {
    Action.READ_LETTERS,
    Action.SEND_LETTERS,
    Action.READ_DOCUMENTS,
    Action.ADD_DOCUMENTS,
    Action.CHANGE_DOCUMENTS,
    Action.BE_NOTIFIED,
    Action.READ_JOURNAL,
}


@pytest.mark.parametrize("action", Action)
def test_caregivers_read_and_write_but_neither_delete_nor_govern(action: Action) -> None:
    decision = may_act(_account(), [_CAREGIVER], box(), action, NOW)
    assert decision.accepted is (action in _CAREGIVER_MAY)
    assert decision.rule.name == ("access.granted" if action in _CAREGIVER_MAY else "access.caregiver-restricted")


@pytest.mark.parametrize("action", Action)
def test_a_closed_box_is_an_archive(action: Action) -> None:
    archive = {
        Action.READ_LETTERS,
        Action.READ_DOCUMENTS,
        Action.READ_JOURNAL,
        Action.EXPORT_DATA,
        Action.ERASE_DATA,
    }
    decision = may_act(_account(), [_OWNER], box(state=BoxState.CLOSED), action, NOW)
    assert decision.rule.name == ("access.granted" if action in archive else "access.box-closed")


@pytest.mark.parametrize(
    ("kind", "box_kind", "rule"),
    [
        (AccountKind.PROFESSIONAL, BoxKind.ORG, "access.granted"),
        (AccountKind.APPLICATION, BoxKind.APP, "access.granted"),
        (AccountKind.PATIENT, BoxKind.ORG, "access.wrong-kind"),
        (AccountKind.PROFESSIONAL, BoxKind.PATIENT, "access.wrong-kind"),
        (AccountKind.APPLICATION, BoxKind.PATIENT, "access.wrong-kind"),
    ],
)
def test_patients_act_for_patients_and_professionals_for_professionals(
    kind: AccountKind, box_kind: BoxKind, rule: str
) -> None:
    one = box(box_kind)
    delegations = [_delegation(DelegationKind.MEMBER, to=one.id)]
    assert may_act(_account(kind), delegations, one, Action.READ_LETTERS, NOW).rule.name == rule


def test_a_disabled_account_acts_for_nobody() -> None:
    assert may_act(_account(enabled=False), [_OWNER], box(), Action.READ_LETTERS, NOW).rule.name == "account.disabled"


def test_every_kind_of_delegation_may_at_least_read_letters() -> None:
    assert all(Action.READ_LETTERS in allowed_actions(kind) for kind in DelegationKind)


def _reading(reader: Reader = Reader.PROFESSIONAL, *marks: Confidentiality, **more: Any) -> ReadingFacts:
    return ReadingFacts(reader, 3, frozenset(marks), **more)


def _doctor(*marks: Confidentiality, **more: Any) -> ReadingFacts:
    more.setdefault("matrix_allows", True)
    more.setdefault("consent", True)
    return _reading(Reader.PROFESSIONAL, *marks, **more)


_INVISIBLE, _REPS = Confidentiality.INVISIBLE_PATIENT, Confidentiality.INVISIBLE_REPRESENTATIVES
_MASKED = Confidentiality.MASKED_FOR_PROFESSIONALS
_URGENT = {
    "emergency": Emergency.BREAK_GLASS,
    "emergency_permits": frozenset({Emergency.BREAK_GLASS}),
    "consent": False,
}
_NO_SWITCH = {
    "emergency": Emergency.BREAK_GLASS,
    "emergency_permits": frozenset({Emergency.REGULATION}),
    "consent": False,
}


@pytest.mark.parametrize(
    ("facts", "rule"),
    [
        (_reading(Reader.PATIENT), "document.own"),
        (_reading(Reader.PATIENT, _MASKED, masked=True), "document.own"),
        (_reading(Reader.PATIENT, _REPS), "document.own"),
        (_reading(Reader.PATIENT, _INVISIBLE), "document.invisible-to-patient"),
        (_reading(Reader.CAREGIVER), "document.own"),
        (_reading(Reader.CAREGIVER, _REPS), "document.own"),
        (_reading(Reader.CAREGIVER, _INVISIBLE), "document.invisible-to-patient"),
        (_reading(Reader.REPRESENTATIVE), "document.own"),
        (_reading(Reader.REPRESENTATIVE, _REPS), "document.invisible-to-representatives"),
        (_reading(Reader.REPRESENTATIVE, _INVISIBLE), "document.invisible-to-patient"),
        # Professionals: block, masking, matrix, consent, emergency, in this order.
        (_doctor(), "document.consent"),
        (_doctor(_INVISIBLE), "document.consent"),
        (_doctor(blocked=True), "document.blocked"),
        (_doctor(blocked=True, is_author=True), "document.blocked"),
        (_doctor(blocked=True, masked=True, matrix_allows=False), "document.blocked"),
        (_doctor(blocked=True, masked_in_emergency=True, **_URGENT), "document.blocked"),
        (_doctor(is_author=True, masked=True), "document.author"),
        (_doctor(_MASKED, is_author=True, consent=False, matrix_allows=None), "document.author"),
        (_doctor(masked=True), "document.masked"),
        (_doctor(_MASKED), "document.masked"),
        (_doctor(masked=True, matrix_allows=False, consent=False), "document.masked"),
        (_doctor(matrix_allows=False), "document.matrix"),
        (_doctor(matrix_allows=False, consent=False), "document.matrix"),
        (_doctor(matrix_allows=False, **_URGENT), "document.matrix"),
        (_doctor(matrix_allows=None), "document.matrix-unknown"),
        (_doctor(consent=False), "document.no-consent"),
        (_doctor(**_URGENT), "document.emergency"),
        (_doctor(**_NO_SWITCH), "document.emergency-refused"),
        (_doctor(**{**_URGENT, "consent": True}), "document.consent"),
        (_doctor(masked=True, **_URGENT), "document.masked"),
        (_doctor(masked=True, masked_in_emergency=True, **_URGENT), "document.emergency"),
        (_doctor(masked=True, masked_in_emergency=True, **_NO_SWITCH), "document.masked"),
        (_doctor(masked=True, masked_in_emergency=True), "document.masked"),
    ],
)
def test_a_document_is_judged_in_order(facts: ReadingFacts, rule: str) -> None:
    decision = may_read_document(facts)
    accepting = ("document.own", "document.author", "document.consent", "document.emergency")
    expected = Verdict.ACCEPT if rule in accepting else Verdict.REJECT
    assert decision.rule.name == rule
    assert decision.verdict is (Verdict.DEFER if rule == "document.matrix-unknown" else expected)
    assert decision.facts["document"] == 3


def test_the_purpose_of_an_emergency_is_among_the_facts() -> None:
    assert may_read_document(_doctor(**_URGENT)).facts["emergency"] == "BTG"
    assert "emergency" not in may_read_document(_doctor()).facts
