"""What all tests share: no network outside journeys, the strength of the properties, a real PostgreSQL."""

from __future__ import annotations

import gc
import os
import shutil
from collections.abc import Iterator

import pytest
import structlog
from hypothesis import HealthCheck, settings

from mss import log
from tests.support import cheap, memory, postgres, sockets

_ANY = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
# Two runs of the continuous integration say the same about the same octets.
_HERE = settings(_ANY, derandomize=True, database=None) if os.environ.get("CI") else _ANY
# `make check` tries each property a few times, `make test` once more and often, `make soak` all night.
settings.register_profile("fast", _HERE, max_examples=20)
settings.register_profile("full", _HERE, max_examples=60)
# Hypothesis has a profile of its own for CI, which always draws the same examples: a soak must not.
settings.register_profile("soak", _ANY, derandomize=False, max_examples=20_000)
settings.load_profile("fast")

sockets.install_guard()
cheap.make_passwords_cheap()
cheap.make_new_stores_cheap()
_made_here = pytest.StashKey[str]()


def pytest_configure(config: pytest.Config) -> None:
    """Put `tmp_path` into memory, unless --basetemp says where or MSS_TESTS_ON_DISK is set; collect garbage seldom."""
    # Pytest keeps what it reports of each test: rounds over all of it took a tenth of the time, and its last one still
    # finds what was left open.
    gc.set_threshold(5_000, 20, 1_000)
    folder = None if os.environ.get("MSS_TESTS_ON_DISK") else memory.roomy()
    if folder is not None and not config.option.basetemp:
        memory.sweep(folder)
        config.option.basetemp = config.stash[_made_here] = str(memory.fresh_folder(folder))


def pytest_collection_finish(session: pytest.Session) -> None:
    """Leave what was collected out of all rounds of garbage: it lives to the end."""
    gc.freeze()


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


_plain: list[object] = []


@pytest.fixture(autouse=True)
def plain_log() -> None:
    """Every test begins with the log as a server writes it, whatever another test made of it."""
    if structlog.get_config()["processors"] is not _plain:
        log.configure(level="INFO", json=True)
        globals()["_plain"] = structlog.get_config()["processors"]


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
