"""The life of boxes: when they were used last, told, closed; what is over in their folders; and their erasure.

Every verb is one short unit. It decides nothing: see `policy.retention` and `services.lives`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, and_, delete, func, insert, select, update

from mss.clock import from_us, to_us
from mss.model.account import BoxState
from mss.model.address import Address
from mss.model.delivery import DeliveryState
from mss.model.party import BoxKind
from mss.store.annotation_tables import entries
from mss.store.dossier_tables import awaited_documents
from mss.store.engine import drop_some
from mss.store.holding_tables import expunged, seen, thread_names
from mss.store.hot import Hot
from mss.store.keeping_tables import box_lives, box_notices
from mss.store.prepared_tables import search_texts, sort_forms
from mss.store.rights_tables import (
    document_authors,
    dossier_readers,
    dossier_settings,
    grants,
    invitations,
    patient_notices,
    unopened_notices,
)
from mss.store.sealing import Sealing
from mss.store.tables import (
    accounts,
    attempts,
    boxes,
    changes,
    client_certificates,
    contacts,
    conversations,
    delegations,
    deliveries,
    documents,
    drafts,
    holdings,
    keywords,
    letters,
    mailboxes,
    messages,
    objects,
    recovery_codes,
    submission_budgets,
    token_subjects,
    web_sessions,
)

_CHANNEL: Final = b"box channel"
_SEEN = Hot.upsert(box_lives, ["box_id"], ["signed_in_at", "told_at"])
_CLOSED = Hot.upsert(box_lives, ["box_id"], ["closed_at"])
_CHANNELLED = Hot.upsert(box_lives, ["box_id"], ["channel"])
_TOLD = Hot.upsert(box_lives, ["box_id"], ["told_at"])
_EMPTY: Final = {"signed_in_at": None, "told_at": None, "closed_at": None, "channel": None, "full_told_at": None}
_ENDS: Final = (DeliveryState.DELIVERED, DeliveryState.FAILED, DeliveryState.EXPIRED)
# What of a box goes when it is erased, in this order: by the box itself, or by its mailboxes.
_OF_MAILBOX: Final = (messages, changes, keywords, seen)
_OF_BOX: Final = (
    entries,
    letters, conversations, contacts, drafts, documents, expunged, thread_names, search_texts, sort_forms, holdings,
    awaited_documents, grants, dossier_settings, document_authors, dossier_readers, invitations, patient_notices,
    unopened_notices, box_notices,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Life:
    """What counts of a box's life; `since` is its making, `channel` where notices go besides the box itself."""

    box_id: int
    kind: BoxKind
    state: BoxState
    since: datetime
    signed_in_at: datetime | None = None
    told_at: datetime | None = None
    closed_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class BoxCall:
    """A notice of which the program of [notify] is to be told; `channel` is where its holder wants to be told."""

    id: int
    box_id: int
    kind: str
    at: datetime
    tries: int
    channel: str = field(default="", repr=False)


