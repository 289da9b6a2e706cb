"""A fresh operator for every test, copied from a template; a patient who has set up the codes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mss.model.account import Box
from mss.model.ins import Traits
from tests.webmail.webmail_world import PAUL, Browser, World, copy_of, make_template, open_world


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_template(tmp_path_factory.mktemp("webmail-template"))


@pytest.fixture
async def world(template: Path, tmp_path: Path) -> AsyncIterator[World]:
    opened = await open_world(copy_of(template, tmp_path / "operator"))
    yield opened
    opened.sign_in.close()
    await opened.store.close()


@pytest.fixture
async def paul(world: World) -> Box:
    traits = Traits("DUPONT", "PAUL", "19790312", "M")
    box = await world.box(PAUL, "Paul DUPONT", traits)
    await world.account("paul", box)
    return box


@pytest.fixture
async def browser(world: World, paul: Box) -> Browser:
    """Paul's browser, signed in."""
    mine = world.browser()
    await mine.enter("paul")
    return mine
