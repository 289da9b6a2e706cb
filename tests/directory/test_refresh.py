"""The trust list read on schedule, from a file or by https: taken, refused, remembered, written down once."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from mss import tls
from mss.config import Config, TrustListConfig
from mss.directory import trustlist
from mss.directory.refresh import Refresher, fetch_trust_list, read_trust_list
from mss.model.address import Domain
from mss.model.peer import DN, ListReading, TrustList
from mss.services import operators
from mss.store.store import Store
from tests.certs.world import NOW, World, make_world
from tests.store.store_fixtures import config, postgres_template, sqlite_config, store, store_template
from tests.support.web import Web, web
from tests.test_xmlsig import make_signer

__all__ = ["config", "postgres_template", "sqlite_config", "store", "store_template"]

CHU, GIP = DN.parse("CN=mx.chu.example,O=CHU,C=FR"), DN.parse("CN=mx.gip.example,O=GIP,C=FR")


def octets(*names: str, hours_ago: float = 1, subject: DN = CHU) -> bytes:
    domains = {Domain(f"{name}.mssante.fr"): frozenset({subject}) for name in names}
    return trustlist.render(TrustList(NOW - timedelta(hours=hours_ago), domains, NOW))


class Hands:
    """A clock's hands."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now


class Desk:
    """One operator that reads a list from a file."""

    def __init__(self, store: Store, made: Config, folder: Path, **settings: Any) -> None:
        self.file = folder / "list.xml"
        settings = {"file": self.file, **settings}
        self.store, self.hands = store, Hands()
        self.config = replace(made, trust_list=replace(TrustListConfig(), **settings))

    async def read(self, given: bytes | None = None, **more: Any) -> str:
        if given is not None:
            self.file.write_bytes(given)
        return (await read_trust_list(self.store, self.config, self.hands, self.file, **more)).reason

    async def readings(self, limit: int = 100) -> tuple[ListReading, ...]:
        return await self.store.read(operators.readings, limit, NOW)

    async def current(self) -> TrustList | None:
        return await self.store.read(operators.trust_list, NOW)


@pytest.fixture
def desk(store: Store, config: Config, tmp_path: Path) -> Desk:
    return Desk(store, config, tmp_path)


