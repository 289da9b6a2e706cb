"""A store whose services are the test's own functions: for what a door does with answers and failures.

Journeys use the real one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

from mss.store import Store


class Bell:
    """A subscription that the test rings."""

    def __init__(self) -> None:
        self.event = asyncio.Event()
        self.closed = False

    async def wait(self, timeout_s: float) -> bool:
        try:
            async with asyncio.timeout(timeout_s):
                await self.event.wait()
        except TimeoutError:
            return False
        self.event.clear()
        return True

    def close(self) -> None:
        self.closed = True


class Scripted:
    """Answers each service by the function that the test gave for it, or by its value; exceptions are raised."""

    def __init__(self, services: dict[Callable[..., Any], Any] | None = None) -> None:
        self.services = services or {}
        self.calls: list[tuple[str, tuple[Any, ...]]] = []
        self.bell = Bell()

    @property
    def store(self) -> Store:
        return cast(Store, self)

    async def write(self, service: Callable[..., Any], *args: Any) -> Any:
        return await self._answer(service, args)

    async def read(self, service: Callable[..., Any], *args: Any) -> Any:
        return await self._answer(service, args)

    async def glance(self, service: Callable[..., Any], *args: Any) -> Any:
        return await self._answer(service, args)

    async def _answer(self, service: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        self.calls.append((service.__name__, args))
        answer = self.services[service]
        if isinstance(answer, Exception):
            raise answer
        result = answer(*args) if callable(answer) else answer
        await asyncio.sleep(0)
        return result

    def subscribe(self, channel: str, key: int = 0) -> Bell:
        return self.bell

    def called(self, name: str) -> list[tuple[Any, ...]]:
        return [args for service, args in self.calls if service == name]
