"""The attestation of a caregiver, filed in the helped person's own documents when the invitation is accepted
(MSSANTE.md §4.5): who helps whom since when, and what a caregiver may and may not do.

What is allowed is decided in `policy.access`; the text says it in the words of a person.
"""

from __future__ import annotations

import secrets
from datetime import datetime
from typing import Final
from zoneinfo import ZoneInfo

from mss.dossier.filing import DEPOSIT_TYPES
from mss.dossier.make import make_pdf
from mss.model.account import Box
from mss.model.document import Author, Document, DocumentEntry, DocumentFormat, FiledBy, PatientIdentity
from mss.model.ins import Traits
from mss.services import deliver
from mss.store import Uow
from mss.store.rights import Invitation

TITLE: Final = "Attestation d’aidant"
_CATEGORY: Final = "DOC_ADM"
_FRANCE: Final = ZoneInfo("Europe/Paris")


def attest(uow: Uow, box: Box, account_id: int, invitation: Invitation, now: datetime) -> None:
    """File the attestation of an accepted invitation; the same invitation gives one document."""
    account = uow.accounts.by_id(account_id)
    name = account.display_name if account is not None and account.display_name else invitation.name
    octets = make_pdf(_lines(box.display_name, name, invitation.created_at, now))
    stored = uow.objects.put(octets, now)
    uow.objects.hold(box.id, stored)
    mark = uow.sealing.digest(b"attestation of a caregiver", b"%d" % box.id, b"%d" % invitation.id)
    entry = DocumentEntry(
        # RFC 9562 §5.5 in the arc 2.25: the digest makes it ours, and the same each time.
        unique_id=f"2.25.{int.from_bytes(mark[:16], 'big')}",
        format=DocumentFormat.PDF,
        title=TITLE,
        type_code=DEPOSIT_TYPES[_CATEGORY],
        created_at=now,
        mime_type="application/pdf",
        patient=PatientIdentity(((box.ins.matricule, box.ins.oid),) if box.ins else (), box.traits or Traits()),
        authors=(Author(box.display_name),),
    )
    document = Document(
        id=0,
        box_id=box.id,
        entry=entry,
        entry_id=secrets.token_hex(16),
        logical_id=secrets.token_hex(16),
        object_id=stored.id,
        size_octets=len(octets),
        filed_at=now,
        # By the patient's own invitation, whoever answered it.
        filed_by=FiledBy.PATIENT,
        category=_CATEGORY,
    )
    deliver.keep_document(uow, document, f"account:{account_id}", now)


def _lines(helped: str, helper: str, invited_at: datetime, accepted_at: datetime) -> list[str]:
    return [
        TITLE,
        "",
        f"{helped} a invité {helper} à être son aidant le {_day(invited_at)}.",
        f"{helper} a accepté cette invitation le {_day(accepted_at)}.",
        "",
        "L’aidant peut lire et écrire les messages, lire, ajouter et modifier des documents,",
        "recevoir les notifications et voir qui a consulté le dossier.",
        "",
        "L’aidant ne peut pas gérer les partages avec d’autres aidants, changer les coordonnées ou le mot de passe,",
        "supprimer des messages ou des documents, changer la confidentialité d’un document, fermer la boîte,",
        "ni effacer ou télécharger toutes les données.",
        "",
        "Chacun des deux peut mettre fin à cette aide à tout moment.",
    ]


def _day(at: datetime) -> str:
    return at.astimezone(_FRANCE).strftime("%d/%m/%Y")
