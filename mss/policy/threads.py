"""Which conversation a letter belongs to when its client dropped References and In-Reply-To (RFC 5322 §3.6.4).

A letter joins a thread by its subject only when it says that it answers (`Re:`), its subject is otherwise the thread's,
and its author took part there lately. A new letter under an old subject stays apart: monthly results are no answer.
It finds no threads: they come as facts.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

# An answer later than this begins a thread of its own.
JOINS_WITHIN: Final = timedelta(days=90)
# What mail programs put before a subject, in the languages of our correspondents.
_PREFIX = re.compile(r"\s*(re|ré|rép|rep|aw|sv|antw|ref|rv|r)(\[\d{1,3}\])?\s*[:\uff1a]\s*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ThreadFacts:
    """A conversation that a letter might belong to: its subject, its newest letter's time, and the keys of the
    addresses that wrote or were written to in it."""

    id: int
    subject: str
    last_at: datetime
    people: frozenset[str]


def base_subject(subject: str) -> tuple[str, bool]:
    """Return a subject as it is compared, and whether it says that it answers."""
    rest, answers = subject, False
    while match := _PREFIX.match(rest):
        rest, answers = rest[match.end() :], True
    return " ".join(rest.split()).casefold(), answers


def thread_of(subject: str, author_key: str, threads: Iterable[ThreadFacts], now: datetime) -> int | None:
    """Return the thread that a letter without usable references joins, the newest that fits; None: none."""
    base, answers = base_subject(subject)
    if not answers or not base:
        return None
    fit = [one for one in threads if author_key in one.people and base_subject(one.subject)[0] == base]
    lately = [one for one in fit if now - one.last_at <= JOINS_WITHIN]
    return max(lately, key=lambda one: (one.last_at, one.id)).id if lately else None
