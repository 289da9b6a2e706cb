"""Rights on a patient's dossier: what a professional may read of it, and what its patient sets (MSSANTE.md §4.7).

A door for professionals reads (`listing`, `look_up`, `open_document`), then calls `note` or `note_listing`, and gives
out what it read only once that is on disk. Every note takes the decision again, in the unit that writes it down, and
tells the patient of a first access and of an emergency. Who signs in, and with what proof, is the door's business.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final

from mss.config import Config
from mss.dossier import habilitation
from mss.dossier.categories import CATEGORIES, category_of
from mss.dossier.habilitation import Matrix
from mss.model.account import AccountKind, DelegationKind
from mss.model.audit import AuditEvent
from mss.model.document import Confidentiality, Document
from mss.model.party import BoxKind, Party
from mss.model.rights import NoticeKind, Professional, Purpose, Rights, Switch
from mss.policy import access, rules
from mss.policy.access import Standing
from mss.policy.decision import Decision, reject
from mss.services.records import OpenedDocument
from mss.store import Uow
from mss.store.dossiers import HIDDEN

# So many marks are read at a time for a page.
_CHUNK: Final = 200
_MASKED_BIT: Final = HIDDEN[Confidentiality.MASKED_FOR_PROFESSIONALS]
# One emergency is told once, however many documents are opened in it.
_SAME_EMERGENCY: Final = timedelta(hours=1)
_NOTICES_SHOWN_MAX: Final = 50


@dataclass(frozen=True, slots=True)
class Book:
    """What the operator configured: the published matrix, and what holds for patients who chose nothing."""

    matrix: Matrix | None = None
    permits: frozenset[Switch] = frozenset({Switch.REGULATION, Switch.BREAK_GLASS})
    consent_for: timedelta = timedelta(hours=24)
    grants_max: int = 200

    def allows(self, profession_code: str, type_code: str) -> bool | None:
        """Say whether a profession may read a type; None when nobody knows."""
        return None if self.matrix is None else self.matrix.allows(profession_code, type_code)


def book_of(config: Config) -> Book:
    """Read what the operator configured; Misconfigured names the file and line of the matrix to mend."""
    policy, file = config.policy, config.policy.habilitations_file
    return Book(
        None if file is None else habilitation.load(config.path(file)),
        frozenset(Switch(one) for one in policy.emergency_permits),
        timedelta(hours=policy.consent_hours),
        config.limits.dossier_grants_max,
    )


# -- who reads -------------------------------------------------------------------------------------------------------


def professional_of(uow: Uow, account_id: int, now: datetime) -> Professional | None:
    """Return who an account is to a dossier, as the directory knows its box; None for patients, robots, strangers."""
    account = uow.accounts.by_id(account_id)
    if account is None or not account.enabled or account.kind is not AccountKind.PROFESSIONAL:
        return None
    owned = (box for box, kind in uow.accounts.delegations_of(account_id, now) if kind is DelegationKind.OWNER)
    box = next((box for box in owned if box.kind is BoxKind.PER), None)
    if box is None:
        return Professional(account_id, account.display_name)
    party = uow.parties.by_address(box.address) or Party(box.address, BoxKind.PER)
    return Professional(
        account_id, account.display_name, party.person_id, party.profession_code, party.structure_id, box.address.key
    )


def rights_of(uow: Uow, book: Book, box_id: int, now: datetime) -> Rights:
    """Return all that a patient set and that counts now, with the operator's word where the patient chose nothing."""
    chosen = uow.rights.settings(box_id)
    permits = access.permitted(chosen.permits, book.permits, chosen.ends_at, now)
    return Rights(uow.rights.grants(box_id), permits, chosen.default_mask, chosen.notify)


# -- what a professional may read ------------------------------------------------------------------------------------


