"""Handlers that find letters: SEARCH, SORT, THREAD (RFC 3501, 4731, 5032, 5182, 5256, 5267, 9394).

A program is decided from rows where they are enough, else from the text prepared of each letter, else from its
octets; what is made of the octets then is kept for the next time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Final

from mss.clock import to_us
from mss.config import Limits
from mss.imap import commands as c
from mss.imap import finding, responses, sorting, threads, units
from mss.imap import search as programs
from mss.imap.finding import Found
from mss.imap.options import Algorithm, Returns
from mss.imap.reading import (
    CHUNK_ROWS,
    HEADER_OCTETS,
    NO_SUCH_NUMBER,
    Numbered,
    batches,
    header_of,
    octets_of,
    rows_of,
)
from mss.imap.session import Answer, Session, done
from mss.imap.sorting import Form, Sortable
from mss.mail import mime, searchtext
from mss.services.mailbox import Columns, Row

_TEXTS_OCTETS: Final = 4 * 1024 * 1024
_ALL: Final = Returns(all=True)
_NO_FORM: Final = Form(None, "", False, "", "", "", "", "", "", ())


# --- SEARCH ---


async def search(session: Session, command: c.Search, tag: str) -> Answer:
    """Tell the numbers or UIDs of the letters that match."""
    plan = _plan(session, command)
    if plan is None:
        return NO_SUCH_NUMBER
    session.condstore = session.condstore or command.modseq
    found = [Found(number, row.uid, row.modseq) for number, row in await _found(session, plan)]
    returns = command.returns or (_ALL if "IMAP4REV2" in session.enabled else None)
    if returns is None:
        highest = max((each.modseq for each in found), default=0) if command.modseq else None
        numbers = (each.uid if command.uid else each.number for each in found)
        session.stream.write(responses.search(numbers, highest))
    else:
        _tell(session, found, returns, tag, uid=command.uid, modseq=command.modseq)
    return done()


def _plan(session: Session, command: c.Search | c.Sort | c.Thread) -> programs.Plan | None:
    """Compile a command's program; None when a number is out of range. A "$" to be saved is empty until it is known,
    and stays so when the command fails (RFC 5182 §2.1)."""
    view = session.here.view
    plan = programs.plan(command.key, view, to_us(session.house.clock()))
    if plan is not None and not isinstance(command, c.Thread) and command.returns and command.returns.save:
        view.saved = ()
    return plan


def _tell(session: Session, found: list[Found], returns: Returns, tag: str, *, uid: bool, modseq: bool) -> None:
    """Send an ESEARCH response, and keep what "$" is to mean."""
    session.stream.write(finding.extended(tag, found, returns, uid=uid, modseq=modseq))
    if returns.save:
        session.here.view.saved = finding.saved(found, returns)


async def _found(session: Session, plan: programs.Plan, *, whole_rows: bool = False) -> Numbered:
    """Return (number, row) of the letters that match, in their order. Rows hold their UID alone where the program
    needs no more, unless `whole_rows`."""
    columns = Columns.ENVELOPE if plan.needs_envelope else Columns.PLAIN
    columns |= Columns.MORE if plan.needs_names else Columns.PLAIN
    found: Numbered = []
    for chunk in session.here.view.chunks(plan.candidates, CHUNK_ROWS):
        rows = await rows_of(session, chunk, columns) if whole_rows or plan.needs_rows else _bare_rows(chunk)
        found += await _matching(session, plan, rows)
    return found


def _bare_rows(chunk: Iterable[tuple[int, int]]) -> Numbered:
    return [(number, Row(uid, 0, 0, 0, 0, 0)) for number, uid in chunk]


async def _matching(session: Session, plan: programs.Plan, rows: Numbered) -> Numbered:
    truths = [(pair, plan.test(pair[1])) for pair in rows]
    undecided = [pair for pair, truth in truths if truth is None]
    if not undecided:
        return [pair for pair, truth in truths if truth]
    decided = await _decided(session, plan, undecided)
    return [pair for pair, truth in truths if truth or (truth is None and pair[1].uid in decided)]


async def _decided(session: Session, plan: programs.Plan, rows: Numbered) -> set[int]:
    """Decide what rows leave open; returns the UIDs that match."""
    found: set[int] = set()
    if plan.needs_text:
        known = await _decided_by_text(session, plan, rows)
        found = {uid for uid, truth in known.items() if truth}
        rows = [pair for pair in rows if pair[1].uid not in known]
    return found | await _decided_by_octets(session, plan, rows)


async def _decided_by_text(session: Session, plan: programs.Plan, rows: Numbered) -> dict[int, bool]:
    """Decide from prepared texts; letters without one are not in the answer."""
    here, known = session.here, dict[int, bool]()
    for batch in batches(rows, lambda row: row.size_octets, _TEXTS_OCTETS):
        by_uid = {row.uid: row for _, row in batch}

        def test(uid: int, text: bytes, by_uid: dict[int, Row] = by_uid) -> bool:
            return uid in by_uid and programs.decide(plan, by_uid[uid], text)

        runs = responses.as_runs(by_uid)
        known |= await session.read(
            units.decided_by_text, here.place.box.id, here.view.mailbox.id, runs, test, session.house.clock()
        )
    return known


async def _decided_by_octets(session: Session, plan: programs.Plan, rows: Numbered) -> set[int]:
    """Decide from the letters' octets, in a thread, for the loop has others to serve."""

    def size(row: Row) -> int:
        return row.size_octets if plan.needs_body else min(HEADER_OCTETS, row.size_octets)

    found: set[int] = set()
    for batch in batches(rows, size):
        letters = await _letters(session, batch, size, whole=plan.needs_body)
        matching, texts = await asyncio.to_thread(_decide, plan, letters, session.house.limits)
        found |= matching
        if texts:
            await session.house.store.write(units.keep_texts, session.here.place.box.id, texts, session.house.clock())
    return found


