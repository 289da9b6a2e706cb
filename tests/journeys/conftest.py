"""Real servers for the journeys: one world of the demonstration and one hospital for each process of tests.

When they end, their exit codes, their logs and the files of their stores are looked at: an error there is an error of
the tests that used them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from demo.house import make_world
from demo.letters import people_of, sample_document
from demo.steps import Story
from tests.journeys import traces
from tests.journeys.keeping import kept, look_behind
from tests.journeys.sites import PASSWORDS, Site
from tests.journeys.telling import Telling
from tests.journeys.traces import Watch
from tests.support.ports import free_base

MakeSite = Callable[[], Site]


@pytest.fixture(scope="session")
def telling(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Telling]:
    """The demonstration, told as far as a test asks for it."""
    document = sample_document()
    people = people_of(document)
    PASSWORDS.update(login.password for login in (people.hospital, people.doctor, people.patient, people.other_patient))
    world = make_world(tmp_path_factory.mktemp("world"), people, free_base())
    try:
        world.start()
        yield Telling(Story(world, document))
    finally:
        codes = world.close()
    assert codes == [0, 0, 0]
    look_behind(world.folder)


@pytest.fixture(scope="session")
def log_watch(tmp_path_factory: pytest.TempPathFactory) -> Watch:
    """Reads the logs of all servers that this process of tests starts."""
    return Watch(tmp_path_factory.getbasetemp())


@pytest.fixture(autouse=True)
def discreet(tmp_path: Path, log_watch: Watch) -> Iterator[None]:
    """Whatever a journey says, and whatever goes wrong in it: afterwards no server's log tells of it.

    The test's own folder is asked for so that it is still there then.
    """
    with traces.watched(log_watch):
        yield


@pytest.fixture(scope="session")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A hospital that runs, for tests that do not damage it."""
    with kept(tmp_path_factory.mktemp("hospital")) as site:
        site.start()
        yield site


@pytest.fixture
def new_hospital(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MakeSite]:
    """Makes a hospital of the test's own, not started."""
    with ExitStack() as stack:
        yield lambda: stack.enter_context(kept(tmp_path_factory.mktemp("site")))
