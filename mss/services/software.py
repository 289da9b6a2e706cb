"""What the interface for software asks of a dossier: whose it is, what may be read of it, and documents provided to it.

A door reads (`read`, `search`), then calls `note` or `note_search`, and gives out what it read only once that is on
disk and allowed. Professionals are judged by `services.rights`, patients by `services.accesses`; robots provide
documents and read none. Identifiers that leave the house are opaque: a matricule is in none of them.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import date, datetime
from hmac import compare_digest
from typing import Any, Final

from mss.config import Limits
from mss.dossier import filing
from mss.dossier.categories import category_of
from mss.model.account import Account, AccountKind, Box
from mss.model.address import Address
from mss.model.audit import AuditEvent
from mss.model.document import AttachedDocument, Document, FiledBy, Submission
from mss.model.filing import FilingReason
from mss.model.ins import INS
from mss.model.party import BoxKind
from mss.model.rights import Professional, Purpose
from mss.policy import rules
from mss.policy.decision import Decision, accept, reject
from mss.services import accesses, deliver, records, rights
from mss.services.accesses import Look, Sight
from mss.services.house import Hosted
from mss.services.records import OpenedDocument
from mss.services.rights import Book
from mss.store import Uow
from mss.store.crypto import Damaged
from mss.store.sealing import OPERATOR

_CHUNK: Final = 200
_BOX_ID: Final = re.compile(r"([0-9a-f]{1,12})-([0-9a-f]{24})\Z", re.ASCII)
_DOCUMENT_ID: Final = re.compile(r"([0-9a-f]{1,12})-([0-9a-f]{32})\Z", re.ASCII)


# -- names that leave the house --------------------------------------------------------------------------------------


def patient_id(uow: Uow, box_id: int) -> str:
    """Return the logical id of a patient's box: its number, and a mark that nobody can guess."""
    return f"{box_id:x}-{_mark(uow, box_id)}"


def _mark(uow: Uow, box_id: int) -> str:
    return uow.sealing.digest(b"logical id of a patient", b"%d" % box_id)[:12].hex()


def box_of_id(uow: Uow, logical_id: str) -> Box | None:
    """Return the patient's box of a logical id; None when there is no such."""
    match = _BOX_ID.match(logical_id)
    if match is None or not compare_digest(match.group(2), _mark(uow, int(match.group(1), 16))):
        return None
    box = uow.accounts.box_by_id(int(match.group(1), 16))
    return box if box is not None and box.kind is BoxKind.PATIENT else None


def box_of_ins(uow: Uow, hosted: Hosted, ins: INS) -> Box | None:
    """Return the box of ours that a patient of this INS has; None when there is none."""
    for domain, kind in hosted.domains.items():
        box = uow.accounts.box_by_address(Address(ins.matricule, domain)) if kind == "patient" else None
        if box is not None and box.ins == ins:
            return box
    return None


def document_id(document: Document) -> str:
    """Return the id under which software knows a document: the same through changes of its metadata."""
    return f"{document.box_id:x}-{document.logical_id}"


def document_of_id(uow: Uow, name: str) -> Document | None:
    """Return the document that software calls so; None when there is no such."""
    match = _DOCUMENT_ID.match(name)
    return None if match is None else uow.dossiers.by_logical_id(int(match.group(1), 16), match.group(2))


def set_id(uow: Uow, document: Document) -> str:
    """Return the id of the submission set that a document came in; empty when its patient filed it by hand."""
    if document.submission:
        return _list_id(uow, document.box_id, "s", document.submission)
    by_letter = document.filed_by is FiledBy.LETTER and document.email_id is not None
    return _list_id(uow, document.box_id, "s", f"letter:{document.email_id}") if by_letter else ""


def folder_id(uow: Uow, document: Document) -> str:
    """Return the id of the folder that a document stands in; empty when it stands in none."""
    return _list_id(uow, document.box_id, "f", document.folder) if document.folder else ""


