"""Forms: the matrix of who may send one, their limits, and what is read from them."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from mss.web import forms

TOKEN = "t" * 43
URLENCODED = "application/x-www-form-urlencoded"


def app(token: str = TOKEN, **limits: int) -> Starlette:
    async def endpoint(request: Request) -> Response:
        form = await forms.read(request, token, **limits)
        return JSONResponse({"fields": form.fields, "files": [(one.name, len(one.octets)) for one in form.uploads]})

    return Starlette(routes=[Route("/", endpoint, methods=["POST"])])


async def post(application: Starlette, content: bytes | AsyncIterator[bytes], **headers: str) -> httpx2.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    transport = httpx2.ASGITransport(application)
    async with httpx2.AsyncClient(transport=transport, base_url="https://espace.test") as client:
        return await client.post("/", content=content, headers={"Content-Type": URLENCODED} | named)


# What the browser says of where a form comes from (None: nothing), and whether that may be our own page.
SITES = [("same-origin", True), ("same-site", False), ("cross-site", False), ("none", False), ("", False), (None, None)]
ORIGINS = [
    ("https://espace.test", True),
    ("http://espace.test", False),
    ("https://espace.test:8443", False),
    ("https://evil.test", False),
    ("https://espace.test.evil.test", False),
    ("null", False),
    ("", False),
    (None, True),
]
TOKENS = [(TOKEN, True), ("t" * 42, False), (TOKEN + "t", False), ("", False), ("é", False), (None, False)]


@pytest.mark.parametrize(("site", "origin", "token"), list(itertools.product(SITES, ORIGINS, TOKENS)))
async def test_the_matrix_of_forgery(
    site: tuple[str | None, bool | None], origin: tuple[str | None, bool], token: tuple[str | None, bool]
) -> None:
    """A form passes when Sec-Fetch-Site says so, else when its Origin is ours, and only with the token."""
    headers = {name: value for name, value in (("Sec_Fetch_Site", site[0]), ("Origin", origin[0])) if value is not None}
    content = b"a=1" if token[0] is None else b"csrf=" + token[0].encode()
    response = await post(app(), content, **headers)
    own = origin[1] if site[1] is None else site[1]
    assert response.status_code == (200 if own and token[1] else 403)


async def test_without_a_token_of_ours_nothing_passes() -> None:
    assert (await post(app(token=""), b"csrf=")).status_code == 403


@pytest.mark.parametrize(
    ("scheme", "origin", "own"),
    [
        ("https", "https://a.test", True),
        ("http", "http://a.test", True),
        # Behind a proxy that speaks TLS we are asked in plain.
        ("http", "https://a.test", True),
        ("https", "http://a.test", False),
        ("https", "https://b.test", False),
        ("https", "https://", False),
        ("https", "file:///a.test", False),
        ("https", "https://a.test@b.test", False),
    ],
)
def test_an_origin_is_compared_whole(scheme: str, origin: str, own: bool) -> None:
    assert forms.from_own_site(Headers({"origin": origin, "host": "a.test"}), scheme) is own


def test_an_origin_without_a_host_of_ours_is_nobodys() -> None:
    assert not forms.from_own_site(Headers({"origin": "https://"}), "https")


@pytest.mark.parametrize(("over", "status"), [(-1, 200), (0, 200), (1, 413)])
async def test_a_body_has_a_limit(over: int, status: int) -> None:
    content = f"csrf={TOKEN}&a=".encode()
    content += b"x" * (1000 - len(content) + over)
    assert (await post(app(max_octets=1000), content)).status_code == status


async def test_a_body_without_a_length_has_the_same_limit_and_is_not_read_for_ever() -> None:
    given = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal given
        for _ in range(10_000):
            given += 100
            yield b"x" * 100

    response = await post(app(max_octets=1000), endless())
    assert response.status_code == 413
    assert given < 10_000


async def test_the_fields_before_a_file_that_is_too_large_are_whole() -> None:
    parts: list[tuple[str, str | None, bytes]] = [("csrf", None, TOKEN.encode()), ("text", None, b"typed")]
    body = multipart(*parts, ("f", "a.txt", b"x" * 5000))
    for token, kept in ((TOKEN, (("csrf", TOKEN), ("text", "typed"))), ("another", None)):
        with pytest.raises(HTTPException) as caught:
            await forms.read(request_of(body), token, max_octets=1000, files_max=1)
        assert caught.value.status_code == 413
        assert (caught.value.form.fields if isinstance(caught.value, forms.TooLarge) else None) == kept


def request_of(body: bytes) -> Request:
    """A POST of ours whose body comes in blocks."""
    blocks = [body[at : at + 300] for at in range(0, len(body), 300)]
    headers = [(b"content-type", b"multipart/form-data; boundary=x"), (b"sec-fetch-site", b"same-origin")]

    async def receive() -> dict[str, Any]:
        block = blocks.pop(0) if blocks else b""
        return {"type": "http.request", "body": block, "more_body": bool(blocks)}

    scope = {"type": "http", "method": "POST", "path": "/", "query_string": b"", "headers": headers, "scheme": "https"}
    return Request(scope, receive)


def multipart(*parts: tuple[str, str | None, bytes]) -> bytes:
    body = b""
    for name, filename, octets in parts:
        more = f'; filename="{filename}"' if filename is not None else ""
        body += f'--x\r\nContent-Disposition: form-data; name="{name}"{more}\r\n\r\n'.encode() + octets + b"\r\n"
    return body + b"--x--\r\n"


@pytest.mark.parametrize(("files", "status"), [(1, 200), (2, 200), (3, 400)])
async def test_files_are_counted(files: int, status: int) -> None:
    parts: list[tuple[str, str | None, bytes]] = [("csrf", None, TOKEN.encode())]
    parts += [("f", f"{n}.txt", b"x") for n in range(files)]
    response = await post(app(files_max=2), multipart(*parts), Content_Type="multipart/form-data; boundary=x")
    assert response.status_code == status


@pytest.mark.parametrize(("over", "status"), [(0, 200), (1, 400)])
async def test_fields_are_counted_and_weighed(over: int, status: int) -> None:
    many: list[tuple[str, str | None, bytes]] = [("csrf", None, TOKEN.encode())]
    many += [("a", None, b"1")] * (forms.FIELDS_MAX - 1 + over)
    kind = "multipart/form-data; boundary=x"
    assert (await post(app(), multipart(*many), Content_Type=kind)).status_code == status
    long = multipart(("csrf", None, TOKEN.encode()), ("a", None, b"x" * (forms.FIELD_MAX_OCTETS + over)))
    assert (await post(app(max_octets=1_000_000), long, Content_Type=kind)).status_code == status


async def test_an_empty_file_field_is_no_file_and_an_empty_file_is_one() -> None:
    parts = multipart(("csrf", None, TOKEN.encode()), ("f", "", b""), ("f", "vide.pdf", b""))
    response = await post(app(files_max=9), parts, Content_Type="multipart/form-data; boundary=x")
    assert response.json()["files"] == [["vide.pdf", 0]]


@pytest.mark.parametrize(
    ("kind", "content", "status"),
    [
        ("application/json", b"{}", 415),
        ("text/plain", b"csrf=" + TOKEN.encode(), 415),
        ("multipart/form-data", b"--x--", 400),
        ("multipart/form-data; boundary=x", b"\x00\xff garbage", 400),
        ("multipart/form-data; boundary=x", b"--x\r\nContent-Disposition: form-data\r\n\r\n1\r\n--x--", 400),
    ],
)
async def test_what_is_no_form_is_refused(kind: str, content: bytes, status: int) -> None:
    assert (await post(app(), content, Content_Type=kind)).status_code == status


@pytest.mark.parametrize("read", [lambda form: form.get("b"), lambda form: form.all("b")[0]])
def test_fields_are_read_by_name(read: Callable[[Any], str]) -> None:
    form = forms.Form((("a", "1"), ("b", "2"), ("b", "3")))
    assert read(form) == "2"
    assert form.all("b") == ("2", "3")
    assert (form.get("c"), form.all("c")) == ("", ())


async def test_a_large_upload_touches_no_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*_args: object, **_values: object) -> None:
        raise AssertionError("a file was rolled over to the disk")

    monkeypatch.setattr("tempfile.TemporaryFile", forbidden)
    parts = multipart(("csrf", None, TOKEN.encode()), ("f", "grand.pdf", b"x" * 3_000_000))
    kind = "multipart/form-data; boundary=x"
    response = await post(app(max_octets=4_000_000, files_max=1), parts, Content_Type=kind)
    assert response.json()["files"] == [["grand.pdf", 3_000_000]]
