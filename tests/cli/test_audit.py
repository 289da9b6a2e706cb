"""`mss audit`: the journal is read, a receipt is found, a changed record is found."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from dataclasses import replace
from datetime import timedelta

import pytest

from mss.clock import system_clock
from mss.model.audit import AuditEvent
from mss.policy import rules
from mss.policy.decision import reject
from mss.services import receive
from mss.store import Uow
from tests.cli.cli_world import Desk

EVENT = AuditEvent("peer:mx", "letter.refuse", "receipt:3f9c", "reject", "box.closed", facts={"box": 3, "list": None})


def _record(desk: Desk, *events: AuditEvent) -> None:
    def write(uow: Uow) -> None:
        for event in events:
            uow.journal.write(event, system_clock())

    desk.in_store(lambda store: store.write(write))


def test_records_are_listed_newest_first(desk: Desk) -> None:
    _record(desk, EVENT, replace(EVENT, action="letter.accept", target="receipt:4a"))
    title, newest, older, *_ = desk.does("audit", "list").splitlines()
    assert title.split() == ["WHEN", "WHO", "WHAT", "ON", "DECISION", "AND", "FACTS"]
    assert "letter.accept" in newest
    assert older.split()[2:] == ["peer:mx", "letter.refuse", "receipt:3f9c", "reject", "box.closed", "box=3"]


def test_records_are_chosen_by_action(desk: Desk) -> None:
    _record(desk, EVENT, replace(EVENT, action="letters.other"))
    assert len(desk.does("audit", "list", "--action", "letter").splitlines()) == 2
    assert len(desk.does("audit", "list", "--action", "letter.refuse").splitlines()) == 2
    assert desk.does("audit", "list", "--action", "nothing") == "There is no such record.\n"


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        (("--rule", "peer.not-listed"), ["a", "c"]),
        (("--rule", "peer"), ["a", "b", "c"]),
        (("--rule", "pee"), []),
        (("--who", "mx.chu.example"), ["a"]),
        (("--who", "peer:mx.chu.example"), ["a"]),
        (("--who", "chu.example"), []),
        (("--who", "%"), []),
        (("--who", "127.0.0.9", "--action", "letter"), ["b"]),
        (("--younger", "2h", "--rule", "peer"), ["b", "c"]),
    ],
)
def test_records_are_chosen_by_rule_actor_and_age(desk: Desk, filters: tuple[str, ...], found: list[str]) -> None:
    now = system_clock()

    def write(uow: Uow) -> None:
        for target, actor, rule, hours in (
            ("a", "peer:mx.chu.example", "peer.not-listed", 3),
            ("b", "ip:127.0.0.9", "peer.tls-failed", 1),
            ("c", "peer:mx.gip.example", "peer.not-listed", 0),
        ):
            event = AuditEvent(actor, "letter.refuse", target, "reject", rule)
            uow.journal.write(event, now - timedelta(hours=hours))

    desk.in_store(lambda store: store.write(write))
    assert sorted(one["target"] for one in json.loads(desk.does("audit", "list", *filters, "--json"))) == found


def test_json_holds_the_whole_record(desk: Desk) -> None:
    _record(desk, EVENT)
    [record] = json.loads(desk.does("audit", "list", "--action", "letter", "--json"))
    assert (record["actor"], record["rule"], record["facts"]) == ("peer:mx", "box.closed", {"box": 3, "list": None})
    assert desk.does("audit", "receipt", "3f9c", "--json") == desk.does("audit", "list", "--rule", "box", "--json")


def test_an_age_that_is_none_is_said(desk: Desk) -> None:
    assert "write 90s, 15min, 2h or 3d" in desk.fails("audit", "list", "--younger", "yesterday")


def test_the_limit_holds(desk: Desk) -> None:
    _record(desk, EVENT, EVENT)
    assert len(desk.does("audit", "list", "--action", "letter", "--limit", "1").splitlines()) == 2


def test_a_refusal_before_the_letter_is_found(desk: Desk) -> None:
    decision = reject(rules.PEER_NOT_LISTED, serial="1f")
    desk.in_store(lambda store: store.write(receive.note_refusal, "peer:mx", "connect", decision, system_clock()))
    assert "reject peer.not-listed serial=1f" in desk.does("audit", "list", "--action", "letter.refuse")


def test_a_receipt_is_found_as_it_was_printed(desk: Desk) -> None:
    _record(desk, EVENT)
    assert "box.closed" in desk.does("audit", "receipt", " 3F9C ")
    assert "no such receipt number" in desk.fails("audit", "receipt", "0000")


def test_a_whole_journal_is_whole(desk: Desk) -> None:
    _record(desk, EVENT, EVENT)
    assert "every chain is whole" in desk.does("audit", "verify")


def test_a_changed_record_is_found(desk: Desk) -> None:
    _record(desk, EVENT)
    with closing(sqlite3.connect(desk.folder / "data" / "store.sqlite")) as connection, connection:
        connection.execute("UPDATE journal SET rule = 'box.receives' WHERE action = 'letter.refuse'")
    result = desk.run("audit", "verify")
    assert result.exit_code == 1
    assert "does not follow from the one before" in result.stdout
