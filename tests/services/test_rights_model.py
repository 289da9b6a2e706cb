"""Promises 4, 5 and 7 on the real store: random patients, professionals, letters, ends, closures, blocks, consents,
masks, switches and delegations, against a model of twenty lines that knows what must never be.
"""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from mss.config import Config
from mss.dossier.habilitation import parse
from mss.model.account import Account, Box, BoxState, DelegationKind
from mss.model.address import Address
from mss.model.document import Document
from mss.model.ins import Traits
from mss.model.party import BoxKind, Party
from mss.model.rights import Grantee, GrantKind, Professional, Purpose, Switch
from mss.services import accounts, delegations, governing, records, rights, submit
from mss.services.governing import Choices, Wish
from mss.services.rights import Book
from mss.services.submit import PatientReply
from mss.store.store import Store, Uow
from tests.services.services_world import (
    DESK,
    DOCTOR,
    OUTSIDE,
    archive,
    arrive,
    document,
    letter,
    with_policy,
)
from tests.services.test_rights import listed
from tests.store.store_world import NOW, TRAITS, account_for, clinic_box, patient_box

HOSTED = with_policy(profile="contact")
TYPES = ("34112-3", "11502-2", "unheard-of")
BOOK = Book(parse("code,label,10,60\n34112-3,CR,X,\n11502-2,Biologie,X,X\n"), frozenset())
MAY = {("10", "34112-3"), ("10", "11502-2"), ("60", "11502-2")}
PROFESSIONS = ("10", "60", "")
_numbers = itertools.count(1)
_who, _whom, _type = st.integers(0, 1), st.sampled_from((DOCTOR, DESK)), st.sampled_from(TYPES)
_one, _purpose = st.integers(0, 2), st.sampled_from(Purpose)


def matricule(number: int) -> str:
    """Return a matricule with its key (MSSANTE.md §3.4)."""
    stem = 1_790_351_000_000 + number
    return f"{stem}{97 - stem % 97:02}"


@dataclass
class Model:
    """What is true of one patient, in the model's own simple words."""

    open: bool = True
    contacts: dict[Address, bool] = field(default_factory=dict)
    documents: dict[str, tuple[str, bool]] = field(default_factory=dict)
    blocked: set[int] = field(default_factory=set)
    team: set[int] = field(default_factory=set)
    permits: frozenset[Switch] = frozenset()
    helped: bool = False

    def may_reach(self, whom: Address) -> bool:
        return self.open and self.contacts.get(whom, False)

    def may_read(self, one: int, unique_id: str, purpose: Purpose) -> bool:
        type_code, masked = self.documents[unique_id]
        emergency = purpose is not Purpose.TREATMENT and Switch(purpose.value) in self.permits
        if not self.open or one in self.blocked or (PROFESSIONS[one], type_code) not in MAY:
            return False
        return (emergency and Switch.MASKED in self.permits) if masked else (one in self.team or emergency)


