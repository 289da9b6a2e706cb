"""States × commands: which are taken, which are refused and how."""

from __future__ import annotations

import pytest

from mss.imap import commands as c
from mss.imap.connection import ALLOWED, State, capabilities, may_tell_expunges, refusal
from mss.imap.options import Algorithm
from mss.model.secret import Secret
from mss.services.metadata import Wished

ONE = c.SequenceSet(((1, 1),))
BEFORE, AFTER, SELECTED, LOGOUT = State

EXAMPLES: list[c.Command] = [
    c.Capability(), c.Noop(), c.Check(), c.Logout(), c.Id(), c.StartTls(), c.Login(b"u", Secret(b"p")),
    c.Authenticate("PLAIN"), c.Enable(("CONDSTORE",)), c.Namespace(), c.List(("*",)), c.Lsub("*"),
    c.Subscribe("a", wanted=True), c.Create("a"), c.Delete("a"), c.Rename("a", "b"), c.Status("a", ()),
    c.Select("a"), c.Append("a", (c.Letter(b""),)), c.Idle(), c.Close(expunge=True),
    c.Expunge(), c.Fetch(ONE, c.Item.FLAGS),
    c.Store(ONE, c.StoreMode.ADD, ()), c.Copy(ONE, "a"), c.Search(c.All()), c.Sort((), c.All()),
    c.Thread(Algorithm.REFERENCES, c.All()),
    c.Replace(ONE, "a", c.Letter(b"")), c.GetQuota(b""), c.GetQuotaRoot("a"), c.GetAcl("a"), c.MyRights("a"),
    c.ListRights("a", b"u"), c.SetAcl("a", b"u"), c.GetMetadata("a", Wished(("/private/a",))),
    c.SetMetadata("a", ()),
]  # fmt: skip
ANYWHERE = {c.Capability, c.Noop, c.Logout, c.Id}
NEED_LOGIN = {type(each) for each in EXAMPLES} - ANYWHERE - {c.StartTls, c.Login, c.Authenticate}
NEED_MAILBOX = {c.Check, c.Close, c.Expunge, c.Fetch, c.Store, c.Copy, c.Search, c.Replace, c.Sort, c.Thread}


def test_every_command_has_its_line() -> None:
    assert set(ALLOWED) == {type(each) for each in EXAMPLES} == set(c.Command.__args__)


@pytest.mark.parametrize("command", EXAMPLES, ids=lambda command: type(command).__name__)
def test_states_and_commands(command: c.Command) -> None:
    kind = type(command)
    taken = {state for state in State if refusal(state, command, tls=kind is not c.StartTls) is None}
    if kind in ANYWHERE:
        assert taken == {BEFORE, AFTER, SELECTED}
    elif kind in NEED_MAILBOX:
        assert taken == {SELECTED}
    elif kind in NEED_LOGIN:
        assert taken == {AFTER, SELECTED}
    else:
        assert taken == {BEFORE}


def test_nobody_logs_in_before_tls() -> None:
    for command in (c.Login(b"u", Secret(b"p")), c.Authenticate("PLAIN")):
        found = refusal(BEFORE, command, tls=False)
        assert found is not None
        assert (found.condition, found.code) == ("NO", "PRIVACYREQUIRED")


def test_starttls_only_once() -> None:
    found = refusal(BEFORE, c.StartTls(), tls=True)
    assert found is not None
    assert found.condition == "BAD"


def test_what_is_announced() -> None:
    plain = capabilities(BEFORE, tls=False, append_limit_octets=5).split()
    assert {"STARTTLS", "LOGINDISABLED"} <= set(plain)
    assert "AUTH=PLAIN" not in plain
    secured = capabilities(BEFORE, tls=True, append_limit_octets=5).split()
    assert "AUTH=PLAIN" in secured
    assert not {"STARTTLS", "LOGINDISABLED"} & set(secured)
    known = capabilities(AFTER, tls=True, append_limit_octets=5).split()
    assert {"IMAP4rev1", "APPENDLIMIT=5", "MOVE", "CONDSTORE", "QRESYNC", "ESEARCH", "SEARCHRES", "WITHIN"} <= set(
        known
    )
    assert {"PARTIAL", "SORT", "SORT=DISPLAY", "ESORT", "THREAD=ORDEREDSUBJECT", "THREAD=REFERENCES"} <= set(known)
    assert len(known) == len(set(known))
    # RFC 7888 §6: one of the two, and the generous one only to whom we know.
    assert ("LITERAL-" in secured, "LITERAL+" in secured) == (True, False)
    assert ("LITERAL-" in known, "LITERAL+" in known) == (False, True)
    assert "AUTH=PLAIN" not in known


def test_expunges_are_not_told_where_numbers_count() -> None:
    assert not may_tell_expunges(c.Fetch(ONE, c.Item.FLAGS))
    assert not may_tell_expunges(c.Store(ONE, c.StoreMode.ADD, ()))
    assert not may_tell_expunges(c.Search(c.All()))
    assert not may_tell_expunges(c.Sort((), c.All()))
    assert not may_tell_expunges(c.Thread(Algorithm.REFERENCES, c.All()))
    assert may_tell_expunges(c.Fetch(ONE, c.Item.FLAGS, uid=True))
    assert may_tell_expunges(c.Noop())