async def _letters(
    session: Session, batch: Numbered, size: Callable[[Row], int], *, whole: bool
) -> list[tuple[Row, bytes]]:
    """Return the octets of letters that still exist, or only their headers."""
    octets = await octets_of(session, [(row.uid, 0, size(row)) for _, row in batch])
    letters = [(row, some) for (_, row), some in zip(batch, octets, strict=True) if some is not None]
    return letters if whole else [(row, await header_of(session, row, some)) for row, some in letters]


def _decide(
    plan: programs.Plan, letters: list[tuple[Row, bytes]], limits: Limits
) -> tuple[set[int], list[tuple[int, bytes]]]:
    """Return the UIDs that match, and the texts to keep by object."""
    found, texts = set[int](), list[tuple[int, bytes]]()
    for row, octets in letters:
        message = mime.index(octets, limits)
        text = searchtext.prepare(message) if plan.needs_body else b""
        if plan.needs_text and len(text) <= limits.imap_search_text_max_octets:
            texts.append((row.object_id, text))
        if programs.decide(plan, row, text, message):
            found.add(row.uid)
    return found, texts


# --- SORT ---


async def sort(session: Session, command: c.Sort, tag: str) -> Answer:
    """Tell the letters that match in the order of some criteria."""
    plan = _plan(session, command)
    if plan is None:
        return NO_SUCH_NUMBER
    letters = await _sortable(session, plan, needs_forms=sorting.needs_forms(command.criteria))
    session.condstore = session.condstore or command.modseq
    ordered = await asyncio.to_thread(sorting.in_order, letters, command.criteria)
    found = [Found(letter.number, letter.row.uid, letter.row.modseq) for letter in ordered]
    if command.returns is None:
        highest = max((each.modseq for each in found), default=0) if command.modseq else None
        session.stream.write(responses.sort((each.uid if command.uid else each.number for each in found), highest))
    else:
        _tell(session, found, command.returns, tag, uid=command.uid, modseq=command.modseq)
    return done()


async def _sortable(session: Session, plan: programs.Plan, *, needs_forms: bool) -> list[Sortable]:
    """Return the letters that match with what they are sorted by."""
    rows = await _found(session, plan, whole_rows=True)
    forms = await _forms(session, rows) if needs_forms else {}
    return [Sortable(number, row, forms.get(row.uid, _NO_FORM)) for number, row in rows]


async def _forms(session: Session, rows: Numbered) -> dict[int, Form]:
    """Return the forms of letters by UID; those that have none yet get one."""
    here, forms = session.here, dict[int, Form]()
    for start in range(0, len(rows), CHUNK_ROWS):
        chunk = rows[start : start + CHUNK_ROWS]
        runs = responses.as_runs(row.uid for _, row in chunk)
        forms |= await session.read(
            units.sort_forms, here.place.box.id, here.view.mailbox.id, runs, session.house.clock()
        )
        missing = [(number, row.uid) for number, row in chunk if row.uid not in forms]
        if missing:
            forms |= await _made_forms(session, await rows_of(session, missing, Columns.ENVELOPE))
    return forms


async def _made_forms(session: Session, rows: Numbered) -> dict[int, Form]:
    """Make the forms of letters from their headers, and keep them."""

    def size(row: Row) -> int:
        return min(HEADER_OCTETS, row.size_octets)

    forms: dict[int, Form] = {}
    for batch in batches(rows, size):
        letters = await _letters(session, batch, size, whole=False)
        made = await asyncio.to_thread(_make_forms, letters, session.house.limits)
        forms |= {row.uid: sorting.read(form) for row, form in made}
        kept = [(row.object_id, form) for row, form in made]
        await session.house.store.write(units.keep_forms, session.here.place.box.id, kept, session.house.clock())
    return forms


def _make_forms(letters: list[tuple[Row, bytes]], limits: Limits) -> list[tuple[Row, bytes]]:
    return [(row, sorting.make(row.envelope, mime.index(header, limits))) for row, header in letters]


# --- THREAD ---

_ALGORITHMS: Final = {
    Algorithm.ORDEREDSUBJECT: threads.ordered_subject,
    Algorithm.REFERENCES: threads.references,
}


async def thread(session: Session, command: c.Thread) -> Answer:
    """Tell the letters that match as threads."""
    plan = _plan(session, command)
    if plan is None:
        return NO_SUCH_NUMBER
    letters = await _sortable(session, plan, needs_forms=True)
    session.stream.write(await asyncio.to_thread(_threaded, command, letters))
    return done()


def _threaded(command: c.Thread, letters: list[Sortable]) -> bytes:
    return threads.written(_ALGORITHMS[command.algorithm](letters), uid=command.uid)
