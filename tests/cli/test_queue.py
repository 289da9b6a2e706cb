"""`mss queue`: what waits, for how long, what the other side said, and what a postmaster does about it."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from pathlib import Path

import pytest

from mss.clock import system_clock
from mss.config import RelayConfig
from mss.model.address import Domain
from mss.model.delivery import Outcome, OutcomeKind
from mss.services import outbound
from mss.services.outbound import Plan
from tests.cli.cli_world import MATRICULE, RECEPTION, Desk, cda

TO = f"{MATRICULE}@patient.mssante.fr"


@pytest.fixture
def waiting(staffed: Desk, tmp_path: Path) -> Desk:
    """An operator with one letter for another one in its queue."""
    path = tmp_path / "cda.xml"
    path.write_bytes(cda())
    staffed.does("welcome", "--from", RECEPTION, "--to", TO, "--document", str(path))
    return staffed


def attempt(desk: Desk, kind: OutcomeKind, code: int, text: str) -> None:
    """Try the letter once, as the relay would."""
    now = system_clock() + timedelta(seconds=1)
    (delivery,) = desk.in_store(lambda store: store.write(outbound.claim, "test", 10, 60, now))
    outcome = Outcome(kind, code, f"{code // 100}.7.1", text)
    plan = Plan(RelayConfig(), "localhost", {Domain("hopital.example"): "professional"})
    desk.in_store(lambda store: store.write(outbound.record, "test", delivery.id, outcome, plan, 0.0, now))


def test_an_empty_queue_says_so(desk: Desk) -> None:
    assert desk.does("queue", "list") == "No letter is in the queue in these states.\n"


def test_a_waiting_letter_is_shown_without_names(waiting: Desk) -> None:
    title, row, total = waiting.does("queue", "list").splitlines()
    assert title.split()[:4] == ["ID", "STATE", "AGE", "DOMAIN"]
    assert re.match(r"\d+ +due +\d+ s +patient\.mssante\.fr +\d+ +0 +\d{4}-\d\d-\d\d .*not tried yet", row)
    assert total == "Altogether: 1 due"
    assert MATRICULE not in row
    assert "accueil" not in row


def test_addresses_are_shown_when_asked_for(waiting: Desk) -> None:
    row = waiting.does("queue", "list", "--addresses").splitlines()[1]
    assert row.rstrip().endswith(f"{RECEPTION}  {TO}")


def test_what_the_other_side_said_is_masked(waiting: Desk) -> None:
    attempt(waiting, OutcomeKind.TEMPORARY, 451, f"no room for <{TO}> \x1b[31m")
    row = waiting.does("queue", "list").splitlines()[1]
    assert "temporary 451 4.7.1 no room for <«masked»>" in row
    assert MATRICULE not in row
    assert "\x1b" not in row
    assert TO in waiting.does("queue", "list", "--addresses")


def test_ended_letters_are_shown_by_state(waiting: Desk) -> None:
    attempt(waiting, OutcomeKind.PERMANENT, 550, "unknown")
    assert "No letter" in waiting.does("queue", "list").splitlines()[0]
    row = waiting.does("queue", "list", "--state", "failed", "--state", "expired").splitlines()[1]
    assert re.search(r" failed .* never +permanent 550 5\.7\.1 unknown", row)


# -- filters -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (("--to-domain", "patient.mssante.fr"), True),
        (("--to-domain", "PATIENT.mssante.fr"), True),
        (("--to-domain", "region.example"), False),
        (("--from-domain", "hopital.example"), True),
        (("--from-domain", "pital.example"), False),
        (("--from-domain", "hopital_example"), False),
        (("--older", "1d"), False),
        (("--younger", "15min"), True),
        (("--older", "0s", "--to-domain", "patient.mssante.fr"), True),
        (("--message-id", "<nobody@hopital.example>"), False),
    ],
)
def test_letters_are_found_by_what_is_known_of_them(waiting: Desk, words: tuple[str, ...], found: bool) -> None:
    assert (len(waiting.does("queue", "list", *words).splitlines()) == 3) is found


@pytest.mark.parametrize("age", ["2", "h", "-1h", "2 weeks", "1234567d", ""])
def test_an_age_that_is_none_is_explained(waiting: Desk, age: str) -> None:
    if not age:
        assert waiting.does("queue", "list", "--older", age)
        return
    assert "write 90s, 15min, 2h or 3d" in waiting.fails("queue", "list", "--older", age)


def test_json_for_programs(waiting: Desk) -> None:
    attempt(waiting, OutcomeKind.TEMPORARY, 451, f"no room for <{TO}>")
    text = waiting.does("queue", "list", "--json")
    told = json.loads(text)
    assert told["counts"] == {"due": 1}
    [one] = told["deliveries"]
    assert (one["state"], one["destination"], one["sender_domain"]) == ("due", "patient.mssante.fr", "hopital.example")
    assert one["attempts"][0]["text"] == "no room for <«masked»>"
    assert MATRICULE not in text
    shown = json.loads(waiting.does("queue", "show", str(one["id"]), "--json", "--addresses"))
    assert (shown["from"], shown["to"]) == (RECEPTION, TO)
    assert TO in shown["attempts"][0]["text"]


# -- one letter --------------------------------------------------------------------------------------------------------


def test_one_letter_is_shown_with_its_attempts(waiting: Desk) -> None:
    attempt(waiting, OutcomeKind.TEMPORARY, 451, f"no room for <{TO}>")
    text = waiting.does("queue", "show", "1")
    assert text.startswith("Letter 1\n")
    assert re.search(r"^  state +due$", text, re.MULTILINE)
    assert re.search(r"^  Message-ID +<\S+@hopital\.example>$", text, re.MULTILINE)
    assert re.search(r"^1 .* temporary 451 4\.7\.1 no room for <«masked»>", text, re.MULTILINE)
    assert MATRICULE not in text
    assert TO in waiting.does("queue", "show", "1", "--addresses")


def test_a_letter_that_is_not_there(desk: Desk) -> None:
    assert "no letter 7 in the queue" in desk.fails("queue", "show", "7")


# -- what a postmaster does --------------------------------------------------------------------------------------------


def state(desk: Desk) -> str:
    return str(json.loads(desk.does("queue", "show", "1", "--json"))["state"])


def test_a_letter_is_held_and_released(waiting: Desk) -> None:
    assert "1 letters held back" in waiting.does("queue", "hold", "1")
    assert state(waiting) == "held"
    assert "it was so already" in waiting.does("queue", "hold", "1")
    assert "it is held back" in waiting.run("queue", "retry", "1").stdout
    assert "1 letters released" in waiting.does("queue", "release", "--to-domain", "patient.mssante.fr")
    assert state(waiting) == "due"


def test_a_letter_is_tried_now(waiting: Desk) -> None:
    attempt(waiting, OutcomeKind.TEMPORARY, 451, "later")
    before = json.loads(waiting.does("queue", "show", "1", "--json"))["next_attempt_at"]
    assert json.loads(waiting.does("queue", "retry", "1", "--json")) == [{"id": 1, "result": "done"}]
    assert json.loads(waiting.does("queue", "show", "1", "--json"))["next_attempt_at"] < before


def test_a_letter_is_given_back(waiting: Desk) -> None:
    assert "1 letters given back to their senders" in waiting.does("queue", "bounce", "1")
    assert state(waiting) == "failed"
    result = waiting.run("queue", "bounce", "1", "99")
    assert result.exit_code == 1
    assert "letter 1: it is delivered or given back already" in result.stdout
    assert "letter 99: there is no such number" in result.stdout
    assert "delivery.bounce" in waiting.does("audit", "list", "--action", "delivery")


def test_many_letters_are_given_back_only_when_that_is_meant(waiting: Desk) -> None:
    words = ("queue", "bounce", "--from-domain", "hopital.example")
    assert "give 1 letters back to their senders: add --yes" in waiting.fails(*words, code=2)
    assert state(waiting) == "due"
    assert "1 letters given back" in waiting.does(*words, "--yes")


@pytest.mark.parametrize("verb", ["hold", "release", "retry", "bounce"])
def test_nothing_is_done_to_letters_that_nobody_named(waiting: Desk, verb: str) -> None:
    assert "say which letters" in waiting.fails("queue", verb)


# -- a letter's story --------------------------------------------------------------------------------------------------


def test_a_letters_whole_story(waiting: Desk) -> None:
    attempt(waiting, OutcomeKind.TEMPORARY, 451, f"no room for <{TO}>")
    waiting.does("queue", "hold", "1")
    waiting.does("queue", "bounce", "1")
    message_id = json.loads(waiting.does("queue", "show", "1", "--json"))["message_id"]
    text = waiting.does("queue", "trace", message_id)
    chapters = [line.split()[3] for line in text.splitlines()]
    assert chapters[:3] == ["received", "queued", "handled"] or chapters[:3] == ["received", "queued", "tried"]
    assert set(chapters) >= {"received", "queued", "tried", "handled", "reported", "ended"}
    assert "“451 4.7.1 no room for <«masked»>”" in text
    assert MATRICULE not in text
    assert TO in waiting.does("queue", "trace", message_id.strip("<>"), "--addresses")
    told = json.loads(waiting.does("queue", "trace", message_id, "--json"))
    assert len(told) == len(chapters)


def test_a_letter_that_was_never_here(desk: Desk) -> None:
    result = desk.run("queue", "trace", "<nobody@nowhere.example>")
    assert result.exit_code == 1
    assert "No letter with this Message-ID" in result.stdout
    assert json.loads(desk.does("queue", "trace", "<nobody@nowhere.example>", "--json")) == []