def _list_id(uow: Uow, box_id: int, kind: str, name: str) -> str:
    digest = uow.sealing.digest(b"list of software", b"%d" % box_id, kind.encode(), name.encode())
    return f"{box_id:x}-{kind}{digest[:12].hex()}"


# -- who asks --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, and for what purpose; `professional` is who a professional is to dossiers."""

    account: Account
    purpose: Purpose = Purpose.TREATMENT
    professional: Professional | None = None

    @property
    def actor(self) -> str:
        """Who it is in the journal."""
        return f"account:{self.account.id}"


def caller_of(uow: Uow, account: Account, purpose: Purpose, now: datetime) -> Caller:
    """Return who an account is to this interface."""
    return Caller(account, purpose, rights.professional_of(uow, account.id, now))


def _refuse(uow: Uow, caller: Caller, action: str, target: str, box_id: int | None, now: datetime) -> Decision:
    """Write down that somebody asked who reads nothing here: a robot, or about nobody that we know."""
    wrong = caller.professional is None and caller.account.kind is not AccountKind.PATIENT
    decision = reject(rules.ACCESS_WRONG_KIND if wrong else rules.ACCESS_NONE)
    event = AuditEvent(caller.actor, action, target, decision.verdict.value, decision.rule.name, box_id)
    uow.journal.write(event, now)
    return decision


# -- reading ---------------------------------------------------------------------------------------------------------


def read(uow: Uow, book: Book, caller: Caller, document: Document, now: datetime) -> OpenedDocument | None:
    """Return a document with its octets, when the caller may have it; `note` before giving it out."""
    if caller.professional is not None:
        where = (document.box_id, document.id, caller.purpose, now)
        return rights.open_document(uow, book, caller.professional, *where)[1]
    return records.open_document(uow, caller.account.id, document.box_id, document.id, now)


def note(uow: Uow, book: Book, caller: Caller, document: Document, now: datetime) -> Decision:
    """Write down that a document was read or refused, and decide again."""
    if caller.professional is not None:
        where = (document.box_id, document.id, caller.purpose, now)
        return rights.note(uow, book, caller.professional, *where)
    if caller.account.kind is AccountKind.PATIENT:
        look = Look(Sight.DOCUMENT, document.id)
        return accesses.note(uow, caller.account.id, document.box_id, look, True, now)
    return _refuse(uow, caller, "dossier.read", f"document:{document.id}", document.box_id, now)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a search asks for; empty: anything. `days` are (comparison, day) of the document's own date (UTC)."""

    types: frozenset[str] = frozenset()
    categories: frozenset[str] = frozenset()
    authors: frozenset[str] = frozenset()
    states: frozenset[str] = frozenset()
    days: tuple[tuple[str, date], ...] = ()

    def fits(self, document: Document) -> bool:
        """Say whether a document is wanted."""
        entry = document.entry
        category = document.category or category_of(entry.type_code)
        state = "superseded" if document.replaced_by is not None else "current"
        day = (entry.created_at or document.filed_at).date()
        return (
            (not self.types or entry.type_code in self.types)
            and (not self.categories or bool({entry.class_code, category} & self.categories))
            and (not self.states or state in self.states)
            and (not self.authors or bool({one.person_id for one in entry.authors} & self.authors))
            and all(COMPARISONS[how](day, other) for how, other in self.days)
        )


COMPARISONS: Final[dict[str, Callable[[date, date], bool]]] = {
    "eq": lambda one, other: one == other,
    "ne": lambda one, other: one != other,
    "gt": lambda one, other: one > other,
    "lt": lambda one, other: one < other,
    "ge": lambda one, other: one >= other,
    "le": lambda one, other: one <= other,
}


@dataclass(frozen=True, slots=True)
class Found:
    """Documents of a page, newest first; `next_offset` of what was not looked through yet."""

    documents: tuple[Document, ...] = ()
    next_offset: int | None = None