class Exchange(RuleBasedStateMachine):
    """Two patients, two correspondents, three professionals of the directory, one caregiver."""

    def __init__(self, runner: asyncio.Runner, store: Store, doctors: list[Professional], helper: Account) -> None:
        super().__init__()
        self._runner, self._store, self.doctors, self.helper = runner, store, doctors, helper
        self.boxes: list[Box] = [self._run(patient_box(store, matricule(next(_numbers)), traits=TRAITS)) for _ in "ab"]
        self.owners: list[Account] = [self._run(account_for(store, one)) for one in self.boxes]
        self.models = [Model(), Model()]
        self.now = NOW

    def _run(self, work: Any) -> Any:
        return self._runner.run(work)

    def _write(self, service: Any, *args: Any) -> Any:
        self.now += timedelta(seconds=1)
        return self._run(self._store.write(lambda uow: service(uow, *args, self.now)))

    @rule(to=_who, sender=_whom, about=_who, type_code=_type, kind=st.sampled_from(("", "[FIN]", "document", "traits")))
    def a_letter_arrives(self, to: int, sender: Address, about: int, type_code: str, kind: str) -> None:
        """Let a letter come, with a document about one of the two, exact or with other traits."""
        self.now += timedelta(seconds=1)
        unique_id, model = f"1.2.{next(_numbers)}", self.models[to]
        named = self.boxes[about].address.local
        traits = TRAITS if kind != "traits" else Traits("OTHER", "NAME", "19500101", "M")
        attached = document(unique_id, matricule=named, traits=traits, type_code=type_code)
        files = (archive(attached),) if kind in ("document", "traits") else ()
        reading = letter(
            kind if kind == "[FIN]" else "x", sender=sender, to=[self.boxes[to].address], attachments=files
        )
        receipt = self._run(
            arrive(self._store, reading, self.boxes[to].address, sender=sender, hosted=HOSTED, now=self.now)
        )
        # Promise 7: another valid matricule in every document refuses this copy.
        assert receipt.accepted is (model.open and not (files and about != to))
        if receipt.accepted:
            model.contacts[sender] = kind != "[FIN]"
        if receipt.accepted and kind == "document":
            model.documents[unique_id] = (type_code, False)

    @rule(who=_who, whom=_whom)
    def a_patient_begins(self, who: int, whom: Address) -> None:
        """Try to write to a correspondent, known or not."""
        box, model = self.boxes[who], self.models[who]
        number = self._run(self._store.read(lambda uow: uow.conversations.contact_number(box.id, whom))) or 999_999
        answer = PatientReply(0, "Bonjour", (number,), (), "Question")
        decision, _ = self._write(submit.reply, HOSTED, OUTSIDE, self.owners[who].id, box.id, answer)
        # Promise 4.
        assert decision.accepted is model.may_reach(whom), decision.rule.name

    @rule(who=_who, whom=_who)
    def a_patient_reaches_for_another(self, who: int, whom: int) -> None:
        """Promise 4: never another patient, whatever number stands for them."""
        at = self.boxes[whom].address
        judged = self._run(
            self._store.read(lambda uow: submit.judge(uow, HOSTED, OUTSIDE, self.boxes[who].address, at, 1, self.now))
        )
        assert not judged.accepted

    @rule(who=_who, closes=st.booleans())
    def a_patient_opposes_or_comes_back(self, who: int, closes: bool) -> None:
        """Close or open a box."""
        wanted = BoxState.OPPOSED if closes else BoxState.OPEN
        decision = self._write(accounts.oppose_or_reopen, self.owners[who].id, self.boxes[who].id, wanted)
        assert decision.accepted is (self.models[who].open is closes)
        self.models[who].open = not closes

    @rule(who=_who, one=_one, kind=st.sampled_from((GrantKind.BLOCK, GrantKind.CARE_TEAM)), by_helper=st.booleans())
    def a_patient_names(self, who: int, one: int, kind: GrantKind, by_helper: bool) -> None:
        """Block a professional, or put them into the care team; a caregiver may do neither."""
        account = self.helper if by_helper else self.owners[who]
        wish = Wish(kind, Grantee(f"{one}", person_id=self.doctors[one].person_id))
        if self._write(governing.set_grant, BOOK, account.id, self.boxes[who].id, wish).accepted:
            assert not by_helper
            for names, mine in (
                (self.models[who].blocked, GrantKind.BLOCK),
                (self.models[who].team, GrantKind.CARE_TEAM),
            ):
                (names.add if kind is mine else names.discard)(one)

    @rule(who=_who, permits=st.frozensets(st.sampled_from(Switch)))
    def a_patient_sets_the_switches(self, who: int, permits: frozenset[Switch]) -> None:
        """Set the emergency switches."""
        choices = Choices(permits, default_mask=False, notify=True)
        assert self._write(governing.choose, self.owners[who].id, self.boxes[who].id, choices).accepted
        self.models[who].permits = permits

    @rule(who=_who, pick=st.integers(0, 5), masked=st.booleans())
    def a_patient_masks(self, who: int, pick: int, masked: bool) -> None:
        """Mask a document or show it."""
        known = self._documents(who)
        if pick < len(known):
            self._write(governing.mask, self.owners[who].id, self.boxes[who].id, known[pick].id, masked)
            unique_id = known[pick].entry.unique_id
            self.models[who].documents[unique_id] = (self.models[who].documents[unique_id][0], masked)

    @rule(who=_who, accepts=st.booleans())
    def somebody_helps_or_leaves(self, who: int, accepts: bool) -> None:
        """Invite the caregiver, or take the right back."""
        model, box, owner = self.models[who], self.boxes[who], self.owners[who]
        if accepts and model.open and not model.helped:
            lasts = timedelta(days=1)
            _, code = self._write(delegations.invite, owner.id, box.id, DelegationKind.CAREGIVER, "A", lasts)
            assert self._write(delegations.answer, self.helper.id, code, True).accepted
            model.helped = True
            # The attestation, which no profession of the matrix may read.
            [attestation] = [one for one in self._documents(who) if one.entry.unique_id not in model.documents]
            model.documents[attestation.entry.unique_id] = (attestation.entry.type_code, False)
        elif not accepts and model.open:
            self._write(delegations.end, owner.id, box.id, self.helper.id)
            model.helped = False

    @rule(who=_who, one=_one, purpose=_purpose)
    def a_professional_reads(self, who: int, one: int, purpose: Purpose) -> None:
        """Promise 5: what is opened, listed and journalled is what the model lets."""
        where = (BOOK, self.doctors[one], self.boxes[who].id)
        listed_now = dict(self._run(self._store.read(rights.judge_all, *where, purpose, self.now)))
        page = self._run(self._store.read(rights.listing, *where, purpose, self.now, 0, 1000))
        readable = [number for number, decision in listed_now.items() if decision.accepted]
        assert [one.id for one, _ in page.documents] == readable
        assert (page.readable, sum(page.rules.values())) == (len(readable), len(listed_now))
        for known in self._documents(who):
            expected = self.models[who].may_read(one, known.entry.unique_id, purpose)
            decision, opened = self._run(self._store.read(rights.open_document, *where, known.id, purpose, self.now))
            assert decision.accepted is (opened is not None) is expected, decision
            assert listed_now[known.id].accepted is expected
            assert self._write(rights.note, *where, known.id, purpose).accepted is expected

    def _documents(self, who: int) -> Any:
        return self._run(self._store.read(_dossier, self.boxes[who].id))

    @invariant()
    def a_document_is_filed_once_under_its_patient_or_not_at_all(self) -> None:
        """Promise 7."""
        for box, model in zip(self.boxes, self.models, strict=True):
            filed = self._run(self._store.read(_dossier, box.id))
            assert sorted(one.entry.unique_id for one in filed) == sorted(model.documents)
            assert {one.entry.patient.identifiers[0][0] for one in filed} <= {box.address.local}

    @invariant()
    def a_caregiver_sees_a_box_while_they_help(self) -> None:
        """Who does not act for a box reads nothing of it."""
        for box, model in zip(self.boxes, self.models, strict=True):
            found = self._run(self._store.read(records.shelves, self.helper.id, box.id, self.now))
            assert bool(found) is (model.helped and bool(model.documents))


