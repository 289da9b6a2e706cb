"""The answers of `mss operator` as lines, tables or JSON. It decides nothing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

from mss.commands.output import say, say_json, say_marked, table, when
from mss.commands.peering import Step
from mss.commands.trust import Operator
from mss.directory.trustlist import written_dn
from mss.model.peer import DN, ListReading, TrustList, changes


def operators(listed: TrustList, found: Iterable[Operator], *, json: bool) -> None:
    """Print operators with some of their domains (JSON: all), and which list that is."""
    if json:
        carried = [{"subject": written_dn(one.subject), "domains": list(one.domains)} for one in found]
        say_json({**_plain_list(listed), "operators": carried})
        return
    rows = [(written_dn(one.subject), str(len(one.domains)), ", ".join(one.domains[:3])) for one in found]
    table(("OPERATOR", "DOMAINS", "AMONG THEM"), rows, nothing="No operator has these words.")
    read = f"read {when(listed.fetched_at)}"
    say(f"Version {listed.version} of {when(listed.generated_at)}, {read}: {len(listed.domains)} domains.")


def _plain_list(listed: TrustList) -> dict[str, Any]:
    return {
        "version": listed.version,
        "generated_at": listed.generated_at.isoformat(),
        "fetched_at": listed.fetched_at.isoformat(),
        "domains": len(listed.domains),
    }


def subjects(domain: str, found: Sequence[DN], *, json: bool) -> None:
    """Print whose certificates may carry letters for a domain."""
    written = [written_dn(one) for one in found]
    if json:
        say_json({"domain": domain, "subjects": written})
        return
    for one in written:
        say(one)


def readings(found: Iterable[ListReading], *, json: bool) -> None:
    """Print readings of the trust list, newest first."""
    if json:
        say_json([_plain_reading(one) for one in found])
        return
    rows = [
        (
            when(one.last_at),
            one.source,
            f"{one.verdict} as version {one.version}" if one.version else one.verdict,
            str(one.domains) if one.domains else "",
            when(one.generated_at) if one.generated_at else "",
            f"{one.times} times since {when(one.first_at)}" if one.times > 1 else "once",
            one.digest[:16],
            one.reason,
        )
        for one in found
    ]
    titles = ("LAST READ", "FROM", "VERDICT", "DOMAINS", "MADE", "HOW OFTEN", "SHA-256", "WHY")
    table(titles, rows, nothing="No trust list was read yet: mss operator read FILE")


def _plain_reading(one: ListReading) -> dict[str, Any]:
    instants = {"first_at": one.first_at, "last_at": one.last_at, "generated_at": one.generated_at}
    return asdict(one) | {name: at.isoformat() if at else None for name, at in instants.items()}


def differences(old: TrustList, new: TrustList, *, json: bool) -> None:
    """Print what changed between two trust lists, one line for each certificate that came or went."""
    found = changes(old, new)
    if json:
        changed = [{"domain": one.domain, "gone": _written(one.gone), "come": _written(one.come)} for one in found]
        say_json({"from": old.version, "to": new.version, "changes": changed})
        return
    for one in found:
        for mark, subjects in (("-", one.gone), ("+", one.come)):
            for subject in _written(subjects):
                say(f"{mark} {one.domain}  {subject}")
    come = sum(1 for one in found if one.domain not in old.domains)
    gone = sum(1 for one in found if one.domain not in new.domains)
    rest = len(found) - come - gone
    say(f"From version {old.version} to {new.version}: {come} domains came, {gone} went, {rest} changed certificates.")


def _written(subjects: Iterable[DN]) -> list[str]:
    return [written_dn(subject) for subject in sorted(subjects, key=str)]


def step(made: Step) -> None:
    """Print one check of a session with another operator."""
    remedy = "" if made.well or not made.remedy else f" → {made.remedy}"
    say_marked("✓" if made.well else "✗", f"{made.subject}: {made.text}{remedy}")


def steps(made: Iterable[Step]) -> None:
    """Print all checks as JSON."""
    say_json([asdict(one) for one in made])