def search(
    uow: Uow,
    book: Book,
    caller: Caller,
    box_id: int,
    wanted: Wanted,
    page: tuple[int, int],
    limits: Limits,
    now: datetime,
) -> Found:
    """Return a page (offset, count) of what the caller may read; a request looks through so many and no more."""
    offset, count = page
    end = offset + limits.fhir_looked_through_max
    found: list[Document] = []
    for at, document in enumerate(_readable(uow, book, caller, box_id, offset, end, now), offset):
        if len(found) == count:
            return Found(tuple(found), at)
        if wanted.fits(document):
            found.append(document)
        offset = at + 1
    return Found(tuple(found), offset if offset >= end else None)


def _readable(
    uow: Uow, book: Book, caller: Caller, box_id: int, offset: int, end: int, now: datetime
) -> Iterator[Document]:
    while offset < end:
        limit = min(_CHUNK, end - offset)
        if caller.professional is not None:
            listing = rights.listing(uow, book, caller.professional, box_id, caller.purpose, now, offset, limit)
            chunk = tuple(document for document, _ in listing.documents)
        else:
            chunk = records.documents(uow, caller.account.id, box_id, now, offset=offset, limit=limit)
        yield from chunk
        offset += limit
        if len(chunk) < limit:
            return


def note_search(uow: Uow, book: Book, caller: Caller, box_id: int | None, now: datetime) -> Decision:
    """Write down that a dossier was searched, and decide again; None: nobody's dossier was found."""
    if box_id is not None and caller.professional is not None:
        return rights.note_listing(uow, book, caller.professional, box_id, caller.purpose, now)
    if box_id is not None and caller.account.kind is AccountKind.PATIENT:
        return accesses.note(uow, caller.account.id, box_id, Look(Sight.DOCUMENTS), True, now)
    return _refuse(uow, caller, "dossier.list", f"box:{box_id or 0}", box_id, now)


# -- providing -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Deposit:
    """Documents provided in one submission set for one dossier: all are filed, or none."""

    box_id: int
    documents: tuple[AttachedDocument, ...]
    submission: str

    def heavy(self) -> tuple[bytes, ...]:
        """Return the octets that may be too large for a row."""
        return tuple(octets for one in self.documents for octets in (one.octets, one.companion_pdf) if octets)


@dataclass(frozen=True, slots=True)
class Provided:
    """What became of a deposit: the documents with whether each is new; else why, and which one stands in the way."""

    decision: Decision
    documents: tuple[tuple[Document, bool], ...] = ()
    reason: FilingReason | None = None
    known_otherwise: bool = False


def provide(uow: Uow, hosted: Hosted, caller: Caller, deposit: Deposit, now: datetime) -> Provided:
    """File documents as those of a letter are, under the patient whom they name, once for each unique id."""
    box = uow.accounts.box_by_id(deposit.box_id)
    refused = _unfit(uow, hosted, caller, box, deposit, now)
    if box is None or refused is not None:
        provided = refused or Provided(reject(rules.ACCESS_NONE))
        _note_deposit(uow, caller, deposit, provided, now)
        return provided
    provided = Provided(
        accept(rules.ACCESS_GRANTED), tuple(_filed(uow, caller, box, one, deposit, now) for one in deposit.documents)
    )
    _note_deposit(uow, caller, deposit, provided, now)
    return provided


def note_refused(uow: Uow, caller: Caller, deposit: Deposit, decision: Decision, now: datetime) -> None:
    """Write down that documents were refused before any of them was filed: by the antivirus."""
    _note_deposit(uow, caller, deposit, Provided(decision), now)


def may_provide(uow: Uow, caller: Caller, now: datetime) -> Decision:
    """Say whether somebody may provide documents: a professional or a robot that acts for a professional box."""
    if caller.account.kind is AccountKind.PATIENT:
        return reject(rules.ACCESS_WRONG_KIND)
    boxes = uow.accounts.delegations_of(caller.account.id, now)
    acts = any(box.kind is not BoxKind.PATIENT and box.receives for box, _ in boxes)
    return accept(rules.ACCESS_GRANTED) if acts else reject(rules.ACCESS_NONE)


