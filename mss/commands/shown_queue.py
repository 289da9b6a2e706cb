"""The answers of `mss queue` as lines, tables or JSON. It decides nothing.

What a peer said and whom a letter is for may name people: both are masked unless addresses are asked for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from mss.commands import letters
from mss.commands.house import seconds_ago
from mss.commands.output import say, say_json, say_marked, table, when
from mss.log import redact
from mss.model.address import Address
from mss.model.delivery import Attempt
from mss.services.outbound import QueueEntry, QueueSummary
from mss.services.postmaster import Chapter, Happening, Result

_WHY_NOT = {
    Result.ALREADY: "it was so already",
    Result.UNKNOWN: "there is no such number",
    Result.ENDED: "it is delivered or given back already",
    Result.HELD: "it is held back: `mss queue release` lets it go",
    Result.UNDER_WAY: "it is being sent at this moment: `mss queue hold` first, then try again",
}
_MARKS = {Chapter.REFUSED: "✗", Chapter.ENDED: "✓"}


def entries(found: Sequence[QueueEntry], summary: QueueSummary, now: datetime, *, addresses: bool, json: bool) -> None:
    """Print deliveries and how many there are in each state."""
    if json:
        say_json({"counts": summary.counts, "deliveries": [_plain_entry(one, addresses) for one in found]})
        return
    people = ("FROM", "TO") if addresses else ()
    titles = ("ID", "STATE", "AGE", "DOMAIN", "OCTETS", "TRIES", "NEXT TRY", "LAST OUTCOME", *people)
    rows = [_row(entry, now, addresses) for entry in found]
    table(titles, rows, nothing="No letter is in the queue in these states.")
    if summary.counts:
        say("Altogether: " + ", ".join(f"{count} {name}" for name, count in sorted(summary.counts.items())))


def _row(entry: QueueEntry, now: datetime, addresses: bool) -> tuple[str, ...]:
    one = entry.delivery
    return (
        str(one.id),
        one.state.value,
        seconds_ago(one.created_at, now),
        one.destination,
        str(one.size_octets),
        str(one.attempts),
        when(one.next_attempt_at) if one.state in letters.WAITING else "never",
        letters.last_word(entry, addresses=addresses),
        *((_sender(entry), one.recipient.spec) if addresses else ()),
    )


def _sender(entry: QueueEntry) -> str:
    sender = entry.delivery.reverse_path
    return sender.spec if sender else "<>"


def entry(found: QueueEntry, now: datetime, *, addresses: bool, json: bool) -> None:
    """Print all about one delivery but its content."""
    if json:
        say_json(_plain_entry(found, addresses))
        return
    one = found.delivery
    sender = one.reverse_path
    people = {"from": _sender(found), "to": one.recipient.spec} if addresses else {}
    waits = one.state in letters.WAITING
    lines = {
        "state": one.state.value,
        "for": one.destination,
        "sent from": sender.domain if sender else "here: it is a report",
        **people,
        "Message-ID": one.message_id or "none",
        "octets": str(one.size_octets),
        "queued": f"{when(one.created_at)}, {seconds_ago(one.created_at, now)} ago",
        **({"next try": when(one.next_attempt_at), "given up": when(one.expires_at)} if waits else {}),
        "reports wished": ", ".join(sorted(one.notify)) or "as usual",
    }
    say(f"Letter {one.id}")
    for name, value in lines.items():
        say(f"  {name:<15} {value}")
    rows = [_attempt(number, attempt, addresses) for number, attempt in enumerate(found.attempts, 1)]
    table(("TRY", "WHEN", "HOST", "OUTCOME"), rows, nothing="It was not tried yet.")


def _attempt(number: int, attempt: Attempt, addresses: bool) -> tuple[str, ...]:
    outcome = attempt.outcome
    said = letters.said(outcome, addresses=addresses)
    return str(number), when(attempt.at), outcome.remote, said


def results(words: str, found: Sequence[tuple[int, Result]], *, json: bool) -> None:
    """Print what was done, and for which letters nothing was and why."""
    if json:
        say_json([{"id": number, "result": result.value} for number, result in found])
        return
    counts = Counter(result for _, result in found)
    for number, result in found:
        if result is not Result.DONE:
            say_marked("!", f"letter {number}: {_WHY_NOT[result]}")
    say_marked("✓" if counts[Result.DONE] else "!", f"{counts[Result.DONE]} letters {words}")


def all_done(found: Iterable[tuple[int, Result]]) -> bool:
    """Whether every letter is as was asked."""
    return all(result in (Result.DONE, Result.ALREADY) for _, result in found)


def story(happenings: Sequence[Happening], *, addresses: bool, json: bool) -> None:
    """Print a letter's story, a line for each thing that happened to it."""
    if json:
        say_json([_plain_happening(one, addresses) for one in happenings])
        return
    for one in happenings:
        facts = " ".join(f"{name}={value}" for name, value in one.facts)
        said = f"“{_shown(one.said, addresses)}”" if one.said else ""
        words = (one.who, one.what, _address(one.address, addresses), one.rule, said, facts)
        line = f"{when(one.at)}  {one.chapter.value:<9} " + "  ".join(filter(None, words))
        say_marked(_MARKS.get(one.chapter, "·"), line)


def _address(address: Address | None, addresses: bool) -> str:
    return f"<{address.spec}>" if address is not None and addresses else ""


def _shown(text: str, addresses: bool) -> str:
    return text if addresses else redact(text)


# -- JSON --------------------------------------------------------------------------------------------------------------


def _plain_entry(entry: QueueEntry, addresses: bool) -> dict[str, Any]:
    one = entry.delivery
    plain = {
        "id": one.id,
        "state": one.state.value,
        "destination": one.destination,
        "sender_domain": one.reverse_path.domain if one.reverse_path else None,
        "message_id": one.message_id,
        "octets": one.size_octets,
        "created_at": one.created_at.isoformat(),
        "expires_at": one.expires_at.isoformat(),
        "next_attempt_at": one.next_attempt_at.isoformat(),
        "notify": sorted(one.notify),
        "attempts": [_plain_attempt(attempt, addresses) for attempt in entry.attempts],
    }
    return plain | ({"from": _sender(entry), "to": one.recipient.spec} if addresses else {})


def _plain_attempt(attempt: Attempt, addresses: bool) -> dict[str, Any]:
    outcome = attempt.outcome
    return {
        "at": attempt.at.isoformat(),
        "outcome": outcome.kind.value,
        "code": outcome.code,
        "enhanced": outcome.enhanced,
        "text": _shown(outcome.text, addresses),
        "host": outcome.remote,
    }


def _plain_happening(one: Happening, addresses: bool) -> dict[str, Any]:
    plain = {
        "at": one.at.isoformat(),
        "chapter": one.chapter.value,
        "who": one.who,
        "what": one.what,
        "rule": one.rule,
        "said": _shown(one.said, addresses),
        "facts": dict(one.facts),
    }
    return plain | ({"address": one.address.spec} if one.address is not None and addresses else {})
