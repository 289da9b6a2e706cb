"""One PKI for all tests of the room; each test's own door and server."""

from __future__ import annotations

import pytest

from mss.tls import TlsMaterial
from tests.smtp.smtp_world import Pki, make_pki


@pytest.fixture(scope="session")
def pki_world(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return make_pki(tmp_path_factory.mktemp("pki"))


@pytest.fixture(scope="session")
def material(pki_world: Pki) -> TlsMaterial:
    return TlsMaterial(pki_world.config("patient"))
