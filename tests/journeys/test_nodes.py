"""Several nodes on one PostgreSQL and one bucket are one operator: what comes in at one is seen at the other, at once;
one that dies, a database that goes away, a bucket that goes away lose nothing that was promised."""

from __future__ import annotations

import imaplib
import os
import random
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any, cast

import pytest

from mss.clock import system_clock
from mss.services import nodes as services
from mss.store.nodes import Running
from tests.journeys.nodes import Senders, house
from tests.journeys.sites import PATIENCE_S, Site, letter, new_id
from tests.support import postgres, s3

pytestmark = [pytest.mark.journey, pytest.mark.postgres, pytest.mark.slow]

SOAK_S = float(os.environ.get("MSS_SOAK_S", "300"))


@pytest.fixture
def database() -> Iterator[postgres.Server]:
    """A PostgreSQL that flushes, and that a test may stop."""
    with postgres.running(durable=True) as server:
        yield server


@pytest.fixture
def two_nodes(tmp_path_factory: pytest.TempPathFactory, database: postgres.Server) -> Iterator[list[Site]]:
    with s3.moto() as buckets, house(tmp_path_factory.mktemp("house"), database, buckets) as sites:
        yield sites


def test_two_nodes_are_one_operator_and_one_that_is_killed_takes_nothing_with_it(two_nodes: list[Site]) -> None:
    one, two = two_nodes
    for node in two_nodes:
        node.start()
    _idle_at_one_hears_of_a_letter_at_the_other(one, two)
    assert len({node.node for node in _alive(two)}) == 1, "both run on this machine"
    assert len(_alive(two)) == 2
    with Senders(two_nodes) as senders:
        senders.until(10)
        one.kill()
        senders.until(10)
        one.start()
        senders.until(10)
    print(f"\n{len(senders.accepted)} letters, {senders.interrupted} interrupted, {senders.deferred} deferred")
    _each_is_there_once(senders, two_nodes)


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_nodes_killed_one_after_another_lose_nothing(two_nodes: list[Site]) -> None:
    chance = random.Random()
    for node in two_nodes:
        node.start(workers=2)
    kills, end = 0, time.monotonic() + SOAK_S
    with Senders(two_nodes) as senders:
        while time.monotonic() < end:
            node = chance.choice(two_nodes)
            time.sleep(chance.uniform(0.1, 3))  # The instant is the point of the test.
            node.kill()
            senders.until(3)
            node.start(workers=2)
            kills += 1
    print(f"\n{kills} kills, {len(senders.accepted)} letters, {senders.interrupted} interrupted")
    _each_is_there_once(senders, two_nodes)


def test_a_database_that_goes_away_defers_everybody_until_it_is_back(
    two_nodes: list[Site], database: postgres.Server
) -> None:
    for node in two_nodes:
        node.start()
    with Senders(two_nodes) as senders:
        senders.until(5)
        database.crash()
        deferred, end = senders.deferred, time.monotonic() + PATIENCE_S
        while senders.deferred < deferred + 2:
            assert time.monotonic() < end, "nobody was deferred"
            time.sleep(0.05)
        database.restart()
        senders.until(10)
    _each_is_there_once(senders, two_nodes)
    _idle_at_one_hears_of_a_letter_at_the_other(*two_nodes)
    for node in two_nodes:
        node.operator.wait_until_ready()


# -- what the tests ask ----------------------------------------------------------------------------------------------


def _idle_at_one_hears_of_a_letter_at_the_other(one: Site, two: Site) -> None:
    """A session polls every minute only: what it hears sooner, it was told."""
    with two.mailbox(implicit_tls=True) as client:
        client.select("INBOX")
        _begin_idle(client)
        assert one.deliver(letter(new_id()))[0] == 250
        assert _told(client, b"EXISTS")
        client.send(b"DONE\r\n")
        assert _told(client, b"OK")


def _begin_idle(client: imaplib.IMAP4) -> None:
    client.send(b"idle IDLE\r\n")
    assert client.readline().startswith(b"+")


def _told(client: imaplib.IMAP4, word: bytes) -> bool:
    while line := client.readline():
        if word in line:
            return True
    return False


def _alive(site: Site) -> list[Running]:
    now = system_clock()
    found = site.operator.with_store(lambda store: store.read(services.listed, now))
    return [one for one in found if one.alive(now)]


def _each_is_there_once(senders: Senders, sites: list[Site]) -> None:
    promised = Counter(senders.accepted)
    for site in sites:
        found = site.message_ids()
        assert {one: found[one] for one in promised} == dict.fromkeys(promised, 1)
    with sites[-1].mailbox() as client:
        client.select("INBOX", readonly=True)
        _, parts = client.uid("FETCH", "1:*", "(BODY.PEEK[]<0.100000000>)")
    assert len([part for part in cast(Any, parts) if isinstance(part, tuple)]) >= len(promised), (
        "each can be read to its end"
    )