def judge_all(
    uow: Uow, book: Book, one: Professional, box_id: int, purpose: Purpose, now: datetime
) -> list[tuple[int, Decision]]:
    """Return (document, decision) for a whole dossier, newest first.

    Documents that decide alike share a decision, which names no document. Only those that an older program filed are
    opened for it.
    """
    refused = _closed(uow, box_id)
    marks = uow.rights.marks(box_id)
    if refused is not None:
        return [(mark[0], refused) for mark in marks]
    standing = access.standing(rights_of(uow, book, box_id, now), one, purpose, now)
    alike = _Alike(uow, book, one, box_id, standing, uow.rights.written_by(box_id, one.person_id))
    known, decide, own = alike.known, alike.decide, alike.own
    # What counts of a document is a mark's tail: a look-up for each, and a decision for each kind.
    return [(mark[0], (mark[0] not in own and known.get(mark[1:])) or decide(mark)) for mark in marks]


def _closed(uow: Uow, box_id: int) -> Decision | None:
    box = uow.accounts.box_by_id(box_id)
    if box is None or box.kind is not BoxKind.PATIENT:
        return reject(rules.ACCESS_NONE)
    return None if box.receives else reject(rules.ACCESS_BOX_CLOSED, box=box_id)


Mark = tuple[int, bytes | None, bytes, int, bool]


@dataclass(slots=True)
class _Alike:
    """Decides for documents by what counts, once for those that are alike; `own` are the professional's."""

    uow: Uow
    book: Book
    one: Professional
    box_id: int
    standing: Standing
    own: frozenset[int]
    known: dict[tuple[bytes | None, bytes, int, bool], Decision] = field(default_factory=dict)
    types: Mapping[bytes, str] = field(init=False)
    categories: Mapping[bytes, str] = field(init=False)

    def __post_init__(self) -> None:
        types = self.book.matrix.allowed if self.book.matrix is not None else ()
        self.types = self.uow.rights.digests(b"type", self.box_id, types)
        self.categories = self.uow.rights.digests(b"category", self.box_id, CATEGORIES)

    def decide(self, mark: Mark) -> Decision:
        """Return the decision for a document with this mark, and keep it for those that are alike."""
        number, type_digest, category, hidden, masked = mark
        known = self.known.get(mark[1:]) if number not in self.own else None
        if known is not None:
            return known
        if type_digest is None:
            # Filed by an older program, which kept no marks of it.
            document = self.uow.dossiers.get(self.box_id, number)
            assert document is not None
            return access.may_read_document(_facts(self.book, self.one, self.standing, document))
        type_code = self.types.get(bytes(type_digest), "")
        facts = self.standing.facts(
            0,
            self.categories.get(bytes(category), ""),
            masked=bool(masked or hidden & _MASKED_BIT),
            is_author=number in self.own,
            matrix_allows=self.book.allows(self.one.profession_code, type_code) if type_code else None,
        )
        decision = access.may_read_document(facts)
        if number not in self.own:
            self.known[mark[1:]] = decision
        return decision


def _facts(book: Book, one: Professional, standing: Standing, document: Document) -> access.ReadingFacts:
    entry = document.entry
    return standing.facts(
        document.id,
        document.category or category_of(entry.type_code),
        masked=document.masked or Confidentiality.MASKED_FOR_PROFESSIONALS in entry.confidentiality,
        is_author=bool(one.person_id) and one.person_id in {author.person_id for author in entry.authors},
        matrix_allows=book.allows(one.profession_code, entry.type_code),
    )


@dataclass(frozen=True, slots=True)
class Listing:
    """A page of the documents that a professional may read, newest first; how many there are, and how many documents
    each rule decided (allowed and refused alike)."""

    documents: tuple[tuple[Document, Decision], ...]
    readable: int
    rules: Mapping[str, int]


def listing(
    uow: Uow,
    book: Book,
    one: Professional,
    box_id: int,
    purpose: Purpose,
    now: datetime,
    offset: int = 0,
    limit: int = 50,
) -> Listing:
    """Return a page of what a professional may read in a dossier."""
    tally = _tally(uow, book, one, box_id, purpose, now)
    if tally.alike is None:
        return Listing((), 0, tally.counts)
    readable = sum(count for name, count in tally.counts.items() if tally.by_rule[name].accepted)
    page = _page(uow, tally.alike, tally.types, offset, limit)
    documents = uow.dossiers.some(box_id, list(page))
    return Listing(
        tuple((document, _of(page[document.id], document.id)) for document in documents), readable, tally.counts
    )


