"""The issuer's keys: found, kept, renewed, and what happens while the issuer is down."""

from __future__ import annotations

import asyncio
import json
import ssl
from datetime import timedelta
from pathlib import Path

import pytest

from mss.config import Limits
from mss.errors import Misconfigured, Unavailable
from mss.tokens.issuer import context_of, may_ask
from mss.tokens.verify import Fault, Token
from tests.tokens.tokens_world import (
    DISCOVERY,
    ISSUER,
    KEYS_URL,
    NOW,
    Hands,
    Web,
    claims,
    issuer,
    published,
    rsa,
    signed,
)


def fresh(hands: Hands, **changed: object) -> bytes:
    """Return a token made just now."""
    now = int(hands.now.timestamp())
    return signed(claims(iat=now, nbf=now, exp=now + 240, **changed), alg="PS256")


async def test_keys_are_found_by_the_issuer_s_own_description_once() -> None:
    web, hands = Web(), Hands()
    from_there = issuer(web, hands)
    assert [isinstance(await from_there.judge(signed()), Token) for _ in range(3)] == [True] * 3
    assert web.asked == [DISCOVERY, KEYS_URL]


async def test_keys_may_be_named_in_the_configuration() -> None:
    web = Web({"https://keys.example/": published(rsa())})
    assert isinstance(await issuer(web, Hands(), jwks_url="https://keys.example/").judge(signed()), Token)
    assert web.asked == ["https://keys.example/"]


async def test_a_bad_token_asks_for_no_keys() -> None:
    web = Web()
    assert await issuer(web, Hands()).judge(b"garbage") is Fault.MALFORMED
    assert web.asked == []


async def test_a_rotated_key_is_looked_up_at_once() -> None:
    web, hands = Web(), Hands()
    ours = issuer(web, hands)
    await ours.judge(signed())
    web.pages[KEYS_URL] = published(rsa("r2"))
    hands.now += timedelta(seconds=30)
    assert isinstance(await ours.judge(signed(key=rsa("r2"))), Token)
    assert await ours.judge(signed()) is Fault.UNKNOWN_KEY  # The old one is no longer the issuer's.


@pytest.mark.parametrize(("after_s", "asked"), [(0, 2), (29, 2), (30, 4)])
async def test_invented_kids_make_us_ask_only_so_often(after_s: int, asked: int) -> None:
    web, hands = Web(), Hands()
    ours = issuer(web, hands)
    await ours.judge(signed())
    hands.now += timedelta(seconds=after_s)
    for n in range(5):
        assert await ours.judge(signed(kid=f"invented-{n}")) is Fault.UNKNOWN_KEY
    assert len(web.asked) == asked


async def test_all_who_wait_share_one_question() -> None:
    web, hands = Web(), Hands()
    ours = issuer(web, hands)
    found = await asyncio.gather(*(ours.judge(signed()) for _ in range(20)))
    assert all(isinstance(one, Token) for one in found)
    assert len(web.asked) == 2


async def test_who_leaves_does_not_take_the_answer_of_the_others() -> None:
    web, hands = Web(), Hands()
    ours = issuer(web, hands)
    first = asyncio.create_task(ours.judge(signed()))
    second = asyncio.create_task(ours.judge(signed()))
    await asyncio.sleep(0)
    first.cancel()
    assert isinstance(await second, Token)


async def test_an_issuer_that_is_down_is_temporary() -> None:
    web, hands = Web(down=True), Hands()
    ours = issuer(web, hands)
    for _ in range(3):
        with pytest.raises(Unavailable):
            await ours.judge(signed())
    assert len(web.asked) == 1
    web.down = False
    hands.now += timedelta(seconds=30)
    assert isinstance(await ours.judge(fresh(hands)), Token)


