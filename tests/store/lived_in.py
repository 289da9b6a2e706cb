"""A store where the people of a test live already: they move in once for each process of tests, each test copies it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Generic, TypeVar

from mss.config import Config
from mss.store.store import Store
from tests.store.store_world import config_in, copy_template

T = TypeVar("T")
_MARK: Final = "lived-in"


@dataclass(frozen=True)
class LivedIn(Generic[T]):
    """A folder to copy, and who lives there."""

    folder: Path
    people: T


def move_in(template: Path, folder: Path, people: Callable[[Store], Awaitable[T]], url: str = "") -> LivedIn[T]:
    """Copy an empty store, and let people move in; `url` names an empty database of the other engine."""
    copy_template(template, folder)
    (folder / _MARK).touch()
    return LivedIn(folder, asyncio.run(_moved(config_in(folder, url) if url else config_in(folder), people)))


def is_lived_in(config: Config) -> bool:
    """Say whether an operator's folder is a copy of such a one."""
    return config.path(Path(_MARK)).exists()


async def _moved(config: Config, people: Callable[[Store], Awaitable[T]]) -> T:
    store = Store(config)
    await store.start()
    try:
        return await people(store)
    finally:
        await store.close()
