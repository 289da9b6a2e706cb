"""A real OpenID provider (oidc-provider-mock, a process of its own): its discovery, keys, tokens, restarts and end."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest

from tests.support.ports import free_base
from tests.tokens.signing_world import DESK, DOCTOR, Signing, oauthbearer, signing, xoauth2
from tests.tokens.test_signing_in import LATER, REFUSED, SIGNED_IN, by_imap, by_smtp

pytestmark = [pytest.mark.journey, pytest.mark.slow]

CLIENT = {"client_id": "mss", "redirect_uri": "http://127.0.0.1:1/back"}
_UP_S = 20


@asynccontextmanager
async def provider(port: int) -> AsyncIterator[str]:
    """Run the provider; each run makes a key of its own."""
    command = [sys.executable, "-m", "oidc_provider_mock", "--port", str(port)]
    running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        async with asyncio.timeout(_UP_S), httpx2.AsyncClient() as web:
            while True:
                try:
                    await web.get(f"http://127.0.0.1:{port}/jwks")
                    break
                except httpx2.TransportError:
                    assert running.poll() is None, "the provider did not start"
                    await asyncio.sleep(0.05)
        yield f"http://127.0.0.1:{port}"
    finally:
        running.terminate()
        await asyncio.to_thread(running.wait, 10)


async def token(issuer: str, person: str = DOCTOR, client: str = "mss") -> bytes:
    """Sign a person in at the provider by the code flow, as a browser and a mail program do together."""
    words = {**CLIENT, "client_id": client}
    asked = {**words, "response_type": "code", "scope": "openid email", "state": "s"}
    async with httpx2.AsyncClient() as web:
        described = (await web.get(f"{issuer}/.well-known/openid-configuration")).json()
        sent = await web.post(described["authorization_endpoint"], params=asked, data={"sub": person})
        [code] = parse_qs(urlsplit(sent.headers["location"]).query)["code"]
        given = {**words, "grant_type": "authorization_code", "code": code, "client_secret": "any"}
        answer = (await web.post(described["token_endpoint"], data=given)).json()
    signed: str = answer["id_token"]
    return signed.encode()


@asynccontextmanager
async def served(authorities: Path, folder: Path, issuer: str) -> AsyncIterator[Signing]:
    async with signing(authorities, folder, issuer=issuer, claim="sub") as house:
        yield house


async def test_tokens_of_a_real_provider(authorities: Path, tmp_path: Path) -> None:
    async with provider(free_base()) as issuer, served(authorities, tmp_path / "operator", issuer) as house:
        good = await token(issuer)
        assert await by_smtp(house, b"XOAUTH2 " + xoauth2(good, DOCTOR)) == SIGNED_IN
        assert await by_smtp(house, b"OAUTHBEARER " + oauthbearer(good, DESK)) == SIGNED_IN
        assert await by_imap(house, b"OAUTHBEARER " + oauthbearer(good)) == "OK Logged in"
        for bad in (await token(issuer, "stranger@chu.example"), await token(issuer, client="another"), good[:-4]):
            assert await by_smtp(house, b"XOAUTH2 " + xoauth2(bad)) == REFUSED
        reasons = [record.event.facts["reason"] for record in await house.journal("login.failed")]
        assert reasons == ["nobody", "token-audience", "token-signature"]


async def test_a_token_of_another_real_provider(authorities: Path, tmp_path: Path) -> None:
    first = free_base()
    async with (
        provider(first) as issuer,
        provider(first + 1) as other,
        served(authorities, tmp_path / "operator", issuer) as house,
    ):
        assert await by_smtp(house, b"XOAUTH2 " + xoauth2(await token(other))) == REFUSED
        assert await by_smtp(house, b"XOAUTH2 " + xoauth2(await token(issuer))) == SIGNED_IN


async def test_a_provider_that_goes_away_and_comes_back_with_another_key(
    authorities: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mss.tokens.issuer.REFRESH_MIN_S", 0)
    port = free_base()
    async with provider(port) as issuer:
        old = await token(issuer)
    async with served(authorities, tmp_path / "operator", issuer) as house:
        assert await by_smtp(house, b"XOAUTH2 " + xoauth2(old)) == LATER
        async with provider(port) as issuer:
            new = await token(issuer)
            assert await by_smtp(house, b"XOAUTH2 " + xoauth2(new)) == SIGNED_IN
            assert await by_smtp(house, b"XOAUTH2 " + xoauth2(old)) == REFUSED
        assert await by_smtp(house, b"XOAUTH2 " + xoauth2(new)) == SIGNED_IN
