"""Authorities and certificates made once; each test runs its own operator on the loop that the house runs on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import uvloop

from tests.tokens.signing_world import Signing, make_folder, signing


@pytest.fixture(scope="session")
def authorities(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("authorities")
    make_folder(folder)
    return folder


@pytest.fixture
async def house(authorities: Path, tmp_path: Path) -> AsyncIterator[Signing]:
    async with signing(authorities, tmp_path / "operator") as made:
        yield made


def pytest_asyncio_loop_factories(item: pytest.Item) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"uvloop": uvloop.new_event_loop}
