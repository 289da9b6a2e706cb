"""A letter read once: index, IMAP forms, addresses, markers and documents. Pure, no unit of work.

It is computed before a unit begins (off the loop for large letters) and travels into it as a value, also
between processes. No letter, however broken, makes it fail.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from mss.config import Limits
from mss.model.address import Address
from mss.model.document import Submission
from mss.model.message import Message


@dataclass(frozen=True, slots=True)
class NamedAddress:
    """A mailbox of a header field: display name (may be empty) and address."""

    name: str
    address: Address


@dataclass(frozen=True, slots=True)
class Reading:
    """What the services need to know of a letter.

    `envelope`, `bodystructure`: the octets that IMAP sends (RFC 9051). `preview`: up to 256 characters of
    text. `submission` is None when documents were not looked for. `closing`: subject `[FIN]`; `answerable`:
    no `X-MSS-MES: FIN`. `bad_addresses` counts header addresses that could not be read.
    """

    message: Message
    message_id: str
    references: tuple[str, ...]
    subject: str
    date: datetime | None
    author: tuple[NamedAddress, ...]
    sender: NamedAddress | None
    reply_to: tuple[NamedAddress, ...]
    to: tuple[NamedAddress, ...]
    cc: tuple[NamedAddress, ...]
    envelope: bytes
    bodystructure: bytes
    preview: str
    automatic: bool
    closing: bool
    answerable: bool
    wants_mdn: bool
    has_attachment: bool
    software: str = ""
    bad_addresses: int = 0
    submission: Submission | None = None

    @property
    def octets(self) -> bytes:
        """The letter's octets."""
        return self.message.octets


def read_letter(octets: bytes, limits: Limits, *, documents: bool) -> Reading:
    """Read a letter; `documents` says whether to look for clinical documents too (letters to patients)."""
    raise NotImplementedError
