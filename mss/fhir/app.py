"""The interface for software as one application: the table of `routes` on paths, every error an OperationOutcome."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from starlette.exceptions import HTTPException
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, Router

from mss import __version__
from mss.fhir.outcome import Refusal
from mss.fhir.room import Room, answer, refusal
from mss.fhir.routes import INTERACTIONS, Handler, capability_statement, openapi
from mss.screening import UNSCREENED, Screen
from mss.web.door import Door

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from mss.clock import Clock
    from mss.config import Config
    from mss.fhir.room import Shown
    from mss.signin import SignIn
    from mss.store import Store


def build(
    store: Store,
    config: Config,
    clock: Clock,
    sign_in: SignIn,
    screen: Screen = UNSCREENED,
    shown: Shown = lambda _end, _now: None,
) -> ASGIApp:
    """Return the interface for software; `shown` reads the certificate that a connection came with."""
    room = Room(store, config, clock, sign_in, screen, shown)
    since, program = clock().date().isoformat(), __version__

    async def metadata(request: Request) -> Response:
        return answer(capability_statement(room.base(request), program, since))

    async def description(request: Request) -> Response:
        return JSONResponse(openapi(room.base(request), program))

    routes = [Route("/metadata", metadata, methods=["GET"]), Route("/openapi.json", description, methods=["GET"])]
    routes += [Route(one.path, _handled(room, one.handler), methods=[one.method]) for one in INTERACTIONS]

    async def http_error(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        response = room.error(request, error.status_code)
        response.headers.update(error.headers or {})
        return response

    app = ExceptionMiddleware(Router(routes, redirect_slashes=False), handlers={HTTPException: http_error})
    timeout_s = config.limits.http_timeout_s
    return Door(app, room="fhir", secure=True, timeout_s=timeout_s, draw_error=room.error)


def _handled(room: Room, handler: Handler) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        try:
            return await handler(room, request)
        except Refusal as error:
            return refusal(error)

    return endpoint
