"""The words of LIST, STATUS and CREATE (RFC 5258, RFC 5819, RFC 6154, RFC 8438, RFC 8474, RFC 9590)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, TypeVar

from mss.errors import Malformed
from mss.imap import commands as c
from mss.imap.commands import Selection, StatusItem, Wanted
from mss.imap.lexer import Cursor
from mss.imap.metadata_words import read_entries

W = TypeVar("W", Selection, Wanted)

_SELECTIONS: Final[Mapping[str, Selection]] = {
    "SUBSCRIBED": Selection.SUBSCRIBED,
    "REMOTE": Selection.REMOTE,
    "RECURSIVEMATCH": Selection.RECURSIVEMATCH,
    "SPECIAL-USE": Selection.SPECIAL_USE,
}
_WANTED: Final[Mapping[str, Wanted]] = {
    "SUBSCRIBED": Wanted.SUBSCRIBED,
    "CHILDREN": Wanted.CHILDREN,
    "SPECIAL-USE": Wanted.SPECIAL_USE,
}


def read_list(cursor: Cursor) -> c.List:
    """Read LIST, in its old form or with options."""
    cursor.space()
    selection = Selection.NONE
    if cursor.sees(b"("):
        selection = _any_of(cursor, _SELECTIONS, Selection.NONE)
        cursor.space()
    reference = cursor.mailbox_or_empty()
    cursor.space()
    several = cursor.sees(b"(")
    patterns = cursor.items(Cursor.list_mailbox) if several else (cursor.list_mailbox(),)
    wanted, status, entries = _return(cursor) if cursor.skip(b" ") else (Wanted.NONE, (), ())
    # RFC 5258 §3: nothing but these lets RECURSIVEMATCH mean something.
    if Selection.RECURSIVEMATCH in selection and not selection & (Selection.SUBSCRIBED | Selection.SPECIAL_USE):
        raise Malformed("RECURSIVEMATCH needs something to match")
    if patterns == ("",) and not several:
        # The empty pattern asks for the hierarchy delimiter (RFC 3501 §6.3.8).
        return c.List((), selection, wanted, status, entries)
    named = tuple(reference + pattern for pattern in patterns if pattern)
    return c.List(named, selection, wanted, status, entries)


def _any_of(cursor: Cursor, known: Mapping[str, W], nothing: W) -> W:
    """Read a list of known words, which may be empty."""
    found = nothing
    for word in () if cursor.skip(b"()") else cursor.items(Cursor.word):
        if word not in known:
            raise Malformed("Unknown LIST option")
        found |= known[word]
    return found


def _return(cursor: Cursor) -> tuple[Wanted, tuple[StatusItem, ...], tuple[str, ...]]:
    cursor.expect(b"RETURN")
    cursor.space()
    wanted, status, entries = Wanted.NONE, tuple[StatusItem, ...](), tuple[str, ...]()
    if cursor.skip(b"()"):
        return wanted, status, entries
    for option in cursor.items(_return_option):
        match option:
            case Wanted():
                wanted |= option
            case _Entries(names):
                entries = names
            case _:
                status = option
    return wanted, status, entries


@dataclass(frozen=True, slots=True)
class _Entries:
    """What METADATA asks of each mailbox."""

    names: tuple[str, ...]


def _return_option(cursor: Cursor) -> Wanted | tuple[StatusItem, ...] | _Entries:
    word = cursor.word()
    if word == "METADATA":
        cursor.space()
        return _Entries(read_entries(cursor))
    if word == "STATUS":
        cursor.space()
        return read_status_items(cursor)
    if word not in _WANTED:
        raise Malformed("Unknown LIST option")
    return _WANTED[word]


def read_status_items(cursor: Cursor) -> tuple[StatusItem, ...]:
    """Read what STATUS is to tell, each once."""
    return tuple(dict.fromkeys(cursor.items(_status_item)))


def _status_item(cursor: Cursor) -> StatusItem:
    try:
        return StatusItem(cursor.word())
    except ValueError as error:
        raise Malformed("Unknown status item") from error


def read_create(cursor: Cursor) -> c.Create:
    """Read CREATE with its parameters."""
    cursor.space()
    mailbox = bare_name(cursor)
    return c.Create(mailbox, _uses(cursor) if cursor.skip(b" ") else ())


def _uses(cursor: Cursor) -> tuple[str, ...]:
    cursor.expect(b"(USE")
    cursor.space()
    uses = cursor.flags()
    cursor.expect(b")")
    return uses


def bare_name(cursor: Cursor) -> str:
    """Read a mailbox name; a delimiter at its end says that children will follow (RFC 3501 §6.3.3), no more."""
    name = cursor.mailbox().rstrip("/")
    if not name:
        raise Malformed("A mailbox needs a name")
    return name
