"""Evaluate a search program (RFC 3501 §6.4.4): first from rows, then from octets, only where rows cannot decide.

Truth has three values here: True, False, and None, "not without the letter's octets". FROM, TO, CC, BCC, SUBJECT and
the SENT keys look into the stored ENVELOPE, as the standard words them. It asks nothing of the store.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from functools import lru_cache
from typing import Final, Protocol

from mss.imap import commands as c
from mss.imap import responses
from mss.imap.responses import flag_bit
from mss.imap.structure import ENVELOPE_FIELDS, envelope_field, sent_day
from mss.imap.view import Runs, View
from mss.mail import headers, searchtext
from mss.model.message import Message

Truth = bool | None


class Row(Protocol):
    """What the store knows of a letter without its octets."""

    @property
    def uid(self) -> int: ...
    @property
    def modseq(self) -> int: ...
    @property
    def flags(self) -> int: ...
    @property
    def internal_date_us(self) -> int: ...
    @property
    def size_octets(self) -> int: ...
    @property
    def envelope(self) -> bytes: ...
    @property
    def saved_at_us(self) -> int: ...
    @property
    def email(self) -> str: ...
    @property
    def thread_id(self) -> int | None: ...


Test = Callable[[Row], Truth]


@dataclass(frozen=True, slots=True)
class Plan:
    """A program ready to run on rows; `leaves` are its tests one by one, for `decide`.

    `candidates`: UIDs outside of which nothing can match. `needs_rows`: UIDs alone do not decide it.
    `needs_body`: more than the header may be needed. `needs_text`: the prepared text decides it, without octets.
    """

    key: c.Key
    test: Test
    leaves: Mapping[c.Key, Test]
    candidates: Runs
    needs_rows: bool
    needs_envelope: bool
    needs_body: bool
    needs_text: bool
    needs_names: bool = False


def plan(key: c.Key, view: View, now_us: int = 0) -> Plan | None:
    """Compile a program for one view; None when it names a sequence number out of range."""
    numbers = _resolved(key, view)
    if numbers is None:
        return None
    leaves = {leaf: _leaf(leaf, view, numbers, now_us) for leaf in _leaves(key)}
    needs_body = any(isinstance(leaf, c.BodyHas) for leaf in leaves)
    everything = ((view.uids[0], view.uids[-1]),) if view.exists else ()
    candidates = _candidates(key, numbers)
    return Plan(
        key=key,
        test=_compile(key, leaves),
        leaves=leaves,
        candidates=everything if candidates is None else candidates,
        needs_rows=any(not isinstance(leaf, c.Numbers | c.All) for leaf in leaves),
        needs_envelope=any(_in_envelope(leaf) for leaf in leaves),
        needs_body=needs_body,
        needs_text=needs_body and not any(_in_other_fields(leaf) for leaf in leaves),
        needs_names=any(isinstance(leaf, c.Saved | c.Named) for leaf in leaves),
    )


def _leaves(key: c.Key) -> Iterator[c.Key]:
    match key:
        case c.And(keys):
            for inner in keys:
                yield from _leaves(inner)
        case c.Or(left, right):
            yield from _leaves(left)
            yield from _leaves(right)
        case c.Not(inner):
            yield from _leaves(inner)
        case _:
            yield key


def _in_envelope(leaf: c.Key) -> bool:
    return isinstance(leaf, c.Sent) or (isinstance(leaf, c.HeaderHas) and leaf.name in ENVELOPE_FIELDS)


def _in_other_fields(leaf: c.Key) -> bool:
    return isinstance(leaf, c.HeaderHas) and leaf.name not in ENVELOPE_FIELDS


Resolved = Mapping[c.Numbers, Runs]


def _resolved(key: c.Key, view: View) -> Resolved | None:
    """Resolve all number sets of a program; None when one is out of range."""
    found = {}
    for leaf in _leaves(key):
        if isinstance(leaf, c.Numbers):
            runs = view.resolve(leaf.messages, uid=leaf.uid)
            if runs is None:
                return None
            found[leaf] = runs
    return found


def _candidates(key: c.Key, numbers: Resolved) -> Runs | None:
    """Return the first number set that must hold, None when there is none."""
    if isinstance(key, c.Numbers):
        return numbers[key]
    if isinstance(key, c.And):
        return next((found for inner in key.keys if (found := _candidates(inner, numbers)) is not None), None)
    return None


# --- from rows ---


def _compile(key: c.Key, leaves: Mapping[c.Key, Test]) -> Test:
    match key:
        case c.And(keys):
            return _every([_compile(inner, leaves) for inner in keys])
        case c.Or(left, right):
            return _either(_compile(left, leaves), _compile(right, leaves))
        case c.Not(inner):
            return _contrary(_compile(inner, leaves))
        case _:
            return leaves[key]


def _leaf(leaf: c.Key, view: View, numbers: Resolved, now_us: int) -> Test:
    match leaf:
        case c.All(value):
            return lambda row: value
        case c.Numbers():
            return _numbers(numbers[leaf])
        case c.HasFlag(flag):
            bit = flag_bit(flag, view.mailbox.keywords)
            return lambda row: bool(row.flags & bit)
        case c.Arrived(order, day):
            return _arrived(order, day, lambda row: row.internal_date_us)
        case c.Saved() | c.Named():
            return _kept(leaf)
        case c.Within(seconds, older):
            since = now_us - seconds * 1_000_000
            return lambda row: (row.internal_date_us <= since) is older
        case c.Larger(octets):
            return lambda row: row.size_octets > octets
        case c.Smaller(octets):
            return lambda row: row.size_octets < octets
        case c.ModseqFrom(modseq):
            return lambda row: row.modseq >= modseq
        case c.Sent(order, day):
            return lambda row: _compares(order, sent_day(row.envelope), day)
        case c.HeaderHas(name, text) if name in ENVELOPE_FIELDS:
            return _envelope_has(name, text)
        case _:
            return lambda row: None


def _every(tests: list[Test]) -> Test:
    def test(row: Row) -> Truth:
        truth: Truth = True
        for each in tests:
            found = each(row)
            if found is False:
                return False
            if found is None:
                truth = None
        return truth

    return test


def _either(left: Test, right: Test) -> Test:
    def test(row: Row) -> Truth:
        first = left(row)
        if first is True:
            return True
        second = right(row)
        return second if second is True or first is False else None

    return test


def _contrary(inner: Test) -> Test:
    def test(row: Row) -> Truth:
        found = inner(row)
        return None if found is None else not found

    return test


def _numbers(runs: Runs) -> Test:
    if len(runs) > 8:
        wanted = frozenset(uid for first, last in runs for uid in range(first, last + 1))
        return lambda row: row.uid in wanted
    return lambda row: any(first <= row.uid <= last for first, last in runs)


_DAY_US: Final = 86_400 * 1_000_000


def _kept(leaf: c.Saved | c.Named) -> Test:
    """Return the test of what the store keeps beside a letter: when it was saved, its names."""
    match leaf:
        case c.Saved(order, day):
            return _arrived(order, day, lambda row: row.saved_at_us)
        case c.Named(name, thread):
            return _named(name, thread=thread)


def _named(name: str, *, thread: bool) -> Test:
    if thread:
        return lambda row: row.thread_id is not None and responses.thread_name(row.thread_id) == name
    return lambda row: responses.email_name(row.email) == name


def _arrived(order: c.Order, day: date, of: Callable[[Row], int]) -> Test:
    start = int(datetime.combine(day, time(), UTC).timestamp()) * 1_000_000
    match order:
        case c.Order.BEFORE:
            return lambda row: of(row) < start
        case c.Order.ON:
            return lambda row: start <= of(row) < start + _DAY_US
        case c.Order.SINCE:
            return lambda row: of(row) >= start


def _compares(order: c.Order, sent: date | None, day: date) -> bool:
    if sent is None:
        return False
    match order:
        case c.Order.BEFORE:
            return sent < day
        case c.Order.ON:
            return sent == day
        case c.Order.SINCE:
            return sent >= day


_WORD: Final = re.compile(rb"[a-z0-9]+")


def _envelope_has(name: str, text: str) -> Test:
    wanted = text.casefold()
    # Where nothing is encoded, an envelope without the words of the text cannot hold the text: no need to read it.
    words = _WORD.findall(wanted.encode("utf-8")) if wanted.isascii() else []

    def test(row: Row) -> Truth:
        envelope = row.envelope
        if words and b"=?" not in envelope and envelope.isascii():
            lowered = envelope.lower()
            if not all(word in lowered for word in words):
                return False
        value = envelope_field(envelope, name)
        return value is not None and wanted in value.casefold()

    return test


# --- from octets, or the text prepared from them ---


class Letter:
    """One letter while it is searched; its prepared text is only needed where the plan needs a body, its octets only
    where the plan needs fields that are not in the ENVELOPE."""

    __slots__ = ("_leaves", "_message", "_row", "_text")

    def __init__(self, row: Row, leaves: Mapping[c.Key, Test], text: bytes, message: Message | None) -> None:
        self._row = row
        self._leaves = leaves
        self._text = text
        self._message = message

    def holds(self, key: c.Key) -> bool:
        """Decide a program for this letter."""
        match key:
            case c.And(keys):
                return all(self.holds(inner) for inner in keys)
            case c.Or(left, right):
                return self.holds(left) or self.holds(right)
            case c.Not(inner):
                return not self.holds(inner)
            case c.HeaderHas(name, text) if name not in ENVELOPE_FIELDS:
                return any(text.casefold() in value for value in self._values(name))
            case c.BodyHas(text, header):
                start = 0 if header else self._text.find(b"\0") + 1
                return self._text.find(_folded(text), start) >= 0
            case _:
                return self._leaves[key](self._row) is True

    def _values(self, name: str) -> Iterator[str]:
        """Yield the values of a header field, decoded and case folded."""
        for raw in self._message.headers(name) if self._message is not None else ():
            yield headers.decode_text(raw).casefold()


_folded = lru_cache(maxsize=64)(searchtext.fold)


def decide(plan: Plan, row: Row, text: bytes, message: Message | None = None) -> bool:
    """Decide a program for a letter that its row left open; only its header where the plan needs no body."""
    return Letter(row, plan.leaves, text, message).holds(plan.key)
