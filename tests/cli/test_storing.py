"""`mss store check` and `mss keys`: what does not fit is said with what to do, and mended on demand."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing

from mss.store.masters import fingerprint, read_master_key
from tests.cli.cli_world import Desk


def _sql(desk: Desk, statement: str) -> None:
    with closing(sqlite3.connect(desk.folder / "data" / "store.sqlite")) as connection, connection:
        connection.execute(statement)


def test_a_whole_store_fits(staffed: Desk) -> None:
    assert staffed.does("store", "check") == "✓ everything fits\n"


def test_what_can_be_mended_is_mended_on_demand_only(staffed: Desk) -> None:
    _sql(staffed, "UPDATE mailboxes SET modseq = 0, uidnext = 0 WHERE name = 'INBOX'")
    _sql(staffed, "INSERT INTO changes VALUES ((SELECT min(id) FROM mailboxes WHERE name = 'INBOX'), 7, 1, 1, 1)")
    result = staffed.run("store", "check")
    assert result.exit_code == 1
    assert "the last MODSEQ is older than a change; --repair mends it" in result.stdout
    [line] = staffed.does("store", "check", "--repair", "--json").splitlines()
    assert json.loads(line)["mended"] is True
    staffed.does("store", "check")


def test_what_cannot_be_mended_is_named(staffed: Desk) -> None:
    _sql(staffed, "UPDATE journal SET rule = 'x' WHERE number = 1")
    result = staffed.run("store", "check", "--repair", "--no-octets")
    assert result.exit_code == 1
    assert "see mss audit verify" in result.stdout


def test_the_master_key_changes_and_everything_opens(staffed: Desk) -> None:
    path = staffed.folder / "keys" / "master.key"
    before, people = fingerprint(read_master_key(path)), staffed.does("account", "list")
    state = json.loads(staffed.does("keys", "status", "--json"))
    assert (state["fingerprint"], state["under_way"]) == (before, False)
    assert "master.key.next" in staffed.does("keys", "rotate", "--prepare")
    assert "is not finished" in staffed.does("keys", "status")
    said = staffed.does("keys", "rotate")
    after = fingerprint(read_master_key(path))
    assert after != before
    assert after in said
    assert staffed.does("account", "list") == people
    assert "everything fits" in staffed.does("store", "check")


def test_the_keys_are_copied_and_brought_back(staffed: Desk) -> None:
    copy = staffed.folder / "keys.copy"
    assert "keys are copied" in staffed.does("keys", "backup", str(copy))
    assert "already" in staffed.fails("keys", "restore", str(copy))
    for file in staffed.folder.glob("keys/keys.sqlite*"):
        file.unlink()
    assert "keys are back" in staffed.does("keys", "restore", str(copy))
    assert "everything fits" in staffed.does("store", "check")
