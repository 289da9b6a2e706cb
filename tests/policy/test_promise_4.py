"""Promise 4: no sequence of commands lets a patient reach anyone but a professional who wrote to them, or a
professional box that such a letter named; never another patient, and nobody who closed the exchange.

Random letters, endings, receipts and answers run through the policy as a service would run them. A tiny model beside
it remembers only who wrote what to whom, and says what must never be accepted.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Literal

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from mss.model.address import Address
from mss.model.conversation import Contact, Direction, Letter, Participant, Role
from mss.policy.conversing import ReplyFacts, answerable_to, default_recipients, may_answer, may_reply, opens
from mss.policy.exchange import LetterFacts, RecipientFacts, may_contain, may_deliver
from tests.policy.facts import (
    COLLEAGUE,
    DESK,
    DOCTOR,
    NOW,
    NURSE,
    OTHER_PATIENT,
    PATIENT,
    PATIENT_DOMAINS,
    address,
    box,
    letter,
    named,
)

PROFESSIONALS = (DOCTOR, NURSE, DESK, COLLEAGUE)
PATIENTS = (PATIENT, OTHER_PATIENT)
STRANGER = address("somebody@out")
EVERYBODY = (*PROFESSIONALS, *PATIENTS, STRANGER)
HOSPITAL_BOXES = {DOCTOR, NURSE, DESK}

Kind = Literal["plain", "fin", "no-answer", "receipt", "null"]
Profile = Literal["thread", "contact"]
KINDS: tuple[Kind, ...] = ("plain", "plain", "plain", "fin", "no-answer", "receipt", "null")
PROFILES: tuple[Profile, ...] = ("thread", "contact")
_some = st.lists(st.sampled_from(EVERYBODY), max_size=2).map(tuple)
_whom = st.lists(st.sampled_from(EVERYBODY), min_size=1, max_size=3).map(tuple)


@dataclass
class Patient:
    """What a service keeps for one patient, and beside it what the model remembers."""

    conversations: list[list[Letter]] = field(default_factory=list)
    contacts: dict[str, Contact] = field(default_factory=dict)
    # The model: who may ever have been named, by which authors, who stood for whom, and who has closed.
    named_by: dict[Address, set[Address]] = field(default_factory=lambda: defaultdict(set))
    stood_for: dict[Address, set[Participant]] = field(default_factory=lambda: defaultdict(set))
    closed: set[Address] = field(default_factory=set)
    closed_themselves: set[Address] = field(default_factory=set)


class Exchanges(RuleBasedStateMachine):
    """Two patients, four professionals of two operators, one stranger."""

    def __init__(self) -> None:
        super().__init__()
        self.patients = {one: Patient() for one in PATIENTS}
        self.minute = 0

    @rule(
        to=st.sampled_from(PATIENTS),
        author=st.sampled_from((*PROFESSIONALS, OTHER_PATIENT)),
        kind=st.sampled_from(KINDS),
        reply_to=_some,
        cc=_some,
        thread=st.integers(0, 3),
        foreign=st.booleans(),
    )
    def a_letter_arrives(
        self,
        to: Address,
        author: Address,
        kind: Kind,
        reply_to: tuple[Address, ...],
        cc: tuple[Address, ...],
        thread: int,
        foreign: bool,
    ) -> None:
        """Deliver a letter as services would, if the policy lets it in, and remember it in the model."""
        self.minute += 1
        facts = replace(
            letter(author, to=[to], reply_to=reply_to, cc=cc),
            recipient=to,
            envelope=(to,),
            automatic=kind == "receipt",
            closing=kind == "fin",
            answerable=kind != "no-answer",
            reverse_path=None if kind == "null" else author,
            reply_to_foreign=foreign,
        )
        if not self._enters(facts):
            return
        patient = self.patients[to]
        self._store(patient, facts, thread)
        if kind in ("plain", "fin"):
            self._remember(patient, facts, author, kind)

    def _enters(self, facts: LetterFacts) -> bool:
        at_rcpt = may_deliver(RecipientFacts(facts.recipient, facts.reverse_path, PATIENT_DOMAINS, box()))
        several = len(
            {facts.recipient, *(one.address for one in facts.participants if one.role is Role.CC)} & set(PATIENTS)
        )
        from_patient = any(one.role is Role.SENDER and one.address in PATIENTS for one in facts.participants)
        enters = at_rcpt.accepted and may_contain(facts).accepted
        assert enters is (several == 1 and not from_patient)
        return enters

    def _store(self, patient: Patient, facts: LetterFacts, thread: int) -> None:
        author = facts.having(Role.SENDER)[0].address
        opening = opens(
            facts, patient.contacts.values(), sorted(patient.stood_for[author], key=lambda one: one.address.key)
        )
        at = NOW + timedelta(minutes=self.minute)
        for one, state in opening.contacts:
            patient.contacts[one.address.key] = Contact(one.address, one.name, state, at)
        if thread >= len(patient.conversations):
            patient.conversations.append([])
        kept = Letter(
            self.minute, Direction.RECEIVED, at, opening.answerable, opening.closing, opening.authorises, opening.sender
        )
        patient.conversations[min(thread, len(patient.conversations) - 1)].append(kept)

    def _remember(self, patient: Patient, facts: LetterFacts, author: Address, kind: Kind) -> None:
        """Note what the letter did, in the model's own simple words."""
        reply_to = {one.address for one in facts.having(Role.REPLY_TO)} - set(PATIENTS)
        own = {one for one in reply_to if (one in HOSPITAL_BOXES) is (author in HOSPITAL_BOXES) and one != STRANGER}
        if kind == "fin":
            patient.closed_themselves.add(author)
            patient.closed |= {author} | own | {one.address for one in patient.stood_for[author]}
            return
        voices = (reply_to if facts.reply_to_foreign else own) or {author}
        for one in voices | ({one.address for one in facts.having(Role.CC)} - set(PATIENTS)):
            patient.named_by[one].add(author)
        patient.stood_for[author] |= {named(one, Role.REPLY_TO) for one in voices - {author}}
        patient.closed -= {author} | (own & voices)
        patient.closed_themselves -= {author} | (own & voices)
        self._may_now_be_answered(facts, voices)

    def _may_now_be_answered(self, facts: LetterFacts, voices: set[Address]) -> None:
        """Whoever has just written may be answered in that conversation at once."""
        patient = self.patients[facts.recipient]
        newest = next(some for some in patient.conversations if some and some[-1].email_id == self.minute)
        reachable = tuple(one for one in voices if one not in patient.closed)
        if reachable and not self._forbids_answers(newest, reachable):
            assert may_reply(self._facts(facts.recipient, tuple(newest), reachable, "thread")).accepted

    @staticmethod
    def _forbids_answers(letters: list[Letter], whom: tuple[Address, ...]) -> bool:
        """Say whether the newest own letter of one of them was a no-answer or an ending (a Reply-To box's own)."""
        for one in whom:
            mine = [x for x in letters if x.sender and x.sender.address == one and (x.authorises or not x.answerable)]
            if mine and not mine[-1].answerable:
                return True
        return False

    def _facts(
        self, who: Address, letters: tuple[Letter, ...], recipients: tuple[Address, ...], profile: Profile
    ) -> ReplyFacts:
        contacts = tuple(self.patients[who].contacts.values())
        return ReplyFacts(box(), letters, contacts, PATIENT_DOMAINS, recipients, profile)

    @rule(
        who=st.sampled_from(PATIENTS),
        thread=st.integers(-1, 3),
        recipients=_whom,
        profile=st.sampled_from(PROFILES),
    )
    def a_patient_writes(self, who: Address, thread: int, recipients: tuple[Address, ...], profile: Profile) -> None:
        """Try to write to anybody, in a conversation or a new one; what is accepted must satisfy the model."""
        self.minute += 1
        patient = self.patients[who]
        letters = patient.conversations[thread] if 0 <= thread < len(patient.conversations) else []
        if not may_reply(self._facts(who, tuple(letters), recipients, profile)).accepted:
            return
        self._promise_4(patient, recipients, profile)
        sent = Letter(self.minute, Direction.SENT, NOW + timedelta(minutes=self.minute), True, False, (), named(who))
        letters.append(sent)

    def _promise_4(self, patient: Patient, recipients: tuple[Address, ...], profile: Profile) -> None:
        # By contact alone (a new conversation), a box that was named stays so until its author closes.
        silent = patient.closed if profile == "thread" else patient.closed_themselves
        for one in recipients:
            assert one not in PATIENTS
            assert patient.named_by[one], "somebody who was never named was reached"
            assert one not in patient.closed, "somebody who closed the exchange was reached"
            assert patient.named_by[one] - silent, "only those who closed had named them"

    @rule(who=st.sampled_from(PATIENTS), whom=st.sampled_from(PATIENTS))
    def a_patient_writes_past_the_webmail(self, who: Address, whom: Address) -> None:
        """A patient's letter for a patient is refused where it would be delivered, too."""
        assert not may_deliver(RecipientFacts(whom, who, PATIENT_DOMAINS, box())).accepted

    @invariant()
    def what_the_screen_offers_is_what_the_policy_lets(self) -> None:
        """Choices, defaults and the reason shown agree with the judgement of a letter."""
        for who, patient in self.patients.items():
            for letters in (*patient.conversations, []):
                for profile in PROFILES:
                    self._offer(who, tuple(letters), profile)

    def _offer(self, who: Address, letters: tuple[Letter, ...], profile: Profile) -> None:
        facts = self._facts(who, letters, (), profile)
        offered = tuple(one.address for one in answerable_to(facts))
        default = tuple(one.address for one in default_recipients(facts))
        assert may_answer(facts).accepted is bool(offered)
        assert set(default) <= set(offered)
        if offered:
            assert may_reply(replace(facts, recipients=offered)).accepted
            self._promise_4(self.patients[who], offered, profile)


TestPromise4 = Exchanges.TestCase
TestPromise4.settings = settings(max_examples=40, stateful_step_count=20, deadline=None)


class AtLength(Exchanges):
    """The same, longer."""


TestPromise4AtLength = pytest.mark.slow(AtLength.TestCase)
TestPromise4AtLength.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
