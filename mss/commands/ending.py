"""The end of a box from the command line: closed, opened again, kept against its closing, erased with a certificate.

The certificate is JSON, signed with the operator's own key: numbers and digests, nothing that was in the box.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from mss.clock import Clock
from mss.commands.certifying import signer
from mss.commands.house import actor, address_of, in_store, read, write
from mss.config import Config
from mss.errors import Malformed
from mss.model.account import Box, BoxState
from mss.model.audit import AuditRecord
from mss.services import accounts, lives
from mss.store import Store, Uow
from mss.upkeep import erase as erase_box

_NO_BOX = "no box of ours has this address: mss account list shows them"


def close(config: Config, clock: Clock, box: str) -> Box:
    """Close a box; returns it as it was."""
    return write(config, partial(_close, address=box, now=clock()))


def _close(uow: Uow, *, address: str, now: datetime) -> Box:
    box = _box(uow, address, now)
    if box.state is BoxState.CLOSED:
        raise Malformed("the box is closed already")
    lives.close(uow, box.id, "asked", actor(), now)
    return box


def reopen(config: Config, clock: Clock, box: str) -> Box:
    """Open a closed box again; returns it as it was."""

    def again(uow: Uow) -> Box:
        found = _box(uow, box, clock())
        if found.state is not BoxState.CLOSED:
            raise Malformed(f"the box is not closed, but {found.state}")
        lives.reopen(uow, found.id, actor(), clock())
        return found

    return write(config, again)


def keep(config: Config, clock: Clock, box: str) -> None:
    """Note that the holder opposes the closing of a box."""
    write(config, lambda uow: lives.keep(uow, _box(uow, box, clock()), actor(), clock()))


def set_channel(config: Config, clock: Clock, box: str, channel: str) -> None:
    """Note where the holder wants to be told."""
    if not channel.isprintable() or len(channel) > 300:
        raise Malformed("say where in at most 300 characters, such as mailto:… or tel:…")
    write(config, lambda uow: uow.lives.set_channel(_box(uow, box, clock()).id, channel))


@dataclass(frozen=True, slots=True)
class Notice:
    """A holder who was told and has not answered: the box, its channel, since when, and when it will be closed."""

    address: str
    channel: str
    told_at: datetime
    closes_at: datetime


def notices(config: Config, limit: int) -> tuple[Notice, ...]:
    """Return the notices that are open, oldest first: whoever has a channel of their own is told there, too."""

    def ask(uow: Uow) -> tuple[Notice, ...]:
        found = []
        for life in uow.lives.told_of(limit):
            box = uow.accounts.box_by_id(life.box_id)
            if box is not None and life.told_at is not None:
                closes = life.told_at + timedelta(days=config.life.notice_days)
                found.append(Notice(box.address.spec, uow.lives.channel(box.id), life.told_at, closes))
        return tuple(found)

    return read(config, ask)


def _box(uow: Uow, address: str, now: datetime) -> Box:
    box = accounts.box_by_address(uow, address_of(address, "the box"), now)
    if box is None:
        raise Malformed(_NO_BOX)
    return box


# -- erasure -----------------------------------------------------------------------------------------------------------


def erase(config: Config, clock: Clock, box: str, certificate: Path) -> dict[str, Any]:
    """Erase a box for ever and write the signed certificate; returns what it says. Cut off: type it again."""
    address = address_of(box, "the box")
    sign = signer(config.path(config.tls.key_file))

    async def work(store: Store) -> AuditRecord:
        life = await store.read(lambda uow: uow.lives.by_address(address))
        if life is None:
            raise Malformed(_NO_BOX)
        return await erase_box(store, life.box_id, "asked", actor(), clock)

    # Nothing is erased whose certificate could not be written.
    with certificate.open("x", encoding="utf-8") as file:
        try:
            said = certified(in_store(config, work), config)
        except BaseException:
            certificate.unlink()
            raise
        octets = json.dumps(said, sort_keys=True, separators=(",", ":")).encode()
        file.write(json.dumps({"erased": said, **sign(octets)}, indent=2) + "\n")
    return said


def certified(record: AuditRecord, config: Config) -> dict[str, Any]:
    """Return what a certificate says of an erasure: what, when, why, and where the journal says so."""
    counts = {name: value for name, value in record.event.facts.items() if name != "digest"}
    return {
        "form": "mss erasure certificate 1",
        "operator": config.operator.name,
        "box": record.event.target,
        "at": record.at.isoformat(),
        "reason": record.event.rule,
        "counts": counts,
        "digest_of_digests": record.event.facts["digest"],
        "key": "dropped: what it sealed cannot be read in any backup",
        "journal": {"writer": record.writer, "number": record.number, "hash": record.hash},
    }
