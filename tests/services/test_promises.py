"""Promises 1 and 4 on the real services and the real store.

Letters come, come again, end and re-open exchanges, patients answer as they like: what leaves goes only where it may,
and nothing is there twice.

The model beside the store remembers who wrote what to whom, and says what must never happen.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from mss.config import Config
from mss.model.account import Account, Box
from mss.model.address import Address
from mss.model.delivery import DeliveryState
from mss.model.envelope import Envelope, Recipient
from mss.model.mailbox import INBOX
from mss.services import mailbox, receive, records, submit
from mss.services.mailbox import Columns
from mss.services.reading import Reading
from mss.services.receive import Origin
from mss.services.submit import PatientReply
from mss.store.store import Store
from tests.services.services_world import (
    COLLEAGUE,
    DESK,
    DOCTOR,
    HOSTED,
    NURSE,
    ORIGIN,
    OUTSIDE,
    REGIONAL,
    letter,
)
from tests.store.store_world import (
    MATRICULE,
    OTHER_MATRICULE,
    PATIENTS,
    account_for,
    config_in,
    copy_template,
    later,
    patient_box,
)

PROFESSIONALS = (DOCTOR, NURSE, DESK, COLLEAGUE)
PEOPLE = (Address(MATRICULE, PATIENTS), Address(OTHER_MATRICULE, PATIENTS))
STRANGER = Address.parse("somebody@mail.example")
EVERYBODY = (*PROFESSIONALS, *PEOPLE, STRANGER)
KINDS = ("plain", "plain", "plain", "fin", "no-answer", "automatic", "null")
_some = st.lists(st.sampled_from(EVERYBODY), max_size=2)


@dataclass
class Model:
    """What is known of one patient: who named whom, who has closed, and which letters are there."""

    box: Box
    account: Account
    named_by: dict[Address, set[Address]] = field(default_factory=lambda: defaultdict(set))
    stood_for: dict[Address, set[Address]] = field(default_factory=lambda: defaultdict(set))
    closed: set[Address] = field(default_factory=set)
    letters: set[bytes] = field(default_factory=set)


@dataclass(frozen=True)
class Sent:
    """A letter that was offered to us, to be offered again."""

    origin: Origin
    path: Envelope
    reading: Reading


class House(RuleBasedStateMachine):
    """Two patients, four professionals of two operators, and strangers; every rule is one unit of work."""

    def __init__(self, runner: asyncio.Runner, config: Callable[[], Config]) -> None:
        super().__init__()
        self._runner = runner
        self._store = Store(config())
        self._run(self._store.start())
        self.models = [self._patient(one) for one in PEOPLE]
        self.offered: list[Sent] = []
        self.minutes = itertools.count(1)
        self.sent = 0

    def _run(self, work: Any) -> Any:
        return self._runner.run(work)

    def _patient(self, address: Address) -> Model:
        box = self._run(patient_box(self._store, address.local))
        return Model(box, self._run(account_for(self._store, box)))

    def teardown(self) -> None:
        _, broken = self._run(self._store.read(lambda uow: uow.journal.verify()))
        assert broken == ()
        self._run(self._store.close())

    # -- letters come in ---------------------------------------------------------------------------------------------

    @rule(
        to=st.integers(0, 1),
        author=st.sampled_from(PROFESSIONALS),
        kind=st.sampled_from(KINDS),
        reply_to=_some,
        cc=_some,
        answers=st.booleans(),
    )
    def a_letter_comes(
        self, to: int, author: Address, kind: str, reply_to: list[Address], cc: list[Address], answers: bool
    ) -> None:
        reading = letter(
            "[FIN]" if kind == "fin" else "Bilan",
            sender=author,
            to=[PEOPLE[to]],
            cc=cc,
            reply_to=reply_to,
            references=(self.offered[-1].reading.message_id,) if answers and self.offered else (),
            auto_submitted="auto-replied" if kind == "automatic" else "",
            extra=(("X-MSS-MES", "FIN"),) if kind == "no-answer" else (),
        )
        path = Envelope(None if kind == "null" else author, (Recipient(PEOPLE[to]),))
        sent = Sent(ORIGIN if author in (DOCTOR, NURSE, DESK) else REGIONAL, path, reading)
        receipt = self._accept(sent)
        assert not receipt.duplicate
        assert receipt.accepted is not bool({PEOPLE[1 - to]} & set(cc)), "two patients in one letter"
        self.offered.append(sent)
        if not receipt.accepted:
            return
        model = self.models[to]
        model.letters.add(reading.octets)
        if kind == "fin":
            model.closed |= {author} | model.stood_for[author] | self._stand_ins(author, reply_to)
        elif kind == "plain":
            self._opens(model, author, reply_to, cc)

    def _stand_ins(self, author: Address, reply_to: list[Address]) -> set[Address]:
        return {one for one in reply_to if one in PROFESSIONALS and self._same_house(author, one)}

    def _same_house(self, author: Address, other: Address) -> bool:
        return (author is COLLEAGUE) is (other is COLLEAGUE)

    def _opens(self, model: Model, author: Address, reply_to: list[Address], cc: list[Address]) -> None:
        voices = self._stand_ins(author, reply_to) or {author}
        model.stood_for[author] |= voices - {author}
        for one in voices | {one for one in cc if one not in PEOPLE}:
            model.named_by[one].add(author)
        model.closed -= voices | {author}

    @rule(which=st.integers(0, 50))
    def a_letter_comes_again(self, which: int) -> None:
        if self.offered:
            sent = self.offered[which % len(self.offered)]
            receipt = self._accept(sent)
            assert receipt.duplicate is receipt.accepted, "what was refused before is refused again"

    def _accept(self, sent: Sent) -> receive.Receipt:
        now = later(minutes=next(self.minutes))
        accepting = self._store.write(receive.accept, HOSTED, sent.origin, sent.path, sent.reading, now)
        receipt: receive.Receipt = self._run(accepting)
        return receipt

    @rule(who=st.integers(0, 1), whom=st.sampled_from(EVERYBODY), sender=st.sampled_from(EVERYBODY))
    def a_patient_submits_like_a_professional(self, who: int, whom: Address, sender: Address) -> None:
        path = Envelope(sender, (Recipient(whom),))
        reading = letter(sender=PEOPLE[who], to=[whom])
        account_id = self.models[who].account.id
        now = later(minutes=next(self.minutes))
        receipt = self._run(self._store.write(submit.accept, HOSTED, OUTSIDE, account_id, path, reading, now))
        assert not receipt.accepted

    # -- patients answer ---------------------------------------------------------------------------------------------

    @rule(
        who=st.integers(0, 1),
        account_of=st.integers(0, 1),
        conversation=st.integers(1, 12),
        numbers=st.lists(st.integers(1, 12), max_size=3),
    )
    def a_patient_answers(self, who: int, account_of: int, conversation: int, numbers: list[int]) -> None:
        model = self.models[who]
        now = later(minutes=next(self.minutes))
        answer = PatientReply(conversation, "Merci", tuple(numbers))
        replying = self._store.write(
            submit.reply, HOSTED, OUTSIDE, self.models[account_of].account.id, model.box.id, answer, now
        )
        decision, receipt = self._run(replying)
        new = self._deliveries()[self.sent :]
        self.sent += len(new)
        assert bool(new) is decision.accepted is (receipt is not None)
        if decision.accepted:
            assert who == account_of, "somebody else answered"
        for one in new:
            assert one.reverse_path == model.box.address
            assert one.recipient != STRANGER, "somebody outside the trust space was reached"
            self._promise_4(model, one.recipient)

    def _promise_4(self, model: Model, recipient: Address) -> None:
        assert recipient not in PEOPLE, "another patient was reached"
        assert model.named_by[recipient], "somebody who was never named was reached"
        assert recipient not in model.closed, "somebody who closed the exchange was reached"
        assert model.named_by[recipient] - model.closed, "only those who closed had named them"

    def _deliveries(self) -> list[Any]:
        some = self._run(self._store.read(lambda uow: uow.queue.list(frozenset(DeliveryState), 1000)))
        return [one for one in some if one.reverse_path is not None]

    # -- what always holds -------------------------------------------------------------------------------------------

    @invariant()
    def each_letter_is_there_once(self) -> None:
        for model in self.models:
            where = self._run(self._store.read(mailbox.find, model.box.id, INBOX, later()))
            rows = self._run(self._store.read(mailbox.rows, where.id, ((1, 999),), Columns.PLAIN, later()))
            objects = [row.object_id for row in rows]
            assert len(objects) == len(set(objects)) == len(model.letters), "a letter is missing, or there twice"

    @invariant()
    def what_the_screen_offers_may_be_reached(self) -> None:
        for model in self.models:
            listed = self._run(self._store.read(records.conversations, model.account.id, model.box.id, 0, 100, later()))
            assert sum(one.letters for one in listed) >= len(model.letters)
            for one in listed:
                args = (HOSTED, model.account.id, model.box.id, one.id, later())
                thread = self._run(self._store.read(records.thread, *args))
                assert bool(thread.choices) is thread.reply.accepted
                for choice in thread.choices:
                    contact = self._run(self._store.read(self._contact, model.box.id, choice.number))
                    self._promise_4(model, contact.address)

    @staticmethod
    def _contact(uow: Any, box_id: int, number: int) -> Any:
        return uow.conversations.contact_by_number(box_id, number)


@pytest.mark.slow
def test_no_sequence_reaches_others_or_keeps_a_letter_twice(
    sqlite_config: Config, tmp_path_factory: pytest.TempPathFactory
) -> None:
    def fresh() -> Config:
        return config_in(copy_template(sqlite_config.root, tmp_path_factory.mktemp("house")))

    with asyncio.Runner() as runner:

        class Here(House):
            def __init__(self) -> None:
                super().__init__(runner, fresh)

        run_state_machine_as_test(Here, settings=settings(max_examples=20, stateful_step_count=25, deadline=None))
