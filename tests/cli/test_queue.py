"""`mss queue list`: what waits, for how long, and what the other side said."""

from __future__ import annotations

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
