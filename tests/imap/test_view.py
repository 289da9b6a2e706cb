"""A session's numbering: sets, changes, what may be told when; and a client's mirror that must agree."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mss.imap.commands import SequenceSet
from mss.imap.view import View
from mss.model.mailbox import Change, ChangeKind, Mailbox

BOX = Mailbox(id=1, box_id=1, name="INBOX", uidvalidity=7, uidnext=100, modseq=10, keywords=("$Work",))
ADDED, FLAGS, EXPUNGED = ChangeKind.ADDED, ChangeKind.FLAGS, ChangeKind.EXPUNGED


def view(*uids: int) -> View:
    """Return a view of these UIDs."""
    return View(BOX, uids, read_only=False)


def seq(*ranges: tuple[int, int]) -> SequenceSet:
    """Return a sequence set."""
    return SequenceSet(ranges)


def at(modseq: int) -> Mailbox:
    """Return the mailbox as of a MODSEQ."""
    return replace(BOX, modseq=modseq)


@pytest.mark.parametrize(
    ("wanted", "uid", "runs"),
    [
        (seq((1, 1)), False, ((10, 10),)),
        (seq((1, 3)), False, ((10, 12),)),
        (seq((3, 1)), False, ((10, 12),)),
        (seq((1, 4)), False, ((10, 12), (20, 20))),
        (seq((4, 4), (1, 1)), False, ((10, 10), (20, 20))),
        (seq((0, 0)), False, ((20, 20),)),
        (seq((1, 0)), False, ((10, 12), (20, 20))),
        (seq((2, 2), (1, 2)), False, ((10, 11),)),
        (seq((9, 0)), False, ((20, 20),)),
        (seq((5, 5)), False, None),
        (seq((1, 5)), False, None),
        (seq((11, 11)), True, ((11, 11),)),
        (seq((1, 4000000000)), True, ((10, 20),)),
        (seq((15, 16)), True, ((15, 16),)),
        (seq((99, 99)), True, ()),
        (seq((99, 0)), True, ((20, 20),)),
        (seq((0, 0)), True, ((20, 20),)),
    ],
)
def test_sets_become_uids(wanted: SequenceSet, uid: bool, runs: tuple[tuple[int, int], ...] | None) -> None:
    assert view(10, 11, 12, 20).resolve(wanted, uid=uid) == runs


@pytest.mark.parametrize("uid", [True, False])
def test_in_an_empty_mailbox_star_is_nothing(uid: bool) -> None:
    assert view().resolve(seq((1, 0)), uid=uid) == ()
    assert view().resolve(seq((1, 1)), uid=False) is None


def test_numbers_of_uids() -> None:
    seen = view(10, 11, 20)
    assert [seen.number_of(uid) for uid in (10, 11, 12, 20, 21)] == [1, 2, None, 3, None]
    assert list(seen.numbered(((1, 11), (15, 30)))) == [(1, 10), (2, 11), (3, 20)]


def test_expunges_wait_until_they_may_be_told() -> None:
    seen = view(1, 2, 3, 4)
    seen.apply(at(11), [Change(11, 2, 3, EXPUNGED)], [])
    assert seen.tell(expunges=False, condstore=False) == []
    assert seen.exists == 4
    assert seen.tell(expunges=True, condstore=False) == [b"* 3 EXPUNGE\r\n", b"* 2 EXPUNGE\r\n"]
    assert list(seen.uids) == [1, 4]
    assert seen.tell(expunges=True, condstore=False) == []


def test_new_letters_are_told_at_any_time() -> None:
    seen = view(1)
    seen.apply(at(11), [Change(11, 5, 6, ADDED)], [(5, 11, 0), (6, 11, 0)])
    assert seen.tell(expunges=False, condstore=True) == [b"* 3 EXISTS\r\n* 0 RECENT\r\n"]
    assert list(seen.uids) == [1, 5, 6]


def test_a_letter_that_came_and_went_untold_is_never_told() -> None:
    seen = view(1)
    seen.apply(at(12), [Change(11, 5, 6, ADDED), Change(12, 5, 5, EXPUNGED)], [(6, 11, 0)])
    assert seen.tell(expunges=True, condstore=False) == [b"* 2 EXISTS\r\n* 0 RECENT\r\n"]
    assert list(seen.uids) == [1, 6]


def test_flags_are_told_with_modseq_only_to_those_who_know_it() -> None:
    for condstore, expected in (
        (False, b"* 2 FETCH (UID 2 FLAGS (\\Seen $Work))\r\n"),
        (True, b"* 2 FETCH (UID 2 FLAGS (\\Seen $Work) MODSEQ (11))\r\n"),
    ):
        seen = view(1, 2)
        seen.apply(at(11), [Change(11, 2, 2, FLAGS)], [(2, 11, 0b1_0000_0001)])
        assert seen.tell(expunges=False, condstore=condstore) == [expected]


def test_own_changes_are_not_told_twice_but_later_ones_of_others_are() -> None:
    seen = view(1, 2)
    seen.own(11)
    seen.apply(at(11), [Change(11, 1, 2, FLAGS)], [(1, 11, 1), (2, 11, 1)])
    assert seen.tell(expunges=True, condstore=True) == []
    seen.apply(at(12), [Change(12, 2, 2, FLAGS)], [(2, 12, 0)])
    assert len(seen.tell(expunges=True, condstore=True)) == 1


def test_a_change_of_others_below_an_own_one_is_told() -> None:
    """A silent STORE tells nothing, so what somebody else did to the same letter must be told."""
    seen = view(1, 2)
    seen.own(12)
    seen.apply(at(12), [Change(11, 1, 1, FLAGS), Change(12, 1, 2, FLAGS)], [(1, 12, 3), (2, 12, 1)])
    assert seen.tell(expunges=True, condstore=False) == [b"* 1 FETCH (UID 1 FLAGS (\\Seen \\Answered))\r\n"]


def test_flags_of_a_letter_that_is_gone_are_not_told() -> None:
    seen = view(1, 2)
    seen.apply(at(11), [Change(11, 2, 2, FLAGS)], [(2, 11, 1)])
    seen.apply(at(12), [Change(12, 2, 2, EXPUNGED)], [])
    assert seen.tell(expunges=False, condstore=False) == []
    assert seen.tell(expunges=True, condstore=False) == [b"* 2 EXPUNGE\r\n"]


def test_flags_just_told_are_not_told_again() -> None:
    seen = view(1, 2)
    seen.apply(at(11), [Change(11, 1, 2, FLAGS)], [(1, 11, 1), (2, 11, 1)])
    seen.forget_flags([1])
    assert seen.tell(expunges=False, condstore=False) == [b"* 2 FETCH (UID 2 FLAGS (\\Seen))\r\n"]


ACTION = st.sampled_from(["add", "add", "expunge", "flag"])


@given(st.lists(st.tuples(ACTION, st.integers(0, 20), st.booleans(), st.booleans()), max_size=40))
def test_a_client_that_believes_every_response_has_the_same_letters(
    actions: list[tuple[str, int, bool, bool]],
) -> None:
    """Play a mailbox, let the view tell at random moments, and count like a client."""
    seen = view()
    letters: list[int] = []
    client: list[int | None] = []
    modseq, uidnext = 10, 1
    for action, choice, tells, expunges in actions:
        modseq += 1
        match action:
            case "add":
                letters.append(uidnext)
                change = Change(modseq, uidnext, uidnext, ADDED)
                uidnext += 1
            case "expunge" if letters:
                uid = letters.pop(choice % len(letters))
                change = Change(modseq, uid, uid, EXPUNGED)
            case _:
                continue
        seen.apply(at(modseq), [change], [])
        if tells:
            _believe(client, seen.tell(expunges=expunges, condstore=False))
            assert len(client) == seen.exists
    _believe(client, seen.tell(expunges=True, condstore=False))
    assert len(client) == len(letters)
    assert list(seen.uids) == letters


def _believe(client: list[int | None], told: list[bytes]) -> None:
    for response in told:
        if gone := re.match(rb"\* (\d+) EXPUNGE", response):
            del client[int(gone.group(1)) - 1]
        elif exists := re.match(rb"\* (\d+) EXISTS", response):
            assert int(exists.group(1)) >= len(client)
            client.extend([None] * (int(exists.group(1)) - len(client)))


@given(
    st.lists(st.integers(1, 60), unique=True, max_size=20).map(sorted),
    st.lists(st.tuples(st.integers(0, 70), st.integers(0, 70)), min_size=1, max_size=5),
)
def test_resolving_uids_agrees_with_counting(uids: list[int], ranges: list[tuple[int, int]]) -> None:
    seen = view(*uids)
    runs = seen.resolve(SequenceSet(tuple(ranges)), uid=True)
    assert runs is not None
    highest = uids[-1] if uids else 0
    wanted = set()
    for first, last in ranges:
        low, high = sorted((first or highest, last or highest))
        wanted |= {uid for uid in uids if low <= uid <= high}
    assert {uid for _, uid in seen.numbered(runs)} == wanted
