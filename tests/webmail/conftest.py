"""A fresh operator for every test, copied from a template; a patient who has set up the codes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pytest

from mss.model.account import Account, Box
from mss.model.ins import Traits
from tests.webmail.webmail_world import PAUL, START, Browser, World, copy_of, make_template, open_world


@dataclass(frozen=True)
class _Home:
    """A folder to copy: Paul lives there; where he is signed in, the cookie of his browser, and when."""

    folder: Path
    box: Box
    account: Account
    token: str = ""
    at: datetime = START


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_template(tmp_path_factory.mktemp("webmail-template"))


@pytest.fixture(scope="session")
def home(template: Path, tmp_path_factory: pytest.TempPathFactory) -> _Home:
    """Where Paul has his box."""

    async def settle(world: World) -> _Home:
        box = await world.box(PAUL, "Paul DUPONT", Traits("DUPONT", "PAUL", "19790312", "M"))
        return _Home(world.root, box, await world.account("paul", box))

    return asyncio.run(_settled(copy_of(template, tmp_path_factory.mktemp("webmail-home")), settle))


@pytest.fixture(scope="session")
def signed_in_home(home: _Home, tmp_path_factory: pytest.TempPathFactory) -> _Home:
    """The same where he is signed in."""

    async def settle(world: World) -> _Home:
        world.logins["paul"] = home.account
        token = await world.browser().enter("paul")
        return _Home(world.root, home.box, home.account, token, world.hands.now)

    return asyncio.run(_settled(copy_of(home.folder, tmp_path_factory.mktemp("webmail-signed-in")), settle))


async def _settled(folder: Path, settle: Callable[[World], Awaitable[_Home]]) -> _Home:
    world = await open_world(folder)
    try:
        return await settle(world)
    finally:
        world.sign_in.close()
        await world.store.close()


@pytest.fixture
async def world(request: pytest.FixtureRequest, template: Path, tmp_path: Path) -> AsyncIterator[World]:
    """An operator of the test's own; Paul lives there, and is signed in, if the test asks for him or his browser."""
    known: _Home | None = None
    for name, asked in (("signed_in_home", "browser"), ("home", "paul")):
        if known is None and asked in request.fixturenames:
            known = request.getfixturevalue(name)
    opened = await open_world(copy_of(known.folder if known else template, tmp_path / "operator"))
    if known:
        opened.logins["paul"] = known.account
        opened.hands.now = known.at
    yield opened
    opened.sign_in.close()
    await opened.store.close()


@pytest.fixture
def paul(world: World, home: _Home) -> Box:
    return home.box


@pytest.fixture
def browser(world: World, signed_in_home: _Home) -> Browser:
    """Paul's browser, signed in."""
    mine = world.browser()
    mine.keep(signed_in_home.token)
    return mine
