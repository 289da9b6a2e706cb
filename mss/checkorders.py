"""What `mss check` says of the door for orders (HL7 v2): who sends their letters, and the folder that takes them.

It looks on from outside: nothing is taken, and nothing is sent.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Final

from mss.checkpeers import Finding
from mss.config import Config
from mss.errors import Malformed
from mss.model.address import Address
from mss.services import orders
from mss.store import Uow

_SUBJECT: Final = "orders (HL7)"
_FOLDER: Final = "orders' folder"
# A folder is looked at every few seconds: what stands there for longer, nobody takes.
_LEFT_AFTER: Final = timedelta(minutes=10)
_REFUSED_COUNTED_MAX: Final = 10_000


def folder(config: Config, now: datetime) -> Iterator[Finding]:
    """Look at the folder, where there is one: whether it is ours to use, what waits in it, what was refused."""
    if config.hl7.folder is None:
        return
    where = config.path(config.hl7.folder)
    if not where.is_dir():
        yield Finding(
            _FOLDER, "warning", f"{where} is not there: mss serve makes it", "start mss serve with the role hl7"
        )
    elif not os.access(where, os.R_OK | os.W_OK | os.X_OK):
        yield Finding(
            _FOLDER, "wrong", f"{where} cannot be read and written", f"chown it to the account that runs mss: {where}"
        )
    else:
        yield from _inside(where, now)


def _inside(where: Path, now: datetime) -> Iterator[Finding]:
    left = [one for one in (*_orders(where), *_orders(where / "work")) if now - _changed_at(one) > _LEFT_AFTER]
    refused = len(list(islice(_orders(where / "error"), _REFUSED_COUNTED_MAX)))
    if left:
        text, remedy = (
            f"{len(left)} orders wait for longer than ten minutes",
            "see that mss serve runs with the role hl7",
        )
        yield Finding(_FOLDER, "warning", text, remedy)
    if refused:
        text, remedy = f"{refused} orders were refused", f"read their acknowledgements (.ack) in {where / 'error'}"
        yield Finding(_FOLDER, "warning", text, remedy)
    if not left and not refused:
        yield Finding(_FOLDER, "ok", "it can be used, and nothing is left in it")


def _orders(where: Path) -> Iterator[Path]:
    if where.is_dir():
        yield from (one for one in where.iterdir() if one.suffix.lower() in (".hl7", ".er7") and one.is_file())


def _changed_at(path: Path) -> datetime:
    return datetime.fromtimestamp(path.stat().st_mtime, UTC)


def sender(uow: Uow, config: Config, now: datetime) -> list[Finding]:
    """Say whether the configured box can send the letters of orders; nothing where no orders are taken."""
    if not config.hl7.mllp_listen and config.hl7.folder is None:
        return []
    try:
        address = Address.parse(config.hl7.box)
    except Malformed:
        return [Finding(_SUBJECT, "wrong", "[hl7] box is no address", "name the box that sends the letters of orders")]
    if orders.sender_of(uow, address, None, config.hl7.software, now) is None:
        remedy = "mss account add it, and mss account grant somebody the right to send from it"
        return [Finding(_SUBJECT, "wrong", "nobody may send letters from the configured box", remedy)]
    return [Finding(_SUBJECT, "ok", "the configured box can send their letters")]
