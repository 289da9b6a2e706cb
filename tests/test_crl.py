"""Revocation lists that are fetched: when, what is kept, and what a bad place costs."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from mss import pki
from mss import revocation as lists
from mss.config import Limits
from mss.crl import RETRY, Bounds, Fetcher, files_in
from mss.tls import TlsMaterial
from mss.watch import Watch
from tests.certs.responder import leaf_of
from tests.certs.world import HOSPITAL, HOUR, NOW, REGION, World, judged, leaf_der, make_world
from tests.support.web import Web, web

SECOND = timedelta(seconds=1)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return make_world(tmp_path)


@pytest.fixture
def served() -> Iterator[Web]:
    with web() as running:
        yield running


class Hands:
    """A clock's hands."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now


def parts(world: World) -> tuple[bytes, bytes]:
    """The authority's two lists, apart, as DER: the intermediate's and the root's."""
    crls = lists._parse_lists(world.authority.crl_file.read_bytes())
    one, two = (crl.public_bytes(Encoding.DER) for crl in crls)
    return one, two


def fetching(world: World, *urls: str, **changes: Any) -> tuple[TlsMaterial, Watch, Hands]:
    settings = {"crl_files": (), "crl_urls": urls, "crl_dir": world.root / "fetched", **changes}
    config = world.config("chu", **settings)
    material, hands = TlsMaterial(config), Hands()
    return material, Watch(material, config, hands), hands


@pytest.mark.journey
async def test_configured_lists_are_fetched_kept_and_used(world: World, served: Web) -> None:
    served.pages["/a.crl"], served.pages["/b.crl"] = parts(world)
    material, watch, _ = fetching(world, served.url("/a.crl"), served.url("/b.crl"))
    assert judged(world, "gip", material.revocation) == "unknown"
    await watch.look()
    assert judged(world, "gip", material.revocation) == "good"
    assert material.problems == ()
    again, _, _ = fetching(world, served.url("/a.crl"))
    assert judged(world, "gip", again.revocation) == "good"  # After a restart, without a fetch.


@pytest.mark.journey
async def test_lists_are_fetched_on_schedule(world: World, served: Web) -> None:
    served.pages["/crl"] = world.authority.crl_file.read_bytes()
    material, watch, hands = fetching(world, served.url("/crl"), crl_fetch_s=3600)
    for after, count in ((0, 1), (3599, 1), (3600, 2), (3601, 2), (7200, 3)):
        hands.now = NOW + timedelta(seconds=after)
        await watch.look()
        assert served.count("/crl") == count
    pki.revoke(world.authority, world.root / "gip" / "operator.pem", now=NOW)
    served.pages["/crl"] = world.authority.crl_file.read_bytes()
    await watch.look(forced=True)
    assert served.count("/crl") == 4
    assert judged(world, "gip", material.revocation) == "revoked"


@pytest.mark.journey
async def test_what_a_worker_fetched_is_young_for_all(world: World, served: Web) -> None:
    served.pages["/crl"] = world.authority.crl_file.read_bytes()
    _, watch, _ = fetching(world, served.url("/crl"))
    material, other, _ = fetching(world, served.url("/crl"))
    await watch.look()
    await other.look()
    assert served.count("/crl") == 1
    assert judged(world, "gip", material.revocation) == "good"


