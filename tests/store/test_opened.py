"""Forms that were opened lately: how long they stay, and how many."""

from __future__ import annotations

from mss.store import opened
from mss.store.keys import OPENED_MAX_S
from mss.store.opened import OpenedForms


def test_what_was_opened_is_there_for_the_next_who_asks() -> None:
    forms = OpenedForms()
    assert forms.of(1) == {}
    forms.keep(1, {7: (b"envelope", b"structure")})
    forms.keep(1, {8: (b"another", b"one")})
    assert forms.of(1) == {7: (b"envelope", b"structure"), 8: (b"another", b"one")}
    assert forms.of(2) == {}


def test_it_stays_as_long_as_an_opened_key() -> None:
    now = [0.0]
    forms = OpenedForms(lambda: now[0])
    forms.keep(1, {7: (b"e", b"s")})
    now[0] = OPENED_MAX_S - 0.1
    forms.keep(1, {8: (b"e", b"s")})
    assert len(forms.of(1)) == 2
    now[0] = OPENED_MAX_S
    assert forms.of(1) == {}
    assert forms.octets == 0


def test_it_goes_with_its_key() -> None:
    forms = OpenedForms()
    forms.keep(1, {7: (b"e", b"s")})
    forms.keep(2, {7: (b"e", b"s")})
    forms.forget(1)
    forms.forget(3)
    assert forms.of(1) == {}
    assert len(forms.of(2)) == 1


def test_the_box_that_was_listed_longest_ago_goes_first() -> None:
    forms, half = OpenedForms(), opened.OCTETS_MAX // 2
    entry = {1: (b"e" * (half - opened._ENTRY_OCTETS), b"")}
    forms.keep(1, entry)
    forms.keep(2, entry)
    assert forms.octets == opened.OCTETS_MAX
    assert forms.of(1) == entry
    forms.keep(3, {1: (b"", b"")})
    assert (forms.of(2), forms.of(1)) == ({}, entry)
    forms.keep(4, {1: (b"e" * opened.OCTETS_MAX, b"")})
    assert forms.of(4) == {}
    assert forms.octets == 0
