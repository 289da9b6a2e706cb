"""The database server dies and its replica takes over: letters are deferred meanwhile, nobody helps the nodes,
and what was acknowledged is there."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator

import pytest

from tests.journeys.nodes import Senders, house
from tests.journeys.sites import PATIENCE_S, Site, figures
from tests.journeys.test_nodes import _each_is_there_once, _idle_at_one_hears_of_a_letter_at_the_other
from tests.support import postgres, s3

pytestmark = [pytest.mark.journey, pytest.mark.postgres, pytest.mark.soak, pytest.mark.timeout(600)]


@pytest.fixture
def primary() -> Iterator[postgres.Server]:
    with postgres.running(durable=True) as server:
        yield server


@pytest.fixture
def standby(primary: postgres.Server) -> Iterator[postgres.Server]:
    with postgres.standing_by(primary) as server:
        yield server


def test_a_replica_takes_over_while_letters_come_in_and_nothing_acknowledged_is_lost(
    tmp_path_factory: pytest.TempPathFactory, primary: postgres.Server, standby: postgres.Server
) -> None:
    with s3.moto() as buckets, house(tmp_path_factory.mktemp("house"), primary, buckets) as nodes:
        for node in nodes:
            node.start(workers=2)
        with Senders(nodes) as senders:
            senders.until(10)
            time.sleep(random.uniform(0, 1))  # The instant is the point of the test.
            primary.crash()
            _until_deferred(senders, 4)
            _until_figures(nodes, "mss_store_up 0.0")
            standby.promote()
            senders.until(20)
        print(f"\n{len(senders.accepted)} letters, {senders.interrupted} interrupted, {senders.deferred} deferred")
        assert standby.admin.execute("SELECT pg_is_in_recovery()").fetchone() == (False,)
        _until_figures(nodes, "mss_store_up 1.0")
        _each_is_there_once(senders, nodes)
        _idle_at_one_hears_of_a_letter_at_the_other(*nodes)
        assert {node.operator.process is not None and node.operator.process.poll() for node in nodes} == {None}


def _until_deferred(senders: Senders, more: int) -> None:
    wanted, end = senders.deferred + more, time.monotonic() + PATIENCE_S
    while senders.deferred < wanted:
        assert time.monotonic() < end, "nobody was deferred"
        time.sleep(0.05)


def _until_figures(nodes: list[Site], line: str) -> None:
    """Wait until the figures of every node say so."""
    end = time.monotonic() + PATIENCE_S
    for node in nodes:
        while line not in figures(node.port("ops")):
            assert time.monotonic() < end, f"no node says {line}"
            time.sleep(0.1)
