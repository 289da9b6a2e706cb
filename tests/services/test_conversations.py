"""A patient's conversations: who opens, ends and re-opens them, what is shown of them, and what may be answered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from mss.model.account import Account, Box, BoxState, Delegation, DelegationKind
from mss.model.address import Address
from mss.model.conversation import Contact, ContactState, Direction
from mss.model.delivery import Delivery, DeliveryState, Outcome, OutcomeKind
from mss.policy import rules
from mss.policy.decision import Decision
from mss.services import accounts, outbound, records, submit
from mss.services.house import Hosted
from mss.services.receive import Receipt
from mss.services.submit import PatientReply
from mss.store.store import Store
from tests.services.services_world import (
    COLLEAGUE,
    DESK,
    DOCTOR,
    HOSTED,
    NURSE,
    OUTSIDE,
    REGIONAL,
    arrive,
    letter,
    open_thread,
    with_limits,
    with_policy,
)
from tests.services.test_outbound import PLAN
from tests.store.store_world import (
    CLINIC,
    NOW,
    OTHER_MATRICULE,
    account_for,
    clinic_box,
    later,
    patient_box,
)


@dataclass
class Patient:
    """A patient of ours with an account."""

    store: Store
    box: Box
    account: Account
    hosted: Hosted = HOSTED

    async def gets(self, subject: str = "Compte rendu", *, now: Any = NOW, **more: Any) -> str:
        """Let a letter come in; returns its Message-ID."""
        path = {key: more.pop(key) for key in ("origin",) if key in more}
        if "null" in more:
            path["sender"] = None if more.pop("null") else DOCTOR
        reading = letter(subject, **more)
        receipt = await arrive(self.store, reading, now=now, hosted=self.hosted, **path)
        assert receipt.accepted, receipt
        return reading.message_id

    async def thread(self, index: int = 0) -> records.Thread:
        return await open_thread(self.store, self.account, self.box, index, hosted=self.hosted)

    async def threads(self) -> int:
        return len(await self.store.read(records.conversations, self.account.id, self.box.id, 0, 100, NOW))

    async def answers(
        self, index: int = 0, *numbers: int, now: Any = NOW, text: str = "Merci", **more: Any
    ) -> tuple[Decision, Receipt | None]:
        conversation_id = more.pop("conversation_id", None) or (await self.thread(index)).conversation.id
        answer = PatientReply(conversation_id, text, numbers, **more)
        return await self.store.write(submit.reply, self.hosted, OUTSIDE, self.account.id, self.box.id, answer, now)

    async def queued(self) -> list[Delivery]:
        some = await self.store.read(lambda uow: uow.queue.list(frozenset(DeliveryState), 100))
        return [one for one in some if one.reverse_path is not None]

    async def contacts(self) -> dict[Address, ContactState]:
        found: tuple[Contact, ...] = await self.store.read(lambda uow: uow.conversations.contacts(self.box.id))
        return {one.address: one.state for one in found}


@pytest.fixture
async def patient(store: Store) -> Patient:
    box = await patient_box(store)
    return Patient(store, box, await account_for(store, box))


# -- opening -----------------------------------------------------------------------------------------------------------


async def test_a_letter_opens_a_conversation_that_may_be_answered(patient: Patient) -> None:
    message_id = await patient.gets("Votre bilan", cc=[NURSE])
    thread = await patient.thread()
    assert (thread.conversation.subject, thread.conversation.unread) == ("Votre bilan", 1)
    assert thread.reply.rule is rules.CONVERSATION_OPEN
    assert {(one.name, one.default) for one in thread.choices} == {("Dr Jean MARTIN", True), ("Inf. Line", True)}
    assert await patient.contacts() == {DOCTOR: ContactState.OPEN, NURSE: ContactState.NEVER}
    decision, receipt = await patient.answers()
    assert decision.accepted
    assert receipt is not None
    assert receipt.accepted
    queued = await patient.queued()
    assert {one.recipient for one in queued} == {DOCTOR, NURSE}
    assert {one.reverse_path for one in queued} == {patient.box.address}
    octets = await patient.store.read(outbound.octets, queued[0].id, NOW)
    assert f"In-Reply-To: {message_id}".encode() in octets
    assert b"Subject: Re: Votre bilan" in octets


async def test_an_answer_to_an_answer_stays_in_its_conversation(patient: Patient) -> None:
    first = await patient.gets("Bilan")
    await patient.gets("Autre chose", sender=COLLEAGUE, origin=REGIONAL, now=later(seconds=1))
    await patient.gets("Re: Bilan", in_reply_to=first, references=(first,), now=later(seconds=2))
    assert await patient.threads() == 2
    thread = await patient.thread()
    assert (thread.conversation.subject, len(thread.letters)) == ("Bilan", 2)


async def test_a_patients_own_letter_is_part_of_its_conversation(patient: Patient) -> None:
    await patient.gets()
    await patient.answers(text="Ma réponse")
    [mine] = await patient.queued()
    await patient.gets("Re: Compte rendu", references=(mine.message_id,), now=later(seconds=1))
    thread = await patient.thread()
    assert await patient.threads() == 1
    assert [one.direction for one in thread.letters] == [Direction.RECEIVED, Direction.SENT, Direction.RECEIVED]
    sent = thread.letters[1]
    assert (sent.sender_name, sent.recipient_names, sent.unread) == ("Dominique PAT-TROIS", ("Dr Jean MARTIN",), False)
    assert "réponse".encode() in sent.octets or b"r=C3=A9ponse" in sent.octets


async def test_references_of_another_patient_open_nothing_there(patient: Patient) -> None:
    other_box = await patient_box(patient.store, OTHER_MATRICULE)
    other = Patient(patient.store, other_box, await account_for(patient.store, other_box))
    message_id = await patient.gets("Bilan")
    reading = letter("Re: Bilan", to=[other_box.address], references=(message_id,))
    assert (await arrive(patient.store, reading, other_box.address)).accepted
    assert await patient.threads() == await other.threads() == 1
    assert len((await patient.thread()).letters) == 1


async def test_the_answer_goes_to_the_reply_to_box_and_not_to_the_author(patient: Patient) -> None:
    await patient.gets(reply_to=[DESK])
    thread = await patient.thread()
    assert [one.name for one in thread.choices] == ["Secretariat"]
    assert (await patient.answers())[0].accepted
    assert [one.recipient for one in await patient.queued()] == [DESK]
    assert (await patient.contacts())[DESK] is ContactState.OPEN
    assert DOCTOR not in {one for one, state in (await patient.contacts()).items() if state is ContactState.OPEN}


async def test_a_reply_to_outside_the_operators_domains_is_as_if_it_were_not_there(patient: Patient) -> None:
    await patient.gets(reply_to=[COLLEAGUE])
    assert [one.name for one in (await patient.thread()).choices] == ["Dr Jean MARTIN"]
    patient.hosted = with_policy(reply_to_foreign=True)
    await patient.gets("Encore", reply_to=[COLLEAGUE], now=later(seconds=1))
    assert [one.name for one in (await patient.thread()).choices] == ["Dr Paul BERNARD"]


# -- ending ------------------------------------------------------------------------------------------------------------


async def test_fin_ends_the_exchange_and_a_new_letter_opens_it_again(patient: Patient) -> None:
    await patient.gets()
    await patient.gets("[FIN]", now=later(seconds=1))
    assert await patient.threads() == 1, "a lone [FIN] belongs to its author's conversation"
    thread = await patient.thread()
    assert thread.reply.rule is rules.CONVERSATION_ENDED
    assert thread.choices == ()
    decision, receipt = await patient.answers(now=later(seconds=2))
    assert (decision.rule, receipt) == (rules.CONVERSATION_ENDED, None)
    assert await patient.queued() == []
    await patient.gets("De nouveau", now=later(seconds=3))
    assert (await patient.contacts())[DOCTOR] is ContactState.OPEN
    assert (await patient.answers(now=later(seconds=4)))[0].accepted


@pytest.mark.parametrize("subject", ["[Fin]", "[FIN] de votre traitement", "FIN", "Re: [FIN]"])
async def test_what_only_looks_like_fin_ends_nothing(patient: Patient, subject: str) -> None:
    await patient.gets()
    await patient.gets(subject, now=later(seconds=1))
    assert (await patient.contacts())[DOCTOR] is ContactState.OPEN


async def test_fin_ends_the_reply_to_box_too(patient: Patient) -> None:
    await patient.gets(reply_to=[DESK])
    await patient.gets("[FIN]", now=later(seconds=1))
    contacts = await patient.contacts()
    assert (contacts[DOCTOR], contacts[DESK]) == (ContactState.ENDED, ContactState.ENDED)
    assert (await patient.answers(now=later(seconds=2)))[0].rule is rules.CONVERSATION_ENDED


async def test_fin_of_one_does_not_silence_another(patient: Patient) -> None:
    await patient.gets()
    await patient.gets("Avis", sender=COLLEAGUE, origin=REGIONAL, now=later(seconds=1))
    await patient.gets("[FIN]", now=later(seconds=2))
    decisions = [(await patient.thread(index)).reply.accepted for index in range(2)]
    assert sorted(decisions) == [False, True]


async def test_x_mss_mes_fin_forbids_to_answer_that_letter(patient: Patient) -> None:
    await patient.gets("Information", extra=(("X-MSS-MES", "FIN"),))
    thread = await patient.thread()
    assert thread.reply.rule is rules.CONVERSATION_NOT_ANSWERABLE
    assert not thread.letters[0].answerable
    assert (await patient.answers())[0].rule is rules.CONVERSATION_NOT_ANSWERABLE
    assert DOCTOR not in await patient.contacts()
    await patient.gets("Question", now=later(seconds=1))
    assert (await patient.thread()).reply.accepted
    assert not (await patient.thread(1)).reply.accepted


@pytest.mark.parametrize(
    "more", [{"auto_submitted": "auto-replied"}, {"null": True}, {"auto_submitted": "auto-notified"}]
)
async def test_automatic_letters_open_nothing_and_end_nothing(patient: Patient, more: dict[str, Any]) -> None:
    await patient.gets("Absence", **more)
    assert await patient.contacts() == {}
    assert (await patient.thread()).reply.rule is rules.CONVERSATION_NEVER_OPENED
    message_id = await patient.gets("Bilan", now=later(seconds=1))
    await patient.gets("[FIN]", references=(message_id,), now=later(seconds=2), **more)
    assert (await patient.contacts())[DOCTOR] is ContactState.OPEN
    await patient.gets("[FIN]", now=later(seconds=3))
    await patient.gets("Absence", references=(message_id,), now=later(seconds=4), **more)
    assert (await patient.contacts())[DOCTOR] is ContactState.ENDED


# -- who may answer ----------------------------------------------------------------------------------------------------


async def test_an_answer_that_is_refused_changes_nothing(patient: Patient) -> None:
    await patient.gets("Information", extra=(("X-MSS-MES", "FIN"),))
    conversation_id = (await patient.thread()).conversation.id
    draft = records.Draft("Mon texte", (), (), NOW)
    await patient.store.write(records.save_draft, patient.account.id, patient.box.id, conversation_id, draft, NOW)
    await patient.answers()
    thread = await patient.thread()
    assert thread.draft is not None
    assert len(thread.letters) == 1


async def test_the_draft_is_gone_once_it_was_sent(patient: Patient) -> None:
    await patient.gets()
    thread = await patient.thread()
    draft = records.Draft("Mon texte", (), (), NOW)
    await patient.store.write(
        records.save_draft, patient.account.id, patient.box.id, thread.conversation.id, draft, NOW
    )
    assert (await patient.thread()).draft == draft
    await patient.answers()
    assert (await patient.thread()).draft is None


async def test_nobody_answers_in_a_strangers_conversation(patient: Patient) -> None:
    await patient.gets()
    theirs = (await patient.thread()).conversation.id
    box = await patient_box(patient.store, OTHER_MATRICULE)
    stranger = Patient(patient.store, box, await account_for(patient.store, box))
    for conversation_id in (theirs, 999):
        decision, receipt = await stranger.answers(conversation_id=conversation_id)
        assert (decision.accepted, receipt) == (False, None)
        assert decision.rule is rules.CONVERSATION_NEVER_OPENED
    assert await patient.queued() == []
    assert await stranger.store.read(records.thread, HOSTED, stranger.account.id, box.id, theirs, NOW) is None


async def test_a_number_of_another_box_stands_for_nobody(patient: Patient) -> None:
    box = await patient_box(patient.store, OTHER_MATRICULE)
    other = Patient(patient.store, box, await account_for(patient.store, box))
    await arrive(patient.store, letter(to=[box.address], sender=NURSE), box.address)
    [theirs] = (await other.thread()).choices
    await patient.gets()
    [mine] = (await patient.thread()).choices
    assert theirs.number != mine.number
    for numbers in ((theirs.number,), (mine.number, theirs.number), (999,)):
        decision, receipt = await patient.answers(0, *numbers)
        assert (decision.rule, receipt) == (rules.CONVERSATION_NEVER_OPENED, None)
    assert await patient.queued() == []
    assert (await patient.answers(0, mine.number, mine.number))[0].accepted
    assert [one.recipient for one in await patient.queued()] == [DOCTOR]


async def test_a_contact_of_another_conversation_is_not_reached_from_this_one(patient: Patient) -> None:
    await patient.gets()
    await patient.gets("Avis", sender=COLLEAGUE, origin=REGIONAL, now=later(seconds=1))
    [colleague] = (await patient.thread(0)).choices
    decision, _ = await patient.answers(1, colleague.number)
    assert decision.rule is rules.CONVERSATION_NEVER_OPENED
    assert await patient.queued() == []


async def test_only_accounts_of_the_box_answer(patient: Patient) -> None:
    await patient.gets()
    conversation_id = (await patient.thread()).conversation.id
    stranger = await account_for(patient.store, await patient_box(patient.store, OTHER_MATRICULE))
    clinician = await account_for(patient.store, await clinic_box(patient.store))
    helper = await account_for(patient.store, await patient_box(patient.store, "274075176079430"), login="helper")
    ended = Delegation(helper.id, patient.box.id, DelegationKind.CAREGIVER, later(hours=-1))
    await patient.store.write(accounts.delegate, ended, "cli", NOW)
    for account, rule in (
        (stranger, rules.ACCESS_NONE),
        (clinician, rules.ACCESS_WRONG_KIND),
        (helper, rules.ACCESS_EXPIRED),
    ):
        answer = PatientReply(conversation_id, "Bonjour")
        decision, receipt = await patient.store.write(
            submit.reply, HOSTED, OUTSIDE, account.id, patient.box.id, answer, NOW
        )
        assert (decision.rule, receipt) == (rule, None)
        for index in (account.id, 999):
            assert await patient.store.read(records.thread, HOSTED, index, patient.box.id, conversation_id, NOW) is None
    decision, _ = await patient.store.write(
        submit.reply, HOSTED, OUTSIDE, 999, patient.box.id, PatientReply(conversation_id, "Bonjour"), NOW
    )
    assert decision.rule is rules.ACCESS_NONE
    assert await patient.queued() == []
    live = Delegation(helper.id, patient.box.id, DelegationKind.CAREGIVER, later(hours=1))
    await patient.store.write(accounts.delegate, live, "cli", NOW)
    decision, _ = await patient.store.write(
        submit.reply, HOSTED, OUTSIDE, helper.id, patient.box.id, PatientReply(conversation_id, "Bonjour"), NOW
    )
    assert decision.accepted


async def test_a_closed_box_reads_and_does_not_answer(patient: Patient) -> None:
    await patient.gets()
    await patient.store.write(accounts.set_box_state, patient.box.id, BoxState.CLOSED, "cli", NOW)
    thread = await patient.thread()
    assert (len(thread.letters), thread.reply.rule) == (1, rules.ACCESS_BOX_CLOSED)
    assert (await patient.answers())[0].rule is rules.ACCESS_BOX_CLOSED


async def test_an_answer_that_cannot_travel_is_refused_whole(patient: Patient) -> None:
    await patient.gets(cc=[Address("someone", DOCTOR.domain)])
    answer = PatientReply((await patient.thread()).conversation.id, "Merci")
    nowhere = submit.Outside(frozenset(), 3600)
    decision, receipt = await patient.store.write(
        submit.reply, HOSTED, nowhere, patient.account.id, patient.box.id, answer, NOW
    )
    assert (decision.rule, receipt) == (rules.ROUTE_OUTSIDE, None)
    assert len((await patient.thread()).letters) == 1


@pytest.mark.parametrize(("more", "accepted"), [(-1, True), (0, True), (1, False)])
async def test_an_answer_that_is_too_large(patient: Patient, more: int, accepted: bool) -> None:
    await patient.gets()
    size = PatientReply(1, "x" * 5000).size_octets
    patient.hosted = with_limits(message_max_octets=size - more + 1000)
    decision, _ = await patient.answers(text="x" * (5000 + 1000))
    assert decision.accepted is accepted
    assert accepted or decision.rule is rules.LETTER_TOO_LARGE


async def test_an_answer_to_a_colleague_here_is_delivered_at_once(patient: Patient) -> None:
    clinician = await clinic_box(patient.store)
    await arrive(patient.store, letter(sender=clinician.address, name="Dr Ici"), sender=clinician.address)
    decision, receipt = await patient.answers(attachments=(submit.Attachment("a.pdf", "application/pdf", b"%PDF-1"),))
    assert decision.accepted
    assert receipt is not None
    assert [one.box_id for one in receipt.outcomes] == [clinician.id]
    assert await patient.queued() == []
    assert (await patient.thread()).conversation.has_attachment


# -- reports -----------------------------------------------------------------------------------------------------------


def shown(thread: records.Thread) -> str:
    """Return all that a thread tells besides the octets of ordinary letters."""
    named = [f"{one.sender_name} {one.recipient_names}" for one in thread.letters]
    return " ".join(
        [*named, *(one.name for one in thread.choices), repr(thread.conversation), repr(thread.reply.facts)]
    )


async def test_a_failure_comes_into_the_patients_conversation_and_names_no_address(patient: Patient) -> None:
    await patient.gets("Votre bilan")
    await patient.answers()
    [claimed] = await patient.store.write(outbound.claim, "w", 5, 60, NOW)
    outcome = Outcome(OutcomeKind.PERMANENT, 550, "5.1.1", f"<{DOCTOR.spec}>: no such user", "mx.chu.mssante.test")
    await patient.store.write(outbound.record, "w", claimed.id, outcome, PLAN, 0.0, later(seconds=1))
    assert await patient.threads() == 1
    thread = await patient.thread()
    assert len(thread.letters) == 3
    report = thread.letters[-1]
    assert report.direction is Direction.RECEIVED
    assert b"Jean MARTIN" in report.octets
    for secret in (DOCTOR.spec, DOCTOR.local + "@", DOCTOR.domain, "no such user"):
        assert secret.encode() not in report.octets, secret
        assert secret not in shown(thread)
    assert thread.reply.accepted, "a report changes nothing"


async def test_the_thread_tells_names_only(patient: Patient) -> None:
    await patient.gets(cc=[NURSE], reply_to=[DESK])
    await patient.answers()
    await patient.gets("[FIN]", now=later(seconds=1))
    told = shown(await patient.thread())
    for address in (DOCTOR, NURSE, DESK):
        assert address.spec not in told
        assert f"{address.local}@" not in told
    listed = await patient.store.read(records.conversations, patient.account.id, patient.box.id, 0, 10, NOW)
    assert "@" not in repr(listed)
    assert CLINIC not in repr(listed)
