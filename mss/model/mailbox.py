"""Mailboxes (folders of a box), their messages and their changes (RFC 9051, RFC 7162).

UID and MODSEQ come from one counter row of the mailbox. Flags are a bit set: the system flags have fixed
bits, keywords get bits of their mailbox in order of first use.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from typing import Final

SYSTEM_FLAGS: Final = ("\\Seen", "\\Answered", "\\Flagged", "\\Deleted", "\\Draft")
SEEN, ANSWERED, FLAGGED, DELETED, DRAFT = (1 << bit for bit in range(5))
FIRST_KEYWORD_BIT: Final = 8
KEYWORDS_MAX: Final = 54

INBOX: Final = "INBOX"
# Name of a default mailbox → its SPECIAL-USE attribute (RFC 6154).
DEFAULT_MAILBOXES: Final = {
    INBOX: "", "Drafts": "\\Drafts", "Sent": "\\Sent", "Archive": "\\Archive", "Junk": "\\Junk", "Trash": "\\Trash"
}  # fmt: skip
SPECIAL_USES: Final = frozenset(DEFAULT_MAILBOXES.values()) - {""}


@dataclass(frozen=True, slots=True)
class Mailbox:
    """A folder. `name` is in Unicode with "/" between levels; `modseq` is the highest that was given out.

    `keywords` are in bit order from FIRST_KEYWORD_BIT.
    """

    id: int
    box_id: int
    name: str
    uidvalidity: int
    uidnext: int
    modseq: int
    special_use: str = ""
    subscribed: bool = True
    keywords: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class MailboxMessage:
    """One message as a mailbox sees it. `email_id` is the letter's, the same in all its copies."""

    uid: int
    modseq: int
    flags: int
    internal_date: datetime
    size_octets: int
    email_id: int
    object_id: int


class ChangeKind(IntEnum):
    """What happened to a UID at a MODSEQ."""

    ADDED = 1
    FLAGS = 2
    EXPUNGED = 3


@dataclass(frozen=True, slots=True)
class Change:
    """One line of a mailbox's change log: a run of UIDs (inclusive) that changed at one MODSEQ."""

    modseq: int
    uid_first: int
    uid_last: int
    kind: ChangeKind


@dataclass(frozen=True, slots=True)
class MailboxStatus:
    """What STATUS and SELECT tell (RFC 9051 §6.3.11)."""

    mailbox: Mailbox
    messages: int
    unseen: int
    deleted: int
    size_octets: int
    deleted_octets: int = 0


@dataclass(frozen=True, slots=True)
class Usage:
    """How much a box holds."""

    letters: int
    octets: int


@dataclass(frozen=True, slots=True)
class Quota:
    """What a box may hold; None: no limit (RFC 9208)."""

    octets_max: int | None = None
    letters_max: int | None = None

    def has_room(self, usage: Usage, letters: int, octets: int) -> bool:
        """Whether so much more may come in; what is there already is never refused."""
        too_many = self.letters_max is not None and usage.letters + letters > self.letters_max
        too_much = self.octets_max is not None and usage.octets + octets > self.octets_max
        return not (too_many or too_much)

    def share(self, usage: Usage) -> float:
        """Return how much of it is used up, of octets or of letters, whichever is more; 0 without a limit."""
        used = ((usage.letters, self.letters_max), (usage.octets, self.octets_max))
        return max((held / most if most else 1.0 for held, most in used if most is not None), default=0.0)


@dataclass(frozen=True, slots=True)
class Expunged:
    """A letter that was expunged from a mailbox; `flags` are bits, `keywords` the mailbox's in bit order."""

    box_id: int
    mailbox: str
    flags: int
    keywords: tuple[str, ...]
    internal_date: datetime
    size_octets: int
    object_id: int
    expunged_at: datetime
    id: int = 0
