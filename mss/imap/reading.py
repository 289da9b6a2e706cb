"""The handler of FETCH, and how letters are read for others.

Rows come in chunks and octets in batches, each in a unit of its own, and go out with back-pressure.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Final

from mss.imap import commands as c
from mss.imap import fetch, responses, resyncing, units
from mss.imap.commands import Item
from mss.imap.fetch import Need, Plan
from mss.imap.finding import places
from mss.imap.session import Answer, Session, done
from mss.imap.stream import Gone
from mss.imap.view import View
from mss.mail import mime
from mss.model.mailbox import SEEN
from mss.model.message import Message
from mss.services import own_seen
from mss.services.mailbox import Columns, FlagAction, Row

CHUNK_ROWS: Final = 500
_BATCH_OCTETS: Final = 1024 * 1024
HEADER_OCTETS: Final = 64 * 1024
_INDEX_IN_THREAD_OCTETS: Final = 256 * 1024
NO_SUCH_NUMBER: Final = Answer("BAD", "No such message number")
SOME_GONE: Final = Answer("NO", "Some of these letters are gone", "EXPUNGEISSUED")

Chunk = Sequence[tuple[int, int]]
Numbered = list[tuple[int, Row]]


# --- FETCH ---


async def fetch_letters(session: Session, command: c.Fetch) -> Answer:
    """Send what was asked of each letter."""
    view = session.here.view
    if command.vanished and "QRESYNC" not in session.enabled:
        return Answer("BAD", "ENABLE QRESYNC first")
    session.condstore = session.condstore or Item.MODSEQ in command.items
    runs = view.resolve(command.messages, uid=command.uid)
    if runs is None:
        return NO_SUCH_NUMBER
    if command.changed_since is not None:
        runs = await resyncing.changed_since(session, command, runs)
    if command.partial is not None:
        runs = _places(view, runs, command.partial)
    plan = fetch.plan(command.items, command.sections, condstore=session.condstore, read_only=view.read_only)
    send = _send_rows if plan.need is Need.NOTHING else _send_letters
    complete = True
    for chunk in view.chunks(runs, CHUNK_ROWS):
        sent = await send(session, plan, chunk, command.changed_since or 0)
        complete = complete and sent == len(chunk)
    return done() if complete or command.uid else SOME_GONE


def _places(view: View, runs: responses.Runs, partial: tuple[int, int]) -> responses.Runs:
    """Return the letters at some places among those that would be told, negative places from the last (RFC 9394)."""
    uids = [uid for _, uid in view.numbered(runs)]
    return responses.as_runs(uids[places(partial, len(uids))])


def _columns(items: Item) -> Columns:
    columns = Columns.PLAIN
    if Item.ENVELOPE in items:
        columns |= Columns.ENVELOPE
    if items & (Item.BODYSTRUCTURE | Item.BODY):
        columns |= Columns.BODYSTRUCTURE
    if items & (Item.PREVIEW | Item.SAVEDATE | Item.EMAILID | Item.THREADID):
        columns |= Columns.MORE
    return columns


async def rows_of(session: Session, chunk: Chunk, columns: Columns) -> Numbered:
    """Return (number, row) of the letters of a chunk that still exist."""
    mailbox_id = session.here.view.mailbox.id
    now, reader = session.house.clock(), session.reader
    return _numbered(chunk, await session.read(own_seen.rows, mailbox_id, _runs(chunk), columns, now, reader))


def _runs(chunk: Chunk) -> responses.Runs:
    return responses.as_runs(uid for _, uid in chunk)


def _numbered(chunk: Chunk, rows: Sequence[Row]) -> Numbered:
    if len(rows) == len(chunk):
        return [(number, row) for (number, _), row in zip(chunk, rows, strict=True)]
    numbers = {uid: number for number, uid in chunk}
    return [(numbers[row.uid], row) for row in rows if row.uid in numbers]


async def _send_rows(session: Session, plan: Plan, chunk: Chunk, changed_since: int) -> int:
    """Send what rows tell of a chunk; returns how many of its letters exist."""
    rows = await rows_of(session, chunk, _columns(plan.items))
    chosen = [pair for pair in rows if pair[1].modseq > changed_since] if changed_since else rows
    session.stream.write(fetch.render_rows(chosen, plan.items, session.here.view.mailbox.keywords))
    await session.stream.drain()
    return len(rows)


async def _send_letters(session: Session, plan: Plan, chunk: Chunk, changed_since: int) -> int:
    """Send a chunk with octets: those of the first letters come with the rows, the others in batches."""
    here = session.here
    is_indexed = len(chunk) == 1 and chunk[0][1] == here.indexed_uid
    octets_max = 0 if changed_since or is_indexed else _BATCH_OCTETS
    rows, octets = await session.read(
        units.letters, here.place.box.id, here.view.mailbox.id, _runs(chunk), _columns(plan.items),
        partial(_range, plan), octets_max, session.house.clock(), session.reader,
    )  # fmt: skip
    chosen = _numbered(chunk, [row for row in rows if row.modseq > changed_since])
    fresh = await _mark_seen(session, chosen) if plan.marks_seen else {}
    renewed = [(number, fresh.get(row.uid, row)) for number, row in chosen]
    await _send_found(session, plan, renewed[: len(octets)], octets, fresh)
    for batch in batches(renewed[len(octets) :], partial(_wanted_octets, plan)):
        await _send_batch(session, plan, batch, fresh)
    return len(rows)


def batches(rows: Numbered, size: Callable[[Row], int], octets_max: int = _BATCH_OCTETS) -> Iterator[Numbered]:
    """Yield letters whose octets are read in one go; `size` says how many of each."""
    batch: Numbered = []
    octets = 0
    for pair in rows:
        wanted = size(pair[1])
        if batch and octets + wanted > octets_max:
            yield batch
            batch, octets = [], 0
        batch.append(pair)
        octets += wanted
    if batch:
        yield batch


def _wanted_octets(plan: Plan, row: Row) -> int:
    start, end = _range(plan, row)
    return end - start


def _range(plan: Plan, row: Row) -> tuple[int, int]:
    match plan.need:
        case Need.HEADER:
            return 0, min(HEADER_OCTETS, row.size_octets)
        case Need.RANGE:
            return fetch.octet_range(plan.sections[0], row.size_octets)
        case Need.ALL:
            return 0, row.size_octets
        case Need.NOTHING:
            return 0, 0


async def _mark_seen(session: Session, rows: Numbered) -> dict[int, Row]:
    """Set \\Seen where it is not set; returns the rows that changed."""
    unseen = {row.uid: row for _, row in rows if not row.flags & SEEN}
    if not unseen:
        return {}
    view = session.here.view
    stored = await session.write(
        own_seen.store_flags, view.mailbox.id, responses.as_runs(unseen), FlagAction.ADD, ("\\Seen",), None,
        session.actor, session.house.clock(), session.reader,
    )  # fmt: skip
    view.own(stored.modseq)
    return {
        uid: unseen[uid]._replace(modseq=modseq, flags=flags) for uid, modseq, flags in stored.rows if uid in unseen
    }


async def _send_batch(session: Session, plan: Plan, batch: Numbered, fresh: dict[int, Row]) -> None:
    if len(batch) == 1:
        number, row = batch[0]
        spans = await _spans(session, plan, row)
        if spans is not None:
            await _send_spans(session, plan, number, row, spans, marked=row.uid in fresh)
            return
    found = await octets_of(session, [(row.uid, *_range(plan, row)) for _, row in batch])
    await _send_found(session, plan, batch, found, fresh)


async def _send_found(
    session: Session, plan: Plan, batch: Numbered, found: Sequence[bytes | None], fresh: dict[int, Row]
) -> None:
    """Send letters whose octets are here; those that are gone (None) are passed over."""
    view, stream = session.here.view, session.stream
    usual = fetch.writers(plan.items, view.mailbox.keywords)
    marked = fetch.writers(_with_flags(session, plan.items), view.mailbox.keywords)
    for (number, row), octets in zip(batch, found, strict=True):
        if octets is None:
            continue
        opening = fetch.opening(number, row, marked if row.uid in fresh else usual)
        items = await _section_items(session, plan, row, octets)
        stream.write(b"".join([opening, b" ".join(items), fetch.CLOSING]))
        await stream.drain()


def _with_flags(session: Session, items: Item) -> Item:
    """Return the items of a letter that was just marked as read: its flags are told with it."""
    if "QRESYNC" in session.enabled:
        items |= Item.UID
    return items | Item.FLAGS | (Item.MODSEQ if session.condstore else Item.NONE)


async def octets_of(session: Session, wanted: Sequence[units.Range]) -> list[bytes | None]:
    """Return octets of letters, None for those that are gone."""
    here = session.here
    box_id, mailbox_id = here.place.box.id, here.view.mailbox.id
    return await session.read(units.octets, box_id, mailbox_id, tuple(wanted), session.house.clock())


async def _some_octets(session: Session, row: Row, start: int, end: int) -> bytes | None:
    return (await octets_of(session, [(row.uid, start, end)]))[0]


async def _spans(session: Session, plan: Plan, row: Row) -> fetch.Spans | None:
    """Return where the sections of a letter lie, when its index is at hand or the letter is large."""
    if plan.need is Need.RANGE:
        return [_range(plan, row)]
    if plan.need is not Need.ALL:
        return None
    here = session.here
    if here.indexed_uid != row.uid and row.size_octets > _BATCH_OCTETS:
        octets = await _some_octets(session, row, 0, row.size_octets)
        if octets is None:
            return None
        await _indexed(session, row, octets)
    return fetch.spans(plan.sections, here.structure) if here.indexed_uid == row.uid and here.structure else None


async def _send_spans(session: Session, plan: Plan, number: int, row: Row, spans: fetch.Spans, *, marked: bool) -> None:
    """Send ranges of a letter in slices: neither it nor its reader's slowness fills the memory."""
    stream, keywords = session.stream, session.here.view.mailbox.keywords
    items = _with_flags(session, plan.items) if marked else plan.items
    unsent = fetch.opening(number, row, fetch.writers(items, keywords))
    promised = False
    for section, span in zip(plan.sections, spans, strict=True):
        space = b"" if section is plan.sections[0] else b" "
        unsent += space + fetch.announced(section, span)
        for start, end in _slices(span):
            octets = await _some_octets(session, row, start, end)
            if octets is None:
                if promised:
                    # A literal was announced: the client must not take what follows for its rest.
                    stream.abort()
                    raise Gone("letter-gone")
                return
            stream.write(unsent + octets)
            unsent, promised = b"", True
            await stream.drain()
    stream.write(unsent + fetch.CLOSING)
    await stream.drain()


