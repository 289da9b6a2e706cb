"""The threading algorithms (RFC 5256 §3): cases by hand, and what holds for any letters."""

from __future__ import annotations

import random
import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mss.config import Limits
from mss.imap import sorting, threads
from mss.imap.options import Criterion, SortField
from mss.imap.sorting import Form, Sortable
from mss.mail import mime, structure
from mss.mail.subjects import base_subject
from mss.services.mailbox import Row


def letter(number: int, name: str = "", refers: str = "", subject: str = "", sent: int | None = None) -> Sortable:
    """Return a letter; its UID is its number and a hundred."""
    base, is_reply = base_subject(subject)
    when = number if sent is None else sent
    form = Form(when, base, is_reply, "", "", "", "", "", name, refers.split())
    return Sortable(number, Row(number + 100, 1, 0, 0, 0, number), form)


def threaded(*letters: Sortable, uid: bool = False) -> str:
    """Return the threads by references as IMAP tells them."""
    return threads.written(threads.references(letters), uid=uid).decode().removeprefix("* THREAD").strip()


@pytest.mark.parametrize(
    ("letters", "expected"),
    [
        ([], ""),
        ([letter(1)], "(1)"),
        ([letter(1, "a"), letter(2, "b", "a"), letter(3, "c", "a b")], "(1 2 3)"),
        ([letter(1, "a"), letter(2, "b", "a"), letter(3, "c", "a")], "(1 (2)(3))"),
        ([letter(3, "c", "a b"), letter(1, "a"), letter(2, "b", "a")], "(1 2 3)"),
        # One parent that is not here: its only child stands alone, several stand below a dummy.
        ([letter(1, "b", "a")], "(1)"),
        ([letter(1, "b", "a"), letter(2, "c", "a")], "((1)(2))"),
        # A dummy inside a thread gives its place to its children.
        ([letter(1, "a"), letter(2, "c", "a b"), letter(3, "d", "a b")], "(1 (2)(3))"),
        # Loops are not made.
        ([letter(1, "a", "b"), letter(2, "b", "a")], "(2 1)"),
        ([letter(1, "a", "a")], "(1)"),
        ([letter(1, "a", "c"), letter(2, "b", "a"), letter(3, "c", "b")], "(3 1 2)"),
        # A letter's own references count more than what others say of it.
        ([letter(1, "x"), letter(2, "d", "x b"), letter(3, "b", "y")], "(1)(3 2)"),
        ([letter(1, "d", "a b"), letter(2, "a"), letter(3, "b")], "(2)(3 1)"),
        # Twice the same Message-ID: the second is a letter of its own.
        ([letter(1, "a"), letter(2, "a"), letter(3, "b", "a")], "(1 3)(2)"),
        # By date, and by number where dates are equal.
        ([letter(1, sent=9), letter(2, sent=4)], "(2)(1)"),
        ([letter(1, "b", "a", sent=9), letter(2, "c", "a", sent=4), letter(3, sent=5)], "((2)(1))(3)"),
        ([letter(2, sent=5), letter(1, sent=5)], "(1)(2)"),
        # By subject where references say nothing.
        ([letter(1, subject="Bilan"), letter(2, subject="Re: Bilan")], "(1 2)"),
        ([letter(1, subject="Re: Bilan"), letter(2, subject="Bilan")], "(2 1)"),
        ([letter(1, subject="Bilan"), letter(2, subject="Bilan")], "((1)(2))"),
        ([letter(1, subject="Re: Bilan"), letter(2, subject="Re: Bilan")], "((1)(2))"),
        ([letter(n, subject="Bilan") for n in (1, 2, 3)], "((1)(2)(3))"),
        ([letter(1, subject="Bilan"), letter(2, subject="Bilan"), letter(3, subject="Re: Bilan")], "((1)(2)(3))"),
        ([letter(1, "b", "a", "Bilan"), letter(2, "c", "a", "x"), letter(3, subject="Bilan")], "((1)(2)(3))"),
        ([letter(1, "b", "a", "x"), letter(2, "c", "a"), letter(3, "e", "d", "x"), letter(4, "f", "d")],
         "((1)(2)(3)(4))"),
        ([letter(1, subject=""), letter(2, subject="Re:")], "(1)(2)"),
    ],
)  # fmt: skip
def test_references(letters: list[Sortable], expected: str) -> None:
    assert threaded(*letters) == expected


def test_uids_are_told_instead() -> None:
    assert threaded(letter(1, "a"), letter(2, "b", "a"), uid=True) == "(101 102)"


