"""Commands about mailboxes: what LIST and STATUS tell, quotas, rights, notes (RFC 5258, 5819, 9208, 4314, 5464).

Like `commands`, which hands them on, they hold what was asked, judged by nobody yet.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Flag, StrEnum, auto

from mss.services.metadata import Wished


class StatusItem(StrEnum):
    """What STATUS can ask for."""

    MESSAGES = "MESSAGES"
    RECENT = "RECENT"
    UIDNEXT = "UIDNEXT"
    UIDVALIDITY = "UIDVALIDITY"
    UNSEEN = "UNSEEN"
    HIGHESTMODSEQ = "HIGHESTMODSEQ"
    SIZE = "SIZE"
    DELETED = "DELETED"
    DELETED_STORAGE = "DELETED-STORAGE"
    MAILBOXID = "MAILBOXID"
    APPENDLIMIT = "APPENDLIMIT"


class Selection(Flag):
    """Which mailboxes LIST selects (RFC 5258 §3.1, RFC 6154 §2)."""

    NONE = 0
    SUBSCRIBED = auto()
    REMOTE = auto()
    RECURSIVEMATCH = auto()
    SPECIAL_USE = auto()


class Wanted(Flag):
    """What LIST tells besides (RFC 5258 §3.2, RFC 6154 §2)."""

    NONE = 0
    SUBSCRIBED = auto()
    CHILDREN = auto()
    SPECIAL_USE = auto()


@dataclass(frozen=True, slots=True)
class List:
    """LIST; without patterns the client asks for the hierarchy delimiter. `status`: a STATUS with each (RFC 5819);
    `entries`: what was noted about each (RFC 9590)."""

    patterns: tuple[str, ...]
    selection: Selection = Selection.NONE
    wanted: Wanted = Wanted.NONE
    status: tuple[StatusItem, ...] = ()
    entries: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class GetQuota:
    """GETQUOTA (RFC 9208)."""

    root: bytes


@dataclass(frozen=True, slots=True)
class GetQuotaRoot:
    """GETQUOTAROOT (RFC 9208)."""

    mailbox: str


@dataclass(frozen=True, slots=True)
class GetAcl:
    """GETACL (RFC 4314)."""

    mailbox: str


@dataclass(frozen=True, slots=True)
class MyRights:
    """MYRIGHTS (RFC 4314)."""

    mailbox: str


@dataclass(frozen=True, slots=True)
class ListRights:
    """LISTRIGHTS (RFC 4314)."""

    mailbox: str
    identifier: bytes


@dataclass(frozen=True, slots=True)
class SetAcl:
    """SETACL, or DELETEACL: it takes the rights away (RFC 4314)."""

    mailbox: str
    identifier: bytes
    rights: str = ""


@dataclass(frozen=True, slots=True)
class GetMetadata:
    """GETMETADATA (RFC 5464); a mailbox named "" is the server. Values above `size_max_octets` are left out."""

    mailbox: str
    wished: Wished
    size_max_octets: int | None = None


@dataclass(frozen=True, slots=True, repr=False)
class SetMetadata:
    """SETMETADATA (RFC 5464); None removes an entry."""

    mailbox: str
    changes: tuple[tuple[str, bytes | None], ...]
