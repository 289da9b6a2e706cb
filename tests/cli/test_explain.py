"""`mss policy explain`: the same decisions as in the doors, on the real store, with their rules."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from mss.clock import system_clock
from mss.commands.explain import Question, explain
from mss.errors import Malformed
from mss.model.address import Domain
from mss.model.peer import DN
from mss.services import operators
from tests.cli.cli_world import DOCTOR, MATRICULE, OTHER_MATRICULE, PATIENT, RECEPTION, Desk, cda, patient_words

STRANGER = "dr@inconnu.example"
REGION = "dr@region.example"
OTHER = f"{OTHER_MATRICULE}@patient.example"


@pytest.fixture
def listed(staffed: Desk) -> Desk:
    """An operator whose trust list names a neighbour too."""
    now = system_clock()
    stored = staffed.in_store(lambda store: store.read(operators.trust_list, now))
    assert stored is not None
    domains = {**stored.domains, Domain("region.example"): frozenset({DN.parse("CN=mx.region.example,C=FR")})}
    new = replace(stored, domains=domains, generated_at=now, fetched_at=now)
    staffed.in_store(lambda store: store.write(operators.replace_trust_list, new, now))
    return staffed


@pytest.fixture
def opened(listed: Desk, tmp_path: Path) -> Desk:
    """The same, after the reception wrote to the patient."""
    path = tmp_path / "cda.xml"
    path.write_bytes(cda())
    listed.does("welcome", "--from", RECEPTION, "--to", MATRICULE, "--document", str(path))
    return listed


def steps(desk: Desk, sender: str, to: str, *words: str) -> list[str]:
    """Return "title: verdict by rule" for each decision."""
    printed = desk.does("policy", "explain", "--from", sender, "--to", to, *words)
    found = re.findall(r"^(\S.*?): (yes|no|later|held): \w+ by (\S+)$", printed, re.MULTILINE)
    return [f"{title} {verdict} {rule}" for title, verdict, rule in found]


def test_a_neighbour_writes_to_a_professional(listed: Desk) -> None:
    assert steps(listed, REGION, RECEPTION) == [
        "operator of region.example yes peer.listed",
        "sender yes sender.listed",
        "author yes author.listed",
        "route yes route.local-professional",
        "recipient yes box.receives",
        "content yes letter.sound",
    ]


def test_a_neighbour_opens_a_conversation(listed: Desk) -> None:
    assert steps(listed, f"Dr Jean <{REGION}>", PATIENT)[-1] == "what it does to the exchange yes conversation.opened"


@pytest.mark.parametrize(
    ("words", "last"),
    [
        (("--subject", "[FIN]"), "conversation.closed"),
        (("--header", "X-MSS-MES: FIN"), "conversation.kept"),
        (("--header", "Auto-Submitted: auto-replied"), "conversation.kept"),
        ((), "conversation.opened"),
    ],
)
def test_marks_of_the_letter_count(listed: Desk, words: tuple[str, ...], last: str) -> None:
    assert steps(listed, REGION, PATIENT, *words)[-1].endswith(last)


def test_a_stranger_is_refused_at_the_door(listed: Desk) -> None:
    assert steps(listed, STRANGER, RECEPTION) == ["operator of inconnu.example no peer.not-listed"]


def test_a_neighbour_may_not_speak_for_us(listed: Desk) -> None:
    assert steps(listed, RECEPTION, PATIENT, "--peer-domain", "region.example")[-1] == "sender no sender.foreign-domain"


def test_we_relay_for_nobody(listed: Desk) -> None:
    assert steps(listed, REGION, STRANGER)[-1] == "route no route.not-here"


@pytest.mark.parametrize(
    ("to", "rule"),
    [
        ("nobody@hopital.example", "recipient.unknown"),
        ("123@patient.example", "ins.malformed"),
        (OTHER, "patient.unknown"),
    ],
)
def test_recipients_are_looked_up(listed: Desk, to: str, rule: str) -> None:
    assert steps(listed, REGION, to)[-1] == f"recipient no {rule}"


def test_the_state_of_a_box_counts(listed: Desk) -> None:
    listed.does("account", "state", PATIENT, "opposed")
    assert steps(listed, REGION, PATIENT)[-1] == "recipient no patient.opposed"


def test_our_own_write_to_a_neighbour(listed: Desk) -> None:
    assert steps(listed, DOCTOR, REGION) == [
        "sender yes sender.own",
        "route yes route.relay",
        "recipient yes recipient.relayed",
        "content yes letter.sound",
    ]


def test_nothing_leaves_the_trust_space(listed: Desk) -> None:
    assert steps(listed, DOCTOR, STRANGER)[-1] == "route no route.outside"


def test_a_sender_of_ours_needs_an_open_box(listed: Desk) -> None:
    assert steps(listed, "nobody@hopital.example", REGION) == ["sender's box no recipient.unknown"]
    listed.does("account", "state", DOCTOR, "closed")
    assert steps(listed, DOCTOR, REGION) == ["sender's box no box.cannot-send"]


def test_a_patient_answers_who_wrote(opened: Desk) -> None:
    assert steps(opened, PATIENT, RECEPTION)[:2] == [
        "conversation yes conversation.open",
        "route yes route.local-professional",
    ]


def test_a_patient_reaches_nobody_else(opened: Desk) -> None:
    assert steps(opened, PATIENT, DOCTOR) == ["conversation no conversation.never-opened"]
    opened.add("alex", *patient_words(OTHER_MATRICULE))
    assert steps(opened, PATIENT, OTHER) == ["conversation no patient.to-patient"]


def test_a_refusal_shows_what_is_told_and_the_facts(listed: Desk) -> None:
    printed = listed.does("policy", "explain", "--from", REGION, "--to", "nobody@hopital.example")
    assert "told outside: 550 5.1.1 There is no such mailbox here." in printed
    assert "    domain: hopital.example" in printed


def test_explaining_changes_nothing(opened: Desk) -> None:
    before = opened.does("audit", "list", "--limit", "1000")
    steps(opened, REGION, PATIENT, "--subject", "[FIN]")
    assert opened.does("audit", "list", "--limit", "1000") == before
    assert steps(opened, PATIENT, RECEPTION)[0] == "conversation yes conversation.open"


def test_without_a_trust_list_others_are_deferred(staffed: Desk) -> None:
    with closing(sqlite3.connect(staffed.folder / "data" / "store.sqlite")) as connection, connection:
        connection.execute("DELETE FROM trust_lists")
    assert steps(staffed, REGION, RECEPTION) == ["operator of region.example later peer.no-trust-list"]


@pytest.mark.parametrize(
    ("question", "said"),
    [
        (Question("nobody", RECEPTION), "one mail address each"),
        (Question(REGION, "nobody"), "one mail address each"),
        (Question(REGION, RECEPTION, headers=("no colon",)), "a header is one line"),
        (Question(REGION, RECEPTION, headers=("X: a\r\nFrom: b",)), "a header is one line"),
        (Question(REGION, RECEPTION, peer_domain="a b"), "not a domain name"),
    ],
)
def test_bad_questions(staffed: Desk, question: Question, said: str) -> None:
    with pytest.raises(Malformed, match=said):
        explain(staffed.config, system_clock, question)