async def test_each_reading_is_remembered_with_date_digest_and_verdict(desk: Desk) -> None:
    first, second = octets("a", "b", hours_ago=2), octets("a", "b", "c")
    assert await desk.read(first) == ""
    desk.hands.now += timedelta(hours=1)
    assert await desk.read(second) == ""
    desk.hands.now += timedelta(hours=1)
    assert "closing tag" in await desk.read(second[: len(second) // 2])
    one, two, three = await desk.readings()
    assert (three.verdict, three.version, three.domains, three.source, three.first_at) == ("taken", 1, 2, "file", NOW)
    assert three.digest == hashlib.sha256(first).hexdigest()
    assert three.generated_at == NOW - timedelta(hours=2)
    assert (two.verdict, two.version, two.domains) == ("taken", 2, 3)
    assert (one.verdict, one.version, one.domains, one.generated_at) == ("refused", None, 0, None)
    assert "closing tag" in one.reason
    assert one.digest == hashlib.sha256(second[: len(second) // 2]).hexdigest()
    current = await desk.current()
    assert current is not None
    assert (current.version, len(current.domains)) == (2, 3)
    assert await desk.store.read(operators.trust_list_versions, NOW) == (1, 2)
    assert len((await desk.store.read(operators.trust_list_of, 1, NOW)).domains) == 2  # type: ignore[union-attr]
    assert await desk.store.read(operators.trust_list_of, 3, NOW) is None


async def test_equal_readings_in_a_row_are_one(desk: Desk) -> None:
    await desk.read(octets("a"))
    for minutes in (5, 10):
        desk.hands.now = NOW + timedelta(minutes=minutes)
        await desk.read()
    [only] = await desk.readings()
    assert (only.times, only.first_at, only.last_at) == (3, NOW, NOW + timedelta(minutes=10))
    current = await desk.current()
    assert current is not None
    assert (current.version, current.fetched_at) == (1, NOW + timedelta(minutes=10))


@pytest.mark.parametrize(("kept", "count"), [(1, 1), (3, 3), (4, 4), (5, 4)])
async def test_so_many_readings_are_kept(store: Store, config: Config, tmp_path: Path, kept: int, count: int) -> None:
    desk = Desk(store, config, tmp_path, history_max=kept)
    for number in range(4):
        await desk.read(octets("a", f"b{number}", hours_ago=9 - number))
    assert len(await desk.readings()) == count
    assert len(await desk.readings(limit=1)) == 1


async def test_a_refusal_is_in_the_journal_once_while_it_lasts(desk: Desk) -> None:
    await desk.read(octets("a", "b"))
    for _ in range(3):
        await desk.read(octets("a"))
    await desk.read(b"<html>")
    await desk.read(octets("a"))

    def refusals(uow: Any) -> list[dict[str, Any]]:
        return [dict(one.event.facts) for one in uow.journal.newest(10, "trust-list.refuse")]

    told = await desk.store.read(refusals)
    assert len(told) == 3
    assert sum("1 of 2 domains would be gone" in str(facts["reason"]) for facts in told) == 2


async def test_a_clock_that_went_back_changes_nothing_until_somebody_says_that_it_is_right(
    store: Store, config: Config, tmp_path: Path
) -> None:
    desk = Desk(store, config, tmp_path, shrink_max_share=1.0)
    await desk.read(octets("a", hours_ago=30))
    for seconds, refused in ((300, False), (301, True)):
        desk.hands.now = NOW - timedelta(seconds=seconds)
        assert ("the clock went back" in await desk.read(octets("a", f"b{seconds}", hours_ago=29))) is refused
        desk.hands.now = NOW
        await desk.read(octets("a", f"c{seconds}", hours_ago=28))
    desk.hands.now = NOW - timedelta(hours=5)
    assert "the clock went back" in await desk.read(octets("a", hours_ago=27))
    assert await desk.read(octets("a", "d", hours_ago=27), clock_is_right=True) == ""


async def test_a_missing_file_is_remembered(desk: Desk) -> None:
    assert "cannot be read: No such file" in await desk.read()
    [only] = await desk.readings()
    assert (only.verdict, only.digest) == ("unreachable", "")


async def test_a_file_has_a_limit(desk: Desk) -> None:
    whole = octets("a")
    for spare, fits in ((0, True), (-1, False)):
        limits = replace(desk.config.limits, trust_list_max_octets=len(whole) + spare)
        desk.config = replace(desk.config, limits=limits)
        assert (await desk.read(whole) == "") is fits


async def test_a_list_must_be_signed_when_a_signer_is_named(store: Store, config: Config, tmp_path: Path) -> None:
    from cryptography.hazmat.primitives.serialization import Encoding

    signer = make_signer()
    desk = Desk(store, config, tmp_path, signer_file=tmp_path / "signer.pem")
    assert "signer.pem" in await desk.read(octets("a"))
    (tmp_path / "signer.pem").write_bytes(signer.certificate.public_bytes(Encoding.PEM))
    assert "not signed as it must be" in await desk.read(octets("a"))
    assert await desk.read(signer.sign(octets("a"))) == ""


# By https


@pytest.fixture
def world(tmp_path: Path) -> World:
    return make_world(tmp_path)


@pytest.fixture
def served(world: World) -> Iterator[Web]:
    with web(tls.client_facing_context(world.config("gip"))) as running:
        yield running


def by_https(store: Store, made: Config, world: World, served: Web, **settings: Any) -> Desk:
    made = replace(made, tls=world.config("chu").tls)
    return Desk(store, made, world.root, file=None, url=served.url("/list.xml"), **settings)


@pytest.mark.journey
async def test_a_list_is_fetched_by_https(store: Store, config: Config, world: World, served: Web) -> None:
    desk = by_https(store, config, world, served)
    served.pages["/list.xml"] = octets("a", "b")
    result = await fetch_trust_list(store, desk.config, desk.hands)
    assert (result.reason, result.trust_list is not None) == ("", True)
    [only] = await desk.readings()
    assert (only.source, only.verdict, only.domains) == ("url", "taken", 2)


@pytest.mark.journey
@pytest.mark.parametrize(
    ("page", "verdict", "reason"),
    [
        (503, "unreachable", "the server answered 503"),
        (302, "unreachable", "the server answered 302"),
        (octets("a", "b")[:400], "refused", "closing tag"),
        (b"<html>come back later</html>", "refused", "not in the namespace"),
        (octets("a", "b", hours_ago=3), "refused", "is older than"),
        (octets("a", hours_ago=1), "refused", "1 of 2 domains would be gone"),
    ],
)
async def test_a_bad_fetch_keeps_the_last_good_list(
    store: Store, config: Config, world: World, served: Web, page: Any, verdict: str, reason: str
) -> None:
    desk = by_https(store, config, world, served)
    served.pages["/list.xml"] = octets("a", "b", hours_ago=2)
    await fetch_trust_list(store, desk.config, desk.hands)
    served.pages["/list.xml"] = page
    desk.hands.now += timedelta(hours=1)
    result = await fetch_trust_list(store, desk.config, desk.hands)
    assert result.trust_list is None
    assert reason in result.reason
    assert (await desk.readings())[0].verdict == verdict
    current = await desk.current()
    assert current is not None
    assert (current.version, current.fetched_at) == (1, NOW)


@pytest.mark.journey
@pytest.mark.parametrize(("spare", "fits"), [(0, True), (-1, False)])
async def test_a_fetched_list_has_a_limit(
    store: Store, config: Config, world: World, served: Web, spare: int, fits: bool
) -> None:
    desk = by_https(store, config, world, served)
    served.pages["/list.xml"] = page = octets("a")
    limited = replace(desk.config, limits=replace(desk.config.limits, trust_list_max_octets=len(page) + spare))
    result = await fetch_trust_list(store, limited, desk.hands)
    assert ("larger than the limit" in result.reason) is not fits


@pytest.mark.journey
async def test_the_server_of_the_list_must_be_the_one(store: Store, config: Config, world: World, served: Web) -> None:
    desk = by_https(store, config, world, served, url_ca_file=world.foreign.ca_file)
    served.pages["/list.xml"] = octets("a")
    result = await fetch_trust_list(store, desk.config, desk.hands)
    assert "the server's certificate does not hold" in result.reason
    assert served.count("/list.xml") == 0


@pytest.mark.journey
@pytest.mark.parametrize(("shown", "taken"), [(True, True), (False, False)])
async def test_a_server_that_asks_for_our_certificate(
    store: Store, config: Config, world: World, shown: bool, taken: bool
) -> None:
    with web(tls.mx_server_context(world.config("gip"))) as served:
        served.pages["/list.xml"] = octets("a")
        desk = by_https(store, config, world, served, url_certificate=shown)
        result = await fetch_trust_list(store, desk.config, desk.hands)
    assert (result.trust_list is not None) is taken


# The loop


@pytest.mark.journey
async def test_a_url_is_fetched_on_schedule_and_a_failure_tried_again_each_round(
    store: Store, config: Config, world: World, served: Web
) -> None:
    desk = by_https(store, config, world, served, fetch_s=3600, refresh_s=300)
    refresher = Refresher(store, desk.config, desk.hands)
    served.pages["/list.xml"] = 503
    counts = []
    for after_s in (0, 300):
        desk.hands.now = NOW + timedelta(seconds=after_s)
        await refresher._once(300)
        counts.append(served.count("/list.xml"))
    served.pages["/list.xml"] = octets("a")
    for after_s in (600, 900, 4199, 4200):
        desk.hands.now = NOW + timedelta(seconds=after_s)
        await refresher._once(300)
        counts.append(served.count("/list.xml"))
    await refresher._once(300, asked=True)
    assert [*counts, served.count("/list.xml")] == [1, 2, 3, 3, 3, 4, 5]


async def test_the_loop_reads_when_it_is_asked_and_ends(desk: Desk) -> None:
    desk.file.write_bytes(octets("a"))
    refresher = Refresher(desk.store, desk.config, desk.hands)
    task = asyncio.create_task(refresher.run())

    async def until(version: int) -> None:
        async with asyncio.timeout(30):
            while (await desk.store.read(operators.trust_list_mark, NOW))[0] < version:
                await asyncio.sleep(0.01)

    await until(1)
    desk.file.write_bytes(octets("a", "b", hours_ago=0.5))
    refresher.look_now()
    await until(2)
    desk.file.write_bytes(b"")
    refresher.look_now()
    async with asyncio.timeout(30):
        while not refresher.last_reason:
            await asyncio.sleep(0.01)
    await refresher.stop()
    async with asyncio.timeout(30):
        await task