@dataclass(slots=True)
class _Tally:
    """How many documents each rule decides, one decision of each rule, and the types of which some may be read."""

    alike: _Alike | None = None
    counts: dict[str, int] = field(default_factory=dict)
    by_rule: dict[str, Decision] = field(default_factory=dict)
    types: set[bytes] = field(default_factory=set)

    def add(self, decision: Decision, count: int) -> None:
        """Count documents of a decision; a rule whose documents are all taken back is not told of."""
        name = decision.rule.name
        self.counts[name] = self.counts.get(name, 0) + count
        self.by_rule[name] = decision
        if not self.counts[name]:
            del self.counts[name]


def _tally(uow: Uow, book: Book, one: Professional, box_id: int, purpose: Purpose, now: datetime) -> _Tally:
    """Judge a whole dossier by what its documents are alike in, without a look at each."""
    refused, tally = _closed(uow, box_id), _Tally()
    if refused is not None:
        for kind in uow.rights.kinds(box_id):
            tally.add(refused, kind[-1])
        return tally
    standing = access.standing(rights_of(uow, book, box_id, now), one, purpose, now)
    tally.alike = alike = _Alike(uow, book, one, box_id, standing, uow.rights.written_by(box_id, one.person_id))
    for type_digest, category, hidden, masked, count in uow.rights.kinds(box_id):
        if type_digest is not None:
            decision = alike.decide((0, type_digest, category, hidden, masked))
            tally.add(decision, count)
            tally.types |= {bytes(type_digest)} if decision.accepted else set()
    for mark in uow.rights.marks_of(box_id, alike.own):
        tally.add(alike.decide(mark), 1)
        if mark[1] is not None:
            tally.add(alike.decide((0, *mark[1:])), -1)
    return tally


def _page(uow: Uow, alike: _Alike, types: set[bytes], offset: int, limit: int) -> dict[int, Decision]:
    """Return the documents of a page that may be read, newest first, with their decisions."""
    found: dict[int, Decision] = {}
    skipped, seen = 0, 0
    while len(found) < limit:
        marks = uow.rights.marks_among(alike.box_id, types, alike.own, seen, _CHUNK)
        for mark in marks:
            decision = alike.decide(mark)
            skipped += decision.accepted
            if decision.accepted and skipped > offset and len(found) < limit:
                found[mark[0]] = decision
        seen += len(marks)
        if len(marks) < _CHUNK:
            break
    return found


def _of(decision: Decision, document_id: int) -> Decision:
    return replace(decision, facts={**decision.facts, "document": document_id})


def judge(
    uow: Uow, book: Book, one: Professional, box_id: int, document_id: int, purpose: Purpose, now: datetime
) -> tuple[Decision, Document | None]:
    """Say whether a professional may open a document, and return it whatever the answer; None: there is no such."""
    document = uow.dossiers.get(box_id, document_id)
    refused = _closed(uow, box_id)
    if document is None or refused is not None:
        return refused or reject(rules.DOCUMENT_UNKNOWN, document=document_id), document
    standing = access.standing(rights_of(uow, book, box_id, now), one, purpose, now)
    return access.may_read_document(_facts(book, one, standing, document)), document


def look_up(
    uow: Uow, book: Book, one: Professional, box_id: int, document_id: int, purpose: Purpose, now: datetime
) -> tuple[Decision, Document | None]:
    """Say whether a professional may open a document; its facts only when they may."""
    decision, document = judge(uow, book, one, box_id, document_id, purpose, now)
    return decision, document if decision.accepted else None