def _unfit(
    uow: Uow, hosted: Hosted, caller: Caller, box: Box | None, deposit: Deposit, now: datetime
) -> Provided | None:
    may = may_provide(uow, caller, now)
    if not may.accepted:
        return Provided(may)
    if box is None or box.ins is None:
        return Provided(reject(rules.ACCESS_NONE))
    if not box.receives:
        return Provided(reject(rules.ACCESS_BOX_CLOSED, box=box.id))
    test = hosted.policy.test_identities
    verdict = filing.match(box.ins, box.traits, Submission(deposit.documents), test_identities=test)
    for one in verdict.documents:
        if not one.filed:
            other = one.reason is FilingReason.OTHER_PATIENT
            rule = rules.DOCUMENT_OTHER_PATIENT if other else rules.DOCUMENT_NOT_YOURS
            return Provided(reject(rule, reason=one.reason.value), reason=one.reason)
    if any(_known_otherwise(uow, box.id, one) for one in deposit.documents):
        return Provided(reject(rules.DOCUMENT_NOT_YOURS, reason="known-otherwise"), known_otherwise=True)
    return None


def _known_otherwise(uow: Uow, box_id: int, one: AttachedDocument) -> bool:
    """Say whether another document has this unique id: a writer's mistake that nobody must answer with “filed”."""
    known = uow.dossiers.by_unique_id(box_id, one.entry.unique_id)
    if known is None:
        return False
    return known.size_octets != len(one.octets) or uow.objects.get(box_id, known.object_id) != one.octets


def _filed(
    uow: Uow, caller: Caller, box: Box, one: AttachedDocument, deposit: Deposit, now: datetime
) -> tuple[Document, bool]:
    stored = uow.objects.put(one.octets, now)
    uow.objects.hold(box.id, stored)
    twin = uow.objects.put(one.companion_pdf, now) if one.companion_pdf else None
    if twin is not None:
        uow.objects.hold(box.id, twin)
    document = Document(
        id=0,
        box_id=box.id,
        entry=one.entry,
        entry_id=secrets.token_hex(16),
        logical_id=secrets.token_hex(16),
        object_id=stored.id,
        size_octets=len(one.octets),
        filed_at=now,
        # By a professional's act, as a letter's; programs before this one know no other word for it.
        filed_by=FiledBy.LETTER,
        category=category_of(one.entry.type_code),
        companion_object_id=twin.id if twin else None,
        submission=deposit.submission,
    )
    number = deliver.keep_document(uow, document, caller.actor, now)
    if number is not None:
        return replace(document, id=number), True
    known = uow.dossiers.by_unique_id(box.id, one.entry.unique_id)
    assert known is not None
    return known, False


def _note_deposit(uow: Uow, caller: Caller, deposit: Deposit, provided: Provided, now: datetime) -> None:
    decision = provided.decision
    facts: dict[str, str | int | bool | None] = {"documents": len(deposit.documents)}
    facts |= {"reason": provided.reason.value} if provided.reason else {}
    box_id = deposit.box_id or None
    event = AuditEvent(
        caller.actor,
        "document.provide",
        f"box:{deposit.box_id}",
        decision.verdict.value,
        decision.rule.name,
        box_id,
        facts,
    )
    uow.journal.write(event, now)


# -- a page's continuation -------------------------------------------------------------------------------------------

_PAGE: Final = b"page of software"


def seal_page(uow: Uow, facts: dict[str, Any]) -> bytes:
    """Return where a search goes on, so that only this house can read it."""
    return uow.sealing.seal_json(OPERATOR, facts, _PAGE)


def unseal_page(uow: Uow, sealed: bytes) -> dict[str, Any] | None:
    """Return where a search goes on; None when this is not ours."""
    try:
        found: dict[str, Any] = uow.sealing.unseal_json(OPERATOR, sealed, _PAGE)
    except Damaged:
        return None
    return found
