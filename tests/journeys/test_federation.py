"""Each operator writes to each while random ones are killed and restarted: every letter arrives, and once.

A smaller federation lives in `make test`; the one of 24 operators in `make soak`.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.journeys.federation import federation

pytestmark = pytest.mark.journey

SOAK_S = float(os.environ.get("MSS_SOAK_S", "300"))


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_each_of_five_operators_writes_to_each_and_every_letter_arrives_once(tmp_path: Path) -> None:
    _prove(tmp_path, 5, 1, kills_min=3)


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_each_of_24_operators_writes_to_each_and_every_letter_arrives_once(tmp_path: Path) -> None:
    _prove(tmp_path, 24, min(SOAK_S, 600), kills_min=24)


def _prove(folder: Path, count: int, seconds: float, kills_min: int) -> None:
    with federation(folder, count) as space:
        space.start()
        space.live(seconds, kills_min)
        space.settle()
        print(f"\n{space.figures()}")
        assert space.kills >= kills_min
        for number, promised in enumerate(space.promised):
            senders = {message_id.rpartition("@")[2] for message_id in promised}
            assert len(senders) == count - 1, "each wrote to each"
            assert space.arrived(number) == promised, "each letter once, no other, and no report"
