"""How long what is kept, as values with their source (MSSANTE.md §2.C, §2.E).

It deletes nothing. The values are defaults: an operator whose counsel says otherwise passes another `Retention`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import Final

_YEAR: Final = timedelta(days=365)


@dataclass(frozen=True, slots=True)
class Retention:
    """How long one kind of thing is kept, and who says so (`house`: our own choice, no text found)."""

    name: str
    keep: timedelta
    source: str


TRACES: Final = Retention(
    "traces", timedelta(days=183), "Référentiel #2 §5, SC.MSS/CONF.17 and .18: six months recommended"
)
DOSSIER_TRACES: Final = Retention(
    "dossier-traces", timedelta(days=3653), "house: as long as the archive of the space that they tell about"
)
EXPUNGED_LETTERS: Final = Retention("expunged-letters", timedelta(days=30), "house: time to undo a mistake")
UNHELD_OCTETS: Final = Retention("unheld-octets", timedelta(days=1), "house: longer than any unit of work may take")
ENDED_DELIVERIES: Final = Retention("ended-deliveries", timedelta(days=183), "house: as long as the traces")
ARRIVALS: Final = Retention(
    "arrivals", timedelta(days=14), "house: over twice the five days that senders retry for (RFC 5321 §4.5.4.1)"
)
LOGIN_FAILURES: Final = Retention("login-failures", timedelta(days=1), "house: as long as policy.backoff counts them")
LOGIN_NETWORKS: Final = Retention(
    "login-networks", timedelta(days=90), "house: where somebody signs in from time to time, they are known"
)
INACTIVE_BOX: Final = Retention(
    "inactive-box", _YEAR, "CNIL, délibération 2014-239 (AU-037): deletion after at most one year without sign-in"
)
INACTIVITY_NOTICE: Final = Retention("inactivity-notice", timedelta(days=30), "house: time to oppose the deletion")
CLOSED_SPACE: Final = Retention(
    "closed-space", timedelta(days=3653), "décret 2021-1048: ten years, unless the holder asks for erasure"
)
OPPOSITION: Final = Retention("opposition", timedelta(days=31), "décret 2021-1048: one month to oppose")

RETENTIONS: Final[Mapping[str, Retention]] = MappingProxyType(
    {one.name: one for one in list(globals().values()) if isinstance(one, Retention)}
)


def may_drop(retention: Retention, since: datetime, now: datetime) -> bool:
    """Say whether a thing whose time runs since then may go: when the whole time has passed."""
    return now - since >= retention.keep


def oldest_kept(retention: Retention, now: datetime) -> datetime:
    """Return the instant up to which (inclusive) things of this kind may go."""
    return now - retention.keep


class Inactivity(StrEnum):
    """What a box without sign-in calls for."""

    KEEP = "keep"
    NOTIFY = "notify"
    DELETE = "delete"


def inactivity(
    last_sign_in: datetime,
    notified_at: datetime | None,
    now: datetime,
    *,
    inactive: Retention = INACTIVE_BOX,
    notice: Retention = INACTIVITY_NOTICE,
) -> Inactivity:
    """Say whether an unused box is kept, its holder is told, or it may be deleted.

    Nothing is deleted without a notice that came after the last sign-in and is old enough to have been answered.
    """
    if notified_at is not None and notified_at <= last_sign_in:
        notified_at = None
    if notified_at is None:
        return Inactivity.NOTIFY if now - last_sign_in >= inactive.keep - notice.keep else Inactivity.KEEP
    over = may_drop(inactive, last_sign_in, now) and may_drop(notice, notified_at, now)
    return Inactivity.DELETE if over else Inactivity.KEEP
