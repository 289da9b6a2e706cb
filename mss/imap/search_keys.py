"""SEARCH, SORT and THREAD: the program as a tree, result options, criteria (RFC 3501 §6.4.4, 4731, 5032, 5256)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from mss.errors import Malformed
from mss.imap import commands as c
from mss.imap.lexer import MODSEQ_MAX, NUMBER_MAX, Cursor
from mss.imap.modifiers import read_places
from mss.imap.options import Algorithm, Criterion, Returns, SortField

CHARSETS: Final = ("US-ASCII", "UTF-8")


class UnknownCharset(Malformed):
    """The charset of a SEARCH is none of `CHARSETS`."""


def read_search(cursor: Cursor, *, uid: bool = False) -> c.Search:
    """Read SEARCH's arguments; the charset is checked, texts are always read as UTF-8."""
    cursor.space()
    returns = _read_returns(cursor)
    if cursor.skip(b"CHARSET "):
        if "UTF8=ACCEPT" in cursor.enabled:
            raise Malformed("All texts are in UTF-8 now")
        _read_charset(cursor)
    key = _all_of(cursor)
    return c.Search(key, uid, has_modseq(key), returns)


def read_sort(cursor: Cursor, *, uid: bool = False) -> c.Sort:
    """Read SORT's arguments; its charset must stand."""
    cursor.space()
    returns = _read_returns(cursor)
    criteria = cursor.items(_read_criterion)
    cursor.space()
    _read_charset(cursor)
    key = _all_of(cursor)
    return c.Sort(criteria, key, uid, has_modseq(key), returns)


def read_thread(cursor: Cursor, *, uid: bool = False) -> c.Thread:
    """Read THREAD's arguments."""
    cursor.space()
    name = cursor.word()
    if name not in Algorithm.__members__:
        raise Malformed("Unknown threading algorithm")
    cursor.space()
    _read_charset(cursor)
    return c.Thread(Algorithm[name], _all_of(cursor), uid)


def _read_charset(cursor: Cursor) -> None:
    if cursor.astring().decode("ascii", "replace").upper() not in CHARSETS:
        raise UnknownCharset("Unknown charset")
    cursor.space()


def _read_criterion(cursor: Cursor) -> Criterion:
    word = cursor.word()
    reverse = word == "REVERSE"
    if reverse:
        cursor.space()
        word = cursor.word()
    if word not in SortField.__members__:
        raise Malformed("Unknown sort criterion")
    return Criterion(SortField(word), reverse)


def _read_returns(cursor: Cursor) -> Returns | None:
    """Read result options with the space after them; an empty list asks for ALL (RFC 4731 §3.1)."""
    if not cursor.skip(b"RETURN "):
        return None
    found: dict[str, tuple[int, int] | None] = {}
    if not cursor.skip(b"()"):
        found = dict(cursor.items(_read_option))
    cursor.space()
    if "PARTIAL" in found and "ALL" in found:
        raise Malformed("Either ALL or PARTIAL")
    return Returns(
        min="MIN" in found,
        max="MAX" in found,
        all="ALL" in found or not found,
        count="COUNT" in found,
        save="SAVE" in found,
        partial=found.get("PARTIAL"),
    )


def _read_option(cursor: Cursor) -> tuple[str, tuple[int, int] | None]:
    name = cursor.word()
    if name == "PARTIAL":
        cursor.space()
        return name, read_places(cursor)
    if name not in ("MIN", "MAX", "ALL", "COUNT", "SAVE"):
        raise Malformed("Unknown result option")
    return name, None


def has_modseq(key: c.Key) -> bool:
    """Say whether a MODSEQ key stands in the program."""
    match key:
        case c.ModseqFrom():
            return True
        case c.And(keys):
            return any(map(has_modseq, keys))
        case c.Or(left, right):
            return has_modseq(left) or has_modseq(right)
        case c.Not(inner):
            return has_modseq(inner)
        case _:
            return False


def _all_of(cursor: Cursor) -> c.Key:
    keys = [_key(cursor)]
    while cursor.skip(b" "):
        keys.append(_key(cursor))
    return keys[0] if len(keys) == 1 else c.And(tuple(keys))


def _key(cursor: Cursor) -> c.Key:
    cursor.count()
    if cursor.skip(b"("):
        key = cursor.nested(_all_of)
        cursor.expect(b")")
        return key
    if cursor.sees_digit() or cursor.sees(b"*") or cursor.sees(b"$"):
        return c.Numbers(cursor.sequence_set(), uid=False)
    word = cursor.word()
    if word in _FIXED:
        return _FIXED[word]
    if word in _WITH_ARGUMENT:
        cursor.space()
        return _WITH_ARGUMENT[word](cursor)
    raise Malformed("Unknown search key")