def _dossier(uow: Uow, box_id: int) -> tuple[Document, ...]:
    return uow.dossiers.list(box_id, limit=1000)


def _machine(config: Config, examples: int, steps: int) -> None:
    with asyncio.Runner() as runner:
        store = Store(config)
        runner.run(store.start())
        try:
            doctors = []
            parties = []
            for n, profession in enumerate(PROFESSIONS):
                box = runner.run(clinic_box(store, f"doctor{n}"))
                runner.run(account_for(store, box))
                person = f"89970000000{n}"
                parties.append(Party(box.address, BoxKind.PER, f"D{n}", person_id=person, profession_code=profession))
            runner.run(listed(store, *parties))
            for n in range(len(PROFESSIONS)):
                found = runner.run(store.read(rights.professional_of, n + 1, NOW))
                assert found is not None
                doctors.append(found)
            helper = runner.run(account_for(store, runner.run(patient_box(store, matricule(999_000))), login="helper"))

            class Here(Exchange):
                """On this store."""

                def __init__(self) -> None:
                    super().__init__(runner, store, doctors, helper)

            run_state_machine_as_test(
                Here, settings=settings(max_examples=examples, stateful_step_count=steps, deadline=None)
            )
        finally:
            runner.run(store.close())


def test_promises_4_5_and_7_hold_whatever_happens(sqlite_config: Config) -> None:
    _machine(sqlite_config, 4, 15)


@pytest.mark.slow
def test_promises_4_5_and_7_hold_at_length(sqlite_config: Config) -> None:
    _machine(sqlite_config, 30, 40)
