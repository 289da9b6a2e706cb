"""What SORT and THREAD know of a letter, made once and kept sealed beside it; and SORT itself (RFC 5256, RFC 5957).

A form is made from the stored ENVELOPE and the header's References field. Nothing here asks the store.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from mss.clock import to_us
from mss.imap.options import Criterion, SortField
from mss.imap.structure import Node, read_tree, string
from mss.mail import collation, headers
from mss.mail.subjects import base_subject
from mss.model.message import Message
from mss.services.mailbox import Row

# How many references of one letter count; the last ones are those next to it.
REFERENCES_MAX: Final = 200
_KEY_MAX_CHARACTERS: Final = 1000


@dataclass(frozen=True, slots=True)
class Form:
    """What is kept of a letter. Texts are collation keys; `sent_us` None without a legible date; `senders` and the
    like are the local part of a field's first address, `shown_…` its name or else the whole address."""

    sent_us: int | None
    subject: str
    is_reply: bool
    sender: str
    to: str
    cc: str
    shown_sender: str
    shown_to: str
    message_id: str
    references: Sequence[str]


def make(envelope: bytes, header: Message) -> bytes:
    """Return the form of a letter as octets."""
    fields = read_tree(envelope)
    sent = headers.date(_text(fields, 0))
    subject, is_reply = base_subject(headers.decode_text(_text(fields, 1)))
    people = {index: _first(fields, index) for index in (2, 5, 6)}
    values = [
        None if sent is None else to_us(sent),
        collation.key(subject),
        is_reply,
        *(_key(people[index][1]) for index in (2, 5, 6)),
        *(_key(_shown(*people[index])) for index in (2, 5)),
        next(iter(headers.message_ids(_text(fields, 9))), ""),
        _references(header, _text(fields, 8)),
    ]
    return json.dumps(values, separators=(",", ":")).encode("ascii")


def read(octets: bytes) -> Form:
    """Return a form from its octets."""
    return Form(*json.loads(octets))


def _references(header: Message, in_reply_to: bytes) -> list[str]:
    """Return the letters that a letter refers to, the nearest last (RFC 5256 §3, REFERENCES step 1)."""
    found = [one for raw in header.headers("references") for one in headers.message_ids(raw)]
    if not found:
        found = list(headers.message_ids(in_reply_to))[:1]
    return found[-REFERENCES_MAX:]


def _text(fields: Node, index: int) -> bytes:
    value = fields[index] if index < len(fields) else b"NIL"
    return (string(value) or b"") if isinstance(value, bytes) else b""


def _first(fields: Node, index: int) -> tuple[bytes, bytes, bytes]:
    """Return (name, local part, domain) of a field's first address."""
    people = fields[index] if index < len(fields) else []
    first = people[0] if isinstance(people, list) and people else []
    parts = [string(part) or b"" if isinstance(part, bytes) else b"" for part in first] if first else []
    name, _, local, domain = (*parts, b"", b"", b"", b"")[:4]
    return name, local, domain


def _shown(name: bytes, local: bytes, domain: bytes) -> bytes:
    return name or (local + b"@" + domain if domain else local)


def _key(raw: bytes) -> str:
    return collation.key(headers.decode_text(raw)[:_KEY_MAX_CHARACTERS])


# --- SORT ---


@dataclass(frozen=True, slots=True)
class Sortable:
    """One letter to be put in order."""

    number: int
    row: Row
    form: Form

    @property
    def sent_us(self) -> int:
        """When it was sent; when it came, where its date cannot be read (RFC 5256 §2.2)."""
        return self.row.internal_date_us if self.form.sent_us is None else self.form.sent_us


_KEYS: Final[dict[SortField, Callable[[Sortable], int | str]]] = {
    SortField.ARRIVAL: lambda letter: letter.row.internal_date_us,
    SortField.CC: lambda letter: letter.form.cc,
    SortField.DATE: lambda letter: letter.sent_us,
    SortField.FROM: lambda letter: letter.form.sender,
    SortField.SIZE: lambda letter: letter.row.size_octets,
    SortField.SUBJECT: lambda letter: letter.form.subject,
    SortField.TO: lambda letter: letter.form.to,
    SortField.DISPLAYFROM: lambda letter: letter.form.shown_sender,
    SortField.DISPLAYTO: lambda letter: letter.form.shown_to,
}
_FROM_ROWS: Final = frozenset({SortField.ARRIVAL, SortField.SIZE})


def needs_forms(criteria: Sequence[Criterion]) -> bool:
    """Say whether more than the letters' rows is needed."""
    return any(each.field not in _FROM_ROWS for each in criteria)


def in_order(letters: list[Sortable], criteria: Sequence[Criterion]) -> list[Sortable]:
    """Return letters in the order of the criteria; equal ones stay as they stand in the mailbox."""
    found = letters
    for each in reversed(criteria):
        found = sorted(found, key=_KEYS[each.field], reverse=each.reverse)
    return found
