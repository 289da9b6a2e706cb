"""Boxes made in bulk, a slice at a time: what a register of patients or a directory of staff brings.

A slice is one unit: all of its boxes are there, with their keys and mailboxes, or none. A box that is there already is
left as it is, so that an import that was cut off is simply begun again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from mss.model.audit import AuditEvent
from mss.services.accounts import NewBox
from mss.store import Uow
from mss.store.accounts import BoxRow
from mss.store.mailboxes import default_validities

# A unit of so many boxes stays below the 20 ms that a write unit may last.
SLICE: Final = 200


@dataclass(frozen=True, slots=True)
class Provisioned:
    """How many boxes of a slice were made, and how many were there."""

    made: int
    there: int


def add_boxes(uow: Uow, new: Sequence[NewBox], actor: str, now: datetime) -> Provisioned:
    """Create the boxes of a slice that are not there yet; one record in the journal names them all by number."""
    wanted = {one.address.key: one for one in new}
    there = uow.accounts.known_addresses(wanted)
    rows = [_row(one) for key, one in wanted.items() if key not in there]
    if rows:
        ids = uow.accounts.add_boxes(rows, default_validities(now)[-1], now)
        uow.mailboxes.create_defaults_of(ids, now)
        facts: dict[str, str | int | bool | None] = {"boxes": len(ids), "first": ids[0], "last": ids[-1]}
        uow.journal.write(AuditEvent(actor, "box.import", f"box:{ids[0]}-{ids[-1]}", facts=facts), now)
    return Provisioned(len(rows), len(new) - len(rows))


def _row(new: NewBox) -> BoxRow:
    return BoxRow(new.address, new.kind, new.state, new.display_name, new.red_list, new.ins, new.traits)
