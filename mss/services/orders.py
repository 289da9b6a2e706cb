"""The letters that an order of hospital software asks for (`dossier.mdm`), and their sending, all or none.

What may be sent is decided by `submit.accept` like for every letter of ours. A withdrawal is told in words: an archive
with the document in it would be filed again by whoever gets it.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from mss.config import Limits
from mss.dossier.mdm import Act, Order
from mss.errors import MssError
from mss.mail.compose import Attachment, Correspondent, Draft, compose, message_id
from mss.mail.markers import NO_ANSWER_FIELD, XDM_PREFIX, header_fields
from mss.model.account import Box
from mss.model.address import Address, Domain
from mss.model.audit import AuditEvent
from mss.model.envelope import Envelope, Notify, Recipient
from mss.model.party import BoxKind
from mss.policy.access import Action
from mss.policy.decision import Decision
from mss.services import submit, welcome
from mss.services.accesses import may
from mss.services.house import Hosted
from mss.services.reading import Reading, read_letter
from mss.services.submit import Outside
from mss.store import Uow

_TEXT_PROFESSIONAL: Final = (
    "Bonjour,\n\nVeuillez trouver ci-joint un ou plusieurs documents concernant votre patient.\n"
)
_WITHDRAWN: Final = (
    "Bonjour,\n\nLe document suivant a été supprimé par son auteur. N’en tenez plus compte.\n\n"
    "Titre : {title}\nDate : {day}\nIdentifiant : {unique_id}\n"
)


class Undeliverable(MssError):
    """A recipient of an order would be refused: nothing of it is sent. `decision` says why."""

    def __init__(self, decision: Decision) -> None:
        super().__init__(decision.rule.name)
        self.decision = decision


@dataclass(frozen=True, slots=True)
class Sender:
    """The box that sends, an account that acts for it, and the software's number (X-MSS-NIL)."""

    account_id: int
    box: Box
    software: str = ""


@dataclass(frozen=True, slots=True)
class Post:
    """A letter ready to go."""

    envelope: Envelope
    reading: Reading

    def heavy(self) -> tuple[bytes, ...]:
        """Return the octets that the unit of work has to store."""
        return self.reading.heavy()


@dataclass(frozen=True, slots=True)
class Posts:
    """All letters of one order, and what recognises the order when it comes again."""

    letters: tuple[Post, ...]
    mark: bytes

    def heavy(self) -> tuple[bytes, ...]:
        """Return the octets that the unit of work has to store."""
        return tuple(octets for letter in self.letters for octets in letter.heavy())


def sender_of(uow: Uow, address: Address, account_id: int | None, software: str, now: datetime) -> Sender | None:
    """Return who sends in a box's name: this account, or any that may; None when nobody may."""
    box = uow.accounts.box_by_address(address)
    if box is None or box.kind is BoxKind.PATIENT:
        return None
    ids = [account.id for account, _ in uow.accounts.delegations_on(box.id)] if account_id is None else [account_id]
    allowed = (one for one in ids if may(uow, one, box, Action.SEND_LETTERS, now).accepted)
    found = next(allowed, None)
    return Sender(found, box, software) if found is not None else None


def write_letters(
    order: Order, sender: Sender, patient_domain: Domain | None, limits: Limits, now: datetime
) -> tuple[Post, ...]:
    """Return the letters of an order: one to the professionals, one to the patient, as it says."""
    found = []
    if order.professionals:
        text = order.text_for_professionals or _TEXT_PROFESSIONAL
        to = tuple(Correspondent(one) for one in order.professionals)
        found.append(_post(order, sender, to, text, answerable=True, limits=limits, now=now))
    if order.to_patient and patient_domain is not None:
        text = order.text_for_patient or welcome.TEXT
        name = welcome.shown_name(order.documents[0].entry.patient.traits)
        to = (Correspondent(Address(order.to_patient, patient_domain), name),)
        found.append(_post(order, sender, to, text, answerable=not order.final, limits=limits, now=now))
    return tuple(found)


def _post(
    order: Order,
    sender: Sender,
    to: tuple[Correspondent, ...],
    text: str,
    *,
    answerable: bool,
    limits: Limits,
    now: datetime,
) -> Post:
    box, unique = sender.box, secrets.token_hex(16)
    attachments, extra = _content(order, sender, unique, answerable=answerable, now=now)
    if order.read_receipt:
        extra += (("Disposition-Notification-To", box.address.spec),)
    draft = Draft(
        sender=Correspondent(box.address, box.display_name),
        to=to,
        reply_to=(Correspondent(order.reply_to, box.display_name),) if order.reply_to else (),
        subject=_subject(order),
        date=now,
        message_id=message_id(unique, box.address.domain),
        text=_told(order) if order.act is Act.WITHDRAW else text,
        attachments=attachments,
        extra=extra,
    )
    wished = frozenset({Notify.SUCCESS, Notify.FAILURE}) if order.delivery_receipt else frozenset[Notify]()
    envelope = Envelope(box.address, tuple(Recipient(one.address, wished) for one in to))
    return Post(envelope, read_letter(compose(draft), limits, documents=True))


def _content(
    order: Order, sender: Sender, unique: str, *, answerable: bool, now: datetime
) -> tuple[tuple[Attachment, ...], tuple[tuple[str, str], ...]]:
    if order.act is Act.WITHDRAW:
        fields = header_fields(software=sender.software)
        return (), fields if answerable else (NO_ANSWER_FIELD, *fields)
    attachments = welcome.structured(order.documents, sender.box.address.domain, unique, now)
    return attachments, welcome.marks(order.documents, answerable=answerable, software=sender.software)


def _subject(order: Order) -> str:
    subject = welcome.subject(order.documents)
    return "Suppression : " + subject.removeprefix(XDM_PREFIX) if order.act is Act.WITHDRAW else subject


def _told(order: Order) -> str:
    entry = order.documents[0].entry
    day = entry.created_at.strftime("%d/%m/%Y") if entry.created_at else ""
    return _WITHDRAWN.format(title=entry.title or entry.type_label, day=day, unique_id=entry.unique_id)


def send(uow: Uow, hosted: Hosted, outside: Outside, sender: Sender, posts: Posts, now: datetime) -> Sequence[str]:
    """Send all letters of an order and return their receipts; those of before when it came again.

    Undeliverable when one recipient would be refused: the unit is undone, and nothing is sent.
    """
    digest = uow.sealing.digest(b"order", posts.mark)
    number = secrets.token_hex(8)
    earlier = uow.queue.recognise(digest, number, now)
    if earlier is not None:
        return (earlier,)
    for post in posts.letters:
        receipt = submit.accept(uow, hosted, outside, sender.account_id, post.envelope, post.reading, now)
        refused = [one.decision for one in receipt.outcomes if not one.decision.accepted]
        if refused:
            raise Undeliverable(refused[0])
    facts = {"letters": len(posts.letters)}
    event = AuditEvent(f"account:{sender.account_id}", "order.sent", f"receipt:{number}", facts=dict(facts))
    uow.journal.write(event, now)
    return (number,)
