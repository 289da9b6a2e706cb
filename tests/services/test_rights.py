"""A professional reads what the patient, the law and the situation allow; every look is journalled, and told."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from mss.dossier.habilitation import parse
from mss.model.account import Account, Box, BoxState, DelegationKind
from mss.model.audit import AuditEvent
from mss.model.document import Confidentiality
from mss.model.ins import Traits
from mss.model.party import BoxKind, Party
from mss.model.rights import Grantee, GrantKind, NoticeKind, Professional, Purpose, Switch
from mss.services import accesses, governing, operators, rights
from mss.services.deliver import keep_document
from mss.services.governing import Choices, Wish
from mss.services.operators import DirectoryQuery
from mss.services.rights import Book
from mss.store.store import Store, Uow
from tests.services.services_world import archive, arrive, document, letter
from tests.store.store_world import NOW, account_for, clinic_box, later, patient_box

MATRIX = parse("code,label,10,60|69\n34112-3,CR,X,\n11502-2,Biologie,X,X\n")
BOOK = Book(MATRIX, grants_max=3)
TREAT, BTG, ETREAT = Purpose.TREATMENT, Purpose.BREAK_GLASS, Purpose.REGULATION


class Ward:
    """A patient with one document, and a doctor of the directory."""

    def __init__(self, store: Store, box: Box, owner: Account, doctor: Account, one: Professional) -> None:
        self.store, self.box, self.owner, self.doctor, self.one = store, box, owner, doctor, one

    async def judged(self, purpose: Purpose = TREAT, number: int = 1, book: Book = BOOK, **more: Any) -> str:
        """Return the rule that decides, asked in all three ways, which must agree."""
        where = (book, self.one, self.box.id)
        now = more.get("now", NOW)
        decision, _ = await self.store.read(rights.look_up, *where, number, purpose, now)
        listed = dict(await self.store.read(rights.judge_all, *where, purpose, now))
        assert listed[number].rule is decision.rule
        assert listed[number].accepted is decision.accepted
        _, opened = await self.store.read(rights.open_document, *where, number, purpose, now)
        assert (opened is not None) is decision.accepted
        return decision.rule.name

    async def grants(self, kind: GrantKind, grantee: Grantee | None = None, **more: Any) -> bool:
        wish = Wish(kind, grantee or Grantee("Dr Doctor", person_id="899700000001"), **more)
        return (await self.store.write(governing.set_grant, BOOK, self.owner.id, self.box.id, wish, NOW)).accepted

    async def chooses(self, *permits: Switch, default_mask: bool = False, notify: bool = True) -> None:
        choices = Choices(frozenset(permits), default_mask, notify)
        assert (await self.store.write(governing.choose, self.owner.id, self.box.id, choices, NOW)).accepted

    async def opens(self, purpose: Purpose = TREAT, **more: Any) -> bool:
        note = (BOOK, self.one, self.box.id, 1, purpose, more.get("now", NOW))
        return (await self.store.write(rights.note, *note)).accepted

    async def notices(self) -> list[NoticeKind]:
        found = await self.store.read(governing.notices, self.owner.id, self.box.id, NOW)
        return [one.kind for one in found]

    async def written(self, action: str) -> list[AuditEvent]:
        found = await self.store.read(lambda uow: uow.journal.about_box(self.box.id, 1000))
        return [one.event for one in reversed(found) if one.event.action == action]


async def listed(store: Store, *parties: Party) -> None:
    generation = await store.write(operators.begin_directory, NOW)
    await store.write(operators.add_parties, generation, parties, NOW)
    await store.write(operators.publish_directory, generation, NOW)


@pytest.fixture
async def ward(store: Store) -> Ward:
    box = await patient_box(store)
    owner = await account_for(store, box)
    clinic = await clinic_box(store)
    doctor = await account_for(store, clinic)
    await listed(
        store,
        Party(clinic.address, BoxKind.PER, "DOCTOR", "Jo", person_id="899700000001", profession_code="10",
              structure_id="1630013605"),
    )  # fmt: skip
    await arrive(store, letter(attachments=(archive(document(type_code="34112-3")),)))
    one = await store.read(rights.professional_of, doctor.id, NOW)
    assert one is not None
    return Ward(store, box, owner, doctor, one)


async def test_a_professional_is_who_the_directory_says(ward: Ward) -> None:
    expected = ("899700000001", "10", "1630013605", "doctor@clinic.mssante.test")
    assert (ward.one.person_id, ward.one.profession_code, ward.one.structure_id, ward.one.address_key) == expected
    assert await ward.store.read(rights.professional_of, ward.owner.id, NOW) is None
    assert await ward.store.read(rights.professional_of, 999, NOW) is None


async def test_nobody_reads_without_consent(ward: Ward) -> None:
    assert await ward.judged() == "document.no-consent"
    assert await ward.judged(book=Book(None)) == "document.matrix-unknown"


@pytest.mark.parametrize(
    ("kind", "rule"),
    [
        (GrantKind.CARE_TEAM, "document.care-team"),
        (GrantKind.EACH_TIME, "document.consent"),
        (GrantKind.BLOCK, "document.blocked"),
    ],
)
async def test_what_a_patient_sets_decides(ward: Ward, kind: GrantKind, rule: str) -> None:
    assert await ward.grants(kind)
    assert await ward.judged() == rule
    [event] = await ward.written("rights.grant")
    assert (event.actor, event.facts["kind"]) == (f"account:{ward.owner.id}", kind.value)


async def test_a_consent_given_each_time_ends_by_itself(ward: Ward) -> None:
    await ward.grants(GrantKind.EACH_TIME)
    assert await ward.judged(now=later(hours=23, minutes=59)) == "document.consent"
    assert await ward.judged(now=later(hours=24)) == "document.no-consent"


async def test_a_consent_covers_its_categories_only(ward: Ward) -> None:
    await ward.grants(GrantKind.EACH_TIME, categories=frozenset({"BIOLOGIE"}))
    assert await ward.judged() == "document.no-consent"
    await ward.grants(GrantKind.EACH_TIME, categories=frozenset({"CPT_REND"}))
    assert await ward.judged() == "document.consent"


async def test_the_newest_word_about_somebody_takes_the_place_of_the_one_before(ward: Ward) -> None:
    await ward.grants(GrantKind.CARE_TEAM)
    await ward.grants(GrantKind.BLOCK)
    assert await ward.judged() == "document.blocked"
    [grant] = (await ward.store.read(lambda uow: rights.rights_of(uow, BOOK, ward.box.id, NOW))).grants
    withdrawn = await ward.store.write(governing.withdraw, ward.owner.id, ward.box.id, grant.id, NOW)
    assert withdrawn.accepted
    assert await ward.judged() == "document.no-consent"


async def test_a_masked_document_is_seen_by_its_author_and_patient_only(ward: Ward) -> None:
    await ward.grants(GrantKind.CARE_TEAM)
    before = await ward.store.read(lambda uow: uow.dossiers.get(ward.box.id, 1))
    assert (await ward.store.write(governing.mask, ward.owner.id, ward.box.id, 1, True, NOW)).accepted
    after = await ward.store.read(lambda uow: uow.dossiers.get(ward.box.id, 1))
    assert before is not None
    assert after is not None
    assert (after.masked, after.entry_id == before.entry_id, after.logical_id) == (True, False, before.logical_id)
    assert await ward.judged() == "document.masked"
    assert (await ward.store.read(accesses.may_see, ward.owner.id, after, NOW)).accepted
    assert (await ward.store.write(governing.mask, ward.owner.id, ward.box.id, 1, False, NOW)).accepted
    assert await ward.judged() == "document.care-team"


async def test_a_mark_of_the_author_masks_too(ward: Ward) -> None:
    marked = document("1.2.3.4", type_code="34112-3", confidentiality=Confidentiality.MASKED_FOR_PROFESSIONALS)
    await arrive(ward.store, letter(attachments=(archive(marked),)))
    await ward.grants(GrantKind.CARE_TEAM)
    assert await ward.judged(number=2) == "document.masked"


async def test_new_documents_are_masked_where_the_patient_wants_it(ward: Ward) -> None:
    await ward.chooses(default_mask=True)
    await arrive(ward.store, letter(attachments=(archive(document("1.2.3.4", type_code="34112-3")),)))
    await ward.grants(GrantKind.CARE_TEAM)
    assert [await ward.judged(number=n) for n in (1, 2)] == ["document.care-team", "document.masked"]


async def test_the_author_reads_a_masked_document_unless_blocked(ward: Ward) -> None:
    def rewrite(uow: Uow) -> None:
        from dataclasses import replace

        known = uow.dossiers.get(ward.box.id, 1)
        assert known is not None
        author = replace(known.entry.authors[0], person_id="899700000001")
        entry = replace(known.entry, unique_id="1.9", authors=(author,), type_code="unheard-of")
        keep_document(uow, replace(known, entry=entry, masked=True), "test", NOW)

    await ward.store.write(rewrite)
    assert await ward.judged(number=2) == "document.author"
    await ward.grants(GrantKind.BLOCK)
    assert await ward.judged(number=2) == "document.blocked"


@pytest.mark.parametrize(
    ("permits", "purpose", "masked", "rule"),
    [
        ((), BTG, False, "document.emergency-refused"),
        ((Switch.BREAK_GLASS,), BTG, False, "document.emergency"),
        ((Switch.BREAK_GLASS,), ETREAT, False, "document.emergency-refused"),
        ((Switch.REGULATION,), ETREAT, False, "document.emergency"),
        ((Switch.BREAK_GLASS,), BTG, True, "document.masked"),
        ((Switch.BREAK_GLASS, Switch.MASKED), BTG, True, "document.emergency"),
        ((Switch.MASKED,), BTG, True, "document.masked"),
        ((Switch.BREAK_GLASS,), TREAT, False, "document.no-consent"),
    ],
)
async def test_three_switches_rule_emergencies(
    ward: Ward, permits: tuple[Switch, ...], purpose: Purpose, masked: bool, rule: str
) -> None:
    await ward.chooses(*permits)
    await ward.store.write(governing.mask, ward.owner.id, ward.box.id, 1, masked, NOW)
    assert await ward.judged(purpose) == rule


async def test_whoever_chose_nothing_has_the_operators_switches(ward: Ward) -> None:
    assert await ward.judged(BTG) == "document.emergency"
    assert await ward.judged(BTG, book=Book(MATRIX, frozenset())) == "document.emergency-refused"


async def test_a_document_of_an_older_program_is_judged_the_same(ward: Ward) -> None:
    await ward.grants(GrantKind.CARE_TEAM)

    def forget(uow: Uow) -> None:
        from sqlalchemy import text

        uow._connection.execute(text("UPDATE documents SET type_digest = NULL"))
        uow._connection.execute(text("DELETE FROM document_authors"))

    await ward.store.write(forget)
    assert await ward.judged() == "document.care-team"
    await ward.store.write(governing.mask, ward.owner.id, ward.box.id, 1, True, NOW)
    assert await ward.judged() == "document.masked"


@pytest.mark.parametrize("state", [BoxState.OPPOSED, BoxState.CLOSED])
async def test_a_closed_dossier_is_nobodys_but_the_patients(ward: Ward, state: BoxState) -> None:
    await ward.grants(GrantKind.CARE_TEAM)
    await ward.store.write(lambda uow: uow.accounts.set_state(ward.box.id, state))
    assert await ward.judged() == "access.box-closed"


async def test_every_access_is_journalled_with_its_rule_and_the_first_is_told(ward: Ward) -> None:
    assert not await ward.opens()
    await ward.grants(GrantKind.CARE_TEAM)
    assert await ward.opens()
    assert await ward.opens()
    found = [(one.actor, one.target, one.decision, one.rule) for one in await ward.written("dossier.read")]
    me = f"account:{ward.doctor.id}"
    accepted = (me, "document:1", "accept", "document.care-team")
    # All at one instant, on PostgreSQL by several writers: their order says nothing.
    assert Counter(found) == Counter([(me, "document:1", "reject", "document.no-consent"), accepted, accepted])
    assert await ward.notices() == [NoticeKind.FIRST_ACCESS]


async def test_an_emergency_is_told_once_an_hour_whatever_the_patient_wished(ward: Ward) -> None:
    await ward.chooses(Switch.BREAK_GLASS, notify=False)
    assert await ward.opens(BTG)
    assert await ward.opens(BTG, now=later(minutes=59))
    assert await ward.notices() == [NoticeKind.EMERGENCY_ACCESS]
    assert await ward.opens(BTG, now=later(minutes=60))
    assert await ward.notices() == [NoticeKind.EMERGENCY_ACCESS] * 2
    due = await ward.store.write(lambda uow: uow.rights.hooks_due(10, later(hours=2), later(hours=3)))
    assert [one.kind for one in due] == [NoticeKind.EMERGENCY_ACCESS] * 2


async def test_a_first_access_calls_the_hook_only_where_it_is_wanted(ward: Ward) -> None:
    await ward.chooses(notify=False)
    await ward.grants(GrantKind.CARE_TEAM)
    assert await ward.opens()
    assert await ward.notices() == [NoticeKind.FIRST_ACCESS]
    assert await ward.store.write(lambda uow: uow.rights.hooks_due(10, later(hours=2), later(hours=3))) == ()


async def test_a_list_counts_what_each_rule_decided(ward: Ward) -> None:
    await arrive(ward.store, letter(attachments=(archive(document("1.2.3.4", type_code="11502-2")),)))
    await ward.store.write(governing.mask, ward.owner.id, ward.box.id, 1, True, NOW)
    await ward.grants(GrantKind.CARE_TEAM)
    found = await ward.store.read(rights.listing, BOOK, ward.one, ward.box.id, TREAT, NOW)
    assert [(one.id, decision.facts["document"]) for one, decision in found.documents] == [(2, 2)]
    assert (found.readable, found.rules) == (1, {"document.masked": 1, "document.care-team": 1})
    assert (await ward.store.write(rights.note_listing, BOOK, ward.one, ward.box.id, TREAT, NOW, "cli:uid0")).accepted
    [event] = await ward.written("dossier.list")
    assert (event.actor, event.rule, event.facts["as"]) == ("cli:uid0", "document.care-team", ward.doctor.id)
    assert (event.facts["document.masked"], event.facts["document.care-team"]) == (1, 1)


async def test_a_refused_list_is_journalled_too(ward: Ward) -> None:
    assert not (await ward.store.write(rights.note_listing, BOOK, ward.one, ward.box.id, TREAT, NOW)).accepted
    [event] = await ward.written("dossier.list")
    assert (event.decision, event.rule) == ("reject", "document.no-consent")
    assert await ward.notices() == []


async def test_the_patient_reads_who_it_was_and_by_which_rule(ward: Ward) -> None:
    await ward.opens(BTG)
    found = await ward.store.read(accesses.accesses, ward.owner.id, ward.box.id, 0, 10, NOW)
    [entry] = [one for one in found if one.record.event.action == "dossier.read"]
    assert (entry.name, entry.professional, entry.record.event.rule) == ("Dr Doctor", True, "document.emergency")


async def test_so_many_are_named_and_no_more(ward: Ward) -> None:
    for n in range(3):
        assert await ward.grants(GrantKind.BLOCK, Grantee(f"{n}", person_id=f"{n}"))
    assert not await ward.grants(GrantKind.BLOCK, Grantee("3", person_id="3"))
    # Somebody who is named already may be set anew.
    assert await ward.grants(GrantKind.CARE_TEAM, Grantee("2", person_id="2"))


async def test_what_parents_let_ends_when_the_child_is_of_age(store: Store) -> None:
    box = await patient_box(store, traits=Traits("X", "Y", "20081201", "F"))
    parent = await account_for(store, box, DelegationKind.LEGAL_REPRESENTATIVE)
    for kind in GrantKind:
        wish = Wish(kind, Grantee(kind.value, person_id=kind.value))
        assert (await store.write(governing.set_grant, BOOK, parent.id, box.id, wish, NOW)).accepted
    grants = (await store.read(lambda uow: rights.rights_of(uow, BOOK, box.id, NOW))).grants
    ends = {one.kind: one.ends_at for one in grants}
    assert ends[GrantKind.BLOCK] is None
    assert ends[GrantKind.EACH_TIME] == NOW + timedelta(hours=24)
    assert f"{ends[GrantKind.CARE_TEAM]:%Y-%m-%d}" == "2026-11-30"


async def test_at_majority_what_parents_chose_is_asked_again(store: Store) -> None:
    box = await patient_box(store, traits=Traits("X", "Y", "20081201", "F"))
    parent = await account_for(store, box, DelegationKind.LEGAL_REPRESENTATIVE)
    grown = await account_for(store, box, login="grown")
    book = replace(BOOK, permits=frozenset({Switch.REGULATION, Switch.BREAK_GLASS}))
    allowed = frozenset({Switch.BREAK_GLASS, Switch.MASKED})
    choose = governing.choose
    assert (await store.write(choose, parent.id, box.id, Choices(allowed, True, False), NOW)).accepted
    before, after = NOW, NOW + timedelta(days=10)

    async def on(at: datetime) -> frozenset[Switch]:
        return (await store.read(rights.rights_of, book, box.id, at)).permits

    async def asked(at: datetime) -> bool:
        page = await store.read(governing.page, book, grown.id, box.id, at)
        assert page is not None
        return page.asks_again

    assert (await on(before), await asked(before)) == (allowed, False)
    # What they allowed beyond the operator's word is over, what they forbade stays; the mask of new documents too.
    assert (await on(after), await asked(after)) == (frozenset({Switch.BREAK_GLASS}), True)
    assert (await store.read(rights.rights_of, book, box.id, after)).default_mask
    assert not (await store.write(choose, parent.id, box.id, Choices(allowed, True, False), after)).accepted
    assert (await store.write(choose, grown.id, box.id, Choices(allowed, False, True), after)).accepted
    assert (await on(after), await asked(after)) == (allowed, False)


async def test_caregivers_change_none_of_it(ward: Ward) -> None:
    helper = await account_for(ward.store, ward.box, DelegationKind.CAREGIVER)
    wish, choices = Wish(GrantKind.BLOCK, Grantee("x", person_id="1")), Choices(frozenset(), True, True)
    where = (helper.id, ward.box.id)
    decisions = [
        await ward.store.write(governing.set_grant, BOOK, *where, wish, NOW),
        await ward.store.write(governing.withdraw, *where, 1, NOW),
        await ward.store.write(governing.choose, *where, choices, NOW),
        await ward.store.write(governing.mask, *where, 1, True, NOW),
    ]
    assert {one.rule.name for one in decisions} == {"access.caregiver-restricted"}
    assert await ward.store.read(governing.page, BOOK, *where, NOW) is None
    assert await ward.written("rights.grant") == []


async def test_notices_are_new_until_the_patient_has_seen_them(ward: Ward) -> None:
    helper = await account_for(ward.store, ward.box, DelegationKind.CAREGIVER)
    await ward.opens(BTG)
    assert await ward.store.write(governing.see_notices, helper.id, ward.box.id, NOW) == 0
    assert await ward.store.write(governing.see_notices, ward.owner.id, ward.box.id, NOW) == 1
    assert await ward.store.write(governing.see_notices, ward.owner.id, ward.box.id, NOW) == 0
    stranger = await account_for(ward.store, await clinic_box(ward.store, "other"))
    assert await ward.store.read(governing.notices, stranger.id, ward.box.id, NOW) == ()


async def test_somebody_is_named_by_a_mark_of_the_directory_or_by_having_written(ward: Ward) -> None:
    query = DirectoryQuery("doctor")
    [(mark, party)] = await ward.store.read(governing.marked, ward.box.id, query, 10, NOW)
    assert "@" not in mark
    assert await ward.store.read(governing.picked, ward.box.id, query, mark, 10, NOW) == party
    assert await ward.store.read(governing.picked, ward.box.id, query, "00", 10, NOW) is None
    assert governing.grantee_of(party).person_id == "899700000001"
    page = await ward.store.read(governing.page, BOOK, ward.owner.id, ward.box.id, NOW)
    assert page is not None
    [(number, name)] = page.known
    named = await ward.store.read(governing.contact_named, ward.box.id, number)
    assert named == Grantee(name, address_key="martin@chu.mssante.test")
    assert await ward.store.read(governing.contact_named, ward.box.id, 999) is None
