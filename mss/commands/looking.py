"""The store looked over from the command line, and what each finding means to the person who has to act."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from mss.commands.house import in_store
from mss.config import Config
from mss.store import Store, check
from mss.store.check import Checked

_WORDS: Final = {
    "key-dropped": "its key was dropped: the box is erased",
    "key-damaged": "its key does not open: bring the copy of the keys back (mss keys restore)",
    "mailbox-without-box": "its box is gone",
    "uidnext-behind": "the next UID is one that is given out already",
    "modseq-behind": "the last MODSEQ is older than a change",
    "message-without-mailbox": "its mailbox is gone",
    "message-without-octets": "its letter is gone: bring it back from a backup",
    "message-without-holding": "nothing opens its letter for this box any more: bring it back from a backup",
    "holding-without-octets": "it holds octets that are gone",
    "holding-does-not-open": "its content key is damaged: bring the letter back from a backup",
    "counts-wrong": "its letters are counted wrongly",
    "letter-without-conversation": "its conversation is gone",
    "letter-without-octets": "its octets are gone: bring them back from a backup",
    "letter-without-holding": "nothing opens it for this box any more: bring it back from a backup",
    "document-without-octets": "its octets are gone: bring them back from a backup",
    "document-without-holding": "nothing opens it for this box any more: bring it back from a backup",
    "delivery-without-octets": "its letter is gone: tell its sender (mss queue bounce)",
    "delivery-without-holding": "nothing opens its letter any more: tell its sender (mss queue bounce)",
    "octets-missing": "its file is gone: bring it back from a backup",
    "octets-cut": "its octets are cut off: bring them back from a backup",
    "octets-differ": "its octets were changed: bring them back from a backup",
    "file-without-row": "no row names it: a unit that was cut off left it behind",
    "journal-broken": "a record does not follow from the one before: see mss audit verify",
}
# Meant to be so: somebody asked for it.
HARMLESS: Final = frozenset({"key-dropped"})
# More than this many are too many to read: the count says the rest.
_KEPT_MAX: Final = 10_000


def over(config: Config, *, octets: bool, repair: bool, told: Callable[[int, int], None]) -> list[Checked]:
    """Look the whole store over; the first ten thousand findings are returned."""

    async def look(store: Store) -> list[Checked]:
        found: list[Checked] = []
        parts: dict[str, tuple[int, int]] = {}

        def heard(part: str, done: int, total: int) -> None:
            parts[part] = done, total
            told(sum(one for one, _ in parts.values()), sum(of for _, of in parts.values()))

        async for one in check.check(store, octets=octets, repair=repair, told=heard):
            if len(found) < _KEPT_MAX:
                found.append(one)
        return found

    return in_store(config, look)


def left(found: list[Checked]) -> int:
    """Return how many findings are neither mended nor meant to be so."""
    return sum(not one.mended and one.finding.kind not in HARMLESS for one in found)


def words(one: Checked) -> str:
    """Return what a finding means, and what to do or what was done."""
    text = _WORDS[one.finding.kind]
    if one.mended:
        return f"{text}; mended"
    return f"{text}; --repair mends it" if one.finding.mendable else text
