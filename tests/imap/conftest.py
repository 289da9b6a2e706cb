"""One store and one PKI made for all tests of the room; each test works on its own copy."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mss.model.account import Box
from tests.imap.imap_world import DOCTOR, World, make_template, running


@pytest.fixture(scope="session")
def imap_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("imap")
    make_template(folder)
    return folder


@pytest.fixture
async def world(imap_template: Path, tmp_path: Path) -> AsyncIterator[World]:
    async with running(imap_template, tmp_path / "operator") as made:
        yield made


@pytest.fixture
async def inbox(world: World) -> Box:
    """The doctor's box, with its account."""
    box = await world.box(DOCTOR)
    await world.account(DOCTOR, box)
    return box
