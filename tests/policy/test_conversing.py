"""What a letter does to a conversation, and whom its patient may answer (promise 4, by tables)."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from mss.model.account import BoxState
from mss.model.address import Address
from mss.model.conversation import Contact, ContactState, Direction, Role
from mss.policy.conversing import (
    Opening,
    ReplyFacts,
    answerable_to,
    default_recipients,
    may_answer,
    may_reach,
    may_reply,
    opens,
)
from mss.policy.exchange import PATIENT_LETTER_MAX_OCTETS, LetterFacts
from tests.policy.facts import (
    COLLEAGUE,
    DESK,
    DOCTOR,
    NOW,
    NURSE,
    OTHER_PATIENT,
    PATIENT,
    address,
    box,
    contact,
    letter,
    named,
    names_nobody,
    reply,
    stored,
)

ENDED, NEVER, OPEN = ContactState.ENDED, ContactState.NEVER, ContactState.OPEN


def _states(opening: Opening) -> dict[Address, ContactState]:
    return {one.address: state for one, state in opening.contacts}


def _authorised(opening: Opening) -> list[tuple[Address, Role]]:
    return [(one.address, one.role) for one in opening.authorises]


@pytest.mark.parametrize(
    ("facts", "contacts", "rule", "states"),
    [
        (letter(), [], "conversation.opened", {DOCTOR: OPEN}),
        (letter(), [contact(DOCTOR, NEVER)], "conversation.opened", {DOCTOR: OPEN}),
        (letter(), [contact(DOCTOR)], "conversation.kept", {DOCTOR: OPEN}),
        (letter(), [contact(DOCTOR, ENDED)], "conversation.reopened", {DOCTOR: OPEN}),
        (letter(), [contact(NURSE, ENDED)], "conversation.opened", {DOCTOR: OPEN}),
        (
            letter(address("DOCTOR@chu")),
            [contact(DOCTOR, ENDED)],
            "conversation.reopened",
            {address("DOCTOR@chu"): OPEN},
        ),
        # Reply-To stands for the sender, who does not become a contact.
        (letter(reply_to=[DESK]), [], "conversation.opened", {DESK: OPEN}),
        (letter(reply_to=[DESK, NURSE]), [], "conversation.opened", {DESK: OPEN, NURSE: OPEN}),
        (letter(reply_to=[DESK]), [contact(DESK, ENDED)], "conversation.reopened", {DESK: OPEN}),
        (letter(reply_to=[DESK]), [contact(DESK)], "conversation.kept", {DESK: OPEN}),
        (letter(reply_to=[DOCTOR]), [contact(DOCTOR, ENDED)], "conversation.reopened", {DOCTOR: OPEN}),
        (
            letter(reply_to=[DESK]),
            [contact(DOCTOR, ENDED)],
            "conversation.reopened",
            {DESK: OPEN, DOCTOR: NEVER},
        ),
        # Outside the sending operator's domains it is as if it were not there, unless configured.
        (letter(reply_to=[COLLEAGUE]), [], "conversation.opened", {DOCTOR: OPEN}),
        (letter(reply_to=[COLLEAGUE, DESK]), [], "conversation.opened", {DESK: OPEN}),
        (letter(reply_to=[COLLEAGUE], reply_to_foreign=True), [], "conversation.opened", {COLLEAGUE: OPEN}),
        # Even configured, it re-opens nothing that its owner ended.
        (
            letter(reply_to=[COLLEAGUE], reply_to_foreign=True),
            [contact(COLLEAGUE, ENDED)],
            "conversation.kept",
            {COLLEAGUE: ENDED},
        ),
        (letter(reply_to=[OTHER_PATIENT]), [], "conversation.opened", {DOCTOR: OPEN}),
        (letter(reply_to=[PATIENT], reply_to_foreign=True), [], "conversation.opened", {DOCTOR: OPEN}),
        # To and Cc open no contact and re-open none.
        (letter(cc=[NURSE]), [contact(NURSE, ENDED)], "conversation.opened", {DOCTOR: OPEN}),
        # [FIN].
        (letter(closing=True), [contact(DOCTOR)], "conversation.closed", {DOCTOR: ENDED}),
        (letter(closing=True), [], "conversation.closed", {DOCTOR: ENDED}),
        (letter(closing=True, answerable=False), [], "conversation.closed", {DOCTOR: ENDED}),
        (letter(closing=True, cc=[NURSE]), [], "conversation.closed", {DOCTOR: ENDED}),
        (letter(closing=True, reply_to=[DESK]), [], "conversation.closed", {DOCTOR: ENDED, DESK: ENDED}),
        (letter(closing=True, reply_to=[COLLEAGUE]), [], "conversation.closed", {DOCTOR: ENDED}),
        (
            letter(closing=True, reply_to=[COLLEAGUE], reply_to_foreign=True),
            [],
            "conversation.closed",
            {DOCTOR: ENDED},
        ),
        # X-MSS-MES: FIN opens nothing and ends nothing.
        (letter(answerable=False), [], "conversation.kept", {}),
        (letter(answerable=False), [contact(DOCTOR, ENDED)], "conversation.kept", {}),
        # Receipts, reports, automatic replies and null senders change nothing, whatever their subject says.
        (letter(automatic=True), [contact(DOCTOR, ENDED)], "conversation.kept", {}),
        (letter(reverse_path=None), [], "conversation.kept", {}),
        (letter(automatic=True, closing=True), [contact(DOCTOR)], "conversation.kept", {}),
        (letter(reverse_path=None, closing=True), [contact(DOCTOR)], "conversation.kept", {}),
        # No author, several, a patient, a professional's copy: no conversation.
        (letter(participants=()), [], "conversation.kept", {}),
        (letter(participants=(named(DOCTOR), named(NURSE))), [], "conversation.kept", {}),
        (letter(OTHER_PATIENT), [], "conversation.kept", {}),
        (letter(recipient=DESK), [], "conversation.kept", {}),
    ],
)
def test_a_letter_opens_reopens_ends_or_leaves(
    facts: LetterFacts, contacts: list[Contact], rule: str, states: dict[Address, ContactState]
) -> None:
    opening = opens(facts, contacts)
    assert opening.decision.accepted
    assert opening.decision.rule.name == rule
    assert _states(opening) == states


def test_fin_ends_the_boxes_that_stood_for_the_author_before() -> None:
    opening = opens(letter(closing=True), [contact(DESK)], [named(DESK, Role.REPLY_TO)])
    assert _states(opening) == {DOCTOR: ENDED, DESK: ENDED}


@pytest.mark.parametrize(
    ("facts", "authorised"),
    [
        (letter(), [(DOCTOR, Role.SENDER)]),
        (letter(reply_to=[DESK]), [(DESK, Role.REPLY_TO)]),
        (letter(reply_to=[DESK], cc=[DOCTOR]), [(DESK, Role.REPLY_TO), (DOCTOR, Role.CC)]),
        (
            letter(to=[PATIENT, NURSE], cc=[COLLEAGUE]),
            [(DOCTOR, Role.SENDER), (NURSE, Role.TO), (COLLEAGUE, Role.CC)],
        ),
        (letter(to=[PATIENT, DOCTOR, NURSE], cc=[NURSE]), [(DOCTOR, Role.SENDER), (NURSE, Role.TO)]),
        (letter(cc=[OTHER_PATIENT]), [(DOCTOR, Role.SENDER)]),
        (letter(closing=True), []),
        (letter(answerable=False, cc=[NURSE]), []),
        (letter(automatic=True, cc=[NURSE]), []),
    ],
)
def test_a_letter_authorises_its_sender_or_reply_to_and_the_professionals_it_names(
    facts: LetterFacts, authorised: list[tuple[Address, Role]]
) -> None:
    assert _authorised(opens(facts, [])) == authorised


def test_what_the_stored_letter_holds() -> None:
    plain, no_answer, fin, receipt = (
        opens(facts, [])
        for facts in (
            letter(),
            letter(answerable=False),
            letter(closing=True),
            letter(automatic=True, answerable=False),
        )
    )
    assert [(one.answerable, one.closing) for one in (plain, no_answer, fin, receipt)] == [
        (True, False),
        (False, False),
        (False, True),
        # A receipt says nothing about answering, whatever its headers say.
        (True, False),
    ]
    assert [one.sender for one in (plain, no_answer, fin, receipt)] == [named(DOCTOR)] * 4
    assert opens(letter(participants=()), []).sender is None
    unnamed = letter(participants=(named(DOCTOR, name="doctor@chu.mssante.test"),))
    assert opens(unnamed, []).sender == named(DOCTOR, name="")


def test_patients_see_names_and_the_reply_box_has_its_author_s_when_it_has_none() -> None:
    participants = (
        named(DOCTOR, name="Dr Martin"),
        named(DESK, Role.REPLY_TO, ""),
        named(NURSE, Role.CC, "nurse@chu.mssante.test"),
    )
    opening = opens(letter(participants=participants), [])
    assert [one.name for one in opening.authorises] == ["Dr Martin", ""]
    assert [one.name for one, _ in opening.contacts] == ["Dr Martin"]


FIN: dict[str, Any] = {"answerable": False, "closing": True}
NO_ANSWER: dict[str, Any] = {"answerable": False}
LATER = NOW + timedelta(hours=1)


@pytest.mark.parametrize(
    ("facts", "rule"),
    [
        (reply(DOCTOR), "conversation.open"),
        (reply(address("Doctor@chu")), "conversation.open"),
        (reply(DOCTOR, contacts=()), "conversation.open"),
        # Never contacted: a stranger, a colleague of the doctor, somebody of another conversation.
        (reply(NURSE), "conversation.never-opened"),
        (reply(address("x@out")), "conversation.never-opened"),
        (reply(address("doctor@clinic")), "conversation.never-opened"),
        (reply(NURSE, contacts=(contact(DOCTOR), contact(NURSE))), "conversation.never-opened"),
        (reply(NURSE, contacts=(contact(NURSE, NEVER),)), "conversation.never-opened"),
        (reply(DOCTOR, NURSE), "conversation.never-opened"),
        (reply(NURSE, DOCTOR), "conversation.never-opened"),
        # Patients.
        (reply(OTHER_PATIENT), "patient.to-patient"),
        (reply(PATIENT), "patient.to-patient"),
        (reply(DOCTOR, OTHER_PATIENT), "patient.to-patient"),
        # Even a letter that (wrongly) authorised a patient does not let one be written to.
        (reply(OTHER_PATIENT, letters=(stored(DOCTOR, [OTHER_PATIENT]),)), "patient.to-patient"),
        # Reply-To and reply-all.
        (reply(DESK, letters=(stored(DOCTOR, [DESK, NURSE]),)), "conversation.open"),
        (reply(DESK, NURSE, letters=(stored(DOCTOR, [DESK, NURSE]),)), "conversation.open"),
        (reply(DOCTOR, letters=(stored(DOCTOR, [DESK, NURSE]),)), "conversation.never-opened"),
        (
            reply(DOCTOR, NURSE, letters=(stored(DOCTOR, [DOCTOR]), stored(NURSE, [NURSE], minute=1))),
            "conversation.open",
        ),
        # [FIN] by the contact's state, wherever it came.
        (reply(DOCTOR, contacts=(contact(DOCTOR, ENDED),)), "conversation.ended"),
        (
            reply(DESK, letters=(stored(DOCTOR, [DESK]),), contacts=(contact(DOCTOR, ENDED), contact(DESK))),
            "conversation.ended",
        ),
        (
            reply(DESK, letters=(stored(DOCTOR, [DESK]),), contacts=(contact(DESK, ENDED),)),
            "conversation.ended",
        ),
        # Named by one who still lets it, as well as by one who ended it.
        (
            reply(
                NURSE,
                letters=(stored(DOCTOR, [DOCTOR, NURSE]), stored(COLLEAGUE, [COLLEAGUE, NURSE], minute=1)),
                contacts=(contact(DOCTOR, ENDED), contact(COLLEAGUE)),
            ),
            "conversation.open",
        ),
        # One's own [FIN] weighs more than another's Cc.
        (
            reply(NURSE, letters=(stored(DOCTOR, [DOCTOR, NURSE]),), contacts=(contact(NURSE, ENDED),)),
            "conversation.ended",
        ),
        # [FIN] inside the conversation, were the contact not kept.
        (
            reply(DOCTOR, letters=(stored(DOCTOR, [DOCTOR]), stored(DOCTOR, minute=1, **FIN)), contacts=()),
            "conversation.ended",
        ),
        (
            reply(DOCTOR, letters=(stored(DOCTOR, [DOCTOR]), stored(DOCTOR, minute=1, **FIN))),
            "conversation.ended",
        ),
        # Re-opened by a later letter: here, or in another conversation.
        (
            reply(DOCTOR, letters=(stored(DOCTOR, **FIN), stored(DOCTOR, [DOCTOR], minute=1))),
            "conversation.open",
        ),
        (
            reply(
                DOCTOR,
                letters=(stored(DOCTOR, [DOCTOR]), stored(DOCTOR, minute=1, **FIN)),
                contacts=(contact(DOCTOR, since=LATER),),
            ),
            "conversation.open",
        ),
        # X-MSS-MES: FIN, judged by the newest letter from that professional.
        (reply(DOCTOR, letters=(stored(DOCTOR, **NO_ANSWER),)), "conversation.not-answerable"),
        (
            reply(DOCTOR, letters=(stored(DOCTOR, [DOCTOR]), stored(DOCTOR, minute=1, **NO_ANSWER))),
            "conversation.not-answerable",
        ),
        (
            reply(DESK, letters=(stored(DOCTOR, [DESK]), stored(DOCTOR, minute=1, **NO_ANSWER))),
            "conversation.not-answerable",
        ),
        (
            reply(DOCTOR, letters=(stored(DOCTOR, **NO_ANSWER), stored(DOCTOR, [DOCTOR], minute=1))),
            "conversation.open",
        ),
        (
            reply(DOCTOR, letters=(stored(DOCTOR, [DOCTOR]), stored(NURSE, minute=1, **NO_ANSWER))),
            "conversation.open",
        ),
        (
            reply(DOCTOR, NURSE, letters=(stored(DOCTOR, [DOCTOR, NURSE]), stored(NURSE, minute=1, **NO_ANSWER))),
            "conversation.not-answerable",
        ),
        # A receipt is nobody's newest letter.
        (reply(DOCTOR, letters=(stored(DOCTOR, [DOCTOR]), stored(DOCTOR, minute=1))), "conversation.open"),
        (
            reply(DOCTOR, letters=(stored(DOCTOR, **NO_ANSWER), stored(DOCTOR, minute=1))),
            "conversation.not-answerable",
        ),
        (reply(DOCTOR, letters=(stored(DOCTOR),)), "conversation.never-opened"),
        # The patient's own letters authorise nobody.
        (
            reply(NURSE, letters=(stored(DOCTOR, [NURSE], direction=Direction.SENT),)),
            "conversation.never-opened",
        ),
        (reply(NURSE, letters=(stored(None, [NURSE]),)), "conversation.never-opened"),
        # Boxes: the patient's own, and the professional's when we host it.
        (reply(DOCTOR, box=box(state=BoxState.UNOPENED)), "conversation.open"),
        (reply(DOCTOR, box=box(state=BoxState.CLOSED)), "box.cannot-send"),
        (reply(DOCTOR, box=box(state=BoxState.OPPOSED)), "box.cannot-send"),
        (reply(DOCTOR, box_states={DOCTOR.key: BoxState.CLOSED}), "box.closed"),
        (reply(DOCTOR, box_states={DOCTOR.key: BoxState.OPPOSED}), "box.closed"),
        (reply(DOCTOR, box_states={DOCTOR.key: BoxState.UNOPENED}), "conversation.open"),
        (reply(DOCTOR, box_states={NURSE.key: BoxState.CLOSED}), "conversation.open"),
        (reply(NURSE, box_states={NURSE.key: BoxState.CLOSED}), "conversation.never-opened"),
        # Size and emptiness.
        (reply(), "conversation.no-recipient"),
        (reply(DOCTOR, size_octets=PATIENT_LETTER_MAX_OCTETS), "conversation.open"),
        (reply(DOCTOR, size_octets=PATIENT_LETTER_MAX_OCTETS + 1), "letter.too-large"),
        (reply(DOCTOR, size_octets=11, size_max_octets=10), "letter.too-large"),
        # A new conversation: the profile decides.
        (reply(DOCTOR, letters=()), "conversation.new-thread"),
        (reply(DOCTOR, letters=(), profile="contact"), "conversation.contact-open"),
        (reply(NURSE, letters=()), "conversation.never-opened"),
        (reply(NURSE, letters=(), profile="contact"), "conversation.never-opened"),
        (reply(OTHER_PATIENT, letters=(), profile="contact"), "patient.to-patient"),
        (reply(DOCTOR, letters=(), contacts=(contact(DOCTOR, ENDED),), profile="contact"), "conversation.ended"),
        (reply(DOCTOR, letters=(), contacts=(contact(DOCTOR, NEVER),), profile="contact"), "conversation.never-opened"),
        # Inside one, the profile `contact` lets other open contacts in, but no silenced letter be answered.
        (reply(DOCTOR, NURSE, contacts=(contact(NURSE),), profile="contact"), "conversation.open"),
        (reply(NURSE, contacts=(contact(NURSE, ENDED),), profile="contact"), "conversation.ended"),
        (reply(DOCTOR, letters=(stored(DOCTOR, **NO_ANSWER),), profile="contact"), "conversation.not-answerable"),
        (
            reply(
                DESK,
                letters=(stored(DOCTOR, [DESK]),),
                contacts=(contact(DOCTOR, ENDED), contact(DESK)),
                profile="contact",
            ),
            "conversation.ended",
        ),
    ],
)
def test_a_patient_reaches_only_whom_the_conversation_lets(facts: ReplyFacts, rule: str) -> None:
    decision = may_reply(facts)
    assert decision.rule.name == rule
    assert decision.accepted is (rule in ("conversation.open", "conversation.contact-open"))
    assert names_nobody(decision)


@pytest.mark.parametrize(
    ("facts", "rule", "reachable", "default"),
    [
        (reply(), "conversation.open", [DOCTOR], [DOCTOR]),
        (reply(contacts=(contact(DOCTOR, ENDED),)), "conversation.ended", [], []),
        (reply(letters=(stored(DOCTOR, **NO_ANSWER),)), "conversation.not-answerable", [], []),
        (reply(letters=(stored(DOCTOR, **FIN),)), "conversation.ended", [], []),
        (reply(letters=()), "conversation.never-opened", [], []),
        (reply(letters=(stored(DOCTOR),)), "conversation.never-opened", [], []),
        (reply(letters=(stored(None, [DOCTOR]),)), "conversation.never-opened", [], []),
        (reply(box_states={DOCTOR.key: BoxState.CLOSED}), "box.closed", [], []),
        (reply(letters=(stored(DOCTOR, [DESK]),), contacts=(contact(DOCTOR, ENDED),)), "conversation.ended", [], []),
        (reply(box=box(state=BoxState.CLOSED)), "box.cannot-send", [DOCTOR], [DOCTOR]),
        # Reply-all is the default; the newest letter comes first; who ended the exchange is left out.
        (
            reply(letters=(stored(DOCTOR, [DOCTOR, NURSE]), stored(COLLEAGUE, [COLLEAGUE, NURSE], minute=1))),
            "conversation.open",
            [COLLEAGUE, NURSE, DOCTOR],
            [COLLEAGUE, NURSE],
        ),
        (
            reply(letters=(stored(DOCTOR, [DOCTOR, NURSE]),), contacts=(contact(NURSE, ENDED),)),
            "conversation.open",
            [DOCTOR],
            [DOCTOR],
        ),
        (
            reply(letters=(stored(DOCTOR, [DOCTOR]), stored(NURSE, minute=1, **NO_ANSWER))),
            "conversation.open",
            [DOCTOR],
            [DOCTOR],
        ),
        # A new conversation offers the open contacts where the profile has it.
        (
            reply(letters=(), contacts=(contact(DOCTOR), contact(NURSE, ENDED)), profile="contact"),
            "conversation.contact-open",
            [DOCTOR],
            [],
        ),
        # An old conversation whose author wrote again elsewhere.
        (
            reply(
                letters=(stored(DOCTOR, **FIN),),
                contacts=(contact(DOCTOR, since=LATER),),
                profile="contact",
            ),
            "conversation.open",
            [DOCTOR],
            [],
        ),
        (
            reply(letters=(stored(DOCTOR, **FIN),), contacts=(contact(DOCTOR, since=LATER),)),
            "conversation.never-opened",
            [],
            [],
        ),
        (
            reply(letters=(stored(None, direction=Direction.SENT), stored(None)), profile="contact"),
            "conversation.never-opened",
            [],
            [],
        ),
    ],
)
def test_the_screen_can_say_before_typing_who_may_be_answered(
    facts: ReplyFacts, rule: str, reachable: list[Address], default: list[Address]
) -> None:
    assert may_answer(facts).rule.name == rule
    assert [one.address for one in answerable_to(facts)] == reachable
    assert [one.address for one in default_recipients(facts)] == default


def test_every_default_recipient_may_be_replied_to() -> None:
    facts = reply(letters=(stored(DOCTOR, [DESK, NURSE]), stored(COLLEAGUE, [COLLEAGUE], minute=1)))
    chosen = tuple(one.address for one in default_recipients(facts))
    assert chosen == (COLLEAGUE,)
    assert may_reply(replace(facts, recipients=chosen)).accepted


def test_the_facts_name_nobody() -> None:
    for decision in (may_reach(reply(), DOCTOR), may_reach(reply(), OTHER_PATIENT), may_reply(reply(NURSE))):
        told: dict[str, Any] = dict(decision.facts)
        assert not any("@" in str(value) or "279035" in str(value) for value in told.values())
        assert not any(part in str(told) for part in (DOCTOR.local, NURSE.local, OTHER_PATIENT.local))
