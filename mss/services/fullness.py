"""Holders are told that their boxes are nearly full: once, and again only after the box was emptier.

What may come in is for `quotas` to say; a notice comes in, however full the box is.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from mss.model.audit import AuditEvent
from mss.services import notices
from mss.services.house import House
from mss.store import Uow
from mss.store.quotas import Fullness

_PERCENT: Final = 100
_NOTICE: Final = """\
Bonjour,

Votre messagerie est remplie à {percent} %. Lorsqu'elle sera pleine, elle ne pourra plus recevoir de message : leurs
expéditeurs en seront avertis.

Pour faire de la place, supprimez des messages dont vous n'avez plus besoin, puis videz la corbeille.

Le service de messagerie
"""


@dataclass(frozen=True, slots=True)
class Found:
    """What a look found: boxes to do something about, and where to go on; None at the end."""

    boxes: tuple[int, ...]
    after: int | None


def look(uow: Uow, share: float, after: int, limit: int) -> Found:
    """Look at the boxes behind a number; where no quota is set, at none."""
    if not uow.quotas.any():
        return Found((), None)
    page = uow.quotas.fullness(after, limit)
    found = tuple(one.box_id for one in page if _is_news(one, share))
    return Found(found, page[-1].box_id if len(page) == limit else None)


def settle(uow: Uow, box_id: int, share: float, house: House, now: datetime, *, hook: bool = False) -> bool:
    """Tell a holder that the box has come to this share of its quota, or forget that one was told; whether told."""
    found = next((one for one in uow.quotas.fullness(box_id - 1, 1) if one.box_id == box_id), None)
    box = uow.accounts.box_by_id(box_id)
    if found is None or box is None or not _is_news(found, share):
        return False
    if found.told:
        uow.quotas.full_told(box_id, None)
        return False
    percent = int(_PERCENT * found.quota.share(found.usage))
    text = _NOTICE.format(percent=percent)
    notices.tell(uow, house, box, notices.NEARLY_FULL, "Votre messagerie est presque pleine", text, now, hook=hook)
    uow.quotas.full_told(box_id, now)
    facts = {"percent": percent}
    uow.journal.write(AuditEvent("system:upkeep", "box.full", f"box:{box_id}", subject_box_id=box_id, facts=facts), now)
    return True


def _is_news(one: Fullness, share: float) -> bool:
    return (one.quota.share(one.usage) >= share) is not one.told
