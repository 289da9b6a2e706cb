"""The operator's port: /livez, /readyz, /healthz and /metrics. Plain HTTP, for the operator's own network only.

Where `[ops] pages` says so, and only on a loopback address, there is /explain too.

It is silent about persons and about the reasons of a fault; the log has those. A node that cannot accept letters says
so at /readyz, and stays alive.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from starlette.exceptions import HTTPException
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route, Router

from mss.console.explain import Explainer
from mss.console.metrics import CONTENT_TYPE, Metrics
from mss.errors import MssError, Unavailable
from mss.services import operators, outbound
from mss.services.outbound import QueueSummary
from mss.store.units import BOUNDS_S
from mss.tls import certificate_expiry
from mss.web.door import Door

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from mss.clamd import Clamd
    from mss.clock import Clock
    from mss.config import Config
    from mss.model.peer import TrustList
    from mss.store import Store
    from mss.tls import TlsMaterial

_ANSWER_WITHIN_S: Final = 5
_EXPIRY_WARNING_S: Final = 14 * 86400
_QUEUE_WARNING_S: Final = 3600


@dataclass(frozen=True, slots=True)
class Check:
    """One thing looked at: whether it is well, and a figure to show."""

    name: str
    well: bool
    value: str = ""


class Console:
    """What the pages of the operator's port look at."""

    def __init__(
        self,
        store: Store,
        config: Config,
        clock: Clock,
        metrics: Metrics,
        trust_list: Callable[[], TrustList | None],
        material: TlsMaterial | None,
        clamd: Clamd | None,
    ) -> None:
        self._store, self._config, self._clock = store, config, clock
        self._metrics, self._trust_list, self._material, self._clamd = metrics, trust_list, material, clamd

    async def livez(self, _request: Request) -> Response:
        """Say that the process answers."""
        return PlainTextResponse("ok\n")

    async def readyz(self, _request: Request) -> Response:
        """Say whether the store answers and its tables let this program run."""
        checks = [await self._store_answers(), await self._migrations()]
        return _plain(checks)

    async def healthz(self, _request: Request) -> Response:
        """Say what a person on duty wants to know, as JSON; 503 when something needs care."""
        now = self._clock()
        checks = [await self._store_answers(), await self._migrations(), self._trust(now)]
        # Only letters that are large need the place of large octets: a node without it stays ready.
        checks += [
            Check("blobs", self._store.blobs_well),
            await self._queue(),
            *self._certificates(now),
            *self._revocation(now),
        ]
        checks += await self._antivirus(now)
        well = all(check.well for check in checks)
        found = {check.name: {"ok": check.well, "value": check.value} for check in checks}
        return JSONResponse({"ok": well, "checks": found}, 200 if well else 503)

    async def figures(self, _request: Request) -> Response:
        """Give the figures to Prometheus; those of the store are asked for now."""
        now = self._clock()
        summary = await self._summary()
        self._metrics.store(up=summary is not None, blobs_well=self._store.blobs_well)
        units = self._store.units
        self._metrics.units(BOUNDS_S, units.counts, units.seconds, self._store.waiting)
        if summary is not None:
            self._metrics.queue(summary.counts, summary.oldest_s)
        self._metrics.trust_list_age(self._list_age_s(now))
        self._metrics.directory_age(await self._directory_age_s(now))
        for name, left_s in self._certificate_times(now):
            self._metrics.certificate(name, left_s)
        if self._material is not None:
            self._metrics.revocation(self._lists_left_s(self._material, now), len(self._material.problems))
        if self._clamd is not None:
            self._metrics.antivirus_age(await self._signatures_age_s(self._clamd, now))
        return Response(self._metrics.text(), headers={"Content-Type": CONTENT_TYPE})

    async def _summary(self) -> QueueSummary | None:
        try:
            async with asyncio.timeout(_ANSWER_WITHIN_S):
                return await self._store.read(outbound.summary, self._clock())
        except (MssError, TimeoutError):
            return None

    async def _directory_age_s(self, now: datetime) -> float:
        try:
            async with asyncio.timeout(_ANSWER_WITHIN_S):
                published = await self._store.read(operators.directory_published, now)
        except (MssError, TimeoutError):
            return math.nan
        return (now - published).total_seconds() if published is not None else math.nan

    async def _store_answers(self) -> Check:
        return Check("store", await self._summary() is not None)

    async def _migrations(self) -> Check:
        try:
            async with asyncio.timeout(_ANSWER_WITHIN_S):
                return Check("migrations", (await self._store.fit()).may_run)
        except (MssError, TimeoutError):
            return Check("migrations", False)

    async def _queue(self) -> Check:
        summary = await self._summary()
        if summary is None:
            return Check("queue", False)
        return Check("queue", summary.oldest_s < _QUEUE_WARNING_S, f"oldest {summary.oldest_s:.0f} s")

    def _list_age_s(self, now: datetime) -> float:
        known = self._trust_list()
        return (now - known.fetched_at).total_seconds() if known is not None else math.nan

    def _trust(self, now: datetime) -> Check:
        age_s = self._list_age_s(now)
        well = age_s <= self._config.trust_list.max_age_s
        return Check("trust-list", well, "none" if math.isnan(age_s) else f"read {age_s:.0f} s ago")

    async def _signatures_age_s(self, clamd: Clamd, now: datetime) -> float:
        """Return how old the antivirus's signatures are; not a number when it does not say, or nothing."""
        try:
            made_at = await clamd.database_at()
        except Unavailable:
            return math.nan
        return (now - made_at).total_seconds() if made_at is not None else math.nan

    async def _antivirus(self, now: datetime) -> list[Check]:
        if self._clamd is None:
            return []
        try:
            made_at = await self._clamd.database_at()
        except Unavailable:
            return [Check("antivirus", False, "no answer")]
        if made_at is None:
            return [Check("antivirus", True, "signatures of unknown age")]
        age_s = (now - made_at).total_seconds()
        return [
            Check(
                "antivirus", age_s <= self._config.antivirus.database_max_age_s, f"signatures {age_s / 3600:.0f} h old"
            )
        ]

    def _certificate_times(self, now: datetime) -> list[tuple[str, float]]:
        return [(name, _left_s(path, now)) for name, path in _certificate_files(self._config)]

    def _certificates(self, now: datetime) -> list[Check]:
        return [
            Check(f"certificate-{name}", left_s > _EXPIRY_WARNING_S, f"{left_s / 86400:.0f} days left")
            for name, left_s in self._certificate_times(now)
        ]

    def _lists_left_s(self, material: TlsMaterial, now: datetime) -> float:
        due = material.revocation.next_update
        return (due - now).total_seconds() if due is not None else math.nan

    def _revocation(self, now: datetime) -> list[Check]:
        material = self._material
        if material is None:
            return []
        left_s = self._lists_left_s(material, now)
        shown = "none" if math.isnan(left_s) else f"due in {left_s / 3600:.0f} h"
        files = Check("certificate-files", not material.problems, f"{len(material.problems)} cannot be used")
        return [Check("revocation-lists", left_s > 0, shown), files]


