"""What a decision tells: exactly the facts that decided, by name, so that a refusal can be explained."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta

import pytest

from mss.model.account import BoxState
from mss.model.conversation import ContactState, Direction, Role
from mss.model.document import Confidentiality
from mss.model.ins import INS, OID_NIR, OID_NIR_TEST
from mss.model.party import BoxKind
from mss.policy import admission, budget, conversing, exchange, routing
from mss.policy.decision import Decision, Fact
from mss.policy.exchange import PATIENT_LETTER_MAX_OCTETS, RecipientFacts
from tests.policy.facts import (
    CLINIC,
    COLLEAGUE,
    DESK,
    DOCTOR,
    HOSPITAL,
    HOSPITAL_DN,
    HOSPITAL_PEER,
    MATRICULE,
    NOW,
    NURSE,
    OTHER_MATRICULE,
    OTHER_PATIENT,
    OUTSIDE,
    PATIENT,
    PATIENT_DOMAINS,
    PATIENTS,
    REGION,
    STRANGER_DN,
    TRUST_LIST,
    address,
    box,
    contact,
    document,
    letter,
    named,
    reply,
    stored,
)

Facts = Mapping[str, Fact]
# Taken inside the test, so that whoever mutates the policy meets the test.
Decide = Callable[[], Decision]
AGE_S = 86400
MAX = PATIENT_LETTER_MAX_OCTETS


def _admitted(revocation: str = "good", seconds: int = 0, stranger: bool = False) -> Decision:
    peer = replace(HOSPITAL_PEER, revocation=revocation, subject=STRANGER_DN if stranger else HOSPITAL_DN)
    trust_list = replace(TRUST_LIST, fetched_at=NOW - timedelta(seconds=seconds))
    return admission.admit(peer, trust_list, now=NOW, max_age_s=AGE_S)


@pytest.mark.parametrize(
    ("decide", "facts"),
    [
        (lambda: _admitted("revoked"), {"serial": "01AB"}),
        (lambda: _admitted("expired"), {"serial": "01AB"}),
        (lambda: _admitted("stale"), {"serial": "01AB"}),
        (lambda: _admitted("unknown"), {"serial": "01AB"}),
        (lambda: _admitted(stranger=True), {"serial": "01AB", "list_version": 7}),
        (lambda: _admitted(seconds=AGE_S + 2), {"age_s": AGE_S + 2, "max_age_s": AGE_S}),
        (lambda: _admitted(seconds=-400), {"ahead_s": 400}),
        (lambda: admission.may_speak_for(HOSPITAL_PEER, TRUST_LIST, None), {}),
        (lambda: admission.may_speak_for(HOSPITAL_PEER, TRUST_LIST, DESK), {"domain": CLINIC}),
        (lambda: admission.may_speak_for(HOSPITAL_PEER, TRUST_LIST, COLLEAGUE), {"domain": REGION, "list_version": 7}),
        (
            lambda: admission.may_author(HOSPITAL_PEER, TRUST_LIST, [DOCTOR, COLLEAGUE], reverse_path=DOCTOR),
            {"domain": REGION, "list_version": 7},
        ),
        (lambda: admission.may_author(HOSPITAL_PEER, TRUST_LIST, [DOCTOR, NURSE], reverse_path=DOCTOR), {"authors": 2}),
        (lambda: admission.may_author(HOSPITAL_PEER, TRUST_LIST, [DOCTOR], reverse_path=DOCTOR), {"domain": HOSPITAL}),
        (lambda: admission.sender_field_may_name([DOCTOR, DESK], [NURSE]), {"readable": True, "own_addresses": 2}),
        (lambda: admission.sender_field_may_name([DOCTOR, DESK], [None]), {"readable": False, "own_addresses": 2}),
        (lambda: admission.sender_may_use([DOCTOR, DESK], DESK), {"domain": CLINIC}),
        (lambda: admission.sender_may_use([DOCTOR, DESK], NURSE), {"domain": HOSPITAL, "own_addresses": 2}),
    ],
)
def test_of_a_peer(decide: Decide, facts: Facts) -> None:
    assert decide().facts == facts


_WAYS = {HOSPITAL: "professional", PATIENTS: "patient"}


@pytest.mark.parametrize(
    ("find", "destination", "rule"),
    [
        (lambda: routing.route(DOCTOR, _WAYS, TRUST_LIST, {}), "local-professional", "route.local-professional"),
        (lambda: routing.route(PATIENT, _WAYS, TRUST_LIST, {}), "local-patient", "route.local-patient"),
        (lambda: routing.route(COLLEAGUE, _WAYS, TRUST_LIST, {}), "relay", "route.relay"),
        (lambda: routing.route(COLLEAGUE, _WAYS, None, {}), "nowhere", "route.no-trust-list"),
        (lambda: routing.route(address("a@out"), _WAYS, TRUST_LIST, {}), "nowhere", "route.outside"),
    ],
)
def test_of_a_way_its_domain(find: Callable[[], routing.Route], destination: str, rule: str) -> None:
    way = find()
    assert (way.destination, way.decision.rule.name) == (destination, rule)
    assert way.domain in {HOSPITAL, PATIENTS, REGION, OUTSIDE}
    assert way.decision.facts == {"domain": way.domain}
    assert routing.may_enter(way).facts == {"domain": way.domain}


def _for_patient(state: BoxState = BoxState.OPEN, **more: object) -> Decision:
    facts = RecipientFacts(PATIENT, DOCTOR, PATIENT_DOMAINS, box=box(state=state))
    return exchange.may_deliver(replace(facts, **more))  # type: ignore[arg-type]


def _for_doctor(state: BoxState = BoxState.OPEN, **more: object) -> Decision:
    facts = RecipientFacts(DOCTOR, PATIENT, PATIENT_DOMAINS, box=box(BoxKind.PER, state))
    return exchange.may_deliver(replace(facts, **more))  # type: ignore[arg-type]


_TEST_BOX = box(ins=INS(MATRICULE, OID_NIR_TEST))


@pytest.mark.parametrize(
    ("decide", "facts"),
    [
        (lambda: _for_patient(), {"box": 4, "kind": "patient", "state": "open"}),
        (lambda: _for_patient(BoxState.UNOPENED), {"box": 4, "kind": "patient", "state": "unopened"}),
        (lambda: _for_patient(BoxState.OPPOSED), {"box": 4}),
        (lambda: _for_patient(BoxState.CLOSED), {"box": 4}),
        (lambda: _for_patient(has_room=False), {"box": 4}),
        (lambda: _for_patient(box=_TEST_BOX), {"box": 4}),
        (lambda: _for_patient(box=None), {"domain": PATIENTS}),
        (lambda: _for_patient(box=None, hosted=False), {"domain": PATIENTS}),
        (lambda: _for_patient(recipient=address("jean@patient")), {"domain": PATIENTS}),
        (lambda: _for_patient(sender=OTHER_PATIENT), {"domain": PATIENTS}),
        (lambda: _for_patient(size_octets=MAX + 1), {"size_octets": MAX + 1, "size_max_octets": MAX}),
        (lambda: _for_doctor(), {"box": 5, "kind": "PER", "state": "open"}),
        (lambda: _for_doctor(BoxState.CLOSED), {"box": 5}),
        (lambda: _for_doctor(box=box(BoxKind.PER, patients_opposed=True)), {"box": 5}),
        (lambda: _for_doctor(box=None), {"domain": HOSPITAL}),
    ],
)
def test_of_a_recipient(decide: Decide, facts: Facts) -> None:
    assert decide().facts == facts


_INVISIBLE, _HIDDEN = Confidentiality.INVISIBLE_PATIENT, Confidentiality.INVISIBLE_REPRESENTATIVES


@pytest.mark.parametrize(
    ("decide", "facts"),
    [
        (lambda: exchange.may_contain(letter(documents=(document(), document()))), {"patients": 1, "documents": 2}),
        (lambda: exchange.may_contain(letter(cc=[OTHER_PATIENT])), {"patients": 2}),
        (lambda: exchange.may_contain(letter(participants=())), {"authors": 0}),
        (lambda: exchange.may_contain(letter(participants=(named(DOCTOR), named(NURSE)))), {"authors": 2}),
        (lambda: exchange.may_contain(letter(participants=(named(DOCTOR, name=""),))), {"domain": HOSPITAL}),
        (lambda: exchange.may_contain(letter(documents=(document(OTHER_MATRICULE),))), {"documents": 1}),
        (lambda: exchange.may_contain(letter(documents=(document(MATRICULE, OID_NIR, _INVISIBLE),))), {"documents": 1}),
        (
            lambda: exchange.may_contain(letter(documents=(document(MATRICULE, OID_NIR, _HIDDEN),), represented=True)),
            {"documents": 1},
        ),
    ],
)
def test_of_a_letter(decide: Decide, facts: Facts) -> None:
    assert decide().facts == facts


_ENDED = contact(DOCTOR, ContactState.ENDED)


def _first() -> conversing.ReplyFacts:
    return reply(letters=(), profile="contact")


def _known(contact_state: str = "open", **more: Fact) -> Facts:
    known: dict[str, Fact] = {"recipient": DOCTOR.digest, "domain": HOSPITAL, "contact": contact_state}
    return known | {"profile": "thread", "letters": 1} | more


@pytest.mark.parametrize(
    ("decide", "facts"),
    [
        (lambda: conversing.may_reach(reply(), DOCTOR), _known()),
        (lambda: conversing.may_reach(reply(contacts=()), DOCTOR), _known("never-contacted")),
        (lambda: conversing.may_reach(reply(contacts=(_ENDED,)), DOCTOR), _known("ended")),
        (lambda: conversing.may_reach(reply(opposed=frozenset({DOCTOR.key})), DOCTOR), _known()),
        (lambda: conversing.may_reach(reply(box_states={DOCTOR.key: BoxState.CLOSED}), DOCTOR), _known()),
        (lambda: conversing.may_reach(_first(), DOCTOR), _known(profile="contact", letters=0)),
        (lambda: conversing.may_reach(reply(), OTHER_PATIENT), {"domain": PATIENTS}),
        (lambda: conversing.may_reply(reply(DOCTOR)), {"box": 4, "recipients": 1, "profile": "thread"}),
        (lambda: conversing.may_reply(reply(DOCTOR, box=box(state=BoxState.CLOSED))), {"box": 4, "state": "closed"}),
        (
            lambda: conversing.may_reply(reply(DOCTOR, size_octets=11, size_max_octets=10)),
            {"size_octets": 11, "size_max_octets": 10},
        ),
        (lambda: conversing.may_answer(reply(letters=())), {"letters": 0}),
        (lambda: conversing.opens(letter(automatic=True), []).decision, {"reason": "automatic"}),
        (lambda: conversing.opens(letter(answerable=False), []).decision, {"reason": "not-answerable"}),
        (lambda: conversing.opens(letter(closing=True, reply_to=[DESK]), []).decision, {"ended": 2}),
        (lambda: conversing.opens(letter(to=[PATIENT, NURSE]), []).decision, {"authorises": 2, "contacts": 1}),
    ],
)  # fmt: skip
def test_of_a_conversation(decide: Decide, facts: Facts) -> None:
    assert decide().facts == facts


def test_who_may_be_written_to_is_told_with_the_rule() -> None:
    assert conversing.may_reach(reply(), DOCTOR).rule.name == "conversation.open"


def test_of_a_budget() -> None:
    facts = {"recipients": 3, "per_hour_max": 10}
    assert budget.may_spend(None, 3, 10, NOW).facts == facts
    assert budget.may_spend(NOW + budget.HOUR, 3, 10, NOW).facts == facts


def test_of_two_names_of_a_document_one_is_enough_even_with_the_spaces_of_paper() -> None:
    """A document that names another valid matricule and this patient's as it is printed is not another's."""
    identifiers = ((OTHER_MATRICULE, OID_NIR), ("2 79 03 51 215 189 89", OID_NIR))
    entry = document()
    mine = replace(entry, patient=replace(entry.patient, identifiers=identifiers))
    assert exchange.may_contain(letter(documents=(mine,))).rule.name == "letter.sound"


def test_what_is_not_authorised_has_no_say() -> None:
    """Whoever is named in a letter that lets nobody answer was never opened: its author's silence is not theirs."""
    for silent in ({"closing": True}, {"answerable": False}):
        facts = reply(NURSE, letters=(stored(DOCTOR, [NURSE], **silent),), contacts=())
        assert conversing.may_reach(facts, NURSE).rule.name == "conversation.never-opened"


