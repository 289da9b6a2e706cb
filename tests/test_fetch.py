"""One answer, bounded: what may be asked, what a bad server costs, and that nothing of it is repeated."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from mss import tls
from mss.errors import Malformed, Unavailable
from mss.fetch import fetch, is_fetchable
from tests.certs.world import World, make_world
from tests.support.web import Web, web


@pytest.mark.parametrize(
    ("url", "fine"),
    [
        ("http://crl.example/a.crl", True),
        ("https://crl.example:8443/a?b=c", True),
        ("http://[::1]:80/", True),
        ("ldap://crl.example/a", False),
        ("file:///etc/passwd", False),
        ("http:///a", False),
        ("http://user:word@crl.example/", False),
        ("http://crl.example/a b", False),
        ("http://crl.example/é", False),
        ("http://crl.example:99999/", False),
        ("http://crl.example:0/", False),
        ("http://[::1/", False),
        ("crl.example/a.crl", False),
        ("http://crl.example/" + "a" * 1982, False),
        ("http://crl.example/" + "a" * 1981, True),
        ("", False),
    ],
)
def test_what_may_be_asked(url: str, fine: bool) -> None:
    assert is_fetchable(url) is fine


async def test_what_may_not_be_asked_is_not() -> None:
    with pytest.raises(Malformed):
        await fetch("file:///etc/passwd", ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), max_octets=1, timeout_s=1)


@pytest.fixture
def served() -> Iterator[Web]:
    with web() as running:
        yield running


PLAIN = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


async def got(url: str, *, max_octets: int = 100, timeout_s: float = 10, body: bytes | None = None) -> bytes:
    return await fetch(url, PLAIN, max_octets=max_octets, timeout_s=timeout_s, body=body)


@pytest.mark.journey
@pytest.mark.parametrize(("octets", "fits"), [(99, True), (100, True), (101, False)])
async def test_an_answer_has_a_limit(served: Web, octets: int, fits: bool) -> None:
    served.pages["/a"] = b"x" * octets
    if fits:
        assert await got(served.url("/a")) == b"x" * octets
    else:
        with pytest.raises(Unavailable, match="larger than the limit"):
            await got(served.url("/a"))


@pytest.mark.journey
async def test_what_is_posted_arrives(served: Web) -> None:
    served.pages["/a"] = lambda posted: posted[::-1]
    assert await got(served.url("/a"), body=b"abc") == b"cba"
    assert served.asked == [("POST", "/a")]


@pytest.mark.journey
@pytest.mark.parametrize("status", [204, 301, 302, 304, 403, 404, 500, 503])
async def test_only_200_is_an_answer_and_no_redirect_is_followed(served: Web, status: int) -> None:
    served.pages |= {"/a": status, "/elsewhere": b"x"}
    with pytest.raises(Unavailable, match=f"the server answered {status}"):
        await got(served.url("/a"))
    assert served.count("/elsewhere") == 0


@pytest.mark.journey
async def test_a_silent_server_costs_so_long_at_most(served: Web) -> None:
    served.held.add("/a")
    with pytest.raises(Unavailable, match=r"no answer within 0.2 s|no answer in time"):
        await got(served.url("/a"), timeout_s=0.2)


@pytest.mark.journey
async def test_nobody_there_is_said_without_the_url(served: Web) -> None:
    with pytest.raises(Unavailable, match=r"\Anobody can be reached there\Z"):
        await got("http://127.0.0.1:1/secret")


@pytest.mark.journey
@pytest.mark.parametrize(
    ("name", "host", "reason"),
    [
        ("chu", "localhost", None),
        ("chu", "127.0.0.2", "does not hold: .*mismatch"),
        ("rogue", "localhost", "does not hold: .*issuer"),
        ("expired", "localhost", "does not hold: .*expired"),
    ],
)
async def test_https_verifies_chain_dates_and_name(tmp_path: Path, name: str, host: str, reason: str | None) -> None:
    world: World = make_world(tmp_path)
    context = tls.fetching_context(world.config("gip"))
    with web(tls.client_facing_context(world.config(name)), host) as served:
        served.pages["/a"] = b"x"
        if reason is None:
            assert await fetch(served.url("/a"), context, max_octets=10, timeout_s=10) == b"x"
        else:
            with pytest.raises(Unavailable, match=reason):
                await fetch(served.url("/a"), context, max_octets=10, timeout_s=10)


@pytest.mark.journey
async def test_the_proxy_of_the_environment_is_not_asked(served: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    served.pages["/a"] = b"x"
    assert await got(served.url("/a")) == b"x"
