"""Read back the ENVELOPE and BODYSTRUCTURE octets that were stored at delivery (RFC 3501 §7.4.2).

It makes BODY out of BODYSTRUCTURE, and the fields of an envelope for SEARCH. What it cannot read is left out.
"""

from __future__ import annotations

import re
from datetime import date
from typing import Final

from mss.mail import headers

_TOKEN: Final = re.compile(rb'\(|\)|"(?:[^"\\]|\\.)*"|\{(\d+)\}\r\n|[^ ()"{]+| ', re.DOTALL)
_ESCAPE: Final = re.compile(rb"\\(.)", re.DOTALL)

Node = list["bytes | Node"]


def read_tree(octets: bytes) -> Node:
    """Return a parenthesised list as lists of lists and of tokens as written."""
    stack: list[Node] = [[]]
    at = 0
    while at < len(octets):
        match = _TOKEN.match(octets, at)
        if match is None:
            break
        at = _take_token(octets, match, stack)
    first = stack[0][0] if stack[0] else []
    return first if isinstance(first, list) else []


def _take_token(octets: bytes, match: re.Match[bytes], stack: list[Node]) -> int:
    token, end = match.group(), match.end()
    if token == b"(":
        node: Node = []
        stack[-1].append(node)
        stack.append(node)
    elif token == b")":
        if len(stack) > 1:
            stack.pop()
    elif match.group(1) is not None:
        end += int(match.group(1))
        stack[-1].append(octets[match.start() : end])
    elif token != b" ":
        stack[-1].append(token)
    return end


def write_tree(node: Node) -> bytes:
    """Return a tree as octets again."""
    pieces: list[bytes] = []
    only_lists = True
    for child in node:
        only_lists = only_lists and isinstance(child, list)
        # Parts of a multipart and addresses of a field stand side by side without a space.
        if pieces and not only_lists:
            pieces.append(b" ")
        pieces.append(write_tree(child) if isinstance(child, list) else child)
    return b"(" + b"".join(pieces) + b")"


# --- BODY ---


def without_extensions(bodystructure: bytes) -> bytes:
    """Return BODY from BODYSTRUCTURE: the same tree without its extension data."""
    return write_tree(_cut(read_tree(bodystructure)))


def _cut(node: Node) -> Node:
    """Keep the basic fields of one body; a multipart is its parts and its subtype."""
    if node and isinstance(node[0], list):
        count = _leading_lists(node)
        return [*(_cut(child) for child in node[:count] if isinstance(child, list)), *node[count : count + 1]]
    kind = _word(node, 0), _word(node, 1)
    if kind == (b"MESSAGE", b"RFC822"):
        inner = node[8] if len(node) > 8 else []
        return [*node[:8], _cut(inner) if isinstance(inner, list) else inner, *node[9:10]]
    return node[:8] if kind[0] == b"TEXT" else node[:7]


def _leading_lists(node: Node) -> int:
    count = 0
    while count < len(node) and isinstance(node[count], list):
        count += 1
    return count


def _word(node: Node, index: int) -> bytes:
    value = node[index] if index < len(node) else b""
    return value.strip(b'"').upper() if isinstance(value, bytes) else b""


# --- ENVELOPE ---

_FIELDS: Final = ("date", "subject", "from", "sender", "reply-to", "to", "cc", "bcc", "in-reply-to", "message-id")
_ADDRESSES: Final = frozenset({"from", "sender", "reply-to", "to", "cc", "bcc"})
ENVELOPE_FIELDS: Final = frozenset(_FIELDS)


def envelope_field(envelope: bytes, name: str) -> str | None:
    """Return a field of an envelope as text, encoded words decoded; None when the letter has none."""
    written = _element(envelope, _FIELDS.index(name))
    if not written.startswith(b"("):
        value = string(written)
        return None if value is None else headers.decode_text(value)
    people = read_tree(written) if name in _ADDRESSES else []
    return ", ".join(_address(each) for each in people if isinstance(each, list)) or None


def _element(envelope: bytes, wanted: int) -> bytes:
    """Return one element of a list as written, reading no further than needed; NIL when there is none."""
    at, depth, start = 1, 0, 1
    while match := _TOKEN.match(envelope, at):
        token = match.group()
        if depth == 0:
            start = at
        at = match.end() + int(match.group(1) or 0)
        depth += (token == b"(") - (token == b")")
        if depth < 0:
            break
        if depth == 0 and token != b" ":
            if wanted == 0:
                return envelope[start:at]
            wanted -= 1
    return b"NIL"


def _address(node: Node) -> str:
    """Return one address structure (name, route, local part, domain) as people write it."""
    name, _, local, domain = ([string(item) if isinstance(item, bytes) else None for item in node] + [None] * 4)[:4]
    spec = b"%b@%b" % (local or b"", domain) if domain else (local or b"")
    return f"{headers.decode_text(name)} <{headers.decode_text(spec)}>" if name else headers.decode_text(spec)


def string(token: bytes) -> bytes | None:
    """Return the octets of a string as written in an envelope; None for NIL."""
    if token.startswith(b'"'):
        return _ESCAPE.sub(rb"\1", token[1:-1])
    if token.startswith(b"{"):
        return token.partition(b"\r\n")[2]
    return None if token.upper() == b"NIL" else token


def sent_day(envelope: bytes) -> date | None:
    """Return the day of the Date field as written, without its time and zone."""
    sent = headers.date((envelope_field(envelope, "date") or "").encode("utf-8"))
    return sent.date() if sent else None
