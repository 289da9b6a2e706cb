"""One PKI for all tests of the room; each test's own door and server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
import uvloop

from mss.tls import TlsMaterial
from tests.smtp.smtp_world import Pki, make_pki


@pytest.fixture(scope="session")
def pki_world(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return make_pki(tmp_path_factory.mktemp("pki"))


@pytest.fixture(scope="session")
def material(pki_world: Pki) -> TlsMaterial:
    return TlsMaterial(pki_world.config("patient"))


def pytest_asyncio_loop_factories(item: pytest.Item) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The loop that the house runs on; where TLS is made by hand also the one that everybody has, for they differ."""
    loops: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {"uvloop": uvloop.new_event_loop}
    if item.path.name in ("test_esmtp.py", "test_client.py"):
        loops["asyncio"] = asyncio.new_event_loop
    return loops
