"""What a FETCH needs, and its rendering from rows."""

from __future__ import annotations

import pytest

from mss.imap import fetch
from mss.imap.commands import Item, Section, Text
from mss.imap.fetch import Need
from mss.services.mailbox import Row

ROW = Row(7, 9, 0b1_0000_0001, 0, 1234, 1, b"(ENV)", b'("text" "plain" NIL NIL NIL "7bit" 5 1 NIL NIL NIL NIL)')
WHOLE = Section(b"BODY[]")
HEADER = Section(b"BODY[HEADER]", text=Text.HEADER, peek=True)


@pytest.mark.parametrize(
    ("sections", "need"),
    [
        ((), Need.NOTHING),
        ((HEADER,), Need.HEADER),
        ((HEADER, Section(b"x", text=Text.HEADER_FIELDS)), Need.HEADER),
        ((WHOLE,), Need.RANGE),
        ((WHOLE, HEADER), Need.ALL),
        ((Section(b"x", (1,)),), Need.ALL),
        ((Section(b"x", (1,), Text.HEADER),), Need.ALL),
        ((Section(b"x", text=Text.TEXT),), Need.ALL),
    ],
)
def test_what_is_needed_of_the_octets(sections: tuple[Section, ...], need: Need) -> None:
    assert fetch.plan(Item.NONE, sections, condstore=False, read_only=False).need is need


@pytest.mark.parametrize(
    ("section", "read_only", "marks"), [(WHOLE, False, True), (WHOLE, True, False), (HEADER, False, False)]
)
def test_which_fetch_marks_as_read(section: Section, read_only: bool, marks: bool) -> None:
    assert fetch.plan(Item.NONE, (section,), condstore=False, read_only=read_only).marks_seen is marks


@pytest.mark.parametrize(
    ("start", "count", "expected"),
    [(0, None, (0, 10)), (0, 4, (0, 4)), (8, 4, (8, 10)), (10, 1, (10, 10)), (99, 5, (10, 10))],
)
def test_ranges_stay_inside_the_letter(start: int, count: int | None, expected: tuple[int, int]) -> None:
    assert fetch.octet_range(Section(b"x", start=start, count=count), 10) == expected


def test_every_item_is_rendered_and_quick_forms_are_the_slow_ones() -> None:
    everything = Item.FLAGS | Item.UID | Item.INTERNALDATE | Item.SIZE | Item.ENVELOPE | Item.BODY
    everything |= Item.BODYSTRUCTURE | Item.MODSEQ
    assert fetch.render_rows([(3, ROW)], everything, ("$Work",)) == (
        b'* 3 FETCH (UID 7 FLAGS (\\Seen $Work) MODSEQ (9) INTERNALDATE " 1-Jan-1970 00:00:00 +0000" RFC822.SIZE 1234 '
        b'ENVELOPE (ENV) BODYSTRUCTURE ("text" "plain" NIL NIL NIL "7bit" 5 1 NIL NIL NIL NIL) '
        b'BODY ("text" "plain" NIL NIL NIL "7bit" 5 1))\r\n'
    )
    for items, quick in fetch._QUICK.items():
        slowly = b"* 3 FETCH (" + b" ".join(write(ROW) for write in fetch.writers(items, ())) + b")\r\n"
        assert b"".join(quick([(3, ROW)], ())) == slowly


@pytest.mark.parametrize(
    ("octets", "end"), [(b"\r\nbody", 2), (b"A: b\r\n\r\nx", 8), (b"A: b\r\n", None), (b"", None), (b"A: b\n\nx", None)]
)
def test_where_the_header_ends(octets: bytes, end: int | None) -> None:
    assert fetch.header_end(octets) == end