@pytest.mark.parametrize(("hours", "goes_on"), [(1, True), (24, True), (25, False)])
async def test_cached_keys_go_on_while_the_issuer_is_down(hours: int, goes_on: bool) -> None:
    web, hands = Web(), Hands()
    ours = issuer(web, hands)
    await ours.judge(signed())
    web.down = True
    hands.now += timedelta(hours=hours)
    if goes_on:
        assert isinstance(await ours.judge(fresh(hands)), Token)
    else:
        with pytest.raises(Unavailable):
            await ours.judge(fresh(hands))


async def test_an_unknown_key_while_the_issuer_is_down_is_temporary() -> None:
    web, hands = Web(), Hands()
    ours = issuer(web, hands)
    await ours.judge(signed())
    web.down = True
    hands.now += timedelta(seconds=30)
    with pytest.raises(Unavailable):
        await ours.judge(signed(key=rsa("r2")))


async def test_old_keys_are_renewed_beside_and_nobody_waits() -> None:
    web, hands = Web(), Hands()
    ours = issuer(web, hands)
    await ours.judge(signed())
    hands.now += timedelta(seconds=3601)
    assert isinstance(await ours.judge(fresh(hands)), Token)
    assert len(web.asked) == 2
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert len(web.asked) == 4


async def test_a_clock_set_back_drops_no_keys() -> None:
    web, hands = Web(), Hands()
    ours = issuer(web, hands)
    await ours.judge(signed())
    web.down = True
    hands.now = NOW - timedelta(days=2)
    assert isinstance(await ours.judge(fresh(hands)), Token)


@pytest.mark.parametrize(
    "described",
    [
        b"",
        b"[]",
        b"{}",
        b"[" * 100_000,
        json.dumps({"issuer": "https://other.example", "jwks_uri": KEYS_URL}).encode(),
        json.dumps({"issuer": ISSUER, "jwks_uri": "http://id.example/keys"}).encode(),
        json.dumps({"issuer": ISSUER, "jwks_uri": "file:///etc/passwd"}).encode(),
        json.dumps({"issuer": ISSUER, "jwks_uri": "http://127.0.0.1/keys"}).encode(),
        json.dumps({"issuer": ISSUER, "jwks_uri": 7}).encode(),
    ],
)
async def test_a_description_that_cannot_be_believed(described: bytes) -> None:
    web = Web({DISCOVERY: described, KEYS_URL: published(rsa())})
    with pytest.raises(Unavailable):
        await issuer(web, Hands()).judge(signed())
    assert web.asked == [DISCOVERY]


async def test_a_bad_key_set_does_not_replace_what_works() -> None:
    web, hands = Web(), Hands()
    ours = issuer(web, hands)
    await ours.judge(signed())
    for page in (b"garbage", b'{"keys":[]}', b'{"keys":[{"kty":"oct","k":"AA"}]}'):
        web.pages[KEYS_URL] = page
        hands.now += timedelta(hours=2)
        assert isinstance(await ours.judge(fresh(hands)), Token)


async def test_the_size_of_a_token_is_limited() -> None:
    token = signed()
    ours = issuer(Web(), Hands(), Limits(token_max_octets=len(token) - 1))
    assert await ours.judge(token) is Fault.TOO_LARGE


@pytest.mark.parametrize(
    ("url", "asked"),
    [
        ("https://id.example/realms/staff", True),
        ("http://127.0.0.1:8080/", True),
        ("http://[::1]:8080/", True),
        ("http://id.example/", False),
        ("http://127.0.0.1.id.example/", False),
        ("http://localhost/", False),
        ("https://user:word@id.example/", False),
        ("file:///etc/passwd", False),
        ("https://id.example/a b", False),
        ("//id.example/", False),
        ("", False),
    ],
)
def test_what_may_be_asked(url: str, asked: bool) -> None:
    assert may_ask(url) is asked


def test_authorities_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "empty.pem").write_text("")
    for name in ("missing.pem", "empty.pem"):
        with pytest.raises(Misconfigured):
            context_of(tmp_path / name)
    assert context_of(None).verify_mode is ssl.CERT_REQUIRED
