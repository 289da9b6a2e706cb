"""The answers of `mss audit` as a table or JSON. It decides nothing."""

from __future__ import annotations

from collections.abc import Iterable

from mss.commands.output import say_json, table, when
from mss.commands.tracing import fields
from mss.model.audit import AuditRecord


def records(found: Iterable[AuditRecord], *, json: bool) -> None:
    """Print records of the journal."""
    if json:
        say_json([fields(one) for one in found])
        return
    rows = [(when(one.at), one.event.actor, one.event.action, one.event.target, _verdict(one)) for one in found]
    table(("WHEN", "WHO", "WHAT", "ON", "DECISION AND FACTS"), rows, nothing="There is no such record.")


def _verdict(record: AuditRecord) -> str:
    event = record.event
    facts = " ".join(f"{name}={value}" for name, value in event.facts.items() if value not in ("", None))
    return " ".join(filter(None, (event.decision, event.rule, facts)))
