"""The address lists of header fields, read tolerantly and in linear time (RFC 5322 §3.4, §4.4).

It gives raw octets: decoding names is `mail.headers`'s work, and whether an address is valid is
`model.address`'s. Where a list is ambiguous it finds more addresses rather than fewer, so that a check
on all of them cannot be fooled by the one it did not see.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final, NamedTuple

from mss.mail.remembered import remembered

# A hostile field of nothing but separators costs no more than so many steps per address allowed.
_TOKENS_PER_ADDRESS: Final = 50
_TOKEN = re.compile(
    rb"""
    [ \t\r\n\x00]*+ (?:
      "((?:[^"\\]++|\\.)*+)"?        # 1: a quoted string, perhaps without its end
    | (\()                           # 2: a comment begins
    | ([<>@,;:])                     # 3: what structures a list
    | (\[[^\]\s\x00<>,\\]*+\]?)      # 4: a domain literal
    | ([^\s\x00()<>\[\]:;@\\,"]++)   # 5: atoms with their dots
    | .                              # garbage
    )
    """,
    re.VERBOSE | re.DOTALL,
)
# The forms that nearly all addresses have: `Name of words <local@domain>`, `"Name" <local@domain>`, `local@domain`.
_ATOM: Final = rb"[^\s\x00()<>\[\]:;@\\,\"]++"
_COMMON = re.compile(
    rb"[ \t\r\n]*+(?:(?:\"([^\"\\]++)\"|(%b(?:[ ]%b)*+))[ \t\r\n]*+<(%b)@(%b)>|(%b)@(%b))[ \t\r\n]*+(,|\Z)"
    % ((_ATOM,) * 6)
)
_COMMENT_EDGE = re.compile(rb"\\.?|[()]", re.DOTALL)
_ESCAPED = re.compile(rb"\\(.)", re.DOTALL)


class Kind(Enum):
    """What an entry of an address list is."""

    MAILBOX = auto()
    GROUP_START = auto()
    GROUP_END = auto()


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry, as octets: `name` is unquoted but not decoded; for a group's start it is the group's name.

    `local` is unquoted; what the field did not have is None. `route` is an obsolete source route.
    """

    kind: Kind
    name: bytes | None = None
    local: bytes | None = None
    domain: bytes | None = None
    route: bytes | None = None


class _Token(NamedTuple):
    """`kind` is "word", "quoted", "comment" or the separator itself; `spaced` says that a space came before."""

    kind: str
    octets: bytes
    spaced: bool


_END: Final = _Token("end", b"", False)
# What stands in no name and no address.
_SILENT: Final = frozenset({"comment", "<", ">"})


@remembered
def parse(raw: bytes, addresses_max: int) -> tuple[Entry, ...]:
    """Return the entries of an address list; reading stops after `addresses_max` mailboxes."""
    common = _common(raw, addresses_max)
    return tuple(_any(raw, addresses_max) if common is None else common)


def _common(raw: bytes, addresses_max: int) -> list[Entry] | None:
    """Return what `_any` would, where every mailbox has a common form; None elsewhere."""
    entries: list[Entry] = []
    at, more = 0, True
    while more:
        match = _COMMON.match(raw, at)
        if match is None or len(entries) >= addresses_max:
            return None
        quoted, words, local, domain, bare, bare_domain, comma = match.groups()
        if bare is None:
            entries.append(Entry(Kind.MAILBOX, words or quoted, local, domain))
        else:
            entries.append(Entry(Kind.MAILBOX, None, bare, bare_domain))
        at, more = match.end(), bool(comma)
    return entries


def _any(raw: bytes, addresses_max: int) -> list[Entry]:
    entries: list[Entry] = []
    group_open = False
    for pending, separator in _segments(raw, addresses_max * _TOKENS_PER_ADDRESS):
        if separator == ":":
            entries.append(Entry(Kind.GROUP_START, name=_phrase(pending) or b""))
            group_open = True
        else:
            entries.extend(_mailboxes(pending))
        if separator == ";" and group_open:
            entries.append(Entry(Kind.GROUP_END))
            group_open = False
        if len(entries) >= addresses_max:
            break
    del entries[addresses_max:]
    return [*entries, Entry(Kind.GROUP_END)] if _open_groups(entries) else entries


def _open_groups(entries: list[Entry]) -> bool:
    marks = [entry.kind for entry in entries if entry.kind is not Kind.MAILBOX]
    return bool(marks) and marks[-1] is Kind.GROUP_START


def _segments(raw: bytes, tokens_max: int) -> Iterator[tuple[list[_Token], str]]:
    """Yield what stands between separators, each with the separator that ended it ("" at the end).

    A colon ends a group's name where a group can begin; elsewhere it separates like a comma. Between angle
    brackets colons belong to the address, and commas as long as it begins with a route: `<@a,@b:user@host>`.
    """
    pending: list[_Token] = []
    in_angle = in_route = in_group = has_address = False
    for token in _tokens(raw, tokens_max):
        separator = token.kind if token.kind in ",;:" else ""
        if separator and not (in_angle and (separator == ":" or (separator == "," and in_route))):
            if separator == ":" and (in_group or has_address):
                separator = ","
            in_group = (in_group and separator == ",") or separator == ":"
            yield pending, separator
            pending, in_angle, has_address = [], False, False
            continue
        in_route = separator != ":" and (in_route or (token.kind == "@" and _just_opened(pending)))
        if token.kind in "<>":
            in_angle, in_route = token.kind == "<", False
        has_address = has_address or token.kind in "@<"
        pending.append(token)
    yield pending, ""


def _just_opened(pending: list[_Token]) -> bool:
    return bool(pending) and pending[-1].kind == "<"


def _tokens(raw: bytes, tokens_max: int) -> Iterator[_Token]:
    at, last_end = 0, 0
    size = len(raw)
    while at < size and tokens_max > 0:
        match = _TOKEN.match(raw, at)
        if match is None:  # only white space is left
            return
        at, tokens_max = match.end(), tokens_max - 1
        group = match.lastindex
        spaced = raw[last_end : last_end + 1] in _SPACES
        if group == 2:
            content, at = _comment(raw, at)
            yield _Token("comment", content, spaced)
        elif group is not None:
            yield _token(group, match, spaced)
        last_end = at


_SPACES: Final = frozenset({b" ", b"\t", b"\r", b"\n"})


def _token(group: int, match: re.Match[bytes], spaced: bool) -> _Token:
    octets = match[group]
    if group == 1:
        return _Token("quoted", _ESCAPED.sub(rb"\1", octets) if b"\\" in octets else octets, spaced)
    return _Token(octets.decode("ascii") if group == 3 else "word", octets, spaced)


def _comment(raw: bytes, start: int) -> tuple[bytes, int]:
    """Return a comment's content and where it ends; `start` is after its opening parenthesis."""
    depth = 1
    for edge in _COMMENT_EDGE.finditer(raw, start):
        depth += {b"(": 1, b")": -1}.get(edge[0], 0)
        if not depth:
            return _ESCAPED.sub(rb"\1", raw[start : edge.start()]), edge.end()
    return raw[start:], len(raw)


def _mailboxes(tokens: list[_Token]) -> list[Entry]:
    """Return the mailboxes of one segment: one as a rule, more when a comma was forgotten, none when empty."""
    entries: list[Entry] = []
    comment = next((token.octets for token in reversed(tokens) if token.kind == "comment"), None)
    start, opening = 0, -1
    for i, token in enumerate([*tokens, _END]):
        if token.kind == "<" and opening < 0:
            opening = i
        elif token.kind in (">", "end") and opening >= 0:
            name = _phrase(tokens[start:opening]) or (None if entries else comment)
            entries.append(_angle(name, tokens[opening + 1 : i]))
            start, opening = i + 1, -1
    rest = tokens[start:]
    if not entries or any(token.kind == "@" for token in rest):
        entries.extend(_loose(rest, comment))
    return entries


def _phrase(tokens: Sequence[_Token]) -> bytes | None:
    """Return the words of a display name, one space where the field had any; None without words."""
    words = [token for token in tokens if token.kind not in _SILENT]
    if not words:
        return None
    spaced = (b" " + token.octets if token.spaced else token.octets for token in words[1:])
    return words[0].octets + b"".join(spaced)


def _dotted(tokens: Sequence[_Token]) -> bytes | None:
    """Return the words of a local part, without the spaces that obsolete forms have around dots."""
    glued = [
        token._replace(spaced=token.spaced and not (_glues(token) or _glues(before)))
        for before, token in zip([*tokens[:1], *tokens], tokens, strict=False)
    ]
    return _phrase(glued)


def _angle(name: bytes | None, tokens: list[_Token]) -> Entry:
    """Read what stands between angle brackets: a route perhaps, then an addr-spec."""
    kinds = [token.kind for token in tokens]
    route = None
    if kinds[:1] == ["@"] and ":" in kinds:
        colon = kinds.index(":")
        route = b"".join(token.octets for token in tokens[:colon])
        tokens = tokens[colon + 1 :]
    local, domain = _addr_spec(tokens)
    return Entry(Kind.MAILBOX, name, local, domain, route)


def _addr_spec(tokens: Sequence[_Token]) -> tuple[bytes | None, bytes | None]:
    """Return local part and domain: all before the first @, all after it; None where nothing stands."""
    words = [token for token in tokens if token.kind not in _SILENT]
    at = next((i for i, token in enumerate(words) if token.kind == "@"), len(words))
    domain = b"".join(token.octets for token in words[at + 1 :])
    return _dotted(words[:at]), domain or None


def _loose(tokens: Sequence[_Token], comment: bytes | None) -> list[Entry]:
    """Read addresses that have no angle brackets; words before the first one are its name.

    A single word is taken for a local part without its domain, several words for a name without address.
    """
    entries: list[Entry] = []
    before: list[_Token] = []
    words_in_first = 0
    for chunk in _chunks(tokens):
        if any(token.kind == "@" for token in chunk):
            name = (_phrase(before) or comment) if not entries else None
            entries.append(Entry(Kind.MAILBOX, name, *_addr_spec(chunk)))
        else:
            words_in_first = words_in_first or len(chunk)
            before.extend(chunk)
    if entries or not before:
        return entries
    if len(before) > words_in_first:
        return [Entry(Kind.MAILBOX, _phrase(before))]
    return [Entry(Kind.MAILBOX, comment, _phrase(before))]


def _chunks(tokens: Sequence[_Token]) -> Iterator[list[_Token]]:
    """Split at spaces, save around @ and around dots that stand alone (obsolete forms)."""
    chunk: list[_Token] = []
    for token in tokens:
        if token.kind in _SILENT:
            continue
        if chunk and token.spaced and not (_glues(token) or _glues(chunk[-1])):
            yield chunk
            chunk = []
        chunk.append(token)
    if chunk:
        yield chunk


def _glues(token: _Token) -> bool:
    return token.kind == "@" or token.octets == b"."
