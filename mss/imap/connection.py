"""Which command is allowed when, and what is announced: states × commands as a table (RFC 3501 §3, §6).

It holds no connection; `server` keeps the state and asks here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from mss.imap import commands as c


class State(Enum):
    """Where a session stands."""

    NOT_AUTHENTICATED = auto()
    AUTHENTICATED = auto()
    SELECTED = auto()
    LOGOUT = auto()


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a command is not taken now."""

    condition: str
    text: str
    code: str = ""


_ANY: Final = frozenset(State) - {State.LOGOUT}
_BEFORE: Final = frozenset({State.NOT_AUTHENTICATED})
_AFTER: Final = frozenset({State.AUTHENTICATED, State.SELECTED})
_SELECTED: Final = frozenset({State.SELECTED})

ALLOWED: Final[Mapping[type[c.Command], frozenset[State]]] = {
    c.Capability: _ANY,
    c.Noop: _ANY,
    c.Logout: _ANY,
    c.Id: _ANY,
    c.StartTls: _BEFORE,
    c.Login: _BEFORE,
    c.Authenticate: _BEFORE,
    c.Enable: _AFTER,
    c.Namespace: _AFTER,
    c.List: _AFTER,
    c.Lsub: _AFTER,
    c.Subscribe: _AFTER,
    c.Create: _AFTER,
    c.Delete: _AFTER,
    c.Rename: _AFTER,
    c.Status: _AFTER,
    c.Select: _AFTER,
    c.Append: _AFTER,
    c.Idle: _AFTER,
    c.GetQuota: _AFTER,
    c.GetQuotaRoot: _AFTER,
    c.GetAcl: _AFTER,
    c.MyRights: _AFTER,
    c.ListRights: _AFTER,
    c.SetAcl: _AFTER,
    c.GetMetadata: _AFTER,
    c.SetMetadata: _AFTER,
    c.Check: _SELECTED,
    c.Close: _SELECTED,
    c.Expunge: _SELECTED,
    c.Fetch: _SELECTED,
    c.Store: _SELECTED,
    c.Copy: _SELECTED,
    c.Search: _SELECTED,
    c.Replace: _SELECTED,
    c.Sort: _SELECTED,
    c.Thread: _SELECTED,
}

# Where another session's EXPUNGE may not be told: the client counts on its numbers (RFC 3501 §7.4.1).
_NUMBERED: Final = (c.Fetch, c.Store, c.Search, c.Sort, c.Thread)

NEEDS_TLS: Final = Refusal("NO", "STARTTLS first", "PRIVACYREQUIRED")
_WRONG_STATE: Final[Mapping[State, str]] = {
    State.NOT_AUTHENTICATED: "Log in first",
    State.AUTHENTICATED: "Not possible now",
    State.SELECTED: "Not possible now",
    State.LOGOUT: "Goodbye was said",
}


def refusal(state: State, command: c.Command, *, tls: bool) -> Refusal | None:
    """Say why a command is not taken in this state, None when it is."""
    if state not in ALLOWED[type(command)]:
        no_mailbox = state is State.AUTHENTICATED and ALLOWED[type(command)] == _SELECTED
        return Refusal("BAD", "Select a mailbox first" if no_mailbox else _WRONG_STATE[state])
    if isinstance(command, c.StartTls) and tls:
        return Refusal("BAD", "TLS is active already")
    if isinstance(command, c.Login | c.Authenticate) and not tls:
        return NEEDS_TLS
    return None


def may_tell_expunges(command: c.Command) -> bool:
    """Say whether an EXPUNGE may be told with the answer to this command."""
    return not isinstance(command, _NUMBERED) or command.uid


_BASE: Final = ("IMAP4rev1", "SASL-IR", "ID", "ENABLE", "IMAP4rev2")
_LOGGED_IN: Final = (
    "LITERAL+", "IDLE", "NAMESPACE", "UNSELECT", "CHILDREN", "UIDPLUS", "MOVE", "CONDSTORE", "SPECIAL-USE",
    "LIST-EXTENDED", "LIST-STATUS", "STATUS=SIZE", "CREATE-SPECIAL-USE", "OBJECTID", "QUOTA", "QUOTA=RES-STORAGE",
    "QUOTA=RES-MESSAGE", "MULTIAPPEND", "BINARY", "UTF8=ACCEPT", "ACL", "RIGHTS=kxte", "PREVIEW", "SAVEDATE",
    "REPLACE", "QRESYNC", "ESEARCH", "SEARCHRES", "WITHIN", "PARTIAL", "SORT", "SORT=DISPLAY", "ESORT",
    "THREAD=ORDEREDSUBJECT", "THREAD=REFERENCES", "METADATA", "LIST-METADATA", "CATENATE",
)  # fmt: skip


def capabilities(state: State, *, tls: bool, append_limit_octets: int, mechanisms: tuple[str, ...] = ("PLAIN",)) -> str:
    """Return what is announced in a state: only what wholly works."""
    if state is State.NOT_AUTHENTICATED:
        login = tuple(f"AUTH={name}" for name in mechanisms) if tls else ("STARTTLS", "LOGINDISABLED")
        return " ".join((*_BASE, "LITERAL-", *login))
    return " ".join((*_BASE, *_LOGGED_IN, f"APPENDLIMIT={append_limit_octets}"))
