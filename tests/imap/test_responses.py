"""Values into octets; nothing breaks out of its response."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mss.imap import names, responses
from mss.imap.commands import StatusItem
from mss.model.mailbox import Mailbox, MailboxStatus

BOX = Mailbox(id=1, box_id=1, name="INBOX", uidvalidity=7, uidnext=9, modseq=0)


@pytest.mark.parametrize(
    ("octets", "expected"),
    [
        (b"", b'""'),
        (b"abc", b'"abc"'),
        (b'a"b\\c', b'"a\\"b\\\\c"'),
        (b"a\r\nb", b"{4}\r\na\r\nb"),
        (b"\xc3\xa9", b"{2}\r\n\xc3\xa9"),
        (b"a\0", b"{2}\r\na\0"),
    ],
)
def test_strings(octets: bytes, expected: bytes) -> None:
    assert responses.string(octets) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [("INBOX", b"INBOX"), ("a b", b'"a b"'), ("nil", b'"nil"'), ("é", b"&AOk-"), ('q"', b'"q\\""'), ("", b'""')],
)
def test_mailbox_names(name: str, expected: bytes) -> None:
    assert responses.mailbox_name(name) == expected


@given(st.text(st.characters(codec="utf-8"), max_size=30))
def test_no_mailbox_name_breaks_its_line(name: str) -> None:
    written = responses.mailbox_name(name)
    assert b"\n" not in written
    assert b"\r" not in written
    assert names.encode(name).isascii()


@pytest.mark.parametrize(
    ("numbers", "runs", "text"),
    [
        ([], (), ""),
        ([1], ((1, 1),), "1"),
        ([1, 2, 3], ((1, 3),), "1:3"),
        ([1, 2, 4, 7, 8], ((1, 2), (4, 4), (7, 8)), "1:2,4,7:8"),
    ],
)
def test_runs(numbers: list[int], runs: tuple[tuple[int, int], ...], text: str) -> None:
    assert responses.as_runs(numbers) == runs
    assert responses.runs(runs) == text


def test_status_responses() -> None:
    assert responses.tagged("a", "NO", "Too bad", "LIMIT") == b"a NO [LIMIT] Too bad\r\n"
    assert responses.tagged("*", "BYE", "Gone") == b"* BYE Gone\r\n"
    assert responses.go_ahead() == b"+ Ready\r\n"


def test_dates_are_in_utc() -> None:
    assert responses.internal_date(1_772_350_205_999_999) == b'" 1-Mar-2026 07:30:05 +0000"'


def test_flags() -> None:
    assert responses.flags(0, ()) == b"()"
    assert responses.flags(0b1_0000_1001, ("$Work", "$Home")) == b"(\\Seen \\Deleted $Work)"
    assert responses.flags(1 << 20, ()) == b"()"
    assert responses.flag_bit("\\SEEN", ()) == 1
    assert responses.flag_bit("$work", ("$Work",)) == 1 << 8
    assert responses.flag_bit("$none", ("$Work",)) == 0


def test_mailbox_flags() -> None:
    told = responses.mailbox_flags(("$Work",), read_only=False)
    assert told.startswith(b"* FLAGS (\\Seen \\Answered \\Flagged \\Deleted \\Draft $Work)\r\n")
    assert b"[PERMANENTFLAGS (\\Seen \\Answered \\Flagged \\Deleted \\Draft $Work \\*)]" in told
    assert b"[PERMANENTFLAGS ()]" in responses.mailbox_flags((), read_only=True)


def test_list_and_status() -> None:
    assert responses.listing("LIST", ("\\HasNoChildren", "\\Sent"), "Envoyés") == (
        b'* LIST (\\HasNoChildren \\Sent) "/" Envoy&AOk-s\r\n'
    )
    assert responses.listing("LIST", ("\\Noselect",), None) == b'* LIST (\\Noselect) "/" ""\r\n'
    found = MailboxStatus(BOX, messages=3, unseen=2, deleted=1, size_octets=99)
    assert responses.status("a b", tuple(StatusItem), found, 9) == (
        b'* STATUS "a b" (MESSAGES 3 RECENT 0 UIDNEXT 9 UIDVALIDITY 7 UNSEEN 2 HIGHESTMODSEQ 1 '
        b"SIZE 99 DELETED 1 DELETED-STORAGE 0 MAILBOXID (F1) APPENDLIMIT 9)\r\n"
    )


def test_search() -> None:
    assert responses.search([], None) == b"* SEARCH\r\n"
    assert responses.search([2, 3], None) == b"* SEARCH 2 3\r\n"
    assert responses.search([2], 9) == b"* SEARCH 2 (MODSEQ 9)\r\n"
    assert responses.search([], 9) == b"* SEARCH\r\n"
