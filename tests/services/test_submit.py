"""Letters that our own people submit: delivered here, queued for elsewhere, refused by name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from sqlalchemy import text as sql_text

from mss.model.account import Account, Box, BoxState, Delegation, DelegationKind
from mss.model.address import Address
from mss.model.delivery import DeliveryState
from mss.model.envelope import Envelope, Notify, Recipient, Ret
from mss.model.mailbox import INBOX
from mss.model.party import BoxKind, Party
from mss.policy import rules
from mss.services import accounts, mailbox, outbound, receive, submit
from mss.services.mailbox import Columns
from mss.services.reading import Reading
from mss.services.receive import Receipt
from mss.store.store import Store, Uow
from tests.services.services_world import (
    COLLEAGUE,
    DOCTOR,
    HOSTED,
    ORIGIN,
    OUTSIDE,
    archive,
    document,
    envelope,
    letter,
    raw,
)
from tests.store.store_world import (
    CLINIC,
    NOW,
    OTHER_MATRICULE,
    OTHER_TRAITS,
    PATIENTS,
    account_for,
    clinic_box,
    later,
    patient_box,
)

OTHER_PATIENT = Address(OTHER_MATRICULE, PATIENTS)


@dataclass
class Sender:
    """A professional of ours who submits letters."""

    store: Store
    box: Box
    account: Account

    async def submit(
        self, *to: Address, reading: Reading | None = None, path: Envelope | None = None, account: int = 0
    ) -> Receipt:
        reading = reading or letter(sender=self.box.address, name="Dr Doctor", to=to)
        path = path or envelope(*to, sender=self.box.address)
        return await self.store.write(submit.accept, HOSTED, OUTSIDE, account or self.account.id, path, reading, NOW)

    async def inbox(self, box: Box) -> list[bytes]:
        where = await self.store.read(mailbox.find, box.id, INBOX, NOW)
        rows = await self.store.read(mailbox.rows, where.id, ((1, 99),), Columns.PLAIN, NOW)
        return [await self.store.read(mailbox.octets, where.id, row.object_id, 0, None, NOW) for row in rows]

    async def queued(self) -> list[Any]:
        return list(await self.store.read(lambda uow: uow.queue.list(frozenset(DeliveryState), 100)))


@pytest.fixture
async def sender(store: Store) -> Sender:
    box = await clinic_box(store)
    return Sender(store, box, await account_for(store, box))


async def test_a_letter_goes_to_boxes_here_and_elsewhere(sender: Sender) -> None:
    nurse, patient = await clinic_box(sender.store, "nurse"), await patient_box(sender.store)
    reading = letter(sender=sender.box.address, name="Dr Doctor", to=[nurse.address, DOCTOR], cc=[patient.address])
    receipt = await sender.submit(nurse.address, DOCTOR, patient.address, reading=reading)
    assert [one.decision.rule for one in receipt.outcomes] == [
        rules.BOX_RECEIVES,
        rules.RECIPIENT_RELAYED,
        rules.BOX_RECEIVES,
    ]
    assert await sender.inbox(nurse) == await sender.inbox(patient) == [reading.octets]
    [delivery] = await sender.queued()
    assert (delivery.recipient, delivery.source_box_id) == (DOCTOR, sender.box.id)
    assert await sender.store.read(outbound.octets, delivery.id, NOW) == reading.octets
    contacts = await sender.store.read(lambda uow: uow.conversations.contacts(patient.id))
    assert {one.address for one in contacts} == {sender.box.address, nurse.address, DOCTOR}


async def test_wishes_travel_with_the_delivery(sender: Sender) -> None:
    wish = Recipient(DOCTOR, frozenset({Notify.SUCCESS, Notify.FAILURE}), "rfc822;a+2Bb@c")
    path = Envelope(
        sender.box.address, (wish, Recipient(COLLEAGUE)), Ret.HDRS, "env-1", smtputf8=True, require_tls=True
    )
    await sender.submit(path=path, reading=letter(sender=sender.box.address, text="é" * 10))
    by_address = {one.recipient: one for one in await sender.queued()}
    first, second = by_address[DOCTOR], by_address[COLLEAGUE]
    assert (first.notify, first.orcpt) == (wish.notify, wish.orcpt)
    assert (second.notify, second.orcpt) == (frozenset(), None)
    shared = {(one.ret, one.envid, one.smtputf8, one.require_tls) for one in (first, second)}
    assert shared == {(Ret.HDRS, "env-1", True, True)}


async def test_octets_say_whether_they_are_eight_bit(sender: Sender) -> None:
    for octets in (b"From: a@b.test\r\n\r\nascii", b"From: a@b.test\r\n\r\n\xc3\xa9"):
        await sender.submit(DOCTOR, reading=raw(octets))
    assert [one.eight_bit for one in await sender.queued()] == [False, True]


@pytest.mark.parametrize(
    ("address", "rule"),
    [
        (Address("nobody", CLINIC), rules.RECIPIENT_UNKNOWN),
        (OTHER_PATIENT, rules.PATIENT_UNKNOWN),
        (Address("dupont", PATIENTS), rules.INS_MALFORMED),
        (Address.parse("someone@mail.example"), rules.ROUTE_OUTSIDE),
    ],
)
async def test_refused_recipients(sender: Sender, address: Address, rule: Any) -> None:
    receipt = await sender.submit(address)
    assert (receipt.accepted, receipt.outcomes[0].decision.rule) == (False, rule)
    assert await sender.queued() == []
    assert await sender.store.read(lambda uow: uow.objects.holds(sender.box.id, 1)) is False
    decision = await sender.store.read(submit.judge, HOSTED, OUTSIDE, sender.box.address, address, 100, NOW)
    assert decision.rule is rule
    [record] = await sender.store.read(lambda uow: uow.journal.newest(1, "letter.refuse"))
    assert record.event.rule == rule.name


async def test_some_refused_are_reported_to_the_sender(sender: Sender) -> None:
    receipt = await sender.submit(DOCTOR, Address("nobody", CLINIC))
    assert receipt.accepted
    [report] = await sender.inbox(sender.box)
    assert b"nobody@clinic" in report
    assert len(await sender.queued()) == 1


async def test_a_patient_reads_nothing_of_another_patient(sender: Sender) -> None:
    patient = await patient_box(sender.store)
    other = document(matricule=OTHER_MATRICULE, traits=OTHER_TRAITS)
    reading = letter(sender=sender.box.address, attachments=(archive(other),))
    receipt = await sender.submit(patient.address, reading=reading)
    assert receipt.outcomes[0].decision.rule is rules.DOCUMENT_OTHER_PATIENT
    assert await sender.inbox(patient) == []


async def test_two_patients_in_one_letter_are_refused_for_everybody(sender: Sender) -> None:
    patient = await patient_box(sender.store)
    reading = letter(sender=sender.box.address, cc=[OTHER_PATIENT])
    receipt = await sender.submit(patient.address, DOCTOR, reading=reading)
    assert {one.decision.rule for one in receipt.outcomes} == {rules.LETTER_SEVERAL_PATIENTS}
    assert await sender.queued() == []


async def test_a_document_submitted_for_a_patient_here_is_filed(sender: Sender) -> None:
    patient = await patient_box(sender.store)
    found = document()
    reading = letter(sender=sender.box.address, name="Dr Doctor", attachments=(archive(found),))
    assert (await sender.submit(patient.address, reading=reading)).accepted
    filed = await sender.store.read(lambda uow: uow.dossiers.list(patient.id))
    assert [one.entry.unique_id for one in filed] == [found.entry.unique_id]


async def test_nobody_sends_in_the_name_of_a_box_that_they_may_not_act_for(sender: Sender) -> None:
    nurse = await clinic_box(sender.store, "nurse")
    receipt = await sender.submit(DOCTOR, path=envelope(DOCTOR, sender=nurse.address))
    assert receipt.outcomes[0].decision.rule is rules.SENDER_NOT_YOURS
    ended = Delegation(sender.account.id, nurse.id, DelegationKind.MEMBER, later(seconds=-1))
    await sender.store.write(accounts.delegate, ended, "cli", NOW)
    assert not (await sender.submit(DOCTOR, path=envelope(DOCTOR, sender=nurse.address))).accepted
    member = Delegation(sender.account.id, nurse.id, DelegationKind.MEMBER, later(hours=1))
    await sender.store.write(accounts.delegate, member, "cli", NOW)
    assert (await sender.submit(DOCTOR, path=envelope(DOCTOR, sender=nurse.address))).accepted
    assert await sender.store.read(submit.sender_addresses, sender.account.id, NOW) == (
        sender.box.address,
        nurse.address,
    )


async def test_a_closed_box_sends_nothing(sender: Sender) -> None:
    await sender.store.write(accounts.set_box_state, sender.box.id, BoxState.CLOSED, "cli", NOW)
    receipt = await sender.submit(DOCTOR)
    assert receipt.outcomes[0].decision.rule is rules.SENDER_NOT_YOURS


async def test_patients_do_not_submit_whatever_the_door_let_through(sender: Sender) -> None:
    patient = await patient_box(sender.store)
    account = await account_for(sender.store, patient)
    for to in (DOCTOR, sender.box.address, OTHER_PATIENT):
        receipt = await sender.submit(to, path=envelope(to, sender=patient.address), account=account.id)
        assert receipt.outcomes[0].decision.rule is rules.ACCOUNT_WEB_ONLY
    assert await sender.queued() == []
    assert await sender.inbox(sender.box) == []


async def test_a_receipt_of_a_mail_program_goes_out_under_the_null_sender(sender: Sender) -> None:
    receipt = await sender.submit(DOCTOR, path=envelope(DOCTOR, sender=None))
    assert receipt.accepted
    [delivery] = await sender.queued()
    assert (delivery.reverse_path, delivery.source_box_id) == (None, None)
    assert b"Bonjour" in await sender.store.read(outbound.octets, delivery.id, NOW)


async def test_an_address_named_twice_gets_one_copy(sender: Sender) -> None:
    nurse = await clinic_box(sender.store, "nurse")
    receipt = await sender.submit(nurse.address, DOCTOR, nurse.address, DOCTOR)
    assert len(receipt.outcomes) == 4
    assert len(await sender.inbox(nurse)) == len(await sender.queued()) == 1


# -- what submission hands in besides --------------------------------------------------------------------------------


async def hand(sender: Sender, *to: Address, **handed: Any) -> Receipt:
    reading = letter(sender=sender.box.address, name="Dr Doctor", to=to)
    path = envelope(*to, sender=sender.box.address)
    more = submit.Handed(**handed)
    return await sender.store.write(submit.accept, HOSTED, OUTSIDE, sender.account.id, path, reading, NOW, more)


async def test_boxes_here_get_the_form_with_the_return_path_and_others_the_plain_one(sender: Sender) -> None:
    nurse = await clinic_box(sender.store, "nurse")
    reading = letter(sender=sender.box.address, name="Dr Doctor", to=(nurse.address, DOCTOR))
    local = raw(b"Return-Path: <doctor@clinic>\r\n" + reading.octets)
    path = envelope(nurse.address, DOCTOR, sender=sender.box.address)
    await sender.store.write(
        submit.accept, HOSTED, OUTSIDE, sender.account.id, path, reading, NOW, submit.Handed(local=local)
    )
    assert await sender.inbox(nurse) == [local.octets]
    [delivery] = await sender.queued()
    assert await sender.store.read(outbound.octets, delivery.id, NOW) == reading.octets
    records = await sender.store.read(lambda uow: uow.journal.newest(9, "letter.accept"))
    assert len({record.event.target for record in records}) == 1
    assert len({record.event.facts["letter"] for record in records}) == 2


@pytest.mark.parametrize(("here", "afar"), [(True, False), (False, True), (False, False)])
async def test_a_form_that_nobody_got_is_not_kept(sender: Sender, here: bool, afar: bool) -> None:
    nurse = await clinic_box(sender.store, "nurse")
    to = (nurse.address if here else Address("nobody", CLINIC), DOCTOR if afar else Address.parse("x@mail.example"))
    reading = letter(sender=sender.box.address, name="Dr Doctor", to=to, text=f"{here} {afar}")
    local = raw(b"Return-Path: <doctor@clinic>\r\n" + reading.octets)
    path = envelope(*to, sender=sender.box.address)
    await sender.store.write(
        submit.accept, HOSTED, OUTSIDE, sender.account.id, path, reading, NOW, submit.Handed(local=local)
    )
    kept = await sender.store.read(
        lambda uow: [
            uow._connection.execute(sql_text("select count(*) from objects where size = :s"), {"s": len(o)}).scalar()
            for o in (local.octets, reading.octets)
        ]
    )
    assert kept == [int(here), int(afar)]


async def test_a_budget_is_spent_by_accepted_recipients_and_defers(sender: Sender) -> None:
    assert (await hand(sender, DOCTOR, Address("nobody", CLINIC), per_hour_max=3)).accepted
    assert (await hand(sender, DOCTOR, COLLEAGUE, per_hour_max=3)).accepted
    refused = await hand(sender, DOCTOR, per_hour_max=3)
    assert [one.decision.rule for one in refused.outcomes] == [rules.SENDER_OVER_BUDGET]
    assert len(await sender.queued()) == 3
    asked = await sender.store.read(submit.within_budget, sender.account.id, 1, 3, NOW)
    assert asked.rule is rules.SENDER_OVER_BUDGET
    assert (await sender.store.read(submit.within_budget, sender.account.id, 1, 3, later(minutes=20))).accepted
    records = await sender.store.read(lambda uow: uow.journal.newest(9, "letter.refuse"))
    assert {record.event.rule for record in records} == {"recipient.unknown", "sender.over-budget"}


async def test_budgets_are_each_account_s_own(sender: Sender) -> None:
    nurse = await clinic_box(sender.store, "nurse")
    other = await account_for(sender.store, nurse)
    for _ in range(3):
        await hand(sender, DOCTOR, per_hour_max=1)
    assert (await sender.store.read(submit.within_budget, other.id, 1, 1, NOW)).accepted


async def test_conformity_stands_in_the_journal_without_content(sender: Sender) -> None:
    receipt = await hand(sender, DOCTOR, conformity={"software": "good", "ins": "missing"})
    [record] = await sender.store.read(lambda uow: uow.journal.newest(1, "letter.conformity"))
    assert (record.event.target, record.event.facts) == (
        f"receipt:{receipt.number}",
        {"software": "good", "ins": "missing"},
    )
    await hand(sender, Address("nobody", CLINIC), conformity={"software": "good"})
    assert len(await sender.store.read(lambda uow: uow.journal.newest(9, "letter.conformity"))) == 1


async def test_boxes_are_called_as_the_directory_says_else_as_we_do(sender: Sender) -> None:
    shared = await clinic_box(sender.store, "desk", kind=BoxKind.ORG, display_name="Accueil")
    joined = Delegation(sender.account.id, shared.id, DelegationKind.MEMBER)
    await sender.store.write(accounts.delegate, joined, "cli", NOW)
    known = Party(sender.box.address, BoxKind.PER, name="Durand", first_name="Marie", title="Dr")

    def publish(uow: Uow) -> None:
        generation = uow.parties.begin(NOW)
        uow.parties.add(generation, [known])
        uow.parties.publish(generation, NOW)

    assert set((await sender.store.read(submit.names, sender.account.id, NOW)).values()) == {
        sender.box.display_name,
        "Accueil",
    }
    await sender.store.write(publish)
    assert await sender.store.read(submit.names, sender.account.id, NOW) == {
        sender.box.address.key: "Dr Marie DURAND",
        shared.address.key: "Accueil",
    }


async def test_a_letter_from_inside_meets_the_rules_that_one_from_outside_meets(sender: Sender) -> None:
    """Boxes of ours are no less choosy towards our own people."""
    patient, closed = await patient_box(sender.store), await clinic_box(sender.store, "closed")
    await sender.store.write(accounts.set_box_state, closed.id, BoxState.CLOSED, "cli", NOW)
    foreign = archive(document(matricule=OTHER_MATRICULE, traits=OTHER_TRAITS))
    cases: list[tuple[Address, dict[str, Any]]] = [
        (patient.address, {}),
        (patient.address, {"name": ""}),
        (patient.address, {"name": "dr@martin.example"}),
        (patient.address, {"cc": [OTHER_PATIENT]}),
        (patient.address, {"attachments": (foreign,)}),
        (patient.address, {"subject": "[FIN]"}),
        (closed.address, {}),
        (Address("nobody", CLINIC), {}),
        (OTHER_PATIENT, {}),
        (Address("dupont", PATIENTS), {}),
    ]
    for to, more in cases:
        given = {"name": "Dr Somebody", **more}
        outside = await sender.store.write(receive.accept, HOSTED, ORIGIN, envelope(to), letter(to=(to,), **given), NOW)
        inside = await sender.submit(to, reading=letter(sender=sender.box.address, to=(to,), **given))
        assert inside.outcomes[0].decision.rule is outside.outcomes[0].decision.rule, (to.domain, more)