def _slices(span: tuple[int, int] | None) -> Iterator[tuple[int, int]]:
    if span is not None:
        start, end = span
        yield from ((at, min(at + _BATCH_OCTETS, end)) for at in range(start, end, _BATCH_OCTETS))


async def _section_items(session: Session, plan: Plan, row: Row, octets: bytes) -> list[bytes]:
    if plan.need is Need.RANGE:
        return [plan.sections[0].label + b" " + responses.literal(octets)]
    if plan.need is Need.HEADER:
        octets = await header_of(session, row, octets)
        return fetch.found_sections(plan.sections, mime.index(octets, session.house.limits))
    return fetch.found_sections(plan.sections, await _indexed(session, row, octets))


async def header_of(session: Session, row: Row, prefix: bytes) -> bytes:
    """Return a letter's header out of its first octets; all of it when they do not hold its end."""
    end = fetch.header_end(prefix)
    if end is not None:
        return prefix[:end]
    if len(prefix) == row.size_octets:
        return prefix
    return await _some_octets(session, row, 0, row.size_octets) or b""


async def _indexed(session: Session, row: Row, octets: bytes) -> Message:
    """Index a letter; the index is kept, for clients ask for one part after another."""
    limits = session.house.limits
    if len(octets) <= _INDEX_IN_THREAD_OCTETS:
        message = mime.index(octets, limits)
    else:
        message = await asyncio.to_thread(mime.index, octets, limits)
    session.here.indexed_uid, session.here.structure = row.uid, message.structure
    return message
