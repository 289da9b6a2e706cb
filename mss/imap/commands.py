"""The commands of a client as values (RFC 3501 §6 and extensions); they hold what was asked, judged by nobody yet.

Mailbox names are in Unicode, INBOX in capitals. In a `SequenceSet` the number 0 stands for "*".
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from enum import Enum, Flag, auto

from mss.imap.letter_commands import Append as Append
from mss.imap.letter_commands import Letter as Letter
from mss.imap.letter_commands import Replace as Replace
from mss.imap.letter_commands import Url as Url
from mss.imap.mailbox_commands import GetAcl as GetAcl
from mss.imap.mailbox_commands import GetMetadata as GetMetadata
from mss.imap.mailbox_commands import GetQuota as GetQuota
from mss.imap.mailbox_commands import GetQuotaRoot as GetQuotaRoot
from mss.imap.mailbox_commands import List as List
from mss.imap.mailbox_commands import ListRights as ListRights
from mss.imap.mailbox_commands import MyRights as MyRights
from mss.imap.mailbox_commands import Selection as Selection
from mss.imap.mailbox_commands import SetAcl as SetAcl
from mss.imap.mailbox_commands import SetMetadata as SetMetadata
from mss.imap.mailbox_commands import StatusItem as StatusItem
from mss.imap.mailbox_commands import Wanted as Wanted
from mss.imap.options import Algorithm, Criterion, Resync, Returns
from mss.imap.options import SequenceSet as SequenceSet
from mss.model.secret import Secret

# --- any state ---


@dataclass(frozen=True, slots=True)
class Capability:
    """CAPABILITY."""


@dataclass(frozen=True, slots=True)
class Noop:
    """NOOP."""


@dataclass(frozen=True, slots=True)
class Check:
    """CHECK: NOOP for the selected mailbox alone."""


@dataclass(frozen=True, slots=True)
class Logout:
    """LOGOUT."""


@dataclass(frozen=True, slots=True)
class Id:
    """ID (RFC 2971); what a client says about itself is not kept."""


# --- not authenticated ---


@dataclass(frozen=True, slots=True)
class StartTls:
    """STARTTLS."""


@dataclass(frozen=True, slots=True, repr=False)
class Login:
    """LOGIN; the user name as octets, for it is hostile until looked up."""

    user: bytes
    password: Secret


@dataclass(frozen=True, slots=True, repr=False)
class Authenticate:
    """AUTHENTICATE; `initial` is the still encoded initial response (RFC 4959)."""

    mechanism: str
    initial: bytes | None = None


# --- authenticated ---


@dataclass(frozen=True, slots=True)
class Enable:
    """ENABLE (RFC 5161)."""

    capabilities: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Namespace:
    """NAMESPACE (RFC 2342)."""


@dataclass(frozen=True, slots=True)
class Lsub:
    """LSUB."""

    pattern: str | None


@dataclass(frozen=True, slots=True)
class Subscribe:
    """SUBSCRIBE, or UNSUBSCRIBE when not `wanted`."""

    mailbox: str
    wanted: bool


@dataclass(frozen=True, slots=True)
class Create:
    """CREATE, perhaps for a special use (RFC 6154 §3)."""

    mailbox: str
    uses: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Delete:
    """DELETE."""

    mailbox: str


@dataclass(frozen=True, slots=True)
class Rename:
    """RENAME."""

    mailbox: str
    to: str


@dataclass(frozen=True, slots=True)
class Status:
    """STATUS."""

    mailbox: str
    items: tuple[StatusItem, ...]


@dataclass(frozen=True, slots=True)
class Select:
    """SELECT, or EXAMINE when `read_only`."""

    mailbox: str
    read_only: bool = False
    condstore: bool = False
    resync: Resync | None = None


@dataclass(frozen=True, slots=True)
class Idle:
    """IDLE (RFC 2177)."""


# --- selected ---


@dataclass(frozen=True, slots=True)
class Close:
    """CLOSE, or UNSELECT (RFC 3691) when not `expunge`."""

    expunge: bool


@dataclass(frozen=True, slots=True)
class Expunge:
    """EXPUNGE; `uids` with UID EXPUNGE (RFC 4315)."""

    uids: SequenceSet | None = None


class Item(Flag):
    """What FETCH answers from a row, without the letter's octets."""

    NONE = 0
    FLAGS = auto()
    UID = auto()
    INTERNALDATE = auto()
    SIZE = auto()
    ENVELOPE = auto()
    BODY = auto()
    BODYSTRUCTURE = auto()
    MODSEQ = auto()
    PREVIEW = auto()
    SAVEDATE = auto()
    EMAILID = auto()
    THREADID = auto()


class Binary(Enum):
    """What BINARY asks of a part: its content without transfer encoding, or how many octets that has (RFC 3516)."""

    CONTENT = auto()
    SIZE = auto()


class Text(Enum):
    """Which octets of a part a section means."""

    ALL = auto()
    HEADER = auto()
    HEADER_FIELDS = auto()
    HEADER_FIELDS_NOT = auto()
    TEXT = auto()
    MIME = auto()


@dataclass(frozen=True, slots=True)
class Section:
    """Octets of a letter. `label` is what the answer calls them; `part` is empty for the whole letter.

    `fields` are in lower case; `start` and `count` are the octet range, `count` None without one.
    """

    label: bytes
    part: tuple[int, ...] = ()
    text: Text = Text.ALL
    fields: frozenset[bytes] = frozenset()
    start: int = 0
    count: int | None = None
    peek: bool = False
    binary: Binary | None = None


