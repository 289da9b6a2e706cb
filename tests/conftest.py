"""What all tests share: no network outside journeys, the strength of the properties, a real PostgreSQL."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from mss import log
from tests.support import memory, postgres, sockets

_ANY = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
settings.register_profile("fast", _ANY, max_examples=50)
settings.register_profile("ci", _ANY, max_examples=100, derandomize=True, database=None)
settings.register_profile("soak", _ANY, max_examples=20_000)
settings.load_profile("ci" if os.environ.get("CI") else "fast")

sockets.install_guard()
_made_here = pytest.StashKey[str]()


def pytest_configure(config: pytest.Config) -> None:
    """Put `tmp_path` into memory, unless --basetemp says where or MSS_TESTS_ON_DISK is set."""
    folder = None if os.environ.get("MSS_TESTS_ON_DISK") else memory.roomy()
    if folder is not None and not config.option.basetemp:
        memory.sweep(folder)
        config.option.basetemp = config.stash[_made_here] = str(memory.fresh_folder(folder))


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Remove the files of a good run; those of a failed one stay to be looked at until the next."""
    made = session.config.stash.get(_made_here, None)
    if made is not None and exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
        shutil.rmtree(made, ignore_errors=True)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Open the network for the tests that are marked for it, and only for them."""
    marked = any(item.get_closest_marker(name) for name in ("journey", "postgres", "soak"))
    with sockets.network_open(marked):
        return (yield)


@pytest.fixture(autouse=True)
def plain_log() -> None:
    """Every test begins with the log as a server writes it, whatever another test made of it."""
    log.configure(level="INFO", json=True)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[postgres.Server]:
    """A real PostgreSQL for this process of tests; without one the tests fail with the line to type."""
    with postgres.running() as server:
        yield server


@pytest.fixture(scope="session")
def postgres_url(postgres_server: postgres.Server) -> str:
    """The address of the server's own database: for what needs a server, but no tables."""
    return postgres_server.url("postgres")


@pytest.fixture(scope="session")
def postgres_template(postgres_server: postgres.Server) -> str:
    """The database that every test gets a copy of: an empty one. A room overrides it with its own tables."""
    return postgres_server.create()


@pytest.fixture
def postgres_database(postgres_server: postgres.Server, postgres_template: str) -> Iterator[str]:
    """The address of a fresh copy of the template, dropped after the test."""
    name = postgres_server.create(template=postgres_template)
    yield postgres_server.url(name)
    postgres_server.drop(name)
