"""Answers of SEARCH and SORT: which of the letters found are told, and how (RFC 4731, 5182, 5267, 9394).

It asks nothing of the store.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mss.imap import responses
from mss.imap.options import Returns


@dataclass(frozen=True, slots=True)
class Found:
    """One letter that matches."""

    number: int
    uid: int
    modseq: int


def places(partial: tuple[int, int], count: int) -> slice:
    """Return the places that PARTIAL names among so many: both from the first, or negative, both from the last."""
    first, last = partial
    if first > 0:
        return slice(first - 1, last)
    return slice(max(0, count + last), max(0, count + first + 1))


def told(found: Sequence[Found], returns: Returns) -> Sequence[Found]:
    """Return the letters that the answer speaks of: all, or only the first, the last and some places."""
    if returns.all or returns.count or not (returns.min or returns.max or returns.partial):
        return found
    chosen: dict[int, Found] = {}
    for each in (
        *(found[:1] if returns.min else ()),
        *(found[places(returns.partial, len(found))] if returns.partial else ()),
        *(found[-1:] if returns.max else ()),
    ):
        chosen[each.uid] = each
    return tuple(chosen.values())


def saved(found: Sequence[Found], returns: Returns) -> responses.Runs:
    """Return what "$" is to mean afterwards."""
    return responses.as_runs(sorted(each.uid for each in told(found, returns)))


def extended(tag: str, found: Sequence[Found], returns: Returns, *, uid: bool, modseq: bool) -> bytes:
    """Return the ESEARCH response; `found` in the order of the answer. Nothing when only SAVE was asked."""
    items = list(_items([each.uid if uid else each.number for each in found], returns))
    if not items and returns.save and not (returns.min or returns.max or returns.all):
        return b""
    speaks_of = told(found, returns)
    if modseq and speaks_of:
        items.append(f"MODSEQ {max(each.modseq for each in speaks_of)}")
    kind = " UID" if uid else ""
    return responses.untagged(f'ESEARCH (TAG "{tag}"){kind}{"".join(f" {item}" for item in items)}')


def _items(numbers: Sequence[int], returns: Returns) -> Iterable[str]:
    if returns.min and numbers:
        yield f"MIN {numbers[0]}"
    if returns.max and numbers:
        yield f"MAX {numbers[-1]}"
    if returns.all and numbers:
        yield f"ALL {_set(numbers)}"
    if returns.count:
        yield f"COUNT {len(numbers)}"
    if returns.partial:
        first, last = returns.partial
        some = numbers[places(returns.partial, len(numbers))]
        yield f"PARTIAL ({first}:{last} {_set(some) if some else 'NIL'})"


def _set(numbers: Sequence[int]) -> str:
    """Return numbers in their order as a set; only ascending neighbours are joined, so that the order can be read."""
    return responses.runs(responses.as_runs(numbers))
