"""The proof of deposit: a signed receipt for a sender who asked for one, of what was filed, where, under which names.

What was not filed is told by `report.about_filing`. It names nobody but the recipient, whom the sender wrote to.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from datetime import datetime
from typing import Final

from mss.mail import reports
from mss.mail.compose import Attachment, Draft, compose, message_id
from mss.mail.compose import Correspondent as Named
from mss.model.account import Box
from mss.model.address import Address
from mss.model.audit import AuditEvent
from mss.model.document import Document
from mss.services import report
from mss.services.deliver import Incoming
from mss.services.house import House
from mss.services.marks import message_mark
from mss.store import Uow

PROOF: Final = "depot.json"
_DOCUMENTS_MAX: Final = 100
_SUBJECT: Final = "Preuve de dépôt"
_TEXT: Final = (
    "Votre message du {date} a été remis et {count} document(s) ont été classés dans le dossier du patient.\n\n"
    "{lines}\n\nLa pièce jointe depot.json porte ces identifiants ; depot.json.p7s est sa signature par {hostname}.\n\n"
    "Your message was delivered and the documents above were filed in the patient's record; depot.json is signed.\n"
)


def prove(uow: Uow, house: House, box: Box, letter: Incoming, now: datetime) -> bool:
    """Send the receipt that a letter asked for; False when nothing was filed, asked for, or can be signed."""
    if house.seal is None or letter.reverse_path is None or letter.reading.automatic or box.ins is None:
        return False
    asked = reports.requested_by(letter.reading.message, letter.reverse_path, house.limits)
    filed = uow.dossiers.of_letter(box.id, letter.stored.id, _DOCUMENTS_MAX) if asked is not None else ()
    if asked is None or not filed:
        return False
    proof = _proof(house, box, letter, filed, now)
    report.send(uow, house, asked, _receipt(house, letter, asked, filed, (proof, house.seal(proof)), now), now)
    mark = message_mark(uow, letter.reading.message_id)
    facts: dict[str, str | int | bool] = {"documents": len(filed), "letter": letter.stored.id}
    event = AuditEvent("system:report", "deposit.proof", f"box:{box.id}", "", "", box.id, facts, mark)
    uow.journal.write(event, now)
    return True


def _proof(house: House, box: Box, letter: Incoming, filed: tuple[Document, ...], now: datetime) -> bytes:
    """Return what is signed; the identifiers are those of MSSANTE.md §4.7."""
    found = letter.reading.submission.documents if letter.reading.submission else ()
    digests = {one.entry.unique_id: hashlib.sha256(one.octets).hexdigest() for one in found}
    documents = [
        {
            "uniqueId": one.entry.unique_id,
            "entryUUID": one.entry_id,
            "logicalId": one.logical_id,
            "sha256": digests.get(one.entry.unique_id, ""),
            "size": one.size_octets,
            "typeCode": one.entry.type_code,
            "category": one.category,
            "filedAt": one.filed_at.isoformat(),
        }
        for one in filed
    ]
    facts = {
        "operator": house.hostname,
        "recipient": box.address.spec,
        "messageId": letter.reading.message_id,
        "signedAt": now.isoformat(),
        "documents": documents,
    }
    return json.dumps(facts, ensure_ascii=False, indent=1, sort_keys=True).encode()


def _receipt(
    house: House,
    letter: Incoming,
    to: Address,
    filed: tuple[Document, ...],
    signed: tuple[bytes, bytes],
    now: datetime,
) -> bytes:
    reporter = report.reporter(house)
    date = letter.reading.date or now
    lines = "\n".join(f"- {one.entry.unique_id} → {one.logical_id} ({one.category})" for one in filed)
    known = (letter.reading.message_id,) if letter.reading.message_id else ()
    draft = Draft(
        sender=reporter,
        to=(Named(to),),
        subject=_SUBJECT,
        date=now,
        message_id=message_id(f"deposit.{secrets.token_hex(12)}", reporter.address.domain),
        text=_TEXT.format(date=f"{date:%d/%m/%Y}", count=len(filed), lines=lines, hostname=house.hostname),
        in_reply_to=known[0] if known else "",
        references=known,
        attachments=(
            Attachment(PROOF, "application/json", signed[0]),
            Attachment(f"{PROOF}.p7s", "application/pkcs7-signature", signed[1]),
        ),
        auto_submitted="auto-replied",
    )
    return compose(draft)
