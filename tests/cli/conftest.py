"""One operator made once for the session, and a fresh copy of its folder for each test."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import uvloop

from mss import instance
from tests.cli.cli_world import PLAN, Desk


def pytest_asyncio_loop_factories(item: pytest.Item) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The loop that the house runs on, where these tests play another operator's server."""
    if item.path.name == "test_operator.py":
        return {"uvloop": uvloop.new_event_loop}
    return {"asyncio": asyncio.new_event_loop}


@pytest.fixture(scope="session")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an operator as `init` makes it; not to be written to."""
    folder = tmp_path_factory.mktemp("made") / "operator"
    instance.make(folder, PLAN)
    return folder


@pytest.fixture
def desk(made_once: Path, tmp_path: Path) -> Desk:
    """A terminal in front of an operator of the test's own."""
    folder = tmp_path / "operator"
    shutil.copytree(made_once, folder)
    return Desk(folder)


@pytest.fixture(scope="session")
def staffed_once(made_once: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an operator with a reception, a doctor and a patient; not to be written to."""
    folder = tmp_path_factory.mktemp("staffed") / "operator"
    shutil.copytree(made_once, folder)
    Desk(folder).staff()
    return folder


@pytest.fixture
def staffed(staffed_once: Path, tmp_path: Path) -> Desk:
    """The same with a reception, a doctor and a patient."""
    folder = tmp_path / "operator"
    shutil.copytree(staffed_once, folder)
    return Desk(folder)