def test_ordered_subject() -> None:
    letters = [
        letter(1, subject="b", sent=5), letter(2, subject="Re: a", sent=7), letter(3, subject="a", sent=3),
        letter(4, subject="B", sent=6), letter(5, subject="[x] a", sent=3), letter(6, subject="", sent=9),
    ]  # fmt: skip
    assert threads.written(threads.ordered_subject(letters), uid=False) == b"* THREAD (3 (5)(2))(1)(4)(6)\r\n"
    assert threads.written(threads.ordered_subject([]), uid=False) == b"* THREAD\r\n"


NAMES = st.sampled_from(["", *"abcdefgh"])
LETTERS = st.lists(
    st.tuples(NAMES, st.lists(st.sampled_from("abcdefghxyz"), max_size=4), st.sampled_from(["", "s", "Re: s", "t"]),
              st.integers(0, 3)),
    max_size=14,
)  # fmt: skip


@given(LETTERS)
def test_every_letter_stands_once_whatever_refers_to_what(drawn: list[tuple[str, list[str], str, int]]) -> None:
    letters = [
        letter(number, name, " ".join(refers), subject, sent)
        for number, (name, refers, subject, sent) in enumerate(drawn, 1)
    ]
    for told in (threads.written(make(letters), uid=False) for make in (threads.references, threads.ordered_subject)):
        assert sorted(map(int, re.findall(rb"\d+", told))) == [each.number for each in letters]
        depth = 0
        for octet in told:
            depth += (octet == ord("(")) - (octet == ord(")"))
            assert depth >= 0
        assert depth == 0
        assert b"()" not in told


def test_a_conversation_as_deep_as_the_mailbox() -> None:
    count = 20_000
    chain = [letter(n, str(n), str(n - 1)) for n in range(1, count + 1)]
    assert threaded(*chain) == f"({' '.join(map(str, range(1, count + 1)))})"
    random.Random(1).shuffle(chain)
    assert threaded(*chain) == f"({' '.join(map(str, range(1, count + 1)))})"


def test_hostile_references_cost_little() -> None:
    dice = random.Random(3)
    names = [str(n) for n in range(3000)]
    letters = [letter(n, names[n], " ".join(dice.choices(names, k=100))) for n in range(1, 3000)]
    started = time.process_time()
    threaded(*letters)
    assert time.process_time() - started < 60


# --- forms ---


def form(*lines: bytes) -> Form:
    """Return the form of a letter of some header lines."""
    message = mime.index(b"\r\n".join(lines) + b"\r\n\r\n", Limits())
    return sorting.read(sorting.make(structure.envelope(message, Limits()), message))


def test_what_a_form_holds() -> None:
    found = form(
        b"From: =?utf-8?q?=C3=89lodie?= <elo@pro.example>", b"To: Bob@pro.example, a@b", b"Cc: G: x@y;",
        b"Subject: Re: =?utf-8?q?=C3=A9t=C3=A9?=", b"Date: Sun, 22 Nov 2026 09:00:00 +0100", b"Message-ID: <1@x>",
        b"References: <2@x> nonsense <3@x>", b"In-Reply-To: <4@x>",
    )  # fmt: skip
    assert found == Form(
        1795334400000000, "E\u0301TE\u0301", True, "ELO", "BOB", "G", "E\u0301LODIE", "BOB@PRO.EXAMPLE", "<1@x>",
        ["<2@x>", "<3@x>"],
    )  # fmt: skip


def test_what_a_form_does_without() -> None:
    assert form(b"X: y") == Form(None, "", False, "", "", "", "", "", "", [])
    assert form(b"In-Reply-To: <4@x> <5@x>", b"Date: nonsense").references == ["<4@x>"]
    many = b" ".join(b"<%d@x>" % n for n in range(300))
    assert form(b"References: " + many).references == [f"<{n}@x>" for n in range(100, 300)]
    assert len(form(b"From: " + b"a" * 5000 + b"@x").sender) == 1000


def test_order_and_ties() -> None:
    letters = [letter(1, subject="b", sent=1), letter(2, subject="A", sent=2), letter(3, subject="b", sent=2)]

    def numbers(*criteria: Criterion) -> list[int]:
        return [each.number for each in sorting.in_order(letters, criteria)]

    assert numbers(Criterion(SortField.SUBJECT)) == [2, 1, 3]
    assert numbers(Criterion(SortField.SUBJECT, reverse=True)) == [1, 3, 2]
    assert numbers(Criterion(SortField.DATE, reverse=True), Criterion(SortField.SUBJECT)) == [2, 3, 1]
    assert numbers(Criterion(SortField.CC)) == [1, 2, 3]
    assert not sorting.needs_forms((Criterion(SortField.SIZE), Criterion(SortField.ARRIVAL)))
    assert sorting.needs_forms((Criterion(SortField.SIZE), Criterion(SortField.TO)))
