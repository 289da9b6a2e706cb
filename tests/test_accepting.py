"""Workers that share a socket come to equal shares; nobody waits for a worker that takes nothing."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Iterator
from contextlib import ExitStack, closing
from typing import Any

import pytest

from mss import accepting
from mss.accepting import Share, accept

pytestmark = pytest.mark.journey


@pytest.fixture
def bound() -> Iterator[socket.socket]:
    with closing(socket.create_server(("127.0.0.1", 0), backlog=64)) as sock:
        sock.setblocking(False)
        yield sock


class Taker:
    """A worker that keeps what it is given."""

    def __init__(self, share: Share) -> None:
        self.share = share
        self.taken: list[socket.socket] = []
        self.errors: list[int | None] = []

    def run(self, bound: socket.socket) -> asyncio.Task[None]:
        work = accept(
            bound, self.share, lambda: len(self.taken), self._take, lambda error: self.errors.append(error.errno)
        )
        return asyncio.get_running_loop().create_task(work)

    def _take(self, accepted: socket.socket, _address: Any) -> None:
        self.taken.append(accepted)


async def _end(*tasks: asyncio.Task[None]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _until(count: int, *takers: Taker) -> None:
    async with asyncio.timeout(30):
        while sum(len(taker.taken) for taker in takers) < count:
            await asyncio.sleep(0.001)


async def test_a_burst_is_shared_equally(bound: socket.socket) -> None:
    shares = Share(2)
    takers = [Taker(shares.of(0)), Taker(shares.of(1))]
    tasks = [takers[0].run(bound), takers[1].run(bound.dup())]
    with ExitStack() as stack:
        for _ in range(10):
            stack.enter_context(closing(socket.create_connection(bound.getsockname())))
        await _until(10, *takers)
        assert sorted(len(taker.taken) for taker in takers) == [5, 5]
        for taker in takers:
            for taken in taker.taken:
                taken.close()
    await _end(*tasks)


async def test_nobody_waits_for_a_worker_that_takes_nothing(bound: socket.socket) -> None:
    shares = Share(2)  # The second worker never comes.
    taker = Taker(shares.of(0))
    task = taker.run(bound)
    with ExitStack() as stack:
        for _ in range(5):
            stack.enter_context(closing(socket.create_connection(bound.getsockname())))
        await _until(5, taker)
        for taken in taker.taken:
            taken.close()
    await _end(task)


@pytest.mark.parametrize(("mine", "other", "ahead"), [(0, 0, False), (1, 1, False), (1, 2, False), (2, 1, True)])
def test_who_is_ahead(mine: int, other: int, ahead: bool) -> None:
    shares = Share(2)
    shares.of(0).note(mine)
    shares.of(1).note(other)
    assert shares.of(0).ahead is ahead


def test_a_lone_worker_is_never_ahead() -> None:
    share = Share()
    share.note(7)
    assert not share.ahead


class Exhausted:
    """A socket whose first `accept` finds no descriptor left."""

    def __init__(self, bound: socket.socket) -> None:
        self.bound = bound
        self.failures = 1

    def accept(self) -> Any:
        if self.failures:
            self.failures -= 1
            raise OSError(errno.EMFILE, "none left")
        return self.bound.accept()

    def fileno(self) -> int:
        return self.bound.fileno()

    def __enter__(self) -> Exhausted:
        return self

    def __exit__(self, *_: object) -> None:
        self.bound.close()


async def test_without_descriptors_it_says_so_and_tries_again(
    bound: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accepting, "_NO_SOCKETS_PAUSE_S", 0.001)
    taker = Taker(Share())
    task = taker.run(Exhausted(bound))  # type: ignore[arg-type]
    with closing(socket.create_connection(bound.getsockname())):
        await _until(1, taker)
        assert taker.errors == [errno.EMFILE]
        taker.taken[0].close()
    await _end(task)
    assert bound.fileno() == -1
