"""Putting a document into the dossier by the patient's own hand (MSSANTE.md §4.4): a file of a letter, or a clinical
document that a letter brought and that did not file itself.

What filed itself is `deliver`'s work. Who the document names is judged by `dossier.filing` when the letter arrives; the
reason is kept with the letter and decides here what the patient may still do.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime, time
from types import MappingProxyType
from typing import Final

from mss.dossier.filing import DEPOSIT_TYPES, Unfileable, fileable_by_patient
from mss.model.account import Box
from mss.model.document import (
    AttachedDocument,
    Author,
    Document,
    DocumentEntry,
    DocumentFormat,
    FiledBy,
    PatientIdentity,
)
from mss.model.filing import FilingReason
from mss.model.ins import Traits
from mss.policy import rules
from mss.policy.access import Action
from mss.policy.decision import Decision, reject
from mss.services import deliver
from mss.services.accesses import may
from mss.services.house import Hosted
from mss.store import Uow
from mss.store.objects import Stored

# Reasons that a patient may overrule by saying “this is mine”: the matricule is right, the rest is written otherwise.
ACCEPTABLE: Final = frozenset({FilingReason.OID_DIFFERS, FilingReason.TRAITS_INCOMPLETE, FilingReason.TRAITS_DIFFER})
# Reasons that leave the readable twin to be filed as a file of the patient's own: no valid identity speaks against it.
TWIN_ONLY: Final = frozenset({FilingReason.NO_INS, FilingReason.BAD_MATRICULE})


@dataclass(frozen=True, slots=True)
class FilingWish:
    """What a patient says of an attachment to file (MSSANTE.md §4.4)."""

    title: str
    date: date
    folder: str
    category: str


@dataclass(frozen=True, slots=True)
class OwnFile:
    """A file of a letter to be filed as the patient's own, and what the patient says of it."""

    email_id: int
    octets: bytes
    name: str
    wish: FilingWish

    def heavy(self) -> tuple[bytes, ...]:
        """Return the octets that may be too large for a row."""
        return (self.octets,)


@dataclass(frozen=True, slots=True)
class Accepted:
    """A clinical document of a letter that the patient says is theirs, and where it is to stand."""

    email_id: int
    document: AttachedDocument
    folder: str
    category: str

    def heavy(self) -> tuple[bytes, ...]:
        """Return the octets that may be too large for a row."""
        twin = self.document.companion_pdf
        return (self.document.octets,) if twin is None else (self.document.octets, twin)


Filed = tuple[Decision, Document | None]


def file_attachment(uow: Uow, hosted: Hosted, account_id: int, box_id: int, filing: OwnFile, now: datetime) -> Filed:
    """File an attachment by the patient's hand; the same octets twice give the same document."""
    box, decision = _may_add(uow, account_id, box_id, filing.email_id, now)
    if box is None or not decision.accepted:
        return decision, None
    fileable = fileable_by_patient(filing.octets, filing.name, hosted.limits)
    if isinstance(fileable, Unfileable):
        return reject(rules.ATTACHMENT_NOT_FILEABLE, reason=fileable.value), None
    stored = uow.objects.put(filing.octets, now)
    uow.objects.hold(box_id, stored)
    # The same octets give the same identifier, so that they are filed once (RFC 9562 §5.5, OID arc 2.25).
    unique_id = f"2.25.{int.from_bytes(uow.sealing.digest(b'by hand', filing.octets)[:16], 'big')}"
    entry = _own_entry(box, filing.wish, fileable, unique_id, now)
    own = _Own(entry, stored, len(filing.octets), filing.email_id, filing.wish.folder, filing.wish.category)
    return decision, _keep(uow, account_id, box_id, own, now)


def accept_document(uow: Uow, account_id: int, box_id: int, accepted: Accepted, now: datetime) -> Filed:
    """File a clinical document that names the patient in other words, as it came, because the patient says so."""
    box, decision = _may_add(uow, account_id, box_id, accepted.email_id, now)
    if box is None or not decision.accepted:
        return decision, None
    found = accepted.document
    reason = reasons_of(uow, box_id, accepted.email_id).get(found.entry.unique_id)
    if reason not in ACCEPTABLE or found.defect:
        return reject(rules.DOCUMENT_NOT_YOURS, reason=reason.value if reason else ""), None
    stored = uow.objects.put(found.octets, now)
    uow.objects.hold(box_id, stored)
    twin = uow.objects.put(found.companion_pdf, now) if found.companion_pdf else None
    if twin is not None:
        uow.objects.hold(box_id, twin)
    own = _Own(found.entry, stored, len(found.octets), accepted.email_id, accepted.folder, accepted.category, twin)
    return decision, _keep(uow, account_id, box_id, own, now)


def reasons_of(uow: Uow, box_id: int, email_id: int) -> Mapping[str, FilingReason]:
    """Return, by unique id, why each document of a letter was filed or not when it arrived."""
    letter = uow.conversations.letter(box_id, email_id)
    found = letter.filing if letter is not None else ()
    return MappingProxyType({unique_id: FilingReason(reason) for unique_id, reason in found})


def _may_add(uow: Uow, account_id: int, box_id: int, email_id: int, now: datetime) -> tuple[Box | None, Decision]:
    box = uow.accounts.box_by_id(box_id)
    if box is None or uow.conversations.letter(box_id, email_id) is None:
        return None, reject(rules.ACCESS_NONE)
    return box, may(uow, account_id, box, Action.ADD_DOCUMENTS, now)


def _own_entry(
    box: Box, wish: FilingWish, fileable: tuple[DocumentFormat, str], unique_id: str, now: datetime
) -> DocumentEntry:
    document_format, mime_type = fileable
    return DocumentEntry(
        unique_id=unique_id,
        format=document_format,
        title=wish.title,
        type_code=DEPOSIT_TYPES.get(wish.category, ""),
        created_at=datetime.combine(wish.date, time(), tzinfo=now.tzinfo),
        mime_type=mime_type,
        patient=PatientIdentity(((box.ins.matricule, box.ins.oid),) if box.ins else (), box.traits or Traits()),
        authors=(Author(box.display_name),),
    )


@dataclass(frozen=True, slots=True)
class _Own:
    entry: DocumentEntry
    stored: Stored
    size_octets: int
    email_id: int
    folder: str
    category: str
    twin: Stored | None = None


def _keep(uow: Uow, account_id: int, box_id: int, own: _Own, now: datetime) -> Document | None:
    """Write the document into the dossier; the one of the same `uniqueId` when there is one already."""
    document = Document(
        id=0,
        box_id=box_id,
        entry=own.entry,
        entry_id=secrets.token_hex(16),
        logical_id=secrets.token_hex(16),
        object_id=own.stored.id,
        size_octets=own.size_octets,
        filed_at=now,
        filed_by=FiledBy.PATIENT,
        category=own.category,
        folder=own.folder,
        email_id=own.email_id,
        companion_object_id=own.twin.id if own.twin else None,
    )
    document_id = deliver.keep_document(uow, document, f"account:{account_id}", now)
    known = uow.dossiers.by_unique_id(box_id, document.entry.unique_id)
    return known if document_id is None else replace(document, id=document_id)
