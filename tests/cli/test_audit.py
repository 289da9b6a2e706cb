"""`mss audit`: the journal is read, a receipt is found, a changed record is found."""

from __future__ import annotations

import json
import re
import socket
import sqlite3
import ssl
import threading
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from mss.clock import system_clock
from mss.model.audit import AuditEvent
from mss.policy import rules
from mss.policy.decision import reject
from mss.services import receive
from mss.services.marks import message_mark
from mss.store import Uow
from tests.cli.cli_world import DOCTOR, Desk

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


# -- searching ---------------------------------------------------------------------------------------------------------


def test_who_did_what_to_an_account_a_box_and_a_letter_is_found(staffed: Desk) -> None:
    account = json.loads(staffed.does("audit", "about", DOCTOR, "--json"))[-1]
    assert account["action"] == "box.create"
    told = staffed.does("audit", "about", "dominique")
    assert "account.create" in told
    mark = staffed.in_store(lambda store: store.read(lambda uow: message_mark(uow, "<7@x.example>")))
    _record(staffed, replace(EVENT, message=mark), replace(EVENT, actor="account:1", target="letter:12"))
    assert "letter.refuse" in staffed.does("audit", "about", "<7@x.example>")
    assert "account:1" in staffed.does("audit", "about", "letter:12")
    assert "letter:12" in staffed.does("audit", "about", "account:1")
    assert staffed.does("audit", "about", "<8@x.example>") == "There is no such record.\n"
    assert "see mss audit about" in staffed.fails("audit", "about", "nobody@hopital.example")


# -- anchors -----------------------------------------------------------------------------------------------------------


def test_whoever_writes_the_journal_anew_is_found_by_the_anchors(desk: Desk, tmp_path: Path) -> None:
    anchors = tmp_path / "heads.jsonl"
    _record(desk, EVENT, EVENT)
    assert "heads are anchored" in desk.does("audit", "anchor", "--to", str(anchors))
    assert "anchored heads stand" in desk.does("audit", "verify", "--anchors", str(anchors))
    with closing(sqlite3.connect(desk.folder / "data" / "store.sqlite")) as connection, connection:
        connection.execute("DELETE FROM journal WHERE action = 'letter.refuse'")
    _record(desk, replace(EVENT, decision="accept"))
    assert "every chain is whole" in desk.does("audit", "verify"), "the end of an open segment can be cut off unseen"
    result = desk.run("audit", "verify", "--anchors", str(anchors))
    assert result.exit_code == 1
    assert "not the one that was anchored" in result.stdout


def test_anchors_that_cannot_be_are_said(desk: Desk, tmp_path: Path) -> None:
    assert "say where" in desk.fails("audit", "anchor", code=2)
    assert "cannot be written" in desk.fails("audit", "anchor", "--to", str(tmp_path))
    assert "cannot be read" in desk.fails("audit", "verify", "--anchors", str(tmp_path / "none"))
    (tmp_path / "bad").write_text('{"heads": 3}\n')
    assert "line 1: no heads" in desk.fails("audit", "verify", "--anchors", str(tmp_path / "bad"))


# -- export ------------------------------------------------------------------------------------------------------------


def test_the_journal_goes_out_as_json_lines_once(desk: Desk, tmp_path: Path) -> None:
    _record(desk, EVENT)
    file, state = tmp_path / "out.jsonl", tmp_path / "state.json"
    words = ("audit", "export", "--to", str(file), "--state", str(state))
    assert desk.run(*words).exit_code == 0
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    assert {"box": 3, "list": None} in [one["facts"] for one in rows]
    _record(desk, replace(EVENT, target="receipt:next"))
    desk.run(*words)
    again = [json.loads(line) for line in file.read_text().splitlines()]
    assert again[: len(rows)] == rows
    assert [one["target"] for one in again[len(rows) :]] == ["receipt:next"]
    # What goes out can be checked outside: each hash follows from the one before.
    assert len({one["hash"] for one in again}) == len(again)


def test_syslog_lines_are_as_the_standard_wants_them(desk: Desk) -> None:
    _record(desk, replace(EVENT, actor='peer:CN="x]\\\n\x1b[1m', facts={"n": 3}))
    *_, line = (one for one in desk.does("audit", "export", "--form", "syslog").splitlines() if "letter.refuse" in one)
    assert re.fullmatch(
        r"<108>1 \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z localhost mss - letter\.refuse "
        r'\[mss@32473 ((?:[a-z-]+="(?:[^"\\\]]|\\["\\\]])*" ?)+)\] .*',
        line,
    )
    assert r'actor="peer:CN=\"x\]\\  [1m"' in line
    assert 'fact-n="3"' in line


def test_positions_that_are_none_are_said(desk: Desk, tmp_path: Path) -> None:
    (tmp_path / "state").write_text("[]")
    assert "begin anew" in desk.fails("audit", "export", "--state", str(tmp_path / "state"))
    assert "tls://host:port" in desk.fails("audit", "export", "--to", "tls://nowhere")


@pytest.mark.journey
def test_the_journal_goes_out_over_tls_as_syslog(desk: Desk, tmp_path: Path) -> None:
    _record(desk, EVENT)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(desk.folder / "certs" / "operator.pem", desk.folder / "certs" / "operator.key")
    heard = bytearray()

    def listen(listener: socket.socket) -> None:
        with context.wrap_socket(listener.accept()[0], server_side=True) as connection:
            while octets := connection.recv(65536):
                heard.extend(octets)
            connection.unwrap().close()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(30)
        hearing = threading.Thread(target=listen, args=(listener,))
        hearing.start()
        to = f"tls://localhost:{listener.getsockname()[1]}"
        authorities = str(desk.folder / "certs" / "ca.pem")
        result = desk.run("audit", "export", "--form", "syslog", "--to", to, "--ca-file", authorities)
        hearing.join(30)
    assert result.exit_code == 0, result.output
    count, rest = 0, bytes(heard)
    while rest:
        size, _, rest = rest.partition(b" ")
        message, rest = rest[: int(size)], rest[int(size) :]
        assert message.startswith(b"<1")
        count += 1
    assert count >= 2
