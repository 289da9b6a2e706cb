"""Who may sign in where, act for a box, and read a document."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from mss.model.account import Account, AccountKind, BoxState, Delegation, DelegationKind
from mss.model.document import Confidentiality
from mss.model.ins import Traits
from mss.model.party import BoxKind
from mss.model.rights import Grant, Grantee, GrantKind, Professional, Purpose, Rights, Switch
from mss.policy.access import (
    MAY_USE,
    OPENS,
    Action,
    Door,
    Reader,
    ReadingFacts,
    allowed_actions,
    asks_again,
    ends_at,
    may_act,
    may_read_document,
    of_age_at,
    permitted,
    standing,
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
        (AccountKind.PATIENT, {Door.WEBMAIL, Door.FHIR}),
        (AccountKind.PROFESSIONAL, {Door.IMAP, Door.SUBMISSION, Door.FHIR}),
        (AccountKind.APPLICATION, {Door.IMAP, Door.SUBMISSION, Door.FHIR}),
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
    assert decision.facts == {"account": 7, "box": 4, "action": "close-box", "kind": "owner"}


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
        Action.MANAGE_RIGHTS,
        Action.CHANGE_CONFIDENTIALITY,
        Action.REOPEN_BOX,
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
    more.setdefault("document_id", 3)
    return ReadingFacts(reader, confidentiality=frozenset(marks), **more)


def _doctor(*marks: Confidentiality, **more: Any) -> ReadingFacts:
    more.setdefault("matrix_allows", True)
    more.setdefault("consent", True)
    return _reading(Reader.PROFESSIONAL, *marks, **more)


_INVISIBLE, _REPS = Confidentiality.INVISIBLE_PATIENT, Confidentiality.INVISIBLE_REPRESENTATIVES
_MASKED = Confidentiality.MASKED_FOR_PROFESSIONALS
_BTG, _ETREAT, _UNMASK = Switch.BREAK_GLASS, Switch.REGULATION, Switch.MASKED


def _urgent(*permits: Switch, **more: Any) -> ReadingFacts:
    more.setdefault("consent", False)
    return _doctor(purpose=Purpose.BREAK_GLASS, permits=frozenset(permits), **more)


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
        # Professionals: block, author, masking, matrix, consent, emergency, in this order.
        (_doctor(), "document.consent"),
        (_doctor(_INVISIBLE), "document.consent"),
        (_doctor(blocked=True), "document.blocked"),
        (_doctor(blocked=True, is_author=True), "document.blocked"),
        (_doctor(blocked=True, masked=True, matrix_allows=False), "document.blocked"),
        (_urgent(_BTG, _UNMASK, blocked=True), "document.blocked"),
        (_doctor(is_author=True, masked=True), "document.author"),
        (_doctor(_MASKED, is_author=True, consent=False, matrix_allows=None), "document.author"),
        (_doctor(masked=True), "document.masked"),
        (_doctor(_MASKED), "document.masked"),
        (_doctor(masked=True, matrix_allows=False, consent=False), "document.masked"),
        (_doctor(masked=True, care_team=True), "document.masked"),
        (_doctor(matrix_allows=False), "document.matrix"),
        (_doctor(matrix_allows=False, consent=False, care_team=True), "document.matrix"),
        (_urgent(_BTG, matrix_allows=False), "document.matrix"),
        (_doctor(matrix_allows=None), "document.matrix-unknown"),
        (_doctor(consent=False), "document.no-consent"),
        (_doctor(consent=False, care_team=True), "document.care-team"),
        (_doctor(care_team=True), "document.care-team"),
        # The three switches: each purpose its own, and that of masked documents beside it.
        (_urgent(_BTG), "document.emergency"),
        (_urgent(_ETREAT), "document.emergency-refused"),
        (_urgent(), "document.emergency-refused"),
        (_urgent(_UNMASK), "document.emergency-refused"),
        (_urgent(_BTG, consent=True), "document.consent"),
        (_urgent(consent=True), "document.consent"),
        (_urgent(_BTG, care_team=True), "document.care-team"),
        (_urgent(_BTG, masked=True), "document.masked"),
        (_urgent(_BTG, _UNMASK, masked=True), "document.emergency"),
        # What unmasks in an emergency is the emergency, and the patient is told so: not the consent.
        (_urgent(_BTG, _UNMASK, masked=True, consent=True), "document.emergency"),
        (_urgent(_BTG, _UNMASK, masked=True, care_team=True), "document.emergency"),
        (_urgent(_ETREAT, _UNMASK, masked=True), "document.masked"),
        (_doctor(masked=True, permits=frozenset(Switch)), "document.masked"),
    ],
)
def test_a_document_is_judged_in_order(facts: ReadingFacts, rule: str) -> None:
    decision = may_read_document(facts)
    accepting = ("document.own", *(one.name for one in OPENS))
    expected = Verdict.ACCEPT if rule in accepting else Verdict.REJECT
    assert decision.rule.name == rule
    assert decision.verdict is (Verdict.DEFER if rule == "document.matrix-unknown" else expected)
    assert decision.facts["document"] == 3


def test_what_decided_is_among_the_facts() -> None:
    facts = may_read_document(_urgent(_UNMASK, _BTG, masked=True, document_id=0)).facts
    assert facts == {
        "reader": "professional", "purpose": "BTG", "blocked": False, "author": False, "masked": True, "matrix": "yes",
        "care_team": False, "consent": False, "switches": "BTG MASKED",
    }  # fmt: skip
    assert may_read_document(_doctor(matrix_allows=None)).facts["matrix"] == "unknown"
    assert may_read_document(_doctor(matrix_allows=False)).facts["matrix"] == "no"
    assert "purpose" not in may_read_document(_reading(Reader.PATIENT)).facts


# -- what a patient set, for one professional ------------------------------------------------------------------------

_MARTIN = Professional(7, "Dr Martin", "899700000001", "10", "1630013605", "martin@chu")
_BY_ID, _BY_STRUCTURE = Grantee("", 0, "899700000001"), Grantee("", 0, "", "1630013605")


@pytest.mark.parametrize(
    ("grantee", "named"),
    [
        (Grantee("", 7), True),
        (Grantee("", 8), False),
        (Grantee("", 8, "899700000001"), True),
        (_BY_ID, True),
        (Grantee("", 0, "899700000002"), False),
        # Another person of the same structure, or at the same address, is another person.
        (Grantee("", 0, "899700000002", "1630013605", "martin@chu"), False),
        (Grantee("", 0, "", "1630013605", "martin@chu"), True),
        (Grantee("", 0, "", "1630013605", "other@chu"), False),
        (_BY_STRUCTURE, True),
        (Grantee("", 0, "", "1630013606"), False),
        (Grantee(""), False),
        (Grantee("", 8, "", "1630013605"), False),
    ],
)
def test_whom_a_patient_named(grantee: Grantee, named: bool) -> None:
    assert grantee.names(_MARTIN) is named


def test_nobody_is_named_by_what_is_not_known() -> None:
    bare = Professional(9, "Somebody")
    assert not any(one.names(bare) for one in (_BY_ID, _BY_STRUCTURE, Grantee("", 0, "", "", "a@b"), Grantee("")))


def _grant(kind: GrantKind, grantee: Grantee = _BY_ID, ends_at: datetime | None = None, *categories: str) -> Grant:
    return Grant(1, kind, grantee, NOW, ends_at, frozenset(categories))


_TEAM, _EACH, _BLOCK = GrantKind.CARE_TEAM, GrantKind.EACH_TIME, GrantKind.BLOCK


@pytest.mark.parametrize(
    ("grants", "blocked", "care_team", "consent"),
    [
        ([], False, None, None),
        ([_grant(_BLOCK)], True, None, None),
        ([_grant(_BLOCK, ends_at=NOW)], False, None, None),
        ([_grant(_BLOCK, Grantee("", 8))], False, None, None),
        ([_grant(_TEAM)], False, set(), None),
        ([_grant(_TEAM, _BY_STRUCTURE)], False, set(), None),
        ([_grant(_EACH, ends_at=_AFTER)], False, None, set()),
        ([_grant(_EACH, ends_at=NOW)], False, None, None),
        ([_grant(_EACH, _BY_ID, _AFTER, "BIOLOGIE")], False, None, {"BIOLOGIE"}),
        ([_grant(_EACH, _BY_ID, _AFTER, "A"), _grant(_EACH, _BY_ID, None, "B")], False, None, {"A", "B"}),
        ([_grant(_EACH, _BY_ID, _AFTER, "A"), _grant(_EACH, _BY_ID)], False, None, set()),
        ([_grant(_BLOCK), _grant(_TEAM), _grant(_EACH)], True, set(), set()),
    ],
)
def test_where_a_professional_stands(
    grants: list[Grant], blocked: bool, care_team: set[str] | None, consent: set[str] | None
) -> None:
    rights = Rights(tuple(grants), frozenset({_BTG}))
    found = standing(rights, _MARTIN, Purpose.REGULATION, NOW)
    assert (found.blocked, found.care_team, found.consent) == (blocked, care_team, consent)
    assert (found.permits, found.purpose) == (frozenset({_BTG}), Purpose.REGULATION)


@pytest.mark.parametrize(("category", "covered"), [("BIOLOGIE", True), ("RADIO_SC", False)])
def test_a_consent_covers_its_categories(category: str, covered: bool) -> None:
    grants = (_grant(_EACH, _BY_ID, None, "BIOLOGIE"), _grant(_TEAM, _BY_ID, None, "BIOLOGIE"))
    found = standing(Rights(grants), _MARTIN, Purpose.TREATMENT, NOW)
    facts = found.facts(3, category, masked=True, is_author=True, matrix_allows=None)
    assert facts == _reading(masked=True, is_author=True, consent=covered, care_team=covered)


def test_the_facts_of_a_document_hold_all_that_is_known_of_it_and_its_reader() -> None:
    found = standing(Rights((_grant(_BLOCK),), frozenset({_BTG})), _MARTIN, Purpose.BREAK_GLASS, NOW)
    facts = found.facts(9, "X", masked=False, is_author=False, matrix_allows=True)
    assert facts == ReadingFacts(
        Reader.PROFESSIONAL, 9, blocked=True, matrix_allows=True, purpose=Purpose.BREAK_GLASS, permits=frozenset({_BTG})
    )


# -- majority --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("born", "of_age"),
    [
        ("20081122", "2026-11-22"),
        ("20080229", "2026-03-01"),
        ("20120229", "2030-03-01"),
        ("2008-11-22", "2026-11-22"),
        ("", None),
        ("20081322", None),
        ("2008", None),
    ],
)
def test_of_age_at_midnight_in_france(born: str, of_age: str | None) -> None:
    at = of_age_at(Traits("X", "Y", born, "F"))
    assert (None if at is None else f"{at:%Y-%m-%d %H:%M}") == (None if of_age is None else f"{of_age} 00:00")
    assert at is None or str(at.tzinfo) == "Europe/Paris"


def test_of_age_without_traits_is_not_known() -> None:
    assert of_age_at(None) is None


_CHILD = Traits("X", "Y", "20081123", "F")
_OF_AGE = datetime(2026, 11, 22, 23, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("kind", "written", "expected"),
    [
        (DelegationKind.LEGAL_REPRESENTATIVE, None, _OF_AGE),
        (DelegationKind.LEGAL_REPRESENTATIVE, _AFTER, _AFTER),
        (DelegationKind.LEGAL_REPRESENTATIVE, NOW + timedelta(days=900), _OF_AGE),
        (DelegationKind.CAREGIVER, None, None),
        (DelegationKind.CAREGIVER, _AFTER, _AFTER),
        (DelegationKind.OWNER, None, None),
    ],
)
def test_a_representative_acts_until_the_child_is_of_age(
    kind: DelegationKind, written: datetime | None, expected: datetime | None
) -> None:
    delegation = _delegation(kind, written)
    assert ends_at(delegation, _CHILD) == expected
    for at, held in ((_OF_AGE - timedelta(seconds=1), True), (_OF_AGE, False)):
        if expected == _OF_AGE:
            decision = may_act(_account(), [delegation], box(traits=_CHILD), Action.READ_LETTERS, at)
            assert decision.accepted is held
            # A right that was written down for longer ended because of the majority, and that is what is said.
            assert held or decision.rule.name == "access.majority"


def test_whoever_was_named_later_represents_a_protected_adult() -> None:
    parent = replace(_delegation(DelegationKind.LEGAL_REPRESENTATIVE), since=_OF_AGE - timedelta(seconds=1))
    assert ends_at(parent, _CHILD) == _OF_AGE
    assert ends_at(replace(parent, since=_OF_AGE), _CHILD) is None
    assert ends_at(replace(parent, since=_OF_AGE, ends_at=_AFTER), _CHILD) == _AFTER


def test_a_right_that_ended_by_itself_is_told_as_such() -> None:
    parent = _delegation(DelegationKind.LEGAL_REPRESENTATIVE, _BEFORE)
    decision = may_act(_account(), [parent], box(traits=_CHILD), Action.READ_LETTERS, NOW)
    assert decision.rule.name == "access.expired"


_GROWN, _MAJORITY = Traits("X", "Y", "20081122", "F"), datetime(2026, 11, 21, 23, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("chosen", "ends_at", "on"),
    [
        (None, None, {_ETREAT, _BTG}),
        (None, NOW, {_ETREAT, _BTG}),
        ({_BTG, _UNMASK}, None, {_BTG, _UNMASK}),
        ({_BTG, _UNMASK}, NOW + timedelta(seconds=1), {_BTG, _UNMASK}),
        ({_BTG, _UNMASK}, NOW, {_BTG}),
        ({_UNMASK}, NOW - timedelta(days=1), set()),
    ],
)
def test_what_was_chosen_for_a_child_ends(
    chosen: set[Switch] | None, ends_at: datetime | None, on: set[Switch]
) -> None:
    given = None if chosen is None else frozenset(chosen)
    assert permitted(given, frozenset({_ETREAT, _BTG}), ends_at, NOW) == on


@pytest.mark.parametrize(
    ("traits", "ends", "answered", "now", "again"),
    [
        (_GROWN, [_MAJORITY], False, _MAJORITY, True),
        (_GROWN, [None, _MAJORITY], False, NOW, True),
        (_GROWN, [_MAJORITY], True, NOW, False),
        (_GROWN, [_MAJORITY], False, _MAJORITY - timedelta(seconds=1), False),
        (_GROWN, [None, NOW], False, NOW, False),
        (_GROWN, [], False, NOW, False),
        (None, [_MAJORITY, None], False, NOW, False),
    ],
)
def test_whoever_comes_of_age_is_asked_once(
    traits: Traits | None, ends: list[datetime | None], answered: bool, now: datetime, again: bool
) -> None:
    assert asks_again(traits, ends, answered, now) is again
