"""Real servers for the journeys: one world of the demonstration and one hospital for each process of tests.

When they end, their exit codes, their logs and the files of their stores are looked at: an error there is an error of
the tests that used them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from demo.house import make_world
from demo.letters import people_of, sample_document
from demo.steps import Story
from tests.journeys import traces
from tests.journeys.logs import Log
from tests.journeys.sites import Site, make_site
from tests.journeys.telling import Telling
from tests.support.ports import free_base

MakeSite = Callable[[], Site]


@pytest.fixture(scope="session")
def telling(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Telling]:
    """The demonstration, told as far as a test asks for it."""
    document = sample_document()
    world = make_world(tmp_path_factory.mktemp("world"), people_of(document), free_base())
    try:
        world.start()
        yield Telling(Story(world, document))
    finally:
        codes = world.close()
    assert codes == [0, 0, 0]
    look_behind(world.folder)


@pytest.fixture(scope="session")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A hospital that runs, for tests that do not damage it."""
    with _kept(tmp_path_factory.mktemp("hospital")) as site:
        site.start()
        yield site


@pytest.fixture
def new_hospital(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MakeSite]:
    """Makes a hospital of the test's own, not started."""
    with ExitStack() as stack:
        yield lambda: stack.enter_context(_kept(tmp_path_factory.mktemp("site")))


@contextmanager
def _kept(folder: Path) -> Iterator[Site]:
    site = make_site(folder)
    try:
        yield site
    finally:
        code = site.operator.stop()
    assert code in (0, -9), "the server must end well when it is asked to"
    look_behind(folder)


def look_behind(folder: Path) -> None:
    """Fail when servers left behind what they must not."""
    assert traces.told_in_logs(folder) == []
    assert traces.plain_in_stores(folder) == []
    surprises = [line for path in folder.rglob("server.log") for line in Log(path).surprises()]
    assert surprises == []
