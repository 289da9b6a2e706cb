"""Letters brought into a box: a letter that its folder has already is left alone, so that a run may be done again.

Small letters share a unit of work and a flush; a large one has its own. A patient's box is filled by delivery alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from mss.clock import Clock
from mss.commands.house import actor, address_of, in_store
from mss.commands.sources import Found, Source
from mss.config import Config
from mss.errors import Malformed
from mss.model.audit import AuditEvent
from mss.model.party import BoxKind
from mss.services import accounts, appending, mailbox
from mss.services.mailbox import KEYWORD_MAX_CHARACTERS, NoSuchMailbox
from mss.services.reading import Reading, read_letter
from mss.store import Store, Uow

_LETTERS: Final = 16
_OCTETS: Final = 128 * 1024
# What a keyword may be made of (RFC 9051: an atom); others are left out, the letter is not.
_NO_ATOM: Final = frozenset('(){ %*"\\]')


@dataclass(frozen=True, slots=True)
class Arrived:
    """How many letters came in, were here already, and could not be taken."""

    new: int = 0
    known: int = 0
    refused: int = 0


@dataclass(frozen=True, slots=True)
class _Letter:
    folder: str
    reading: Reading
    flags: tuple[str, ...]
    at: datetime | None


@dataclass(frozen=True, slots=True)
class _Batch:
    letters: tuple[_Letter, ...]

    def heavy(self) -> tuple[bytes, ...]:
        """Return the octets that may be too large for a row."""
        return tuple(one.reading.octets for one in self.letters)


def bring(
    config: Config, clock: Clock, box: str, source: Callable[[], Source], told: Callable[[int, int], None]
) -> Arrived:
    """Bring all letters of a source into a box of ours; `told` hears (letters done, known of so far)."""
    address = address_of(box, "the box")

    async def work(store: Store) -> Arrived:
        found = await store.read(accounts.box_by_address, address, clock())
        if found is None:
            raise Malformed("no box of ours has this address: mss account list shows them")
        if found.kind is BoxKind.PATIENT:
            raise Malformed("a patient's box takes letters by delivery only, for conversations and dossier hang on it")
        new = known = refused = done = 0
        for batch, bad, total in _batches(source(), config):
            if batch.letters:
                came = await store.write(_append, found.id, batch, clock())
                new, known = new + came, known + len(batch.letters) - came
            refused, done = refused + bad, done + bad + len(batch.letters)
            told(done, max(total, done))
        await store.write(_note, found.id, Arrived(new, known, refused), clock())
        return Arrived(new, known, refused)

    return in_store(config, work)


def _batches(source: Source, config: Config) -> Iterator[tuple[_Batch, int, int]]:
    """Yield letters that go into one unit together, how many could not be taken, and how many there are so far."""
    some: list[_Letter] = []
    octets = bad = total = 0
    for found in source:
        total = found.total
        if len(found.octets) > config.limits.message_max_octets or not mailbox.is_fit_name(found.folder):
            bad += 1
            continue
        some.append(_letter(found, config))
        octets += len(found.octets)
        if len(some) >= _LETTERS or octets >= _OCTETS:
            yield _Batch(tuple(some)), bad, total
            some, octets, bad = [], 0, 0
    yield _Batch(tuple(some)), bad, total


def _letter(found: Found, config: Config) -> _Letter:
    reading = read_letter(found.octets, config.limits, documents=False)
    flags = tuple(dict.fromkeys(flag for flag in found.flags if _is_fit(flag)))
    return _Letter(found.folder, reading, flags, found.at)


def _is_fit(flag: str) -> bool:
    word = flag.removeprefix("\\")
    fit = word.isascii() and word.isprintable() and not _NO_ATOM & set(word)
    return bool(word) and fit and len(flag) <= KEYWORD_MAX_CHARACTERS


def _append(uow: Uow, box_id: int, batch: _Batch, now: datetime) -> int:
    """Put letters into their folders, made when missing; returns how many were new."""
    new = 0
    for letter in batch.letters:
        folder_id = _folder(uow, box_id, letter.folder, now)
        known = uow.objects.find(letter.reading.octets)
        if known is not None and uow.mailboxes.holds(folder_id, known):
            continue
        appending.append(uow, folder_id, letter.reading, letter.flags, letter.at, actor(), now)
        new += 1
    return new


def _folder(uow: Uow, box_id: int, name: str, now: datetime) -> int:
    try:
        return mailbox.find(uow, box_id, name, now).id
    except NoSuchMailbox:
        return mailbox.create(uow, box_id, name, actor(), now).id


def _note(uow: Uow, box_id: int, arrived: Arrived, now: datetime) -> None:
    facts = {"new": arrived.new, "known": arrived.known, "refused": arrived.refused}
    uow.journal.write(AuditEvent(actor(), "box.import", f"box:{box_id}", subject_box_id=box_id, facts=facts), now)
