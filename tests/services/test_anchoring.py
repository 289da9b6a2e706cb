"""The heads of the journal's chains go out by letter; the attached file proves later what the journal was."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from email import message_from_bytes
from pathlib import Path

import pytest
from sqlalchemy import select

from mss.config import Config
from mss.errors import Misconfigured
from mss.model.account import Box
from mss.model.address import Address
from mss.model.delivery import DeliveryState
from mss.model.mailbox import INBOX
from mss.services import anchoring, mailbox, outbound
from mss.services.house import House as Housing
from mss.settings import parse
from mss.store import anchors
from mss.store.store import Store, Uow
from mss.store.tables import messages
from mss.upkeep import Upkeep
from tests.services.services_world import HOSTED
from tests.store.store_world import NOW, clinic_box, later

HOUSING = Housing(HOSTED.hostname, HOSTED.domains, HOSTED.limits)
DAY = timedelta(days=1)


@pytest.fixture
async def box(store: Store) -> Box:
    """Somebody's box that the heads are sent to; its making stands in the journal."""
    return await clinic_box(store)


async def send(store: Store, to: Address, at: datetime = NOW) -> bool:
    return await store.write(anchoring.send, HOUSING, to, DAY, at)


def letters(uow: Uow, box_id: int) -> list[bytes]:
    folder = mailbox.find(uow, box_id, INBOX, NOW)
    numbers = uow._connection.execute(select(messages.c.object_id).where(messages.c.mailbox_id == folder.id)).scalars()
    return [uow.objects.get(box_id, number) for number in numbers.all()]


async def test_the_attached_file_proves_what_the_journal_was(store: Store, box: Box, tmp_path: Path) -> None:
    heads = await store.read(lambda uow: uow.chains.heads())
    assert await send(store, box.address)
    (octets,) = await store.read(letters, box.id)
    letter = message_from_bytes(octets)
    (attached,) = [part for part in letter.walk() if part.get_filename() == "heads.jsonl"]
    file = tmp_path / "heads.jsonl"
    content = attached.get_payload(decode=True)
    assert isinstance(content, bytes)
    file.write_bytes(content)
    assert tuple(anchors.read(file)) == heads
    assert await store.read(lambda uow: uow.chains.missing(anchors.read(file))) == ()
    forged = [replace(one, hash="0" * 64) for one in heads]
    assert len(await store.read(lambda uow: uow.chains.missing(forged))) == len(heads)


@pytest.mark.parametrize(("days", "again"), [(0.9, False), (1, True)])
async def test_they_go_out_on_a_schedule_whoever_begins_anew(store: Store, box: Box, days: float, again: bool) -> None:
    assert await send(store, box.address)
    assert await send(store, box.address, later(days=days)) is again


async def test_they_go_to_another_operator(store: Store, box: Box) -> None:
    assert await send(store, Address.own("archives@chu.example"))
    (entry,) = await store.read(outbound.entries, frozenset(DeliveryState), 10, NOW)
    assert entry.delivery.recipient == Address.own("archives@chu.example")
    assert entry.delivery.reverse_path is None


async def test_the_upkeep_sends_them(store: Store, box: Box, config: Config) -> None:
    class Noted:
        def kept_up(self, job: str, removed: int, now: datetime) -> None: ...

    told = replace(config, journal=replace(config.journal, anchors_to=box.address.spec))
    for _ in range(2):
        keeping = Upkeep(store, told, lambda: NOW, Noted())
        await keeping.once()
        await keeping.stop()
    assert len(await store.read(letters, box.id)) == 1


def test_an_address_that_is_none_stops_the_start() -> None:
    text = '[operator]\nname = "a"\nhostname = "b"\n[[domains]]\nname = "c.example"\nkind = "patient"\n'
    with pytest.raises(Misconfigured, match=r"journal\.anchors_to"):
        parse(f'{text}[journal]\nanchors_to = "nobody"\n', root=Path())
