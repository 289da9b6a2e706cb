"""A mailbox as Maildir++ or mbox (RFC 4155, quoted so that it comes back whole), a dossier as IHE_XDM.zip: the way out.

One letter or document is in memory at a time. What was written already is left alone when a run goes on after a cut.
"""

from __future__ import annotations

import hashlib
import os
import re
import uuid
import zipfile
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, Final

from mss.clock import Clock, from_us
from mss.commands.house import actor, address_of, in_store
from mss.commands.words import Form
from mss.config import Config
from mss.dossier import xdm
from mss.dossier.metadata import Written
from mss.errors import Conflict, Malformed
from mss.imap import names
from mss.model.account import Box
from mss.model.audit import AuditEvent
from mss.model.document import Confidentiality, Document
from mss.model.mailbox import FIRST_KEYWORD_BIT, INBOX, SYSTEM_FLAGS, Mailbox
from mss.model.party import BoxKind
from mss.services import accounts
from mss.services import mailbox as mailboxes
from mss.services.mailbox import Columns, Row
from mss.store import Store, Uow
from mss.store.dossiers import HIDDEN
from mss.store.mailboxes import runs_of

Told = Callable[[int, int], None]
_ROWS: Final = 200
# Letters of a Maildir's file name that stand for the system flags, in the order of SYSTEM_FLAGS.
MAILDIR_FLAGS: Final = "SRFTD"
_FROM: Final = re.compile(rb"^(>*From )", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Left:
    """How many letters of how many folders are outside now, and how many of them were written by this run."""

    letters: int
    folders: int
    new: int


def mailbox(config: Config, clock: Clock, box: str, target: Path, form: Form, told: Told) -> Left:
    """Write all letters of a box into a folder."""
    writer = _Maildir(target) if form is Form.MAILDIR else _Mbox(target)

    async def work(store: Store) -> Left:
        found = await _box(store, box, clock())
        await store.write(_note, found, "box.export", clock())
        folders = await store.read(mailboxes.mailboxes, found.id, clock())
        counts = [(await store.read(mailboxes.status, one.id, clock())).messages for one in folders]
        done = new = 0
        for folder in folders:
            with writer.folder(folder) as out:
                async for row in _rows(store, folder, clock):
                    if not out.has(row):
                        octets = await store.read(mailboxes.octets, folder.id, row.object_id, 0, None, clock())
                        out.write(row, octets)
                        new += 1
                    done += 1
                    told(done, max(sum(counts), done))
        return Left(done, len(folders), new)

    return in_store(config, work)


async def _box(store: Store, text: str, now: datetime) -> Box:
    found = await store.read(accounts.box_by_address, address_of(text, "the box"), now)
    if found is None:
        raise Malformed("no box of ours has this address: mss account list shows them")
    return found


def _note(uow: Uow, box: Box, action: str, now: datetime) -> None:
    uow.journal.write(AuditEvent(actor(), action, f"box:{box.id}", subject_box_id=box.id), now)


async def _rows(store: Store, folder: Mailbox, clock: Clock) -> AsyncIterator[Row]:
    first = 1
    while some := await store.read(lambda uow, first: uow.mailboxes.uids_from(folder.id, first, _ROWS), first):
        first, runs = some[-1] + 1, runs_of(some)
        for row in await store.read(mailboxes.rows, folder.id, runs, Columns.PLAIN, clock()):
            yield row


def keywords(folder: Mailbox, flags: int) -> list[str]:
    """Return the keywords of a letter, in the order of their bits."""
    return [name for bit, name in enumerate(folder.keywords) if flags >> (FIRST_KEYWORD_BIT + bit) & 1]


# -- Maildir++ ---------------------------------------------------------------------------------------------------------


class _Maildir:
    """A Maildir++: INBOX at its root, the other folders as “.Above.Below”, names in modified UTF-7."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def folder(self, folder: Mailbox) -> _MaildirFolder:
        name = "" if folder.name == INBOX else "." + ".".join(_level(one) for one in folder.name.split("/"))
        return _MaildirFolder(self._root / name, folder)


def _level(name: str) -> str:
    return names.encode(name).decode("ascii").replace(".", "&AC4-")


class _MaildirFolder:
    def __init__(self, path: Path, folder: Mailbox) -> None:
        self._path = path
        self._folder = folder
        self._there: dict[str, str] = {}

    def __enter__(self) -> _MaildirFolder:
        for name in ("tmp", "new", "cur"):
            (self._path / name).mkdir(parents=True, exist_ok=True, mode=0o700)
        if self._folder.name != INBOX:
            (self._path / "maildirfolder").touch()
        self._there = {name.partition(":")[0]: name for name in os.listdir(self._path / "cur")}
        if self._folder.keywords:
            lines = (f"{number} {name}\n" for number, name in enumerate(self._folder.keywords[:26]))
            (self._path / "dovecot-keywords").write_text("".join(lines), encoding="utf-8")
        return self

    def __exit__(self, *_: object) -> None: ...

    def has(self, row: Row) -> bool:
        """Say whether a letter is there; its flags are brought up to date."""
        base, name = self._base(row), self._name(row)
        there = self._there.get(base)
        if there is not None and there != name:
            os.replace(self._path / "cur" / there, self._path / "cur" / name)
        return there is not None

    def write(self, row: Row, octets: bytes) -> None:
        half = self._path / "tmp" / self._base(row)
        descriptor = os.open(half, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(octets)
        seconds = row.internal_date_us / 1_000_000
        os.utime(half, (seconds, seconds))
        os.replace(half, self._path / "cur" / self._name(row))

    def _base(self, row: Row) -> str:
        second = row.internal_date_us // 1_000_000
        return f"{second}.V{self._folder.uidvalidity}U{row.uid}.mss,S={row.size_octets}"

    def _name(self, row: Row) -> str:
        system = {MAILDIR_FLAGS[bit] for bit in range(len(SYSTEM_FLAGS)) if row.flags >> bit & 1}
        named = (self._folder.keywords.index(name) for name in keywords(self._folder, row.flags))
        words = {chr(ord("a") + number) for number in named if number < 26}
        # SYSTEM_FLAGS begins with Seen, Answered (“replied”), Flagged, Deleted (“trashed”), Draft.
        return f"{self._base(row)}:2,{''.join(sorted(system))}{''.join(sorted(words))}"


# -- mbox --------------------------------------------------------------------------------------------------------------


class _Mbox:
    """One mbox file for each folder. A folder is written whole, under another name until it is."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def folder(self, folder: Mailbox) -> _MboxFile:
        self._root.mkdir(parents=True, exist_ok=True, mode=0o700)
        return _MboxFile(self._root / f"{'.'.join(map(_level, folder.name.split('/')))}.mbox", folder)


class _MboxFile:
    def __init__(self, path: Path, folder: Mailbox) -> None:
        self._path = path
        self._folder = folder
        self._half = path.with_name(path.name + ".part")
        self._out: BinaryIO | None = None

    def __enter__(self) -> _MboxFile:
        if not self._path.exists():
            self._out = open(self._half, "wb", opener=lambda path, how: os.open(path, how, 0o600))
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if self._out is not None:
            self._out.close()
            if kind is None:
                os.replace(self._half, self._path)

    def has(self, row: Row) -> bool:
        return self._out is None

    def write(self, row: Row, octets: bytes) -> None:
        if self._out is None:
            raise Conflict("the folder is written already")
        self._out.writelines(mbox_entry(self._folder, row, octets))


def mbox_entry(folder: Mailbox, row: Row, octets: bytes) -> Iterator[bytes]:
    """Yield a letter as it stands in an mbox: its date, its flags as fields in front, “From ” quoted, lines with LF."""
    yield f"From MAILER-DAEMON {from_us(row.internal_date_us):%a %b %d %H:%M:%S %Y}\n".encode()
    seen, answered, flagged, deleted, draft = (row.flags >> bit & 1 for bit in range(5))
    yield f"Status: {'R' if seen else ''}O\n".encode()
    yield f"X-Status: {'A' * answered}{'F' * flagged}{'D' * deleted}{'T' * draft}\n".encode()
    if words := keywords(folder, row.flags):
        yield f"X-Keywords: {' '.join(words)}\n".encode()
    body = _FROM.sub(rb">\1", octets.replace(b"\r\n", b"\n"))
    yield body
    yield b"\n" if body.endswith(b"\n") else b"\n\n"


# -- dossier -----------------------------------------------------------------------------------------------------------


def dossier(config: Config, clock: Clock, box: str, target: Path, told: Told) -> int:
    """Write a patient's documents, but those that are not for the patient's eyes yet, into one archive; returns how
    many. The file appears once it is whole."""
    half = target.with_name(target.name + ".part")

    async def work(store: Store) -> int:
        found = await _box(store, box, clock())
        if found.kind is not BoxKind.PATIENT:
            raise Malformed(f"only patients have a dossier: this is a {found.kind} box")
        await store.write(_note, found, "dossier.export", clock())
        written: list[Written] = []
        with zipfile.ZipFile(half, "w", zipfile.ZIP_DEFLATED) as archive:
            half.chmod(0o600)
            async for number, document in _documents(store, found.id):
                written.append(await store.read(_pack, archive, number, document))
                told(number, number)
            source = f"2.25.{uuid.uuid5(uuid.NAMESPACE_DNS, config.operator.hostname).int}"
            unique_id = f"2.25.{uuid.uuid4().int}"
            for name, octets in xdm.head(written, unique_id=unique_id, source_id=source, submitted_at=clock()):
                archive.writestr(name, octets)
        return len(written)

    try:
        count = in_store(config, work)
        os.replace(half, target)
    finally:
        half.unlink(missing_ok=True)
    return count


async def _documents(store: Store, box_id: int) -> AsyncIterator[tuple[int, Document]]:
    hidden, number = HIDDEN[Confidentiality.INVISIBLE_PATIENT], 0
    while some := await store.read(
        lambda uow, at: uow.dossiers.list(box_id, offset=at, limit=_ROWS, hidden_from=hidden), number
    ):
        for document in some:
            number += 1
            yield number, document


def _pack(uow: Uow, archive: zipfile.ZipFile, number: int, document: Document) -> Written:
    octets = uow.objects.get(document.box_id, document.object_id)
    name = xdm.file_name(number, document.entry)
    archive.writestr(xdm.place(name), octets)
    if document.companion_object_id is not None:
        twin = xdm.place(f"DOC{number:05}.PDF")
        archive.writestr(twin, uow.objects.get(document.box_id, document.companion_object_id))
    digest = hashlib.sha1(octets, usedforsecurity=False).hexdigest()
    return Written(document.entry, name, len(octets), digest)
