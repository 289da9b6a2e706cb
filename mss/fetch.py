"""One bounded answer over http or https: revocation lists, revocation answers, the trust list (RFC 9110).

Octets, seconds and places are limited: no redirect is followed, no proxy of the environment asked, nothing kept or
unpacked. It judges no content. The only module that names httpx2.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import httpx2

from mss.errors import Malformed, Unavailable

if TYPE_CHECKING:
    import ssl

_OK: Final = 200
_URL_MAX: Final = 2000
# A body that was packed could unpack to any size.
_PLAIN: Final = {"Accept-Encoding": "identity", "User-Agent": "mss"}


def is_fetchable(url: str, schemes: tuple[str, ...] = ("http", "https")) -> bool:
    """Say whether a text is a URL that may be asked: one of the schemes, a host, no name and no password in it."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return False
    printable = len(url) <= _URL_MAX and url.isascii() and url.isprintable() and " " not in url
    return printable and parts.scheme in schemes and bool(parts.hostname) and "@" not in parts.netloc and port != 0


async def fetch(
    url: str,
    tls: ssl.SSLContext,
    *,
    max_octets: int,
    timeout_s: float,
    body: bytes | None = None,
    content_type: str = "application/octet-stream",
) -> bytes:
    """Return what a URL holds, or answers to a `body` that is posted to it.

    `timeout_s` bounds the whole exchange. Unavailable: everything that may be better another time, in words without
    the URL. Malformed: no URL that may be asked.
    """
    if not is_fetchable(url):
        raise Malformed("not an http or https URL")
    try:
        async with (
            asyncio.timeout(timeout_s),
            httpx2.AsyncClient(verify=tls, trust_env=False, follow_redirects=False, timeout=timeout_s) as client,
        ):
            request = client.build_request("GET", url, headers=_PLAIN) if body is None else client.build_request(
                "POST", url, content=body, headers={**_PLAIN, "Content-Type": content_type}
            )  # fmt: skip
            return await _answer(client, request, max_octets)
    except TimeoutError as error:
        raise Unavailable(f"no answer within {timeout_s:g} s") from error
    except (httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError, OSError, ValueError) as error:
        raise Unavailable(_why(error)) from error


async def _answer(client: httpx2.AsyncClient, request: httpx2.Request, max_octets: int) -> bytes:
    response = await client.send(request, stream=True)
    try:
        if response.status_code != _OK:
            raise Unavailable(f"the server answered {response.status_code}")
        octets = bytearray()
        async for block in response.aiter_raw():
            octets += block
            if len(octets) > max_octets:
                raise Unavailable("the answer is larger than the limit")
        return bytes(octets)
    finally:
        await response.aclose()


def _why(error: Exception) -> str:
    """Return what failed, without what the other side said."""
    seen: BaseException | None = error
    while seen is not None:
        message = getattr(seen, "verify_message", None)
        if message:
            return f"the server's certificate does not hold: {message}"
        seen = seen.__cause__ or seen.__context__
    if isinstance(error, httpx2.TimeoutException):
        return "no answer in time"
    if isinstance(error, httpx2.ConnectError):
        return "nobody can be reached there"
    return "the exchange broke"
