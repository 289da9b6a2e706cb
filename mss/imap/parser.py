"""Turn a frame into a command (RFC 3501 §9 and the grammars of its extensions).

It judges no state and looks nothing up. Whatever the octets, the answer is a `Request` or a `Bad`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from mss.config import Limits
from mss.errors import Malformed
from mss.imap import commands as c
from mss.imap.append_words import read_append, read_replace
from mss.imap.fetch_items import read_fetch_items
from mss.imap.lexer import MODSEQ_MAX, TAG, Cursor
from mss.imap.list_words import bare_name, read_create, read_list, read_status_items
from mss.imap.metadata_words import read_get_metadata, read_set_metadata
from mss.imap.modifiers import Modifiers, read_fetch_modifiers, read_select_parameters
from mss.imap.rights_words import read_delete_acl, read_get_quota, read_list_rights, read_set_acl
from mss.imap.search_keys import CHARSETS, UnknownCharset, read_search, read_sort, read_thread
from mss.imap.wire import Frame
from mss.model.secret import Secret

_ID_PAIRS_MAX: Final = 30


def parse(frame: Frame, limits: Limits, enabled: frozenset[str] = frozenset()) -> c.Request | c.Bad:
    """Read one command; `enabled` is what the client turned on (RFC 5161)."""
    match = TAG.match(frame.text)
    if match is None:
        return c.Bad("*", "A command begins with a tag")
    tag = match.group().decode("ascii")
    cursor = Cursor(
        frame, arguments_max=limits.imap_arguments_max, nesting_max=limits.imap_nesting_max, enabled=enabled
    )
    cursor.at = match.end()
    try:
        return c.Request(tag, _command(cursor))
    except UnknownCharset as fault:
        return c.Bad(tag, str(fault), f"BADCHARSET ({' '.join(CHARSETS)})")
    except Malformed as fault:
        return c.Bad(tag, str(fault))


def _command(cursor: Cursor) -> c.Command:
    cursor.space()
    word = cursor.word()
    readers = _READERS
    if word == "UID":
        cursor.space()
        word, readers = cursor.word(), _UID_READERS
    reader = readers.get(word)
    if reader is None:
        raise Malformed("Unknown command")
    command = reader(cursor)
    cursor.finish()
    return command


Reader = Callable[[Cursor], c.Command]


def _bare(command: c.Command) -> Reader:
    return lambda cursor: command


# --- before login ---


def _login(cursor: Cursor) -> c.Login:
    cursor.space()
    user = cursor.astring()
    cursor.space()
    return c.Login(user, Secret(cursor.astring()))


def _authenticate(cursor: Cursor) -> c.Authenticate:
    cursor.space()
    mechanism = cursor.word()
    if not cursor.skip(b" "):
        return c.Authenticate(mechanism)
    return c.Authenticate(mechanism, cursor.astring())


def _id(cursor: Cursor) -> c.Id:
    cursor.space()
    if cursor.skip(b"NIL") or cursor.skip(b"()"):
        return c.Id()
    if len(cursor.items(Cursor.nstring)) > 2 * _ID_PAIRS_MAX:
        raise Malformed("Too many fields")
    return c.Id()


# --- mailboxes ---


def _on_mailbox(make: Callable[[str], c.Command]) -> Reader:
    def read(cursor: Cursor) -> c.Command:
        cursor.space()
        return make(cursor.mailbox())

    return read


def _lsub(cursor: Cursor) -> c.Lsub:
    cursor.space()
    reference = cursor.mailbox_or_empty()
    cursor.space()
    pattern = cursor.list_mailbox()
    # The empty pattern asks for the hierarchy delimiter (RFC 3501 §6.3.8).
    return c.Lsub(reference + pattern if pattern else None)


def _rename(cursor: Cursor) -> c.Rename:
    cursor.space()
    old = cursor.mailbox()
    cursor.space()
    return c.Rename(old, bare_name(cursor))


def _status(cursor: Cursor) -> c.Status:
    cursor.space()
    mailbox = cursor.mailbox()
    cursor.space()
    return c.Status(mailbox, read_status_items(cursor))


def _select(cursor: Cursor) -> c.Select:
    return _opening(cursor, read_only=False)


def _examine(cursor: Cursor) -> c.Select:
    return _opening(cursor, read_only=True)


def _opening(cursor: Cursor, *, read_only: bool) -> c.Select:
    cursor.space()
    mailbox = cursor.mailbox()
    condstore, resync = read_select_parameters(cursor) if cursor.skip(b" ") else (False, None)
    return c.Select(mailbox, read_only, condstore, resync)


def _enable(cursor: Cursor) -> c.Enable:
    wanted = []
    while cursor.skip(b" "):
        cursor.count()
        wanted.append(cursor.word())
    if not wanted:
        raise Malformed("Expected a capability")
    return c.Enable(tuple(wanted))


# --- letters ---


def _fetch(cursor: Cursor, *, uid: bool = False) -> c.Fetch:
    cursor.space()
    messages = cursor.sequence_set()
    cursor.space()
    items, sections = read_fetch_items(cursor)
    modifiers = read_fetch_modifiers(cursor, uid=uid) if cursor.skip(b" ") else Modifiers()
    if modifiers.changed_since is not None:
        items |= c.Item.MODSEQ
    if uid:
        items |= c.Item.UID
    since, vanished, partial = modifiers.changed_since, modifiers.vanished, modifiers.partial
    return c.Fetch(messages, items, sections, since, uid, vanished, partial)


_STORE_MODES: Final = {"+": c.StoreMode.ADD, "-": c.StoreMode.REMOVE, "": c.StoreMode.REPLACE}


def _store(cursor: Cursor, *, uid: bool = False) -> c.Store:
    cursor.space()
    messages = cursor.sequence_set()
    cursor.space()
    unchanged_since = None
    if cursor.skip(b"(UNCHANGEDSINCE "):
        unchanged_since = cursor.number(MODSEQ_MAX)
        cursor.expect(b") ")
    sign = next((sign for sign in ("+", "-") if cursor.skip(sign.encode())), "")
    cursor.expect(b"FLAGS")
    silent = cursor.skip(b".SILENT")
    cursor.space()
    return c.Store(messages, _STORE_MODES[sign], _store_flags(cursor), silent, unchanged_since, uid)


def _store_flags(cursor: Cursor) -> tuple[str, ...]:
    """Read the flags of STORE, which need no parentheses."""
    if cursor.sees(b"("):
        return cursor.flags()
    flags = [cursor.flag()]
    while cursor.skip(b" "):
        cursor.count()
        flags.append(cursor.flag())
    return tuple(flags)


def _copy(cursor: Cursor, *, uid: bool = False, move: bool = False) -> c.Copy:
    cursor.space()
    messages = cursor.sequence_set()
    cursor.space()
    return c.Copy(messages, cursor.mailbox(), move, uid)


def _uid_expunge(cursor: Cursor) -> c.Expunge:
    cursor.space()
    return c.Expunge(cursor.sequence_set())


_READERS: Final[Mapping[str, Reader]] = {
    "CAPABILITY": _bare(c.Capability()),
    "NOOP": _bare(c.Noop()),
    "CHECK": _bare(c.Check()),
    "LOGOUT": _bare(c.Logout()),
    "ID": _id,
    "STARTTLS": _bare(c.StartTls()),
    "LOGIN": _login,
    "AUTHENTICATE": _authenticate,
    "ENABLE": _enable,
    "NAMESPACE": _bare(c.Namespace()),
    "LIST": read_list,
    "LSUB": _lsub,
    "SUBSCRIBE": _on_mailbox(lambda name: c.Subscribe(name, wanted=True)),
    "UNSUBSCRIBE": _on_mailbox(lambda name: c.Subscribe(name, wanted=False)),
    "CREATE": read_create,
    "DELETE": _on_mailbox(c.Delete),
    "RENAME": _rename,
    "STATUS": _status,
    "SELECT": _select,
    "EXAMINE": _examine,
    "APPEND": read_append,
    "REPLACE": read_replace,
    "GETQUOTA": read_get_quota,
    "GETQUOTAROOT": _on_mailbox(c.GetQuotaRoot),
    "GETACL": _on_mailbox(c.GetAcl),
    "MYRIGHTS": _on_mailbox(c.MyRights),
    "LISTRIGHTS": read_list_rights,
    "SETACL": read_set_acl,
    "DELETEACL": read_delete_acl,
    "GETMETADATA": read_get_metadata,
    "SETMETADATA": read_set_metadata,
    "IDLE": _bare(c.Idle()),
    "CLOSE": _bare(c.Close(expunge=True)),
    "UNSELECT": _bare(c.Close(expunge=False)),
    "EXPUNGE": _bare(c.Expunge()),
    "FETCH": _fetch,
    "STORE": _store,
    "SEARCH": read_search,
    "SORT": read_sort,
    "THREAD": read_thread,
    "COPY": _copy,
    "MOVE": lambda cursor: _copy(cursor, move=True),
}

_UID_READERS: Final[Mapping[str, Reader]] = {
    "FETCH": lambda cursor: _fetch(cursor, uid=True),
    "STORE": lambda cursor: _store(cursor, uid=True),
    "SEARCH": lambda cursor: read_search(cursor, uid=True),
    "SORT": lambda cursor: read_sort(cursor, uid=True),
    "THREAD": lambda cursor: read_thread(cursor, uid=True),
    "COPY": lambda cursor: _copy(cursor, uid=True),
    "MOVE": lambda cursor: _copy(cursor, uid=True, move=True),
    "EXPUNGE": _uid_expunge,
    "REPLACE": lambda cursor: read_replace(cursor, uid=True),
}
