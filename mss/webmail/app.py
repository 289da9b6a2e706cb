"""The webmail put together: routes, who may pass them, static files, the ring around all of it.

It builds the ASGI application and serves nothing: `mss.web.serve` does.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from starlette.exceptions import HTTPException
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route, Router

from mss.screening import UNSCREENED
from mss.web.door import Door
from mss.webmail import (
    account,
    beginning,
    conversations,
    delegations,
    documents,
    filing,
    letters,
    login,
    rights,
    security,
)
from mss.webmail.room import Guest, Page, Room, go

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from mss.clock import Clock
    from mss.config import Config
    from mss.screening import Screen
    from mss.services.submit import Outside
    from mss.signin import SignIn
    from mss.store import Store

Step = Callable[[Room, Request], Awaitable[Response]]

_STATIC: Final = {
    "app.css": "text/css; charset=utf-8",
    "frame.css": "text/css; charset=utf-8",
    "icon.svg": "image/svg+xml",
}
_STEPS: Final[tuple[tuple[str, str, Step], ...]] = (
    ("/sign-in", "GET POST", login.sign_in),
    ("/sign-in/code", "GET POST", login.code),
    ("/sign-in/recovery-code", "GET POST", login.recovery_code),
    ("/sign-in/set-up", "GET POST", login.set_up),
    ("/sign-out", "POST", login.sign_out),
    ("/language/{locale}", "GET", login.change_language),
)
_PAGES: Final[tuple[tuple[str, str, Page], ...]] = (
    ("/conversations", "GET", conversations.listing),
    (beginning.PATH, "GET POST", beginning.begin),
    ("/conversations/{conversation}", "GET", conversations.one),
    ("/conversations/{conversation}", "POST", conversations.answer),
    ("/letters/{letter}/layout", "GET", letters.layout),
    ("/letters/{letter}/files/{part}", "GET", letters.view_file),
    ("/letters/{letter}/files/{part}/download", "GET", letters.download_file),
    ("/letters/{letter}/files/{part}/file", "GET POST", filing.file_away),
    ("/letters/{letter}/documents/{index}", "GET", letters.view_document),
    ("/letters/{letter}/documents/{index}/file", "GET POST", filing.file_document),
    ("/letters/{letter}/documents/{index}/page", "GET", letters.document_page),
    ("/letters/{letter}/documents/{index}/original", "GET", letters.document_original),
    ("/letters/{letter}/documents/{index}/pdf", "GET", letters.document_pdf),
    ("/documents", "GET", documents.listing),
    ("/documents/{document}", "GET", documents.one),
    ("/documents/{document}/page", "GET", documents.page),
    ("/documents/{document}/content", "GET", documents.content),
    ("/documents/{document}/original", "GET", documents.original),
    ("/documents/{document}/mask", "POST", rights.mask),
    ("/accesses", "GET", documents.accesses_page),
    ("/rights", "GET POST", rights.rights),
    ("/delegations", "GET POST", delegations.page),
    ("/mailbox", "GET POST", rights.mailbox),
    ("/directory", "GET", account.directory),
    ("/sessions", "GET POST", account.sessions),
    (security.PASSWORD, "GET POST", security.change_password),
    (security.APPLICATION, "GET POST", security.change_application),
    ("/box", "POST", account.change_box),
)


def build(
    store: Store,
    config: Config,
    clock: Clock,
    sign_in: SignIn,
    outside: Callable[[], Outside],
    screen: Screen = UNSCREENED,
) -> ASGIApp:
    """Return the webmail; `outside` says at any moment which domains can be reached beyond our own."""
    room = Room(store, config, clock, sign_in, outside, screen)
    routes = [Route("/", _home), *(_static(name) for name in _STATIC)]
    routes += [Route(path, _step(room, step), methods=methods.split()) for path, methods, step in _STEPS]
    routes += [Route(path, _signed_in(room, page), methods=methods.split()) for path, methods, page in _PAGES]

    async def http_error(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return room.error(request, error.status_code)

    # Not the class Starlette: it answers surprises itself, before our own map sees them.
    app = ExceptionMiddleware(Router(routes), handlers={HTTPException: http_error})
    return Door(
        app, room="webmail", secure=room.secure, timeout_s=config.limits.http_timeout_s, draw_error=room.error
    )  # fmt: skip


async def _home(_request: Request) -> Response:
    return RedirectResponse("/conversations", 303)


def _static(name: str) -> Route:
    octets = (Path(__file__).parent / "static" / name).read_bytes()
    headers = {
        "Content-Type": _STATIC[name],
        "Cache-Control": "public, max-age=3600",
        # Sandboxed frames have an origin of their own and take their style from here too.
        "Cross-Origin-Resource-Policy": "cross-origin",
    }

    async def static(_request: Request) -> Response:
        return Response(octets, headers=headers)

    return Route(f"/static/{name}", static)


def _step(room: Room, step: Step) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        return await step(room, request)

    return endpoint


def _signed_in(room: Room, page: Page) -> Callable[[Request], Awaitable[Response]]:
    """Let through who is signed in with both factors and may act for a box; others go and sign in."""

    async def endpoint(request: Request) -> Response:
        visit = await room.sessions.find(request)
        if visit is None:
            return await _signed_out(room, request)
        if not visit.session.second_factor_done:
            return go(login.CODE)
        access = visit.access or next(iter(visit.boxes), None)
        if access is None:
            raise HTTPException(403)
        return await page(room, request, Guest(visit, access, room.locale(request, visit)))

    return endpoint


async def _signed_out(room: Room, request: Request) -> Response:
    """Answer somebody whose session has ended; a text that they sent comes back to them, to be copied."""
    had_session = room.cookies.session in request.cookies
    if request.method == "POST" and had_session:
        return await login.give_text_back(room, request)
    return go(login.SIGN_IN, "expired" if had_session else "")
