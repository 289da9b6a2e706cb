"""Result options: what ESEARCH tells and "$" keeps (RFC 4731, 5182, 9394)."""

from __future__ import annotations

import pytest

from mss.imap import finding
from mss.imap.finding import Found, extended, places, saved
from mss.imap.options import Returns
from mss.imap.responses import Runs

LETTERS = [Found(2, 12, 5), Found(3, 13, 9), Found(5, 15, 4), Found(9, 29, 7)]
SORTED = [LETTERS[2], LETTERS[0], LETTERS[1], LETTERS[3]]


def told(returns: Returns, found: list[Found] = LETTERS, *, uid: bool = False, modseq: bool = False) -> bytes:
    """Return what an answer says after its tag."""
    whole = extended("t", found, returns, uid=uid, modseq=modseq)
    opening = b'* ESEARCH (TAG "t")'
    assert not whole or (whole.startswith(opening) and whole.endswith(b"\r\n"))
    return whole[len(opening) : -2].strip()


@pytest.mark.parametrize(
    ("returns", "expected"),
    [
        (Returns(min=True), b"MIN 2"),
        (Returns(max=True), b"MAX 9"),
        (Returns(count=True), b"COUNT 4"),
        (Returns(all=True), b"ALL 2:3,5,9"),
        (Returns(min=True, max=True, all=True, count=True), b"MIN 2 MAX 9 ALL 2:3,5,9 COUNT 4"),
        (Returns(partial=(2, 3)), b"PARTIAL (2:3 3,5)"),
        (Returns(partial=(4, 9)), b"PARTIAL (4:9 9)"),
        (Returns(partial=(5, 9)), b"PARTIAL (5:9 NIL)"),
        (Returns(partial=(-1, -2)), b"PARTIAL (-1:-2 5,9)"),
        (Returns(partial=(-3, -9)), b"PARTIAL (-3:-9 2:3)"),
        (Returns(partial=(-5, -9)), b"PARTIAL (-5:-9 NIL)"),
        (Returns(save=True), b""),
        (Returns(save=True, count=True), b"COUNT 4"),
    ],
)
def test_what_is_told(returns: Returns, expected: bytes) -> None:
    assert told(returns) == expected


def test_uids_modseqs_and_nothing() -> None:
    assert told(Returns(min=True), uid=True, modseq=True) == b"UID MIN 12 MODSEQ 5"
    assert told(Returns(max=True), modseq=True) == b"MAX 9 MODSEQ 7"
    assert told(Returns(min=True, max=True), modseq=True) == b"MIN 2 MAX 9 MODSEQ 7"
    assert told(Returns(min=True, count=True), modseq=True) == b"MIN 2 COUNT 4 MODSEQ 9"
    assert told(Returns(all=True), modseq=True) == b"ALL 2:3,5,9 MODSEQ 9"
    assert told(Returns(partial=(3, 4)), modseq=True) == b"PARTIAL (3:4 5,9) MODSEQ 7"
    assert told(Returns(min=True, max=True, all=True, count=True), [], modseq=True) == b"COUNT 0"
    assert told(Returns(min=True, save=True), []) == b""
    assert extended("t", [], Returns(min=True, save=True), uid=False, modseq=False) == b'* ESEARCH (TAG "t")\r\n'
    assert extended("t", LETTERS, Returns(save=True), uid=False, modseq=True) == b""


def test_sorted_answers_keep_their_order() -> None:
    assert told(Returns(all=True, min=True, max=True), SORTED) == b"MIN 5 MAX 9 ALL 5,2:3,9"
    assert told(Returns(partial=(1, 2)), SORTED) == b"PARTIAL (1:2 5,2)"


@pytest.mark.parametrize(
    ("returns", "expected"),
    [
        (Returns(save=True), ((12, 13), (15, 15), (29, 29))),
        (Returns(save=True, min=True), ((12, 12),)),
        (Returns(save=True, max=True), ((29, 29),)),
        (Returns(save=True, min=True, max=True), ((12, 12), (29, 29))),
        (Returns(save=True, min=True, count=True), ((12, 13), (15, 15), (29, 29))),
        (Returns(save=True, max=True, all=True), ((12, 13), (15, 15), (29, 29))),
        (Returns(save=True, partial=(2, 3)), ((13, 13), (15, 15))),
        (Returns(save=True, partial=(2, 3), min=True), ((12, 13), (15, 15))),
        (Returns(save=True, partial=(2, 3), count=True), ((12, 13), (15, 15), (29, 29))),
    ],
)
def test_what_is_saved(returns: Returns, expected: Runs) -> None:
    assert saved(LETTERS, returns) == expected
    assert saved([], returns) == ()


@pytest.mark.parametrize("count", range(6))
def test_places_counted_from_either_end_are_the_same_letters(count: int) -> None:
    letters = list(range(count))
    for first in range(1, 8):
        for last in range(first, 8):
            backwards = list(reversed(list(reversed(letters))[places((first, last), count)]))
            assert letters[places((-first, -last), count)] == backwards


def test_told_is_all_unless_less_was_asked() -> None:
    assert finding.told(LETTERS, Returns()) == LETTERS
