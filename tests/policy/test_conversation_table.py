"""The exhaustive table of conversation states × events in docs/conversations.md is what the policy does.

Each state is reached by a history of events; each cell names the state after one more event. Two states are the same
when nobody could tell them apart: the contact, and the rules that answer an answer in the thread, a new thread in each
profile, and an answer in the thread in profile `contact`.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Final

import pytest

from mss.model.account import BoxState
from mss.model.conversation import Contact, ContactState, Direction, Letter, Role
from mss.policy.conversing import ReplyFacts, may_reach, may_reply, opens
from mss.policy.exchange import LetterFacts
from tests.policy.facts import COLLEAGUE, DESK, DOCTOR, NOW, PATIENT, PATIENT_DOMAINS, box, letter, named

PAGE: Final = Path(__file__).parents[2] / "docs" / "conversations.md"


@dataclass
class Thread:
    """One thread between the patient and the doctor, as services keep it."""

    letters: list[Letter] = field(default_factory=list)
    contacts: dict[str, Contact] = field(default_factory=dict)
    patient: BoxState = BoxState.OPEN
    doctor: BoxState = BoxState.OPEN
    opposed: bool = False
    minute: int = 0

    def arrives(self, facts: LetterFacts) -> None:
        self.minute += 1
        if self.patient is not BoxState.OPEN:
            # It is refused at the door.
            return
        author = facts.having(Role.SENDER)[0].address
        mine = [one for one in self.letters if one.sender and one.sender.address == author]
        stand_ins = [one for kept in mine for one in kept.authorises if one.role is Role.REPLY_TO]
        opening = opens(facts, self.contacts.values(), stand_ins)
        at = NOW + timedelta(minutes=self.minute)
        for one, state in opening.contacts:
            self.contacts[one.address.key] = Contact(one.address, one.name, state, at)
        kept = Letter(
            self.minute, Direction.RECEIVED, at, opening.answerable, opening.closing, opening.authorises, opening.sender
        )
        self.letters.append(kept)

    def answers(self) -> None:
        self.minute += 1
        if may_reply(replace(self.facts(), recipients=(DOCTOR,))).accepted:
            at = NOW + timedelta(minutes=self.minute)
            sent = Letter(self.minute, Direction.SENT, at, True, False, (named(DOCTOR, Role.TO),), named(PATIENT))
            self.letters.append(sent)

    def facts(self) -> ReplyFacts:
        return ReplyFacts(
            box=box(state=self.patient),
            letters=tuple(self.letters),
            contacts=tuple(self.contacts.values()),
            patient_domains=PATIENT_DOMAINS,
            box_states={DOCTOR.key: self.doctor},
            opposed=frozenset({DOCTOR.key}) if self.opposed else frozenset(),
        )

    def seen(self) -> tuple[str, ...]:
        """Return all that anybody could tell of the state between the two."""
        facts = replace(self.facts(), recipients=(DOCTOR,))
        anew = replace(facts, letters=())
        contact = self.contacts.get(DOCTOR.key)
        asked = (facts, anew, replace(anew, profile="contact"), replace(facts, profile="contact"))
        return (
            (contact.state if contact else ContactState.NEVER).value,
            *(may_reply(one).rule.name for one in asked),
            # What the boxes of the two hide would come out again when they open.
            *(may_reach(replace(one, box_states={}, opposed=frozenset()), DOCTOR).rule.name for one in asked),
            str(self.patient.value), str(self.doctor.value), str(self.opposed),
        )  # fmt: skip


EVENTS: Final = {
    "letter": lambda t: t.arrives(letter()),
    "letter, Reply-To own": lambda t: t.arrives(letter(reply_to=[DESK])),
    "letter, Reply-To foreign": lambda t: t.arrives(letter(reply_to=[COLLEAGUE])),
    "letter, Reply-To self": lambda t: t.arrives(letter(reply_to=[DOCTOR])),
    "`X-MSS-MES: FIN`": lambda t: t.arrives(letter(answerable=False)),
    "`[FIN]`": lambda t: t.arrives(letter(closing=True)),
    "receipt": lambda t: t.arrives(letter(automatic=True)),
    "null sender": lambda t: t.arrives(letter(reverse_path=None)),
    "colleague, Cc": lambda t: t.arrives(letter(COLLEAGUE, cc=[DOCTOR])),
    "colleague's `[FIN]`": lambda t: t.arrives(letter(COLLEAGUE, closing=True, cc=[DOCTOR])),
    "patient answers": lambda t: t.answers(),
}
HISTORIES: Final = {
    "never": (),
    "named": ("colleague, Cc",),
    "named, ended": ("colleague, Cc", "colleague's `[FIN]`"),
    "open": ("letter",),
    "silent": ("letter", "`X-MSS-MES: FIN`"),
    "silent first": ("`X-MSS-MES: FIN`",),
    "ended": ("`[FIN]`",),
}


@cache
def _seen(history: tuple[str, ...]) -> tuple[str, ...]:
    thread = Thread()
    for event in history:
        EVENTS[event](thread)
    return thread.seen()


def _states() -> dict[tuple[str, ...], str]:
    """Return what is seen of each state → its name; the first name of those that are the same."""
    found: dict[tuple[str, ...], str] = {}
    for name, history in HISTORIES.items():
        found.setdefault(_seen(history), name)
    return found


def table() -> str:
    """Return the two tables as they stand in the documentation."""
    states = _states()
    events = list(EVENTS)
    lines = [f"| State | {' | '.join(events)} |", f"|---|{'---|' * len(events)}"]
    for name in states.values():
        cells = [states.get(_seen((*HISTORIES[name], event)), "?") for event in events]
        shown = ["·" if cell == name else cell for cell in cells]
        lines.append(f"| **{name}** | {' | '.join(shown)} |")
    titles = (
        "| State | Contact | Answer in the thread | New thread | New thread, `contact` | In the thread, `contact` |"
    )
    lines += ["", titles, "|---|---|---|---|---|---|"]
    for seen, name in states.items():
        lines.append(f"| **{name}** | {' | '.join(seen[:5])} |")
    return "\n".join(lines) + "\n"


def test_the_documented_table_is_what_the_policy_does() -> None:
    assert table() in PAGE.read_text(encoding="utf-8"), table()


def test_no_event_leads_out_of_the_table() -> None:
    assert "?" not in table()


@pytest.mark.parametrize("first", EVENTS)
def test_no_history_of_three_events_leads_out_of_the_table(first: str) -> None:
    states = _states()
    unknown = [h for h in itertools.product([first], EVENTS, EVENTS) if _seen(h) not in states]
    assert unknown == []


def test_every_state_is_another_one() -> None:
    assert len(_states()) == len(HISTORIES)
    assert len(set(_states().values())) == len(_states())


OVER: Final = {
    "the patient's box is closed": ("patient", BoxState.CLOSED, "box.cannot-send"),
    "the patient opposed": ("patient", BoxState.OPPOSED, "box.cannot-send"),
    "the professional's box is closed": ("doctor", BoxState.CLOSED, "box.closed"),
    "the professional takes no letters from patients": ("opposed", True, "box.opposed-to-patients"),
}


@pytest.mark.parametrize("what", OVER)
@pytest.mark.parametrize("history", HISTORIES.values(), ids=HISTORIES)
def test_a_closed_or_opposed_box_stops_what_was_allowed_and_nothing_else(what: str, history: tuple[str, ...]) -> None:
    name, value, rule = OVER[what]
    thread = Thread()
    for event in history:
        EVENTS[event](thread)
    before = may_reply(replace(thread.facts(), recipients=(DOCTOR,)))
    setattr(thread, name, value)
    after = may_reply(replace(thread.facts(), recipients=(DOCTOR,)))
    stopped = before.accepted or name == "patient"
    assert after.rule.name == (rule if stopped else before.rule.name)
    # When it opens again, everything is as it was.
    setattr(thread, name, False if name == "opposed" else BoxState.OPEN)
    assert may_reply(replace(thread.facts(), recipients=(DOCTOR,))) == before
