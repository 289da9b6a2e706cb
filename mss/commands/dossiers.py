"""What `mss dossier` does: reads with a professional's rights, writes the look down, then prints."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from mss.clock import Clock
from mss.commands.house import actor, address_of, in_store
from mss.commands.output import say, say_json, table
from mss.config import Config
from mss.errors import Malformed
from mss.model.document import Document
from mss.model.party import BoxKind
from mss.model.rights import Professional, Purpose
from mss.policy.decision import Decision
from mss.policy.explain import explain
from mss.services import rights
from mss.services.records import OpenedDocument
from mss.services.rights import Book, Listing
from mss.store import Store, Uow


def _who(uow: Uow, reader: str, patient: str, now: datetime) -> tuple[Professional, int]:
    """Return the professional and the patient's box; Malformed says which is not there."""
    account = uow.accounts.by_login(reader.lower())
    one = rights.professional_of(uow, account.id, now) if account is not None else None
    if one is None:
        raise Malformed("--as names no professional's account: `mss account list` shows them")
    box = uow.accounts.box_by_address(address_of(patient, "the patient"))
    if box is None or box.kind is not BoxKind.PATIENT:
        raise Malformed("there is no such patient's box")
    return one, box.id


def show_list(
    config: Config, clock: Clock, patient: str, reader: str, purpose: Purpose, limit: int, *, as_json: bool
) -> None:
    """Print the documents that a professional may read, and the rules of all."""
    book, now = rights.book_of(config), clock()

    async def work(store: Store) -> Listing:
        one, box_id = await store.read(_who, reader, patient, now)
        found = await store.read(rights.listing, book, one, box_id, purpose, now, 0, limit)
        await store.write(rights.note_listing, book, one, box_id, purpose, now, actor())
        return found

    found = in_store(config, work)
    if as_json:
        for document, decision in found.documents:
            say_json(_facts(document) | {"rule": decision.rule.name})
        return
    rows = [
        (str(one.id), f"{one.entry.created_at or one.filed_at:%Y-%m-%d}", one.category, one.entry.title, by.rule.name)
        for one, by in found.documents
    ]
    table(("NUMBER", "DATE", "CATEGORY", "TITLE", "RULE"), rows, nothing="This professional may read no document.")
    for name, count in sorted(found.rules.items()):
        say(f"{count} by {name}")


def _facts(document: Document) -> dict[str, object]:
    entry = document.entry
    return {
        "number": document.id,
        "unique_id": entry.unique_id,
        "type": entry.type_code,
        "title": entry.title,
        "category": document.category,
        "filed_at": document.filed_at.isoformat(),
        "size_octets": document.size_octets,
    }


def show_one(
    config: Config,
    clock: Clock,
    patient: str,
    number: int,
    reader: str,
    purpose: Purpose,
    save: Path | None,
    *,
    as_json: bool,
) -> bool:
    """Print the decision on one document and what it says of itself; False when it was refused."""
    book, now = rights.book_of(config), clock()
    decision, opened = in_store(config, lambda store: _opened(store, book, patient, number, reader, purpose, now))
    if as_json:
        known = _facts(opened.document) if opened is not None else {"number": number}
        say_json(known | {"verdict": decision.verdict.value, "rule": decision.rule.name})
    else:
        for line in explain(decision):
            say(line)
        for name, value in _facts(opened.document).items() if opened is not None else ():
            say(f"  {name}: {value}")
    if opened is not None and save is not None:
        with save.open("xb") as file:
            file.write(opened.octets)
    return decision.accepted


async def _opened(
    store: Store, book: Book, patient: str, number: int, reader: str, purpose: Purpose, now: datetime
) -> tuple[Decision, OpenedDocument | None]:
    """Open a document once the look is written down."""
    one, box_id = await store.read(_who, reader, patient, now)
    _, opened = await store.read(rights.open_document, book, one, box_id, number, purpose, now)
    decision = await store.write(rights.note, book, one, box_id, number, purpose, now, actor())
    return decision, opened if decision.accepted else None
