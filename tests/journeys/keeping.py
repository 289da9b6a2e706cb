"""A server's end, for every test that starts one: it ends well, and nothing is left that must not be."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType

from mss.commands import journal
from tests.journeys import traces
from tests.journeys.logs import Log
from tests.journeys.sites import Site, make_site


@contextmanager
def kept(folder: Path, store_url: str = "", changes: Mapping[str, str] = MappingProxyType({})) -> Iterator[Site]:
    """Make a hospital, not started; at the end stop it and look at what it leaves behind."""
    site = make_site(folder, store_url, changes)
    try:
        yield site
    finally:
        code = site.operator.stop()
    assert code in (0, -signal.SIGKILL), f"the server ended with {code}"
    assert journal.verify(site.operator.config).broken == ()
    look_behind(folder)


def look_behind(folder: Path) -> None:
    """Fail when servers left in their logs or stores what they must not."""
    assert traces.told_in_logs(folder) == []
    assert traces.plain_in_stores(folder) == []
    surprises = [line for path in folder.rglob("server.log") for line in Log(path).surprises()]
    assert surprises == [], surprises[:3]