@pytest.mark.journey
@pytest.mark.parametrize("bad", ["404", "garbage", "cut", "foreign", "older", "empty"])
async def test_a_bad_list_changes_nothing_and_is_asked_for_again(
    world: World, served: Web, capfd: pytest.CaptureFixture[str], bad: str
) -> None:
    older = world.authority.crl_file.read_bytes()
    pki.revoke(world.authority, world.root / "gip" / "operator.pem", now=NOW)
    good = served.pages["/crl"] = world.authority.crl_file.read_bytes()
    material, watch, hands = fetching(world, served.url("/crl"))
    await watch.look()
    pages: dict[str, bytes | int] = {
        "404": 404, "garbage": b"<html>", "cut": good[: len(good) // 3], "empty": b"", "older": older,
        "foreign": world.foreign.crl_file.read_bytes(),
    }  # fmt: skip
    served.pages["/crl"] = pages[bad]
    hands.now = NOW + HOUR
    await watch.look()
    assert judged(world, "gip", material.revocation) == "revoked"
    assert "revocation.list_not_fetched" in capfd.readouterr().err
    [kept] = files_in(world.root / "fetched")
    assert kept.read_bytes() == good
    for after, count in ((RETRY - SECOND, 2), (RETRY, 3)):
        hands.now = NOW + HOUR + after
        await watch.look()
        assert served.count("/crl") == count


@pytest.mark.journey
@pytest.mark.parametrize(("spare", "kept"), [(0, 1), (-1, 0)])
async def test_a_list_has_a_limit(world: World, served: Web, spare: int, kept: int) -> None:
    octets = served.pages["/crl"] = world.authority.crl_file.read_bytes()
    config = world.config("chu", crl_files=(), crl_urls=(served.url("/crl"),), crl_dir=world.root / "fetched")
    config = replace(config, limits=Limits(crl_max_octets=len(octets) + spare))
    await Watch(TlsMaterial(config), config, Hands()).look()
    assert len(files_in(world.root / "fetched")) == kept


@pytest.mark.journey
async def test_the_points_that_certificates_name_are_fetched(world: World, served: Web) -> None:
    own, peers = served.url("/own.crl"), served.url("/peers.crl")
    pki.issue(world.root / "chu", world.authority, HOSPITAL, ["mx.chu.example"], now=NOW, crl_url=own)
    pki.issue(world.root / "gip", world.authority, REGION, [], now=NOW, crl_url=peers)
    served.pages["/own.crl"], served.pages["/peers.crl"] = parts(world)
    material, watch, hands = fetching(world)
    assert list(material.points) == [own]
    await watch.look()
    peer = await material.met(leaf_der(world.root / "gip" / "operator.pem"), ip="::1", now=NOW)
    assert peer.revocation == "unknown"  # The root's list is missing, and the peer's certificate says where it is.
    assert list(material.points) == [own, peers]
    await watch.look()
    assert (await material.met_again(peer, hands())).revocation == "good"


async def test_points_of_peers_are_followed_so_far_and_only_when_wanted(world: World) -> None:
    leaves = []
    for number in range(3):
        path, _ = pki.issue(
            world.root / f"p{number}", world.authority, REGION, [], now=NOW, crl_url=f"http://{number}.example/"
        )
        leaves.append(leaf_der(path))
    config = world.config("chu", crl_files=())
    material = TlsMaterial(replace(config, limits=Limits(crl_points_max=2)))
    for leaf in leaves:
        await material.met(leaf, ip="::1", now=NOW)
    assert material.points == ("http://0.example/", "http://1.example/")
    unwanted = TlsMaterial(world.config("chu", crl_files=(), crl_from_certificates=False, crl_urls=("http://x/",)))
    await unwanted.met(leaves[0], ip="::1", now=NOW)
    assert unwanted.points == ("http://x/",)


def test_points_are_complete_lists_only(world: World) -> None:
    path, _ = pki.issue(world.root / "p", world.authority, REGION, [], now=NOW, crl_url="ldap://x/")
    assert lists.points_of(leaf_of(path)) == ("ldap://x/",)
    assert lists.points_of(leaf_of(world.root / "gip" / "operator.pem")) == ()


async def test_what_is_no_web_place_is_never_asked(world: World) -> None:
    fetcher = Fetcher(world.root / "fetched", Bounds(HOUR, 1, 1))
    material = TlsMaterial(world.config("chu"))
    urls = ["ldap://crl.example/a", "file:///etc/passwd", ""]
    assert await fetcher.fetch_due(urls, material.fetching, lambda _: None, NOW, at_once=True) == 0
    assert fetcher.failed == {}


@pytest.mark.journey
async def test_the_clock_set_back_makes_every_fetched_list_due(world: World, served: Web) -> None:
    served.pages["/crl"] = world.authority.crl_file.read_bytes()
    _, watch, hands = fetching(world, served.url("/crl"))
    await watch.look()
    hands.now = NOW - HOUR
    await watch.look()
    assert served.count("/crl") == 2


def test_a_fetched_list_that_went_bad_on_disk_stops_no_start(world: World) -> None:
    (world.root / "fetched").mkdir()
    (world.root / "fetched" / "x.crl").write_bytes(b"rubbish")
    material = TlsMaterial(world.config("chu", crl_dir=world.root / "fetched"))
    assert judged(world, "gip", material.revocation) == "good"
    [problem] = material.problems
    assert problem.endswith("x.crl holds no revocation list that can be read")


def test_an_older_file_beside_a_fetched_list_is_no_problem(world: World) -> None:
    seed = world.root / "seed.crl"
    seed.write_bytes(world.authority.crl_file.read_bytes())
    pki.revoke(world.authority, world.root / "gip" / "operator.pem", now=NOW)
    (world.root / "fetched").mkdir()
    (world.root / "fetched" / "x.crl").write_bytes(world.authority.crl_file.read_bytes())
    material = TlsMaterial(world.config("chu", crl_files=(seed,), crl_dir=world.root / "fetched"))
    assert judged(world, "gip", material.revocation) == "revoked"
    assert material.reload(forced=True) == []


# The watch


async def test_a_list_past_its_date_is_said_once_an_hour(world: World, capfd: pytest.CaptureFixture[str]) -> None:
    pki.make_crl(world.authority, now=NOW, days=1)
    config = world.config("chu")
    hands = Hands()
    watch = Watch(TlsMaterial(config), config, hands)
    due = NOW.replace(microsecond=0) + timedelta(days=1)
    said = []
    for after in (timedelta(0), SECOND, HOUR, HOUR + 2 * SECOND):
        hands.now = due + after
        await watch.look()
        said.append(capfd.readouterr().err.count("revocation.list_late"))
    assert said == [0, 1, 0, 1]


async def test_the_watch_looks_again_when_it_is_asked(world: World, capfd: pytest.CaptureFixture[str]) -> None:
    config = world.config("chu", reload_s=3600)
    material = TlsMaterial(config)
    watch = Watch(material, config, Hands())
    task = asyncio.create_task(watch.run())
    said = ""

    async def until(event: str) -> None:
        nonlocal said
        async with asyncio.timeout(30):
            while event not in said:
                await asyncio.sleep(0.01)
                said += capfd.readouterr().err

    before = material.mx_server
    os.utime(world.root / "chu" / "operator.pem", ns=(1, 1))
    watch.look_now()
    await until("certificates.reloaded")
    assert material.mx_server is not before
    (world.root / "chu" / "operator.key").write_bytes(b"rubbish")
    watch.look_now()
    await until("certificates.unusable")
    await watch.stop()
    async with asyncio.timeout(30):
        await task
    assert "operator.key" in material.problems[0]


async def test_a_mishap_does_not_end_the_watch(
    world: World, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    config = world.config("chu")
    watch = Watch(TlsMaterial(config), config, Hands())

    async def failing(**_: object) -> None:
        await watch.stop()
        raise RuntimeError("odd")

    monkeypatch.setattr(watch, "look", failing)
    async with asyncio.timeout(30):
        await watch.run()
    assert "certificates.watch_failed" in capfd.readouterr().err


def test_a_certificate_without_extensions_names_nothing(world: World) -> None:
    root = x509.load_pem_x509_certificate((world.authority.directory / "root.pem").read_bytes())
    assert lists.points_of(root) == ()
