"""Where letters come from: a Maildir, an mbox, another IMAP server. The one module that names imaplib.

Each yields one letter at a time, with its folder, flags and date. What it reads is hostile until our reader read it.
"""

from __future__ import annotations

import contextlib
import imaplib
import os
import re
import ssl
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from mss.commands.leaving import MAILDIR_FLAGS
from mss.errors import Malformed, Unavailable
from mss.imap import names
from mss.model.mailbox import INBOX, SYSTEM_FLAGS

_BY_LETTER: Final = dict(zip(MAILDIR_FLAGS, SYSTEM_FLAGS, strict=True))
_LIST: Final = re.compile(rb'\((?P<flags>[^)]*)\) (?:"(?P<sign>\\?.)"|NIL) (?P<name>.*)\Z', re.DOTALL)
_UID: Final = re.compile(rb"UID (\d+)")
_SPECIAL: Final = {
    b"\\sent": "Sent",
    b"\\trash": "Trash",
    b"\\drafts": "Drafts",
    b"\\junk": "Junk",
    b"\\archive": "Archive",
}
_TIMEOUT_S: Final = 60


@dataclass(frozen=True, slots=True)
class Found:
    """A letter as it came: `total` is how many its source knows of so far."""

    folder: str
    octets: bytes
    flags: tuple[str, ...]
    at: datetime | None
    total: int


Source = Iterable[Found]


def network_lines(octets: bytes) -> bytes:
    """Return a letter whose lines end in CRLF."""
    return octets if b"\n" not in octets or b"\r\n" in octets else octets.replace(b"\n", b"\r\n")


# -- Maildir -----------------------------------------------------------------------------------------------------------


def maildir(root: Path) -> Iterator[Found]:
    """Yield the letters of a Maildir, and of the folders of a Maildir++ below it."""
    if not (root / "cur").is_dir():
        raise Malformed(f"{root} is no Maildir: it has no folder “cur”")
    folders = [root, *sorted(path for path in root.glob(".*") if (path / "cur").is_dir())]
    total = 0
    for folder in folders:
        name = INBOX if folder == root else _unfolded(folder.name)
        words = _keywords(folder / "dovecot-keywords")
        files = sorted(path for kind in ("cur", "new") for path in (folder / kind).glob("[!.]*"))
        total += len(files)
        for path in files:
            # Another program may give it a new name meanwhile: the next run brings it.
            with contextlib.suppress(FileNotFoundError):
                at = datetime.fromtimestamp(path.stat().st_mtime, UTC)
                yield Found(name, network_lines(path.read_bytes()), _flags(path.name, words), at, total)


def _unfolded(name: str) -> str:
    levels = name.removeprefix(".").split(".")
    return "/".join(names.decode(level.replace("&AC4-", ".").encode()) for level in levels)


def _keywords(path: Path) -> dict[str, str]:
    """Return letter → keyword, as Dovecot keeps them."""
    words: dict[str, str] = {}
    with contextlib.suppress(OSError, UnicodeDecodeError):
        for line in path.read_text(encoding="utf-8").splitlines():
            number, _, word = line.partition(" ")
            if number.isdigit() and int(number) < 26 and word:
                words[chr(ord("a") + int(number))] = word
    return words


def _flags(name: str, words: dict[str, str]) -> tuple[str, ...]:
    letters = name.rpartition(":2,")[2] if ":2," in name else ""
    return tuple(known for letter in letters if (known := _BY_LETTER.get(letter) or words.get(letter)))


# -- mbox --------------------------------------------------------------------------------------------------------------


def mbox(path: Path, folder: str) -> Iterator[Found]:
    """Yield the letters of an mbox file (RFC 4155; “>From ” is read back one “>” shorter)."""
    for total, lines in enumerate(_entries(path), 1):
        at, head = _postmark(lines[0]), 1
        fields: dict[bytes, bytes] = {}
        while head < len(lines) and (field := _status_field(lines[head])):
            fields[field[0]], head = field[1], head + 1
        body = lines[head:-1] if len(lines) > head and lines[-1] == b"\n" else lines[head:]
        octets = b"".join(line[1:] if re.match(rb">+From ", line) else line for line in body)
        yield Found(folder, network_lines(octets), _status_flags(fields), at, total)


def _entries(path: Path) -> Iterator[list[bytes]]:
    entry: list[bytes] = []
    with path.open("rb") as file:
        blank = True
        for line in file:
            if blank and line.startswith(b"From "):
                if entry:
                    yield entry
                entry = []
            elif not entry:
                raise Malformed(f"{path} is no mbox: it does not begin with “From ”")
            entry.append(line)
            blank = line in (b"\n", b"\r\n")
    if entry:
        yield entry