def _not(cursor: Cursor) -> c.Key:
    return c.Not(cursor.nested(_key))


def _or(cursor: Cursor) -> c.Key:
    left = cursor.nested(_key)
    cursor.space()
    return c.Or(left, cursor.nested(_key))


def _header(cursor: Cursor) -> c.Key:
    name = cursor.utf8().lower()
    cursor.space()
    return c.HeaderHas(name, cursor.utf8())


def _modseq(cursor: Cursor) -> c.Key:
    """Read MODSEQ; the entry of a single flag is answered with the letter's MODSEQ, which the standard allows."""
    if cursor.sees(b'"'):
        cursor.string()
        cursor.space()
        if cursor.word() not in ("ALL", "PRIV", "SHARED"):
            raise Malformed("Unknown entry type")
        cursor.space()
    return c.ModseqFrom(cursor.number(MODSEQ_MAX))


def _within(*, older: bool) -> Callable[[Cursor], c.Key]:
    def read(cursor: Cursor) -> c.Key:
        seconds = cursor.number(NUMBER_MAX)
        if not seconds:
            raise Malformed("Expected a number above 0")
        return c.Within(seconds, older)

    return read


def _field(name: str) -> Callable[[Cursor], c.Key]:
    return lambda cursor: c.HeaderHas(name, cursor.utf8())


def _arrived(order: c.Order) -> Callable[[Cursor], c.Key]:
    return lambda cursor: c.Arrived(order, cursor.date())


def _sent(order: c.Order) -> Callable[[Cursor], c.Key]:
    return lambda cursor: c.Sent(order, cursor.date())


def _saved(order: c.Order) -> Callable[[Cursor], c.Key]:
    return lambda cursor: c.Saved(order, cursor.date())


def _flag(name: str) -> c.Key:
    return c.HasFlag("\\" + name)


_FIXED: Final[Mapping[str, c.Key]] = {
    "ALL": c.All(),
    "ANSWERED": _flag("Answered"),
    "DELETED": _flag("Deleted"),
    "DRAFT": _flag("Draft"),
    "FLAGGED": _flag("Flagged"),
    "SEEN": _flag("Seen"),
    "UNANSWERED": c.Not(_flag("Answered")),
    "UNDELETED": c.Not(_flag("Deleted")),
    "UNDRAFT": c.Not(_flag("Draft")),
    "UNFLAGGED": c.Not(_flag("Flagged")),
    "UNSEEN": c.Not(_flag("Seen")),
    # \Recent is given to nobody (RFC 9051 dropped it): see `commands.All`.
    "NEW": c.All(False),
    "RECENT": c.All(False),
    "OLD": c.All(True),
    "SAVEDATESUPPORTED": c.All(True),
}

_WITH_ARGUMENT: Final[Mapping[str, Callable[[Cursor], c.Key]]] = {
    "NOT": _not,
    "OR": _or,
    "HEADER": _header,
    "MODSEQ": _modseq,
    "BCC": _field("bcc"),
    "CC": _field("cc"),
    "FROM": _field("from"),
    "SUBJECT": _field("subject"),
    "TO": _field("to"),
    "BODY": lambda cursor: c.BodyHas(cursor.utf8(), header=False),
    "TEXT": lambda cursor: c.BodyHas(cursor.utf8(), header=True),
    "BEFORE": _arrived(c.Order.BEFORE),
    "ON": _arrived(c.Order.ON),
    "SINCE": _arrived(c.Order.SINCE),
    "SENTBEFORE": _sent(c.Order.BEFORE),
    "SENTON": _sent(c.Order.ON),
    "SENTSINCE": _sent(c.Order.SINCE),
    "SAVEDBEFORE": _saved(c.Order.BEFORE),
    "SAVEDON": _saved(c.Order.ON),
    "SAVEDSINCE": _saved(c.Order.SINCE),
    "EMAILID": lambda cursor: c.Named(cursor.word_as_is(), thread=False),
    "THREADID": lambda cursor: c.Named(cursor.word_as_is(), thread=True),
    "LARGER": lambda cursor: c.Larger(cursor.number(NUMBER_MAX)),
    "SMALLER": lambda cursor: c.Smaller(cursor.number(NUMBER_MAX)),
    "OLDER": _within(older=True),
    "YOUNGER": _within(older=False),
    "KEYWORD": lambda cursor: c.HasFlag(cursor.flag()),
    "UNKEYWORD": lambda cursor: c.Not(c.HasFlag(cursor.flag())),
    "UID": lambda cursor: c.Numbers(cursor.sequence_set(), uid=True),
}
