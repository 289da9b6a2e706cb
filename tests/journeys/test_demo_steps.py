"""Every step of the demonstration, on three operators that run."""

from __future__ import annotations

import pytest

from demo.steps import STEPS
from tests.journeys.telling import Telling

pytestmark = pytest.mark.journey


@pytest.mark.parametrize("number", range(1, len(STEPS) + 1), ids=[step.play.__name__ for step in STEPS])
def test_step(telling: Telling, number: int) -> None:
    assert telling.until(number)
