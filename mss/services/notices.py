"""What the house tells a holder about the box itself: a letter in the box, and a word to the program of [notify].

It says nothing of letters or health. When something is told, and how often, is for `lives` and `fullness` to decide.
"""

from __future__ import annotations

import secrets
from datetime import datetime
from typing import Final

from mss.mail.compose import Correspondent, Draft, compose, message_id
from mss.model.account import Box
from mss.model.address import Address
from mss.services import report
from mss.services.house import House
from mss.services.report import POSTMASTER_NAME
from mss.store import Uow

CLOSING: Final = "box-closing"
NEARLY_FULL: Final = "box-nearly-full"


def tell(uow: Uow, house: House, box: Box, kind: str, subject: str, text: str, now: datetime, *, hook: bool) -> None:
    """Put a letter of the postmaster into a box; `hook`: let the program of [notify] tell its holder outside, too."""
    draft = Draft(
        sender=Correspondent(Address.own(f"postmaster@{box.address.domain}"), POSTMASTER_NAME),
        to=(Correspondent(box.address, box.display_name),),
        subject=subject,
        date=now,
        message_id=message_id(f"notice.{secrets.token_hex(12)}", box.address.domain),
        text=text,
    )
    report.send(uow, house, box.address, compose(draft), now)
    if hook:
        uow.lives.notify(box.id, kind, now)
