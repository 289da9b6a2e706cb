"""Mailbox names in modified UTF-7 and UTF-8, and LIST patterns."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mss.errors import Malformed
from mss.imap import names

BOTH_WAYS = [
    ("INBOX", b"INBOX"),
    ("Envoyés", b"Envoy&AOk-s"),
    ("A&B", b"A&-B"),
    ("&", b"&-"),
    ("台北/日本語", b"&U,BTFw-/&ZeVnLIqe-"),
    ("😀", b"&2D3eAA-"),
    ("Comptes rendus/2026", b"Comptes rendus/2026"),
]


@pytest.mark.parametrize(("name", "octets"), BOTH_WAYS)
def test_names_go_both_ways(name: str, octets: bytes) -> None:
    assert names.encode(name) == octets
    assert names.decode(octets) == name


@pytest.mark.parametrize(
    ("octets", "name"),
    [(b"inbox", "INBOX"), (b"InBox/a", "INBOX/a"), (b"inboxes", "inboxes"), ("é".encode(), "é"), (b"e\xcc\x81", "é")],
)
def test_names_are_normalised(octets: bytes, name: str) -> None:
    assert names.decode(octets) == name


@pytest.mark.parametrize(
    "octets",
    [b"&AGE-", b"&", b"&AOk", b"&AO-", b"&!-", b"&2D0-", b"&AOk=-", b"a\x01b", b"\xc3", b"\xff", b"&AC8-", b"&AAA-"],
)
def test_what_is_no_name_is_malformed(octets: bytes) -> None:
    with pytest.raises(Malformed):
        names.decode(octets)


@pytest.mark.parametrize(("length", "fits"), [(499, True), (500, True), (501, False)])
def test_the_length_of_a_name_is_limited(length: int, fits: bool) -> None:
    if fits:
        assert len(names.decode(b"a" * length)) == length
    else:
        with pytest.raises(Malformed):
            names.decode(b"a" * length)


NAME = st.text(st.characters(exclude_categories=("Cc", "Cs")), min_size=1, max_size=40)


@given(NAME)
def test_every_name_survives_the_wire(name: str) -> None:
    decoded = names.decode(names.encode(name))
    assert names.decode(names.encode(decoded)) == decoded


@given(st.binary(max_size=60))
def test_octets_are_a_name_or_malformed(octets: bytes) -> None:
    try:
        name = names.decode(octets)
    except Malformed:
        return
    assert "\0" not in name


@pytest.mark.parametrize(
    ("pattern", "name", "fits"),
    [
        ("*", "INBOX", True),
        ("*", "a/b/c", True),
        ("%", "a", True),
        ("%", "a/b", False),
        ("a/%", "a/b", True),
        ("a/%", "a/b/c", False),
        ("a*c", "a/b/c", True),
        ("%/%", "a/b", True),
        ("INBOX", "INBOX", True),
        ("INBOX", "INBOX2", False),
        ("", "", True),
        ("a%", "a", True),
        ("*%*", "x/y", True),
    ],
)
def test_patterns(pattern: str, name: str, fits: bool) -> None:
    assert names.matches(pattern, name) is fits


def test_a_pattern_full_of_stars_costs_little() -> None:
    start = time.process_time()
    assert not names.matches("*a" * 200 + "b", "a" * 500)
    assert time.process_time() - start < 10
