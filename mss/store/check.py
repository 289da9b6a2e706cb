"""The whole store looked over while it serves: every table, every file, every chain of the journal; repaired if wished.

It walks in slices, each a short read of its own, so that memory stays flat and nobody waits. Letters come and go
meanwhile: what a slice calls wrong is looked at again before it counts.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Final

from mss.store.inspection import PARTS, Finding, Slice
from mss.store.store import Store
from mss.store.unit import Uow

_ROWS: Final = 500
# Opening octets takes longer than looking at rows: fewer at once, so that no read holds its snapshot for long.
_OCTETS: Final = 16
Told = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Checked:
    """One finding, and whether it was repaired."""

    finding: Finding
    mended: bool = False


async def check(
    store: Store, *, octets: bool, repair: bool, told: Told = lambda part, done, total: None
) -> AsyncIterator[Checked]:
    """Yield what does not fit; `told` hears (part, rows done, of how many). `octets`: read and compare all of them."""
    for part in PARTS:
        async for finding in _part(store, part, octets, told):
            yield Checked(finding, repair and finding.mendable and await store.write(_mend, finding))
    async for checked in _files(store, repair):
        yield checked
    for finding in await store.read(_journal):
        yield Checked(finding)


async def _part(store: Store, part: str, octets: bool, told: Told) -> AsyncIterator[Finding]:
    total, done, after = await store.read(_count, part), 0, None
    limit = _OCTETS if octets and part == "objects" else _ROWS
    told(part, 0, total)
    while True:
        found: Slice = await store.read(_look, part, after, limit, octets)
        if found.found:
            again = await store.read(_look, part, after, limit, octets)
            still = {(one.kind, one.where) for one in again.found}
            for finding in found.found:
                if (finding.kind, finding.where) in still:
                    yield finding
        done, after = done + found.rows, found.after
        told(part, done, max(done, total))
        if after is None:
            return


async def _files(store: Store, repair: bool) -> AsyncIterator[Checked]:
    async for name in store.unnamed_files():
        finding = Finding("file-without-row", f"file:{name}", mendable=True)
        yield Checked(finding, repair and await store.drop_unnamed_file(name))


def _count(uow: Uow, part: str) -> int:
    return uow.inspection.count(part)


def _look(uow: Uow, part: str, after: tuple[int, ...] | None, limit: int, octets: bool) -> Slice:
    return uow.inspection.look(part, after, limit, octets=octets)


def _mend(uow: Uow, finding: Finding) -> bool:
    return uow.inspection.mend(finding)


def _journal(uow: Uow) -> tuple[Finding, ...]:
    _, broken = uow.journal.verify()
    return tuple(Finding("journal-broken", f"record:{one.writer}/{one.number}") for one in broken)
