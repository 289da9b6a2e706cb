"""Letters, envelopes and the house that the services' tests share."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import text as sql_text

from mss.config import Limits, PolicyConfig
from mss.dossier import cda, xdm
from mss.dossier.make import make_cda
from mss.mail.compose import Attachment, Correspondent, Draft, compose
from mss.model.account import Account, Box
from mss.model.address import Address
from mss.model.delivery import DeliveryState
from mss.model.document import AttachedDocument, Author, Confidentiality, PatientIdentity
from mss.model.envelope import Envelope, Recipient
from mss.model.ins import OID_NIR, Traits
from mss.model.mailbox import INBOX
from mss.services import mailbox, outbound, receive, records
from mss.services.house import Hosted
from mss.services.mailbox import Columns
from mss.services.reading import Reading, read_letter
from mss.services.receive import Origin, Receipt
from mss.services.submit import Outside
from mss.store.store import Store, Uow
from tests.store.store_world import CLINIC, HOSPITAL, MATRICULE, NOW, PATIENTS, REGION, TRAITS

LIMITS = Limits()
HOSTED = Hosted({PATIENTS: "patient", CLINIC: "professional"}, "mx.ours.test", PolicyConfig(), LIMITS)
OUTSIDE = Outside(frozenset({HOSPITAL, REGION}), 172_800)
ORIGIN = Origin("peer:mx.chu", frozenset({HOSPITAL}))
REGIONAL = Origin("peer:mx.region", frozenset({REGION}))
DOCTOR, DESK, NURSE = Address("martin", HOSPITAL), Address("secretariat", HOSPITAL), Address("infirmiere", HOSPITAL)
COLLEAGUE = Address("bernard", REGION)
PATIENT = Address(MATRICULE, PATIENTS)
CLINICIAN = Address("doctor", CLINIC)
NAMES = {DOCTOR: "Dr Jean MARTIN", DESK: "Secretariat", NURSE: "Inf. Line", COLLEAGUE: "Dr Paul BERNARD"}
_numbers = itertools.count(1)


def who(address: Address, name: str | None = None) -> Correspondent:
    """Return an address with its name."""
    return Correspondent(address, NAMES.get(address, "Somebody") if name is None else name)


def letter(
    subject: str = "Compte rendu",
    *,
    sender: Address = DOCTOR,
    to: Iterable[Address] = (PATIENT,),
    cc: Iterable[Address] = (),
    reply_to: Iterable[Address] = (),
    message_id: str = "",
    text: str = "Bonjour",
    **more: Any,
) -> Reading:
    """Return a letter as it is read when it comes in; every one has its own Message-ID."""
    draft = Draft(
        sender=who(sender, more.pop("name", None)),
        to=tuple(map(who, to)),
        subject=subject,
        date=NOW,
        message_id=message_id or f"<{next(_numbers)}@{sender.domain}>",
        text=text,
        cc=tuple(map(who, cc)),
        reply_to=tuple(map(who, reply_to)),
        **more,
    )
    return read_letter(compose(draft), LIMITS, documents=True)


def raw(octets: bytes) -> Reading:
    """Read octets as they are."""
    return read_letter(octets, LIMITS, documents=True)


def envelope(*to: Address, sender: Address | None = DOCTOR, **wishes: Any) -> Envelope:
    """Return an envelope; wishes go to every recipient."""
    return Envelope(sender, tuple(Recipient(one, **wishes) for one in to or (PATIENT,)))


def document(
    unique_id: str = "1.2.250.1.999.1",
    *,
    matricule: str = MATRICULE,
    oid: str = OID_NIR,
    traits: Traits = TRAITS,
    confidentiality: Confidentiality = Confidentiality.NORMAL,
    **more: Any,
) -> AttachedDocument:
    """Return a clinical document that names a patient, with its readable twin."""
    octets = make_cda(
        patient=PatientIdentity(((matricule, oid),) if matricule else (), traits),
        unique_id=unique_id,
        title=more.pop("title", "Compte rendu d'hospitalisation"),
        created_at=NOW,
        author=Author("Jean MARTIN", organisation="CHU"),
        confidentiality=confidentiality,
        **more,
    )
    entry, pdf = cda.read_whole(octets, LIMITS)
    return AttachedDocument(entry, octets, pdf)


def archive(*documents: AttachedDocument) -> Attachment:
    """Return the archive that carries documents."""
    octets = xdm.build(list(documents), unique_id="1.2.250.1.999.77", source_id="1.2.250.1.999", submitted_at=NOW)
    return Attachment("IHE_XDM.ZIP", "application/zip", octets)


async def arrive(
    store: Store, reading: Reading, *to: Address, origin: Origin = ORIGIN, hosted: Hosted = HOSTED, **more: Any
) -> Receipt:
    """Let a letter come in."""
    now = more.pop("now", NOW)
    return await store.write(receive.accept, hosted, origin, envelope(*to, **more), reading, now)


async def open_thread(
    store: Store, account: Account, box: Box, index: int = 0, *, hosted: Hosted = HOSTED
) -> records.Thread:
    """Return a conversation as its patient sees it, the newest first."""
    found = await store.read(records.conversations, account.id, box.id, 0, 100, NOW)
    thread = await store.read(records.thread, hosted, account.id, box.id, found[index].id, NOW)
    assert thread is not None
    return thread


def with_policy(**changes: Any) -> Hosted:
    """Return the house under another policy."""
    return replace(HOSTED, policy=replace(HOSTED.policy, **changes))


def with_limits(**changes: int) -> Hosted:
    """Return the house under other limits."""
    return replace(HOSTED, limits=replace(HOSTED.limits, **changes))


@dataclass
class House:
    """A patient, a professional, and what came to them."""

    store: Store
    patient: Box
    clinician: Box

    async def inbox(self, box: Box) -> list[bytes]:
        where = await self.store.read(mailbox.find, box.id, INBOX, NOW)
        rows = await self.store.read(mailbox.rows, where.id, ((1, 999),), Columns.PLAIN, NOW)
        return [await self.store.read(mailbox.octets, where.id, row.object_id, 0, None, NOW) for row in rows]

    async def queued(self) -> list[tuple[str, bytes]]:
        """Return (recipient, octets) of what waits to go out."""
        some = await self.store.read(lambda uow: uow.queue.list(frozenset(DeliveryState), 100))
        return [(one.recipient.spec, await self.store.read(outbound.octets, one.id, NOW)) for one in some]

    async def count(self, table: str) -> int:
        def number(uow: Uow) -> int:
            return int(uow._connection.execute(sql_text(f"SELECT count(*) FROM {table}")).scalar() or 0)

        return await self.store.read(number)

    async def rules(self) -> list[str]:
        """Return the rules of the decisions in the journal, oldest first."""
        found = await self.store.read(lambda uow: uow.journal.newest(1000, "letter"))
        return sorted(one.event.rule for one in found)


async def refused(house: House, *to: Address, reading: Reading | None = None, **more: Any) -> receive.Receipt:
    """Let a letter come in that is refused for everybody, and see that nothing of it is kept."""
    before = [await house.count(table) for table in ("objects", "holdings", "messages", "arrivals", "letters")]
    receipt = await arrive(house.store, reading or letter(), *to, **more)
    assert not receipt.accepted
    after = [await house.count(table) for table in ("objects", "holdings", "messages", "arrivals", "letters")]
    assert after == before, "a refused letter is kept"
    assert await house.queued() == [], "a refusal is answered at once, not reported"
    return receipt
