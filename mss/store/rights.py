"""What patients set about their dossiers: grants, settings, readers, notices to them, and invitations.

All of a patient's grants are a few; they are read together. Who was named is sealed under the patient's key.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, and_, bindparam, delete, func, insert, literal_column, or_, select, update

from mss.clock import from_us, to_us
from mss.model.account import DelegationKind
from mss.model.rights import Grant, Grantee, GrantKind, InvitationState, NoticeKind, PatientNotice, Switch
from mss.store.hot import Hot
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
from mss.store.tables import documents

_GRANT, _SETTINGS, _NOTICE, _INVITATION = b"grant", b"dossier settings", b"patient notice", b"invitation"
_CHOSEN = Hot(select(dossier_settings.c.body).where(dossier_settings.c.box_id == bindparam("box_id")))
_SETTLE = Hot.upsert(dossier_settings, ["box_id"], ["body"])
_MEET = Hot.new(dossier_readers)
_TELL = Hot.new(unopened_notices)
_MARK = [documents.c[name] for name in ("id", "type_digest", "category_digest", "hidden", "masked")]
_NEWEST_FIRST = (documents.c.filed_at.desc(), documents.c.id.desc())
_IN_BOX = documents.c.box_id == bindparam("box_id")
_ALL = Hot(select(*_MARK).where(_IN_BOX).order_by(*_NEWEST_FIRST))
# In the order of the index, so that nothing is sorted.
_KINDS = Hot(select(*_MARK[1:], func.count()).where(_IN_BOX).group_by(*_MARK[1:]))


@dataclass(frozen=True, slots=True)
class Settings:
    """What a patient chose for the whole dossier; None in `permits`: nothing chosen. `ends_at`: until when that counts
    which representatives chose for a child."""

    permits: frozenset[Switch] | None = None
    default_mask: bool = False
    notify: bool = True
    ends_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Invitation:
    """An invitation as it is kept; `name` is what the inviting person calls the one invited."""

    id: int
    box_id: int
    kind: DelegationKind
    name: str
    state: InvitationState
    created_at: datetime
    expires_at: datetime
    account_id: int | None = None


@dataclass(frozen=True, slots=True)
class HookCall:
    """A notice that the e-mail hook is owed; nothing in it tells of the patient's health."""

    id: int
    box_id: int
    kind: NoticeKind
    at: datetime
    tries: int


