"""The outermost ring: headers, what goes wrong inside, deadlines, and one line in the log."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import httpx2
import pytest
import structlog
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route, Router
from starlette.types import Receive, Scope, Send

from mss.errors import Conflict, Malformed, Misconfigured, Unavailable
from mss.web.door import Door, places, status_of

SECRET = "279035121518989 claire.martin@chu.mssante.fr"


def draw(_request: Request, status: int, incident: str) -> Response:
    return PlainTextResponse(f"error {status} {incident}", status)


def door(endpoint: object, *, secure: bool = True, timeout_s: float = 10) -> Door:
    router = Router([Route("/people/{name}", endpoint)])  # type: ignore[arg-type]
    return Door(router, room="test", secure=secure, timeout_s=timeout_s, draw_error=draw)


async def get(application: Door, path: str = "/people/paul") -> httpx2.Response:
    transport = httpx2.ASGITransport(application)
    async with httpx2.AsyncClient(transport=transport, base_url="https://espace.test") as client:
        return await client.get(path)


async def fine(_request: Request) -> Response:
    return PlainTextResponse("fine", headers={"Cache-Control": "max-age=1"})


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (HTTPException(404), 404),
        (Malformed(SECRET), 400),
        (Conflict(SECRET), 503),
        (Unavailable(SECRET), 503),
        (TimeoutError(), 503),
        (Misconfigured(SECRET), 500),
        (ValueError(SECRET), 500),
        (KeyError(SECRET), 500),
    ],
)
async def test_what_goes_wrong_comes_out_as_a_status_and_a_number(error: Exception, status: int) -> None:
    async def broken(_request: Request) -> Response:
        raise error

    with structlog.testing.capture_logs() as lines:
        response = await get(door(broken))
    assert (response.status_code, status_of(error)) == (status, status)
    incident = response.text.split()[-1]
    assert {line["incident"] for line in lines} == {incident}
    assert "279035121518989" not in response.text + str(lines)
    assert "paul" not in str(lines)
    assert any("test_door.py" in place for line in lines for place in line.get("at", []))


async def test_headers_guard_every_answer() -> None:
    response = await get(door(fine))
    assert response.headers["content-security-policy"].startswith("default-src 'none'")
    assert "'unsafe" not in response.headers["content-security-policy"]
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["referrer-policy"] == "same-origin"
    assert response.headers["x-frame-options"] == "DENY"
    assert response.headers["strict-transport-security"].startswith("max-age=")
    assert response.headers["cache-control"] == "max-age=1", "what an answer says itself stays"
    missing = await get(door(fine), "/nothing")
    assert missing.status_code == 404
    assert missing.headers["cache-control"] == "no-store"


async def test_without_tls_nothing_promises_tls() -> None:
    assert "strict-transport-security" not in (await get(door(fine, secure=False))).headers


async def test_one_line_says_the_route_and_never_the_path() -> None:
    with structlog.testing.capture_logs() as lines:
        await get(door(fine))
    (line,) = lines
    assert (line["event"], line["route"], line["status"]) == ("http.request", "/people/{name}", 200)
    assert "paul" not in str(line)


async def test_an_answer_that_takes_too_long_is_given_up() -> None:
    async def slow(_request: Request) -> Response:
        await asyncio.Event().wait()
        return Response()

    assert (await get(door(slow, timeout_s=0.01))).status_code == 503


async def test_half_an_answer_is_broken_off() -> None:
    async def half(_request: Request) -> Response:
        async def body() -> AsyncIterator[bytes]:
            yield b"half"
            raise ValueError(SECRET)

        return StreamingResponse(body())

    with structlog.testing.capture_logs() as lines, pytest.raises(ConnectionAbortedError):
        await get(door(half))
    assert [line["event"] for line in lines] == ["http.incident"]


async def test_a_browser_that_went_away_is_no_incident() -> None:
    async def gone(_request: Request) -> Response:
        raise ClientDisconnect

    with structlog.testing.capture_logs() as lines:
        sent: list[object] = []

        async def send(message: object) -> None:
            sent.append(message)

        async def receive() -> dict[str, str]:
            return {"type": "http.disconnect"}

        scope = {"type": "http", "method": "GET", "path": "/people/paul", "headers": [], "query_string": b""}
        await door(gone)(scope, receive, send)
    assert sent == []
    assert [(line["event"], line["status"]) for line in lines] == [("http.request", 499)]


async def test_other_protocols_are_left_alone() -> None:
    async def never(_scope: Scope, _receive: Receive, _send: Send) -> None:
        raise AssertionError

    ring = Door(never, room="test", secure=True, timeout_s=1, draw_error=draw)
    await ring({"type": "websocket"}, None, None)  # type: ignore[arg-type]


def test_places_are_few_and_hold_no_values() -> None:
    def deep(n: int) -> None:
        if n == 0:
            raise ValueError(SECRET)
        deep(n - 1)

    try:
        deep(30)
    except ValueError as error:
        found = places(error)
    assert len(found) == 8
    assert all(place.startswith("test_door.py:") for place in found)