def _certificate_files(config: Config) -> list[tuple[str, Path]]:
    facing = config.tls.client_facing_certificate_file
    files = [("operator", config.path(config.tls.certificate_file))]
    return files + ([("client-facing", config.path(facing))] if facing is not None else [])


def _left_s(path: Path, now: datetime) -> float:
    """Return the seconds until a certificate ends; none are left of one that cannot be read."""
    try:
        return (certificate_expiry(path) - now).total_seconds()
    except (MssError, OSError):
        return 0.0


def _plain(checks: list[Check]) -> Response:
    lines = "".join(f"{check.name}: {'ok' if check.well else 'not ok'}\n" for check in checks)
    return PlainTextResponse(lines, 200 if all(check.well for check in checks) else 503)


def build(
    store: Store,
    config: Config,
    clock: Clock,
    metrics: Metrics,
    trust_list: Callable[[], TrustList | None],
    material: TlsMaterial | None = None,
    clamd: Clamd | None = None,
) -> ASGIApp:
    """Return the operator's port; `trust_list`, `material` and `clamd` are what this process uses."""
    console = Console(store, config, clock, metrics, trust_list, material, clamd)
    pages: tuple[tuple[str, Callable[[Request], Awaitable[Response]]], ...] = (
        ("/livez", console.livez),
        ("/readyz", console.readyz),
        ("/healthz", console.healthz),
        ("/metrics", console.figures),
    )
    routes = [Route(path, page) for path, page in pages]
    if config.ops.pages:
        routes.append(Route("/explain", Explainer(store, config, clock).page, methods=["GET", "POST"]))
    router = Router(routes)
    return Door(
        ExceptionMiddleware(router, handlers={HTTPException: _refuse}),
        room="console", secure=False, timeout_s=4 * _ANSWER_WITHIN_S, draw_error=_draw_error, log_well=False,
    )  # fmt: skip


def _refuse(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return PlainTextResponse(f"{error.status_code}\n", error.status_code)


def _draw_error(_request: Request, status: int, incident: str) -> Response:
    return PlainTextResponse(f"{status} incident {incident}\n", status)
