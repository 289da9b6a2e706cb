"""Base subjects (RFC 5256 §2.1) and the collation that compares them (RFC 5051)."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mss.mail import collation
from mss.mail.subjects import SUBJECT_MAX_CHARACTERS, base_subject

SUBJECTS = [
    ("Bilan", "Bilan", False),
    ("", "", False),
    ("  Bilan \t du   jour ", "Bilan du jour", False),
    ("Re: Bilan", "Bilan", True),
    ("RE:Bilan", "Bilan", True),
    ("Re : Bilan", "Bilan", True),
    ("Fw: Bilan", "Bilan", True),
    ("Fwd: Bilan", "Bilan", True),
    ("fwdd: Bilan", "fwdd: Bilan", False),
    ("Re: Fwd: re: Bilan", "Bilan", True),
    ("Re[2]: Bilan", "Bilan", True),
    ("Re [2] : Bilan", "Bilan", True),
    ("[labo] Bilan", "Bilan", False),
    ("[labo] Re: Bilan", "Bilan", True),
    ("[labo][urgent] Re: [x] Bilan", "Bilan", True),
    ("Re: [labo] Re: Bilan", "Bilan", True),
    ("[labo]", "[labo]", False),
    ("[labo] ", "[labo]", False),
    ("[labo] (fwd)", "[labo]", True),
    ("[a] [b]", "[b]", False),
    ("Bilan (fwd)", "Bilan", True),
    ("Bilan (FWD) (fwd)  ", "Bilan", True),
    ("Bilan(fwd)", "Bilan", True),
    ("[Fwd: Bilan]", "Bilan", True),
    ("[fwd: [FWD: Re: Bilan (fwd)]]", "Bilan", True),
    ("[Fwd:]", "", True),
    ("[Fwd: Bilan", "[Fwd: Bilan", False),
    ("Fwd: [Fwd: Bilan] (fwd)", "Bilan", True),
    ("Re:", "", True),
    ("Re", "Re", False),
    ("Réponse: Bilan", "Réponse: Bilan", False),
    ("Re:\u00a0Bilan", "\u00a0Bilan", True),
    ("ſwd: Bilan", "ſwd: Bilan", False),
    ("[un [deux] Bilan", "[un [deux] Bilan", False),
]


@pytest.mark.parametrize(("subject", "base", "is_reply"), SUBJECTS)
def test_base_subject(subject: str, base: str, is_reply: bool) -> None:
    assert base_subject(subject) == (base, is_reply)


PIECES = st.sampled_from(
    ["re", "Re:", "fw", "Fwd:", "(fwd)", "[fwd:", "[", "]", "[a]", " ", "\t", ":", "Bilan", "é", "[]", "x"]
)


@given(st.lists(PIECES, max_size=30).map("".join))
def test_a_base_subject_is_its_own(subject: str) -> None:
    base, _ = base_subject(subject)
    assert base_subject(base)[0] == base
    assert len(base) <= len(subject)


@pytest.mark.parametrize("piece", ["[]", "[", "re:", "(fwd)", "[fwd:", "[a]re", " ", "re[", "[fwd:]"])
def test_a_hostile_subject_costs_little(piece: str) -> None:
    started = time.process_time()
    base_subject(piece * 500_000)
    assert time.process_time() - started < 50


def test_subjects_are_read_up_to_a_limit() -> None:
    most = "x" * SUBJECT_MAX_CHARACTERS
    assert base_subject(most) == (most, False)
    assert base_subject(most + "y") == (most, False)


@pytest.mark.parametrize(
    ("less", "more"),
    [
        ("a", "B"),
        ("A", "b"),
        ("", "a"),
        ("E", "é"),
        ("etf", "été"),
        ("bob", "bob dupont"),
        ("2", "a"),
        ("z", "é" * 0 + "æ"),
    ],
)
def test_order(less: str, more: str) -> None:
    assert collation.key(less) < collation.key(more)


@pytest.mark.parametrize(
    ("one", "other"), [("a", "A"), ("É", "é"), ("e\u0301", "É"), ("ǆ", "Ǆ"), ("ﬁ", "fi"), ("\uff21", "a"), ("", "")]
)
def test_equal(one: str, other: str) -> None:
    assert collation.key(one) == collation.key(other)


def test_different() -> None:
    assert collation.key("ß") != collation.key("ss")
    assert collation.key("e") != collation.key("é")


@given(st.text())
def test_a_key_is_its_own(text: str) -> None:
    assert collation.key(collation.key(text)) == collation.key(text)
