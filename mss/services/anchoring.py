"""The heads of the journal's chains, sent by letter to somebody outside: what they hold, nobody here can write anew.

The attached file is what `store.anchors` writes, and `mss audit verify --anchors` reads it. It tells of numbers and
hashes only. When it is time is for `upkeep` to say.
"""

from __future__ import annotations

import secrets
from datetime import datetime, timedelta
from typing import Final

from mss.mail.compose import Attachment, Correspondent, Draft, compose, message_id
from mss.model.address import Address
from mss.model.audit import AuditEvent
from mss.services import report
from mss.services.house import House
from mss.services.report import POSTMASTER_NAME
from mss.store import Uow, anchors
from mss.store.journal import Sought

_ACTION: Final = "journal.anchor"
_TEXT: Final = """\
Bonjour,

Vous trouverez ci-joint les empreintes du journal de {hostname}, au {at}. Conservez ce message : il permet de vérifier,
par « mss audit verify --anchors FICHIER », que le journal n'a pas été réécrit depuis.

Le service de messagerie
"""


def send(uow: Uow, house: House, to: Address, every: timedelta, now: datetime) -> bool:
    """Send the heads of all chains, unless that was done less than `every` ago; returns whether it was done."""
    last = next(iter(uow.journal.find(Sought(_ACTION), 1)), None)
    heads = uow.chains.heads()
    if not heads or (last is not None and now - last.at < every):
        return False
    domain = min(house.domains, key=str)
    draft = Draft(
        sender=Correspondent(Address.own(f"postmaster@{domain}"), POSTMASTER_NAME),
        to=(Correspondent(to),),
        subject=f"Empreintes du journal, {now:%Y-%m-%d}",
        date=now,
        message_id=message_id(f"anchor.{secrets.token_hex(12)}", domain),
        text=_TEXT.format(hostname=house.hostname, at=f"{now:%d/%m/%Y %H:%M} UTC"),
        attachments=(Attachment("heads.jsonl", "application/jsonl", anchors.line(heads, now)),),
    )
    report.send(uow, house, to, compose(draft), now)
    uow.journal.write(AuditEvent("system:upkeep", _ACTION, "journal", facts={"heads": len(heads)}), now)
    return True
