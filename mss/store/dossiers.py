"""Patients' documents: filed once per `uniqueId`, their facts sealed under the patient's key."""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Set
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    and_,
    bindparam,
    delete,
    func,
    literal_column,
    select,
    update,
)

from mss.clock import from_us, to_us
from mss.model.document import (
    Author,
    Confidentiality,
    Document,
    DocumentEntry,
    DocumentFormat,
    FiledBy,
    PatientIdentity,
)
from mss.model.ins import Traits
from mss.store.dossier_tables import awaited_documents
from mss.store.hot import Hot
from mss.store.sealing import Sealing
from mss.store.tables import documents

# Whom a document is hidden from, as bits.
HIDDEN = {
    Confidentiality.INVISIBLE_PATIENT: 1,
    Confidentiality.INVISIBLE_REPRESENTATIVES: 2,
    Confidentiality.MASKED_FOR_PROFESSIONALS: 4,
}
_ENTRY = b"document entry"
_FILE = Hot.new(documents, documents.c.id)
_AWAIT = Hot.new(awaited_documents)
_WAITING = Hot(
    select(awaited_documents.c.document_id)
    .where(
        and_(
            awaited_documents.c.box_id == bindparam("box_id"),
            awaited_documents.c.unique_digest == bindparam("unique_digest"),
        )
    )
    .order_by(awaited_documents.c.document_id)
)


class Dossiers:
    """Documents inside one unit."""

    def __init__(self, connection: Connection, sealing: Sealing) -> None:
        self._connection = connection
        self._sealing = sealing

    def file(self, document: Document) -> int | None:
        """File a document (its id is ignored); None when that `uniqueId` is filed already."""
        box_id = document.box_id
        facts = {"entry": _dump(document.entry), "category": document.category, "folder": document.folder}
        facts |= {"submission": document.submission} if document.submission else {}
        row = {
            "box_id": box_id,
            "unique_digest": self._unique(box_id, document.entry.unique_id),
            "category_digest": self._category(box_id, document.category),
            "hidden": hidden_bits(document.entry.confidentiality),
            "entry": self._sealing.seal_json(box_id, facts, _ENTRY),
            "entry_id": document.entry_id,
            "logical_id": document.logical_id,
            "object_id": document.object_id,
            "companion_object_id": document.companion_object_id,
            "email_id": document.email_id,
            "size": document.size_octets,
            "filed_at": to_us(document.filed_at),
            "filed_by": document.filed_by,
            "masked": document.masked,
            "replaced_by": None,
            "type_digest": self._type(box_id, document.entry.type_code),
        }
        new = _FILE.run(self._connection, row).fetchone()
        return None if new is None else int(new[0])

    def _unique(self, box_id: int, unique_id: str) -> bytes:
        return self._sealing.digest(b"document", b"%d" % box_id, unique_id.encode())

    def _category(self, box_id: int, category: str) -> bytes:
        return self._sealing.digest(b"category", b"%d" % box_id, category.encode())

    def _type(self, box_id: int, type_code: str) -> bytes:
        return self._sealing.digest(b"type", b"%d" % box_id, type_code.encode())

    def by_unique_id(self, box_id: int, unique_id: str) -> Document | None:
        """Return the document of a `uniqueId`."""
        where = and_(documents.c.box_id == box_id, documents.c.unique_digest == self._unique(box_id, unique_id))
        return self._document(self._connection.execute(select(documents).where(where)).first())

    def get(self, box_id: int, document_id: int) -> Document | None:
        """Return a document of a box."""
        where = and_(documents.c.box_id == box_id, documents.c.id == document_id)
        return self._document(self._connection.execute(select(documents).where(where)).first())

    def by_logical_id(self, box_id: int, logical_id: str) -> Document | None:
        """Return the document of a box that has a logical id."""
        where = and_(documents.c.box_id == box_id, documents.c.logical_id == logical_id)
        return self._document(self._connection.execute(select(documents).where(where)).first())

    def list(
        self, box_id: int, *, offset: int = 0, limit: int = 100, category: str = "", hidden_from: int = 0
    ) -> tuple[Document, ...]:
        """Return a box's documents, newest first, of one category when given; without those hidden from these bits."""
        where = self._shown(box_id, hidden_from)
        if category:
            where = and_(where, documents.c.category_digest == self._category(box_id, category))
        query = select(documents).where(where).order_by(documents.c.filed_at.desc(), documents.c.id.desc())
        rows = self._connection.execute(query.offset(offset).limit(limit))
        return tuple(document for row in rows if (document := self._document(row)))

    def _shown(self, box_id: int, hidden_from: int) -> ColumnElement[bool]:
        hidden = documents.c.hidden.bitwise_and(hidden_from)
        return and_(documents.c.box_id == box_id, hidden == literal_column("0"))

    def counts(self, box_id: int, categories: Iterable[str], *, hidden_from: int = 0) -> dict[str, int]:
        """Return how many documents of a box each of these categories has, those that have any."""
        column = documents.c.category_digest
        query = select(column, func.count()).where(self._shown(box_id, hidden_from)).group_by(column)
        names = {self._category(box_id, category): category for category in categories}
        rows = self._connection.execute(query).all()
        return {names[bytes(digest)]: count for digest, count in rows if bytes(digest) in names}

    def of_letter(self, box_id: int, object_id: int, limit: int) -> tuple[Document, ...]:
        """Return the documents of a box that came with a letter, in the order in which they were filed."""
        where = and_(documents.c.box_id == box_id, documents.c.email_id == object_id)
        rows = self._connection.execute(select(documents).where(where).order_by(documents.c.id).limit(limit))
        return tuple(document for row in rows if (document := self._document(row)))

    def replace(self, document_id: int, by: int) -> None:
        """Note that a document was replaced by another."""
        self._connection.execute(update(documents).where(documents.c.id == document_id).values(replaced_by=by))

    def expect(self, box_id: int, unique_id: str, by: int) -> None:
        """Note that a document stands in the place of one that is not here yet."""
        row = {"box_id": box_id, "unique_digest": self._unique(box_id, unique_id), "document_id": by}
        _AWAIT.run(self._connection, row)

    def expected(self, box_id: int, unique_id: str) -> tuple[int, ...]:
        """Return the documents that came before the one of a `uniqueId`, in whose place they stand, and forget it."""
        key = {"box_id": box_id, "unique_digest": self._unique(box_id, unique_id)}
        found = tuple(int(number) for (number,) in _WAITING.run(self._connection, key).fetchall())
        if found:
            mine = (awaited_documents.c[name] == value for name, value in key.items())
            self._connection.execute(delete(awaited_documents).where(*mine))
        return found

    def mask(self, box_id: int, document_id: int, masked: bool, entry_id: str) -> bool:
        """Mask a document from professionals, or show it again, under a new entry id (new at each change of its
        metadata); False when the box has no such."""
        where = and_(documents.c.box_id == box_id, documents.c.id == document_id)
        changed = update(documents).where(where).values(masked=masked, entry_id=entry_id)
        return self._connection.execute(changed).rowcount == 1

    def some(self, box_id: int, ids: Sequence[int]) -> tuple[Document, ...]:
        """Return these documents of a box, in this order; those that are not there are left out."""
        where = and_(documents.c.box_id == box_id, documents.c.id.in_(list(ids)))
        found = {row.id: self._document(row) for row in self._connection.execute(select(documents).where(where))}
        return tuple(document for one in ids if (document := found.get(one)) is not None)

    def _document(self, row: Row[Any] | None) -> Document | None:
        if row is None:
            return None
        facts = self._sealing.unseal_json(row.box_id, row.entry, _ENTRY)
        return Document(
            id=row.id,
            box_id=row.box_id,
            entry=_load(facts["entry"]),
            entry_id=row.entry_id,
            logical_id=row.logical_id,
            object_id=row.object_id,
            size_octets=row.size,
            filed_at=from_us(row.filed_at),
            filed_by=FiledBy(row.filed_by),
            category=facts["category"],
            folder=facts["folder"],
            masked=row.masked,
            replaced_by=row.replaced_by,
            email_id=row.email_id,
            companion_object_id=row.companion_object_id,
            submission=facts.get("submission", ""),
        )


