"""The outermost ring of a web application: headers, the error map, one log line per request, a deadline.

It knows no page: a room gives the function that draws an error. HTTP semantics RFC 9110, CSP 3.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from mss.errors import Conflict, Malformed, Unavailable, incident_number
from mss.log import get_logger, redact

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

DrawError = Callable[[Request, int, str], Response]

PAGE_POLICY: Final = (
    "default-src 'none'; style-src 'self'; img-src 'self'; frame-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
_DEFAULTS: Final = {
    "Content-Security-Policy": PAGE_POLICY,
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # Not `no-referrer`: browsers would then send "Origin: null" with our own forms.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "X-Robots-Tag": "noindex, nofollow",
}
_HSTS: Final = "max-age=31536000"
# For the log only: nobody is there to read a status.
_GONE: Final = 499


class Door:
    """Wraps an application; nothing that goes wrong inside comes out as more than a status and a number."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        room: str,
        secure: bool,
        timeout_s: float,
        draw_error: DrawError,
        log_well: bool = True,
    ) -> None:
        self._app, self._secure, self._timeout_s, self._draw_error = app, secure, timeout_s, draw_error
        # Probes come every few seconds for ever: their room writes down only what went wrong.
        self._log_well = log_well
        self._log = get_logger(room)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        # With an application in the scope, routes raise for a missing page instead of answering in plain text.
        scope["app"] = self
        line = _Line(scope, time.monotonic())

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                line.status = message["status"]
                self._add_headers(MutableHeaders(scope=message))
            await send(message)

        try:
            async with asyncio.timeout(self._timeout_s):
                await self._app(scope, receive, send_with_headers)
        except ClientDisconnect:
            line.status = _GONE
        except Exception as error:  # noqa: BLE001 – this is the door's map.
            await self._surprise(error, line, scope, receive, send_with_headers)
        if self._log_well or not 200 <= line.status < 300:
            self._log.info("http.request", **line.fields())

    def _add_headers(self, headers: MutableHeaders) -> None:
        for name, value in _DEFAULTS.items():
            headers.setdefault(name, value)
        if self._secure:
            headers.setdefault("Strict-Transport-Security", _HSTS)

    async def _surprise(self, error: Exception, line: _Line, scope: Scope, receive: Receive, send: Send) -> None:
        status, incident = status_of(error), incident_number()
        line.incident = incident
        # The text of a stranger's exception may hold anything: the log gets its type and its places only.
        facts: dict[str, object] = {"error": type(error).__name__, "at": places(error)}
        if isinstance(error, Unavailable):
            facts["reason"] = redact(str(error))
        self._log.error("http.incident", incident=incident, status=status, **facts)
        if line.status:
            # Half an answer went out: only a broken connection tells the browser so.
            raise ConnectionAbortedError("answer broken off") from None
        await self._draw_error(Request(scope, receive), status, incident)(scope, receive, send)


class _Line:
    """What one log line says of a request: the route's pattern, never the path."""

    def __init__(self, scope: Scope, started: float) -> None:
        self._scope, self._started = scope, started
        self.status, self.incident = 0, ""

    def fields(self) -> dict[str, str | int]:
        """Return the line's fields."""
        route = getattr(self._scope.get("route"), "path", "")
        fields: dict[str, str | int] = {
            "method": self._scope["method"],
            "route": route,
            "status": self.status,
            "ms": round((time.monotonic() - self._started) * 1000),
        }
        return fields | ({"incident": self.incident} if self.incident else {})


def status_of(error: Exception) -> int:
    """Return the HTTP status of an error that no page expected."""
    match error:
        case HTTPException():
            return error.status_code
        case Malformed():
            return 400
        case Conflict() | Unavailable() | TimeoutError():
            return 503
        case _:
            return 500


def places(error: BaseException, frames_max: int = 8) -> list[str]:
    """Return where an exception came from, innermost last: file and line, no values."""
    found, trace = [], error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        found.append(f"{code.co_filename.rpartition('/')[2]}:{trace.tb_lineno}:{code.co_name}")
        trace = trace.tb_next
    return found[-frames_max:]