@pytest.mark.parametrize("profile", ["thread", "contact"])
def test_a_pharmacy_is_written_to_first_in_one_profile_only(profile: str) -> None:
    facts = reply(DESK, letters=(), contacts=(), pharmacies=frozenset({DESK.key}), profile=profile)
    expected = "conversation.pharmacy" if profile == "contact" else "conversation.never-opened"
    assert conversing.may_reach(facts, DESK).rule.name == expected
    stranger = replace(facts, pharmacies=frozenset())
    assert conversing.may_reach(stranger, DESK).rule.name == "conversation.never-opened"


def test_the_profile_contact_offers_the_authorised_then_the_senders_then_whom_the_patient_wrote_to() -> None:
    sent = stored(None, [COLLEAGUE], minute=2, direction=Direction.SENT)
    facts = reply(
        letters=(stored(DOCTOR, [NURSE]), sent),
        contacts=(contact(DOCTOR),),
        pharmacies=frozenset({COLLEAGUE.key}),
        profile="contact",
    )
    assert [one.address for one in conversing.answerable_to(facts)] == [NURSE, DOCTOR, COLLEAGUE]


def test_a_new_conversation_offers_contacts_as_senders_under_their_names() -> None:
    facts = reply(letters=(), profile="contact")
    assert conversing.answerable_to(facts) == (named(DOCTOR, Role.SENDER, "Dr Doctor"),)