def hidden_bits(confidentiality: Set[Confidentiality]) -> int:
    """Return the bits of those whom a document with these marks is hidden from."""
    return sum(bit for mark, bit in HIDDEN.items() if mark in confidentiality)


_PLAIN = (
    "unique_id",
    "title",
    "type_code",
    "type_system",
    "type_label",
    "custodian",
    "set_id",
    "version",
    "replaces",
    "appends",
    "mime_type",
    "language",
    "has_body_pdf",
)
# Facts that documents filed by older code lack.
_LATER = ("class_code", "format_code", "custodian_id")


def _dump(entry: DocumentEntry) -> dict[str, Any]:
    traits = entry.patient.traits
    return {
        **{name: getattr(entry, name) for name in (*_PLAIN, *_LATER)},
        "format": entry.format,
        "created_at": entry.created_at.isoformat() if entry.created_at else None,
        "confidentiality": sorted(entry.confidentiality),
        "identifiers": [list(pair) for pair in entry.patient.identifiers],
        "traits": [traits.birth_name, traits.first_name, traits.birth_date, traits.sex],
        "authors": [[a.name, a.person_id, a.profession_code, a.organisation, a.organisation_id] for a in entry.authors],
    }


def _load(facts: dict[str, Any]) -> DocumentEntry:
    identity = PatientIdentity(tuple((pair[0], pair[1]) for pair in facts["identifiers"]), Traits(*facts["traits"]))
    return DocumentEntry(
        **{name: facts[name] for name in _PLAIN},
        **{name: facts.get(name, "") for name in _LATER},
        format=DocumentFormat(facts["format"]),
        created_at=datetime.fromisoformat(facts["created_at"]) if facts["created_at"] else None,
        confidentiality=frozenset(Confidentiality(code) for code in facts["confidentiality"]),
        patient=identity,
        authors=tuple(Author(*author) for author in facts["authors"]),
    )