class RightsRoom:
    """Rights, notices and invitations inside one unit."""

    def __init__(self, connection: Connection, sealing: Sealing) -> None:
        self._connection = connection
        self._sealing = sealing

    # -- grants --------------------------------------------------------------------------------------------------

    def grant(self, box_id: int, grant: Grant) -> int:
        """Keep a block, consent or place in the care team (its id is ignored); returns its number."""
        who = grant.grantee
        body = {
            "grantee": [who.name, who.account_id, who.person_id, who.structure_id, who.address_key],
            "categories": sorted(grant.categories),
            "account": grant.account_id,
        }
        row = {
            "box_id": box_id,
            "kind": grant.kind,
            "body": self._sealing.seal_json(box_id, body, _GRANT),
            "since": to_us(grant.since),
            "ends_at": None if grant.ends_at is None else to_us(grant.ends_at),
        }
        return int(self._connection.execute(insert(grants).returning(grants.c.id), row).scalar_one())

    def grants(self, box_id: int) -> tuple[Grant, ...]:
        """Return all that a patient set for others, oldest first, what has ended too."""
        rows = self._connection.execute(select(grants).where(grants.c.box_id == box_id).order_by(grants.c.id))
        return tuple(self._grant(row) for row in rows)

    def _grant(self, row: Row[Any]) -> Grant:
        body = self._sealing.unseal_json(row.box_id, row.body, _GRANT)
        return Grant(
            row.id,
            GrantKind(row.kind),
            Grantee(*body["grantee"]),
            from_us(row.since),
            None if row.ends_at is None else from_us(row.ends_at),
            frozenset(body["categories"]),
            body["account"],
        )

    def revoke(self, box_id: int, grant_id: int) -> bool:
        """Take a grant back; False when the box has no such."""
        where = and_(grants.c.box_id == box_id, grants.c.id == grant_id)
        return self._connection.execute(delete(grants).where(where)).rowcount == 1

    # -- settings ------------------------------------------------------------------------------------------------

    def settings(self, box_id: int) -> Settings:
        """Return what a patient chose for the whole dossier."""
        row = _CHOSEN.run(self._connection, {"box_id": box_id}).fetchone()
        if row is None:
            return Settings()
        found = self._sealing.unseal_json(box_id, row[0], _SETTINGS)
        permits = None if found["permits"] is None else frozenset(Switch(one) for one in found["permits"])
        # Programs before this one kept no end.
        end = found.get("ends_at")
        return Settings(permits, found["default_mask"], found["notify"], None if end is None else from_us(end))

    def choose(self, box_id: int, settings: Settings) -> None:
        """Keep what a patient chose for the whole dossier."""
        permits = None if settings.permits is None else sorted(settings.permits)
        body: dict[str, Any] = {"permits": permits, "default_mask": settings.default_mask, "notify": settings.notify}
        body |= {} if settings.ends_at is None else {"ends_at": to_us(settings.ends_at)}
        _SETTLE.run(self._connection, {"box_id": box_id, "body": self._sealing.seal_json(box_id, body, _SETTINGS)})

    # -- documents as rights see them -----------------------------------------------------------------------------

    def marks(self, box_id: int) -> list[tuple[int, bytes | None, bytes, int, bool]]:
        """Return (id, type digest, category digest, hidden bits, masked) of all documents, newest first."""
        return _ALL.run(self._connection, {"box_id": box_id}).fetchall()

    def kinds(self, box_id: int) -> list[tuple[bytes | None, bytes, int, bool, int]]:
        """Return (type digest, category digest, hidden bits, masked, how many) of the documents that are alike."""
        return _KINDS.run(self._connection, {"box_id": box_id}).fetchall()

    def marks_of(self, box_id: int, ids: Iterable[int]) -> list[Any]:
        """Return the marks of these documents, and of those whose type is not known."""
        some = or_(documents.c.id.in_(list(ids)), documents.c.type_digest.is_(None))
        return [
            tuple(row) for row in self._connection.execute(select(*_MARK).where(documents.c.box_id == box_id, some))
        ]

    def marks_among(
        self, box_id: int, types: Iterable[bytes], ids: Iterable[int], offset: int, limit: int
    ) -> list[Any]:
        """Return the marks of documents of these types, newest first; with these documents, and those of no type."""
        some = or_(
            documents.c.type_digest.in_(list(types)), documents.c.id.in_(list(ids)), documents.c.type_digest.is_(None)
        )
        query = select(*_MARK).where(documents.c.box_id == box_id, some).order_by(*_NEWEST_FIRST)
        return [tuple(row) for row in self._connection.execute(query.offset(offset).limit(limit))]

    def note_authors(self, box_id: int, document_id: int, person_ids: Iterable[str]) -> None:
        """Remember who wrote a document."""
        digests = {self._author(box_id, one) for one in person_ids if one}
        rows = [{"box_id": box_id, "author_digest": one, "document_id": document_id} for one in sorted(digests)]
        if rows:
            self._connection.execute(insert(document_authors), rows)

    def written_by(self, box_id: int, person_id: str) -> frozenset[int]:
        """Return the documents of a dossier that a person wrote; none without an IdNat_PS."""
        if not person_id:
            return frozenset()
        digest = self._author(box_id, person_id)
        where = and_(document_authors.c.box_id == box_id, document_authors.c.author_digest == digest)
        return frozenset(self._connection.execute(select(document_authors.c.document_id).where(where)).scalars())

    def _author(self, box_id: int, person_id: str) -> bytes:
        return self._sealing.digest(b"document author", b"%d" % box_id, person_id.encode("utf-8", "replace"))

    def digests(self, what: bytes, box_id: int, values: Iterable[str]) -> Mapping[bytes, str]:
        """Return keyed digest → value, as `documents` keeps types (b"type") and categories (b"category")."""
        return {self._sealing.digest(what, b"%d" % box_id, one.encode()): one for one in values}

    # -- readers and notices --------------------------------------------------------------------------------------

    def meet(self, box_id: int, reader: str, now: datetime) -> bool:
        """Remember that a professional read a dossier; True the first time."""
        digest = self._sealing.digest(b"dossier reader", b"%d" % box_id, reader.encode("utf-8", "replace"))
        row = {"box_id": box_id, "reader_digest": digest, "first_at": to_us(now)}
        return _MEET.run(self._connection, row).rowcount == 1

    def notify(self, box_id: int, kind: NoticeKind, name: str, now: datetime, *, hook: bool) -> int:
        """Tell a patient something in the webmail, and the e-mail hook when it is wanted."""
        row = {
            "box_id": box_id,
            "kind": kind,
            "body": self._sealing.seal_text(box_id, name, _NOTICE),
            "at": to_us(now),
            "seen_at": None,
            "hook_at": to_us(now) if hook else None,
            "hook_tries": 0,
        }
        return int(self._connection.execute(insert(patient_notices).returning(patient_notices.c.id), row).scalar_one())

    def notices(self, box_id: int, limit: int) -> tuple[PatientNotice, ...]:
        """Return a patient's newest notices, newest first."""
        query = select(patient_notices).where(patient_notices.c.box_id == box_id)
        rows = self._connection.execute(
            query.order_by(patient_notices.c.at.desc(), patient_notices.c.id.desc()).limit(limit)
        )
        return tuple(
            PatientNotice(
                row.id,
                box_id,
                NoticeKind(row.kind),
                self._sealing.unseal_text(box_id, row.body, _NOTICE),
                from_us(row.at),
                row.seen_at is not None,
            )
            for row in rows
        )

    def see_notices(self, box_id: int, now: datetime) -> int:
        """Mark a patient's notices as seen; returns how many were new."""
        where = and_(patient_notices.c.box_id == box_id, patient_notices.c.seen_at.is_(None))
        return self._connection.execute(update(patient_notices).where(where).values(seen_at=to_us(now))).rowcount

    def hooks_due(self, limit: int, now: datetime, again_at: datetime) -> tuple[HookCall, ...]:
        """Claim calls of the e-mail hook that are due; whoever dies over them, they come again at `again_at`."""
        due = select(patient_notices.c.id).where(patient_notices.c.hook_at <= to_us(now))
        some = due.order_by(patient_notices.c.hook_at).limit(limit)
        ids = list(self._connection.execute(some).scalars())
        if not ids:
            return ()
        values = {"hook_at": to_us(again_at), "hook_tries": patient_notices.c.hook_tries + 1}
        claimed = update(patient_notices).where(patient_notices.c.id.in_(ids), patient_notices.c.hook_at <= to_us(now))
        columns = [patient_notices.c[name] for name in ("id", "box_id", "kind", "at", "hook_tries")]
        rows = self._connection.execute(claimed.values(values).returning(*columns)).all()
        return tuple(
            HookCall(row.id, row.box_id, NoticeKind(row.kind), from_us(row.at), row.hook_tries) for row in rows
        )

    def hook_done(self, notice_id: int, again_at: datetime | None) -> None:
        """Note that the hook was called, or when to try again."""
        values = {"hook_at": None if again_at is None else to_us(again_at)}
        self._connection.execute(update(patient_notices).where(patient_notices.c.id == notice_id).values(values))

    # -- told once ------------------------------------------------------------------------------------------------

    def tell_unopened(self, box_id: int, sender_key: str, now: datetime) -> bool:
        """Note that a sender is told of a box that was never opened; False when that was done before."""
        digest = self._sealing.digest(b"unopened", b"%d" % box_id, sender_key.encode("utf-8", "replace"))
        return _TELL.run(self._connection, {"box_id": box_id, "sender_digest": digest, "at": to_us(now)}).rowcount == 1

    def told_since(self, since: datetime) -> int:
        """Return how many senders were told since an instant."""
        query = select(func.count()).select_from(unopened_notices).where(unopened_notices.c.at > to_us(since))
        return int(self._connection.execute(query).scalar_one())

    # -- invitations ----------------------------------------------------------------------------------------------

    def invite(
        self, box_id: int, kind: DelegationKind, name: str, code: str, now: datetime, expires_at: datetime
    ) -> int:
        """Keep an invitation; its code is kept as a digest."""
        row = {
            "box_id": box_id,
            "kind": kind,
            "code_digest": self._code(code),
            "body": self._sealing.seal_text(box_id, name, _INVITATION),
            "state": InvitationState.PENDING,
            "created_at": to_us(now),
            "expires_at": to_us(expires_at),
        }
        return int(self._connection.execute(insert(invitations).returning(invitations.c.id), row).scalar_one())

    def _code(self, code: str) -> bytes:
        return self._sealing.digest(b"invitation", code.encode("utf-8", "replace"))

    def invitation(self, code: str) -> Invitation | None:
        """Return the invitation of a code."""
        row = self._connection.execute(select(invitations).where(invitations.c.code_digest == self._code(code))).first()
        return None if row is None else self._invitation(row)

    def invitations(self, box_id: int, limit: int) -> tuple[Invitation, ...]:
        """Return a box's newest invitations, newest first."""
        query = select(invitations).where(invitations.c.box_id == box_id).order_by(invitations.c.id.desc()).limit(limit)
        return tuple(self._invitation(row) for row in self._connection.execute(query))

    def _invitation(self, row: Row[Any]) -> Invitation:
        return Invitation(
            row.id,
            row.box_id,
            DelegationKind(row.kind),
            self._sealing.unseal_text(row.box_id, row.body, _INVITATION),
            InvitationState(row.state),
            from_us(row.created_at),
            from_us(row.expires_at),
            row.account_id,
        )

    def answer(
        self, box_id: int, invitation_id: int, state: InvitationState, account_id: int | None, now: datetime
    ) -> bool:
        """Note what became of an invitation that waits; False when it waits no longer."""
        where = and_(
            invitations.c.box_id == box_id,
            invitations.c.id == invitation_id,
            invitations.c.state == literal_column(f"'{InvitationState.PENDING.value}'"),
        )
        values = {"state": state, "account_id": account_id, "answered_at": to_us(now)}
        return self._connection.execute(update(invitations).where(where).values(values)).rowcount == 1