def open_document(
    uow: Uow, book: Book, one: Professional, box_id: int, document_id: int, purpose: Purpose, now: datetime
) -> tuple[Decision, OpenedDocument | None]:
    """Return a document with its octets, when a professional may open it; `note` before giving it out."""
    decision, document = look_up(uow, book, one, box_id, document_id, purpose, now)
    if document is None:
        return decision, None
    twin = document.companion_object_id
    octets = uow.objects.get(box_id, document.object_id)
    return decision, OpenedDocument(document, octets, uow.objects.get(box_id, twin) if twin is not None else None)


# -- written down, and told ------------------------------------------------------------------------------------------


def note(
    uow: Uow,
    book: Book,
    one: Professional,
    box_id: int,
    document_id: int,
    purpose: Purpose,
    now: datetime,
    actor: str = "",
) -> Decision:
    """Write down that a professional opened a document or was refused, and tell the patient; decides again.

    `actor` is who typed when it was not the professional (an operator with the professional's rights).
    """
    decision, document = judge(uow, book, one, box_id, document_id, purpose, now)
    if document is not None:
        _write(uow, one, actor, "dossier.read", f"document:{document_id}", decision, box_id, dict(decision.facts), now)
        _tell(uow, book, one, box_id, decision, now)
    return decision


def note_listing(
    uow: Uow, book: Book, one: Professional, box_id: int, purpose: Purpose, now: datetime, actor: str = ""
) -> Decision:
    """Write down that a professional listed a dossier, with how many documents each rule allowed or refused.

    The decision is the one that tells most: an emergency, else any that allows, else the commonest refusal.
    """
    tally = _tally(uow, book, one, box_id, purpose, now)
    counts, by_rule = tally.counts, tally.by_rule
    allowed = [by_rule[name] for name in counts if by_rule[name].accepted]
    emergency = by_rule[rules.DOCUMENT_EMERGENCY.name] if rules.DOCUMENT_EMERGENCY.name in counts else None
    refused = by_rule[max(counts, key=lambda name: counts[name])] if counts else _nothing(uow, box_id)
    decision = emergency or next(iter(allowed), refused)
    if uow.accounts.box_by_id(box_id) is not None:
        facts: dict[str, str | int | bool | None] = {"purpose": purpose.value, **counts}
        _write(uow, one, actor, "dossier.list", f"box:{box_id}", decision, box_id, facts, now)
        _tell(uow, book, one, box_id, decision, now)
    return decision


def _nothing(uow: Uow, box_id: int) -> Decision:
    return _closed(uow, box_id) or reject(rules.DOCUMENT_UNKNOWN, box=box_id)


def _write(
    uow: Uow,
    one: Professional,
    actor: str,
    action: str,
    target: str,
    decision: Decision,
    box_id: int,
    facts: dict[str, str | int | bool | None],
    now: datetime,
) -> None:
    facts |= {"as": one.account_id} if actor else {}
    event = AuditEvent(
        actor or f"account:{one.account_id}",
        action,
        target,
        decision.verdict.value,
        decision.rule.name,
        box_id,
        facts,
    )
    uow.journal.write(event, now)


def _tell(uow: Uow, book: Book, one: Professional, box_id: int, decision: Decision, now: datetime) -> None:
    """Tell the patient of an emergency access, and of a professional's first access."""
    if not decision.accepted:
        return
    first = uow.rights.meet(box_id, f"person:{one.person_id}" if one.person_id else f"account:{one.account_id}", now)
    if decision.rule is rules.DOCUMENT_EMERGENCY:
        if not _told_lately(uow, box_id, one, now):
            # An emergency is told whatever the patient wished: that is the price of opening without consent.
            uow.rights.notify(box_id, NoticeKind.EMERGENCY_ACCESS, one.name, now, hook=True)
    elif first:
        hook = rights_of(uow, book, box_id, now).notify
        uow.rights.notify(box_id, NoticeKind.FIRST_ACCESS, one.name, now, hook=hook)


def _told_lately(uow: Uow, box_id: int, one: Professional, now: datetime) -> bool:
    return any(
        notice.kind is NoticeKind.EMERGENCY_ACCESS and notice.name == one.name and now - notice.at < _SAME_EMERGENCY
        for notice in uow.rights.notices(box_id, _NOTICES_SHOWN_MAX)
    )