class Lives:
    """The lives of boxes inside one unit."""

    def __init__(self, connection: Connection, sealing: Sealing) -> None:
        self._connection = connection
        self._sealing = sealing

    def page(self, after: int, limit: int) -> tuple[Life, ...]:
        """Return the lives of the boxes behind a number, in order."""
        query = select(boxes.c.id, boxes.c.kind, boxes.c.state, boxes.c.created_at, *_LIFE)
        joined = query.select_from(boxes.outerjoin(box_lives, box_lives.c.box_id == boxes.c.id))
        rows = self._connection.execute(joined.where(boxes.c.id > after).order_by(boxes.c.id).limit(limit))
        return tuple(_life(row) for row in rows)

    def of(self, box_id: int) -> Life | None:
        """Return the life of a box."""
        found = self.page(box_id - 1, 1)
        return found[0] if found and found[0].box_id == box_id else None

    def by_address(self, address: Address) -> Life | None:
        """Return the life of an address's box, though its key be gone."""
        box_id = self._connection.execute(select(boxes.c.id).where(boxes.c.address_key == address.key)).scalar()
        return None if box_id is None else self.of(box_id)

    def seen(self, box_id: int, now: datetime) -> None:
        """Note that somebody signed in for a box: whoever was told of its end has answered so."""
        _SEEN.run(self._connection, {**_EMPTY, "box_id": box_id, "signed_in_at": to_us(now)})

    def told(self, box_id: int, now: datetime) -> None:
        """Note that the holder was told."""
        _TOLD.run(self._connection, {**_EMPTY, "box_id": box_id, "told_at": to_us(now)})

    def closed(self, box_id: int, at: datetime | None) -> None:
        """Note since when a box is closed; None: it is open again."""
        _CLOSED.run(self._connection, {**_EMPTY, "box_id": box_id, "closed_at": None if at is None else to_us(at)})

    def set_channel(self, box_id: int, channel: str) -> None:
        """Note where the holder wants to be told, as they said it."""
        sealed = self._sealing.seal_text(box_id, channel, _CHANNEL)
        _CHANNELLED.run(self._connection, {**_EMPTY, "box_id": box_id, "channel": sealed})

    def channel(self, box_id: int) -> str:
        """Return where the holder wants to be told; empty for the box itself only."""
        sealed = self._connection.execute(select(box_lives.c.channel).where(box_lives.c.box_id == box_id)).scalar()
        return "" if sealed is None else self._sealing.unseal_text(box_id, sealed, _CHANNEL)

    def told_of(self, limit: int) -> tuple[Life, ...]:
        """Return the lives of boxes whose holders were told and did not answer, oldest notice first."""
        query = select(boxes.c.id, boxes.c.kind, boxes.c.state, boxes.c.created_at, *_LIFE)
        joined = query.select_from(boxes.join(box_lives, box_lives.c.box_id == boxes.c.id))
        where = and_(box_lives.c.told_at.is_not(None), boxes.c.state == BoxState.OPEN)
        return tuple(
            map(_life, self._connection.execute(joined.where(where).order_by(box_lives.c.told_at).limit(limit)))
        )

    # -- notices ------------------------------------------------------------------------------------------------------

    def notify(self, box_id: int, kind: str, now: datetime) -> None:
        """Let the program of [notify] be told of a notice that stands in the box."""
        row = {"box_id": box_id, "kind": kind, "at": to_us(now), "hook_at": to_us(now), "hook_tries": 0}
        self._connection.execute(insert(box_notices), row)

    def hooks_due(self, limit: int, now: datetime, again_at: datetime) -> tuple[BoxCall, ...]:
        """Claim calls that are due; whoever dies over them, they come again at `again_at`."""
        due = box_notices.c.hook_at <= to_us(now)
        some = select(box_notices.c.id).where(due).order_by(box_notices.c.hook_at).limit(limit)
        ids = list(self._connection.execute(some).scalars())
        values = {"hook_at": to_us(again_at), "hook_tries": box_notices.c.hook_tries + 1}
        claimed = update(box_notices).where(box_notices.c.id.in_(ids), due).values(values).returning(*box_notices.c)
        rows = self._connection.execute(claimed).all() if ids else ()
        return tuple(
            BoxCall(row.id, row.box_id, row.kind, from_us(row.at), row.hook_tries, self.channel(row.box_id))
            for row in sorted(rows, key=lambda row: row.id)
        )

    def hook_done(self, notice_id: int, again_at: datetime | None) -> None:
        """Forget a notice that was told, or was tried often enough; or say when to try again."""
        of_it = box_notices.c.id == notice_id
        again = update(box_notices).where(of_it).values(hook_at=to_us(again_at)) if again_at else None
        self._connection.execute(delete(box_notices).where(of_it) if again is None else again)

    # -- folders and deliveries --------------------------------------------------------------------------------------

    def over(
        self, mailbox: str, before: datetime, after: int, limit: int
    ) -> tuple[tuple[int, tuple[int, ...]] | None, int | None]:
        """Return the first folder of that name behind a number with letters put there up to an instant, and these
        letters' UIDs, so many at most; and the number to go on from, None at the end."""
        names = select(mailboxes.c.id).where(mailboxes.c.name == mailbox, mailboxes.c.id > after)
        for mailbox_id in self._connection.execute(names.order_by(mailboxes.c.id).limit(limit)).scalars().all():
            of_it = and_(messages.c.mailbox_id == mailbox_id, messages.c.saved_at <= to_us(before))
            uids = self._connection.execute(select(messages.c.uid).where(of_it).order_by(messages.c.uid).limit(limit))
            if found := tuple(uids.scalars()):
                # The same folder may have more.
                return (mailbox_id, found), mailbox_id - 1
            after = mailbox_id
        more = self._connection.execute(names.where(mailboxes.c.id > after).limit(1)).first()
        return None, after if more else None

    def still_over(self, mailbox_id: int, uids: Sequence[int], before: datetime) -> tuple[int, ...]:
        """Return those of some UIDs that are there and were put there up to an instant, in order."""
        of_it = and_(
            messages.c.mailbox_id == mailbox_id, messages.c.uid.in_(uids), messages.c.saved_at <= to_us(before)
        )
        return tuple(self._connection.execute(select(messages.c.uid).where(of_it).order_by(messages.c.uid)).scalars())

    def forget_deliveries(self, before: datetime, limit: int) -> int:
        """Drop deliveries at their end whose letters' time was over before an instant; returns how many."""
        where = and_(deliveries.c.state.in_(_ENDS), deliveries.c.expires_at <= to_us(before))
        gone = list(self._connection.execute(select(deliveries.c.id).where(where).limit(limit)).scalars())
        if gone:
            self._connection.execute(delete(attempts).where(attempts.c.delivery_id.in_(gone)))
            self._connection.execute(delete(deliveries).where(deliveries.c.id.in_(gone)))
        return len(gone)

    # -- erasure -----------------------------------------------------------------------------------------------------

    def contents(self, box_id: int) -> dict[str, int]:
        """Return how many of each a box has, and their octets: numbers only."""
        of_box = {
            "mailboxes": mailboxes,
            "letters": holdings,
            "documents": documents,
            "conversations": conversations,
            "contacts": contacts,
            "drafts": drafts,
        }
        counts = {name: self._count(table, table.c.box_id == box_id) for name, table in of_box.items()}
        in_folders = select(func.count()).select_from(messages.join(mailboxes, mailboxes.c.id == messages.c.mailbox_id))
        counts["messages"] = int(self._connection.execute(in_folders.where(mailboxes.c.box_id == box_id)).scalar_one())
        held = select(func.sum(objects.c.size)).select_from(
            objects.join(holdings, holdings.c.object_id == objects.c.id)
        )
        counts["octets"] = int(self._connection.execute(held.where(holdings.c.box_id == box_id)).scalar() or 0)
        return counts

    def _count(self, table: Any, where: Any) -> int:
        return int(self._connection.execute(select(func.count()).select_from(table).where(where)).scalar_one())

    def digests(self, box_id: int, after: int, limit: int) -> tuple[tuple[int, bytes], ...]:
        """Return (object, keyed digest) of what a box holds behind a number, in order."""
        joined = holdings.join(objects, objects.c.id == holdings.c.object_id)
        query = select(objects.c.id, objects.c.digest).select_from(joined)
        where = and_(holdings.c.box_id == box_id, holdings.c.object_id > after)
        rows = self._connection.execute(query.where(where).order_by(objects.c.id).limit(limit))
        return tuple((row.id, bytes(row.digest)) for row in rows)

    def erase_some(self, box_id: int, limit: int) -> int:
        """Drop so many rows of a box, whichever are left; returns how many went: 0 when only the box itself is left."""
        ids = list(self._connection.execute(select(mailboxes.c.id).where(mailboxes.c.box_id == box_id)).scalars())
        for table in _OF_MAILBOX:
            if ids and (gone := self._drop(table, table.c.mailbox_id.in_(ids), limit)):
                return gone
        for table in _OF_BOX:
            if gone := self._drop(table, table.c.box_id == box_id, limit):
                return gone
        return self._drop(mailboxes, mailboxes.c.box_id == box_id, limit)

    def _drop(self, table: Any, where: Any, limit: int) -> int:
        return drop_some(self._connection, table, where, limit)

    def erase_rest(self, box_id: int) -> int:
        """Drop the box itself, who may act for it, and the accounts that act for nothing else; returns how many."""
        holders = select(delegations.c.account_id).where(delegations.c.box_id == box_id)
        others = select(delegations.c.account_id).where(delegations.c.box_id != box_id)
        alone = [
            one
            for one in self._connection.execute(holders).scalars().all()
            if self._connection.execute(others.where(delegations.c.account_id == one)).first() is None
        ]
        self._connection.execute(delete(delegations).where(delegations.c.box_id == box_id))
        self._forget_accounts(alone)
        # Letters under way have their own holder; who sent them is not named any more.
        sent = update(deliveries).where(deliveries.c.source_box_id == box_id)
        self._connection.execute(sent.values(source_box_id=None))
        self._connection.execute(delete(web_sessions).where(web_sessions.c.box_id == box_id))
        self._connection.execute(delete(box_lives).where(box_lives.c.box_id == box_id))
        self._connection.execute(delete(boxes).where(boxes.c.id == box_id))
        return len(alone)

    def _forget_accounts(self, account_ids: Sequence[int]) -> None:
        named = (recovery_codes, web_sessions, client_certificates, token_subjects, submission_budgets, entries)
        for table in named:
            self._connection.execute(delete(table).where(table.c.account_id.in_(account_ids)))
        self._connection.execute(delete(accounts).where(accounts.c.id.in_(account_ids)))


_LIFE = (box_lives.c.signed_in_at, box_lives.c.told_at, box_lives.c.closed_at)


def _life(row: Any) -> Life:
    at = {
        name: None if row._mapping[name] is None else from_us(row._mapping[name])
        for name in _EMPTY
        if name not in ("channel", "full_told_at")
    }
    return Life(row.id, BoxKind(row.kind), BoxState(row.state), from_us(row.created_at), **at)
