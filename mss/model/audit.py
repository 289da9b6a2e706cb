"""Who did what to which object, when, decided how (after IHE ATNA). Never content."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True, slots=True)
class AuditEvent:
    """One fact for the journal.

    `actor` is an identifier ("account:7", "peer:<CN>", "system:relay"); `action` a static word
    ("letter.accept"); `target` an identifier ("letter:12", "box:4"); `decision` and `rule` what policy said.
    `facts` hold identifiers and numbers, no personal text. `subject_box_id` is the patient or box concerned.
    `message`: the keyed digest of the Message-ID of the letter that the record is about, for those that tell its story.
    """

    actor: str
    action: str
    target: str
    decision: str = ""
    rule: str = ""
    subject_box_id: int | None = None
    facts: Mapping[str, str | int | bool | None] = field(default_factory=dict)
    message: str | None = None


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """A fact as recorded, in its writer's chain."""

    writer: str
    number: int
    at: datetime
    event: AuditEvent
    hash: str
