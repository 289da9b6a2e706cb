"""What hostile clients ask of SEARCH, SORT, THREAD, QRESYNC: refused or answered soon, and nobody else is confused."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mss.config import Limits
from mss.imap import commands as c
from mss.imap.parser import parse
from mss.imap.wire import Frame
from mss.model.account import Box
from tests.imap.imap_world import World

LIMITS = Limits()

PROGRAM = st.recursive(
    st.sampled_from(["ALL", "SEEN", "1:*", "$", "UID 4:7", "OLDER 5", "YOUNGER 9", "TEXT x", "MODSEQ 4", "KEYWORD a"]),
    lambda inner: st.one_of(
        inner.map("NOT {}".format),
        st.tuples(inner, inner).map("OR {0[0]} {0[1]}".format),
        st.lists(inner, min_size=1, max_size=3).map(lambda keys: f"({' '.join(keys)})"),
    ),
    max_leaves=6,
)
PLACES = st.tuples(st.sampled_from(["", "-"]), st.integers(1, 99), st.integers(1, 99)).map(
    "{0[0]}{0[1]}:{0[0]}{0[2]}".format
)
OPTIONS = st.lists(st.sampled_from(["MIN", "MAX", "COUNT", "SAVE"]), max_size=4)
RETURN = st.one_of(
    st.just(""),
    OPTIONS.map(lambda options: f"RETURN ({' '.join(options)}) "),
    st.tuples(OPTIONS, PLACES).map(lambda both: f"RETURN ({' '.join([*both[0], 'PARTIAL ' + both[1]])}) "),
)
FIELDS = st.sampled_from(["DATE", "ARRIVAL", "CC", "DISPLAYTO", "SUBJECT"])
CRITERION = st.tuples(st.sampled_from(["", "REVERSE "]), FIELDS).map("".join)
CRITERIA = st.lists(CRITERION, min_size=1, max_size=4).map(" ".join)
UID = st.sampled_from(["", "UID "])
NUMBERS = st.lists(st.integers(1, 99).map(str), min_size=1, max_size=4).map(",".join)
RESYNC = st.tuples(
    st.integers(1, 9), st.integers(1, 1 << 62), st.sampled_from(["", " {}"]), st.sampled_from(["", " ({} {})"]), NUMBERS
).map(lambda p: f"QRESYNC ({p[0]} {p[1]}{p[2]}{p[3]})".replace("{}", p[4]))
COMMANDS = st.one_of(
    st.tuples(UID, RETURN, PROGRAM).map("{0[0]}SEARCH {0[1]}{0[2]}".format),
    st.tuples(UID, RETURN, CRITERIA, PROGRAM).map("{0[0]}SORT {0[1]}({0[2]}) UTF-8 {0[3]}".format),
    st.tuples(st.sampled_from(["ORDEREDSUBJECT", "REFERENCES"]), PROGRAM).map("THREAD {0[0]} UTF-8 {0[1]}".format),
    st.tuples(RESYNC, st.sampled_from(["", "CONDSTORE "])).map("SELECT INBOX ({0[1]}{0[0]})".format),
    PLACES.map("UID FETCH 1:* (UID) (PARTIAL {})".format),
    st.tuples(NUMBERS, st.integers(0, 9)).map("UID FETCH {0[0]} FLAGS (CHANGEDSINCE {0[1]} VANISHED)".format),
)


@given(COMMANDS, st.booleans())
def test_every_sentence_of_the_grammar_is_a_command(text: str, small: bool) -> None:
    found = parse(Frame(b"a " + (text.lower() if small else text).encode(), ()), LIMITS)
    assert isinstance(found, c.Request), (text, found)


@given(
    COMMANDS, st.integers(0, 200), st.sampled_from(["", " ", "(", ")", "$", "*", "0", "-", ":", "\\", '"', "9" * 30])
)
def test_a_sentence_with_a_slip_is_a_command_or_bad(text: str, at: int, slip: str) -> None:
    at %= len(text)
    found = parse(Frame(b"a " + (text[:at] + slip + text[at + 1 :]).encode(), ()), LIMITS)
    assert isinstance(found, c.Request | c.Bad)


@pytest.mark.parametrize(
    "command",
    [
        "SEARCH " + "(" * 5000, "SORT " + "(" * 5000, "SORT (DATE) UTF-8 " + "NOT " * 5000 + "ALL",
        "THREAD REFERENCES UTF-8 " + "OR " * 5000, "SEARCH RETURN (" + "COUNT " * 5000 + "COUNT) ALL",
        "SORT (" + "DATE " * 5000 + "DATE) UTF-8 ALL", "SELECT INBOX (" + "CONDSTORE " * 3000 + "CONDSTORE)",
        "SELECT INBOX (QRESYNC (1 1 (1 1)", "UID FETCH 1 FLAGS (" + "VANISHED " * 3000 + "X)",
    ],
    ids=lambda command: command[:30],
)  # fmt: skip
async def test_endless_lists_and_nesting_are_bad(world: World, inbox: Box, command: str) -> None:
    client = await world.session("INBOX")
    assert (await client.ask(command))[-1].startswith(b"BAD ")
    assert await client.ask("NOOP") == [b"OK Done"]


async def test_sets_over_all_numbers_cost_what_is_there(world: World, inbox: Box) -> None:
    for _ in range(3):
        await world.deliver(inbox)
    client = await world.session("INBOX")
    await client.ask("ENABLE QRESYNC")
    every = ",".join(f"{first}:{first + 999_999}" for first in range(1, 4_000_000_000, 10_000_000))
    started = time.process_time()
    assert (await client.ask(f"UID SEARCH UID {every}"))[0] == b"* SEARCH 1 2 3"
    assert (await client.ask(f"UID FETCH {every} (UID) (PARTIAL 1:4294967295)"))[-1] == b"OK Done"
    assert (await client.ask(f"UID FETCH {every} (UID) (CHANGEDSINCE 1 VANISHED)"))[-1] == b"OK Done"
    assert (await client.ask(f"SELECT INBOX (QRESYNC (1 1 {every}))"))[-1].startswith(b"OK ")
    assert time.process_time() - started < 50


async def test_a_saved_result_belongs_to_its_session(world: World, inbox: Box) -> None:
    await world.deliver(inbox)
    one, other = await world.session("INBOX"), await world.session("INBOX")
    await one.ask("SEARCH RETURN (SAVE) ALL")
    assert await other.ask("FETCH $ UID") == [b"OK Done"]
    assert await one.ask("FETCH $ UID") == [b"* 1 FETCH (UID 1)", b"OK Done"]
    for client in (one, other):
        await client.ask("LOGOUT")


async def test_what_is_prepared_for_one_box_opens_for_no_other(world: World, inbox: Box) -> None:
    """Two people hold one letter: each has its own sealed text, and loses only that with its own key."""
    second = await world.box("autre@pro.example")
    await world.account("autre@pro.example", second)
    for box in (inbox, second):
        await world.deliver(box)
    first, other = await world.session("INBOX"), await world.session("INBOX", "autre@pro.example")
    for client in (first, other, first):
        assert await client.ask("SEARCH BODY bonjour") == [b"* SEARCH 1", b"OK Done"]
        assert await client.ask("SORT (FROM) UTF-8 ALL") == [b"* SORT 1", b"OK Done"]
