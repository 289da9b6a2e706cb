"""The trust list that a worker has in use."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta

import pytest

from mss import app
from mss.app import TrustHolder
from mss.config import Config
from mss.model.address import parse_domain
from mss.model.peer import DN, TrustList
from mss.services import operators
from mss.store.store import Store
from tests.store.store_world import NOW

PATIENCE_S = 30


async def test_a_list_that_comes_while_the_doors_are_opened_is_heard_of(
    store: Store, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "_TRUST_POLL_S", 3600)
    first = TrustList(NOW, {}, NOW)
    await store.write(operators.replace_trust_list, first, NOW)
    holder = TrustHolder(store, config, lambda: NOW)
    await holder.begin()
    assert holder.current() is not None
    domain = parse_domain("chu.example")
    subjects = {domain: frozenset({DN.parse("CN=mx.chu.example,O=CHU,C=FR")})}
    later = replace(first, generated_at=NOW + timedelta(hours=1), domains=subjects)
    await store.write(operators.replace_trust_list, later, NOW)
    following = asyncio.create_task(holder.run())
    try:
        async with asyncio.timeout(PATIENCE_S):
            while (known := holder.current()) is None or domain not in known.domains:
                await asyncio.sleep(0)
    finally:
        following.cancel()
        with suppress(asyncio.CancelledError):
            await following
