"""What the handlers share: the store, who asks, bodies within limits, answers (FHIR R4 http.html)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Final

from starlette.requests import Request
from starlette.responses import Response

from mss.clock import Clock
from mss.config import Config
from mss.errors import Malformed, Unavailable
from mss.fhir import codes, reading
from mss.fhir.outcome import Json, Refusal, of_status
from mss.model.account import Account
from mss.model.rights import Purpose
from mss.model.secret import Secret
from mss.policy.access import MAY_USE, Door
from mss.screening import Screen
from mss.services import software
from mss.services.house import hosted
from mss.services.rights import book_of
from mss.services.software import Caller
from mss.signin import Reason, Refused, SignIn
from mss.store import Store
from mss.tokens.sasl import Bearer
from mss.web.serving import TLS_EXTENSION

if TYPE_CHECKING:
    from mss.model.peer import ClientCertificate

    Shown = Callable[[object, datetime], ClientCertificate | None]

PURPOSE: Final = "X-Purpose-Of-Use"
_FORM: Final = "application/x-www-form-urlencoded"
_JSONS: Final = frozenset({codes.JSON, "application/json"})
_KINDS: Final = MAY_USE[Door.FHIR]
_SCHEME: Final = "bearer "
_DIGITS_MAX: Final = 15


class Room:
    """What every handler is given."""

    def __init__(
        self, store: Store, config: Config, clock: Clock, sign_in: SignIn, screen: Screen, shown: Shown
    ) -> None:
        self.store, self.config, self.clock, self.screen = store, config, clock, screen
        self.limits, self.hosted, self.book = config.limits, hosted(config), book_of(config)
        self._sign_in, self._shown = sign_in, shown
        # A large body stands in memory several times over while it is read.
        self.transfers = asyncio.Semaphore(config.limits.fhir_transfers_max)

    def base(self, request: Request) -> str:
        """Return the address that clients know us by, without a slash at its end."""
        return self.config.fhir.base_url.rstrip("/") or f"https://{request.url.netloc}"

    async def who(self, request: Request) -> Caller:
        """Return who asks; Refusal when nobody is proven."""
        outcome = await self._proven(request)
        if not isinstance(outcome, Account):
            raise _unproven(outcome)
        purpose = request.headers.get(PURPOSE, Purpose.TREATMENT.value)
        if purpose not in {one.value for one in Purpose}:
            raise Refusal(400, "code-invalid", f"{PURPOSE} is TREAT, ETREAT or BTG.")
        return await self.store.read(software.caller_of, outcome, Purpose(purpose), self.clock())

    async def _proven(self, request: Request) -> Account | Refused:
        source = request.client.host if request.client else ""
        end = request.scope.get("extensions", {}).get(TLS_EXTENSION)
        given = request.headers.getlist("authorization")
        try:
            shown = self._shown(end, self.clock())
        except Malformed:
            return Refused(Reason.BAD_CREDENTIALS)
        except Unavailable:
            return Refused(Reason.UNAVAILABLE)
        if not given and shown is not None:
            return await self._sign_in.certificate(shown, "", "fhir-certificate", source)
        if len(given) != 1 or not given[0].lower().startswith(_SCHEME):
            return Refused(Reason.BAD_CREDENTIALS)
        token = Bearer(Secret(given[0][len(_SCHEME) :].strip().encode("latin-1")))
        return await self._sign_in.bearer(token, "fhir-bearer", source, shown, kinds=_KINDS)

    async def resource(self, request: Request) -> Json:
        """Return the resource in the body; Refusal when it is too large, or none."""
        if _kind(request) not in _JSONS:
            raise Refusal(415, "not-supported", f"The body must be {codes.JSON}.")
        octets = await self._body(request, self.limits.fhir_body_max_octets)
        # Taken only now: somebody who sends slowly keeps nobody else waiting.
        async with self.transfers:
            return await asyncio.to_thread(reading.parse, octets, self.limits)

    async def form(self, request: Request) -> str:
        """Return the form in the body of a search."""
        if _kind(request) != _FORM:
            raise Refusal(415, "not-supported", f"The body of a search must be {_FORM}.")
        octets = await self._body(request, 64 * 1024)
        try:
            return octets.decode("utf-8")
        except UnicodeDecodeError:
            raise Refusal(400, "invalid", "The parameters are not UTF-8.") from None

    async def _body(self, request: Request, limit: int) -> bytes:
        announced = request.headers.get("content-length", "0")
        if announced.isascii() and announced.isdigit() and (len(announced) > _DIGITS_MAX or int(announced) > limit):
            raise _too_large()
        octets = bytearray()
        async for piece in request.stream():
            octets += piece
            if len(octets) > limit:
                raise _too_large()
        return bytes(octets)

    def error(self, _request: Request, status: int, incident: str = "") -> Response:
        """Return what is said when something went wrong that no handler foresaw."""
        return answer(of_status(status, incident), status)


def _kind(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def _too_large() -> Refusal:
    return Refusal(413, "too-long", "The body is too large.")


def _unproven(refused: Refused) -> Refusal:
    match refused.reason:
        case Reason.LOCKED | Reason.BUSY:
            wait_s = max(1, refused.retry_after_s)
            return Refusal(429, "throttled", "Too many failures: wait before you try again.", retry_after_s=wait_s)
        case Reason.UNAVAILABLE:
            return Refusal(503, "transient", "Who you are cannot be checked now. Try again later.")
        case _:
            return Refusal(
                401, "login", "Show a token that is good, or a client certificate that is bound to an account."
            )


def answer(resource: Json, status: int = 200, **headers: str) -> Response:
    """Return a resource as an answer."""
    octets = json.dumps(resource, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Response(octets, status, named, media_type=codes.JSON + "; charset=utf-8")


def refusal(error: Refusal) -> Response:
    """Return the answer to a request that was refused."""
    response = answer(error.body(), error.status)
    if error.status == 401:
        response.headers["WWW-Authenticate"] = 'Bearer realm="mss"'
    if error.retry_after_s:
        response.headers["Retry-After"] = str(error.retry_after_s)
    return response