def _postmark(line: bytes) -> datetime | None:
    words = line.decode("ascii", "replace").split()
    with contextlib.suppress(ValueError):
        return datetime.strptime(" ".join(words[-5:]), "%a %b %d %H:%M:%S %Y").replace(tzinfo=UTC)
    return None


def _status_field(line: bytes) -> tuple[bytes, bytes] | None:
    name, colon, value = line.partition(b":")
    known = colon and name.lower() in (b"status", b"x-status", b"x-keywords")
    return (name.lower(), value.strip()) if known else None


def _status_flags(fields: dict[bytes, bytes]) -> tuple[str, ...]:
    seen = ["\\Seen"] if b"R" in fields.get(b"status", b"") else []
    more = {65: "\\Answered", 70: "\\Flagged", 68: "\\Deleted", 84: "\\Draft"}
    system = [more[letter] for letter in fields.get(b"x-status", b"") if letter in more]
    words = fields.get(b"x-keywords", b"").decode("ascii", "replace").split()
    return (*seen, *system, *words)


# -- IMAP --------------------------------------------------------------------------------------------------------------


def imap(server: str, login: str, password: str, ca_file: Path | None) -> Iterator[Found]:
    """Yield the letters of a mailbox on another IMAP server, folder by folder; nothing changes there."""
    host, colon, port = server.rpartition(":")
    if not colon or not port.isdigit():
        raise Malformed(f"{server}: a server is written host:port")
    context = ssl.create_default_context(cafile=None if ca_file is None else os.fspath(ca_file))
    try:
        with imaplib.IMAP4_SSL(host, int(port), ssl_context=context, timeout=_TIMEOUT_S) as client:
            client.login(login, password)
            yield from _all_folders(client)
    except imaplib.IMAP4.error as error:
        # Its text is the other server's own: a wrong password, mostly.
        raise Malformed(f"the server at {server} refused: {str(error)[:200]}") from error
    except (OSError, EOFError) as error:
        raise Unavailable(f"the server at {server} does not answer ({type(error).__name__})") from error


def _all_folders(client: imaplib.IMAP4) -> Iterator[Found]:
    folders = [one for line in client.list()[1] if (one := _listed(line))]
    total = 0
    for raw, name in folders:
        if client.select(raw, readonly=True)[0] != "OK":
            continue
        uids = [int(uid) for uid in (client.uid("SEARCH", "ALL")[1][0] or b"").split()]
        total += len(uids)
        for uid in uids:
            if found := _fetched(client, uid, name, total):
                yield found


def _listed(line: bytes | tuple[bytes, bytes] | None) -> tuple[str, str] | None:
    """Return a folder's name as the server wants it, and as ours; None for what cannot be selected."""
    text = b"" if line is None else line if isinstance(line, bytes) else line[0]
    listed = _LIST.match(text)
    if listed is None or b"\\noselect" in listed["flags"].lower().split():
        return None
    # A name that comes as a literal stands behind its line.
    raw = line[1] if isinstance(line, tuple) else listed["name"]
    if raw[:1] == b'"':
        raw = re.sub(rb"\\(.)", rb"\1", raw[1:-1])
    special = next((_SPECIAL[flag] for flag in listed["flags"].lower().split() if flag in _SPECIAL), "")
    sign = (listed["sign"] or b"/")[-1:].decode("ascii", "replace")
    levels = raw.decode("utf-8", "surrogateescape").split(sign)
    name = special or "/".join(names.decode(level.encode("utf-8", "surrogateescape")) for level in levels)
    quoted = raw.decode("ascii", "replace").replace("\\", "\\\\").replace('"', '\\"')
    return f'"{quoted}"', name


def _fetched(client: imaplib.IMAP4, uid: int, folder: str, total: int) -> Found | None:
    answer = client.uid("FETCH", str(uid), "(UID FLAGS INTERNALDATE BODY.PEEK[])")[1]
    parts = [part for part in answer if isinstance(part, tuple)]
    if not parts:
        return None  # It was expunged meanwhile.
    head, octets = parts[0]
    # Flags may stand before the letter or behind it.
    rest = b" ".join([head, *(part for part in answer if isinstance(part, bytes))])
    flags = tuple(flag.decode("ascii", "replace") for flag in imaplib.ParseFlags(rest) if flag.lower() != b"\\recent")
    local = imaplib.Internaldate2tuple(rest)
    at = datetime.fromtimestamp(time.mktime(local), UTC) if local else None
    return Found(folder, network_lines(octets), flags, at, total)