@dataclass(frozen=True, slots=True)
class Fetch:
    """FETCH and UID FETCH. `vanished` asks for what was removed since (RFC 7162), `partial` for some of the letters
    by their places among those named, negative from the last (RFC 9394)."""

    messages: SequenceSet
    items: Item
    sections: tuple[Section, ...] = ()
    changed_since: int | None = None
    uid: bool = False
    vanished: bool = False
    partial: tuple[int, int] | None = None


class StoreMode(Enum):
    """How STORE changes flags."""

    REPLACE = auto()
    ADD = auto()
    REMOVE = auto()


@dataclass(frozen=True, slots=True)
class Store:
    """STORE and UID STORE."""

    messages: SequenceSet
    mode: StoreMode
    flags: tuple[str, ...]
    silent: bool = False
    unchanged_since: int | None = None
    uid: bool = False


@dataclass(frozen=True, slots=True)
class Copy:
    """COPY, or MOVE (RFC 6851) when `move`, each with or without UID."""

    messages: SequenceSet
    mailbox: str
    move: bool = False
    uid: bool = False


# --- search keys (RFC 3501 §6.4.4) ---


@dataclass(frozen=True, slots=True)
class All:
    """Every letter (True) or none (False): RECENT and NEW find nothing here, OLD all."""

    value: bool = True


@dataclass(frozen=True, slots=True)
class And:
    """All of them."""

    keys: tuple[Key, ...]


@dataclass(frozen=True, slots=True)
class Or:
    """Either."""

    left: Key
    right: Key


@dataclass(frozen=True, slots=True)
class Not:
    """The contrary."""

    key: Key


@dataclass(frozen=True, slots=True)
class Numbers:
    """Sequence numbers, or UIDs."""

    messages: SequenceSet
    uid: bool


@dataclass(frozen=True, slots=True)
class HasFlag:
    """A system flag or keyword is set."""

    flag: str


class Order(Enum):
    """How a value compares: `SINCE` includes its day."""

    BEFORE = auto()
    ON = auto()
    SINCE = auto()


@dataclass(frozen=True, slots=True)
class Arrived:
    """By internal date, without its time."""

    order: Order
    day: date


@dataclass(frozen=True, slots=True)
class Sent:
    """By the Date field, without its time and zone."""

    order: Order
    day: date


@dataclass(frozen=True, slots=True)
class Larger:
    """More than so many octets; `Smaller` is the contrary with equality, so it has its own noun."""

    octets: int


@dataclass(frozen=True, slots=True)
class Smaller:
    """Fewer than so many octets."""

    octets: int


@dataclass(frozen=True, slots=True)
class HeaderHas:
    """A header field (lower case) holds a text; the empty text asks for the field alone."""

    name: str
    text: str


@dataclass(frozen=True, slots=True)
class BodyHas:
    """The body, or with `header` the header too, holds a text."""

    text: str
    header: bool


@dataclass(frozen=True, slots=True)
class Saved:
    """By the day on which it came into this mailbox (RFC 8514)."""

    order: Order
    day: date


@dataclass(frozen=True, slots=True)
class Named:
    """By EMAILID, or by THREADID when `thread` (RFC 8474)."""

    name: str
    thread: bool


@dataclass(frozen=True, slots=True)
class ModseqFrom:
    """Changed at or after this MODSEQ (RFC 7162 §3.1.5)."""

    modseq: int


@dataclass(frozen=True, slots=True)
class Within:
    """Came within so many seconds until now, or before that when `older` (RFC 5032)."""

    seconds: int
    older: bool


Key = (
    All | And | Or | Not | Numbers | HasFlag | Arrived | Sent | Larger | Smaller | HeaderHas | BodyHas | ModseqFrom
    | Saved | Named | Within
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Search:
    """SEARCH and UID SEARCH; `returns` are its result options (RFC 4731), None when there are none."""

    key: Key
    uid: bool = False
    # Whether a MODSEQ key stood in the program: the answer then names the highest MODSEQ.
    modseq: bool = field(default=False)
    returns: Returns | None = None


@dataclass(frozen=True, slots=True)
class Sort:
    """SORT and UID SORT (RFC 5256), with result options ESORT (RFC 5267)."""

    criteria: tuple[Criterion, ...]
    key: Key
    uid: bool = False
    modseq: bool = field(default=False)
    returns: Returns | None = None


@dataclass(frozen=True, slots=True)
class Thread:
    """THREAD and UID THREAD (RFC 5256)."""

    algorithm: Algorithm
    key: Key
    uid: bool = False


Command = (
    Capability | Noop | Check | Logout | Id | StartTls | Login | Authenticate | Enable | Namespace | List | Lsub
    | Subscribe | Create | Delete | Rename | Status | Select | Append | Idle | Close | Expunge | Fetch | Store | Copy
    | Search | Replace | GetQuota | GetQuotaRoot | GetAcl | MyRights | ListRights | SetAcl | Sort | Thread
    | GetMetadata | SetMetadata
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Request:
    """A command under its tag."""

    tag: str
    command: Command


@dataclass(frozen=True, slots=True)
class Bad:
    """A frame that is no command; `tag` is "*" when not even that was legible. The text is a constant.

    With a response `code` the answer is NO, as for an unknown charset.
    """

    tag: str
    text: str
    code: str = ""
